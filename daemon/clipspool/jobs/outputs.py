"""The outputs of a task: fetched, missing, or taken over from an earlier job."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """One output of a task: verified in the work folder, then delivered under a name of the outbox."""

    file: str
    """Name inside the work folder."""
    suffix: str
    """By content, with the dot: `.mp4`, `.mov`, `.webm`, `.zip`, `.jpg`, …; empty for a folder."""
    size: int
    sha256: str
    name: str = ""
    """Path relative to the outbox, once delivered."""
    finished: tuple[str, ...] = ()
    """What was done to make it ready for the timeline, in words."""
    is_untouched: bool = False
    """Whether it is the provider's own file, kept beside the one that was finished."""
    number: int = 0
    """Which of the task's outputs it is, from 1; 0 where that was not written down."""
    seconds: float | None = None
    """None for what is no film."""
    frames: int | None = None
    fps: str = ""
    """Its frames a second, as "num/den"."""
    is_tall: bool | None = None
    """Whether its pictures are higher than wide; None for what is no film, or was not looked at."""
    credentials: str = ""
    """Of the content credentials that the provider signed into it: `kept`, `gone`, `signed` where this
    machine signed what it made of it, or empty for none."""
    noticed: tuple[str, ...] = ()
    """What is odd about it, in words: all black, or byte for byte what was sent."""
    part: int = 0
    """Which part of a long clip it shows; 0 for one that shows all of it."""

    @property
    def is_film(self) -> bool:
        """Whether it has pictures that follow each other in time."""
        return self.suffix in FILMS

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of numbered pictures; `size` and `sha256` are those of all of them."""
        return self.suffix == FOLDER


ZIP = ".zip"
FOLDER = ""
"""A folder has no suffix."""
FILMS = frozenset({".mp4", ".mov", ".m4v", ".webm", ".mkv"})


@dataclass(frozen=True, slots=True)
class Missing:
    """One output of a task that could not be had."""

    number: int
    """From 1, in the order in which the provider names them."""
    why: str

    def in_words(self) -> str:
        """Return what is missing, and why."""
        return f"output {self.number} could not be had: {self.why}"


def missing_in_words(missing: tuple[Missing, ...]) -> str:
    """Return which of a task's outputs are missing; empty where none is."""
    return "; ".join(one.in_words() for one in missing)


@dataclass(frozen=True, slots=True)
class Reuse:
    """What an earlier job delivered for the same request, to deliver again without paying."""

    job_id: str
    inbox: str
    """The inbox in whose outbox the results lie."""
    results: tuple[Result, ...]
