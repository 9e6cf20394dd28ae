"""The keys of `[farm]`: this node's name, how long a lease lasts, and what this node works on."""

from __future__ import annotations

import re
import socket
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from clipspool.app.settings.tables import Number, SettingsTable

LEASE_SECONDS_MIN = 5.0
"""A shorter lease would be lost over a slow answer of the database."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _node_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("must be 1 to 64 letters, digits, `.`, `_` or `-`, and begin with a letter or digit")
    return value


class FarmSettings(SettingsTable):
    """`[farm]`: used where `[journal] url` names a database that several machines share."""

    node: Annotated[str, AfterValidator(_node_name)] | None = None
    """The host's name where it is not set."""
    lease_seconds: Annotated[float, Field(ge=LEASE_SECONDS_MIN, le=300.0, allow_inf_nan=False), Number] = 15.0
    """How long after a node's last sign of life another node may take its lead."""
    stages: tuple[Literal["prepare", "fetch", "finish"], ...] = ("prepare", "fetch", "finish")
    """What this node does for the one that leads."""

    @property
    def name(self) -> str:
        """The name of this node."""
        if self.node is not None:
            return self.node
        return re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname()).strip("-._")[:64] or "node"
