"""Builds a right line from what an editor wrote, to show it in a note; it is never used as a setting."""

from __future__ import annotations

import difflib
import html
import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, assert_never

from clipspool.intake.sidecar.keys import KEYS, SUB_KEYS, SYNONYMS, accepts

_INVISIBLE = {
    "a no-break space": "\u00a0",
    "a soft hyphen": "\u00ad",
    "a space of another kind": "\u1680\u205f" + "".join(map(chr, range(0x2000, 0x200B))),
    "an invisible separator": "\u180e",
    "a zero-width space": "\u200b",
    "a zero-width character": "\u200c\u200d\u2060",
    "a direction mark": "\u200e\u200f\u202a\u202b\u202c\u202d\u202e",
    "a line separator": "\u2028",
    "a paragraph separator": "\u2029",
    "a narrow no-break space": "\u202f",
    "a wide space": "\u3000",
    "a byte order mark": "\ufeff",
    "a soft line break": "\x0b",
    "a page break": "\x0c",
    "a line break of another kind": "\x85",
}
INVISIBLE = {letter: name for name, letters in _INVISIBLE.items() for letter in letters}
"""Characters that look like a plain space or like nothing, but are neither in TOML."""
_EMPTY = frozenset("\u00ad\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\ufeff")
QUOTES = (
    "\"'`\u00b4\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u2032\u2033"
    "\u00ab\u00bb\u2039\u203a\uff02\uff07"
)
"""Characters that people use as quotes; the first two are TOML's."""
_SHOWN_MAX = 70
_LISTED_MAX = 5
_RAW_MAX = 1500
"""Characters of a value that are examined: patterns take far longer for more."""
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:[.,' _\u00a0\u202f\u2019]\d{3}){1,6}(?!\d)")
_NUMBER = re.compile(r"[-+]?\d{1,18}(?:[.,]\d{1,18})?")
_CLOCK = re.compile(r"(?:(\d{1,2}):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)(?:[:;]\d\d)?")
"""The frames of a timecode are ignored: the frame rate is not known here."""
_TWO_NUMBERS = re.compile(r"(\d{1,5})\s*(?:[:xX*/\u00d7]|by|zu)\s*(\d{1,5})")
_YES = frozenset({"yes", "y", "on", "true", "1", "ja", "oui", "si", "t", "wahr"})
_NO = frozenset({"no", "n", "off", "false", "0", "nein", "non", "f", "falsch"})
_DATE = re.compile(r"(\d{4})[-./](\d{1,2})[-./](\d{1,2})|(\d{1,2})\.(\d{1,2})\.(\d{4})")
_TIME = re.compile(
    r"(?<!\d)(\d{1,2})[:.h](\d{2})(?:[:.](\d{2}))?\s*([ap]\.?m)?|(?<!\d)(\d{1,2})\s*([ap]\.?m|Uhr|h)\b",
    re.IGNORECASE,
)
_ZONE = re.compile(r"([+-])(\d{2}):?(\d{2})$")
_UTC = re.compile(r"(?:Z|UTC|GMT)\s*$", re.IGNORECASE)
_ITEMS = re.compile(r"\"([^\"]*)\"|'([^']*)'|([^\s,;\"'][^,;\"']*)")
_BETWEEN_NAMES = re.compile(r"(?<=\.png|\.jpg|jpeg|webp)\s+", re.IGNORECASE)

EXAMPLES: dict[str, str] = {
    "prompt": '"Make it winter"',
    "preset": '"winter"',
    "model": '"gen4_aleph"',
    "seed": "42",
    "ratio": '"1280:720"',
    "references": '["winter.png"]',
    "priority": "10",
    "not_before": "2026-12-01T22:00:00Z",
    "long_clips": '"trim"',
    "start_seconds": "1.5",
    "length_seconds": "2.5",
    "handle_frames": "12",
    "frames_per_second": "24",
    "overlap_frames": "12",
    "keep_parts": "true",
    "finish": '"timeline"',
    "finish_size": '"source"',
    "finish_codec": '"prores"',
    "finish_timing": '"time"',
    "keep_untouched": "true",
    "again": "true",
    "target_aspect": '"16:9"',
    "output_format": '"prores"',
    "public_figure_threshold": '"low"',
}
"""An example of each key, for values that cannot be understood."""
_TABLES = {
    "content_moderation": '[content_moderation]\npublic_figure_threshold = "low"',
    "extra": "[extra]",
    "variant": "[[variant]]",
    "matrix": "[matrix]",
    "keyframe": '[[keyframe]]\nat = "first"\nimage = "look.png"',
}


def known_key(word: str) -> str | None:
    """Return the key that a word means: with another letter case or separator, or nearly that key."""
    plain = re.sub(r"[\s\u2010-\u2015-]+", "_", word.strip().strip(QUOTES).lower())
    known = [*KEYS, *SUB_KEYS, "variant", "matrix"]
    if plain in known:
        return plain
    close = difflib.get_close_matches(plain[:60], known, n=1, cutoff=0.75)
    return close[0] if close else None


def meant_key(word: str) -> str | None:
    """Return the key that a word before a `=` means, also by another name: `duration`, `fps`."""
    return known_key(SYNONYMS.get(word.strip().strip(QUOTES).lower().replace("-", "_"), word))


def right_line(key: str, raw: str) -> str:
    """Return a right `key = value` for a value as it was written; it is always accepted.

    A key of its own, such as one in `[extra]`, gets the value as a number or a text.
    """
    name, raw = key.rpartition(".")[2], re.sub(r"[ \t]{9,}", " ", raw[: 4 * _RAW_MAX])[:_RAW_MAX]
    if name in _TABLES:
        return _TABLES[name]
    for value in _candidates(name, raw):
        if is_right(name, value):
            return f"{name} = {value}"
    if name in EXAMPLES:
        return f"{name} = {EXAMPLES[name]}"
    plain = bare(raw)
    number = plain.replace(",", ".") if _NUMBER.fullmatch(plain) else ""
    value = number if number and _parsed(number) is not None else quoted(plain)
    return f"{name} = {value}" if re.fullmatch(r"[A-Za-z0-9_-]+", name) else ""


def list_line(key: str, raw: str) -> str:
    """Return a right `key = [values]` for a key of `[matrix]`, for its values as they were written."""
    one = right_line(key, raw.strip().strip("[]"))
    values = _parsed(raw)
    if key in _TABLES or not one:
        return ""
    if isinstance(values, list) and values:
        each = [right_line(key, _written(value)).partition(" = ")[2] for value in values[:_LISTED_MAX]]
        return f"{key} = [{', '.join(each)}{', …' if len(values) > _LISTED_MAX else ''}]"
    is_example = key == "seed" and not isinstance(values, int)
    return f"{key} = [{'1, 2, 3' if is_example else one.partition(' = ')[2]}]"


def _parsed(raw: str) -> Any:
    """Return a value that is written as TOML; None where it is not."""
    try:
        return tomllib.loads(f"x = {raw}")["x"]
    except (ValueError, KeyError, RecursionError):
        return None


def _written(value: Any) -> str:
    return quoted(value) if isinstance(value, str) else str(value).lower()


def is_right(key: str, value: str) -> bool:
    """Return whether a key accepts a value, written as TOML."""
    found = _parsed(value)
    return found is not None and accepts(key, found)


def quoted(text: str) -> str:
    """Write a text as TOML, shortened, in the quotes that need no escapes if possible."""
    text = " ".join(text.split())
    if len(text) > _SHOWN_MAX:
        text = text[: _SHOWN_MAX - 1].rstrip() + "\u2026"
    text = "".join(letter for letter in text if letter.isprintable())
    if not re.search(r'["\\]', text):
        return f'"{text}"'
    if "'" not in text:
        return f"'{text}'"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def bare(raw: str) -> str:
    """Strip a value of everything around its text: quotes of any kind, `;`, invisible characters."""
    text = html.unescape(raw).strip()
    text = "".join(
        "" if letter in _EMPTY else " " if letter in INVISIBLE else letter for letter in text
    ).strip()
    text = text.rstrip(",;").rstrip()
    if match := re.fullmatch(r"[a-zA-Z]?(\"\"\"|''')(.*?)(\"{1,3}|'{1,3})?", text, re.DOTALL):
        return match[2].strip()
    if re.fullmatch(r"[a-zA-Z]{1,2}([\"']).*\1", text):
        text = text[text.index(text[-1]) :]
    while len(text) > 1 and text[0] in QUOTES and text[-1] in QUOTES:
        text = text[1:-1].strip()
    if text[:1] in QUOTES and text.count(text[:1]) % 2:
        text = text[1:]
    if text[-1:] in QUOTES and text[-1:] not in "'\u2019" and text.count(text[-1:]) % 2:
        text = text[:-1]
    if text.endswith('""'):
        text = text.rstrip('"')
    return text.strip().replace('\\"', '"')


def _candidates(key: str, raw: str) -> Iterator[str]:
    yield from (raw.strip().rstrip(",;"), raw.strip().lower().rstrip(",;"))
    parsed = _parsed(raw)
    # The escapes of a text that is TOML are no part of it.
    plain = html.unescape(parsed) if isinstance(parsed, str) else bare(raw)
    example = EXAMPLES.get(key)
    match None if example is None else tomllib.loads(f"x = {example}")["x"]:
        case None:
            return
        case bool():
            yield "true" if plain.lower() in _YES else "false" if plain.lower() in _NO else "true"
        case int():
            yield from _whole(plain)
        case float():
            yield from _fraction(plain)
        case list():
            if items := _items(raw):
                yield "[" + ", ".join(f'"{item}"' for item in items) + "]"
        case datetime():
            yield from _moment(plain)
        case str():
            texts = [one for one in parsed if isinstance(one, str)] if isinstance(parsed, list) else []
            yield from _texts(key, ", ".join(texts) or plain)
        case never:
            assert_never(never)


def _texts(key: str, plain: str) -> Iterator[str]:
    if wrapped := re.fullmatch(r"[\[({<](.*)[\])}>]", plain):
        plain = bare(wrapped[1])
    if key == "prompt":
        yield quoted(plain)
        return
    if key == "ratio":
        if found := _TWO_NUMBERS.search(plain):
            yield f'"{int(found[1])}:{int(found[2])}"'
        return
    word = plain.lower()
    for each in (plain, word, re.sub(r"[\s-]+", "_", word), word.partition(" ")[0]):
        yield quoted(each)


def _whole(plain: str) -> Iterator[str]:
    if re.fullmatch(r"\d{1,3}(?:\.\d{1,3})?[eE]\+?\d", plain):
        yield str(int(float(plain)))
    if found := _THOUSANDS.search(plain):
        yield str(int(re.sub(r"[^\d+-]", "", found[0])))
    if found := _NUMBER.search(plain):
        yield str(int(re.split(r"[.,]", found[0])[0]))


def _fraction(plain: str) -> Iterator[str]:
    if clock := _CLOCK.fullmatch(plain):
        seconds = float(clock[3].replace(",", "."))
        yield f"{int(clock[1] or 0) * 3600 + int(clock[2]) * 60 + seconds:g}"
    if found := _NUMBER.search(plain):
        yield f"{float(found[0].replace(',', '.')):g}"


def _items(raw: str) -> list[str]:
    text = html.unescape(raw).strip().rstrip(";,").strip().strip("[](){}<>").replace("\\", "/")
    text = re.sub(rf"[{QUOTES[2:]}]", '"', text)
    found = [next(part for part in match if part) for match in _ITEMS.findall(text) if any(match)]
    found = [name for item in found for name in _BETWEEN_NAMES.split(item)]
    kept = [item.strip().removeprefix("- ").removeprefix("./") for item in found]
    return [item for item in kept if item and not re.search(r'["\x00-\x1f]', item)]


def _moment(plain: str) -> Iterator[str]:
    date = _DATE.search(plain)
    if date is None:
        return
    year, month, day = (date[1], date[2], date[3]) if date[1] else (date[6], date[5], date[4])
    rest = plain[date.end() :]
    hour = minute = second = 0
    if time := _TIME.search(rest):
        hour, minute, second = int(time[1] or time[5]), int(time[2] or 0), int(time[3] or 0)
        half = (time[4] or time[6] or "").lower().replace(".", "")
        if half in {"am", "pm"}:
            hour = hour % 12 + (12 if half == "pm" else 0)  # 12 am is midnight
    # Without a zone the clock on the wall is meant, which is most likely this machine's as well.
    zone: tzinfo | None = UTC if _UTC.search(rest) else None
    if offset := _ZONE.search(rest):
        span = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        zone = timezone(span if offset[1] == "+" else -span)
    try:
        moment = datetime(int(year), int(month), int(day), hour, minute, second, tzinfo=zone)
        moment = moment if zone else moment.astimezone()
    except (ValueError, OverflowError, OSError):
        return
    yield moment.isoformat().replace("+00:00", "Z")
