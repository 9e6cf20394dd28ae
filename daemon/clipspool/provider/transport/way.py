"""The interface of every way to the provider, the one that needs nothing, and the names of files on a way."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from typing import Protocol

from clipspool.jobs.faults import Fault
from clipspool.provider.protocol import Inline, encoded_length

ADDRESS_LENGTH_MAX = 2048
"""Longer addresses are refused [PROVIDER 2.4]."""
LIFE_SECONDS = 20 * 3600.0
"""An older file is put there again before it is used: uploads exist for 24 hours [PROVIDER 2.5]."""
STRAY_SECONDS = 48 * 3600.0
"""An older file is no longer used: a crash left it, or its removal failed."""
_MADE = re.compile(r".+-[a-z2-7]{32}(\.\w+)?")


@dataclass(frozen=True, slots=True)
class Parcel:
    """A file to be sent."""

    clip_id: str
    """All files of a clip are removed together, by its id."""
    name: str
    """Distinguishes the files of a clip: the job's id and the file's part in it."""
    open: Callable[[], FileIO]
    """Opens it again for reading. Raises OSError when it is gone or has changed."""
    size: int
    sha256: str
    content_type: str
    suffix: str
    """With the dot; a web server derives the type from it."""


class Way(Protocol):
    """A way to the provider. Every method may be called from several threads."""

    @property
    def name(self) -> str:
        """`inline`, `bucket`, `public_url` or `upload`."""

    def room(self, content_type: str) -> int:
        """Return the size of the largest file of this type that it carries."""

    def put(self, parcel: Parcel) -> Fault | None:  # noqa: ARG002
        """Put a file there, unless it is there. Costs no money; raises OSError."""
        return None

    def address(self, parcel: Parcel) -> Inline | str | None:
        """Return the file's value in a request, made now; None when it has to be put there (again).

        It may be signed: it is never logged or stored.
        """

    def remove(self, clip_id: str) -> Fault | None:  # noqa: ARG002
        """Remove every file of a clip that is still there. Raises OSError."""
        return None

    def tidy(self, now: float) -> Fault | None:  # noqa: ARG002
        """Remove files that are older than anybody needs them. Raises OSError."""
        return None

    def close(self) -> None:
        """Close connections."""
        return


@dataclass(frozen=True)
class InRequest(Way):
    """Sends small files in the request's JSON as data URIs; needs nothing, so it is always there."""

    encoded_bytes_max: int
    """Of the whole data URI [PROVIDER 2.4]."""
    name: str = "inline"

    def room(self, content_type: str) -> int:
        """Return how many bytes of a file of this type fit, once encoded."""
        return max(0, (self.encoded_bytes_max - encoded_length(0, content_type)) // 4 * 3)

    def address(self, parcel: Parcel) -> Inline:
        """Return the file itself, which is read when the request is sent."""
        return Inline(parcel.open, parcel.size, parcel.content_type)


@dataclass(frozen=True)
class PutLater(Way):
    """Chooses as its way does, and uploads nothing: another process does, and it alone knows the address."""

    way: Way

    @property
    def name(self) -> str:
        """That of the way."""
        return self.way.name

    def room(self, content_type: str) -> int:
        """Return the size of the largest file of this type that the way carries."""
        return self.way.room(content_type)

    def address(self, parcel: Parcel) -> None:
        """Return None: it has to be put there."""


@dataclass(frozen=True, slots=True)
class SecretNames:
    """Makes names that nobody can guess and that are the same each time, so that a crash leaves one file."""

    secret: bytes
    """Of this journal; all names can be computed from it."""

    def of(self, parcel: Parcel) -> str:
        """Return a parcel's name: its own, then a signature over that and its content."""
        signed = f"{parcel.clip_id}/{parcel.name}/{parcel.sha256}".encode()
        digest = hmac.new(self.secret, signed, hashlib.sha256).digest()[:20]
        return f"{parcel.name}-{base64.b32encode(digest).decode().lower()}{parcel.suffix}"

    @staticmethod
    def are_like(name: str) -> bool:
        """Whether a name may be one of these: what others put there is never tidied up."""
        return _MADE.fullmatch(name) is not None
