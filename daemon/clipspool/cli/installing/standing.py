"""Tells in plain words how the service is: installed, started, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clipspool.app.serving import serving
from clipspool.cli.installing import user as users
from clipspool.cli.installing.steps import asked
from clipspool.cli.installing.wish import Wish
from clipspool.system.units import unit_of

_ASKED = ("ActiveState", "SubState", "Result", "ExecMainStatus", "StatusText", "UnitFileState", "NRestarts")
_WHY = {
    "226": "a folder that it needs is not there: `clipspool service install` makes it",
    "243": "a credential's file is not there: `clipspool service install` asks for the key",
    "203": "its program is not there: install clipspool again, and run `clipspool service install`",
    "217": "its user is not there: `clipspool service install` makes it",
    "78": "the configuration cannot be used: `clipspool check` says why",
}


def standing(wish: Wish, folders: list[Path]) -> tuple[bool, list[str]]:
    """Say whether it runs, and in a line each how things stand."""
    unit = unit_of(wish.config)
    if unit is None:
        return False, [
            f"No service is installed for {wish.config}: `clipspool service install` does it.",
            *_foreground(wish),
        ]
    name = unit.name.removesuffix(".service")
    told = dict(
        line.partition("=")[::2] for line in asked("systemctl", "show", *_properties(), name).split("\n")
    )
    is_active = told.get("ActiveState") == "active"
    return is_active, list(_lines(wish, name, unit.user, told, folders))


def _properties() -> list[str]:
    return [f"--property={name}" for name in _ASKED]


def _foreground(wish: Wish) -> Iterator[str]:
    if (one := serving(wish.config)) is not None:
        yield f"It is served in the foreground, by {one}."


def _lines(wish: Wish, name: str, user: str, told: dict[str, str], folders: list[Path]) -> Iterator[str]:
    state, sub = told.get("ActiveState", ""), told.get("SubState", "")
    one = serving(wish.config)
    if state == "active":
        yield f"{name} runs" + (f": {one}." if one else ".")
    elif state:
        code = told.get("ExecMainStatus", "0")
        why = _WHY.get(code, "") if told.get("Result") != "success" else ""
        ended = f" ({told.get('Result')}, exit code {code})" if told.get("Result") != "success" else ""
        yield f"{name} does not run: {state}, {sub}{ended}{'; ' if why else ''}{why}."
        yield f"  journalctl -u {name} -n 20 shows what it said last."
    else:
        yield f"{name} is installed, and no systemd answers here."
    if state == "active" and told.get("StatusText"):
        yield f"It says: {told['StatusText']}"
    starts = "starts" if told.get("UnitFileState") == "enabled" else "does not start"
    yield f"It {starts} with the machine, and runs as {user}."
    yield f"Configuration {wish.config}, journal in {wish.state}."
    found = users.account(user)
    if found is None:
        yield f"There is no user {user}: `clipspool service install` makes it."
    for folder in folders:
        if not folder.is_dir():
            yield f"{folder} is not there: the service does not start without it."
