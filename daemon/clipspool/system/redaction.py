"""Removes secrets from text: keys, credentials, signed queries and embedded files, known by value or by form.

Logs, notes, the journal, error files and the output of commands all pass through here.
"""

from __future__ import annotations

import base64
import re
import threading
import unicodedata
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, Final

HIDDEN: Final = "[redacted]"
REMOVED: Final = "[removed]"
"""Replaces the query of an address, where signed addresses have their signature."""
TEXT_MAX: Final = 16_384
LINE_MAX: Final = 500
_SECRET_CHARACTERS_MIN: Final = 4
_ENCODED_BYTES_MIN: Final = 8
"""A shorter secret's base64 might be a word."""
_BETWEEN: Final = r"(?:[\0\s]|\\{1,4}(?:u00|x)00|%00)?"
"""May stand between two characters of a secret: UTF-16 read as bytes has a NUL there."""
_BETWEEN_HEX: Final = r"[\s:-]?"
_OF_ADDRESSES: Final = str.maketrans("+/", "-_")
_UNSHOWABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DIRECTION_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
_BYTE_ESCAPES = range(0xDC80, 0xDD00)

# A first test that every rule below implies: it lets the usual harmless text pass quickly.
_SUSPICIOUS = r"[=:@%]|[bB][eE][aA]|[bB][aA][sS][iI]|key[_-]|sk[_-]|rw[_-]|rk[_-]"
_USERINFO = re.compile(r"(://)[^\s\"'<>/?#@]*@")
_DATA_URI = re.compile(r"(?i)data:([\w.+/-]{0,100})(?:;[\w=.-]{0,100})?;base64,[A-Za-z0-9+/=\\\s%_-]*")
_STRICT_RULES = (
    # any query or fragment of an address, and elsewhere what holds a pair or an escape
    (r"(://[^\s\"'<>?#]*[?#]|[?#](?=[^\s\"'<>]*[=%]))[^\s\"'<>]+", rf"\1{REMOVED}"),
    (r"(?i)\b(bearer(?=\s+\S{4})|basic(?=\s+\S{16}))\s+[A-Za-z0-9._~+/=-]+", rf"\1 {HIDDEN}"),
    (
        (
            r"(?i)\b((?:x-|proxy-)?(?:authorization|api[_-]?key|(?:access_|refresh_|web_|auth_)?token"
            r"|(?:client_)?secret|password|passwd|signature|(?:set-)?cookie)|x-amz-[a-z-]+)"
            r"(\\?[\"']?\s*[:=]\s*(?:b?\\?[\"'])?)(?:(?:basic|bearer|digest)\s+)?"
            r"(?:\[redacted\]|\[removed\]|[^\s\"'&,;\\)}\]])+"
        ),
        rf"\1\2{HIDDEN}",
    ),
    (r"(?i)\b(key=)[^\s&\"',;]{6,}", rf"\1{HIDDEN}"),
)
"""These would also remove innocent words, such as `secret: a garden`."""
_RULES = (
    (
        (
            r"(?i)(\b[a-z][a-z0-9+.-]{1,12}://[^\s\"'<>?#]*?"
            r"(?:\?|;(?=\w+=)|%3f(?=\w+(?:=|%3d))|#(?=[^\s\"'<>]*[=%])))[^\s\"'<>]+"
        ),
        rf"\1{REMOVED}",
    ),
    (
        (
            r"(?i)((?<![\w-])(?:(?:proxy-)?authorization|(?:set-)?cookie|x-[a-z-]*(?:key|token|signature)"
            r"|(?:[a-z]+[_-])?api[_-]?key)\s*[:=]\s*[\"']?)(?:(?:basic|bearer|digest)\s+)?[^\s\"'&,;]+"
        ),
        rf"\1{HIDDEN}",
    ),
    (
        (
            r"(?i)((?<![\w-])(?:x-(?:amz|goog|ms)-[a-z-]+|sig|sas|hmac|policy|expires|key-pair-id|awsaccesskeyid"
            r"|googleaccessid|(?:[a-z]+[_-])?(?:signature|token|secret|password|passwd|api[_-]?key))=)"
            r"[^\s&\"'<>,;]+"
        ),
        rf"\1{HIDDEN}",
    ),
    (
        r"(?i)\b(bearer|basic)\s+(?:(?=[A-Za-z0-9._~+/=-]*[0-9=])[A-Za-z0-9._~+/=-]{8,}|[A-Za-z0-9+/=_-]{20,})",
        rf"\1 {HIDDEN}",
    ),
    (
        r"\b(?:(?:key_|sk-|rw_|rk_)[A-Za-z0-9_-]{8,}|(?:key-|sk_|rw-|rk-)(?=\S*[0-9*])[A-Za-z0-9_*-]{12,})",
        HIDDEN,
    ),
)
_SECRET_NAME = re.compile(
    r"(?:^|[-_.])(?:sig|sas|signature|token|secret|password|passwd|pwd|cookie|credentials?|authorization"
    r"|api[-_]?key|private[-_]?key|(?:access|secret|account)[-_]?key(?:[-_]?id)?)$|^x-(?:amz|goog|ms)-",
    re.IGNORECASE,
)
"""Keys under which settings hold a secret, in any of the usual spellings."""
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NAMES_ACCOUNT = "profile"
"""The key of the account that made a task, which has its fingerprint behind a `#`: no secret."""
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")

