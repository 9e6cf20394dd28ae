"""What a job is, what may happen to it, why it waits and when it is due; pure, and knows no other room."""
