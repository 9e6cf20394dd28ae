"""Keeps ephemeral uploads: a placeholder, then a form with the file, then a runway:// URI for a day."""

from __future__ import annotations

import mmap
import re
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from runway_sandbox.wire import Answer, BodyTooLongError, Exchange

PREFIX: Final = "/_storage/"
LIFE_SECONDS: Final = 86_400.0
FILE_BYTES_MIN: Final = 512
FILE_BYTES_MAX: Final = 200 * 1024 * 1024
"""[PROVIDER 2.4]; an upload may be used for 24 hours [PROVIDER 2.5]."""
_FORM_BYTES_EXTRA: Final = 1024 * 1024
_BOUNDARY = re.compile(r'multipart/form-data\s*;.*boundary="?([^";]+)"?', re.IGNORECASE)
_NAME = re.compile(rb'name="([^"]*)"')


@dataclass(slots=True)
class _Upload:
    path: Path
    policy: str
    expires_at: float
    is_stored: bool = False


@dataclass(slots=True)
class Uploads:
    """The uploads of the last day."""

    folder: Path
    _by_id: dict[str, _Upload] = field(default_factory=dict)

    def place(self, base: str) -> dict[str, Any]:
        """Return a placeholder [PROVIDER 2.5]: `uploadUrl`, `fields` and `runwayUri`."""
        self._expire()
        upload_id, policy = secrets.token_hex(16), secrets.token_urlsafe(24)
        path = self.folder / f"upload-{upload_id}"
        self._by_id[upload_id] = _Upload(path, policy, time.time() + LIFE_SECONDS)
        fields = {"key": f"uploads/{upload_id}", "policy": policy}
        url = f"{base}{PREFIX}{upload_id}"
        return {"uploadUrl": url, "fields": fields, "runwayUri": f"runway://{upload_id}"}

    def find(self, uri: str) -> Path | None:
        """Return the file of a runway:// URI, None if it does not exist or has expired."""
        upload = self._by_id.get(uri.removeprefix("runway://"))
        if upload is None or not upload.is_stored or upload.expires_at < time.time():
            return None
        return upload.path

    async def store(self, exchange: Exchange, upload_id: str) -> Answer:
        """Store the form: every field of the placeholder first, the file last."""
        upload = self._by_id.get(upload_id)
        match = _BOUNDARY.match(exchange.request.headers.get("content-type", ""))
        if upload is None or match is None or upload.is_stored:
            return _refusal(403, "AccessDenied")
        spool = upload.path.with_suffix(".form")
        try:
            with spool.open("wb") as file:
                async for part in exchange.chunks():
                    file.write(part)
                    if exchange.bytes_in > FILE_BYTES_MAX + _FORM_BYTES_EXTRA:
                        raise BodyTooLongError
            return self._take(upload, spool, match[1].encode("latin-1"))
        finally:
            spool.unlink(missing_ok=True)

    def _take(self, upload: _Upload, spool: Path, boundary: bytes) -> Answer:
        if spool.stat().st_size == 0:
            return _refusal(400, "MalformedPOSTRequest")
        with spool.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as form:
            parts = _parts(form, boundary)
            fields = {name: form[start:stop] for name, start, stop in parts[:-1]}
            if not parts or parts[-1][0] != "file":
                return _refusal(400, "POST requires exactly one file upload per request, as the last field.")
            if fields.get("policy") != upload.policy.encode():
                return _refusal(403, "AccessDenied")
            _, start, stop = parts[-1]
            if not FILE_BYTES_MIN <= stop - start <= FILE_BYTES_MAX:
                return _refusal(400, "EntityTooLarge" if stop - start > FILE_BYTES_MAX else "EntityTooSmall")
            with upload.path.open("wb") as target:
                target.write(memoryview(form[start:stop]))
        upload.is_stored = True
        return Answer(204)

    def _expire(self) -> None:
        for upload_id, upload in list(self._by_id.items()):
            if upload.expires_at < time.time():
                upload.path.unlink(missing_ok=True)
                del self._by_id[upload_id]


def _parts(form: mmap.mmap, boundary: bytes) -> list[tuple[str, int, int]]:
    """Return the name of each field, and where its content starts and stops."""
    mark, found = b"--" + boundary, []
    start = form.find(mark)
    while start >= 0:
        head = start + len(mark)
        body = form.find(b"\r\n\r\n", head)
        stop = form.find(b"\r\n" + mark, head)
        if body < 0 or stop < 0 or form[head : head + 2] == b"--":
            break
        name = _NAME.search(form[head:body])
        found.append((name[1].decode("utf-8", "replace") if name else "", body + 4, stop))
        start = stop + 2
    return found


def _refusal(status: int, code: str) -> Answer:
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code></Error>'
    return Answer(status, body.encode(), (), "application/xml")
