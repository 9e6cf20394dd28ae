"""HTTP with every limit we need: who is reached, how long each step takes, how much is read."""
