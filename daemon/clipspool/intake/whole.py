"""Judges whether a settled clip is whole, and how long it waits where nothing in it can tell."""

from __future__ import annotations

from dataclasses import dataclass
from io import FileIO
from math import inf
from pathlib import Path

from clipspool.intake.pair import Waits
from clipspool.intake.settle import SIZE, Stamp
from clipspool.intake.types import Rules
from clipspool.intake.writers import Writers
from clipspool.media.boxes import Complete, Incomplete, Unrecognised, completeness
from clipspool.media.gaps import Span, gap_in, holes_in
from clipspool.system.atomic import Rel

PAUSE_FACTOR = 4
"""A clip whose end nothing tells has to stand still so many times as long as it did while it grew."""
PAUSE_SECONDS_MAX = 900.0
"""A longer pause was an interruption: a copy begun in the evening and ended in the morning."""
_CLOSED_SHARE = 0.1
"""Of the wait: once its writer was seen to close it, less is likely to come."""
HAS_WRITER = "a program still has it open for writing"
_WRITER_SECONDS = 0.5
"""How often a whole clip is asked for its writer: most close it at once."""
_LOOK_SECONDS = 5.0
"""How often a clip is asked for its writer while it waits."""


@dataclass(slots=True)
class _Known:
    """What was found out about a clip with one stamp."""

    stamp: Stamp
    holes: tuple[Span, ...]
    verdict: Complete | None = None
    """What its headers say, once no part is known to be missing."""
    doubt: str = ""
    """Why nobody can tell whether it is whole; empty where its end is told."""


class Wholeness:
    """What is known of the clips of one inbox that may not be whole."""

    def __init__(self, rules: Rules, folder: Path) -> None:
        """`folder` is the inbox."""
        self._rules = rules
        self._writers = Writers(folder)
        self._known: dict[Rel, _Known] = {}
        self._with_writer: set[Rel] = set()

    def forget(self, path: Rel) -> None:
        """Drop what is remembered of a clip that is gone or taken."""
        self._known.pop(path, None)
        self._with_writer.discard(path)

    def look(
        self, file: FileIO, path: Rel, stamp: Stamp, since: float, pause: float, now: float
    ) -> Complete | Unrecognised | Waits:
        """Judge an open clip that has stood still since `since`, at `now` (monotonic seconds)."""
        known = self._known.get(path)
        if known is None or known.stamp != stamp:
            # Before anything reads the file: on ext4 a read makes room that was set aside look like data.
            holes = holes_in(file.fileno(), stamp[SIZE])
            known = self._known[path] = _Known(stamp, holes)
        if known.verdict is None:
            due = since + self._rules.sidecar_wait_seconds
            verdict = completeness(file, stamp[SIZE])
            if isinstance(verdict, Incomplete):
                return _stays(path, verdict.reason, now, due)
            if isinstance(verdict, Unrecognised) or verdict.container == "zip":
                return verdict
            gap = gap_in(file, stamp[SIZE], verdict.container, known.holes)
            if gap is not None and gap.is_certain:
                return _stays(path, gap.reason, now, due)
            if verdict.doubt and now < due:
                return Waits(path, verdict.doubt, look_at=due, goes_on=True)
            known.verdict = verdict
            known.doubt = verdict.open_end or (gap.reason if gap is not None else "")
        wait = self._wait_for_end if known.doubt else self._wait_for_writer
        return wait(file, path, known, since, pause, now) or known.verdict

    def _wait_for_writer(
        self, file: FileIO, path: Rel, _: _Known, since: float, pause: float, now: float
    ) -> Waits | None:
        """Let a clip wait that is whole by every sign while a program still has it open for writing."""
        until = since + max(self._rules.unsure_seconds, pause)
        if now >= until or not self._writers.has_one(file.fileno()):
            return None
        reason = f"{HAS_WRITER}; it goes on by itself once that is over"
        is_problem = now >= since + self._rules.sidecar_wait_seconds
        look_at = min(until, now + _WRITER_SECONDS)
        return Waits(path, reason, is_problem, look_at=look_at, goes_on=True)

    def _wait_for_end(
        self, file: FileIO, path: Rel, known: _Known, since: float, pause: float, now: float
    ) -> Waits | None:
        """Let a clip wait whose end nothing tells; None once it has waited long enough."""
        has_writer = self._writers.has_one(file.fileno())
        if has_writer:
            self._with_writer.add(path)
        seconds = self._rules.unsure_seconds
        if has_writer is False and path in self._with_writer and self._writers.are_all_seen():
            seconds *= _CLOSED_SHARE
        seconds = max(seconds, PAUSE_FACTOR * min(pause, PAUSE_SECONDS_MAX))
        left = since + seconds - now
        if left <= 0 and not has_writer:
            return None
        is_problem = now >= since + min(self._rules.sidecar_wait_seconds, seconds / 2)
        if has_writer:
            why = f"{HAS_WRITER}; it goes on by itself once that is over"
        else:
            why = f"it goes on by itself when it has not changed for {_in_words(seconds)}"
        return Waits(
            path,
            f"{known.doubt}: more may come; {why}",
            is_problem,
            look_at=now + min(_LOOK_SECONDS, left if left > 0 else inf),
            goes_on=True,
        )


def _stays(path: Rel, reason: str, now: float, due: float) -> Waits:
    return Waits(path, reason, now >= due, inf if now >= due else due)


def _in_words(seconds: float) -> str:
    return f"{seconds / 60:.3g} minutes" if seconds >= 120 else f"{seconds:.3g} s"  # noqa: PLR2004