_secrets: frozenset[str] = frozenset()
"""Patterns of the registered secrets."""
_secrets_lock = threading.Lock()


def register_secret(value: str) -> None:
    """Have a secret of at least 4 characters replaced wherever it appears, however it is spelled."""
    global _secrets  # noqa: PLW0603 - one process has one set of secrets
    if len(value) < _SECRET_CHARACTERS_MIN:
        return
    with _secrets_lock:
        _secrets |= _spellings(value)
        redact_name.cache_clear()


# Compiled with the first text after the last secret: it takes 8 ms, and a daemon registers several. The set
# is the cache's key, so a pattern from before a secret was added is not used after it.
@lru_cache(maxsize=1)
def _secret(spellings: frozenset[str]) -> re.Pattern[str]:
    longest_first = sorted(spellings, key=len, reverse=True)
    return re.compile("|".join(longest_first) or "(?!)")


@lru_cache(maxsize=1)
def _suspect(spellings: frozenset[str]) -> re.Pattern[str]:
    return re.compile("|".join([_SUSPICIOUS, *sorted(spellings)]))


def _spellings(value: str) -> set[str]:
    """Return patterns of a secret as others may write it: escaped, as UTF-16, as hex, as base64 in a text."""
    spelled = {_BETWEEN.join(map(_spelled, value))}
    data = value.encode()
    if len(data) < _ENCODED_BYTES_MIN:
        return spelled
    for coded in (data, value.encode("utf-16-le"), value.encode("utf-16-be")):
        spelled |= {
            _BETWEEN_HEX.join(_digits(f"{byte:02x}") for byte in coded),
            *map(re.escape, _in_base64(coded)),
        }
    return spelled


def _spelled(character: str) -> str:
    """Return the pattern of one character, escaped in any of the usual ways.

    It begins with a set, so that the engine skips all other text at once.
    """
    units = [_digits(unit) for unit in character.encode("utf-16-be").hex(" ", 2).split()]
    octets = [_digits(f"{byte:02x}") for byte in character.encode()]
    code, plain = ord(character), re.escape(character)
    escapes = [plain, "u" + r"\\{1,4}u".join(units)]
    if len(octets) == 1:
        escapes.append("x" + octets[0])
    entities = [f"(?:amp;)?#(?:0{{0,6}}{code}|x0{{0,6}}{_digits(f'{code:x}')});"]
    import html  # noqa: PLC0415  (only those who have secrets need it)

    if html.escape(character) != character:
        entities.append(html.escape(character)[1:])
    ways = [
        rf"(?<={plain})",
        rf"(?<=%)(?:25){{0,3}}{'%(?:25){0,3}'.join(octets)}",
        rf"(?<=\\)\\{{0,3}}(?:{'|'.join(escapes)})",
        rf"(?<=&)(?:{'|'.join(entities)})",
    ]
    return rf"[{plain}%\\&](?:{'|'.join(ways)})"


def _digits(of_hex: str) -> str:
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in of_hex)


