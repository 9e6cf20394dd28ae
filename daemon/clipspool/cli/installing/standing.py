"""Describes the service in plain words: whether it is installed and started, and what it reports."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from clipspool.app.serving import Serving, serving
from clipspool.cli.installing.steps import asked
from clipspool.cli.installing.user import account
from clipspool.cli.installing.wish import CONFIG, Wish
from clipspool.system.units import unit_of

_USER = "clipspool"
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
    "226": "a folder that it needs does not exist: `{install}` creates it",
    "243": "a credential's file does not exist: `{install}` asks for the key",
    "203": "its program does not exist: install clipspool again, and run `{install}`",
    "217": "its user does not exist: `{install}` creates it",
    "78": "the configuration cannot be used: `{check}` shows why",
}


def standing(wish: Wish, folders: list[Path], trouble: str = "") -> tuple[bool, list[str]]:
    """Return whether the service runs, and lines that describe it; `trouble` is with its configuration."""
    unit, daemon = unit_of(wish.config), serving(wish.config)
    if unit is None:
        install = _commands(wish)["install"]
        lines = [f"No service is installed for {wish.config}: `{install}` installs it."]
        lines += [f"It is served in the foreground, by {daemon}."] if daemon else []
        return False, lines
    name = unit.name.removesuffix(".service")
    shown = asked("systemctl", "show", *(f"--property={one}" for one in _PROPERTIES), name)
    facts = dict(line.partition("=")[::2] for line in shown.split("\n"))
    lines = list(_lines(wish, name, unit.user, facts, daemon, folders))
    return facts.get("ActiveState") == "active", lines + [trouble] * bool(trouble)


def _commands(wish: Wish, user: str = _USER) -> dict[str, str]:
    """Return what to type for this very configuration: without its name another one would be meant."""
    named = "" if wish.config == CONFIG else f" -c {shlex.quote(str(wish.config))}"
    whose = "" if user == _USER else f" --user {user}"
    return {"install": f"clipspool service install{named}{whose}", "check": f"clipspool check{named}"}


def _lines(
    wish: Wish, name: str, user: str, facts: dict[str, str], one: Serving | None, folders: list[Path]
) -> Iterator[str]:
    state, sub = facts.get("ActiveState", ""), facts.get("SubState", "")
    if state == "active":
        yield f"{name} runs" + (f": {one}." if one else ".")
    elif state:
        code = facts.get("ExecMainStatus", "0")
        why = _WHY.get(code, "").format_map(_commands(wish, user)) if facts.get("Result") != "success" else ""
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
        yield f"There is no user {user}: `{_commands(wish, user)['install']}` creates it."
    for folder in folders:
        if not folder.is_dir():
            yield f"{folder} does not exist: the service does not start without it."
