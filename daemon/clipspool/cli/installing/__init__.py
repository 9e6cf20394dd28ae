"""Installs clipspool as a service of systemd, and removes it.

`wish` describes the service and its files, `steps` finds what is needed, `user` creates the user, `unit`
writes the units, `removal` removes the service, `standing` describes its state.
"""
