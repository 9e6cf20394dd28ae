"""clipspool: drop a clip and a sidecar in a folder, find the rendered video in another."""

__version__ = "0.1.0"
