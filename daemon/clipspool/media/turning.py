"""Reads how a stored picture is to be turned and mirrored, and returns the filters that do it."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, cast

from av.sidedata.sidedata import Type

if TYPE_CHECKING:
    import av.video
    from av.sidedata.sidedata import SideDataContainer


def orientation(picture: av.VideoFrame) -> tuple[int, bool]:
    """Return (degrees clockwise to turn the stored picture, whether to mirror it left to right first)."""
    matrix = _matrix_of(picture)
    if matrix is None:
        return -picture.rotation % 360 // 90 * 90, False
    a, b, mirrored = matrix
    if abs(a) >= abs(b):
        return (0 if a >= 0 else 180), mirrored
    return (90 if b > 0 else 270), mirrored


def tilt(picture: av.VideoFrame) -> str | None:
    """Return in words that a picture is to be turned by less than a quarter, which is not done."""
    a, b, _ = _matrix_of(picture) or (1, 0, False)
    angle = round(math.degrees(math.atan2(b, a))) % 360
    said = f"it is marked as turned by {angle} degrees, and only quarter turns are applied"
    return said if angle % 90 else None


def turns(rotation: int, *, mirrored: bool) -> list[tuple[str, str]]:
    """Return the filters that show a stored picture upright."""
    flips = [("hflip", "")] if mirrored else []
    turned = {
        90: [("transpose", "dir=clock")],
        180: [("hflip", ""), ("vflip", "")],
        270: [("transpose", "dir=cclock")],
    }
    return flips + turned.get(rotation, [])


def _matrix_of(picture: av.VideoFrame) -> tuple[int, int, bool] | None:
    """Return how a player turns the stored picture, as multiples of cosine and sine, and mirrors it."""
    try:
        side = cast("SideDataContainer", picture.side_data)[Type.DISPLAYMATRIX]
    except (KeyError, ValueError):  # none, or side data of a kind that PyAV has no name for
        return None
    a, b, _, c, d = struct.unpack("=5i", bytes(side)[:20])
    mirrored = a * d - b * c < 0
    return (-a, -b, mirrored) if mirrored else (a, b, mirrored)
