"""Carries commands to the running daemon: one JSON line over a Unix socket beside the journal, and one back.

The socket's permissions decide who may give commands; nothing listens on a network.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from clipspool.jobs.faults import OperatorError
from clipspool.system.atomic import Opened
from clipspool.system.process import start_thread

_LINE_BYTES_MAX = 16 << 20
_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 40.0
OTHER_SECONDS = {
    "others": 600.0,
    "recover": 3600.0,
    "choose": 600.0,
    "prune": 3600.0,
    "working": 2.0,
    "look": 10.0,
    "status": 10.0,
}
"""Commands that read or remove many files on the file server, or whole results; and those that can go without
the answer: `status` then shows what the journal says."""
_LOOKS = frozenset({"status", "look", "others", "working", "balance", "presets"})
"""Commands that change nothing."""
_CONNECTIONS_MAX = 16
_REST_SECONDS = 0.2
"""After an accept that failed, for want of descriptors perhaps."""


class NoDaemon(Exception):
    """No daemon runs on this journal."""


class CommandFailed(OperatorError):
    """The daemon could not do it; the message says why."""


def socket_of(journal: Path) -> Path:
    """Return the socket of a journal's daemon."""
    return journal.with_name(journal.name + ".sock")


class ControlSocket:
    """Answers commands, each connection in a thread of its own."""

    def __init__(self, path: Path, answer: Callable[[str, Mapping[str, Any]], Any]) -> None:
        """`answer` gets a command and its arguments; what it raises is sent back as text."""
        self._path = path
        self._answer = answer
        self._socket: socket.socket | None = None
        self._is_stopped = threading.Event()
        self._room = threading.BoundedSemaphore(_CONNECTIONS_MAX)

    def start(self) -> None:
        """Listen; the caller holds the journal's lock, so a socket there is a leftover. Raises OSError."""
        with suppress(FileNotFoundError):
            self._path.unlink()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with _near(self._path) as address:
            self._socket.bind(address)
        self._path.chmod(0o660)
        self._socket.listen(8)
        threading.Thread(target=self._run, name="control", daemon=True).start()

    def stop(self) -> None:
        """Stop listening."""
        self._is_stopped.set()
        if self._socket is not None:
            # A blocked accept wakes on shutdown, not on close.
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            with suppress(OSError):
                self._path.unlink()

    def _run(self) -> None:
        while self._socket is not None:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                if self._is_stopped.wait(_REST_SECONDS):
                    return
                continue
            if not self._room.acquire(blocking=False):
                connection.close()
                continue
            # A thread each: a silent connection, or a command on a folder that hangs, must not block others.
            if start_thread(self._attend, "control-1", connection) is None:
                connection.close()
                self._room.release()

    def _attend(self, connection: socket.socket) -> None:
        try:
            with connection, suppress(OSError):
                connection.settimeout(_ANSWER_SECONDS)
                self._serve(connection)
        finally:
            self._room.release()

    def _serve(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as lines:
            line = lines.readline(_LINE_BYTES_MAX)
        do, given = "", {}
        try:
            asked = json.loads(line)
            do, given = str(asked["do"]), dict(asked["with"])
            reply = {"ok": self._answer(do, given)}
        except TimeoutError:  # the scheduler hangs, perhaps with the journal's disk
            reply = {"failed": _silence(do, given)}
        except Exception as error:  # noqa: BLE001  (sent back to the command; the daemon goes on)
            reply = {"failed": str(error) or type(error).__name__}
        connection.sendall(json.dumps(reply).encode() + b"\n")


@contextmanager
def _near(path: Path) -> Iterator[str]:
    """Return a path to a socket that is shorter than the 107 bytes an address may have."""
    with Opened(os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
        yield f"/proc/self/fd/{fd}/{path.name}"


def _silence(do: str, given: Mapping[str, Any]) -> str:
    """Return what is said of a command that was not answered in time: an order may still be carried out."""
    is_order = do not in _LOOKS and not given.get("dry_run")
    then = "; it may still do this, so look before you order it again" if is_order else ""
    return f"the daemon runs, but does not answer{then}"


def ask(journal: Path, do: str, **arguments: Any) -> Any:
    """Have the journal's daemon carry out a command; raises NoDaemon or CommandFailed."""
    seconds = OTHER_SECONDS.get(do, _ANSWER_SECONDS)
    if do != "look" and seconds > _ANSWER_SECONDS:
        ask(journal, "look", most=0)  # else one that hangs would be waited for that long
    try:
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection,
            _near(socket_of(journal)) as address,
        ):
            connection.settimeout(_CONNECT_SECONDS)
            connection.connect(address)
            connection.settimeout(seconds)
            connection.sendall(json.dumps({"do": do, "with": arguments}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                line = lines.readline()
    except TimeoutError as error:
        raise CommandFailed(_silence(do, arguments)) from error
    except PermissionError as error:
        raise CommandFailed(
            f"{socket_of(journal)}: {error.strerror}; run this as the daemon's user"
        ) from error
    except OSError as error:
        raise NoDaemon from error
    reply = json.loads(line or b"{}")
    if "failed" in reply:
        raise CommandFailed(reply["failed"])
    if "ok" not in reply:
        raise CommandFailed("the daemon ended before it answered")
    return reply["ok"]
