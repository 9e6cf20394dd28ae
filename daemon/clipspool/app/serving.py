"""Finds the daemon of this machine that serves a configuration, and where its journal lies.

A daemon listens on an abstract Unix socket named after the configuration file alone, so that commands find it
in any environment. The kernel reports which process listens, gives the name to one process at a time, and
frees it when that process ends, however it ends.
"""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import socket
import stat
import struct
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipspool.system.process import start_thread

_ANSWER_SECONDS = 1.0
_REST_SECONDS = 0.2
"""The pause after an accept that failed, perhaps for lack of descriptors."""
_FOLDER_SECONDS = 3.0
_LINE_BYTES_MAX = 16_384
_SYSTEM_IDS = 1000
"""Accounts below this number were made by an administrator for services."""
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Serving:
    """A daemon that runs on this machine."""

    pid: int
    user: int
    journal: Path | None = None
    """None where it did not answer in time: it hangs, or is stopped."""
    since: float | None = None
    """Unix seconds."""
    host: str = ""

    def __str__(self) -> str:
        """Describe it for an operator."""
        from clipspool.jobs.text import utc  # noqa: PLC0415  (most commands can do without)

        since = "" if self.since is None else f", since {utc(self.since):%Y-%m-%d %H:%M:%S} UTC"
        host = f" on {self.host}" if self.host else ""
        return f"process {self.pid} of user {user_name(self.user)}{host}{since}"


class AlreadyServed(Exception):
    """Another daemon of this machine serves the configuration; the message is one sentence."""


class Announcement:
    """Answers questions for the daemon of a configuration, as long as the daemon runs."""

    def __init__(self, config: Path | None, journal: Path, folders: Iterable[Path] = ()) -> None:
        """Listen under the configuration's names; raises AlreadyServed. Without a file nothing is announced.

        `folders` are the inboxes' work folders, whose owner is trusted to serve them.
        """
        answer = {"journal": str(journal), "since": time.time(), "host": socket.gethostname()}
        self._line = json.dumps(answer).encode() + b"\n"
        self._is_stopped = threading.Event()
        self._sockets: list[socket.socket] = []
        for name in () if config is None else _names(config):
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            self._sockets.append(listener)
            try:
                listener.bind(name)
                listener.listen(16)
            except OSError:
                self.close()
                found = _ask(name)
                # Another account's process that took the name must not keep the daemon from its work.
                if found is not None and config is not None and is_trusted(found, config, folders):
                    raise AlreadyServed(_refusal(config, found)) from None
                import structlog  # noqa: PLC0415 - it takes 0.1 s to load, and every command loads this

                log = structlog.get_logger()
                log.warning("not_announced", why="its name is taken" if found is None else f"by {found}")
                return
        for listener in self._sockets:
            start_thread(self._answer, "announcement", listener)

    def close(self) -> None:
        """Stop listening."""
        self._is_stopped.set()
        for listener in self._sockets:
            with suppress(OSError):  # a blocked accept wakes on shutdown, not on close
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _answer(self, listener: socket.socket) -> None:
        while not self._is_stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                self._is_stopped.wait(_REST_SECONDS)
                continue
            with connection, suppress(OSError):
                connection.setblocking(False)  # a line fits into any socket's buffer
                connection.send(self._line)


def refusal(config: Path | None, folders: Iterable[Path] = ()) -> str:
    """Return a sentence that names the daemon which already serves a configuration; empty where none does."""
    found = serving(config)
    if found is None or config is None or not is_trusted(found, config, folders):
        return ""
    return _refusal(config, found)


def serving(config: Path | None) -> Serving | None:
    """Find the daemon that serves a configuration now, None where none does."""
    for name in () if config is None else _names(config):
        if (found := _ask(name)) is not None:
            return found
    return None


def is_trusted(found: Serving, config: Path, folders: Iterable[Path]) -> bool:
    """Whether a daemon's answer may be trusted: any account of this machine can listen on a free name.

    Trusted are root, the caller, the configuration's owner, the owner of the inboxes' work folders, accounts
    made for services, and processes that systemd runs as a service.
    """
    if found.user < _SYSTEM_IDS or found.user == os.geteuid():
        return True
    if found.user in {_owner(config), _owner(config.parent)} or _is_system_service(found.pid):
        return True
    owners: list[int | None] = []
    # In a thread: a work folder may lie on a file server that hangs.
    thread = start_thread(lambda: owners.extend(map(_owner, folders)), "owners")
    if thread is not None:
        thread.join(_FOLDER_SECONDS)
    return found.user in owners


def user_name(number: int) -> str:
    """Return an account's name, or its number where it has none here."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _refusal(config: Path, found: Serving) -> str:
    journal = "" if found.journal is None else f", with the journal {found.journal}"
    return f"{config} is served already, by {found}{journal}: stop that one first."


def _names(config: Path) -> list[str]:
    """Return the names of the sockets: for the file as it is named, and for the file that a link leads to.

    A name holds the numbers of the folder, not of the file, which an editor replaces when it saves.
    """
    names = []
    for path in dict.fromkeys((config, Path(os.path.realpath(config)))):
        try:
            folder = path.parent.stat()
        except OSError:
            continue
        identity = f"{folder.st_dev}:{folder.st_ino}:{path.name}".encode("utf-8", "surrogateescape")
        names.append(f"\0clipspool/{hashlib.sha256(identity).hexdigest()[:32]}")
    return list(dict.fromkeys(names))


def _ask(name: str) -> Serving | None:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            connection.connect(name)
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            pid, user, _ = _CREDENTIALS.unpack(peer)
            found = Serving(pid, user)
            with suppress(OSError):
                return _read(found, connection)
            return found
    except OSError:
        return None


def _read(found: Serving, connection: socket.socket) -> Serving:
    with connection.makefile("rb") as lines:
        line = lines.readline(_LINE_BYTES_MAX)
    with suppress(ValueError, KeyError, TypeError):
        answer: Mapping[str, Any] = json.loads(line)
        journal = Path(str(answer["journal"]))
        if journal.is_absolute():
            return Serving(found.pid, found.user, journal, float(answer["since"]), str(answer["host"])[:255])
    return found


def _owner(path: Path) -> int | None:
    try:
        here = path.lstat()
    except OSError:
        return None
    return None if stat.S_ISLNK(here.st_mode) else here.st_uid


def _is_system_service(pid: int) -> bool:
    """Whether systemd runs a process, by the kernel's control groups: no user can put a process there."""
    with suppress(OSError):
        groups = Path(f"/proc/{pid}/cgroup").read_text("utf-8", "replace")
        return any(line.split(":", 2)[-1].startswith("/system.slice/") for line in groups.splitlines())
    return False
