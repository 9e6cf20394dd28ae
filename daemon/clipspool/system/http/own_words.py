"""Cuts a request's own strings out of an answer's words, so that no prompt decides whose fault it is; pure.

An error often quotes the value it rejects: the prompt, an address, a value of `[extra]`. A quotation may hold
any word ("the man is out of credits", "a safety vest"), also escaped, in other letter case, cut short or in
other quotation marks. So words are compared, not characters.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

CUT = "\u25a1"
"""Replaces what was cut out; no pattern matches across it."""

_IDEOGRAPHS = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}]+")
_NAME = re.compile(r"[^\W\d]\w*(?:-\w+)*")
_ESCAPE = re.compile(r"\\+u([0-9A-Fa-f]{4})")
_CONTROL = re.compile(r"\\+[nrtbf0]|\\+")
_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_QUOTED = re.compile(
    r"\"([^\"]{1,2000})\"|\u201c([^\u201d]{1,2000})\u201d|\u2018([^\u2019]{1,2000})\u2019"
    r"|\u00ab([^\u00bb]{1,2000})\u00bb|\u300c([^\u300d]{1,2000})\u300d|`([^`]{1,2000})`"
    r"|(?<!\w)'([^']{1,2000})'(?!\w)"
)
_ELLIPSIS_AFTER = re.compile(r"\s?(?:\u2026|\.\.)")
_ELLIPSIS_BEFORE = re.compile(r"(?:\u2026|\.\.)\s?$")
_OPENS_VALUE = re.compile(r"(?:^|[:=(\[\"'`])\s*$")
_FIELDS = frozenset(
    {
        "prompttext", "videouri", "promptvideo", "promptimage", "contentmoderation", "publicfigurethreshold",
        "keyframes", "targetaspectratio", "outputformat", "proresprofile",
    }
)  # fmt: skip
"""Fields of the API that an answer may name although this request has none of them [PROVIDER 2.2, 2.3]."""
_WORDS_MAX = 2000
_TEXT_MAX = 20_000
_RUN_MIN = 3
"""This many words in a row that both have are a quotation; fewer need another sign of one."""
_SHORT_STRING_MAX = 5
_STUMP_MIN = 3


class Own:
    """The strings of one request, split into words, and the names of its fields.

    They are found when an answer first needs them: one that only names a task has no words to compare.
    """

    def __init__(self, body: Mapping[str, Any] | None = None) -> None:
        """`body` is the request's JSON body; None: nothing of it is known."""
        self._body = body or {}

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of its fields, in lower case, without `_` and `-`."""
        return _FIELDS.union(folded(leaf) for is_key, leaf in _leaves(self._body) if is_key)

    @cached_property
    def strings(self) -> tuple[tuple[str, ...], ...]:
        """Each string and number of the request as words."""
        found: dict[tuple[str, ...], None] = {}
        for is_key, leaf in _leaves(self._body):
            if not is_key and (words := _words_of(leaf)):
                found[words[:_WORDS_MAX]] = None
                # An address is quoted whole, or by its host or file only.
                for part in leaf.split("/") if "://" in leaf[:12] else ():
                    if piece := _words_of(part):
                        found[piece] = None
        return tuple(found)


def without(own: Own, text: str) -> tuple[str, bool]:
    """Return the text with the request's own strings cut out, and whether it names one of its fields.

    The names of fields are cut out as well: `contentModeration` is no word about moderation.
    """
    text = _plain(text[:_TEXT_MAX])
    words = list(_words(text))[:_WORDS_MAX]
    cuts = [False] * len(words)
    for string in own.strings:
        _mark(string, [word for word, _, _ in words], _Around(text, words), cuts)
    text = _cut([(start, end) for (_, start, end), cut in zip(words, cuts, strict=True) if cut], text)
    text = _without_quotations(own, text)
    # "seed" and "model" are ordinary words too; a name in two letter cases can only be a field's.
    named = [
        found.span()
        for found in _NAME.finditer(text)
        if _is_only_a_name(found[0]) and folded(found[0]) in own.names
    ]
    return _cut(named, text), bool(named)


def is_own(own: Own, text: str) -> bool:
    """Whether a text is one of the request's own strings and nothing else."""
    return _words_of(text) in own.strings


def folded(name: str) -> str:
    """Return a key in lower case, without `_` and `-`: `taskId` and `task_id` are the same."""
    return name.replace("_", "").replace("-", "").casefold()


