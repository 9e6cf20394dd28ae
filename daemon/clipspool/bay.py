"""A bay: one inbox with its outbox, as the stages see it."""

from __future__ import annotations

from dataclasses import dataclass

from clipspool.places import AS_THEY_ARE, Places
from clipspool.root import Root


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
