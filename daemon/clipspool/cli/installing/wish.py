"""Describes the service to install: its configuration, its user and its files."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from clipspool.jobs.faults import OperatorError
from clipspool.system.units import CONFIGURATIONS, credential_file, instance_of, state_of

UNITS = Path("/etc/systemd/system")
CONFIG = CONFIGURATIONS / "config.toml"
_HIDDEN = (Path("/root"), Path("/home"), Path("/run/user"), Path("/tmp"), Path("/var/tmp"))  # noqa: S108


class CannotInstall(OperatorError):
    """The service cannot be installed or removed; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One service."""

    config: Path
    user: str = "clipspool"
    uid: int | None = None

    @property
    def unit(self) -> str:
        """Its name for systemctl, without `.service`."""
        instance = instance_of(self.config)
        return "clipspool" if instance is None else f"clipspool@{instance}"

    @property
    def unit_file(self) -> Path:
        """The file of the unit, a template where there are instances."""
        return UNITS / f"{self.unit.split('@')[0]}{'@' if '@' in self.unit else ''}.service"

    @property
    def drop_in(self) -> Path:
        """The file with what the configured folders need."""
        return UNITS / f"{self.unit}.service.d" / "folders.conf"

    @property
    def state(self) -> Path:
        """The folder of the journal."""
        return state_of(self.config)

    def credential(self, name: str) -> Path:
        """Return the file from which systemd passes a secret to the service."""
        return credential_file(self.config, name)


def program() -> Path:
    """Return the program for the unit to run; raises CannotInstall where a service cannot reach it."""
    command = Path(sys.executable).parent / "clipspool"
    if not command.is_file() or not os.access(command, os.X_OK):
        raise CannotInstall(
            f"There is no {command}: install clipspool into a folder of its own, such as /opt/clipspool "
            "(`python3 -m venv /opt/clipspool && /opt/clipspool/bin/pip install .`), and run it from there."
        )
    for place in (command, command.resolve(), Path(sys.executable).resolve()):
        if hidden := next((folder for folder in _HIDDEN if folder in place.parents), None):
            raise CannotInstall(
                f"The program is in {hidden} ({place}), which is hidden from services. Install it "
                "elsewhere, with the system's Python: `python3 -m venv /opt/clipspool` and "
                "`/opt/clipspool/bin/pip install .`; then run /opt/clipspool/bin/clipspool service install."
            )
    return command
