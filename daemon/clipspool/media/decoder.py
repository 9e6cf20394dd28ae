"""The daemon's side of the decoding processes: timed calls, faults as values, a new process after a crash."""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from clipspool.media.facts import (
    Conformed,
    Cropped,
    Finished,
    MediaFault,
    Picture,
    Probe,
    Scenes,
    Value,
    Written,
)
from clipspool.media.feeding import Feed
from clipspool.media.pool import Crew
from clipspool.media.process import Child, NoAnswer, OnShare
from clipspool.media.rates import constant_rate, frames_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from io import FileIO

    from clipspool.media.joins import JoinPlan
    from clipspool.media.plan import Conform
    from clipspool.media.timeline import FinishPlan

SECONDS_MAX = {
    **dict.fromkeys(("probe", "image_facts"), 30.0),
    **dict.fromkeys(("verify", "sample", "poster", "scale_image", "still"), 60.0),
    **dict.fromkeys(("conform", "finish", "crop_stills", "pack"), 900.0),
    "scenes": 3600.0,
    "join": 7200.0,
}
"""How long each call may take; packing pictures takes longer, the more there are."""
_SECONDS_A_PICTURE = 2.0
_SHORT = frozenset({"probe", "verify", "image_facts", "still"})
"""Calls that only read, and that a job waits for; the others write something."""

V = TypeVar("V", bound=Value)


