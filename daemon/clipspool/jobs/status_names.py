"""Names a `_status.txt`, and says by its first line whose it is; pure."""

from __future__ import annotations

STATUS_NAME = "_status.txt"

OURS = "This file is kept by clipspool"
"""How the first line begins; a file that begins otherwise is somebody else's, and is left alone."""


def mark_of(identity: str) -> str:
    """Give how the first line begins of a file that the clipspool of that identity keeps."""
    return f"{OURS} ({identity})"


def other_name(identity: str) -> str:
    """Name the file of a clipspool where another one keeps `_status.txt`."""
    return f"_status-{identity}.txt"
