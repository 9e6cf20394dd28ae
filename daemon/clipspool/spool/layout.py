"""The names of our folders and files in an inbox, in one place."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from clipspool.jobs.model import PICTURES_SOURCE
from clipspool.system.atomic import OURS, Rel

DONE = "_done"
FAILED = "_failed"
PRESETS = "_presets"
"""Holds the presets of an inbox, which its editors write."""
POSTERS = f"{OURS}/posters"
WORK = f"{OURS}/work"
TIMELINES = f"{OURS}/timelines"
"""Timelines that were accepted, and what became of their clips, by the timeline's id."""
REFERENCES = f"{OURS}/references"
"""Copies of the reference images of clips that may be run again, by the clip's id."""
TAKEN = f"{OURS}/taken"
"""Clips that `recover` took from another journal, by the clip's id: their previous owner gives them up."""

KEPT = f"{OURS}/kept"
"""What was accepted from an inbox that is only read: a file for each clip, in its outbox."""
KEPT_NAME = re.compile(r"[0-9a-f]{32}-[0-9a-f]{16}")

MANIFEST = "manifest.toml"
CLAIMED_MANIFEST = re.compile(r"manifest-([0-9A-Za-z_-]{1,64})\.toml")
"""The manifest while a journal takes its clip over from another."""
LEDGER = "ledger.jsonl"
SIDECAR = "sidecar.toml"
PROMPT = "prompt.txt"
SOURCE = "clip"
"""Begins the name of the clip itself."""
ARRIVED = ".arrived"
"""The copy of a clip from an inbox that is only read, until the clip is accepted."""
RETURNING = ".returning"
"""The same, until it is whole, of a clip that was accepted before and is run again."""
FILM = "film-"
"""Begins the names of films that were packed of a folder of pictures."""
REFERENCE = "ref-"
"""Begins the names of the copies of reference images."""
SENT = ".sent.toml"
"""Ends the name of the record of what was made of a clip before it was sent."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

ERROR_NOTE = ".error.toml"
"""Behind the name of a source in `_failed`."""
CHANGED_NOTE = ".changed.txt"
"""Behind the name of a source that is not what was sent any more."""


def source_name(path: Rel) -> str:
    """Return the clip's name inside its work folder: plain, with its own suffix."""
    suffix = PurePosixPath(path).suffix.lower()
    return SOURCE + ("" if SOURCE + suffix == PICTURES_SOURCE else suffix)


def claimed_manifest(journal: str) -> str:
    """Return the manifest's name in a work folder that a journal is about to take over."""
    return f"manifest-{journal}.toml"
