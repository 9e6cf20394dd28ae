"""Finds out what still has to be done to install the service, one step after the other.

Each step is found when the one before is done, so whoever runs it again goes on where it stopped, and where
nothing is left to do nothing is changed.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from clipspool.app.settings import Settings
from clipspool.cli.installing import user as users
from clipspool.cli.installing.unit import drop_in_text, unit_text
from clipspool.cli.installing.wish import CannotInstall, Wish, program

SYSTEMD = Path("/run/systemd/system")
_FOLDER_MODE = 0o2775


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is to be done."""

    what: str
    """For people: what it is for."""
    how: str
    """The command that does the same, to be shown."""
    do: Callable[[], None]


def steps(wish: Wish, settings: Settings, key: Callable[[], str | None]) -> Iterator[Step]:
    """Find the steps, in order; raises CannotInstall. `key` gives the API key, None where there is none."""
    command = program()
    _refuse_relative_folders(wish, settings)
    _refuse_another_configuration(wish)
    if (make := users.to_make(wish)) is not None:
        yield Step(f"make the user {wish.user}, who runs it", " ".join(make), partial(run, *make))
    for folder in _folders(settings):
        yield from _folder(wish, folder)
    yield from _readable(wish, wish.config, "the configuration")
    if settings.provider.api_key_file is not None:
        yield from _readable(wish, settings.provider.api_key_file, "the API key")
    else:
        yield from _key(wish, key)
    is_changed = False
    group = users.group_of(wish.user)
    for what, file, text in (
        ("the unit", wish.unit_file, unit_text(wish, command)),
        ("its drop-in, with the folders", wish.drop_in, drop_in_text(wish, settings, group)),
    ):
        if text_of(file) != text:
            is_changed = True
            how = "replace" if file.exists() else "write"
            yield Step(f"{how} {what}", f"{how} {file}", partial(_write, file, text, 0o644))
    yield from _started(wish, settings, is_changed=is_changed)


def run(*command: str) -> None:
    """Run a program of the system; raises CannotInstall with what it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    except OSError as error:
        raise CannotInstall(f"{command[0]} cannot be run: {error.strerror}.") from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise CannotInstall(f"`{' '.join(command)}` failed: {said or f'exit code {done.returncode}'}")


def asked(*command: str) -> str:
    """Give what a program of the system prints, empty where it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    except OSError:
        return ""
    return done.stdout.strip()


def has_key(wish: Wish, settings: Settings) -> bool:
    """Say whether the service will have an API key."""
    return settings.provider.api_key_file is not None or wish.credential("provider_api_key").is_file()


def _refuse_relative_folders(wish: Wish, settings: Settings) -> None:
    for folder in _folders(settings):
        if Path("/etc") in folder.parents:
            raise CannotInstall(
                f"{wish.config} names {folder}, which lies beneath /etc: a relative path counts from the "
                f"configuration's own folder. Write it whole, such as /srv/clips/{folder.name}."
            )


def _refuse_another_configuration(wish: Wish) -> None:
    """One plain unit serves one configuration; the others are instances."""
    text = text_of(wish.unit_file)
    named = text.partition(" run --config ")[2].split("\n")[0]
    if wish.unit == "clipspool" and named and named.strip('"') != str(wish.config):
        raise CannotInstall(
            f"{wish.unit_file} serves {named}: put this configuration at /etc/clipspool/NAME.toml, and it "
            "gets a unit of its own, clipspool@NAME; or remove that one with `clipspool service remove`."
        )


def _folders(settings: Settings) -> list[Path]:
    folders = [path for inbox in settings.inbox for path in (inbox.path, inbox.outbox)]
    if settings.transport.public_url is not None:
        folders.append(settings.transport.public_url.folder)
    return list(dict.fromkeys(folders))


def _folder(wish: Wish, folder: Path) -> Iterator[Step]:
    group = users.group_of(wish.user)
    if not folder.exists():
        if (mount := _not_mounted(folder)) is not None:
            raise CannotInstall(
                f"{folder} is not there, and neither is what /etc/fstab mounts on {mount}: mount it first."
            )
        how = f"install -d -o {wish.user} -g {group} -m {_FOLDER_MODE:o} {folder}"
        yield Step(f"make {folder}, for {wish.user}", how, partial(_make_folder, wish, folder))
    elif not folder.is_dir():
        raise CannotInstall(f"{folder} is no folder: name another in {wish.config}.")
    found = users.account(wish.user)
    if found is None or not (trouble := users.trouble_in(folder, found)):
        return
    if trouble not in {errno.EACCES, errno.EPERM}:
        raise CannotInstall(f"{folder} takes nothing from {wish.user}: {os.strerror(trouble)}.")
    # Root's own folders are given away whole; of somebody else's only the group is changed.
    is_roots = folder.stat().st_uid == 0
    whose = f"{wish.user}:{group}" if is_roots else f":{group}"
    how = f"chown {whose} {folder} && chmod {'2775' if is_roots else 'g+rwxs'} {folder}"
    give = partial(_give_folder, wish, folder, is_whole=is_roots)
    yield Step(f"let {wish.user} write in {folder}", how, give)
    if trouble := users.trouble_in(folder, found):
        raise CannotInstall(_not_given(wish, folder, found.pw_uid, found.pw_gid, os.strerror(trouble)))


