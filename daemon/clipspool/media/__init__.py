"""What clipspool knows about pictures: is a clip whole, what is in it, and how it is made to fit.

The daemon's own process reads headers (boxes) and reckons (plan); every decoder runs in a child with limits
(decoder is the parent's side of it, child the other), so that a hostile file can hurt nothing but itself.
"""