@dataclass(frozen=True, slots=True)
class _Around:
    """The text around words."""

    text: str
    words: Sequence[tuple[str, int, int]]

    def has_ellipsis(self, first: int, last: int) -> bool:
        """Whether there is an ellipsis before or after these words."""
        before, behind = self.text[: self.words[first][1]], self.words[last][2]
        return bool(_ELLIPSIS_AFTER.match(self.text, behind) or _ELLIPSIS_BEFORE.search(before[-4:]))

    def opens_value(self, first: int) -> bool:
        """Whether a value begins with this word: at the start, or after `:`, `=` or a quotation mark."""
        return _OPENS_VALUE.search(self.text[: self.words[first][1]][-4:] or "") is not None


def _mark(string: Sequence[str], words: Sequence[str], around: _Around, cuts: list[bool]) -> None:
    """Mark the words of a text that quote this string."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, word in enumerate(string):
        places[word].append(place)
    following: dict[int, int] = {}
    for at in range(len(words) - 1, -1, -1):
        here: dict[int, int] = {}
        for place in places.get(words[at], ()):
            here[place] = 1 + following.get(place + 1, 0)
        following = here
        best = max(
            (_stretched(string, words, at, place, length) for place, length in here.items()), default=None
        )
        if best is not None:
            _, first, last, place = best
            if _is_quotation(string, first, last, place, around):
                cuts[first : last + 1] = [True] * (last + 1 - first)
        elif _is_stump(string, words[at]) and around.has_ellipsis(at, at):
            cuts[at] = True


def _stretched(
    string: Sequence[str], words: Sequence[str], at: int, place: int, length: int
) -> tuple[int, int, int, int]:
    """Return (count, first, last, place) of a run, with the halves of words at its ends."""
    first, last = at, at + length - 1
    behind = place + length
    if last + 1 < len(words) and behind < len(string) and string[behind].startswith(words[last + 1]):
        last += 1
    if first > 0 and place > 0 and string[place - 1].endswith(words[first - 1]):
        first, place = first - 1, place - 1
    return last - first + 1, first, last, place


def _is_quotation(string: Sequence[str], first: int, last: int, place: int, around: _Around) -> bool:
    count, whole = last - first + 1, len(string)
    if whole == 1:
        return around.opens_value(first) or around.has_ellipsis(first, last)
    if count >= min(whole, _RUN_MIN):
        return True
    is_at_end = place == 0 or place + count == whole
    is_most = count > 1 and whole <= _SHORT_STRING_MAX and is_at_end
    return is_most or around.has_ellipsis(first, last)


def _is_stump(string: Sequence[str], word: str) -> bool:
    return len(word) >= _STUMP_MIN and any(own.startswith(word) or own.endswith(word) for own in string)


def _without_quotations(own: Own, text: str) -> str:
    """Cut out text in quotation marks that has only words of the request."""
    vocabulary = {word for string in own.strings for word in string}

    def is_ours(found: re.Match[str]) -> bool:
        quoted = next(part for part in found.groups() if part is not None)
        return all(word in vocabulary or _is_stump(tuple(vocabulary), word) for word, _, _ in _words(quoted))

    return _QUOTED.sub(lambda found: f" {CUT} " if is_ours(found) else found[0], text)


def _is_only_a_name(name: str) -> bool:
    return "_" in name or (name != name.lower() and name[1:] != name[1:].lower() and name != name.upper())


def _cut(spans: Sequence[tuple[int, int]], text: str) -> str:
    for start, end in reversed(spans):
        text = f"{text[:start]} {CUT} {text[end:]}"
    return text


def _words(text: str) -> Iterator[tuple[str, int, int]]:
    for found in _WORD.finditer(text):
        yield found[0].casefold(), *found.span()


def _words_of(text: str) -> tuple[str, ...]:
    return tuple(word for word, _, _ in _words(_plain(text[:_TEXT_MAX])))


def _plain(text: str) -> str:
    """Undo escapes of JSON, HTML and addresses, and replace wide and invisible letters."""
    text = html.unescape(text)
    text = _PERCENT.sub(
        lambda found: bytes.fromhex(found[0].replace("%", "")).decode("utf-8", "replace"), text
    )
    text = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
    # Join the halves of a surrogate pair that came as two escapes.
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    text = _CONTROL.sub(lambda found: " " if found[0][-1] != "\\" else "", text)
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", text)
    return "".join(letter for letter in text if unicodedata.category(letter) != "Cf")


def _leaves(value: Any, depth: int = 0) -> Iterator[tuple[bool, str]]:
    if depth > 20:  # noqa: PLR2004  (as deep as `[extra]` may be)
        return
    match value:
        case Mapping():
            for key, inner in value.items():
                yield True, str(key)
                yield from _leaves(inner, depth + 1)
        case list() | tuple():
            for inner in value:
                yield from _leaves(inner, depth + 1)
        case bool() | None:
            return
        case str() | int() | float():
            yield False, str(value)
