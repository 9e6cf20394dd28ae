"""Which names of an outbox are taken, without listing a folder of thousands for every result."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

from clipspool.spool.root import Root
from clipspool.system.atomic import Rel

_FRESH_SECONDS = 2.0
_FOLDERS_MAX = 64


@dataclass(frozen=True, slots=True)
class _Listing:
    at: float
    names: set[str]


class Taken:
    """The folded names in the folders of one outbox: as they were a moment ago, and what we took since.

    A name that somebody else puts there meanwhile is still never overwritten, since no recipe of ours
    replaces; at worst it differs from one of ours in its case alone. Serves any thread.
    """

    def __init__(self) -> None:
        self._listings: dict[Rel, _Listing] = {}
        self._lock = threading.Lock()

    def take(self, root: Root, folder: Rel, names: Collection[str], now: float) -> bool:
        """Take names in a folder for us if nobody has any of them; `now` in Unix seconds. Raises OSError."""
        folded = {fold(name) for name in names}
        with self._lock:
            listing = self._listings.get(folder)
            if listing is None or not 0 <= now - listing.at < _FRESH_SECONDS:
                listing = self._list(root, folder, now)
            if folded & listing.names:
                return False
            listing.names.update(folded)
            return True

    def _list(self, root: Root, folder: Rel, now: float) -> _Listing:
        present = root.names(folder)
        root.clear_temporaries(folder, present, now)
        if len(self._listings) >= _FOLDERS_MAX:
            self._listings.clear()
        listing = self._listings[folder] = _Listing(now, {fold(name) for name in present})
        return listing

    def forget(self) -> None:
        """List folders anew next time: something that was begun there did not end as planned."""
        with self._lock:
            self._listings.clear()


def fold(name: str) -> str:
    """Give what two names share that a case-folding or normalising file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
