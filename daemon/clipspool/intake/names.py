"""Classifies the names in an inbox, and writes names for people."""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Iterable
from enum import IntEnum, auto

from clipspool.intake.kinds import (
    CONTROL_SUFFIXES,
    PARTIAL_SUFFIXES,
    SORTS,
    TIMELINES,
    Sort,
    inner_names,
    is_bundle,
    is_foreign_file,
    is_foreign_folder,
    looks_foreign,
    sort_of,
    stem,
    suffix_of,
)
from clipspool.intake.near import (
    DEFAULTS,
    FOLDER_PROMPT,
    folded,
    is_bare_pause,
    is_pause,
    loose,
    meant_as_settings,
    meant_as_sidecar,
    uncopied,
)
from clipspool.jobs.naming import NAME_BYTES_MAX
from clipspool.spool.layout import SUFFIXES
from clipspool.system.atomic import is_claimed_name
from clipspool.system.redaction import is_showable

TOML = ".toml"
TXT = ".txt"
PROBLEM_NOTE = ".problem.txt"
_OUR_NOTES = (PROBLEM_NOTE, ".error.toml")
_IGNORED_PREFIXES = (".", "_", "~")  # includes `.nfs*`, `.smbdelete*`, `._*`, `_done` and all our own files


class Kind(IntEnum):  # its hash is faster than a plain Enum's
    """What a name means."""

    CLIP = auto()
    SIDECAR = auto()
    PROMPT = auto()
    """A `.txt`: the prompt of the clip with the same name, if there is one."""
    NEAR = auto()
    """A sidecar under a name that is not read, such as `shot.toml.txt`."""
    DEFAULTS = auto()
    FOLDER_PROMPT = auto()
    """`_prompt.txt`: the prompt for a folder and those below it."""
    NEAR_SETTINGS = auto()
    """A near-miss of `_defaults.toml` or `_prompt.txt`, which is not read."""
    PAUSE = auto()
    """`_pause` or a near-miss of it: nothing is sent while it exists."""
    NOTE = auto()
    """A problem note of ours."""
    TEMPORARY = auto()
    """Made by a copying or downloading tool until its clip is complete."""
    COMING = auto()
    """A sidecar or prompt that is not complete yet: it is being copied, or a text editor has it open."""
    FOLDER = auto()
    """A sub-folder: one clip if it holds the numbered pictures of a film, and has a sidecar of its own."""
    IMAGE = auto()
    """A file that a sidecar may refer to."""
    TIMELINE = auto()
    """A timeline whose marked clips become jobs."""
    OTHER = auto()
    """A file that clipspool does not use; it gets a note."""
    IGNORED = auto()


