"""An inbox with its outbox, as the stages see it, and which names of the outbox are in use."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from clipspool.jobs.path_map import AS_THEY_ARE, Places
from clipspool.spool.root import Root
from clipspool.system.atomic import Rel

_FRESH_SECONDS = 2.0
_FOLDERS_MAX = 64


@dataclass(frozen=True, slots=True)
class _Listing:
    at: float
    names: set[str]


class OutboxNames:
    """The names in an outbox, so that its folders of thousands are not listed for every result.

    They are as they were a moment ago, with those reserved since. A file that somebody else puts there
    meanwhile is still never overwritten; at worst its name differs from one of ours in case alone. Serves any
    thread.
    """

    def __init__(self) -> None:
        self._listings: dict[Rel, _Listing] = {}
        self._lock = threading.Lock()

    def reserve(self, root: Root, folder: Rel, names: Collection[str], now: float) -> bool:
        """Reserve names in a folder unless one of them is there; `now` in Unix seconds. Raises OSError."""
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
        """List folders again next time: a file that was begun there was not finished."""
        with self._lock:
            self._listings.clear()


def fold(name: str) -> str:
    """Return a name's folded form: equal where a file system that folds case or normalises has one name."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders of one inbox and how its results and sources are handled."""

    name: str
    inbox: Root
    """Where accepted clips, notes and all else of ours lie; of an inbox that is only read its outbox."""
    outbox: Root
    journal: str = ""
    """The identity of the journal that has the clips accepted here."""
    result_name: str = "{stem}{variant}"
    origin: Root | None = None
    """The inbox where it is only read (`source = "keep"`): its clips are copied, and stay where they are."""
    keeps_sources: bool = True
    """False: a source is deleted once its results are durable (`source = "delete"`)."""
    has_dated_archive: bool = False
    """Whether `_done` has a folder for each day that clips ended on."""
    places: Places = AS_THEY_ARE
    """The editors' names of our folders."""
    is_portable: bool = False
    """Whether results get names that Windows and macOS open (`names = "portable"`)."""
    outbox_names: OutboxNames = field(default_factory=OutboxNames)

    @property
    def watched(self) -> Root:
        """The folder into which editors put clips, images and presets."""
        return self.origin or self.inbox

    @contextmanager
    def held(self) -> Iterator[None]:
        """Check each of the two folders at most once for all that this thread does in the block."""
        with self.inbox.held(), self.outbox.held():
            yield
