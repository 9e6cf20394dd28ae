"""A part of a long clip: which frames of it are sent as one task."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Part:
    """Some frames of a clip, counted at its constant rate; some of them are sent with the part before too."""

    number: int
    """From 1."""
    of: int
    """How many parts there are."""
    start: int
    """The clip's frame that it begins with."""
    frames: int
    """How many frames are sent, the overlap included."""
    overlap: int
    """How many of them, at its beginning, are sent with the part before too; 0 at a scene change."""
    fps: str
    """The clip's frames a second, as "num/den"."""
    price: float | None = None
    """What it is estimated to cost, in credits; None where that is not known."""
    sent_size: int | None = None
    """Bytes of the file that was made of it."""
    sent_sha256: str = ""
    task_id: str = ""
    """Of its task, once its result is fetched."""
    credits: float | None = None
    """What that cost, as far as the provider said."""
    attempts: int = 0
    """How many submissions it took."""

    @property
    def begins_at(self) -> Fraction:
        """Where it begins in the clip, in seconds."""
        return self.start / Fraction(self.fps)

    @property
    def seconds(self) -> Fraction:
        """How long it is as it is sent."""
        return self.frames / Fraction(self.fps)