def _not_mounted(folder: Path, table: Path = Path("/etc/fstab")) -> Path | None:
    """Name the mount point above a folder on which nothing is mounted now."""
    for line in text_of(table).splitlines():
        words = line.split("#")[0].split()
        if len(words) > 1 and words[1] != "/":
            point = Path(words[1].replace("\\040", " "))
            if (point == folder or point in folder.parents) and not os.path.ismount(point):
                return point
    return None


def _make_folder(wish: Wish, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotInstall(f"{folder} cannot be made: {error.strerror}.") from error
    _give_folder(wish, folder, is_whole=True)


def _give_folder(wish: Wish, folder: Path, *, is_whole: bool) -> None:
    found = users.account(wish.user)
    if found is None:
        raise CannotInstall(f"There is no user {wish.user}.")
    try:
        os.chown(folder, found.pw_uid if is_whole else -1, found.pw_gid)
        folder.chmod(_FOLDER_MODE if is_whole else folder.stat().st_mode & 0o7777 | 0o2070)
    except OSError as error:
        why = error.strerror or str(error)
        raise CannotInstall(_not_given(wish, folder, found.pw_uid, found.pw_gid, why)) from error


def _not_given(wish: Wish, folder: Path, uid: int, gid: int, why: str) -> str:
    return (
        f"{folder} cannot be given to {wish.user} from here ({why}): a file server that does not trust this "
        f"machine's root does that itself. Type there: chown {uid}:{gid} on the folder, or name with --user "
        f"somebody who may write in it; a closed folder above it (ls -ld {folder.parent}) does the same."
    )


def _readable(wish: Wish, file: Path, what: str) -> Iterator[Step]:
    found = users.account(wish.user)
    if found is None or not (trouble := users.trouble_reading(file, found)):
        return
    group = users.group_of(wish.user)
    if trouble not in {errno.EACCES, errno.EPERM}:
        raise CannotInstall(f"{file} cannot be read: {os.strerror(trouble)}.")
    how = f"chgrp {group} {file} && chmod g+r {file}"
    yield Step(f"let {wish.user} read {what}", how, partial(_let_read, file, found.pw_gid))
    if trouble := users.trouble_reading(file, found):
        raise CannotInstall(
            f"{wish.user} cannot read {file} ({os.strerror(trouble)}): open the folders above it (chmod o+x)."
        )


def _let_read(file: Path, group: int) -> None:
    try:
        os.chown(file, -1, group)
        file.chmod(file.stat().st_mode & 0o7777 | 0o040)
    except OSError as error:
        raise CannotInstall(f"{file}: {error.strerror}.") from error


def _key(wish: Wish, key: Callable[[], str | None]) -> Iterator[Step]:
    file = wish.credential("provider_api_key")
    if file.is_file():
        if file.stat().st_mode & 0o077:
            yield Step("close the key's file to others", f"chmod 600 {file}", partial(file.chmod, 0o600))
        return
    if (secret := key()) is not None:
        how = f"install -m 600 /dev/stdin {file}"
        yield Step(
            "keep the API key where root alone reads it", how, partial(_write, file, f"{secret}\n", 0o600)
        )


def _started(wish: Wish, settings: Settings, *, is_changed: bool) -> Iterator[Step]:
    unit = wish.unit
    if is_changed or asked("systemctl", "show", "-p", "NeedDaemonReload", "--value", unit) == "yes":
        yield Step(
            "have systemd read it", "systemctl daemon-reload", partial(run, "systemctl", "daemon-reload")
        )
    if asked("systemctl", "is-enabled", unit) != "enabled":
        how = ["systemctl", "enable", unit]
        yield Step("start it with the machine", " ".join(how), partial(run, *how))
    if not has_key(wish, settings):
        return
    state = asked("systemctl", "is-active", unit)
    if state == "active" and not is_changed:
        return
    how = ["systemctl", "restart" if state == "active" else "start", unit]
    yield Step("start it" if how[1] == "start" else "start it anew", " ".join(how), partial(run, *how))


def text_of(file: Path) -> str:
    """Give a file's text, empty where it cannot be read."""
    try:
        return file.read_text("utf-8", "replace")
    except OSError:
        return ""


def _write(file: Path, text: str, mode: int) -> None:
    """Write a file whole or not at all, closed to others from its first moment."""
    part = file.with_name(f".{file.name}.part")
    try:
        file.parent.mkdir(0o755, parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    except OSError as error:
        raise CannotInstall(f"{file} cannot be written: {error.strerror}.") from error
