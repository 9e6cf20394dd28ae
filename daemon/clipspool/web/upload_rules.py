"""Decides what may be sent into an inbox: names, folders and sizes of clips, and reference images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from clipspool.intake.advice import Found, about_files
from clipspool.intake.kinds import Sort, sort_of
from clipspool.intake.names import Kind, Names, composed, is_plain_name
from clipspool.intake.types import Rules
from clipspool.spool.layout import SUFFIXES
from clipspool.spool.root import Root
from clipspool.system.atomic import Rel, join
from clipspool.system.redaction import readable

SIZE_MAX = 200 << 30
_NAME_BYTES_MAX = 200
"""Leaves room for a number, and for what sidecars and notes add to a clip's name."""
_DEPTH_MAX = 16
_EXPLAINED = frozenset({Sort.FILM, Sort.RAW, Sort.AUDIO, Sort.ARCHIVE, Sort.PROJECT, Sort.SHORTCUT})
"""Kinds of files whose advice for a folder holds here too."""
_SPARE_BYTES = 256 << 20
"""Left free for others: the journal, notes and what is made to fit."""


class NotTaken(Exception):
    """An upload is refused; the message is a sentence for whoever sent it."""

    def __init__(self, status: int, code: str, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status."""
        self.code = code
        self.facts = facts


def checked_place(root: Root, rules: Rules, folder: str, name: str) -> tuple[Rel, str]:
    """Return a clip's folder and name as they are used; raises NotTaken with what is wrong, and OSError."""
    names = Names(rules.extensions, rules.ignore)
    folder, name = composed(folder).strip("/"), composed(name)
    shown = readable(name)[:120]
    if not is_plain_name(name):
        why = (
            "A clip's name is a plain file name, without folders, control characters and a space at either "
            f"end; this one is `{shown}`."
        )
        raise NotTaken(422, "CLIP.NAME", why)
    if len(os.fsencode(name)) > _NAME_BYTES_MAX:
        raise NotTaken(422, "CLIP.NAME", f"`{shown}` is too long: {_NAME_BYTES_MAX} bytes is the most.")
    parts = folder.split("/") if folder else []
    if len(parts) > _DEPTH_MAX or not all(is_plain_name(part) for part in parts):
        raise NotTaken(
            422, "CLIP.FOLDER", "A folder is a plain path inside the inbox, such as `day-1/scene-2`."
        )
    for depth, part in enumerate(parts):
        if len(os.fsencode(part)) > _NAME_BYTES_MAX or not names.enters(part, "/".join(parts[:depth])):
            why = f"Clips in a folder named `{readable(part)[:120]}` are not looked for; choose another."
            raise NotTaken(422, "CLIP.FOLDER", why)
    if names.kind(name, folder) is not Kind.CLIP:
        why = f"`{shown}` is no clip that the inbox {rules.name} takes: {_why_no_clip(names, rules, name)}."
        raise NotTaken(415, "CLIP.KIND", why)
    return _as_it_stands(root, parts), name


def _as_it_stands(root: Root, parts: Sequence[str]) -> Rel:
    """Return a folder's path as it is on the disk: one that a Mac made may have its accents apart.

    Beside it a new folder would look the same, and lack its `_defaults.toml`.
    """
    here = ""
    for part in parts:
        if not root.is_folder(join(here, part)):
            beside = root.names(here) if not here or root.is_folder(here) else ()
            twins = [one for one in beside if composed(one) == part and root.is_folder(join(here, one))]
            part = twins[0] if len(twins) == 1 else part  # noqa: PLW2901
        here = join(here, part)
    return here


def _why_no_clip(names: Names, rules: Rules, name: str) -> str:
    """Return what a file is instead of a clip, and what its editor can do."""
    if names.is_clip(name):
        return "names that begin with `.`, `_` or `~`, or that its `ignore` names, are passed over. Rename it"
    sort, accepted = sort_of(name), sorted(rules.extensions)
    if sort in _EXPLAINED:
        return about_files(Found(sort, (readable(name),)), accepted)
    return f"it takes {', '.join(accepted)}"


def check_size(size: int) -> None:
    """Raise NotTaken where a clip of this size is not allowed."""
    if not 0 < size <= SIZE_MAX:
        raise NotTaken(413, "CLIP.SIZE", f"A clip has 1 byte to {SIZE_MAX >> 30} GB; this one has {size:,}.")


def check_room(root: Root, size: int) -> None:
    """Raise NotTaken where an inbox's disk has no room for `size` bytes."""
    missing = size + _SPARE_BYTES - root.space()
    if missing > 0:
        needed = f"The inbox's disk has no room for it: it needs {missing:,} bytes more free space."
        raise NotTaken(507, "INBOX.FULL", needed)


def checked_image(name: str) -> str:
    """Return a reference image's name as it is used; raises NotTaken with what is wrong."""
    name = composed(name)
    if not is_plain_name(name) or not name.lower().endswith(SUFFIXES) or name.startswith((".", "_")):
        kinds = ", ".join(SUFFIXES)
        raise NotTaken(415, "REFERENCE.KIND", f"`{readable(name)[:120]}` is no reference image ({kinds}).")
    return name
