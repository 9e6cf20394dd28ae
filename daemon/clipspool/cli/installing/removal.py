"""Removes the service; clips, configuration and journal stay, unless `--purge` removes the last two."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from clipspool.cli.installing.steps import Step, asked, command, text_of
from clipspool.cli.installing.user import account
from clipspool.cli.installing.wish import UNITS, CannotInstall, Wish


def removal(wish: Wish, *, purges: bool) -> Iterator[Step]:
    """Yield the steps that remove the service, in order; raises CannotInstall.

    `purges`: the journal, the configuration, its key and the user too. Clips and results are never touched.
    """
    unit = wish.unit
    is_installed = wish.unit_file.exists()
    if is_installed and asked("systemctl", "is-active", unit) in {"active", "activating", "reloading"}:
        yield command("stop it, after the steps under way", "systemctl", "stop", unit)
    if is_installed and asked("systemctl", "is-enabled", unit) == "enabled":
        yield command("no longer start it with the machine", "systemctl", "disable", unit)
    ours = [*([] if _has_other_instances(wish) else [wish.unit_file]), wish.drop_in]
    files = [file for file in ours if file.exists()]
    for file in files:
        yield Step(f"remove {file.name}", f"rm {file}", partial(_guarded, _remove, file))
    if files:
        yield command("reload systemd's units", "systemctl", "daemon-reload")
    if purges:
        yield from _purge(wish)


def left(wish: Wish) -> list[Path]:
    """Return what stays."""
    key = wish.credential("provider_api_key")
    return [path for path in (wish.config, key, wish.state) if path.exists()]


def _purge(wish: Wish) -> Iterator[Step]:
    if wish.state.exists():
        what = "remove the journal, with the history and the cost of every clip"
        yield Step(what, f"rm -r {wish.state}", partial(_guarded, shutil.rmtree, wish.state))
    for file in (wish.credential("provider_api_key"), wish.config):
        if file.exists():
            yield Step(f"remove {file.name}", f"rm {file}", partial(_guarded, _remove, file))
    if account(wish.user) is not None and not _is_user_of_another(wish):
        yield command(f"remove the user {wish.user}", "userdel", wish.user)


def _has_other_instances(wish: Wish) -> bool:
    mine = f"{wish.unit}.service"
    wanted = UNITS.glob("*.wants/clipspool@*.service")
    return "@" in wish.unit and any(link.name != mine for link in wanted)


def _is_user_of_another(wish: Wish) -> bool:
    """Whether another installed service runs as the same user."""
    files = [*UNITS.glob("clipspool*.service"), *UNITS.glob("clipspool*.service.d/*.conf")]
    return any(f"\nUser={wish.user}\n" in text_of(file) for file in files)


def _remove(file: Path) -> None:
    file.unlink(missing_ok=True)
    if file.parent.name.endswith(".service.d") and not any(file.parent.iterdir()):
        file.parent.rmdir()


def _guarded(remove: Callable[[Path], object], path: Path) -> None:
    try:
        remove(path)
    except OSError as error:
        raise CannotInstall(f"{error.filename}: {error.strerror}.") from error
