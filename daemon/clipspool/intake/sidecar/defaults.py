"""The `_defaults.toml` and `_prompt.txt` of an inbox's folders, each read once a change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf

from clipspool.intake.advice import near_miss
from clipspool.intake.names import Kind, readable
from clipspool.intake.near import DEFAULTS, FOLDER_PROMPT, meant_as_settings
from clipspool.intake.scan import Folder
from clipspool.intake.settle import Stamp
from clipspool.intake.sidecar.parse import Layer, layer_of
from clipspool.intake.types import Rules
from clipspool.jobs.model import Problem
from clipspool.spool.root import Unavailable
from clipspool.system.atomic import Rel, join

Read = Callable[[Rel, Stamp], Layer | None]


@dataclass(frozen=True, slots=True)
class Chain:
    """All layers beneath a clip's own sidecar."""

    layers: tuple[Layer, ...]
    blocked: str = ""
    """Why the clips beneath have to wait: a file that is not read (yet) would change their settings."""
    since: float = -inf
    """Monotonic seconds: since when that is so."""
    prompt_blocked: str = ""
    """The same of clips that do not say their own prompt."""

    @property
    def hold_prompt(self) -> bool:
        """Whether they can serve a clip by themselves, or are meant to and cannot yet."""
        return bool(self.blocked or self.prompt_blocked) or any(
            "prompt" in layer.keys or layer.problems for layer in self.layers
        )


@dataclass(frozen=True, slots=True)
class _Blocked:
    reason: str
    since: float = -inf
    is_prompt: bool = False
    """Whether nothing but the prompt is in question."""


class Defaults:
    """What the folders of one inbox say about all clips beneath them."""

    def __init__(self, rules: Rules, read: Read) -> None:
        """`read` reads a file with its stamp, None when it changed meanwhile; it may raise OSError."""
        self._configured = tuple(layer_of(body, file) for file, body in rules.layers.items() if body)
        self._read = read
        self._known: dict[Rel, tuple[Stamp, Layer]] = {}

    def chain(self, rel: Rel, folders: Mapping[Rel, Folder]) -> Chain:
        """Return the layers for clips in a folder; those above it are known. Raises Unavailable."""
        layers = list(self._configured)
        prompt_blocked = ""
        path: Rel = ""
        for part in ("", *rel.split("/")) if rel else ("",):
            path = join(path, part)
            folder = folders.get(path)
            if folder is None:
                continue
            for layer in self._layers(folder):
                if not isinstance(layer, _Blocked):
                    layers.append(layer)
                elif layer.is_prompt:
                    prompt_blocked = layer.reason
                else:
                    return Chain(tuple(layers), layer.reason, layer.since)
        return Chain(tuple(layers), prompt_blocked=prompt_blocked)

    def _layers(self, folder: Folder) -> Iterator[Layer | _Blocked]:
        """Read one folder's files; where both give a prompt, that of `_defaults.toml` wins."""
        settings = folder.settings()
        for name, kind in settings:
            if kind is Kind.NEAR_SETTINGS:  # what it says would be passed over, and other settings paid for
                right = meant_as_settings(name) or DEFAULTS
                why = near_miss(join(folder.rel, name), right)
                yield _Blocked(why, is_prompt=right == FOLDER_PROMPT)
        for wanted, right in ((Kind.FOLDER_PROMPT, FOLDER_PROMPT), (Kind.DEFAULTS, DEFAULTS)):
            names = [name for name, kind in settings if kind is wanted]
            if len(names) > 1:
                both = " and ".join(f"`{readable(join(folder.rel, name))}`" for name in names)
                yield _Blocked(f"{both} lie side by side: keep one of them, as `{right}`")
            elif names:
                yield self._layer(folder, names[0])

    def _layer(self, folder: Folder, name: str) -> Layer | _Blocked:
        path = join(folder.rel, name)
        entry = folder.entry(name)
        if entry is None or not entry.is_regular:
            return Layer(path, problems=(Problem("is a link or device instead of a file", file=path),))
        stamp = folder.settled(name)
        unsettled = _Blocked(f"`{readable(path)}` is still changing, or empty", entry.since)
        if stamp is None:
            return unsettled
        known = self._known.get(path)
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
            return unsettled
        self._known[path] = (stamp, layer)
        return layer
