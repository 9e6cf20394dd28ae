"""Puts the manual pages of build/man, where `make man` wrote them, into the wheel and the sdist.

They are made from the commands' own help, which a build from a bare checkout cannot import: it has none.
A wheel that is built from the sdist has them, since the sdist carries them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualPages(BuildHookInterface[Any]):
    """Adds the pages as share/man/man1 and share/man/man5."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files to add; called by hatchling before each target is built."""
        if version == "editable":
            return
        for page in sorted(Path(self.root, "build/man").glob("*.[15]")):
            if self.target_name == "wheel":
                build_data["shared_data"][str(page)] = f"share/man/man{page.suffix[1:]}/{page.name}"
            else:
                build_data["force_include"][str(page)] = f"build/man/{page.name}"
