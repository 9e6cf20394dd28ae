"""Takes secrets out of text: keys, credentials, signed queries and embedded files, known by value or by form.

Logs, notes, the journal, error files and what commands print all go through here, each at its own edge.
"""

from __future__ import annotations

import base64
import html
import re
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

HIDDEN: Final = "[redacted]"
REMOVED: Final = "[removed]"
"""Stands where the query of an address was: most that people sign are signed there."""
TEXT_MAX: Final = 16_384
LINE_MAX: Final = 500
_SECRET_CHARACTERS_MIN: Final = 4
_ENCODED_BYTES_MIN: Final = 8
"""A shorter secret's base64 might be a word."""
_BETWEEN: Final = r"(?:[\0\s]|\\{1,4}(?:u00|x)00|%00)?"
"""What may stand between two characters of a secret: UTF-16 read as bytes has a NUL there."""
_BETWEEN_HEX: Final = r"[\s:-]?"
_OF_ADDRESSES: Final = str.maketrans("+/", "-_")

# What every pattern below needs, written so that the usual harmless text is passed over at once.
_SUSPICIOUS = r"[=:@%]|[bB][eE][aA]|[bB][aA][sS][iI]|key[_-]|sk[_-]|rw[_-]|rk[_-]"
_DATA_URI = re.compile(
    r"data:([\w.+/-]{0,100})(?:;[\w=.-]{0,100})?;base64,[A-Za-z0-9+/=\\\s%_-]*", re.IGNORECASE
)
_USERINFO = re.compile(r"(://)[^\s\"'<>/?#@]*@")
_QUERY = re.compile(r"([?#])(?=[^\s\"'<>]*[=%])[^\s\"'<>]+")
_QUERY_OF_ADDRESS = re.compile(r"(\b[a-z][a-z0-9+.-]{1,12}://[^\s\"'<>?#]*[?#])[^\s\"'<>]+", re.IGNORECASE)
_SCHEME = re.compile(r"\b(bearer(?=\s+\S{4})|basic(?=\s+\S{16}))\s+[A-Za-z0-9._~+/=-]+", re.IGNORECASE)
_PAIR = re.compile(
    r"\b((?:x-|proxy-)?(?:authorization|api[_-]?key|(?:access_|refresh_|web_|auth_)?token|(?:client_)?secret"
    r"|password|passwd|signature|(?:set-)?cookie)|x-amz-[a-z-]+)"
    r"(\\?[\"']?\s*[:=]\s*(?:b?\\?[\"'])?)(?:(?:basic|bearer|digest)\s+)?"
    r"(?:\[redacted\]|\[removed\]|[^\s\"'&,;\\)}\]])+",
    re.IGNORECASE,
)
_KEY_PAIR = re.compile(r"\b(key=)[^\s&\"',;]{6,}", re.IGNORECASE)
_KEY = re.compile(
    r"\b(?:(?:key_|sk-|rw_|rk_)[A-Za-z0-9_-]{8,}|(?:key-|sk_|rw-|rk-)(?=\S*[0-9*])[A-Za-z0-9_*-]{12,})"
)
_SENSITIVE = re.compile(
    r"((x|proxy)[_-])?(authorization|api[_-]?key"
    r"|((access|refresh|web|auth)[_-])?token|(client[_-])?secret|password|passwd|(set[_-])?cookie|credentials?|private[_-]?key|signature)",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile(
    r"(?:^|[-_.])(?:sig|sas|signature|token|secret|password|passwd|pwd|cookie|credentials?|authorization"
    r"|api[-_]?key|private[-_]?key|(?:access|secret|account)[-_]?key(?:[-_]?id)?)$|^x-(?:amz|goog|ms)-",
    re.IGNORECASE,
)
"""Keys under which somebody's own settings hold a secret, in any of the usual spellings."""
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SIGNED_PART = re.compile(
    r"((?<![\w-])(?:x-(?:amz|goog|ms)-[a-z-]+|sig|sas|hmac|policy|expires|key-pair-id|awsaccesskeyid"
    r"|googleaccessid|(?:[a-z]+[_-])?(?:signature|token|secret|password|passwd|api[_-]?key))=)[^\s&\"'<>,;]+",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"((?<![\w-])(?:(?:proxy-)?authorization|(?:set-)?cookie|x-[a-z-]*(?:key|token|signature)"
    r"|(?:[a-z]+[_-])?api[_-]?key)\s*[:=]\s*[\"']?)(?:(?:basic|bearer|digest)\s+)?[^\s\"'&,;]+",
    re.IGNORECASE,
)
_LOGIN = re.compile(
    r"\b(bearer|basic)\s+(?:(?=[A-Za-z0-9._~+/=-]*[0-9=])[A-Za-z0-9._~+/=-]{8,}|[A-Za-z0-9+/=_-]{20,})",
    re.IGNORECASE,
)
_ADDRESS_FRAGMENT = re.compile(
    r"(\b[a-z][a-z0-9+.-]{1,12}://[^\s\"'<>?#]*#)(?=[^\s\"'<>]*[=%])[^\s\"'<>]+", re.IGNORECASE
)
_ADDRESS_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]{1,12}://[^\s\"'<>?#]*\?)[^\s\"'<>]+", re.IGNORECASE)
_NAMES_ACCOUNT = "profile"
"""Names the account that made a task, with the fingerprint of its key behind a `#`: no secret."""
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")

_secrets: set[str] = set()
_secret_pattern = re.compile(r"(?!)")
_suspect = re.compile(_SUSPICIOUS)
_secrets_lock = threading.Lock()


