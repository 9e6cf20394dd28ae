"""Numbered steps of the journal's schema, in one transaction each, with a copy of the file kept before."""
