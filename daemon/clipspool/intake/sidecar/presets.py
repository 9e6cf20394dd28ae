"""Finds presets: sidecar keys by a name, in the configuration or as `_presets/NAME.toml` in an inbox.

A file in the inbox wins over the configuration. Letter case does not matter in a preset's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from functools import partial
from stat import S_ISREG
from typing import Any

from clipspool.intake.kinds import TEXT_DISGUISES, suffix_of
from clipspool.intake.names import Kind
from clipspool.intake.near import folded, meant_as_sidecar
from clipspool.intake.notes import sentence
from clipspool.intake.pair import Entry
from clipspool.intake.settle import SIZE, Settling, Stamp, stamp_of
from clipspool.intake.sidecar.defaults import Read, SettledLayers
from clipspool.intake.sidecar.layers import Find
from clipspool.intake.sidecar.parse import BYTES_MAX, Layer, layer_of, parse, wrong_layer
from clipspool.jobs.model import Problem
from clipspool.spool.guard import Unavailable
from clipspool.spool.layout import PRESETS, SUFFIXES
from clipspool.spool.root import Root
from clipspool.system.atomic import NotRegular, Rel, join, name_of, split_suffix
from clipspool.system.redaction import readable, redact_value

_SUFFIX = ".toml"
Configured = Mapping[str, Mapping[str, Any]]
"""The configuration's presets by name."""


class Unready(Exception):
    """A preset's file is still changing, or cannot be read now; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A preset, as people choose it."""

    name: str
    layer: Layer
    is_of_inbox: bool
    picture: Rel | None = None
    """A sample beside its file, such as `_presets/winter.jpg`."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it: dates as text, secrets removed."""
        keys = {k: v.isoformat() if isinstance(v, datetime) else v for k, v in self.layer.keys.items()}
        return {
            "name": self.name,
            "keys": redact_value(keys),
            "from": "inbox" if self.is_of_inbox else "configuration",
            "picture": self.picture,
            "problem": "; ".join(sentence(problem) for problem in self.layer.problems),
        }


def listed(root: Root, configured: Configured) -> list[Preset]:
    """Return every preset of an inbox as it is now, by name. Raises Unavailable."""
    names = _names(root)
    pictures = {folded(stem): join(PRESETS, name) for name, stem in _with(names, SUFFIXES)}
    found = {folded(name): Preset(name, _of_configuration(name, configured), False) for name in configured}
    for name, stem in _with(names, (_SUFFIX,)):
        found[folded(stem)] = Preset(stem, _read_now(root, join(PRESETS, name)), True)
    return [replace(found[key], picture=pictures.get(key)) for key in sorted(found)]


def finder(root: Root, configured: Configured) -> Find:
    """Return what finds presets as they are now, for those who show a request that is not accepted yet."""
    return partial(_find, configured, lambda: _names(root), partial(_read_now, root))


class Presets:
    """The presets of one inbox for clips that are about to be accepted: a file counts once it has settled."""

    def __init__(self, root: Root, configured: Configured, settle_seconds: float, read: Read) -> None:
        """`read` is that of SettledLayers."""
        self._root, self._configured, self._layers = root, configured, SettledLayers(read)
        self._settling = Settling(settle_seconds)

    def finder(self, now: float) -> Find:
        """Return what finds presets at `now` (monotonic seconds); it raises Unready and Unavailable."""
        settled = partial(self._settled, now=now)
        return partial(_find, self._configured, lambda: _names(self._root), settled)

    def image(self, paths: Sequence[Rel], now: float) -> tuple[Rel, Entry | None]:
        """Return the first of these paths with an image beside the presets, and the image. Raises OSError."""
        for path in paths:
            if path.startswith(f"{PRESETS}/") and (stamp := self._stamp(path, now)) is not None:
                is_settled = self._settling.settled(path) is not None
                since = self._settling.since(path)
                return path, Entry(name_of(path), Kind.IMAGE, since, is_settled, stamp[SIZE])
        return "", None

    def _settled(self, path: Rel, *, now: float) -> Layer:
        self._stamp(path, now)
        layer = self._layers.layer(path, self._settling.settled(path))
        if layer is None:
            raise Unready(f"its preset `{readable(path)}` is still changing, or empty")
        return _as_preset(layer)

    def _stamp(self, path: Rel, now: float) -> Stamp | None:
        """Return a regular file's stamp, and let it settle."""
        there = self._root.stat_if_there(path)
        seen = stamp_of(there) if there is not None and S_ISREG(there.st_mode) else None
        self._settling.see(path, seen, now)
        return seen


