"""Watches folders of numbered pictures that have a sidecar: when one is whole, it is a clip.

Nothing in a folder says where its pictures end. It has to be unchanged for four times as long as one picture
usually took to follow another; and unless its sidecar was written after the last of them, for
`unsure_seconds`: a film that a program still renders, at a picture every few minutes, must not be sent half
finished.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from itertools import pairwise
from statistics import median
from typing import Any

from clipspool.intake.kinds import inner_names, suffix_of
from clipspool.intake.names import Kind, Names
from clipspool.intake.pair import Waits
from clipspool.intake.settle import CTIME_NS, LOOKS, MTIME_NS, SIZE, Stamp, stamp_of
from clipspool.intake.sidecar.layers import Draft, Wanted, located
from clipspool.intake.sidecar.parse import Layer
from clipspool.intake.tree import Tree
from clipspool.intake.types import Rules
from clipspool.intake.whole import PAUSE_FACTOR, PAUSE_SECONDS_MAX
from clipspool.jobs.model import Problem, Reference, Request
from clipspool.jobs.sequence import (
    KINDS,
    PICTURES,
    PICTURES_MAX,
    PICTURES_MIN,
    Facts,
    Sequence,
    at_rate,
    pictures_of,
    sequence_of,
)
from clipspool.jobs.text import span
from clipspool.media.gaps import holes_in
from clipspool.media.stills import Unfit, survey
from clipspool.spool.guard import Unavailable
from clipspool.spool.root import Root
from clipspool.system.atomic import Rel, join, open_regular
from clipspool.system.redaction import readable

_NAMED_MAX = 3
_RATE = "frames_per_second"
ONLY_READ = (
    "no folders of pictures are taken from an inbox that is only read: make a film of them, or put the "
    "folder into an inbox whose sources are archived"
)
_ACCEPTED = "PNG, JPEG, TIFF, EXR and DPX"


@dataclass(frozen=True, slots=True)
class Rested:
    """A folder of pictures that passed every check, as it is now."""

    stamp: Stamp
    """All its bytes, the time of the last change, a hash of all stamps, its inode and device."""
    since: float
    """Monotonic seconds: since when it is unchanged."""
    facts: Facts
    first: Rel
    """Path of its first picture."""


@dataclass(frozen=True, slots=True)
class _Listing:
    """What is in a folder."""

    stamp: Stamp
    pictures: tuple[str, ...]
    others: tuple[str, ...]
    """Other files and folders, which must not be in it."""
    on_their_way: tuple[str, ...]
    """Temporary files of copying tools."""
    pause: float
    """Median time in seconds between the arrivals of two pictures."""
    changed_ns: int
    """When a picture last came or changed, by the file system's clock."""


