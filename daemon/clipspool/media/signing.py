"""Signs content credentials (C2PA) into re-encoded films: what was made, of what, and by whom.

The package c2pa-python is optional, and loaded in a process of its own. Nothing is asked of the network.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from io import FileIO

from clipspool.media.facts import MediaFault
from clipspool.media.signing_child import FORMATS
from clipspool.system import command

NOT_INSTALLED = "content credentials need the package c2pa-python: install clipspool[c2pa]"
_TRIAL_SECONDS = 30.0
_SECONDS_MAX = 900.0


@dataclass(frozen=True, slots=True)
class Ingredient:
    """A film that another one was made of."""

    file: FileIO
    title: str
    suffix: str
    is_parent: bool
    """Whether it was re-encoded; otherwise something of it, such as its sound, was put in."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A film holds credentials now."""

    subject: str
    """Of the certificate, as in `CN=Desk 1,O=Studio`."""


@dataclass(frozen=True, slots=True)
class SigningOrder:
    """What is to be said of a film."""

    title: str
    suffix: str
    model: str
    """The model that made what was re-encoded."""
    changes: Sequence[str]
    """What was done to it, in words."""
    ingredients: Sequence[Ingredient]


@dataclass(frozen=True, slots=True)
class Signer:
    """A certificate with the chain to its authority, and its key; both PEM."""

    chain: str
    key: str = field(repr=False)
    trouble: str = ""
    """What was wrong when it was tried out; empty where it can be used."""

    def try_out(self) -> str:
        """Sign a small picture and read it back; return what is wrong, or an empty text."""
        if find_spec("c2pa") is None:
            return NOT_INSTALLED
        ran = _run({"chain": self.chain, "key": self.key}, (), _TRIAL_SECONDS, lambda: False)
        return ran.message if isinstance(ran, MediaFault) else ""

    def sign(
        self, film: FileIO, target: FileIO, order: SigningOrder, folder: int, stopping: Callable[[], bool]
    ) -> Signed | MediaFault:
        """Write a film with credentials to `target`, which is open for reading and writing.

        `folder` is the descriptor of the folder in which temporary files may be made. Raises OSError where
        the disk is at fault.
        """
        if order.suffix not in FORMATS:
            return MediaFault("MEDIA.UNSUPPORTED", f"a {order.suffix} holds no content credentials", "")
        body = {
            "chain": self.chain,
            "key": self.key,
            "film": film.fileno(),
            "target": target.fileno(),
            "title": order.title,
            "suffix": order.suffix,
            "model": order.model,
            "changes": list(order.changes),
            "ingredients": [
                {"file": i.file.fileno(), "title": i.title, "suffix": i.suffix, "is_parent": i.is_parent}
                for i in order.ingredients
            ],
        }
        files = [film, target, *(one.file for one in order.ingredients)]
        for file in files:
            file.seek(0)
        return _run(body, (folder, *(file.fileno() for file in files)), _SECONDS_MAX, stopping)


def _run(
    body: dict[str, object], files: Sequence[int], seconds_max: float, stopping: Callable[[], bool]
) -> Signed | MediaFault:
    """Run the signing process; the first of `files` is the folder for temporary files. Raises OSError."""
    extra = {name: value for name, value in os.environ.items() if name.startswith(("PYTHON", "LD_"))}
    if files:
        extra["TMPDIR"] = f"/proc/self/fd/{files[0]}"
    ran = command.run(
        [sys.executable, "-P", "-m", "clipspool.media.signing_child"],
        json.dumps(body).encode(),
        seconds_max=seconds_max,
        folder="/",
        extra=extra,
        stopping=stopping,
        files=files,
    )
    if ran.was_stopped:
        return MediaFault("MEDIA.STOPPED", "clipspool is stopping", "Nothing: it goes on at the next start.")
    try:
        answer = json.loads(ran.output)
    except ValueError:
        why = ran.trouble or f"the signing process ended with status {ran.exit_code}"
        return MediaFault("MEDIA.UNSUPPORTED", why, "")
    if answer["errno"] in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE}:
        raise OSError(answer["errno"], answer["trouble"])
    if answer["trouble"]:
        return MediaFault("MEDIA.UNSUPPORTED", answer["trouble"], "")
    return Signed(answer["subject"])
