"""Notifies people of what needs attention: the first of a kind at once, then a digest, never a flood.

`topics` names the kinds, `notes` makes notes of news, `digest` decides when a message goes, `wording` words
it, `signing` signs it: all pure. `courier` is a receiver's thread; `webhook` and `service` send.
"""
