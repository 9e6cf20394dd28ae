"""Compares the length of a result with the length of the clip that was sent; pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

_SHARE = 0.1
_SECONDS = 0.5
_SHARE_OF_SHORT = 0.25
_FRAMES_SHARE = 0.02
_FRAMES = 2


@dataclass(frozen=True, slots=True)
class Length:
    """The length of a film; `frames` is None and `fps` empty where they are not known."""

    seconds: float
    frames: int | None = None
    fps: str = ""

    def in_words(self) -> str:
        """Write it out: `5 s (120 frames at 24 frames a second)`."""
        if self.frames is None:
            return f"{self.seconds:.3g} s"
        rate = f" at {float(Fraction(self.fps)):.5g} frames a second" if self.fps else ""
        return f"{self.seconds:.3g} s ({frames_in_words(self.frames)}{rate})"

    def at_most(self, seconds_max: float | None) -> Length:
        """Return the length of what a model uses of it."""
        if seconds_max is None or self.seconds <= seconds_max:
            return self
        frames = round(seconds_max * Fraction(self.fps)) if self.fps else None
        return Length(seconds_max, frames, self.fps)


def frames_in_words(count: int) -> str:
    """Write a number of frames."""
    return "1 frame" if count == 1 else f"{count} frames"


def is_far_from(result: Length, sent: Length) -> bool:
    """Whether a result is much shorter or longer than the clip that was sent.

    A tenth may be missing, or half a second, or of a clip below two seconds a quarter: models round to whole
    frames, and to rates of their own. The same frames at another rate are the same film.
    """
    allowed = max(min(_SECONDS, _SHARE_OF_SHORT * sent.seconds), _SHARE * sent.seconds)
    if abs(result.seconds - sent.seconds) <= allowed:
        return False
    if result.frames is None or sent.frames is None:
        return True
    return abs(result.frames - sent.frames) > max(_FRAMES, _FRAMES_SHARE * sent.frames)
