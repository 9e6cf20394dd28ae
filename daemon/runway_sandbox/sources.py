"""Stores the clip of a request on disk: from a data URI, an address or an upload."""

from __future__ import annotations

import binascii
import hashlib
import http.client
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from runway_sandbox import render
from runway_sandbox.validation import MEDIA_TYPES

FETCH_SECONDS: Final = 10.0
"""Time that the provider waits for a source, about [PROVIDER 2.4]."""
CLIP_SECONDS_MAX: Final = {"aleph2": 30.0}
"""Longer clips are refused [PROVIDER 2.3]; other models use their beginning."""
CREDITS_PER_SECOND: Final = {"gen4_aleph": 15, "aleph2": 28}
CREDITS_MIN: Final = {"aleph2": 56}
"""[PROVIDER 2.10]."""
URL_BYTES_MAX: Final = 32 * 1024 * 1024
_PIECE: Final = 1024 * 1024


class AssetError(Exception):
    """The source cannot be used; the message is what the API answers."""


@dataclass(frozen=True, slots=True)
class Clip:
    """The source of a task, on disk."""

    path: Path
    sha256: str
    facts: render.Facts

    def seconds_of(self, model: str) -> float:
        """Return the length of it that a model uses."""
        return min(self.facts.seconds, render.SECONDS_MAX.get(model, self.facts.seconds))

    def credits_for(self, model: str) -> int:
        """Return the price: the provider charges by the second of what it uses."""
        seconds = self.seconds_of(model)
        return max(round(seconds * CREDITS_PER_SECOND[model]), CREDITS_MIN.get(model, 1))


@dataclass(frozen=True, slots=True)
class Sources:
    """Stores the `videoUri` of a checked request as a file. Blocks: for a worker thread."""

    folder: Path
    upload: Callable[[str], Path | None]
    """Returns the file of a runway:// URI."""

    def take(self, uri: str, model: str, name: str) -> Clip:
        """Store the clip as `name`, hash it and probe it. Raises AssetError if it cannot be used."""
        path = self.folder / name
        try:
            digest = self._store(uri, path)
            facts = _facts(path, model)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Clip(path, digest, facts)

    def _store(self, uri: str, path: Path) -> str:
        if uri.startswith("data:"):
            try:
                data = binascii.a2b_base64(uri[uri.index(",") + 1 :], strict_mode=True)
            except (binascii.Error, ValueError):
                raise AssetError("videoUri: Invalid data URI: the data is not base64.") from None
            path.write_bytes(data)
            return hashlib.sha256(data).hexdigest()
        if uri.startswith("runway://"):
            uploaded = self.upload(uri)
            if uploaded is None:
                raise AssetError("videoUri: The upload does not exist or has expired.")
            shutil.copyfile(uploaded, path)
        else:
            _fetch(uri, path)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def _facts(path: Path, model: str) -> render.Facts:
    try:
        facts = render.probe(path)
    except render.NotAVideoError as error:
        raise AssetError(f"videoUri: Invalid asset: {error}.") from None
    limit = CLIP_SECONDS_MAX.get(model)
    if limit is not None and facts.seconds > limit + 0.05:
        raise AssetError(f"videoUri: Invalid asset duration: {facts.seconds:.2f} s, at most {limit:g} s.")
    return facts


def _fetch(url: str, path: Path) -> None:
    """Fetch as strictly as the provider: HEAD first, no redirect, a length, a type [PROVIDER 2.4].

    Raises AssetError with a sentence like the provider's.
    """
    parts = urlsplit(url)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    link = make(parts.hostname or "", parts.port, timeout=FETCH_SECONDS)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        for method in ("HEAD", "GET"):
            link.request(method, target, headers={"User-Agent": "RunwayML API/1.0"})
            answer = link.getresponse()
            _check_head(answer)
            if method == "GET":
                _copy(answer, path)
            else:
                answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise AssetError(f"videoUri: Failed to fetch the asset: {type(error).__name__}.") from None
    finally:
        link.close()


def _check_head(answer: http.client.HTTPResponse) -> None:
    if answer.status != http.client.OK:
        raise AssetError(f"videoUri: Failed to fetch the asset: status {answer.status}.")
    given = (answer.getheader("Content-Type") or "").partition(";")[0].strip().lower()
    if given not in MEDIA_TYPES["video"]:
        raise AssetError(f'videoUri: Unsupported Content-Type response header: "{given}".')
    length = answer.getheader("Content-Length") or ""
    if not length.isdecimal():
        raise AssetError("videoUri: Missing Content-Length response header.")
    if int(length) > URL_BYTES_MAX:
        raise AssetError(f"videoUri: The asset is too large: {length} bytes, at most {URL_BYTES_MAX}.")


def _copy(answer: http.client.HTTPResponse, path: Path) -> None:
    copied = 0
    with path.open("wb") as file:
        while piece := answer.read(_PIECE):
            copied += len(piece)
            if copied > URL_BYTES_MAX:
                raise AssetError("videoUri: The asset is larger than announced.")
            file.write(piece)
