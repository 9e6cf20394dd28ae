"""The page: what happens, what waits and why, results beside their sources, and the buttons that resolve it.

`context` holds all that it gets from the daemon. `listen` opens the socket, `server` runs the thread,
`security` and `sessions` decide who may see and do what. `event_stream` notifies open pages of changes; they
fetch again what they show: `views` (jobs and inboxes), `actions` (orders), `media` (posters and videos). It
knows no scheduler and no settings; its server is imported only where `[web] listen` is set.
"""
