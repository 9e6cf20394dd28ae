"""Cuts names to a width so that both ends can be read, and names that differ stay different; pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest

from rich.cells import cell_len, chop_cells

_HEAD_SHARE = 0.4
_HEAD_MIN = 3
"""Characters kept of the beginning that a name shares with others."""
_BEFORE = 2
"""Characters shown before the first one that differs."""


def cut(name: str, width: int, mark: str = "…") -> str:
    """Return a name of at most `width` cells: its beginning and its end, with `mark` between them."""
    if cell_len(name) <= width:
        return name
    room = max(width - cell_len(mark), 0)
    head = _beginning(name, int(room * _HEAD_SHARE))
    return head + mark + _end(name[len(head) :], room - cell_len(head))


def cut_apart(names: Iterable[str], width: int, mark: str = "…") -> dict[str, str]:
    """Return each name cut to a width; where two would look alike, the part that differs is shown."""
    every = list(dict.fromkeys(names))
    shown = {name: cut(name, width, mark) for name in every}
    alike: dict[str, list[str]] = {}
    for name, short in shown.items():
        alike.setdefault(short, []).append(name)
    for group in alike.values():
        if len(group) > 1:
            shared = next(at for at, letters in enumerate(zip_longest(*group)) if len(set(letters)) > 1)
            shown |= {name: _from(name, shared, width, mark) for name in group}
    return shown


def _from(name: str, differs_at: int, width: int, mark: str) -> str:
    """Cut a name to its first letters and the part that begins where it differs from its neighbours."""
    head = _beginning(name, min(_HEAD_MIN, width))
    room = width - cell_len(head) - 2 * cell_len(mark)
    if room <= 0:
        return cut(name, width, mark)
    rest = name[max(differs_at - _BEFORE, len(head)) :]
    if cell_len(rest) <= room + cell_len(mark):
        return head + mark + rest
    return head + mark + _beginning(rest, room) + mark


def _beginning(text: str, width: int) -> str:
    return chop_cells(text, width)[0] if width > 0 and text else ""


def _end(text: str, width: int) -> str:
    while cell_len(text) > width:
        text = text[1:]
    return text
