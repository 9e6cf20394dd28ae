"""Opens the socket that the page listens on, and removes it at the end."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from clipspool.system.process import closed_on_error

_BACKLOG = 128
_CONNECT_SECONDS = 1.0
_SOCKET_MODE = 0o660


class CannotListen(Exception):
    """The address is in use or cannot be used; the message is one sentence that names `web.listen`."""


class PageSocket:
    """A listening socket, and its file where it is a Unix socket."""

    def __init__(self, listen: str) -> None:
        """Listen on `ADDRESS:PORT` or `unix:PATH`; raises CannotListen."""
        self._path: Path | None = None
        try:
            if listen.startswith("unix:"):
                self._path = Path(listen.removeprefix("unix:"))
                _clear(self._path)
            self.socket = _listening(listen, self._path)
        except OSError as error:
            raise CannotListen(
                f"The page cannot listen on {listen} (`web.listen`): {_why(error)}."
            ) from error

    @property
    def address(self) -> str:
        """The page's address, for people."""
        if self._path is not None:
            return f"unix:{self._path}"
        host, port = self.socket.getsockname()[:2]
        return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"

    def close(self) -> None:
        """Stop listening."""
        self.socket.close()
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()


def _why(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "another program already listens there"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        case errno.EACCES:
            return "this user may not; ports below 1024 are for root"
        case errno.ENOENT:
            return "its folder does not exist"
        case _:
            return error.strerror or str(error)


def bind_port(server: socket.socket, listen: str) -> None:
    """Bind a socket of the family `family_of` to `ADDRESS:PORT`. Raises OSError."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1" if host == "localhost" else host, int(port)))


def family_of(listen: str) -> socket.AddressFamily:
    """Return the family of the addresses that `ADDRESS:PORT` is one of."""
    return socket.AF_INET6 if "[" in listen else socket.AF_INET


def _listening(listen: str, path: Path | None) -> socket.socket:
    family = socket.AF_UNIX if path is not None else family_of(listen)
    server = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    with closed_on_error(server):
        if path is None:
            bind_port(server, listen)
        else:
            server.bind(str(path))
            path.chmod(_SOCKET_MODE)
        server.listen(_BACKLOG)
    return server


def _clear(path: Path) -> None:
    """Remove a socket that no process listens on any more, and nothing else."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(there.st_mode):
        raise FileExistsError(errno.EEXIST, "a file of that name is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(_CONNECT_SECONDS)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
