"""Describes mistakes in settings by file, line and key, and never repeats a value."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from clipspool.app.locations import SettingsError
from clipspool.intake.sidecar.lines import line_of

Loc = tuple[int | str, ...]
"""The path of a key: `("inbox", 0, "path")`."""

KEY_PLACES = (
    "set CLIPSPOOL_PROVIDER__API_KEY, or give a systemd credential named provider_api_key, "
    "or name a file in `provider.api_key_file`"
)

_MUST_BE = {
    "path_type": "a path in quotes",
    "string_type": "text in quotes",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number, without quotes"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number, without quotes"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false, without quotes"),
}
"""What a value must be, by pydantic's name of the mistake."""
_BOUNDS = {"greater than or equal to": "at least", "less than or equal to": "at most"}
_TOML_HINTS = {
    "Invalid value": "text is written in quotes, a list in [ ]",
    "Cannot overwrite a value": "this key, or its table, is there already: keep one of the two",
    "Cannot declare": "this table is there already: put its keys under the first one",
    "Expected '='": "a key is followed by =",
    "Expected newline": "nothing but a comment belongs behind a value; a quote within text ends it",
    **dict.fromkeys(
        ("Unescaped", "Invalid hex"), "a backslash in double quotes begins a special sign: write /"
    ),
    r"Illegal character '\n'": "text in quotes has to end on its line",
}
"""What is usually meant, by how the parser's message begins."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake about one key."""

    loc: Loc
    message: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where values came from."""

    file: Path | None
    text: str
    environment: Mapping[str, Any]
    """The nested values that the environment gave."""
    credentials: Mapping[Any, tuple[str, ...]]
    """The credentials that may hold a secret, by its key; it never stands in the file."""

    def refusal(self, mistakes: Iterable[Mistake]) -> SettingsError:
        """Join all mistakes into one error, each once."""
        return SettingsError("\n".join(dict.fromkeys(self.sentence(mistake) for mistake in mistakes)))

    def sentence(self, mistake: Mistake) -> str:
        """Describe a mistake and its place."""
        # The environment may have given part of a table, such as the API key, and the file the wrong part.
        is_table = len(mistake.loc) == 1 and isinstance(self.environment.get(str(mistake.loc[0])), Mapping)
        is_shared = is_table and self.file is not None
        if mistake.loc and _holds(self.environment, mistake.loc) and not is_shared:
            depth = next((i for i, part in enumerate(mistake.loc) if isinstance(part, int)), len(mistake.loc))
            name = "CLIPSPOOL_" + "__".join(str(part).upper() for part in mistake.loc[:depth])
            return f"environment, {_shown(name)}: {spell(mistake.loc)} {mistake.message}"
        dotted = ".".join(str(part + 1 if isinstance(part, int) else part) for part in mistake.loc)
        if names := self.credentials.get(mistake.loc):
            where = f"credential {names[0]}, or the file of `{dotted}_file`"
            return f"{where}: {spell(mistake.loc)} {mistake.message}"
        line = line_of(self.text, dotted)
        where = "settings" if self.file is None else _shown(str(self.file))
        if line is not None:
            where += f", line {line}"
        if is_shared:
            where += ", or the environment"
        return f"{where}: {spell(mistake.loc)} {mistake.message}"


def _holds(values: Any, loc: Loc) -> bool:
    for part in loc:
        if isinstance(values, Mapping) and part in values:
            values = values[part]
        else:
            return isinstance(values, Sequence) and isinstance(part, int) and part < len(values)
    return True


def _shown(text: str) -> str:
    return text if text.isprintable() else ascii(text)


def spell(loc: Loc) -> str:
    """Name a key as its writer knows it: `` `path` of [[inbox]] number 2 ``."""
    match loc:
        case []:
            return "the configuration"
        case ["inbox", int(index)]:
            return f"[[inbox]] number {index + 1}"
        case ["inbox", int(index), str(key), int(entry)]:
            return f"entry {entry + 1} of `{key}` of [[inbox]] number {index + 1}"
        case ["inbox", int(index), *rest]:
            return f"`{_dotted(rest)}` of [[inbox]] number {index + 1}"
        case _:
            return f"`{_dotted(loc)}`"


def _dotted(loc: Iterable[int | str]) -> str:
    parts = [f"number {part + 1}" if isinstance(part, int) else _shown(part) for part in loc]
    return ".".join(parts)[:200]


def translate(error: ValidationError, root: type[BaseModel]) -> Iterator[Mistake]:
    """Translate pydantic's errors, leaving out every input."""
    for entry in error.errors(include_url=False, include_context=False, include_input=False):
        loc = entry["loc"]
        match entry["type"]:
            case "extra_forbidden":
                yield unknown(loc, root)
            case "missing" if loc == ("inbox",):
                yield Mistake((), "names no [[inbox]]: at least one is needed, with `path` and `outbox`")
            case "missing":
                yield Mistake(loc, "is missing")
            case "model_type" | "dict_type" | "mapping_type":
                yield Mistake(loc, "must be a table")
            case "tuple_type" | "list_type":
                is_inbox = loc == ("inbox",)
                yield Mistake(
                    loc, "is written [[inbox]], with two brackets" if is_inbox else "must be a list, in [ ]"
                )
            case kind if kind in _MUST_BE:
                yield Mistake(loc, f"must be {_MUST_BE[kind]}")
            case "value_error":
                yield Mistake(loc, entry["msg"].removeprefix("Value error, "))
            case _:
                message = entry["msg"].replace("Input should", "must").replace("String should", "must")
                for long, short in _BOUNDS.items():
                    message = message.replace(long, short)
                yield Mistake(loc, message[:1].lower() + message[1:])


def not_toml(file: Path, error: tomllib.TOMLDecodeError) -> str:
    """Describe why a file is not TOML: in the parser's words, and what is usually meant."""
    said = str(error)
    hint = next((f"; {hint}" for begin, hint in _TOML_HINTS.items() if said.startswith(begin)), "")
    return f"{_shown(str(file))}: is not TOML: {said}{hint}"


def unknown(loc: Loc, root: type[BaseModel]) -> Mistake:
    """Describe an unknown key: which known one may be meant, or where it belongs."""
    name = str(loc[-1])
    known = _fields_at(root, loc[:-1])
    homes = [home for home, fields in _homes(root) if name in fields and name != "api_key"]
    if homes:
        return Mistake(loc, f"is an unknown key here, it belongs in {' or '.join(homes)}")
    close = difflib.get_close_matches(name.lower(), known, 1, 0.6)
    if close:
        return Mistake(loc, f"is an unknown key, did you mean `{close[0]}`?")
    return Mistake(loc, f"is an unknown key; known here: {', '.join(k for k in known if k != 'api_key')}")


def _fields_at(root: type[BaseModel], loc: Loc) -> list[str]:
    model: type[BaseModel] | None = root
    for part in loc:
        if isinstance(part, str) and model is not None and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation)
    return [] if model is None else list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in {tuple, Union, UnionType}:
        return next((model for inner in get_args(annotation) if (model := _model_in(inner))), None)
    return None


def _homes(root: type[BaseModel]) -> Iterator[tuple[str, list[str]]]:
    for name, field in root.model_fields.items():
        model = _model_in(field.annotation)
        if model is not None:
            yield (f"[[{name}]]" if name == "inbox" else f"[{name}]"), list(model.model_fields)
