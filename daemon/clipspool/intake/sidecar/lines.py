"""Finds the line of a key in a TOML text, and splits text that is not quite TOML."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_DOTTED})[ \t]*\]")
_KEY = re.compile(rf"[ \t]*({_DOTTED})[ \t]*=(.*)", re.DOTALL)
_PARTS = re.compile(_PART)
_STRINGS = re.compile(r'"""|\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#')


def line_of(text: str, key: str) -> int | None:
    """Return the line of a dotted key, as in `extra.strength` or `variant.2.seed`; None if not found.

    Lines count from 1, tables of an array from 1. A key inside an inline table has the line of that table.
    """
    while key:
        for path, number in keys_with_lines(text):
            if path == key or path.startswith(key + "."):
                return number
        key = key.rpartition("[" if key.endswith("]") else ".")[0]
    return None


def keys_with_lines(text: str) -> Iterator[tuple[str, int]]:
    """Yield each key and table of a text, dotted, with its line; tables of an array are numbered from 1."""
    table, counts, fence = "", Counter[str](), ""
    for number, line in enumerate(text.split("\n"), 1):
        rest = line
        if fence:
            pass
        elif header := _HEADER.match(line):
            table = _plain(header[2])
            if header[1] == "[[":
                counts[table] += 1
                table = f"{table}.{counts[table]}"
            yield table, number
            continue
        elif found := _KEY.match(line):
            yield f"{table}.{_plain(found[1])}" if table else _plain(found[1]), number
            rest = found[2]
        fence, _ = _after(rest, fence, 0)


def _plain(dotted: str) -> str:
    return ".".join(part.strip("\"'") for part in _PARTS.findall(dotted))


@dataclass(frozen=True, slots=True)
class Statement:
    """A key with its value, a table's header, or a line that is neither, as written."""

    line: int
    """Number of its first line, from 1."""
    text: str


_BEGINS_ANOTHER = re.compile(rf"[ \t]*(?:{_DOTTED}[ \t]*=|\[)")


def statements(text: str) -> Iterator[Statement]:
    """Split a text into its statements, without empty lines and comments.

    A list that is not closed ends at a line that looks like the next key, a table in braces at one that looks
    like a header; a text in three quotes that is not closed goes on to the end.
    """
    held, first, fence, depth = list[str](), 0, "", 0
    for number, line in enumerate(text.split("\n"), 1):
        begins = _HEADER if held and "{" in held[0] else _BEGINS_ANOTHER
        if held and not fence and begins.match(line):
            yield Statement(first, "\n".join(held))
            held, depth = [], 0
        if not held:
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            first = number
        held.append(line)
        fence, depth = _after(line if len(held) > 1 else line.partition("=")[2], fence, depth)
        if not fence and depth <= 0:
            yield Statement(first, "\n".join(held))
            held, depth = [], 0
    if held:
        yield Statement(first, "\n".join(held))


def _after(rest: str, fence: str, depth: int) -> tuple[str, int]:
    """Return which multi-line text, and how many lists, are open after the rest of a line."""
    position = 0
    while position < len(rest):
        if fence:
            end = rest.find(fence, position)
            if end < 0:
                return fence, depth
            fence, position = "", end + 3
        elif found := _STRINGS.match(rest, position):
            if found[0] == "#":
                break
            fence = found[0] if found[0] in {'"""', "'''"} else ""
            position = found.end()
        elif rest[position] in "\"'":  # a quote that nothing closes: the rest is text
            break
        else:
            depth += (rest[position] in "[{") - (rest[position] in "]}")
            position += 1
    return fence, depth
