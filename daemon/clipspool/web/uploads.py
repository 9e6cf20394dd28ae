"""Receives clips into an inbox: hidden until they are whole, then beside their sidecar, and only once.

An upload is two files: the bytes so far, under a hidden name in the folder where the clip is to lie (so that
one rename completes it, and it has the owner and mode of a file made there by hand), and a record in
`.clipspool/uploads`. That names the clip before it is placed: the same request never places it twice.
"""

from __future__ import annotations

import hashlib
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
from math import inf

from clipspool.intake.names import TOML
from clipspool.intake.types import Rules
from clipspool.jobs.naming import numbered
from clipspool.spool.root import Root
from clipspool.spool.watchfolder import Folders, fold
from clipspool.system.atomic import OURS, NotRegular, Rel, join, split_suffix
from clipspool.system.redaction import readable
from clipspool.web.upload_rules import NotTaken, check_room, check_size, checked_image, checked_place

_RECORDS = f"{OURS}/uploads"
_ID = re.compile(r"[0-9a-f]{32}")
OWN_DIGITS = 24
"""Of an upload's id; the others say in which inbox it lies."""
_RECORD_BYTES_MAX = 16_384
_OPEN_MAX = 1000
"""Uploads of one inbox that are not placed: a page holds all clips of a batch until their price was seen."""
_KEPT_SECONDS = 7 * 86_400.0
"""How long the same request is answered as before, and how long an unfinished one can be resumed."""
_SWEEP_SECONDS = 600.0
_RECOUNT_SECONDS = 10.0
"""How soon the records are read again where too many uploads are open: each is a file."""


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
    """The node of a farm that receives it; a sender may start over at another while this one still waits."""

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
        self._open: dict[str, tuple[float, int]] = {}
        """By inbox: when its records were read last, and how many uploads are not placed."""

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
        """Begin an upload, or restart one of the same id; one that is being placed, or was, is returned.

        `room` is how many bytes it may have where its size is not known yet. Raises NotTaken.
        """
        root = self.root(inbox)
        if upload_id and (known := _read(root, upload_id)) is not None and known.placing:
            return known
        folder, name = checked_place(root, self._rules()[inbox], folder, name)
        check_size(room if size is None else size)
        check_room(root, room if size is None else size)
        self._limit_open(inbox, root)
        key = upload_id or id_in(inbox, secrets.token_hex(16))
        upload = Upload(key, inbox, folder, name, size, self._now(), node=self._node)
        self._keep(root, upload)
        with root.folder(folder, make=True) as fd:
            with suppress(FileNotFoundError):
                os.unlink(f".{upload.id}.upload", dir_fd=fd)
            root.create_in(f".{upload.id}.upload", fd).close()
        return upload

    # --- receiving ------------------------------------------------------------------------------------

    def inbox_of(self, upload_id: str) -> str | None:
        """Return the inbox that an upload's id names; None where it cannot be one. Touches no disk."""
        return next((name for name in self._folders() if id_in(name, upload_id) == upload_id), None)

    def find(self, upload_id: str) -> Upload | None:
        """Return an upload by its id; only its own inbox is looked into."""
        if (inbox := self.inbox_of(upload_id)) is None:
            return None
        found = _read(self._folders()[inbox].inbox, upload_id)
        return found if found is not None and found.inbox == inbox else None

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
        root = self.root(upload.inbox)
        return join(*checked_place(root, self._rules()[upload.inbox], folder, upload.name))

    def into(self, upload: Upload, folder: str) -> Upload:
        """Move an upload that is not placed into another folder of its inbox; raises NotTaken."""
        root = self.root(upload.inbox)
        folder, _ = checked_place(root, self._rules()[upload.inbox], folder, upload.name)
        if folder == upload.folder or upload.placing:
            return upload
        moved = replace(upload, folder=folder)
        root.make_folders(folder)
        root.move(upload.part, root, moved.part)
        return self._keep(root, moved)

    def take(self, upload: Upload) -> Upload:
        """Go on with an upload that another node received: whoever takes it last places or removes it."""
        is_ours = upload.node == self._node
        return upload if is_ours else self._keep(self.root(upload.inbox), replace(upload, node=self._node))

    def _is_anothers(self, upload: Upload) -> bool:
        """Whether another node has begun to receive it again, or goes on with it: its bytes are not ours."""
        known = _read(self.root(upload.inbox), upload.id)
        return known is not None and known.node != self._node

    def drop(self, upload: Upload) -> None:
        """Remove an upload that is not placed, with its bytes; one that another node has by now stays."""
        if self._is_anothers(upload):
            return
        root = self.root(upload.inbox)
        root.remove(upload.part)
        root.remove(f"{_RECORDS}/{upload.id}.json")
        self._count(upload.inbox, -1)

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
                is_resumed = bool(upload.placing)
                if not is_resumed:
                    free = self._free_name(root, upload)
                    upload = self._keep(root, replace(upload, placing=free, sent=sent))
                upload = self._place(root, upload, sidecar, is_resumed=is_resumed)
        self._count(upload.inbox, -1)
        return upload

    def _place(self, root: Root, upload: Upload, sidecar: bytes, *, is_resumed: bool) -> Upload:
        beside = f"{upload.path}{TOML}"
        if root.exists(upload.part):
            is_made = False
            try:
                # The same text is ours only after a crash: else another node places a clip of this name.
                if sidecar and not (is_resumed and self._is_there(root, beside, sidecar)):
                    root.create(beside, sidecar)
                    is_made = True
                root.move(upload.part, root, upload.path)
            except FileExistsError:  # somebody was quicker with the name: take another
                # Only the one made just now: the same text may be the sidecar of that other clip.
                if is_made and self._is_there(root, beside, sidecar):
                    root.remove(beside)
                return replace(upload, placing="")
        # If its bytes are gone, it was placed before a crash: nothing but the rename above removes them.
        return self._keep(root, replace(upload, placed_at=self._now()))

    def _free_name(self, root: Root, upload: Upload) -> str:
        used = {fold(name) for name in root.names(upload.folder)}
        stem, suffix = split_suffix(upload.name)
        for name in numbered(stem, suffix):
            if not {fold(name), fold(f"{name}{TOML}")} & used:
                return name
        raise NotTaken(409, "CLIP.NAME", f"There are too many clips named `{readable(upload.name)}` already.")

    def _add_image(self, root: Root, folder: Rel, name: str, data: bytes) -> None:
        name = checked_image(name)
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

    def _limit_open(self, inbox: str, root: Root) -> None:
        """Count one more upload, and now and then sweep; raises NotTaken where too many are open."""
        read_at, unfinished = self._open.get(inbox, (-inf, 0))
        rest = _RECOUNT_SECONDS if unfinished >= _OPEN_MAX else _SWEEP_SECONDS
        if time.monotonic() - read_at >= rest:
            unfinished = self._sweep(root)
            with self._lock:
                self._open[inbox] = time.monotonic(), unfinished
        if unfinished >= _OPEN_MAX:
            raise NotTaken(
                429, "UPLOAD.MANY", f"{unfinished:,} uploads to {inbox} are not complete; finish those."
            )
        self._count(inbox, 1)

    def _count(self, inbox: str, more: int) -> None:
        with self._lock:
            read_at, unfinished = self._open.get(inbox, (-inf, 0))
            self._open[inbox] = read_at, unfinished + more

    def _sweep(self, root: Root) -> int:
        """Remove what nobody finished, and records that are old; return how many uploads are open."""
        unfinished = 0
        with suppress(FileNotFoundError):
            for name in root.names(_RECORDS):
                upload = _read(root, name.removesuffix(".json"))
                if upload is None:
                    continue
                if self._now() - (upload.placed_at or upload.begun_at) > _KEPT_SECONDS:
                    self.drop(self.take(upload))
                else:
                    unfinished += upload.placed_at is None
        return unfinished


def id_in(inbox: str, own: str) -> str:
    """Return the id of an upload into an inbox: its first digits are its own, the others the inbox's."""
    of_inbox = hashlib.sha256(inbox.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{own[:OWN_DIGITS]}{of_inbox}"[:32]


def _read(root: Root, upload_id: str) -> Upload | None:
    """Read an upload's record in an inbox; None without one."""
    if not _ID.fullmatch(upload_id):
        return None
    with suppress(FileNotFoundError, NotADirectoryError, NotRegular, ValueError, TypeError, RecursionError):
        made = Upload(**json.loads(root.read(f"{_RECORDS}/{upload_id}.json", _RECORD_BYTES_MAX)))
        texts = {*map(type, (made.inbox, made.folder, made.name, made.placing, made.sent, made.node))}
        numbers = {*map(type, (made.begun_at, made.placed_at or 0.0, made.size or 0))}
        # Editors can write there: what one changed must not end the requests of others with an error.
        return made if made.id == upload_id and texts == {str} and numbers <= {int, float} else None
    return None
