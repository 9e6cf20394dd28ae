"""Reads the form of a clip: small fields into memory, the film to the disk as it comes."""

from __future__ import annotations

import hashlib
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from io import FileIO
from typing import Final

import tomli_w
from starlette.requests import Request

from clipspool.intake.sidecar.parse import BYTES_MAX
from clipspool.system.atomic import write_all
from clipspool.web.api.films import PIECE_BYTES, Films
from clipspool.web.form_stream import BadForm, PartBegin, PartEnd, form_events
from clipspool.web.upload_rules import NotTaken
from clipspool.web.uploads import Upload, id_in

IMAGE_BYTES_MAX: Final = 32 << 20
IMAGES_MAX: Final = 4
FIELDS = frozenset({"inbox", "folder", "name", "sidecar", "prompt", "upload"})


@dataclass(slots=True)
class ClipForm:
    """What was read of a form so far."""

    fields: dict[str, bytearray] = field(default_factory=dict)
    images: list[tuple[str, bytearray]] = field(default_factory=list)
    upload: Upload | None = None
    digest: str = ""
    """SHA-256 of the film."""

    def text(self, name: str) -> str:
        """Return a field as text, empty where it is not there; raises NotTaken."""
        try:
            return self.fields.get(name, bytearray()).decode()
        except UnicodeDecodeError:
            raise NotTaken(422, "REQUEST.TEXT", f"The field `{name}` is not UTF-8.") from None

    @property
    def sidecar(self) -> bytes:
        """The sidecar as it is written; made from `prompt` where there is none."""
        if "sidecar" in self.fields:
            return bytes(self.fields["sidecar"])
        prompt = self.text("prompt").strip()
        return tomli_w.dumps({"prompt": prompt}).encode() if prompt else b""

    @property
    def identity(self) -> str:
        """Identifies all that was sent, so that one key is not used for two clips."""
        parts = [self.text("inbox"), self.text("folder"), self.text("name"), self.digest]
        parts += [hashlib.sha256(self.sidecar).hexdigest()]
        parts += [f"{name} {hashlib.sha256(data).hexdigest()}" for name, data in self.images]
        return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


class FormReader:
    """Reads one request's form."""

    def __init__(self, films: Films, request: Request, owner: str) -> None:
        """`owner` is the upload's part of its id, made from the request's key; empty for a new one."""
        self._films, self._request, self._owner = films, request, owner
        self.form = ClipForm()

    async def read(self) -> ClipForm:
        """Read the form; the film goes to the disk as it comes, or only through the hash if it is known."""
        form, part, size = self.form, PartBegin("", ""), 0
        digest, waiting = hashlib.sha256(), bytearray()
        async with AsyncExitStack() as stack:
            film: FileIO | None = None

            async def flush() -> None:
                if form.upload is not None and film is not None and waiting:
                    await self._films.in_thread(form.upload.inbox, write_all, film, bytes(waiting))
                waiting.clear()

            async for event in form_events(self._request):
                match event:
                    case PartBegin(name="file", filename=filename):
                        if form.upload is not None:
                            raise BadForm("The form has two files; send each clip in a form of its own.")
                        part = event
                        form.fields.setdefault("name", bytearray(filename.encode()))
                        form.upload = await self._begun()
                        if not form.upload.placing:
                            film = await stack.enter_async_context(self._films.opened(form.upload))
                    case PartBegin():
                        part, size = event, 0
                        self._begin_field(event)
                    case bytes() if part.name == "file":
                        digest.update(event)
                        waiting += event
                        if len(waiting) >= PIECE_BYTES:
                            await flush()
                    case bytes():
                        size += len(event)
                        self._add(part, event, size)
                    case PartEnd():
                        await flush()
        if form.upload is not None and form.text("upload"):
            raise NotTaken(422, "REQUEST.FIELD", "Send `file` or `upload`, not both.")
        if form.fields.get("sidecar") and form.fields.get("prompt"):
            raise NotTaken(422, "REQUEST.FIELD", "Send `sidecar` or `prompt`, not both.")
        form.digest = digest.hexdigest()
        return form

    async def _begun(self) -> Upload:
        form = self.form
        if "inbox" not in form.fields:
            raise NotTaken(422, "REQUEST.ORDER", "Send the fields `inbox` and `folder` before the file.")
        inbox = form.text("inbox")
        room = int(self._request.headers.get("content-length", "0"))
        given = inbox, form.text("folder"), form.text("name")
        own = id_in(inbox, self._owner) if self._owner else ""
        upload: Upload = await self._films.in_thread(
            inbox, self._films.uploads.begin, *given, None, own, room
        )
        return upload

    def _begin_field(self, part: PartBegin) -> None:
        form = self.form
        if part.name == "reference":
            if len(form.images) >= IMAGES_MAX:
                raise NotTaken(413, "REFERENCE.MANY", f"At most {IMAGES_MAX} reference images are taken.")
            form.images.append((part.filename, bytearray()))
        elif part.name not in FIELDS:
            known = ", ".join(sorted(FIELDS | {"file", "reference"}))
            raise NotTaken(422, "REQUEST.FIELD", f"There is no field {part.name[:60]!a} (known: {known}).")
        elif form.upload is not None and part.name in {"folder", "name"}:
            # The film lies in its folder by now: in another one other defaults may have been meant.
            raise NotTaken(422, "REQUEST.ORDER", f"Send the field `{part.name}` before the file.")
        elif part.name in form.fields:
            raise NotTaken(422, "REQUEST.FIELD", f"The field `{part.name}` is there twice.")
        else:
            form.fields[part.name] = bytearray()

    def _add(self, part: PartBegin, data: bytes, size: int) -> None:
        form = self.form
        if part.name == "reference":
            if size > IMAGE_BYTES_MAX:
                most = IMAGE_BYTES_MAX >> 20
                raise NotTaken(413, "REFERENCE.SIZE", f"A reference image has at most {most} MB here.")
            self._films.hold_image(self._request, len(data))
            form.images[-1][1].extend(data)
        elif size > BYTES_MAX:
            raise NotTaken(413, "REQUEST.SIZE", f"The field `{part.name}` is larger than {BYTES_MAX} bytes.")
        else:
            form.fields[part.name] += data
