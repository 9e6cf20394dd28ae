"""Reads the `_defaults.toml` and `_prompt.txt` of an inbox's folders, each once a change."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf

from clipspool.intake.advice import near_miss
from clipspool.intake.names import Kind
from clipspool.intake.near import DEFAULTS, FOLDER_PROMPT, meant_as_settings
from clipspool.intake.scan import Folder
from clipspool.intake.settle import Stamp
from clipspool.intake.sidecar.parse import Layer, layer_of, wrong_layer
from clipspool.intake.tree import up_to
from clipspool.intake.types import Rules
from clipspool.spool.guard import Unavailable
from clipspool.system.atomic import Rel, join
from clipspool.system.redaction import readable

Read = Callable[[Rel, Stamp], Layer | None]


@dataclass(frozen=True, slots=True)
class Chain:
    """All layers below a clip's own sidecar."""

    layers: tuple[Layer, ...]
    blocked: str = ""
    """Why the folder's clips must wait: a file that is not read (yet) would change their settings."""
    since: float = -inf
    """Monotonic seconds: since when that is so."""
    prompt_blocked: str = ""
    """Why clips without a prompt of their own must wait."""

    @property
    def hold_prompt(self) -> bool:
        """Whether they contain a prompt or a preset, or a file with a mistake that may contain one."""
        return bool(self.blocked or self.prompt_blocked) or any(
            layer.keys.keys() & {"prompt", "preset"} or layer.problems for layer in self.layers
        )


@dataclass(frozen=True, slots=True)
class _Blocked:
    reason: str
    since: float = -inf
    is_prompt: bool = False
    """Whether only the prompt is affected."""


class SettledLayers:
    """Reads files of settings that have settled, each once a change."""

    def __init__(self, read: Read) -> None:
        """`read` reads a file with this stamp, None if it changed meanwhile; it may raise OSError."""
        self._read = read
        self._known: dict[Rel, tuple[Stamp, Layer]] = {}

    def layer(self, path: Rel, stamp: Stamp | None) -> Layer | None:
        """Return a file's layer; None while it is still changing, or empty. Raises Unavailable."""
        known = self._known.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        try:
            layer = None if stamp is None else self._read(path, stamp)
        except Unavailable:
            raise
        except OSError as error:
            return wrong_layer(path, f"cannot be read: {(error.strerror or 'unknown error').lower()}")
        if layer is not None and stamp is not None:
            self._known[path] = (stamp, layer)
        return layer


class Defaults:
    """The settings in one inbox's folders, for all clips below them."""

    def __init__(self, rules: Rules, read: Read) -> None:
        """`read` is that of SettledLayers."""
        self._configured = tuple(layer_of(body, file) for file, body in rules.layers.items() if body)
        self._settled = SettledLayers(read)

    def chain(self, rel: Rel, folders: Mapping[Rel, Folder]) -> Chain:
        """Return the layers for clips in a folder, from the configuration down. Raises Unavailable."""
        layers = list(self._configured)
        prompt_blocked = ""
        above = (folders[path] for path in up_to(rel) if path in folders)
        for layer in itertools.chain.from_iterable(map(self._layers, above)):
            if isinstance(layer, Layer):
                layers.append(layer)
            elif layer.is_prompt:
                prompt_blocked = layer.reason
            else:
                return Chain(tuple(layers), layer.reason, layer.since)
        return Chain(tuple(layers), prompt_blocked=prompt_blocked)

    def _layers(self, folder: Folder) -> Iterator[Layer | _Blocked]:
        """Read one folder's files; if both have a prompt, that of `_defaults.toml` wins."""
        settings = folder.settings()
        for name, kind in settings:
            if kind is Kind.NEAR_SETTINGS:  # it would be ignored, and other settings paid for
                right = meant_as_settings(name) or DEFAULTS
                why = near_miss(join(folder.rel, name), right)
                yield _Blocked(why, is_prompt=right == FOLDER_PROMPT)
        for name in sorted(folder.settings_folders):
            yield wrong_layer(join(folder.rel, name), "is a folder instead of a file")
        for wanted, right in ((Kind.FOLDER_PROMPT, FOLDER_PROMPT), (Kind.DEFAULTS, DEFAULTS)):
            names = [name for name, kind in settings if kind is wanted]
            if len(names) > 1:
                both = " and ".join(f"`{readable(join(folder.rel, name))}`" for name in names)
                yield _Blocked(f"{both} are in the same folder: keep one of them, as `{right}`")
            elif names:
                yield self._layer(folder, names[0])

    def _layer(self, folder: Folder, name: str) -> Layer | _Blocked:
        path = join(folder.rel, name)
        entry = folder.entry(name)
        if entry is None or not entry.is_regular:
            return wrong_layer(path, "is a link or device instead of a file")
        layer = self._settled.layer(path, folder.settled(name))
        return layer or _Blocked(f"`{readable(path)}` is still changing, or empty", entry.since)
