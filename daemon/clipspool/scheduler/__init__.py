"""The one thread that owns the journal, and its rules: selection, budget, duplicates, poison, retirement."""
