"""Shortens names to what file systems allow, and spells them so that every machine opens them; pure."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator

NAME_BYTES_MAX = 255
"""As most file systems count; NTFS allows 255 UTF-16 units, and 255 bytes of UTF-8 never hold more."""
SHORT_NAME_BYTES_MAX = 143
"""As the encrypted folders of some NAS count."""
PATH_UNITS_MAX = 259
"""Windows opens paths of 260 UTF-16 units, the closing NUL counted, where nobody has changed its settings."""
_TRIES_MAX = 10_000
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\ufffd]')
_PORTS = "0123456789\u00b9\u00b2\u00b3"
_RESERVED = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"}
    | {port + number for port in ("COM", "LPT") for number in _PORTS}
)


def shortened(name: str, bytes_max: int) -> str:
    """Cut a name to `bytes_max` bytes, between two letters."""
    raw = os.fsencode(name)
    if len(raw) <= bytes_max:
        return name
    cut = raw[: max(bytes_max, 0)]
    text = os.fsdecode(cut)
    # A letter that was cut in two reads as bytes that are not UTF-8, which the whole name may hold as well.
    while text and not name.startswith(text):
        cut = cut[:-1]
        text = os.fsdecode(cut)
    return text


def ending(name: str, bytes_max: int) -> str:
    """Shorten a name from its beginning to `bytes_max` bytes, between two letters: its suffix stays."""
    while len(os.fsencode(name)) > bytes_max:
        name = name[1:]
    return name


def fitted(name: str, end: str, spare: int = 0) -> str:
    """Return a name with an end, the name shortened where both and `spare` bytes more are too long."""
    return shortened(name, NAME_BYTES_MAX - spare - len(os.fsencode(end))) + end


def numbered(stem: str, end: str, between: str = "", spare: int = 0) -> Iterator[str]:
    """Return the names to try in order: `stem.mp4`, `stem-2.mp4`, …, with `between` before the number.

    Those with a number leave `spare` bytes for what another file adds to its name.
    """
    yield fitted(stem, between + end)
    for count in range(2, _TRIES_MAX):
        yield fitted(stem, f"{between}-{count}{end}", spare)


def marked(name: str, end: str) -> str:
    """Return a name with an end; one that has to be shortened carries a hash, so that it stays unique."""
    if len(os.fsencode(name + end)) <= SHORT_NAME_BYTES_MAX:
        return name + end
    end = "~" + hashlib.sha256(os.fsencode(name)).hexdigest()[:12] + end
    return fitted(name, end, NAME_BYTES_MAX - SHORT_NAME_BYTES_MAX)


def units(text: str) -> int:
    """Count a text as Windows and the API do: in UTF-16 units; a lone surrogate counts as one."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def portable(name: str, bytes_max: int = NAME_BYTES_MAX) -> str:
    """Spell one name of a path so that Windows, macOS and SMB open it; one that they open already stays.

    The name of a file is given without its suffix.
    """
    text = os.fsencode(name).decode("utf-8", "replace")
    text = unicodedata.normalize("NFC", text)
    text = "".join("_" if unicodedata.category(letter) == "Cc" else letter for letter in text)
    text = _FORBIDDEN.sub("_", text).strip(" ")
    if text[:1] == "." != name[:1]:
        text = "_" + text[1:]  # a visible file must not become a hidden one
    first, dot, rest = text.partition(".")
    if first.rstrip(" ").upper() in _RESERVED:
        text = f"{first.rstrip(' ')}_{dot}{rest}"
    return shortened(text, bytes_max).rstrip(" .") or "_"


def is_portable(name: str) -> bool:
    """Whether every machine opens a name as it is."""
    return portable(name) == name
