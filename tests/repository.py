"""Where the tests find the program, its documentation and what the makefile installs: said here alone."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DAEMON = ROOT / "daemon"
PACKAGE = DAEMON / "clipspool"
DOCS = ROOT / "docs"
SYSTEMD = ROOT / "systemd"
EXAMPLE = ROOT / "config.example.toml"
SDK = ROOT / ".venv/sdk"
"""The official SDK, each version in a folder of its own."""
PEERS = ROOT / ".venv/peers"
"""What the bench's contestants are made of."""
JOURNAL_0001 = ROOT / "tests/faults/journal_0001.sql"
"""A journal that clipspool 0.1 made."""


@cache
def parsed(path):
    """Return a module's syntax tree: four tests read all of the program's."""
    return ast.parse(path.read_text())
