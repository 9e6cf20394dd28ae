"""The `_defaults.toml` files from an inbox's root down to a folder, each read once a change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from clipspool.files import Rel, join
from clipspool.intake.names import DEFAULTS
from clipspool.intake.scan import Folder
from clipspool.intake.settle import Stamp
from clipspool.intake.sidecar import Layer, layer_of
from clipspool.intake.terms import Rules
from clipspool.job import Problem
from clipspool.root import Unavailable

Read = Callable[[Rel, Stamp], Layer | None]


@dataclass(frozen=True, slots=True)
class Chain:
    """All layers beneath a clip's own sidecar."""

    layers: tuple[Layer, ...]
    unsettled: Rel | None = None
    """A `_defaults.toml` that is still being written: wait for it."""
    since: float = 0.0
    """Monotonic seconds: since when that one has had its present size and times."""

    @property
    def hold_prompt(self) -> bool:
        """Whether they can serve a clip by themselves, or are meant to and hold a mistake."""
        return any("prompt" in layer.keys or layer.problems for layer in self.layers)


class Defaults:
    """What the folders of one inbox say about all clips beneath them."""

    def __init__(self, rules: Rules, read: Read) -> None:
        """`read` reads a file with its stamp, None when it changed meanwhile; it may raise OSError."""
        self._configured = tuple(layer_of(body, file) for file, body in rules.layers.items() if body)
        self._read = read
        self._known: dict[Rel, tuple[Stamp, Layer]] = {}

    def chain(self, rel: Rel, folders: Mapping[Rel, Folder]) -> Chain:
        """Give the layers for clips in a folder; those above it are known. Raises Unavailable."""
        layers = list(self._configured)
        path: Rel = ""
        for part in ("", *rel.split("/")) if rel else ("",):
            path = join(path, part)
            folder = folders.get(path)
            if folder is None:
                continue
            layer = self._layer(folder)
            if isinstance(layer, str):
                return Chain(tuple(layers), layer, folder.since(DEFAULTS))
            if layer is not None:
                layers.append(layer)
        return Chain(tuple(layers))

    def _layer(self, folder: Folder) -> Layer | Rel | None:
        """Read one folder's file; its path where it has not settled."""
        entry = folder.entry(DEFAULTS)
        if entry is None:
            self._known.pop(folder.rel, None)
            return None
        path = join(folder.rel, DEFAULTS)
        if not entry.is_regular:
            return Layer(path, problems=(Problem("is a link or device instead of a file", file=path),))
        stamp = folder.settled(DEFAULTS)
        if stamp is None:
            return path
        known = self._known.get(folder.rel)
        if known is not None and known[0] == stamp:
            return known[1]
        try:
            layer = self._read(path, stamp)
        except Unavailable:
            raise
        except OSError as error:
            trouble = f"cannot be read: {(error.strerror or 'unknown trouble').lower()}"
            return Layer(path, problems=(Problem(trouble, file=path),))
        if layer is None:
            return path
        self._known[folder.rel] = (stamp, layer)
        return layer
