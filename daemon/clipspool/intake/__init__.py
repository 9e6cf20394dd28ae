"""From a file in an inbox to a claimed clip: sightings settle, clips are paired, what is whole is accepted.

`watch` hears hints and `scan` looks; `settle`, `names` and `pair` decide which clip is ready; `sidecar` and
`layers` say what it asks for; `notes` tells the editor what is wrong; `inbox` is the thread that does it all.
"""
