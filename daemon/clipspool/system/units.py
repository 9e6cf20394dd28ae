"""Reads this machine's unit files for those that run clipspool: with which configuration, user and state.

Unit files are root's and readable by all, so everybody learns the same from them.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

UNIT_FOLDERS = (
    Path("/etc/systemd/system"),
    Path("/run/systemd/system"),
    Path("/usr/local/lib/systemd/system"),
    Path("/usr/lib/systemd/system"),
    Path("/lib/systemd/system"),
)
STATES = Path("/var/lib")
CONFIGURATIONS = Path("/etc/clipspool")
_FILE_BYTES_MAX = 1 << 18
_CREDENTIALS = {
    "provider_api_key": "CLIPSPOOL_PROVIDER__API_KEY",
    "proxy_login": "CLIPSPOOL_PROVIDER__PROXY_LOGIN",
    "web_token": "CLIPSPOOL_WEB__TOKEN",
    "notify_urls": "CLIPSPOOL_NOTIFY__URLS",
    "webhook_secret": "CLIPSPOOL_NOTIFY__WEBHOOK_SECRET",
    "bucket_access_key_id": "CLIPSPOOL_TRANSPORT__BUCKET__ACCESS_KEY_ID",
    "bucket_secret_access_key": "CLIPSPOOL_TRANSPORT__BUCKET__SECRET_ACCESS_KEY",
}
_JOURNAL_KEY = "CLIPSPOOL_JOURNAL__PATH"


@dataclass(frozen=True, slots=True)
class Unit:
    """A service that runs clipspool for one configuration."""

    name: str
    """`clipspool.service`, `clipspool@bay-1.service`."""
    file: Path
    config: Path
    user: str = "root"
    journal: Path | None = None
    """None where nothing in the unit says where it lies."""
    credentials: Mapping[str, Path] = field(default_factory=dict)
    """The files that systemd hands over to it, by their names there."""


@dataclass(slots=True)
class _Text:
    """What the lines of a unit and its drop-ins set; the last one counts, an empty one clears a list."""

    values: dict[str, list[str]] = field(default_factory=dict)

    def read(self, file: Path) -> None:
        section = ""
        for line in _lines(file):
            if line.startswith("["):
                section = line.strip("[]")
            elif section == "Service" and "=" in line:
                key, _, value = (part.strip() for part in line.partition("="))
                self.values[key] = [*self.values.get(key, []), value] if value else []

    def last(self, key: str) -> str:
        return (self.values.get(key) or [""])[-1]


def unit_of(config: Path, folders: tuple[Path, ...] = UNIT_FOLDERS) -> Unit | None:
    """Find the unit that serves a configuration; None where none is installed for it."""
    seen: set[str] = set()
    for folder in folders:
        for file in _files(folder):
            if file.name in seen:
                continue
            seen.add(file.name)
            if (unit := _read(file, config, folders)) is not None:
                return unit
    return None


def journals_of(config: Path) -> Iterator[Path]:
    """Say where a service has the journal of a configuration: by its unit, else where our units have it."""
    unit = unit_of(config)
    if unit is not None and unit.journal is not None:
        yield unit.journal
    if config.parent == CONFIGURATIONS and config.suffix == ".toml":
        yield state_of(config) / "journal.sqlite3"


def instance_of(config: Path) -> str | None:
    """Name the instance of `clipspool@.service` that serves a file; None where `clipspool.service` does."""
    if config.parent == CONFIGURATIONS and config.suffix == ".toml" and config.name != "config.toml":
        return config.stem
    return None


def state_of(config: Path) -> Path:
    """Name the state folder that our units have for a configuration."""
    instance = instance_of(config)
    return STATES / ("clipspool" if instance is None else f"clipspool-{instance}")


def credential_file(config: Path | None, name: str) -> Path:
    """Name the file from which systemd hands a secret over: one for each instance."""
    instance = None if config is None else instance_of(config)
    return CONFIGURATIONS / (name if instance is None else f"{instance}.{name}")


def handed_over(config: Path, env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Give the secrets that systemd hands to a configuration's service, as the environment would, to root.

    What the environment gives already is left out, and so is what may not be read.
    """
    found: dict[str, str] = {}
    for name, variable in _CREDENTIALS.items():
        with suppress(OSError):
            text = credential_file(config, name).read_text("utf-8", "replace").strip()
            if text and not env.get(variable):
                found[variable] = text
    return found


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.name.endswith(".service"))
    except OSError:
        return []


def _lines(file: Path) -> list[str]:
    try:
        with file.open("rb") as stream:
            text = stream.read(_FILE_BYTES_MAX).decode("utf-8", "replace")
    except OSError:
        return []
    lines = text.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith(("#", ";"))]


def _read(file: Path, config: Path, folders: tuple[Path, ...]) -> Unit | None:
    text = _Text()
    text.read(file)
    if "clipspool" not in text.last("ExecStart"):
        return None
    for folder in reversed(folders):
        for extra in sorted((folder / f"{file.name}.d").glob("*.conf")):
            text.read(extra)
    template = file.name.endswith("@.service")
    named = _config_in(text)
    if named is None:
        return None
    instance = _matched(named, str(config), is_template=template)
    if instance is None:
        return None

    def filled(value: str) -> str:
        return value.replace("%i", instance).replace("%I", instance).replace("%%", "%")

    state = filled(text.last("StateDirectory")).split(" ")[0].split(":")[0]
    told = filled(_environment(text).get(_JOURNAL_KEY, ""))
    journal = Path(told) if told else (STATES / state / "journal.sqlite3" if state else None)
    name = file.name.replace("@.", f"@{instance}.")
    handed = [filled(value).partition(":") for value in text.values.get("LoadCredential", [])]
    credentials = {key: Path(path) for key, _, path in handed if path.startswith("/")}
    return Unit(name, file, config, filled(text.last("User")) or "root", journal, credentials)


def _config_in(text: _Text) -> str | None:
    """Give the configuration that a unit's command line or environment names, specifiers as they stand."""
    try:
        words = shlex.split(text.last("ExecStart"))
    except ValueError:
        return None
    if "run" not in words:
        return None
    for number, word in enumerate(words):
        if word in {"-c", "--config"}:
            return words[number + 1] if number + 1 < len(words) else None
        if word.startswith("--config="):
            return word.removeprefix("--config=")
    return _environment(text).get("CLIPSPOOL_CONFIG") or str(CONFIGURATIONS / "config.toml")


def _environment(text: _Text) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in text.values.get("Environment", []):
        try:
            words = shlex.split(value)
        except ValueError:
            continue
        found.update((name, told) for name, is_set, told in (word.partition("=") for word in words) if is_set)
    return found


def _matched(named: str, config: str, *, is_template: bool) -> str | None:
    """Give the instance for which a unit has this configuration; empty for a plain unit, None for none."""
    if not is_template:
        return "" if named.replace("%%", "%") == config else None
    parts = re.split("%[iI]", named)
    pattern = re.escape(parts[0]) + "".join(
        ("([^/]+)" if number == 0 else r"\1") + re.escape(part) for number, part in enumerate(parts[1:])
    )
    found = re.fullmatch(pattern, config)
    return found[1] if found and len(parts) > 1 else None
