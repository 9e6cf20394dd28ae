"""Yields the steps that are still needed to install the service.

Each step is determined after the one before was done: a second run goes on where the first stopped, and
changes nothing where nothing is missing.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from clipspool.app.settings import Settings
from clipspool.cli.check.dropin import folders_of, systemd_drop_in
from clipspool.cli.installing import user as users
from clipspool.cli.installing.wish import CannotInstall, Wish, program

SYSTEMD = Path("/run/systemd/system")
_FOLDER_MODE = 0o2775
_SHIPPED = Path(__file__).parents[2] / "systemd"
_PROGRAM = "/opt/clipspool/bin/clipspool"
_README = "file:/opt/clipspool/share/doc/clipspool/README.md"


@dataclass(frozen=True, slots=True)
class Step:
    """One step, shown before it is done."""

    what: str
    """What it is for, in words."""
    how: str
    """The command that does the same."""
    do: Callable[[], None]


def command(what: str, *words: str) -> Step:
    """Return a step that runs a program of the system."""
    return Step(what, " ".join(words), partial(run, *words))


def steps(wish: Wish, settings: Settings, key: Callable[[], str | None]) -> Iterator[Step]:
    """Yield the steps, in order; raises CannotInstall. `key` returns the API key, if there is one."""
    installed = program()
    _refuse_relative_folders(wish, settings)
    _refuse_another_configuration(wish)
    if (make := users.to_make(wish)) is not None:
        yield command(f"create the user {wish.user}, who runs it", *make)
    for folder in folders_of(settings):
        yield from _folder(wish, folder)
    yield from _readable(wish, wish.config, "the configuration")
    if settings.provider.api_key_file is not None:
        yield from _readable(wish, settings.provider.api_key_file, "the API key")
    else:
        yield from _key(wish, key)
    is_changed = False
    group = users.group_of(wish.user)
    for what, file, text in (
        ("the unit", wish.unit_file, unit_text(wish, installed)),
        ("its drop-in, with the folders", wish.drop_in, drop_in_text(wish, settings, group)),
    ):
        if text_of(file) != text:
            is_changed = True
            how = "replace" if file.exists() else "write"
            yield Step(f"{how} {what}", f"{how} {file}", partial(_write, file, text, 0o644))
    yield from _started(wish, settings, is_changed=is_changed)


def run(*command: str) -> None:
    """Run a program of the system; raises CannotInstall with its message."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    except OSError as error:
        raise CannotInstall(f"{command[0]} cannot be run: {error.strerror}.") from error
    if done.returncode:
        why = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
        raise CannotInstall(f"`{' '.join(command)}` failed: {why}")


