"""Media files: whether a clip is whole, what it holds, and how it is made to fit.

The daemon's own process reads headers (boxes) and plans (plan); all decoding happens in a child process with
limits (decoder is the parent's side, child the other), so that a hostile file harms only its own job.
"""
