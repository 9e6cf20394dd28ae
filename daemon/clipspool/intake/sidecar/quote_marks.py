"""Replaces curly quotes around a TOML value by straight ones; those inside a text stay; pure."""

from __future__ import annotations

import re

DOUBLE = "\u201c\u201d\u201e\u201f"
SINGLE = "\u2018\u2019\u201a\u201b"
_CLOSES = {'"': DOUBLE + '"', "'": SINGLE + "'"}
_STRAIGHT = dict.fromkeys(DOUBLE, '"') | dict.fromkeys(SINGLE, "'")
_OPENS_A_PAIR = {"\u201c": "\u201d", "\u201e": "\u201c\u201d"}
_AT_THE_END = re.compile(r"[ \t]*(?:#.*)?$")
_ALMOST_AT_THE_END = re.compile(r"[ \t]*[,;]?[ \t]*(?:#.*)?$")
_IN_A_LIST = re.compile(r"[ \t]*(?:[,\]}].*|#.*)?$")
_AT_A_KEY = re.compile(r"[ \t]*[=.\]]")
_STRAIGHT_TEXT = {'"': re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL), "'": re.compile("'[^']*'")}
_LINE_MAX = 4000
"""No prompt is as long, and finding the end of a longer text takes far longer."""
_TRIPLE = re.compile(rf"\"{{3}}|'{{3}}|[{DOUBLE}]{{3}}|[{SINGLE}]{{3}}")


def straighten(text: str) -> str:
    """Replace the curly quotes that are where TOML needs straight ones, one character for one.

    A text keeps the quotes inside it, so `"say “no”"` stays as it is. If it is unclear which quote ends a
    text, nothing is replaced, and the text stays invalid TOML.
    """
    if not any(quote in text for quote in _STRAIGHT):
        return text
    lines, fence, depth = [], "", 0
    for line in text.split("\n"):
        if len(line) > _LINE_MAX:
            return text
        made, fence, depth = _Line(line, fence, depth).straightened()
        lines.append(made)
    return "\n".join(lines)


class _Line:
    """One line, read from left to right."""

    def __init__(self, line: str, fence: str, depth: int) -> None:
        """`fence` is the quote of a multi-line text that is open, `depth` the number of open lists."""
        self._line = line
        self._made: list[str] = []
        self._at = 0
        self._fence = fence
        self._depth = depth
        self._is_value = bool(fence) or depth > 0

    def straightened(self) -> tuple[str, str, int]:
        while self._at < len(self._line):
            if self._fence:
                self._leave_fence()
            else:
                self._step()
        return "".join(self._made), self._fence, self._depth

    def _take(self, end: int | None = None) -> None:
        end = len(self._line) if end is None else end
        self._made.append(self._line[self._at : end])
        self._at = end

    def _leave_fence(self) -> None:
        for found in _TRIPLE.finditer(self._line, self._at):
            if _STRAIGHT.get(found[0][0], found[0][0]) == self._fence:
                self._take(found.start())
                self._put_fence()
                self._fence = ""
                return
        self._take()

    def _put_fence(self) -> None:
        self._made.append(self._fence * 3)
        self._at += 3

    def _step(self) -> None:
        letter = self._line[self._at]
        quote = _STRAIGHT.get(letter, letter)
        if letter == "#":
            self._take()
        elif quote in _CLOSES:
            self._quoted(letter, quote)
        else:
            if letter == "=":
                self._is_value = True
            if self._is_value:
                self._depth = max(0, self._depth + (letter in "[{") - (letter in "]}"))
            self._take(self._at + 1)

    def _quoted(self, opening: str, quote: str) -> None:
        if (triple := _TRIPLE.match(self._line, self._at)) and self._is_value:
            self._fence = _STRAIGHT.get(triple[0][0], triple[0][0])
            self._put_fence()
            return
        end = self._end_of(opening, quote)
        if end is None:
            self._take(None if self._is_value else self._at + 1)
            return
        inside = self._line[self._at + 1 : end]
        self._made += [quote, inside, quote]
        self._at = end + 1

    def _end_of(self, opening: str, quote: str) -> int | None:
        """Return the position of the quote that ends the text which begins here; None if unclear."""
        if opening == quote and (straight := _STRAIGHT_TEXT[quote].match(self._line, self._at)):
            return straight.end() - 1
        tails = [_IN_A_LIST] if self._depth else [_AT_THE_END, _ALMOST_AT_THE_END]
        for tail in tails if self._is_value else [_AT_A_KEY]:
            for position in range(self._at + 1, len(self._line)):
                inside = self._line[self._at + 1 : position]
                is_end = self._line[position] in _CLOSES[quote] and tail.match(self._line, position + 1)
                if is_end and _is_balanced(inside, opening):
                    return position
        return None


def _is_balanced(inside: str, opening: str) -> bool:
    """Return whether each quote that begins inside a text also ends there; apostrophes end nothing."""
    begin = "\u201c" if opening == '"' else opening
    if begin not in DOUBLE or begin not in _OPENS_A_PAIR:
        return True
    depth = 0
    for letter in inside:
        depth += (letter == begin) - (letter in _OPENS_A_PAIR[begin])
        if depth < 0:
            return False
    return depth == 0
