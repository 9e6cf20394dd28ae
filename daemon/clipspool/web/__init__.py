"""The page: what happens, what waits and why, results beside their sources, and the buttons that resolve it.

`house.py` is all that it gets from the daemon. `door.py` opens the socket, `server.py` runs the thread,
`porter.py` and `sessions.py` say who may come in. `pulse.py` tells open pages that something changed; they
fetch again what they show: `views.py` (what is there), `acts.py` (what can be done), `films.py` (posters and
videos). It knows no scheduler and no settings, and its server is imported only where `[web] listen` is set.
"""
