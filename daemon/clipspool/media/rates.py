"""Chooses a clip's constant frame rate, in whose frames its parts and its length are counted; pure."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from clipspool.media.facts import Probe

COMMON_RATES: Final = tuple(
    Fraction(rate) for rate in ("24000/1001", "24", "25", "30000/1001", "30", "48", "50", "60000/1001", "60")
)
AVERAGE_TOLERANCE: Final = 0.01
SAME_RATE_TOLERANCE: Final = 0.0005
COMMON_RATE_TOLERANCE: Final = 0.03
DEFAULT_RATE: Final = Fraction(25)
_ROUNDED: Final = Fraction(1, 100_000)
"""A rate that is off one of video by less than this share was rounded: 2997/100, or by milliseconds."""


def unrounded(rate: Fraction) -> Fraction:
    """Return the rate of video that was meant, 30000/1001 for 2997/100; any other as it is."""
    meant = (Fraction(round(rate)), Fraction(round(rate * 1001 / 1000) * 1000, 1001))
    return next((near for near in meant if abs(near - rate) <= rate * _ROUNDED), rate)


def constant_rate(probe: Probe) -> Fraction:
    """Return a clip's frame rate; where it varies, a common rate instead.

    That is the common rate at the average, else the one that shows every picture (of 30 a fifth may be
    missing, which makes them no 24), else the one near the average, else the next above it.
    """
    own = Fraction(probe.fps) if probe.fps else DEFAULT_RATE
    if not probe.variable_frame_rate:
        return own
    base = Fraction(probe.fps_base) if probe.fps_base else own
    for wanted, tolerance in (
        (own, AVERAGE_TOLERANCE),
        (base, SAME_RATE_TOLERANCE),
        (own, COMMON_RATE_TOLERANCE),
    ):
        near = min(COMMON_RATES, key=lambda common: abs(common - wanted))
        if abs(near - wanted) <= wanted * Fraction(tolerance):
            return near
    return next((common for common in COMMON_RATES if common >= own), own.limit_denominator(1001))


def frames_of(probe: Probe, rate: Fraction, start_seconds: float = 0.0, seconds: float | None = None) -> int:
    """Return how many frames of a rate a clip has, from a start on; at most `seconds` of them, at least 1."""
    counted = round(probe.seconds * rate) - round(start_seconds * rate)
    return max(1, counted if seconds is None else min(counted, round(seconds * rate)))