def asked(*command: str) -> str:
    """Return what a program of the system prints, empty where it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    except OSError:
        return ""
    return done.stdout.strip()


def has_key(wish: Wish, settings: Settings) -> bool:
    """Whether the service will have an API key."""
    return settings.provider.api_key_file is not None or wish.credential("provider_api_key").is_file()


def left_out(wish: Wish, settings: Settings) -> Iterator[str]:
    """Yield what of the configuration has no effect since its secret is missing, and where to put that."""
    for trouble in settings.troubles:
        yield f"Left out: {trouble}"
    if settings.troubles:
        place = wish.credential("web_token_NAME")
        yield f"For the service a token of [web.tokens.NAME] is {place}: root's alone (600); run this again."


def _refuse_relative_folders(wish: Wish, settings: Settings) -> None:
    for folder in folders_of(settings):
        if Path("/etc") in folder.parents:
            raise CannotInstall(
                f"{wish.config} names {folder}, which lies in /etc: a relative path starts at the "
                f"configuration's folder. Write the whole path, such as /srv/clips/{folder.name}."
            )


def _refuse_another_configuration(wish: Wish) -> None:
    """Raise CannotInstall where the plain unit serves another configuration; others get instances."""
    text = text_of(wish.unit_file)
    named = text.partition(" run --config ")[2].split("\n")[0]
    if wish.unit == "clipspool" and named and named.strip('"') != str(wish.config):
        raise CannotInstall(
            f"{wish.unit_file} serves {named}: put this configuration at /etc/clipspool/NAME.toml, and it "
            "gets a unit of its own, clipspool@NAME; or remove that one with `clipspool service remove`."
        )


def _folder(wish: Wish, folder: Path) -> Iterator[Step]:
    group = users.group_of(wish.user)
    if not folder.exists():
        if (mount := _not_mounted(folder)) is not None:
            raise CannotInstall(
                f"{folder} does not exist, and {mount} of /etc/fstab is not mounted: mount it first."
            )
        how = f"install -d -o {wish.user} -g {group} -m {_FOLDER_MODE:o} {folder}"
        yield Step(f"create {folder}, for {wish.user}", how, partial(_make_folder, wish, folder))
    elif not folder.is_dir():
        raise CannotInstall(f"{folder} is not a folder: configure another in {wish.config}.")
    found = users.account(wish.user)
    if found is None or not (trouble := users.trouble_in(folder, found)):
        return
    if trouble not in {errno.EACCES, errno.EPERM}:
        raise CannotInstall(f"{wish.user} cannot write in {folder}: {os.strerror(trouble)}.")
    # A folder of root's gets a new owner; of another user's folder only the group is changed.
    is_roots = folder.stat().st_uid == 0
    whose = f"{wish.user}:{group}" if is_roots else f":{group}"
    how = f"chown {whose} {folder} && chmod {'2775' if is_roots else 'g+rwxs'} {folder}"
    give = partial(_give_folder, wish, folder, is_whole=is_roots)
    yield Step(f"let {wish.user} write in {folder}", how, give)
    if trouble := users.trouble_in(folder, found):
        raise CannotInstall(_not_given(wish, folder, found.pw_uid, found.pw_gid, os.strerror(trouble)))


def _not_mounted(folder: Path, table: Path = Path("/etc/fstab")) -> Path | None:
    """Return the mount point above a folder on which nothing is mounted now."""
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
        raise CannotInstall(f"{folder} cannot be created: {error.strerror}.") from error
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
        f"{folder} cannot be given to {wish.user} from here ({why}): its file server may not trust this "
        f"machine's root. Type on the server: chown {uid}:{gid} FOLDER, or name with --user an account that "
        f"may write in it. A closed folder above it has the same effect: ls -ld {folder.parent}"
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
            yield Step("make the key's file root's alone", f"chmod 600 {file}", partial(file.chmod, 0o600))
        return
    if (secret := key()) is not None:
        how = f"install -m 600 /dev/stdin {file}"
        yield Step(
            "store the API key where only root can read it", how, partial(_write, file, f"{secret}\n", 0o600)
        )


def _started(wish: Wish, settings: Settings, *, is_changed: bool) -> Iterator[Step]:
    unit = wish.unit
    if is_changed or asked("systemctl", "show", "-p", "NeedDaemonReload", "--value", unit) == "yes":
        yield command("reload systemd's units", "systemctl", "daemon-reload")
    if asked("systemctl", "is-enabled", unit) != "enabled":
        yield command("start it with the machine", "systemctl", "enable", unit)
    if not has_key(wish, settings):
        return
    state = asked("systemctl", "is-active", unit)
    if state == "active" and not is_changed:
        return
    verb = "restart" if state == "active" else "start"
    yield command(f"{verb} it", "systemctl", verb, unit)


def text_of(file: Path) -> str:
    """Return a file's text, empty where it cannot be read."""
    try:
        return file.read_text("utf-8", "replace")
    except OSError:
        return ""


def _write(file: Path, text: str, mode: int) -> None:
    """Write a file whole or not at all, with its mode from the first moment."""
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


def unit_text(wish: Wish, program: Path) -> str:
    """Return the unit as it ships, with this machine's paths."""
    text = (_SHIPPED / wish.unit_file.name).read_text("utf-8").replace(_PROGRAM, _escaped(program))
    if wish.unit == "clipspool":
        text = text.replace("--config /etc/clipspool/config.toml", f"--config {_escaped(wish.config)}")
    readme = Path(sys.prefix, "share/doc/clipspool/README.md")
    shown = f"Documentation=file:{readme}\n" if readme.is_file() else ""
    return text.replace(f"Documentation={_README}\n", shown)


def drop_in_text(wish: Wish, settings: Settings, group: str) -> str:
    """Return the drop-in: folders, credentials, and the user where it is not the unit's own."""
    text = systemd_drop_in(settings)
    lines = []
    if (wish.user, group) != ("clipspool", "clipspool"):
        lines += [f"User={wish.user}", f"Group={group}"]
    if settings.provider.api_key_file is not None:
        lines.append("LoadCredential=")  # the key comes from the file that the configuration names
    return text.replace("[Service]\n", "[Service]\n" + "".join(f"{line}\n" for line in lines), 1)


def _escaped(path: Path) -> str:
    """Quote a path for a command line in a unit [systemd.service(5)]."""
    text = str(path).replace("%", "%%").replace("\\", "\\\\").replace("$", "$$")
    return text if re.fullmatch(r"[\w./@:+,=~-]+", text) else '"' + text.replace('"', '\\"') + '"'
