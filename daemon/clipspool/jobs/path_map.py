"""How the editors' machines call our folders: what is `/mnt/nas` here may be a drive `Z:` there; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

_PATH_LETTER = r"[^\s\"'`,;:()<>|]"
"""A path inside a sentence goes on with these; of one with spaces only the beginning is recognised."""

_WINDOWS = re.compile(r"[A-Za-z]:|\\\\|//")


@dataclass(frozen=True)
class Places:
    """Folders here, absolute, and what they are called there; the longest that fits wins."""

    names: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _sorted(self) -> list[tuple[str, str]]:
        found = [(here.rstrip("/"), there) for here, there in self.names.items()]
        return sorted(found, key=lambda pair: -len(pair[0]))

    @cached_property
    def _in_text(self) -> re.Pattern[str]:
        known = "|".join(re.escape(here) for here, _ in self._sorted)
        return re.compile(rf"(?<![\w/.-])(?:{known})(?![\w.-])(?:/{_PATH_LETTER}*)?")

    @property
    def are_windows(self) -> bool:
        """Whether editors know a folder as a drive or a share of Windows."""
        return any(_WINDOWS.match(there) for there in self.names.values())

    def meant(self, there: str) -> tuple[str, ...]:
        """Return the absolute paths here that an editor's path may mean, without opening any of them.

        `there` has `/` between its parts. Drives, shares and Apple's volumes know no letter case; what lies
        below them is left as it is written. The longest folder that fits comes first.
        """
        found = []
        for here, known in self.names.items():
            begin = _with_slashes(known).rstrip("/")
            head, rest = there[: len(begin)], there[len(begin) :]
            if head.casefold() == begin.casefold() and rest.startswith("/"):
                found.append((len(begin), f"{here.rstrip('/')}/{rest.lstrip('/')}"))
        return tuple(path for _, path in sorted(found, key=lambda pair: -pair[0]))

    def path(self, here: str) -> str:
        """Return a whole path as the editors know it; unchanged where no folder of the map holds it."""
        for known, there in self._sorted:
            if here == known or here.startswith(f"{known}/"):
                rest = here[len(known) :].lstrip("/")
                mark = "\\" if "\\" in there else "/"
                below = rest.replace("/", mark)
                return f"{there.rstrip(mark)}{mark}{below}" if below else there
        return here

    def text(self, message: str) -> str:
        """Return a message with each path in it as the editors know it."""
        if not self.names or "/" not in message:
            return message
        return self._in_text.sub(lambda found: self.path(found[0]), message)


def _with_slashes(there: str) -> str:
    """Return an editor's path with `/` between its parts, a share as `//nas/share`."""
    path = there.replace("\\", "/")
    if host := re.match(r"(?:smb|cifs|afp|file)://([^/]+@)?(.*)", path, re.IGNORECASE):
        path = f"//{host[2]}" if not host[2].startswith("/") else host[2]
    return path


AS_THEY_ARE = Places()
"""No folder has another name."""