class Names:
    """The rules for names in one inbox."""

    def __init__(self, extensions: Iterable[str], ignore: Iterable[str] = ()) -> None:
        """`extensions` are the suffixes of clips in any letter case, `ignore` globs of names or paths."""
        self._extensions = frozenset(f".{e.lower().lstrip('.')}" for e in extensions)
        globs = "|".join(fnmatch.translate(composed(glob)) for glob in ignore)
        self._ignore = re.compile(globs) if globs else None

    def kind(self, name: str, folder: str = "") -> Kind:
        """Return what a file's name means; `folder` is relative to the inbox."""
        if self._is_ignored(name, folder):
            return Kind.IGNORED
        if name[:1] == "_" and (kind := _own_kind(name)) is not None:
            return kind
        lower = name.lower()
        if lower.endswith(_OUR_NOTES):
            return Kind.NOTE if lower.endswith(PROBLEM_NOTE) else Kind.IGNORED
        is_hidden = lower.startswith(_IGNORED_PREFIXES) or lower.endswith(PARTIAL_SUFFIXES)
        is_hidden |= is_foreign_file(lower)
        if self.is_clip(name) and not is_hidden:
            return Kind.CLIP
        announced = Kind.TEMPORARY if self.awaited(name) else Kind.COMING if _coming(name) else None
        if announced is not None or is_hidden:
            return announced or Kind.IGNORED
        if meant_as_sidecar(name) is not None:
            return Kind.NEAR
        if lower.endswith(TOML):
            return Kind.SIDECAR
        if lower.endswith(TXT):
            return Kind.PROMPT
        return _other_kind(name)

    def enters(self, name: str, folder: str = "") -> bool:
        """Return whether a subfolder of `folder` is searched for clips."""
        return not self._is_left_out(name, folder) and not (looks_foreign(name) and not folder)

    def passes_by(self, name: str, folder: str = "") -> bool:
        """Return whether a folder is skipped only for its first letter, which an editor may have chosen."""
        return looks_foreign(name) and not folder and not self._is_left_out(name, folder)

    def _is_left_out(self, name: str, folder: str) -> bool:
        if name.startswith(_IGNORED_PREFIXES) or is_foreign_folder(name) or is_bundle(name):
            return True
        return self.awaited(name) is not None or self._is_ignored(name, folder)

    def is_bundle(self, name: str, folder: str = "") -> bool:
        """Return whether a folder that is not ignored is treated as a single file by some program."""
        return (
            is_bundle(name) and not name.startswith(_IGNORED_PREFIXES) and not self._is_ignored(name, folder)
        )

    def _is_ignored(self, name: str, folder: str) -> bool:
        if self._ignore is None:
            return False
        path = composed(
            f"{folder}/{name}"
        )  # a Mac's names have accents apart, what an operator types has not
        return bool(self._ignore.match(path[path.rfind("/") + 1 :]) or (folder and self._ignore.match(path)))

    def is_clip(self, name: str) -> bool:
        """Return whether a name has a clip's suffix."""
        return suffix_of(name) in self._extensions

    def awaited(self, name: str) -> str | None:
        """Return the clip that a temporary file announces: `shot.mp4` for `shot.mp4.aria2`."""
        if is_claimed_name(name):  # ours, while a claim moves the clip to the work folder
            return None
        return next((inner for inner in inner_names(name) if self.is_clip(inner)), None)

    def controls(self, clip: str, folder: str = "") -> list[str]:
        """Return the names of control files that would mark a clip as incomplete."""
        names = [clip + suffix for suffix in CONTROL_SUFFIXES]
        return [name for name in names if fits(name) and not self._is_ignored(name, folder)]

    def base(self, name: str) -> str:
        """Return what a clip, its sidecars and its temporary files have in common: they are judged together.

        It is composed (NFC) and folded: names from a Mac, or typed by a person, may be encoded differently.
        """
        inner = folded(self.awaited(name) or _coming(name) or name)
        if inner.endswith((" ", ".")) and meant_as_sidecar(inner) is not None:
            inner = inner.rstrip(" .")
        while (suffix := suffix_of(inner)) and (
            suffix in SORTS or suffix in self._extensions or suffix in {TOML, TXT}
        ):
            inner = stem(inner)
        return inner

    def loose(self, base: str) -> str:
        """Return what base names have in common that may be meant to be the same."""
        bare = uncopied(base)
        return loose(base if bare == base else self.base(bare))


def _coming(name: str) -> str:
    """Return the sidecar or prompt that a temporary file announces; empty for none."""
    inner = (one for one in inner_names(name) if one.lower().endswith((TOML, TXT)))
    return "" if is_claimed_name(name) else next((one for one in inner if may_name_sidecar(one)), "")


def _other_kind(name: str) -> Kind:
    """Return the kind of a file that is neither ours nor a clip nor text."""
    if is_bare_pause(name):
        return Kind.PAUSE
    if suffix_of(name) in TIMELINES and sort_of(name) is Sort.TIMELINE:
        return Kind.TIMELINE
    return Kind.IMAGE if name.lower().endswith(SUFFIXES) else Kind.OTHER


def _own_kind(name: str) -> Kind | None:
    """Return the kind of a name with a leading `_` that editors write for us, or a near-miss of one."""
    lower = name.lower()
    if lower.endswith(_OUR_NOTES):
        return None
    if lower == DEFAULTS:
        return Kind.DEFAULTS
    if lower == FOLDER_PROMPT:
        return Kind.FOLDER_PROMPT
    if meant_as_settings(name) is not None:
        return Kind.NEAR_SETTINGS
    return Kind.PAUSE if is_pause(name) else None


def may_name_sidecar(name: str) -> bool:
    """Return whether a file of this name can exist, and is not one of our own notes, which are not read."""
    return fits(name) and not name.lower().endswith(_OUR_NOTES)


def fits(name: str) -> bool:
    """Return whether a file system accepts the length of a name."""
    return len(name.encode(errors="surrogateescape")) <= NAME_BYTES_MAX


def composed(name: str) -> str:
    """Return a name with its accents composed, as most programs write them; letter case stays."""
    return unicodedata.normalize("NFC", name)


def is_plain_name(name: str) -> bool:
    """Whether a text is one name of a path that every tool can show."""
    is_whole = name not in {"", ".", ".."} and not set(name) & {"/", "\\", "\0"}
    # Not `isprintable`: a Mac's recordings have a narrow space before PM, and many an emoji has a joiner.
    return is_whole and is_showable(name) and name == name.strip()
