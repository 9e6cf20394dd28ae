"""Receives clips into an inbox: hidden until they are whole, then beside their sidecar, and only once.

An upload is two files: the bytes so far, under a hidden name in the folder where the clip is to lie (so that
one rename completes it, and it has the owner and mode of a file made there by hand), and a record in
`.clipspool/uploads`. That names the clip before it is placed: the same request never places it twice.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from io import FileIO
from typing import Any

from clipspool.intake.names import TOML, Kind, Names, composed, is_plain_name, readable
from clipspool.intake.types import Rules
from clipspool.jobs.naming import numbered
from clipspool.spool.layout import SUFFIXES
from clipspool.spool.root import Root
from clipspool.spool.watchfolder import Folders, fold
from clipspool.system.atomic import OURS, NotRegular, Rel, join, split_suffix

SIZE_MAX = 200 << 30
_RECORDS = f"{OURS}/uploads"
_ID = re.compile(r"[0-9a-f]{32}")
_RECORD_BYTES_MAX = 16_384
_NAME_BYTES_MAX = 200
"""Leaves room for a number, and for what sidecars and notes add to a clip's name."""
_DEPTH_MAX = 16
_SPARE_BYTES = 256 << 20
"""Left free for others: the journal, notes and what is made to fit."""
_OPEN_MAX = 200
"""Uploads of one inbox that are not complete."""
_KEPT_SECONDS = 7 * 86_400.0
"""How long the same request is answered as before, and how long an unfinished one can be resumed."""
_SWEEP_SECONDS = 600.0


