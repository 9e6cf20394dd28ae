"""What went wrong, as a value: what it concerns, a stable code, and words for people; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class FaultOf(StrEnum):
    """What a refusal concerns; it decides which clips wait."""

    CLIP = "clip"
    """This clip or request; sending it again changes nothing."""
    MOMENT = "moment"
    """Temporary; tried again later."""
    MODEL = "model"
    """The model has no route at the provider now: clips that ask for it wait, others go on."""
    ACCOUNT = "account"
    """The key, the credits or the daily quota; every clip waits, no clip is at fault."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A clear refusal, translated from whatever the provider or the network said."""

    of: FaultOf
    code: str
    """Stable and dotted, ours or the provider's: `ACCOUNT.KEY_REFUSED`, `SAFETY.INPUT.TEXT`."""
    message: str
    """What happened, for people; no key, no signed address."""
    what_to_do: str = ""
    retry_after_seconds: float | None = None
    """0 to 86400, as the provider asked; None when it did not."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about a clip or its sidecar that its editor can fix; it becomes a line of the note."""

    message: str
    """What is wrong and what would be right, in plain words."""
    key: str = ""
    """The sidecar's key, dotted, if it is about one."""
    line: int | None = None
    """Counted from 1, where known."""
    file: str = ""
    """The file to fix, relative to the inbox; empty for the clip itself."""
    text: str = ""
    """That line as it was written, shortened."""
    right: str = ""
    """What to write in its place, a line or more."""
    is_harmless: bool = False
    """Nobody has to do anything about it: a note explains, and nothing waits for a person."""
    is_its_kind: bool = False
    """It is about the kind of file: no change of this one helps, another file has to be used."""
    is_passing: bool = False
    """It ends by itself, as when a clip is still being written."""


class Unsure(Exception):
    """A clip could not be probed, perhaps through no fault of its own; the message is for its editor."""


class OperatorError(Exception):
    """What an operator asked for cannot be done; a command prints the message, a sentence, and ends."""

    exit_code = 1


CRASHES_MAX = 3
"""Crashes of the process over the same thing after which it is set aside."""


class CrashCounter:
    """Counts crashes by what was in flight: a clip or job, and the stage or content it crashed over."""

    def __init__(self, counts: Iterable[tuple[str, str, int]] = ()) -> None:
        self._counts = {str(key): (str(over), int(count)) for key, over, count in counts}

    def __iter__(self) -> Iterator[tuple[str, str, int]]:
        return iter([(key, over, count) for key, (over, count) in self._counts.items()])

    def add(self, key: str, over: str) -> None:
        """Count a crash; one over another stage or content begins at 1."""
        self._counts[key] = (over, self.count(key, over) + 1)

    def count(self, key: str, over: str | None = None) -> int:
        """Return how often the process crashed over something, in this stage or with this content."""
        before, count = self._counts.get(key, ("", 0))
        return count if over in {None, before} else 0

    def clear(self, key: str) -> bool:
        """Forget the crashes over something; return whether there were any."""
        return self._counts.pop(key, None) is not None