class Sequences:
    """Keeps what is known of one inbox's folders of pictures that have a sidecar."""

    def __init__(self, root: Root, rules: Rules, *, is_only_read: bool = False) -> None:
        """In an inbox that is only read, each gets a note that says so."""
        self._is_only_read = is_only_read
        self._root = root
        self._rules = rules
        self._names = Names(rules.extensions, rules.ignore)
        self._seen: dict[Rel, tuple[_Listing, float]] = {}
        """The last listing, and since when it is unchanged."""
        self._surveyed: dict[Rel, tuple[Stamp, tuple[Facts | Unfit, bool]]] = {}

    def forget(self, path: Rel) -> None:
        """Drop what is known about a folder that is gone or accepted."""
        self._seen.pop(path, None)
        self._surveyed.pop(path, None)

    def look(self, path: Rel, companions: Iterable[Stamp], now: float) -> Rested | Waits:
        """Judge a folder as it was just seen, by the stamps of its sidecar and its prompt. Raises OSError.

        `now` is monotonic seconds.
        """
        if self._is_only_read:
            return Waits(path, ONLY_READ, is_problem=True)
        listing, since = self._seen[path]
        if trouble := self._trouble_in(path, listing, since, now):
            return trouble
        settle = self._rules.settle_seconds
        if now < since + settle:
            at = min(since + settle, now + settle / LOOKS)
            return Waits(path, "its pictures are still coming", look_at=at, proceeds=True)
        found, has_holes = self._survey(path, listing)
        sidecar_ns = max(stamp[CTIME_NS] for stamp in companions)
        seconds = self._rest(listing, sidecar_ns, has_holes=has_holes)
        left = since + seconds - now
        if isinstance(found, Unfit):
            due = since + min(self._rules.sidecar_wait_seconds, seconds) if found.may_pass else now
            return Waits.until(path, found.reason, due, now, needs_others=True)
        if left > 0:
            return self._more_may_come(path, found, seconds, since, now)
        return Rested(listing.stamp, since, found, join(path, found.first))

    def see(self, path: Rel, tree: Tree, now: float) -> bool:
        """Return whether a folder holds the pictures of a film; list it, to know since when it is as it is.

        Raises Unavailable.
        """
        if not tree.has_pictures(path):
            return False
        try:
            known, listing = self._seen.get(path), self._list(path)
        except Unavailable:
            raise
        except OSError:  # it went; the next scan shows it
            return False
        self._seen[path] = listing, known[1] if known is not None and known[0] == listing else now
        return True

    def since(self, path: Rel) -> float:
        """Return since when, in monotonic seconds, a folder that was looked at is unchanged."""
        return self._seen[path][1]

    def stamp(self, path: Rel) -> Stamp:
        """Return the stamp of a folder as it is now. Raises OSError."""
        return self._list(path).stamp

    def _more_may_come(self, path: Rel, found: Facts, seconds: float, since: float, now: float) -> Waits:
        wait = self._rules.sidecar_wait_seconds
        reason = (
            f"{found.count:,} pictures are there, `{readable(found.first)}` to `{readable(found.last)}`, and "
            f"more may come: it goes on by itself when none came for {span(seconds)}, or once its sidecar is "
            "saved again"
        )
        look_at = since + seconds if now >= since + wait else min(since + seconds, since + wait)
        return Waits(path, reason, now >= since + wait, look_at=look_at, proceeds=True)

    def _rest(self, listing: _Listing, sidecar_ns: int, *, has_holes: bool) -> float:
        """Return how long a folder must be unchanged: black may be stored as a hole, like what is missing."""
        seconds = max(self._rules.settle_seconds, PAUSE_FACTOR * min(listing.pause, PAUSE_SECONDS_MAX))
        is_told = sidecar_ns >= listing.changed_ns and not has_holes
        return seconds if is_told else max(seconds, self._rules.unsure_seconds)

    def _trouble_in(self, path: Rel, listing: _Listing, since: float, now: float) -> Waits | None:
        due = since + self._rules.sidecar_wait_seconds
        if listing.on_their_way:
            name = readable(listing.on_their_way[0])
            reason = f"`{name}` is in it, so a picture is still being copied; if not, remove that file"
            return Waits.until(path, reason, due, now, proceeds=now < due, needs_others=True)
        if reason := not_alone(listing.others):
            return Waits.until(path, reason, due, now, needs_others=True)
        if reason := odd_count(len(listing.pictures)):
            return Waits.until(path, reason, due, now, needs_others=True)
        return None

    def _survey(self, path: Rel, listing: _Listing) -> tuple[Facts | Unfit, bool]:
        """Read the headers of a folder's pictures, once for each state of it; and whether one has a hole."""
        known = self._surveyed.get(path)
        if known is not None and known[0] == listing.stamp:
            return known[1]
        sequence = sequence_of(listing.pictures)
        found: tuple[Facts | Unfit, bool]
        if isinstance(sequence, str):
            found = Unfit(readable(sequence), may_pass=True), False
        else:
            # First: on ext4 a read makes reserved space look like data.
            has_holes = any(_has_hole(file) for _, file in self._open(path, sequence))
            found = survey(sequence, self._open(path, sequence)), has_holes
        self._surveyed[path] = listing.stamp, found
        return found

    def _open(self, path: Rel, sequence: Sequence) -> Iterator[tuple[str, FileIO]]:
        with self._root.folder(path) as folder:
            for name in sequence.names:
                yield name, open_regular(name, folder)

    def _list(self, path: Rel) -> _Listing:
        pictures: dict[str, os.stat_result] = {}
        others, coming = [], []
        with self._root.folder(path) as folder, os.scandir(folder) as entries:
            own = os.fstat(folder)
            for entry in entries:
                name = entry.name
                kind = self._names.kind(name, path)
                if any(suffix_of(inner) in KINDS for inner in inner_names(name)):
                    coming.append(name)
                elif entry.is_dir(follow_symlinks=False):
                    others += [name] if self._names.enters(name, path) else []
                elif (
                    pictures_of([name]) and entry.is_file(follow_symlinks=False) and kind is not Kind.IGNORED
                ):
                    with suppress(FileNotFoundError):
                        pictures[name] = entry.stat(follow_symlinks=False)
                elif kind not in {Kind.IGNORED, Kind.NOTE}:
                    others.append(name)
        names = pictures_of(pictures)
        stamps = [(name, stamp_of(pictures[name])) for name in names]
        mark = int.from_bytes(hashlib.blake2b(repr(stamps).encode(errors="replace"), digest_size=8).digest())
        total, newest = sum(s[SIZE] for _, s in stamps), max((s[MTIME_NS] for _, s in stamps), default=0)
        came = sorted(s[CTIME_NS] for _, s in stamps)
        pause = median(after - before for before, after in pairwise(came)) / 1e9 if len(came) > 1 else 0.0
        return _Listing(
            (total, newest, mark, own.st_ino, own.st_dev),
            tuple(names),
            tuple(sorted(others)),
            tuple(coming),
            pause,
            came[-1] if came else 0,
        )