def register_secret(value: str) -> None:
    """Let a secret be replaced wherever it turns up, however it is spelled; below 4 characters nothing is."""
    global _secret_pattern, _suspect  # noqa: PLW0603 - one process has one set of secrets
    if len(value) < _SECRET_CHARACTERS_MIN:
        return
    with _secrets_lock:
        _secrets.update(_spellings(value))
        longest_first = sorted(_secrets, key=len, reverse=True)
        _secret_pattern = re.compile("|".join(longest_first))
        _suspect = re.compile(f"{_SUSPICIOUS}|{_secret_pattern.pattern}")
        redact_name.cache_clear()


def _spellings(value: str) -> set[str]:
    """Give patterns of a secret as others may write it: escaped, as UTF-16, as hex, as base64 in a text."""
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
    """Give the pattern of one character, escaped in any of the usual ways.

    It begins with a set, for which the engine passes over all other text at once.
    """
    units = [_digits(unit) for unit in character.encode("utf-16-be").hex(" ", 2).split()]
    octets = [_digits(f"{byte:02x}") for byte in character.encode()]
    code, plain = ord(character), re.escape(character)
    escapes = [plain, "u" + r"\\{1,4}u".join(units)]
    if len(octets) == 1:
        escapes.append("x" + octets[0])
    entities = [f"(?:amp;)?#(?:0{{0,6}}{code}|x0{{0,6}}{_digits(f'{code:x}')});"]
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
    for before in range(3):  # its place among the three bytes of a group; what neighbours share is left out
        coded = base64.b64encode(bytes(before) + data).decode()
        inner = coded[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        found |= {inner, inner.translate(_OF_ADDRESSES)}
    return found


def redact(text: str) -> str:
    """Take out of a text what must not be read: registered secrets, credentials, queries, embedded files."""
    if _suspect.search(text) is None:
        return text
    text = _secret_pattern.sub(HIDDEN, text)
    text = _DATA_URI.sub(lambda match: f"data:{match[1]};base64,[{len(match[0])} characters]", text)
    text = _USERINFO.sub(rf"\1{HIDDEN}@", text)
    text = _QUERY.sub(rf"\1{REMOVED}", text)
    text = _QUERY_OF_ADDRESS.sub(rf"\1{REMOVED}", text)
    text = _SCHEME.sub(rf"\1 {HIDDEN}", text)
    text = _PAIR.sub(rf"\1\2{HIDDEN}", text)
    text = _KEY_PAIR.sub(rf"\1{HIDDEN}", text)
    text = _SIGNED_PART.sub(rf"\1{HIDDEN}", text)
    return _KEY.sub(HIDDEN, text)


def redact_words(text: str) -> str:
    """Take keys, credentials and signed addresses out of what a person wrote, and leave the rest of it.

    Milder than `redact`, which may take an innocent `secret: a garden` for a credential: a prompt that is
    shown, and repeated from its provenance, has to stay the prompt that was sent.
    """
    if _suspect.search(text) is None:
        return text
    text = _secret_pattern.sub(HIDDEN, text)
    text = _DATA_URI.sub(lambda match: f"data:{match[1]};base64,[{len(match[0])} characters]", text)
    text = _USERINFO.sub(rf"\1{HIDDEN}@", text)
    text = _ADDRESS_QUERY.sub(rf"\1{REMOVED}", text)
    text = _ADDRESS_FRAGMENT.sub(rf"\1{REMOVED}", text)
    text = _HEADER.sub(rf"\1{HIDDEN}", text)
    text = _SIGNED_PART.sub(rf"\1{HIDDEN}", text)
    text = _LOGIN.sub(rf"\1 {HIDDEN}", text)
    return _KEY.sub(HIDDEN, text)


def redact_value(value: Any, key: str = "") -> Any:
    """Give a value of JSON or TOML as it may be shown; what stands under a secret's name is hidden.

    What is stored for sending stays as it is; this is for everything that is shown of it.
    """
    if isinstance(value, str):
        if key == _NAMES_ACCOUNT:
            return _USERINFO.sub(rf"\1{HIDDEN}@", value)
        return HIDDEN if value and _SECRET_NAME.search(_HUMP.sub("_", key)) else redact(value)
    if isinstance(value, Mapping):
        return {redact(str(name)): redact_value(below, str(name)) for name, below in value.items()}
    if isinstance(value, list | tuple):
        return [redact_value(below, key) for below in value]
    return value


def is_redacted(text: str) -> bool:
    """Tell whether something was taken out of a text that came back, as in a provenance dropped again."""
    return HIDDEN in text or REMOVED in text


def redact_cut(text: str) -> str:
    """Redact a text and cut it to `TEXT_MAX` characters, saying how long it was."""
    # Cut generously first, so that no pattern meets a megabyte, and again after: then no secret is halved.
    if len(text) > TEXT_MAX:
        return redact(text[: 4 * TEXT_MAX])[:TEXT_MAX] + f"… [{len(text)} characters]"
    return redact(text)


def redact_line(text: str, characters_max: int = LINE_MAX) -> str:
    """Redact what another program said, and give it as one printable line of at most so many characters."""
    text = _UNPRINTABLE.sub(" ", redact(text[: 16 * characters_max])).strip()
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"


@lru_cache(maxsize=1024)
def redact_name(key: str) -> tuple[str, bool]:
    """Redact a key, and tell whether what stands under it is a secret by its very name."""
    return redact_cut(key), _SENSITIVE.fullmatch(key) is not None
