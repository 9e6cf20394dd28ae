"""From a job in the journal to files in the outbox: a job in, an event out; the journal is not seen here."""
