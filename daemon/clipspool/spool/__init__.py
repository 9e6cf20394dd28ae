"""Our folders, the truth when the journal is lost: inbox roots, work folders, ledgers, marks."""
