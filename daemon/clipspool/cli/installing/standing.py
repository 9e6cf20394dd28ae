"""Describes the service in plain words: whether it is installed and started, and what it reports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clipspool.app.serving import Serving, serving
from clipspool.cli.installing.steps import asked
from clipspool.cli.installing.user import account
from clipspool.cli.installing.wish import Wish
from clipspool.system.units import unit_of

_PROPERTIES = (
    "ActiveState",
    "SubState",
    "Result",
    "ExecMainStatus",
    "StatusText",
    "UnitFileState",
    "NRestarts",
)
_WHY = {
    "226": "a folder that it needs does not exist: `clipspool service install` creates it",
    "243": "a credential's file does not exist: `clipspool service install` asks for the key",
    "203": "its program does not exist: install clipspool again, and run `clipspool service install`",
    "217": "its user does not exist: `clipspool service install` creates it",
    "78": "the configuration cannot be used: `clipspool check` shows why",
}


def standing(wish: Wish, folders: list[Path]) -> tuple[bool, list[str]]:
    """Return whether the service runs, and lines that describe it."""
    unit, daemon = unit_of(wish.config), serving(wish.config)
    if unit is None:
        lines = [f"No service is installed for {wish.config}: `clipspool service install` installs it."]
        lines += [f"It is served in the foreground, by {daemon}."] if daemon else []
        return False, lines
    name = unit.name.removesuffix(".service")
    shown = asked("systemctl", "show", *(f"--property={one}" for one in _PROPERTIES), name)
    facts = dict(line.partition("=")[::2] for line in shown.split("\n"))
    return facts.get("ActiveState") == "active", list(_lines(wish, name, unit.user, facts, daemon, folders))


def _lines(
    wish: Wish, name: str, user: str, facts: dict[str, str], one: Serving | None, folders: list[Path]
) -> Iterator[str]:
    state, sub = facts.get("ActiveState", ""), facts.get("SubState", "")
    if state == "active":
        yield f"{name} runs" + (f": {one}." if one else ".")
    elif state:
        code = facts.get("ExecMainStatus", "0")
        why = _WHY.get(code, "") if facts.get("Result") != "success" else ""
        ended = f" ({facts.get('Result')}, exit code {code})" if facts.get("Result") != "success" else ""
        yield f"{name} does not run: {state}, {sub}{ended}{'; ' if why else ''}{why}."
        yield f"  journalctl -u {name} -n 20 shows its last messages."
    else:
        yield f"{name} is installed, but systemd does not answer."
    if state == "active" and facts.get("StatusText"):
        yield f"It reports: {facts['StatusText']}"
    starts = "starts" if facts.get("UnitFileState") == "enabled" else "does not start"
    yield f"It {starts} with the machine, and runs as {user}."
    yield f"Configuration {wish.config}, journal in {wish.state}."
    if account(user) is None:
        yield f"There is no user {user}: `clipspool service install` creates it."
    for folder in folders:
        if not folder.is_dir():
            yield f"{folder} does not exist: the service does not start without it."