class NotTaken(Exception):
    """An upload is refused; the message is a sentence for whoever sent it."""

    def __init__(self, status: int, code: str, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status."""
        self.code = code
        self.facts = facts


@dataclass(frozen=True, slots=True)
class Upload:
    """One clip that is being received, or was."""

    id: str
    inbox: str
    folder: Rel
    name: str
    """As it was sent; the placed one may have a number."""
    size: int | None
    """In bytes; None where the sender has not said."""
    begun_at: float
    """Unix seconds."""
    placing: str = ""
    """The name it is about to get; set before anything is placed."""
    placed_at: float | None = None
    """Unix seconds; None while it does not lie in the inbox."""
    sent: str = ""
    """Identifies what was sent with it, so that one key is not used for two clips."""
    node: str = ""
    """The node of a farm that receives it; a sender may begin anew at another while this one still waits."""

    @property
    def part(self) -> Rel:
        """The hidden file with its bytes so far; no tool and no scan picks it up."""
        return join(self.folder, f".{self.id}.upload")

    @property
    def path(self) -> Rel:
        """Where it lies in the inbox, or is about to."""
        return join(self.folder, self.placing or self.name)


class Uploads:
    """The uploads of all inboxes; for any thread. Every method may raise OSError, Unavailable among them."""

    def __init__(
        self,
        folders: Callable[[], Mapping[str, Folders]],
        rules: Callable[[], Mapping[str, Rules]],
        now: Callable[[], float],
        node: str = "",
    ) -> None:
        """Touch no folder yet; `now` returns Unix seconds, `node` names this one in a farm."""
        self._folders, self._rules, self._now, self._node = folders, rules, now, node
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        self._placing: dict[str, threading.Lock] = {}
        self._swept_at: dict[str, float] = {}

    def root(self, inbox: str) -> Root:
        """Return an inbox's folder; raises NotTaken where there is none, or it is only read."""
        found = self._folders().get(inbox)
        if found is None:
            known = ", ".join(sorted(self._folders()))
            raise NotTaken(
                404, "INBOX.UNKNOWN", f"There is no inbox {readable(inbox)[:80]} (known: {known})."
            )
        if found.origin is not None:
            why = f"Nothing is written into the inbox {inbox}, which is only read: use its folder."
            raise NotTaken(409, "INBOX.READ_ONLY", why)
        return found.inbox

    @contextmanager
    def alone(self, upload_id: str) -> Iterator[None]:
        """Keep other requests from the same upload; raises NotTaken where one is under way."""
        with self._lock:
            if upload_id in self._busy:
                raise NotTaken(409, "UPLOAD.BUSY", "The same upload is under way in another request.")
            self._busy.add(upload_id)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(upload_id)

    # --- beginning ------------------------------------------------------------------------------------

    def begin(
        self, inbox: str, folder: str, name: str, size: int | None, upload_id: str = "", room: int = 0
    ) -> Upload:
        """Begin an upload, or anew one of the same id that was not placed; raises NotTaken.

        `room` is how many bytes it may have where its size is not known yet.
        """
        root = self.root(inbox)
        folder, name = self._checked(inbox, folder, name)
        self._has_room(root, room if size is None else size)
        if time.monotonic() - self._swept_at.get(inbox, -_SWEEP_SECONDS) >= _SWEEP_SECONDS:
            self._swept_at[inbox] = time.monotonic()
            self._sweep(inbox, root)
        key = upload_id or secrets.token_hex(16)
        upload = Upload(key, inbox, folder, name, size, self._now(), node=self._node)
        self._keep(root, upload)
        with root.folder(folder, make=True) as fd:
            with suppress(FileNotFoundError):
                os.unlink(f".{upload.id}.upload", dir_fd=fd)
            root.create_in(f".{upload.id}.upload", fd).close()
        return upload

    def _checked(self, inbox: str, folder: str, name: str) -> tuple[Rel, str]:
        """Return folder and name as they are used; raises NotTaken with what is wrong."""
        names = Names(self._rules()[inbox].extensions, self._rules()[inbox].ignore)
        folder, name = composed(folder).strip("/"), composed(name)
        shown = readable(name)[:120]
        if not is_plain_name(name):
            raise NotTaken(
                422,
                "CLIP.NAME",
                "A clip's name is a plain file name, without folders and control characters.",
            )
        if len(os.fsencode(name)) > _NAME_BYTES_MAX:
            raise NotTaken(422, "CLIP.NAME", f"`{shown}` is too long: {_NAME_BYTES_MAX} bytes is the most.")
        parts = folder.split("/") if folder else []
        if len(parts) > _DEPTH_MAX or not all(is_plain_name(part) for part in parts):
            raise NotTaken(
                422, "CLIP.FOLDER", "A folder is a plain path inside the inbox, such as `day-1/scene-2`."
            )
        for depth, part in enumerate(parts):
            if len(os.fsencode(part)) > _NAME_BYTES_MAX or not names.enters(part, "/".join(parts[:depth])):
                why = f"Clips in a folder named `{readable(part)[:120]}` are not looked for; choose another."
                raise NotTaken(422, "CLIP.FOLDER", why)
        if names.kind(name, folder) is not Kind.CLIP:
            kinds = ", ".join(sorted(self._rules()[inbox].extensions))
            raise NotTaken(415, "CLIP.KIND", f"`{shown}` is no clip that the inbox {inbox} takes ({kinds}).")
        return folder, name

    def _has_room(self, root: Root, size: int) -> None:
        if not 0 < size <= SIZE_MAX:
            raise NotTaken(
                413, "CLIP.SIZE", f"A clip has 1 byte to {SIZE_MAX >> 30} GB; this one has {size:,}."
            )
        missing = size + _SPARE_BYTES - root.space()
        if missing > 0:
            raise NotTaken(
                507,
                "INBOX.FULL",
                f"The inbox's disk has no room for it: it needs {missing:,} bytes more free space.",
            )

    # --- receiving ------------------------------------------------------------------------------------

    def find(self, upload_id: str) -> Upload | None:
        """Return an upload by its id, in whichever inbox."""
        if not _ID.fullmatch(upload_id):
            return None
        for folders in self._folders().values():
            with suppress(FileNotFoundError, NotADirectoryError, NotRegular, ValueError, TypeError):
                data = folders.inbox.read(f"{_RECORDS}/{upload_id}.json", _RECORD_BYTES_MAX)
                return Upload(**json.loads(data))
        return None

    def received(self, upload: Upload) -> int:
        """Return how many bytes of an upload have arrived."""
        try:
            return self.root(upload.inbox).stat(upload.part).st_size
        except FileNotFoundError:
            return 0

    @contextmanager
    def open_part(self, upload: Upload) -> Iterator[FileIO]:
        """Open its bytes so far, to read them or to add to the end; synced when the block ends well."""
        root = self.root(upload.inbox)
        with root.folder(upload.folder) as fd:
            flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
            file = FileIO(os.open(f".{upload.id}.upload", flags, dir_fd=fd), "rb+")
        with file:
            file.seek(0, os.SEEK_END)
            yield file
            os.fsync(file.fileno())

    def path_in(self, upload: Upload, folder: str) -> Rel:
        """Return where an upload would lie in another folder; raises NotTaken."""
        return join(*self._checked(upload.inbox, folder, upload.name))

    def into(self, upload: Upload, folder: str) -> Upload:
        """Move an upload that is not placed into another folder of its inbox; raises NotTaken."""
        folder, _ = self._checked(upload.inbox, folder, upload.name)
        if folder == upload.folder or upload.placing:
            return upload
        root = self.root(upload.inbox)
        moved = replace(upload, folder=folder)
        root.make_folders(folder)
        root.move(upload.part, root, moved.part)
        return self._keep(root, moved)

    def take(self, upload: Upload) -> Upload:
        """Go on with an upload that another node received: whoever takes it last places or removes it."""
        is_ours = upload.node == self._node
        return upload if is_ours else self._keep(self.root(upload.inbox), replace(upload, node=self._node))

    def _is_anothers(self, upload: Upload) -> bool:
        """Whether another node has begun to receive it anew, or goes on with it: its bytes are not ours."""
        known = self.find(upload.id)
        return known is not None and known.node != self._node

    def drop(self, upload: Upload) -> None:
        """Remove an upload that is not placed, with its bytes; one that another node has by now stays."""
        if self._is_anothers(upload):
            return
        root = self.root(upload.inbox)
        root.remove(upload.part)
        root.remove(f"{_RECORDS}/{upload.id}.json")

    # --- placing --------------------------------------------------------------------------------------

    def place(
        self, upload: Upload, sidecar: bytes, images: Sequence[tuple[str, bytes]] = (), sent: str = ""
    ) -> Upload:
        """Put a whole clip into its inbox: images first, then the sidecar, then the clip by one rename.

        A clip whose name is in use gets a number. `sent` identifies what was sent. Raises NotTaken.
        """
        root = self.root(upload.inbox)
        if self._is_anothers(upload):
            raise NotTaken(409, "UPLOAD.BUSY", "The same upload is under way at another node of the farm.")
        with self._lock:
            one_at_a_time = self._placing.setdefault(upload.inbox, threading.Lock())
        with one_at_a_time:  # two of one name would take each other's sidecar
            for name, data in images:
                self._add_image(root, upload.folder, name, data)
            while upload.placed_at is None:
                if not upload.placing:
                    free = self._free_name(root, upload)
                    upload = self._keep(root, replace(upload, placing=free, sent=sent))
                upload = self._place(root, upload, sidecar)
        return upload

    def _place(self, root: Root, upload: Upload, sidecar: bytes) -> Upload:
        beside = f"{upload.path}{TOML}"
        if root.exists(upload.part):
            is_made = False
            try:
                if sidecar and not self._is_there(root, beside, sidecar):
                    root.create(beside, sidecar)
                    is_made = True
                root.move(upload.part, root, upload.path)
            except FileExistsError:  # somebody was quicker with the name: take another
                # Only the one made just now: the same text may be the sidecar of that other clip.
                if is_made and self._is_there(root, beside, sidecar):
                    root.remove(beside)
                return replace(upload, placing="")
        # Without its bytes it was placed before a crash: only this rename takes them away.
        return self._keep(root, replace(upload, placed_at=self._now()))

    def _free_name(self, root: Root, upload: Upload) -> str:
        used = {fold(name) for name in root.names(upload.folder)}
        stem, suffix = split_suffix(upload.name)
        for name in numbered(stem, suffix):
            if not {fold(name), fold(f"{name}{TOML}")} & used:
                return name
        raise NotTaken(409, "CLIP.NAME", f"There are too many clips named `{readable(upload.name)}` already.")

    def _add_image(self, root: Root, folder: Rel, name: str, data: bytes) -> None:
        name = composed(name)
        if not is_plain_name(name) or not name.lower().endswith(SUFFIXES) or name.startswith((".", "_")):
            kinds = ", ".join(SUFFIXES)
            raise NotTaken(
                415, "REFERENCE.KIND", f"`{readable(name)[:120]}` is no reference image ({kinds})."
            )
        try:
            root.create(join(folder, name), data)
        except FileExistsError:
            if not self._is_there(root, join(folder, name), data):
                message = f"Another image `{readable(name)}` lies in that folder; give this one another name."
                raise NotTaken(409, "REFERENCE.NAME", message) from None

    def _is_there(self, root: Root, rel: Rel, data: bytes) -> bool:
        with suppress(OSError, ValueError):
            return root.read(rel, len(data)) == data
        return False

    # --- records --------------------------------------------------------------------------------------

    def _keep(self, root: Root, upload: Upload) -> Upload:
        root.replace(f"{_RECORDS}/{upload.id}.json", json.dumps(asdict(upload)).encode())
        return upload

    def _sweep(self, inbox: str, root: Root) -> None:
        """Remove what nobody finished, and records that are old; raises NotTaken where too many are open."""
        unfinished = 0
        with suppress(FileNotFoundError):
            for name in root.names(_RECORDS):
                upload = self.find(name.removesuffix(".json"))
                if upload is None or upload.inbox != inbox:
                    continue
                if self._now() - (upload.placed_at or upload.begun_at) > _KEPT_SECONDS:
                    self.drop(self.take(upload))
                else:
                    unfinished += upload.placed_at is None
        if unfinished > _OPEN_MAX:
            raise NotTaken(
                429, "UPLOAD.MANY", f"{unfinished} uploads to {inbox} are not complete; finish those."
            )
