"""Finds on which line of a TOML text a key stands; tomllib does not say."""

from __future__ import annotations

import re
from collections.abc import Iterator

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_DOTTED})[ \t]*\]")
_KEY = re.compile(rf"[ \t]*({_DOTTED})[ \t]*=(.*)", re.DOTALL)
_PARTS = re.compile(_PART)
_STRINGS = re.compile(r'"""|\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#')


def line_of(text: str, key: str) -> int | None:
    """Find a dotted key as in `extra.strength` or `variant.2.seed`; None where it is not found.

    Lines count from 1, tables of an array from 1. A key inside an inline table has the line of that table.
    """
    while key:
        for path, number in _keys(text):
            if path == key or path.startswith(key + "."):
                return number
        key = key.rpartition(".")[0]
    return None


def _keys(text: str) -> Iterator[tuple[str, int]]:
    table, counts, fence = "", dict[str, int](), ""
    for number, line in enumerate(text.split("\n"), 1):
        if fence:
            end = line.find(fence)
            fence = "" if end >= 0 else fence
            continue
        if header := _HEADER.match(line):
            table = _plain(header[2])
            if header[1] == "[[":
                counts[table] = counts.get(table, 0) + 1
                table = f"{table}.{counts[table]}"
            yield table, number
        elif found := _KEY.match(line):
            yield f"{table}.{_plain(found[1])}" if table else _plain(found[1]), number
            fence = _opened(found[2])
        else:
            fence = _opened(line)


def _plain(dotted: str) -> str:
    return ".".join(part.strip("\"'") for part in _PARTS.findall(dotted))


def _opened(rest: str) -> str:
    """Give the fence of a multi-line string that begins on this line and does not end on it."""
    position = 0
    while found := _STRINGS.search(rest, position):
        if found[0] == "#":
            return ""
        position = found.end()
        if found[0] in {'"""', "'''"}:
            end = rest.find(found[0], position)
            if end < 0:
                return found[0]
            position = end + 3
    return ""
