"""A bay: one inbox with its outbox, as the stages see it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from clipspool.jobs.path_map import AS_THEY_ARE, Places
from clipspool.spool.outbox_names import Taken
from clipspool.spool.root import Root


@dataclass(frozen=True, slots=True)
class Bay:
    """The folders of one inbox and how its results and sources are handled."""

    name: str
    inbox: Root
    outbox: Root
    journal: str = ""
    """The identity of the journal that takes on what is accepted here."""
    result_name: str = "{stem}{variant}"
    keeps_sources: bool = True
    """False: a source is deleted once its results are durable (`source = "delete"`)."""
    places: Places = AS_THEY_ARE
    """What the editors call our folders."""
    is_portable: bool = False
    """Whether results get names that Windows and macOS open (`names = "portable"`)."""
    taken: Taken = field(default_factory=Taken)
    """The names in the outbox."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Look at each of the two folders at most once for all that this thread does in the block."""
        with self.inbox.held(), self.outbox.held():
            yield
