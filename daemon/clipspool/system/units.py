"""Reads the systemd unit files that run clipspool: their configuration, user, state folder and credentials.

Unit files belong to root and everyone may read them, so every user finds the same.
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
    "content_credentials_key": "CLIPSPOOL_CONTENT_CREDENTIALS__KEY",
    "journal_password": "CLIPSPOOL_JOURNAL__PASSWORD",
    "web_token": "CLIPSPOOL_WEB__TOKEN",
    "notify_urls": "CLIPSPOOL_NOTIFY__URLS",
    "webhook_secret": "CLIPSPOOL_NOTIFY__WEBHOOK_SECRET",
    "bucket_access_key_id": "CLIPSPOOL_TRANSPORT__BUCKET__ACCESS_KEY_ID",
    "bucket_secret_access_key": "CLIPSPOOL_TRANSPORT__BUCKET__SECRET_ACCESS_KEY",
}


@dataclass(frozen=True, slots=True)
class Unit:
    """A service that runs clipspool for one configuration."""

    name: str
    """`clipspool.service`, `clipspool@bay-1.service`."""
    file: Path
    config: Path
    user: str = "root"
    journal: Path | None = None
    """None where the unit does not name it."""
    credentials: Mapping[str, Path] = field(default_factory=dict)
    """The files that systemd passes to it as credentials, by the credential's name."""


class _Text(dict[str, list[str]]):
    """The settings of a unit and its drop-ins; the last value counts, an empty one clears a list."""

    def read(self, file: Path) -> None:
        section = ""
        for line in _lines(_content(file)):
            if line.startswith("["):
                section = line.strip("[]")
            elif section == "Service" and "=" in line:
                key, _, value = (part.strip() for part in line.partition("="))
                self[key] = [*self.get(key, []), value] if value else []

    def read_drop_ins(self, unit: str, folders: tuple[Path, ...]) -> None:
        for folder in reversed(folders):
            for extra in sorted((folder / f"{unit}.d").glob("*.conf")):
                self.read(extra)

    def last(self, key: str) -> str:
        return (self.get(key) or [""])[-1]


def unit_of(config: Path, folders: tuple[Path, ...] = UNIT_FOLDERS) -> Unit | None:
    """Find the unit that runs clipspool for a configuration; None where none is installed."""
    files: dict[str, Path] = {}
    for folder in folders:
        with suppress(OSError):
            for file in sorted(path for path in folder.iterdir() if path.name.endswith(".service")):
                files.setdefault(file.name, file)
    return next((unit for file in files.values() if (unit := _read(file, config, folders))), None)


def journals_of(config: Path) -> Iterator[Path]:
    """Yield where a service may have its journal: by its unit file, then where our own units have it."""
    unit = unit_of(config)
    if unit is not None and unit.journal is not None:
        yield unit.journal
    if config.parent == CONFIGURATIONS and config.suffix == ".toml":
        yield state_of(config) / "journal.sqlite3"


def instance_of(config: Path) -> str | None:
    """Return the instance of `clipspool@.service` for a configuration; None for `clipspool.service`."""
    if config.parent == CONFIGURATIONS and config.suffix == ".toml" and config.name != "config.toml":
        return config.stem
    return None


def state_of(config: Path) -> Path:
    """Return the state folder that our units use for a configuration."""
    instance = instance_of(config)
    return STATES / ("clipspool" if instance is None else f"clipspool-{instance}")


def credential_file(config: Path | None, name: str) -> Path:
    """Return the file from which systemd reads a secret: one for each instance."""
    instance = None if config is None else instance_of(config)
    return CONFIGURATIONS / (name if instance is None else f"{instance}.{name}")


def handed_over(config: Path, env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the secrets that systemd passes to a configuration's service, by environment variable.

    Only root can read them all; those that cannot be read, or that the environment has, are left out.
    """
    found: dict[str, str] = {}
    prefix = credential_file(config, "web_token_").name
    tokens = [path.name.removeprefix(prefix) for path in CONFIGURATIONS.glob(f"{prefix}*")]
    named = {f"web_token_{name}": f"CLIPSPOOL_WEB__TOKENS__{name.upper()}__TOKEN" for name in tokens}
    for name, variable in (_CREDENTIALS | named).items():
        with suppress(OSError):
            text = credential_file(config, name).read_text("utf-8", "replace").strip()
            if text and not env.get(variable):
                found[variable] = text
    return found


def _content(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(_FILE_BYTES_MAX).decode("utf-8", "replace")
    except OSError:
        return ""


def _lines(text: str) -> list[str]:
    lines = text.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith(("#", ";"))]


def _read(file: Path, config: Path, folders: tuple[Path, ...]) -> Unit | None:
    text = _Text()
    # A machine has a hundred units of others, and each command comes by here: theirs are not parsed.
    if "clipspool" in _content(file):
        text.read(file)
    if "clipspool" not in text.last("ExecStart"):
        return None
    text.read_drop_ins(file.name, folders)
    named = _config_in(text)
    is_template = file.name.endswith("@.service")
    instance = None if named is None else _matched(named, str(config), is_template=is_template)
    if instance is None:
        return None
    name = file.name.replace("@.", f"@{instance}.")
    if is_template:
        text.read_drop_ins(name, folders)

    def filled(value: str) -> str:
        return value.replace("%i", instance).replace("%I", instance).replace("%%", "%")

    state = filled(text.last("StateDirectory")).split(" ")[0].split(":")[0]
    set_path = filled(_environment(text).get("CLIPSPOOL_JOURNAL__PATH", ""))
    journal = Path(set_path) if set_path else (STATES / state / "journal.sqlite3" if state else None)
    loaded = [filled(value).partition(":") for value in text.get("LoadCredential", [])]
    credentials = {key: Path(path) for key, _, path in loaded if path.startswith("/")}
    return Unit(name, file, config, filled(text.last("User")) or "root", journal, credentials)


def _config_in(text: _Text) -> str | None:
    """Return the configuration that a unit's command line or environment names, with its specifiers."""
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
    for line in text.get("Environment", []):
        with suppress(ValueError):  # an open quotation mark
            found |= dict(word.split("=", 1) for word in shlex.split(line) if "=" in word)
    return found


def _matched(named: str, config: str, *, is_template: bool) -> str | None:
    """Return the instance for which a unit has this configuration; empty for a plain unit, None for none."""
    if not is_template:
        return "" if named.replace("%%", "%") == config else None
    pattern = re.sub("%[iI]", r"(?P=i)", re.escape(named)).replace("(?P=i)", "(?P<i>[^/]+)", 1)
    found = re.fullmatch(pattern, config)
    return found.groupdict().get("i") if found else None
