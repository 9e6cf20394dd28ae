"""Collects hints from the file system that something may have changed; the rescan is the truth.

watchdog reports late, twice or not at all (FAULTS 1.7), so a handler only notes a path and sets an event.
`.clipspool`, `_done` and `_failed` are in the inbox and change all the time by our own actions; they are
left out by watching the root alone, and each of its other folders with all below it.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Collection
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from watchdog import events
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

from clipspool.system import mounts

FOLDERS_MAX = 24
"""Each watched folder costs a thread; above this many, one watch covers all, our own actions included."""
_EVENTS: list[type[events.FileSystemEvent]] = [
    *(events.FileCreatedEvent, events.FileMovedEvent, events.FileClosedEvent, events.FileDeletedEvent),
    *(events.DirCreatedEvent, events.DirMovedEvent, events.DirDeletedEvent),
]


def has_events(path: Path) -> bool:
    """Return whether the kernel reports all changes there: on a local disk, not on NFS or SMB."""
    return mounts.filesystem_of(path).kind is mounts.MountKind.LOCAL


def _hurry_moves() -> None:
    """Make watchdog report moved files at once.

    It delays such an event, and all after it, by half a second to find out where the file went. We move away
    each clip that we accept, and do not need to know where to.
    """
    for module, holder in (
        ("inotify_move_event_grouper", "InotifyMoveEventGrouper"),
        ("inotify_buffer", "InotifyBuffer"),
    ):
        with suppress(ImportError, AttributeError):  # the first since watchdog 7, the second before
            getattr(import_module(f"watchdog.observers.{module}"), holder).delay = 0.0


class _Handler(events.FileSystemEventHandler):
    def __init__(self, hints: set[str], bell: threading.Event) -> None:
        self._hints = hints
        self._bell = bell

    def dispatch(self, event: events.FileSystemEvent) -> None:
        """Note the paths and no more: an exception here would end the delivery of events for good."""
        self._hints.add(os.fsdecode(event.src_path))
        if event.dest_path:
            self._hints.add(os.fsdecode(event.dest_path))
        self._bell.set()


class Watch:
    """Watches one inbox for events."""

    def __init__(self, path: Path, bell: threading.Event) -> None:
        """`path` is absolute; `bell` is set when there are hints."""
        self._path = str(path)
        self._hints: set[str] = set()
        self._handler = _Handler(self._hints, bell)
        self._observer: BaseObserver | None = None
        self._watches: dict[str, ObservedWatch] = {}
        self._is_whole = False

    def begin(self, folders: Collection[str]) -> None:
        """Watch the root and these top folders. Raises OSError when a limit is reached."""
        self.end()
        _hurry_moves()
        # Where a folder is made while it is being added; it is watched all the same.
        warnings.filterwarnings("ignore", "Callback with id .* already exists", RuntimeWarning)
        observer = Observer()
        observer.name = "intake-events"
        self._observer = observer
        try:
            observer.start()
            self._is_whole = len(folders) > FOLDERS_MAX
            observer.schedule(self._handler, self._path, recursive=self._is_whole, event_filter=_EVENTS)
        except Exception:
            self.end()
            raise
        self.follow(folders)

    def follow(self, folders: Collection[str], renewed: Collection[str] = ()) -> None:
        """Watch new folders, drop those that went, restart those in `renewed`.

        Raises OSError as `begin` does.
        """
        if self._observer is None or self._is_whole:
            return
        if len(folders) > FOLDERS_MAX:
            self.begin(folders)
            return
        living = {emitter.watch for emitter in self._observer.emitters if emitter.is_alive()}
        dead = {name for name, watch in self._watches.items() if watch not in living}
        for name in self._watches.keys() & ((self._watches.keys() - set(folders)) | dead | set(renewed)):
            watch = self._watches.pop(name)
            with suppress(KeyError, OSError):
                self._observer.unschedule(watch)
        for name in set(folders) - self._watches.keys():
            with suppress(FileNotFoundError, NotADirectoryError):
                self._watches[name] = self._observer.schedule(
                    self._handler, f"{self._path}/{name}", recursive=True, event_filter=_EVENTS
                )

    def end(self, seconds: float = 2.0) -> None:
        """Stop watching; waits at most `seconds` for its threads."""
        observer, self._observer, self._watches = self._observer, None, {}
        if observer is None:
            return
        with suppress(Exception):  # it may be broken in any way: that is why it is ended
            observer.stop()
            observer.join(seconds)

    def is_alive(self) -> bool:
        """Return whether every thread that should receive events still runs."""
        alive, wanted = self.emitters()
        return alive == wanted

    def emitters(self) -> tuple[int, int]:
        """Return how many threads receive events, and how many should; from any thread."""
        observer = self._observer
        wanted = len(self._watches) + 1
        if observer is None or not observer.is_alive():
            return 0, wanted
        return sum(emitter.is_alive() for emitter in list(observer.emitters)), wanted

    def hints(self) -> list[str]:
        """Return and remove the paths noted so far, relative to the inbox."""
        prefix = self._path.rstrip("/") + "/"
        # More may come meanwhile; they set the bell again.
        paths = [self._hints.pop() for _ in range(len(self._hints))]
        return [path.removeprefix(prefix) for path in paths if path.startswith(prefix)]
