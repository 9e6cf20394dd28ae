"""Makes frozen dataclasses with slots in a third of the time: a daemon has three hundred of them.

The standard library compiles six functions for each, which were half of the time of a start, and 3 MB. Here
only `__init__` is compiled; the others are closures over what the class has for fields.
"""

from __future__ import annotations

import dataclasses
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from dataclasses import dataclass
else:

    def dataclass(*, frozen: bool, slots: bool, kw_only: bool = False) -> Callable[[type], type]:
        """Do what `dataclasses.dataclass` does with the same words; `__post_init__` is not called."""
        if not (frozen and slots):
            raise TypeError("values are frozen and have slots; for others there is dataclasses.dataclass")
        return lambda kind: _made(kind, kw_only=kw_only)


__all__ = ["dataclass"]

T = TypeVar("T")
_UNSET = object()


def _made(kind: type[T], *, kw_only: bool) -> type[T]:
    kind.__doc__ = kind.__doc__ or kind.__name__  # the library's own text for none takes longer than the rest
    # Not frozen for the library, which would compile two functions to say so.
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True, kw_only=kw_only)(kind)
    fields = dataclasses.fields(made)
    shown = [field.name for field in fields if field.repr]
    values_of = _getter([field.name for field in fields if field.compare])

    def represent(self: Any) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__qualname__}({values})"

    def equals(self: Any, other: Any) -> bool:
        return values_of(self) == values_of(other) if other.__class__ is self.__class__ else NotImplemented

    def hashed(self: Any) -> int:
        return hash(values_of(self))

    methods = {"__init__": _init_of(fields), "__repr__": represent, "__eq__": equals, "__hash__": hashed}
    methods |= {"__setattr__": _refuse, "__delattr__": _refuse, "__setstate__": _restore}
    for name, method in methods.items():
        if kind.__dict__.get(name) is None:  # the language sets a __hash__ of None beside an own __eq__
            setattr(made, name, method)
    finished: type[T] = made
    return finished


def _getter(names: Sequence[str]) -> Callable[[Any], Any]:
    return attrgetter(*names) if names else lambda _: ()


def _init_of(fields: Sequence[dataclasses.Field[Any]]) -> Callable[..., None]:
    names: dict[str, Any] = {"_set": object.__setattr__, "_unset": _UNSET}
    words, named, body = ["self"], list[str](), list[str]()
    for field in fields:
        name, value = field.name, field.name
        word = name
        if field.default_factory is not dataclasses.MISSING:
            names[f"_make_{name}"] = field.default_factory
            word, value = f"{name}=_unset", f"_make_{name}() if {name} is _unset else {name}"
        elif field.default is not dataclasses.MISSING:
            names[f"_default_{name}"] = field.default
            word = f"{name}=_default_{name}"
        (named if field.kw_only else words).append(word)
        body.append(f" _set(self, {name!r}, {value})\n")
    words += ["*", *named] if named else []
    exec(f"def __init__({', '.join(words)}):\n{''.join(body) or ' pass'}", names)  # noqa: S102  our own fields
    made: Callable[..., None] = names["__init__"]
    return made


def _refuse(self: object, name: str, _value: object = None) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot change the field {name!r} of {type(self).__name__}")


def _restore(self: object, state: tuple[None, dict[str, Any]]) -> None:
    """Take what a copy or an unpickled value has for its slots."""
    for name, value in state[1].items():
        object.__setattr__(self, name, value)
