"""Tells people what needs them: the first of a kind at once, then a digest, never a storm.

`topics` names what is told, `notes` makes notes of news, `digest` decides when a message goes, `wording` puts
it into words, `signing` signs it: all pure. `courier` is a receiver's thread; `webhook` and `service` send.
"""
