"""Removes the service; clips, configuration and journal stay, unless `--purge` removes the last two."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from clipspool.cli.installing.steps import Step, asked, run, text_of
from clipspool.cli.installing.user import account
from clipspool.cli.installing.wish import UNITS, CannotInstall, Wish


def removal(wish: Wish, *, purges: bool) -> Iterator[Step]:
    """Yield the steps that remove the service, in order; raises CannotInstall.

    `purges`: the journal, the configuration, its key and the user too. Clips and results are never touched.
    """
    unit = wish.unit
    is_installed = wish.unit_file.exists()
    if is_installed and asked("systemctl", "is-active", unit) in {"active", "activating", "reloading"}:
        how = ["systemctl", "stop", unit]
        yield Step("stop it, after the steps under way", " ".join(how), partial(run, *how))
    if is_installed and asked("systemctl", "is-enabled", unit) == "enabled":
        how = ["systemctl", "disable", unit]
        yield Step("no longer start it with the machine", " ".join(how), partial(run, *how))
    is_changed = False
    files = [] if _has_other_instances(wish) else [wish.unit_file]
    if wish.drop_in.exists():
        files.append(wish.drop_in)
    for file in files:
        if file.exists():
            is_changed = True
            yield Step(f"remove {file.name}", f"rm {file}", partial(_remove, file))
    if is_changed:
        reload = ["systemctl", "daemon-reload"]
        yield Step("reload systemd's units", " ".join(reload), partial(run, *reload))
    if purges:
        yield from _purge(wish)


def left(wish: Wish) -> list[Path]:
    """Return what stays."""
    key = wish.credential("provider_api_key")
    return [path for path in (wish.config, key, wish.state) if path.exists()]


def _purge(wish: Wish) -> Iterator[Step]:
    if wish.state.exists():
        what = "remove the journal, with the history and the cost of every clip"
        yield Step(what, f"rm -r {wish.state}", _guarded(partial(shutil.rmtree, wish.state)))
    for file in (wish.credential("provider_api_key"), wish.config):
        if file.exists():
            yield Step(f"remove {file.name}", f"rm {file}", partial(_remove, file))
    if account(wish.user) is not None and not _is_user_of_another(wish):
        how = ["userdel", wish.user]
        yield Step(f"remove the user {wish.user}", " ".join(how), partial(run, *how))


def _has_other_instances(wish: Wish) -> bool:
    mine = f"{wish.unit}.service"
    wanted = UNITS.glob("*.wants/clipspool@*.service")
    return "@" in wish.unit and any(link.name != mine for link in wanted)


def _is_user_of_another(wish: Wish) -> bool:
    """Whether another installed service runs as the same user."""
    files = [*UNITS.glob("clipspool*.service"), *UNITS.glob("clipspool*.service.d/*.conf")]
    return any(f"\nUser={wish.user}\n" in text_of(file) for file in files)


def _remove(file: Path) -> None:
    def do() -> None:
        file.unlink(missing_ok=True)
        if file.parent.name.endswith(".service.d") and not any(file.parent.iterdir()):
            file.parent.rmdir()

    _guarded(do)()


def _guarded(do: Callable[[], object]) -> Callable[[], None]:
    def guarded() -> None:
        try:
            do()
        except OSError as error:
            raise CannotInstall(f"{error.filename}: {error.strerror}.") from error

    return guarded