def _find(
    configured: Configured, names: Callable[[], Sequence[str]], read: Callable[[Rel], Layer], name: str
) -> Layer:
    present = names()
    files = {folded(stem): file for file, stem in _with(present, (_SUFFIX,))}
    if (file := files.get(folded(name))) is not None:
        return read(join(PRESETS, file))
    own = {folded(one): one for one in configured}
    meant = next((file for file in present if _is_meant(file, name)), None)
    is_toml = meant is not None and suffix_of(meant_as_sidecar(meant) or "") == _SUFFIX
    if (
        key := own.get(folded(name))
    ) is not None and not is_toml:  # else it would be paid for without the file
        return _of_configuration(key, configured)
    if meant is not None:
        message = (
            f"names the preset `{readable(name)}`, but `{PRESETS}/{readable(meant)}` is not read under "
            f"that name: rename it to `{readable(name)}{_SUFFIX}`"
        )
        return Layer(problems=(Problem(message, key="preset"),))
    return _unknown(name, [*configured, *(stem for _, stem in _with(present, (_SUFFIX,)))])


def _is_meant(file: str, name: str) -> bool:
    """Return whether a file beside the presets is probably this preset under a wrong suffix."""
    suffix = split_suffix(file)[1].lower()
    is_text = suffix in TEXT_DISGUISES or suffix in {"", ".json", ".txt", ".yaml", ".yml"}
    return is_text and folded(split_suffix(meant_as_sidecar(file) or file)[0]) == folded(name)


def _unknown(name: str, known: Sequence[str]) -> Layer:
    close = get_close_matches(folded(name), list(map(folded, known)), n=1)
    meant = next((one for one in known if close and folded(one) == close[0]), None)
    if meant is not None:
        hint = f"did you mean `{readable(meant)}`?"
    elif known:
        hint = f"known are {', '.join(f'`{readable(one)}`' for one in sorted(set(known)))}"
    else:
        hint = f"and there are no presets yet: make one as `{PRESETS}/NAME.toml` in the inbox"
    return Layer(problems=(Problem(f"names the unknown preset `{readable(name)}`, {hint}", key="preset"),))


def _of_configuration(name: str, configured: Configured) -> Layer:
    return _as_preset(layer_of(configured[name], f"[presets.{name}] of the configuration"))


def _as_preset(layer: Layer) -> Layer:
    if "preset" in layer.keys:
        return wrong_layer(layer.file, "names a preset: a preset cannot be made of another")
    return layer


def _read_now(root: Root, path: Rel) -> Layer:
    try:
        data = root.head(path, BYTES_MAX + 1)
    except Unavailable:
        raise
    except NotRegular:
        return wrong_layer(path, "is a link or device instead of a file")
    except OSError as error:
        return wrong_layer(path, f"cannot be read: {(error.strerror or 'unknown error').lower()}")
    return _as_preset(parse(data, path, is_own=False))


def _names(root: Root) -> list[str]:
    try:
        return sorted(root.names(PRESETS))
    except Unavailable:
        raise
    except OSError:  # there is none, or it is no folder
        return []


def _with(names: Sequence[str], suffixes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the names with one of the suffixes, each with its stem; hidden ones are left out."""
    for name in names:
        stem, suffix = split_suffix(name)
        if suffix.lower() in suffixes and not name.startswith((".", "_", "~")):
            yield name, stem