def _has_hole(file: FileIO) -> bool:
    with file:
        return bool(holes_in(file.fileno(), os.fstat(file.fileno()).st_size))


def not_alone(others: tuple[str, ...] | list[str]) -> str:
    """Return what is wrong with a folder of pictures in which other files are; empty without any."""
    if not others:
        return ""
    shown = ", ".join(f"`{readable(name)}`" for name in others[:_NAMED_MAX])
    more = f" and {len(others) - _NAMED_MAX:,} more" if len(others) > _NAMED_MAX else ""
    return (
        f"a folder that is one clip holds nothing but its numbered pictures ({_ACCEPTED}); in it "
        f"{'are' if len(others) > 1 else 'is'} {shown}{more}"
    )


def odd_count(count: int) -> str:
    """Return what is wrong with the number of a folder's pictures; empty where it makes a clip."""
    if PICTURES_MIN <= count <= PICTURES_MAX:
        return ""
    return f"it holds {count:,} numbered pictures; {PICTURES_MIN} to {PICTURES_MAX:,} are a clip"


def rate_problems(own: Iterable[Layer], made: Iterable[Draft], *, is_film: bool) -> list[Problem]:
    """Return what is wrong with the rate asked for: none for a film, one for a whole folder of pictures."""
    written = next((layer for layer in own if _RATE in layer.keys), None)
    if is_film and written is not None:
        message = "is for folders of numbered pictures: a film has a rate of its own, so delete the line"
        return [located(Problem(message, key=_RATE), [written], "")]
    if not is_film and len({draft.keys.get(_RATE) for draft in made}) > 1:
        return [Problem("has to be the same for all variants of one folder", key=_RATE)]
    return []


def own_pictures(clip: Rel, found: Mapping[Wanted, Reference]) -> list[Problem]:
    """Return a problem where a folder's sidecar refers to a picture in it: then it is no film."""
    inside = next((one.name for one in found.values() if one.name.startswith(f"{clip}/")), None)
    if inside is None:
        return []
    message = (
        f"names `{readable(inside)}`, one of the pictures of the clip itself. If they are references, give "
        "their folder another name than this sidecar's; if they are the clip, copy that one out of the folder"
    )
    return [Problem(message, key="references")]


def facts_at_rate(facts: dict[str, Any], draft: Draft, request: Request) -> dict[str, Any]:
    """Return the media facts of a folder's pictures at their rate, and whether somebody chose that rate."""
    pictures = {**facts[PICTURES], "is_default_rate": _RATE not in draft.keys}
    return {**at_rate(facts, request.frames_per_second), PICTURES: pictures}