class Decoder:
    """Runs all work with PyAV in up to `children` processes of at most `memory_bytes_max` address space each.

    The first call starts a child, a call that has waited for a while in which none ended another. A child
    ends by itself after `idle_seconds` without a call, and never outlives the daemon. Calls may come from
    any thread; one that finds all children busy waits, which does not count as its time. Of several children,
    long calls leave one to short calls.
    """

    def __init__(
        self, *, memory_bytes_max: int = 2 << 30, idle_seconds: float = 60, children: int = 1
    ) -> None:
        self._children = [Child(memory_bytes_max, idle_seconds) for _ in range(children)]
        self._crew = Crew(self._children)

    def warm(self) -> None:
        """Start a child if none is running and a call is likely soon, without waiting: it takes 0.1 s."""
        child = self._crew.borrow_first()
        if child is not None:
            try:
                with suppress(OSError):  # the next call reports it
                    child.start()
            finally:
                self._crew.give_back(child)

    def probe(self, file: int) -> Probe | MediaFault:
        """Read a clip's facts from an open, readable descriptor; of a ZIP only its kind."""
        return self._call(Probe, "probe", [_reopened(file)], {})

    def verify(self, file: int) -> Probe | MediaFault:
        """Check that a clip is whole, its first picture decodes and its last packet can be read.

        A ZIP is unpacked without keeping anything, and its checksums compared.
        """
        return self._call(Probe, "verify", [_reopened(file)], {})

    def sample(
        self, destination: int, *, seconds: float = 3.0, width: int = 640, height: int = 360, fps: int = 24
    ) -> Written | MediaFault:
        """Write a moving test picture (H.264 MP4, no sound) to a descriptor open for reading and writing."""
        arguments = {"seconds": seconds, "width": width, "height": height, "fps": fps}
        return self._call(Written, "sample", [os.dup(destination)], arguments)

    def scenes(self, file: int, probe: Probe, *, on_share: OnShare | None = None) -> Scenes | MediaFault:
        """Find the frames of a clip at which another scene begins; reads all of its pictures."""
        rate = constant_rate(probe)
        arguments = {"fps": f"{rate.numerator}/{rate.denominator}", "frames": frames_of(probe, rate)}
        return self._call(Scenes, "scenes", [_reopened(file)], arguments, on_share)

    def conform(
        self, source: int, destination: int, plan: Conform, *, on_share: OnShare | None = None
    ) -> Conformed | MediaFault:
        """Convert a clip as planned, never above the plan's bytes.

        `destination` is open for reading and writing; after a fault it holds nothing of use. `on_share` is
        called now and then, in the caller's thread.
        """
        files = [_reopened(source), _reopened(source), os.dup(destination)]
        return self._call(Conformed, "conform", files, plan.to_dict(), on_share)

    def finish(
        self, result: int, source: int, destination: int, plan: FinishPlan, *, on_share: OnShare | None = None
    ) -> Finished | MediaFault:
        """Convert a result to replace its source in the timeline; `destination` is open to read and write."""
        files = [_reopened(result), _reopened(source), os.dup(destination)]
        return self._call(Finished, "finish", files, plan.to_dict(), on_share)

    def join(
        self,
        results: Sequence[int],
        source: int,
        destination: int,
        plan: JoinPlan,
        *,
        on_share: OnShare | None = None,
    ) -> Finished | MediaFault:
        """Join the results of a clip's parts, in order; `destination` is open to read and write."""
        files = [_reopened(source), os.dup(destination), *map(_reopened, results)]
        return self._call(Finished, "join", files, plan.to_dict(), on_share)

    def poster(self, source: int, result: int, destination: int) -> Picture | MediaFault:
        """Write a small JPEG: a picture of the source, and beside it one of its result, upright or across."""
        files = [_reopened(source), _reopened(result), os.dup(destination)]
        return self._call(Picture, "poster", files, {})

    def image_facts(self, file: int) -> Picture | MediaFault:
        """Read the size at which a JPEG, PNG or WebP image is shown, to check its aspect."""
        return self._call(Picture, "image_facts", [_reopened(file)], {})

    def scale_image(
        self, source: int, destination: int, *, width_max: int, height_max: int, bytes_max: int
    ) -> Picture | MediaFault:
        """Write an image within the limits: PNG where it is transparent, JPEG otherwise."""
        arguments = {"width_max": width_max, "height_max": height_max, "bytes_max": bytes_max}
        files = [_reopened(source), os.dup(destination)]
        return self._call(Picture, "scale_image", files, arguments)

    def still(self, file: int, kind: str) -> Probe | MediaFault:
        """Read the facts of one of a film's numbered pictures: `png`, `jpeg`, `tiff`, `exr` or `dpx`."""
        return self._call(Probe, "still", [_reopened(file)], {"kind": kind})

    def crop_stills(
        self, files: Sequence[int], whole: tuple[int, int], kept: tuple[int, int]
    ) -> Cropped | MediaFault:
        """Crop PNG pictures in their place, each from the size `whole`; they are open to read and write.

        After a fault some are cropped, and one may be damaged.
        """
        arguments = {"whole": whole, "kept": kept}
        return self._call(Cropped, "crop_stills", [os.dup(file) for file in files], arguments)

    def pack(
        self,
        pictures: Iterable[tuple[str, FileIO]],
        destination: int,
        *,
        kind: str,
        rate: str,
        count: int,
        timecode: str = "",
    ) -> Written | MediaFault:
        """Pack numbered pictures, byte for byte, into one film; each is decoded once and may not be damaged.

        `pictures` are names with open files, which are closed. `destination` is open for reading and writing.
        Raises OSError where a picture cannot be read.
        """
        ours, theirs = os.pipe()
        feed = Feed(pictures, theirs)
        try:
            arguments = {"kind": kind, "rate": rate, "count": count, "timecode": timecode}
            files, seconds = [ours, os.dup(destination)], count * _SECONDS_A_PICTURE
            return self._call(Written, "pack", files, arguments, seconds_least=seconds)
        finally:
            feed.end()

    def close(self) -> None:
        """End the children for good; current and later calls end with a fault (MEDIA.STOPPED)."""
        for child in self._children:
            child.stop()
        self._crew.wait_for_all()  # each is given back when its call has ended
        for child in self._children:
            child.end()

    def _call(
        self,
        kind: type[V],
        name: str,
        files: Sequence[int],
        arguments: dict[str, Any],
        on_share: OnShare | None = None,
        seconds_least: float = 0.0,
    ) -> V | MediaFault:
        """Make one call in a free child and read its value; closes `files`, which are ours."""
        is_long = name not in _SHORT
        seconds_max = max(SECONDS_MAX[name], seconds_least)
        try:
            child = self._crew.borrow(is_long=is_long)
            try:
                call = {"name": name, "arguments": arguments, "seconds_max": seconds_max}
                answer = child.call(json.dumps(call).encode(), files, seconds_max, on_share)
            finally:
                self._crew.give_back(child, is_long=is_long)
        finally:
            for file in files:
                os.close(file)
        match answer:
            case {"value": value}:
                return kind.from_dict(value)
            case {"fault": fault}:
                return MediaFault.from_dict(fault)
            case dict():
                raise RuntimeError(f"the decoding process failed at {name}:\n{answer['bug']}")
            case NoAnswer("ended", status) if status > 0:
                # It never opened the file, for want of memory, threads or descriptors; that may pass.
                raise OSError(errno.EAGAIN, f"the decoder could not begin (status {status})", name)
            case NoAnswer():
                return _fault_of(answer, seconds_max)


def _fault_of(answer: NoAnswer, seconds_max: float) -> MediaFault:
    if answer.why == "closed":
        todo = "Nothing: it goes on at the next start."
        return MediaFault("MEDIA.STOPPED", "clipspool is stopping", todo)
    if answer.why == "late":
        why = f"the clip could not be dealt with in {seconds_max:.0f} seconds"
        todo = "Check that the clip plays; a shorter or smaller one may do."
        return MediaFault("MEDIA.TIMEOUT", why, todo)
    todo = "Export the clip again, best as H.264 or ProRes; the file may be damaged."
    return MediaFault("MEDIA.CRASHED", "the decoder crashed on this file", todo)


def _reopened(file: int) -> int:
    """Open the same file again, with a position of its own: the daemon's stays where it is."""
    try:
        return os.open(f"/proc/self/fd/{file}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return os.dup(file)  # without /proc, or after a change of its mode: shares the position, and works
