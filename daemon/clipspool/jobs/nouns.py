"""Copies nouns with changes, and turns them into JSON's form and back: each event does so several times.

`dataclasses.replace` looks at every field's declaration each time; here the names are collected once a class,
which takes half the time.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import Enum
from functools import cache
from operator import attrgetter
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

N = TypeVar("N")


@cache
def _fields_of(kind: type) -> tuple[Callable[[Any], tuple[Any, ...]], dict[str, int]]:
    """Return what reads all fields of a noun, and the place of each among the arguments that make one."""
    names = tuple(field.name for field in fields(kind))
    return attrgetter(*names), {name: place for place, name in enumerate(names)}


def replace(noun: N, /, **changes: Any) -> N:
    """Return a copy with other values; `noun` has at least two fields, all of them positional."""
    kind: Any = type(noun)
    values_of, places = _fields_of(kind)
    values = list(values_of(noun))
    for name, value in changes.items():
        values[places[name]] = value
    copy: N = kind(*values)
    return copy


_LEAVES = frozenset({str, int, float, bool})


def plain(noun: Any) -> dict[str, Any]:
    """Return a dataclass as JSON holds it; `dataclasses.asdict` copies deeply, at five times the cost."""
    return {name: _plain(getattr(noun, name)) for name in noun.__dataclass_fields__}


def _plain(value: Any) -> Any:
    if value is None or type(value) in _LEAVES:
        return value
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return plain(value) if hasattr(value, "__dataclass_fields__") else value


def read(kind: Callable[..., N], body: Mapping[str, Any]) -> N:
    """Build a dataclass from what `plain` returned; raises KeyError, TypeError or ValueError."""
    readers = _readers(kind)
    return kind(**{name: readers[name](value) for name, value in dict(**body).items()})


@cache
def _readers(kind: Callable[..., Any]) -> dict[str, Callable[[Any], Any]]:
    hints = get_type_hints(kind)
    return {field.name: _reader(hints[field.name]) for field in fields(kind)}  # type: ignore[arg-type]


def _reader(hint: Any) -> Callable[[Any], Any]:
    """Return what turns JSON's form of a field into the field's own; JSON has most of them already."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        # The only unions among these fields are `X | None`.
        (only,) = (one for one in arguments if one is not type(None))
        read_one = _reader(only)
        return lambda value: None if value is None else read_one(value)
    if origin is tuple:
        read_one = _reader(arguments[0])
        return lambda value: tuple(map(read_one, value))
    if origin is Mapping:
        read_one = _reader(arguments[1])
        return lambda value: {key: read_one(one) for key, one in value.items()}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    if hasattr(hint, "from_dict"):
        reader: Callable[[Any], Any] = hint.from_dict
        return reader
    if hasattr(hint, "__dataclass_fields__"):
        return lambda value: read(hint, value)
    if origin in {None, Literal, dict}:
        return lambda value: value
    raise TypeError(f"no reader for a field of type {hint}")
