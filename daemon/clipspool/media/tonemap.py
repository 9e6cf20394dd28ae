"""Maps HDR colours (PQ and HLG, BT.2020) to those of an SDR screen, as a colour cube for FFmpeg's haldclut.

FFmpeg's own scaler either clips all that is brighter than paper white or dims the whole picture, and PyAV's
wheels lack the zscale filter. The curves are those of SMPTE ST 2084, ITU-R BT.2100 (HLG, 1000 cd/m2) and
BT.1886; below `KNEE` of reference white (203 cd/m2, BT.2408) brightness is kept, above it is rolled off.
"""

from __future__ import annotations

import math
from array import array
from itertools import product
from typing import Final

LEVEL = 6
SIDE = LEVEL**3  # of the square image that holds the cube
NODES = LEVEL**2  # of the cube along each colour
WHITE = 65_535

REFERENCE_WHITE = 203.0
PEAK = 1000.0 / REFERENCE_WHITE
KNEE = 0.6
ROOM = (PEAK - KNEE) / (1 - KNEE)
SCREEN_GAMMA = 2.4
HLG_SYSTEM_GAMMA = 1.2

BT2020_TO_BT709: Final = (
    (1.660491, -0.587641, -0.072850),
    (-0.124550, 1.132900, -0.008349),
    (-0.018151, -0.100579, 1.118730),
)

TRANSFERS: Final = {
    1: "bt709",
    4: "gamma22",
    5: "gamma28",
    6: "smpte170m",
    7: "smpte240m",
    8: "linear",
    13: "iec61966-2-1",
    14: "bt2020-10",
    15: "bt2020-12",
    16: "smpte2084",
    18: "arib-std-b67",
}
LINEAR_TO_SRGB: Final = {"apply_trc": "iec61966_2_1"}
"""The option of the decoder of EXR by which its linear light is shown as screens show it."""
PRIMARIES: Final = {1: "bt709", 5: "bt470bg", 6: "smpte170m", 9: "bt2020", 11: "smpte431", 12: "smpte432"}


def cube(transfer: str) -> bytes:
    """Return the cube for "smpte2084" (PQ) or "arib-std-b67" (HLG): a square of SIDE pixels of 16-bit RGB."""
    light = _hlg if transfer == "arib-std-b67" else _pq
    steps = [light(node / (NODES - 1)) for node in range(NODES)]
    values = array("H")
    for blue, green, red in product(steps, repeat=3):
        values.extend(_shown(red, green, blue, is_hlg=light is _hlg))
    return values.tobytes()


def _shown(red: float, green: float, blue: float, *, is_hlg: bool) -> tuple[int, int, int]:
    if is_hlg:
        luminance = 0.2627 * red + 0.6780 * green + 0.0593 * blue
        gain = PEAK * luminance ** (HLG_SYSTEM_GAMMA - 1) if luminance > 0 else 0.0
        red, green, blue = red * gain, green * gain, blue * gain
    narrow = [max(0.0, row[0] * red + row[1] * green + row[2] * blue) for row in BT2020_TO_BT709]
    brightest = max(narrow)
    factor = _rolled_off(brightest) / brightest if brightest > KNEE else 1.0
    first, second, third = (round(WHITE * min(1.0, (factor * each)) ** (1 / SCREEN_GAMMA)) for each in narrow)
    return first, second, third


def _rolled_off(value: float) -> float:
    over = min((value - KNEE) / (1 - KNEE), ROOM)
    return KNEE + (1 - KNEE) * over * (1 + over / ROOM**2) / (1 + over)


def _pq(signal: float) -> float:
    """Return light relative to reference white (ST 2084's EOTF)."""
    root = signal ** (1 / 78.84375)
    fraction = max(root - 0.8359375, 0.0) / (18.8515625 - 18.6875 * root)
    return 10_000 / REFERENCE_WHITE * math.pow(fraction, 1 / 0.1593017578125)


def _hlg(signal: float) -> float:
    """Return scene light from 0 to 1 (the inverse of BT.2100's OETF)."""
    if signal <= 0.5:  # noqa: PLR2004  where the two parts of the curve meet
        return signal * signal / 3
    return (math.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12