def _in_base64(data: bytes) -> set[str]:
    found = set()
    for before in range(
        3
    ):  # its place among the three bytes of a group; characters shared with neighbours go
        coded = base64.b64encode(bytes(before) + data).decode()
        inner = coded[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        found |= {inner, inner.translate(_OF_ADDRESSES)}
    return found


@cache
def _rules(*, is_strict: bool) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Compile the rules when a text first needs them: that takes longer than most commands have."""
    rules = (*(_STRICT_RULES if is_strict else ()), *_RULES)
    return tuple((re.compile(pattern), replacement) for pattern, replacement in rules)


def redact(text: str, *, is_strict: bool = True) -> str:
    """Remove registered secrets, credentials, queries and embedded files from a text."""
    secrets = _secrets
    if _suspect(secrets).search(text) is None:
        return text
    text = _secret(secrets).sub(HIDDEN, text)
    text = _DATA_URI.sub(lambda found: f"data:{found[1]};base64,[{len(found[0])} characters]", text)
    text = _USERINFO.sub(rf"\1{HIDDEN}@", text)
    for pattern, replacement in _rules(is_strict=is_strict):
        text = pattern.sub(replacement, text)
    return text


def redact_words(text: str) -> str:
    """Remove keys, credentials and signed addresses from what a person wrote, and nothing else.

    A prompt that is shown, and repeated from its provenance, has to stay the prompt that was sent.
    """
    return redact(text, is_strict=False)


def redact_value(value: Any, key: str = "") -> Any:
    """Return a value of JSON or TOML as it may be shown; the values of keys named like a secret are hidden.

    Bytes of names that are not UTF-8 are escaped: neither format can hold them.
    Stored values that are sent later stay as they are.
    """
    if isinstance(value, str):
        if key == _NAMES_ACCOUNT:
            return _USERINFO.sub(rf"\1{HIDDEN}@", value)
        return HIDDEN if value and _names_secret(key) else _in_utf8(redact(value))
    if isinstance(value, Mapping):
        below = {str(name): one for name, one in value.items()}
        return {_in_utf8(redact(name)): redact_value(one, name) for name, one in below.items()}
    if isinstance(value, list | tuple):
        return [redact_value(below, key) for below in value]
    return value


def _in_utf8(text: str) -> str:
    return "".join(_escape(letter) if 0xD800 <= ord(letter) <= 0xDFFF else letter for letter in text)  # noqa: PLR2004


def _names_secret(key: str) -> bool:
    return _SECRET_NAME.search(_HUMP.sub("_", key)) is not None


def is_redacted(text: str) -> bool:
    """Whether a text was redacted once, as the prompt in a provenance that is dropped again."""
    return HIDDEN in text or REMOVED in text


def redact_cut(text: str) -> str:
    """Redact a text and cut it to `TEXT_MAX` characters, naming its length."""
    # Cut generously first, so that no rule meets a megabyte, and again after: then no secret is halved.
    if len(text) > TEXT_MAX:
        return redact(text[: 4 * TEXT_MAX])[:TEXT_MAX] + f"… [{len(text)} characters]"
    return redact(text)


def redact_line(text: str, characters_max: int = LINE_MAX) -> str:
    """Redact another program's text and return it as one printable line, cut to a number of characters."""
    text = _UNPRINTABLE.sub(" ", redact(text[: 16 * characters_max])).strip()
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"


@lru_cache(maxsize=1024)
def redact_name(key: str) -> tuple[str, bool]:
    """Redact a key; return it, and whether its name says that its value is a secret."""
    return redact_cut(key), _names_secret(key)


def readable(name: str) -> str:
    """Write a name or a sentence for people: misleading or invisible characters escaped, secrets removed."""
    name = redact_words(name)
    if name.isascii() and name.isprintable():
        return name
    return "".join(_escape(letter) for letter in name)


def is_showable(name: str) -> bool:
    """Whether every character of a name can be shown as it is: none controls, none turns what others read."""
    return name.isprintable() or all(_escape(letter) == letter for letter in name)


def _escape(letter: str) -> str:
    number = ord(letter)
    if number in _BYTE_ESCAPES:  # a byte that is not UTF-8, as os.fsdecode returns it
        return f"\\x{number - 0xDC00:02x}"
    if letter in _DIRECTION_MARKS or unicodedata.category(letter) in _UNSHOWABLE:
        return letter.encode("unicode_escape", "surrogatepass").decode("ascii")
    return letter
