"""Finds the configuration's file, and the journal of a configuration that does not name one.

The answer must not depend on the caller's environment, which is not the daemon's. So the daemon leaves a note
beside its configuration where it may write; a service's journal lies in the state folder that its unit names.
Nothing here reads the configuration itself: commands start fast.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from clipspool.jobs.faults import OperatorError
from clipspool.system import units

JOURNAL_NAME = "journal.sqlite3"
PREFIX = "CLIPSPOOL_"
_NOTE_BYTES_MAX = 4096


class SettingsError(OperatorError):
    """The configuration cannot be used: a line for each mistake, fit to be shown as it stands."""

    exit_code = 78


class NowhereError(Exception):
    """Nothing says where the journal should lie."""


# --- the configuration ----------------------------------------------------------------------------------


def places(env: Mapping[str, str] = os.environ) -> list[Path]:
    """List where a configuration is looked for when the operator names none, in order."""
    home = env.get("XDG_CONFIG_HOME") or (f"{env['HOME']}/.config" if env.get("HOME") else "")
    user = [Path(home, "clipspool", "config.toml")] if home else []
    try:
        here = [Path.cwd() / "config.toml"]
    except OSError:  # it was removed meanwhile
        here = []
    return [*here, *user, Path("/etc/clipspool/config.toml")]


def file_of(path: Path | None, env: Mapping[str, str] = os.environ) -> Path | None:
    """Find the configuration's file: the one named, else in `places`. Raises SettingsError."""
    named = path or (Path(env["CLIPSPOOL_CONFIG"]) if env.get("CLIPSPOOL_CONFIG") else None)
    if named is not None:
        return Path(os.path.abspath(expanded(str(named), env)))  # noqa: PTH100 - keeps links
    looked, denied = places(env), []
    for place in looked:
        try:
            if place.is_file():
                return place
        except PermissionError:  # in another user's home
            denied.append(place)
        except OSError:
            pass
    if denied:
        raise SettingsError(
            f"no configuration found, and this user may not look at {' and '.join(map(str, denied))}: "
            "name one with --config, or run this as a user who may"
        )
    if f"{PREFIX}INBOX" not in env:
        raise SettingsError(
            f"no configuration found (looked at {', '.join(map(str, looked))}): "
            "name one with --config, or let `clipspool init` write one"
        )
    return None


def expanded(value: str, env: Mapping[str, str]) -> str:
    """Expand `~`, by the given environment."""
    if value == "~" or value.startswith("~/"):
        return env.get("HOME", "~") + value[1:]
    return os.path.expanduser(value) if value.startswith("~") else value  # noqa: PTH111 - Path raises instead


# --- its journal ----------------------------------------------------------------------------------------


def journal_of(file: Path | None, env: Mapping[str, str]) -> Path:
    """Return where the journal lies, or should be made; raises NowhereError.

    In this order: the state folder that systemd gives to a unit; the journal that served this file last, by
    the note beside it; the state folder of the installed unit that serves it; the user's own state folder.
    """
    if state := env.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(state, JOURNAL_NAME)
    noted = None if file is None else noted_journal(file)
    candidates = [] if file is None else [*([noted] if noted else []), *units.journals_of(file)]
    base = env.get("XDG_STATE_HOME") or (f"{env['HOME']}/.local/state" if env.get("HOME") else "")
    own = [Path(base, "clipspool", JOURNAL_NAME)] if base else []
    for path in (*candidates, *own):
        if _exists(path):
            return path
    # None exists yet: a unit's folder is where the service would make it.
    for path in (*(path for path in candidates if _exists(path.parent)), *own):
        return path
    raise NowhereError


def _note_beside(file: Path) -> Path:
    """Return the note in which a daemon of this machine writes where its journal is."""
    return file.with_name(f".{file.name}.journal.{socket.gethostname().replace('/', '-')}")


def leave_note(file: Path, journal: Path) -> None:
    """Note beside a configuration which journal serves it, where the daemon may write there."""
    note = _note_beside(file)
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
    """Return the journal that served a configuration last, where its daemon could note it.

    A note counts if it is by who could have written the configuration, by root, or by who asks.
    """
    with suppress(OSError):
        owners = {0, os.geteuid(), file.stat().st_uid, file.parent.stat().st_uid}
        fd = os.open(_note_beside(file), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as stream:
            here = os.fstat(fd)
            text = stream.read(_NOTE_BYTES_MAX)
        if stat.S_ISREG(here.st_mode) and here.st_uid in owners and text.endswith(b"\n"):
            path = Path(os.fsdecode(text[:-1]))
            if path.is_absolute() and "\0" not in str(path):
                return path
    return None


def _exists(path: Path) -> bool:
    """Whether a path exists; one that may not be looked at counts as existing."""
    try:
        path.stat()
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return True
