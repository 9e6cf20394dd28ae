"""The page's JSON interface beneath `/api/v1`.

`operations` ties an address to its right, its function and its part of `openapi.json`, so that the document
cannot drift from the routes. `jobs` looks, `acts` decides, `clips` and `pieces` take
clips in, `sidecars` mends what waits; `schemas` describes the answers.
"""
