"""Creates the user that the service runs as, and tries what that user may do."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from clipspool.cli.installing.wish import CannotInstall, Wish


def account(name: str) -> pwd.struct_passwd | None:
    """Find a user, None where there is none."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def group_of(name: str) -> str:
    """Return a user's group; that of a user who does not exist yet gets the same name."""
    found = account(name)
    if found is None:
        return name
    try:
        return grp.getgrgid(found.pw_gid).gr_name
    except KeyError:
        return str(found.pw_gid)


def to_make(wish: Wish) -> list[str] | None:
    """Return the command that creates the user, None where it exists; raises CannotInstall."""
    found = account(wish.user)
    if found is not None:
        if wish.uid is not None and found.pw_uid != wish.uid:
            raise CannotInstall(
                f"The user {wish.user} has the id {found.pw_uid}, not {wish.uid}: leave --uid out, name "
                "another --user, or change the id yourself, with all of the user's files."
            )
        return None
    number: list[str] = []
    if wish.uid is not None:
        for kind, look in (("user", pwd.getpwuid), ("group", grp.getgrgid)):
            with suppress(KeyError):
                name = look(wish.uid)[0]
                raise CannotInstall(f"The id {wish.uid} is that of the {kind} {name}: name another --uid.")
        number = ["--uid", str(wish.uid)]
    home = ["--home-dir", str(wish.state), "--no-create-home", "--shell", "/usr/sbin/nologin"]
    return ["useradd", "--system", *number, *_group(wish.user), *home, wish.user]


def _group(name: str) -> list[str]:
    """Return options for a group of the same name: a new one, or one left by an earlier installation."""
    try:
        grp.getgrnam(name)
    except KeyError:
        return ["--user-group"]
    return ["--gid", name]


def trouble_in(folder: Path, user: pwd.struct_passwd) -> int:
    """Try as a user to create and remove a folder in another; return the error's number, 0 on success."""

    def attempt() -> None:
        trial = folder / f".clipspool-trial-{secrets.token_hex(6)}"
        trial.mkdir()
        trial.rmdir()

    return _as_user(user, attempt)


def trouble_reading(file: Path, user: pwd.struct_passwd) -> int:
    """Try as a user to read a file; return the error's number, 0 on success."""

    def attempt() -> None:
        with file.open("rb") as stream:
            stream.read(1)

    return _as_user(user, attempt)


def _as_user(user: pwd.struct_passwd, attempt: Callable[[], None]) -> int:
    """Run a function in a child process as that user; return the error's number, 0 on success."""
    child = os.fork()
    if child == 0:
        code = errno.EIO
        try:
            os.initgroups(user.pw_name, user.pw_gid)
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            attempt()
            code = 0
        except OSError as error:
            code = error.errno or errno.EIO
        finally:
            os._exit(min(code, 254))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
