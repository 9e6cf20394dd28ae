"""Where things lie in an inbox: the names of our folders and files, in one place."""

from __future__ import annotations

from clipspool.system.atomic import OURS

WORK = f"{OURS}/work"

REFERENCES = f"{OURS}/references"
"""Copies of the reference images of clips that may be run again, by the clip's id."""

TAKEN = f"{OURS}/taken"
"""Clips that `recover` took from another journal, by the clip's id: whoever had them has to let go."""

MANIFEST = "manifest.toml"

LEDGER = "ledger.jsonl"

SIDECAR = "sidecar.toml"

FAILED = "_failed"

SOURCE = "clip"
"""Begins the name of the clip itself."""

REFERENCE = "ref-"
"""Begins the names of the copies of reference images."""

ERROR_NOTE = ".error.toml"
"""Behind the name of a source in `_failed`."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

POSTERS = f"{OURS}/posters"

DONE = "_done"
