"""From a file in an inbox to a claimed clip: files settle, clips are paired, complete ones are accepted.

`watch` collects hints, `tree` and `scan` check folders; `settle`, `names` and `pair` decide which clip is
ready, `whole` and `examine` whether it is complete and right; `sidecar` reads what it asks for; `accept`
claims it; `notes` tells its editor what is wrong; `inbox` is the thread that runs all this.
"""
