"""Makes the user that the service runs as, and tries what that user may do."""

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
    """Name a user's own group; that of a user who is not there yet has the same name."""
    found = account(name)
    if found is None:
        return name
    try:
        return grp.getgrgid(found.pw_gid).gr_name
    except KeyError:
        return str(found.pw_gid)


def to_make(wish: Wish) -> list[str] | None:
    """Give the command that makes the user, None where it is there; raises CannotInstall."""
    found = account(wish.user)
    if found is not None:
        if wish.uid is not None and found.pw_uid != wish.uid:
            raise CannotInstall(
                f"The user {wish.user} has the id {found.pw_uid}, not {wish.uid}: leave --uid out, name "
                "another --user, or change it by hand with all files that it has."
            )
        return None
    number: list[str] = []
    if wish.uid is not None:
        for kind, look in (("user", pwd.getpwuid), ("group", grp.getgrgid)):
            with suppress(KeyError):
                taken = look(wish.uid)[0]
                raise CannotInstall(f"The id {wish.uid} is that of the {kind} {taken}: name another --uid.")
        number = ["--uid", str(wish.uid)]
    home = ["--home-dir", str(wish.state), "--no-create-home", "--shell", "/usr/sbin/nologin"]
    return ["useradd", "--system", *number, *_group(wish.user), *home, wish.user]


def _group(name: str) -> list[str]:
    """Give the user a group of the same name: a new one, or the one that an earlier installation left."""
    try:
        grp.getgrnam(name)
    except KeyError:
        return ["--user-group"]
    return ["--gid", name]


def trouble_in(folder: Path, user: pwd.struct_passwd) -> int:
    """Try as a user to make and remove something in a folder; give the error's number, 0 where it works."""

    def attempt() -> None:
        trial = folder / f".clipspool-trial-{secrets.token_hex(6)}"
        trial.mkdir()
        trial.rmdir()

    return _as_user(user, attempt)


def trouble_reading(file: Path, user: pwd.struct_passwd) -> int:
    """Try as a user to read a file; give the error's number, 0 where it works."""

    def attempt() -> None:
        with file.open("rb") as stream:
            stream.read(1)

    return _as_user(user, attempt)


def _as_user(user: pwd.struct_passwd, attempt: Callable[[], None]) -> int:
    """Do something in a child that is that user; give the error's number, 0 where it worked."""
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
