"""Says where the journal of a configuration lies that does not name it: the same for everybody who asks.

The environment of whoever types a command says nothing about that of the daemon. So the daemon leaves a note
beside its configuration where it may; a service's journal is in the state folder that its unit names.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from clipspool.system import units as installed

NAME = "journal.sqlite3"
_NOTE_BYTES_MAX = 4096


class NowhereError(Exception):
    """Nothing says where the journal is to lie."""


def journal_of(file: Path | None, env: Mapping[str, str]) -> Path:
    """Say where the journal is, or is to be made where there is none yet; raises NowhereError.

    In this order: the state folder that systemd gives to a unit; the journal that served this file last, by
    the note beside it; the state folder of the installed unit that serves it; the user's own state folder.
    """
    state = env.get("STATE_DIRECTORY", "").split(":")[0]
    if state:
        return Path(state, NAME)
    candidates = [] if file is None else [*_noted(file), *installed.journals_of(file)]
    own = _own(env)
    found = next((path for path in (*candidates, *([own] if own else [])) if _is_there(path)), None)
    if found is not None:
        return found
    # None is there yet: a unit's folder is where the service would make it.
    for path in candidates:
        if _is_there(path.parent):
            return path
    if own is None:
        raise NowhereError
    return own


def note_beside(file: Path) -> Path:
    """Name the note in which a daemon of this machine leaves where its journal is."""
    return file.with_name(f".{file.name}.journal.{socket.gethostname().replace('/', '-')}")


def leave_note(file: Path, journal: Path) -> None:
    """Note beside a configuration which journal serves it, where the daemon may write there."""
    note = note_beside(file)
    if noted_journal(file) == journal:
        return
    part = note.with_name(f"{note.name}.{os.getpid()}.part")
    with suppress(OSError):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(part, flags, 0o644), "wb") as stream:
                stream.write(os.fsencode(journal) + b"\n")
            part.replace(note)
        finally:
            part.unlink(missing_ok=True)


def noted_journal(file: Path) -> Path | None:
    """Give the journal that served a configuration last, where its daemon could note it."""
    return next(_noted(file), None)


def _noted(file: Path) -> Iterator[Path]:
    """Read the note, if it is by who could have written the configuration, by root, or by who asks."""
    with suppress(OSError):
        owners = {0, os.geteuid(), file.stat().st_uid, file.parent.stat().st_uid}
        fd = os.open(note_beside(file), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as stream:
            here = os.fstat(fd)
            text = stream.read(_NOTE_BYTES_MAX)
        if stat.S_ISREG(here.st_mode) and here.st_uid in owners and text.endswith(b"\n"):
            path = Path(os.fsdecode(text[:-1]))
            if path.is_absolute() and "\0" not in str(path):
                yield path


def _own(env: Mapping[str, str]) -> Path | None:
    base = env.get("XDG_STATE_HOME") or (f"{env['HOME']}/.local/state" if env.get("HOME") else "")
    return Path(base, "clipspool", NAME) if base else None


def _is_there(path: Path) -> bool:
    """Say whether a path is there; one that may not be looked at counts as there."""
    try:
        path.stat()
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return True
