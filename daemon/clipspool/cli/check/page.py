"""Checks whether a running daemon answers, and its page: the address, its port, who may make changes."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from clipspool.app import control
from clipspool.app.serving import Serving, serving
from clipspool.app.settings import Settings
from clipspool.app.settings.web import HOW_TO_GIVE_IT
from clipspool.cli.check.finding import Finding, look_at_file, why_of
from clipspool.web.listen import bind_port, family_of

_CONNECT_SECONDS = 1.0
_RESTART = "see its log; if it stays so, restart it: tasks at the provider are followed again"
_LISTENS = "0A"
"""The state of a listening socket in /proc/net/tcp."""


def look_at_daemon(settings: Settings) -> Iterator[Finding]:
    """Check that a daemon that runs answers; one that may not be asked by this user is passed over."""
    try:
        control.ask(settings.journal.path, "look", most=0)
    except control.NoDaemon:
        return
    except control.CommandFailed as error:
        if isinstance(error.__cause__, PermissionError):
            return
        one = serving(settings.file)
        yield Finding("bad", "daemon", f"{error} ({one})" if one else str(error), _RESTART)


def look_at_page(settings: Settings, *, is_silent: bool = False) -> Iterator[Finding]:
    """Check `[web]`, where it is used; `is_silent`: the daemon that runs does not answer."""
    web = settings.web
    if web.listen is None:
        return
    seen = "log-in required" if web.must_log_in else "everyone on this machine can view it"
    yield _address(web.listen, serving(settings.file), seen, is_silent=is_silent)
    if not web.secrets:
        yield Finding("warn", "page's token", "not set: the page is read-only", HOW_TO_GIVE_IT)
    yield from look_at_file("web.token_file", web.token_file)
    for name, one in web.tokens.items():
        yield from look_at_file(f"web.tokens.{name}.token_file", one.token_file)
    if web.listen.startswith("unix:"):
        folder = Path(web.listen.removeprefix("unix:")).parent
        if not folder.is_dir():
            yield Finding(
                "warn", "page", f"{folder} does not exist", "create it; the systemd drop-in does so"
            )


def _address(listen: str, daemon: Serving | None, seen: str, *, is_silent: bool) -> Finding:
    """Check whether the page can listen there, and which process does already."""
    try:
        holder = _holder_of_socket(listen) if listen.startswith("unix:") else _holder_of_port(listen)
    except OSError as error:
        why = {errno.EADDRNOTAVAIL: "this machine has no such address"}.get(error.errno or 0, why_of(error))
        why = f"it cannot listen on {listen}: {why}"
        return Finding("warn", "page", why, "set web.listen; clips are processed without the page")
    if holder is None:
        return Finding("ok", "page", f"on {listen}; {seen}")
    if daemon is not None and holder in {daemon.pid, 0} and is_silent:
        return Finding("bad", "page", f"{listen} is held by {daemon}, which does not answer", _RESTART)
    if daemon is not None and holder in {daemon.pid, 0}:
        return Finding("ok", "page", f"served on {listen}, by {daemon}; {seen}")
    who = f"process {holder}{_name_of(holder)}" if holder else "another program"
    why = f"{listen} is in use by {who}: there is no page until it is free"
    todo = "set web.listen to a free port, or stop that program; clips are processed meanwhile"
    return Finding("warn", "page", why, todo)


def _holder_of_port(listen: str) -> int | None:
    """Return the process that listens on a port, 0 where it is unknown, None where the port is free."""
    with socket.socket(family_of(listen), socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as trial:
        try:
            bind_port(trial, listen)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return _process_with(_sockets_on(int(listen.rpartition(":")[2])))
    return None


def _holder_of_socket(listen: str) -> int | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as trial:
        trial.settimeout(_CONNECT_SECONDS)
        try:
            trial.connect(listen.removeprefix("unix:"))
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return None
        peer = trial.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int.from_bytes(peer[:4], "little")


def _sockets_on(port: int) -> set[str]:
    """Return the listening sockets on a port as /proc shows them: `socket:[1234]`."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text("ascii", "replace").splitlines()[1:]:
                words = line.split()
                if words[3] == _LISTENS and int(words[1].rpartition(":")[2], 16) == port:
                    found.add(f"socket:[{words[9]}]")
    return found


def _process_with(sockets: set[str]) -> int:
    """Find the process that has one of the sockets; 0 where another user's processes are hidden."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with suppress(OSError):
            for descriptor in (folder / "fd").iterdir():
                with suppress(OSError):
                    if os.readlink(descriptor) in sockets:  # noqa: PTH115 - it is no path
                        return int(folder.name)
    return 0


def _name_of(process: int) -> str:
    with suppress(OSError):
        return f" ({Path(f'/proc/{process}/comm').read_text('utf-8', 'replace').strip()})"
    return ""
