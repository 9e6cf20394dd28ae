"""What every way to the provider can do, and the names under which files lie on it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from typing import Protocol

from clipspool.jobs.faults import Fault
from clipspool.provider.protocol import Inline

ADDRESS_LENGTH_MAX = 2048
"""Longer addresses are refused [PROVIDER 2.4]."""
LIFE_SECONDS = 20 * 3600.0
"""What was put up longer ago is put up again before it is used: uploads live for 24 hours [PROVIDER 2.5]."""
STRAY_SECONDS = 48 * 3600.0
"""What lies there so long is in nobody's use: a crash left it, or its removal failed."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A file to be sent."""

    clip_id: str
    """All files of a clip are removed together, by its id."""
    name: str
    """Tells the files of a clip apart: the job's id and what the file is in it."""
    open: Callable[[], FileIO]
    """Opens it for reading, each call anew. Raises OSError when it is gone or has changed."""
    size: int
    sha256: str
    content_type: str
    suffix: str
    """With the dot; a web server tells the type by it."""


class Way(Protocol):
    """A way to the provider. Every method may be called from several threads."""

    @property
    def name(self) -> str:
        """Give the word for it: `inline`, `bucket`, `public_url`, `upload`."""

    def room(self, content_type: str) -> int:
        """Say how many bytes of a file of this type it carries."""

    def put(self, parcel: Parcel) -> Fault | None:
        """Put a file there; done again it changes nothing. Costs no money; raises OSError."""

    def address(self, parcel: Parcel) -> Inline | str | None:
        """Give what stands for the file in a request, made now; None when it has to be put there (again).

        It may be signed: it is never logged or stored.
        """

    def remove(self, clip_id: str) -> Fault | None:
        """Remove every file of a clip; one that is gone already is fine. Raises OSError."""

    def tidy(self, now: float) -> Fault | None:
        """Remove what lies there for longer than anybody needs it. Raises OSError."""

    def close(self) -> None:
        """Give back connections."""


@dataclass(frozen=True, slots=True)
class Names:
    """Makes names that nobody guesses and that are the same each time, so that a crash leaves one file."""

    secret: bytes
    """Of this journal; whoever has it can tell every name."""

    def of(self, parcel: Parcel) -> str:
        """Name a parcel: what it is, then a signature over that and its content."""
        signed = f"{parcel.clip_id}/{parcel.name}/{parcel.sha256}".encode()
        digest = hmac.new(self.secret, signed, hashlib.sha256).digest()[:20]
        return f"{parcel.name}-{base64.b32encode(digest).decode().lower()}{parcel.suffix}"
