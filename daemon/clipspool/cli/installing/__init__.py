"""Puts clipspool in place as a service of systemd, and takes it away again.

`wish` says what is wanted and where it goes, `steps` finds what still has to be done for it, `user` makes the
user and tries what it may do, `unit` writes the texts, `removal` is the way back, `standing` tells how it is.
"""
