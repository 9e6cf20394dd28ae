"""Signs a webhook by standardwebhooks.com: HMAC-SHA256 over id, time and body."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

_PREFIX = "whsec_"
_BYTES = range(24, 65)


def read_secret(secret: str) -> bytes:
    """Read `whsec_` and base64 of 24 to 64 bytes; raises ValueError, which never repeats it."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) not in _BYTES:
        raise ValueError("must be `whsec_` and base64 of 24 to 64 bytes") from None
    return key


def headers_of(key: bytes, message_id: str, at: int, body: bytes) -> dict[str, str]:
    """Return the three headers of an attempt `at` Unix seconds; each attempt has its own signature."""
    signed = hmac.new(key, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }
