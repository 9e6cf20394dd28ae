"""Take keys, signed queries and embedded files out of text that people will see."""

from __future__ import annotations

import re

TEXT_MAX = 500

_DATA_URI = re.compile(r"data:[\w.+/-]{0,100};base64,[A-Za-z0-9+/=\\]*", re.IGNORECASE)
_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]{1,12}://[^\s\"'<>?#]*)[?#][^\s\"'<>]*", re.IGNORECASE)
_USERINFO = re.compile(r"(\b[a-z][a-z0-9+.-]{1,12}://)[^\s\"'<>/?#@]*@", re.IGNORECASE)
_BEARER = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_PAIR = re.compile(
    r"\b(key(?==)|api[_-]?key|token|secret|signature|password|x-amz-[a-z-]+)(\"?\s*[=:]\s*\"?)[^\s&\"',;]{6,}",
    re.IGNORECASE,
)
_KEY = re.compile(r"\b(sk|key|rw)[-_][A-Za-z0-9_*-]{12,}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")


def redacted(text: str, characters_max: int = TEXT_MAX) -> str:
    """Return `text` on one line without secrets, at most `characters_max` characters long.

    Data URIs, the query of any address, `Bearer …`, `key=…` and what looks like a key are replaced.
    """
    text = text[: 16 * characters_max]  # the patterns need never see a megabyte
    text = _DATA_URI.sub("[data]", text)
    text = _USERINFO.sub(r"\1", text)
    text = _QUERY.sub(r"\1?[…]", text)
    text = _BEARER.sub(r"\1 […]", text)
    text = _PAIR.sub(r"\1\2[…]", text)
    text = _KEY.sub(r"\1-[…]", text)
    text = _UNPRINTABLE.sub(" ", text).strip()
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"
