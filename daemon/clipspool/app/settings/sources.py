"""Reads the settings: the file, the environment over it, and secrets from where they may be."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError

from clipspool.app.locations import PREFIX, NowhereError, SettingsError, expanded, file_of, journal_of
from clipspool.app.settings.folders import overlaps
from clipspool.app.settings.keys import Settings
from clipspool.app.settings.secrets import CREDENTIALS, Needs, keys_in_file, with_secrets
from clipspool.app.settings.wording import Loc, Mistake, Source, not_toml, translate, unknown

_FILE_BYTES_MAX = 1 << 20
_NEEDED_MOST = {f"{PREFIX}CONFIG", f"{PREFIX}PROVIDER__API_KEY"}
"""The variables that nearly every installation gives, and only these."""


def load(
    path: Path | None,
    env: Mapping[str, str] = os.environ,
    *,
    looks: bool = True,
    needs: Needs = "all",
) -> Settings:
    """Read and check everything; of each key the environment's value wins over the file's.

    `path`: the file the operator named, None to search `places`. Without `looks` no folder is touched, for
    commands that must answer while a file server hangs. `needs`: which secrets must be readable; others
    count as not given. Raises SettingsError, fit to be shown.
    """
    file = file_of(path, env)
    text = "" if file is None else _text_of(file)
    written = {} if file is None else _toml(file, text)
    source = Source(file, text, {}, {})
    if mistakes := list(keys_in_file(written)):
        raise source.refusal(mistakes)
    from_env = _environment(env)
    source = Source(file, text, from_env, CREDENTIALS)
    values = _merge(written, from_env)
    folder = Path.cwd() if file is None else Path(os.path.realpath(file.parent))
    try:
        values = _with_journal(_anchored(values, Settings, folder, env), file, env)
        values, unread = with_secrets(values, env, needs)
    except ValueError as error:
        loc, message = error.args
        raise source.refusal([Mistake(loc, message)]) from None
    named_by = "environment" if _names_journal(from_env) else "file" if _names_journal(written) else ""
    try:
        settings = Settings.of(values, file, named_by, tuple(map(source.sentence, unread)))
    except ValidationError as error:
        raise source.refusal(translate(error, Settings)) from None
    if mistakes := list(_across(settings, looks=looks)):
        raise source.refusal(mistakes)
    return settings


def _names_journal(values: Mapping[str, Any]) -> bool:
    journal = values.get("journal")
    return isinstance(journal, Mapping) and "path" in journal


def _text_of(file: Path) -> str:
    try:
        with open(file, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise SettingsError(f"{file}: is no regular file")
            data = stream.read(_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {os.strerror(error.errno or 0)}") from None
    if len(data) > _FILE_BYTES_MAX:
        raise SettingsError(f"{file}: is larger than {_FILE_BYTES_MAX} bytes")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{file}, line {line}: is not UTF-8") from None


def _toml(file: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(not_toml(file, error)) from None
    except RecursionError:
        raise SettingsError(f"{file}: is nested too deep") from None
    except ValueError:  # an integer of more than 4,300 digits, a month 13
        raise SettingsError(f"{file}: holds a number or date that cannot be") from None


def _environment(env: Mapping[str, str]) -> dict[str, Any]:
    ours = {name: value for name, value in env.items() if name.upper().startswith(PREFIX)}
    for name in ours:
        section, _, rest = name[len(PREFIX) :].lower().partition("__")
        if rest and section not in Settings.model_fields:
            hint = unknown((section,), Settings).message
            raise SettingsError(f"environment, {name}: `{section}` {hint}")
        if section == "inbox" and rest:
            one = f'{PREFIX}INBOX=[{{"path": "bay-1", "outbox": "bay-1-results"}}]'
            raise SettingsError(f"environment, {name}: all inboxes are one list, as in {one}")
        if not rest and (meant := _meant(section)):
            raise SettingsError(f"environment, {name}: is no key, did you mean {PREFIX}{meant.upper()}?")
    if ours.keys() <= _NEEDED_MOST:
        key = ours.get(f"{PREFIX}PROVIDER__API_KEY")
        return {"provider": {"api_key": key}} if key else {}
    # Late: it takes 0.1 s and 8 MB to load, and most processes are given no other variable.
    from pydantic_settings import BaseSettings, EnvSettingsSource  # noqa: PLC0415
    from pydantic_settings.exceptions import SettingsError as EnvError  # noqa: PLC0415

    reader = EnvSettingsSource(
        cast(type[BaseSettings], Settings),
        case_sensitive=False,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
    )
    given = {name.lower(): value for name, value in ours.items() if value}
    name = ""
    try:
        for name, value in given.items():
            reader.env_vars = {name: value}
            reader()
        reader.env_vars = given
        values = reader()
    except EnvError:
        example = 'a list as ["a", "b"], a table as {"key": "value"}'
        raise SettingsError(f"environment, {name.upper()}: must be JSON: {example}") from None
    for name in ("defaults", "models", "presets"):
        if name in values:
            values[name] = _decoded(values[name])
    return values


def _meant(name: str) -> str:
    """Return a key's name with the two underscores that stand behind its table; empty if it is no key.

    A limit of money would be passed over without a word.
    """
    table = next((one for one in Settings.model_fields if name.startswith(f"{one}_")), "")
    kind = Settings.model_fields[table].annotation if table else None
    key = name.removeprefix(f"{table}_")
    is_key = isinstance(kind, type) and issubclass(kind, BaseModel) and key in kind.model_fields
    return f"{table}__{key}" if is_key else ""


def _decoded(value: Any) -> Any:
    """Read the leaves of a free table as JSON where they are JSON, else as text."""
    if isinstance(value, dict):
        return {key: _decoded(inner) for key, inner in value.items()}
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _anchored(value: Any, kind: Any, folder: Path, env: Mapping[str, str], loc: Loc = ()) -> Any:
    """Make each path in a value of a type absolute: `~` is the user's home, the rest begins in `folder`."""

    def below(inner: Any, inner_kind: Any, *way: int | str) -> Any:
        return _anchored(inner, inner_kind, folder, env, (*loc, *way))

    origin, kinds = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType, Annotated}:
        for one in kinds:
            value = below(value, one)
    elif kind is Path and isinstance(value, str) and value:
        return _absolute(value, folder, env, loc)
    elif origin is tuple and isinstance(value, list):
        return [below(one, kinds[0], number) for number, one in enumerate(value)]
    elif origin is Mapping and isinstance(value, dict):
        return {key: below(one, kinds[1], key) for key, one in value.items()}
    elif isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(value, dict):
        types = {name: field.annotation for name, field in kind.model_fields.items()}
        return {key: below(one, types.get(key), key) for key, one in value.items()}
    return value


def _absolute(value: str, folder: Path, env: Mapping[str, str], loc: Loc) -> str:
    if "\0" in value:
        raise ValueError(loc, "must name a file or folder")
    path = os.path.join(folder, expanded(value, env))  # noqa: PTH118 - Path would resolve `..`
    if path.startswith("~"):
        raise ValueError(loc, "begins with `~`, and that home is not known")
    # Beyond a link, `..` is not what the text says; without one, links keep the name that the operator knows.
    return os.path.realpath(path) if ".." in path.split("/") else os.path.abspath(path)  # noqa: PTH100


def _with_journal(values: dict[str, Any], file: Path | None, env: Mapping[str, str]) -> dict[str, Any]:
    journal = values.get("journal", {})
    if not isinstance(journal, dict) or "path" in journal:
        return values
    try:
        path = journal_of(file, env)
    except NowhereError:
        message = "is missing, and neither $STATE_DIRECTORY nor $HOME says where"
        raise ValueError(("journal", "path"), message) from None
    return {**values, "journal": {**journal, "path": str(path)}}


def _across(settings: Settings, *, looks: bool) -> Iterator[Mistake]:
    """Find what only several keys together show."""
    seen: dict[str, int] = {}
    for index, inbox in enumerate(settings.inbox):
        first = seen.setdefault(inbox.name.casefold(), index)
        if first != index:
            yield Mistake(
                ("inbox", index, "name"),
                f"is `{inbox.name}`, the name of number {first + 1} already: give each its own `name`",
            )
    named = [("inboxes", name) for name in settings.notify.inboxes]
    named += [("urls", name) for inboxes, _ in settings.notify.receivers for name in sorted(inboxes)]
    for key, name in named:
        if name not in settings.inbox_names:
            yield Mistake(("notify", key), f"names the inbox `{name}`, which does not exist")
    if looks:
        yield from overlaps(settings)
    if settings.models:
        yield from _in_models(settings.models)
    yield from _in_defaults(("defaults",), settings.defaults)
    for index, inbox in enumerate(settings.inbox):
        yield from _in_defaults(("inbox", index, "defaults"), inbox.defaults)
    for name, table in settings.presets.items():
        yield from _in_defaults(("presets", name), table)
        if "preset" in table:
            yield Mistake(("presets", name, "preset"), "has no place here: no preset is made of another")


def _in_defaults(loc: Loc, table: Mapping[str, Any]) -> Iterator[Mistake]:
    if not table:
        return
    from clipspool.intake.sidecar.parse import layer_of  # noqa: PLC0415 - few configurations have defaults

    for problem in layer_of(table, "").problems:
        keys = problem.key.split(".") if problem.key else []
        message = problem.message
        if keys and message.startswith(begin := f"unknown key `{keys[-1]}`"):  # the key is named already
            message = f"is an unknown key{message.removeprefix(begin)}"
        yield Mistake((*loc, *keys), message)


def _in_models(models: Mapping[str, Any]) -> Iterator[Mistake]:
    from clipspool.provider.catalog import Catalog  # noqa: PLC0415 - most configurations name no model
    from clipspool.provider.model import BadModel, Model  # noqa: PLC0415

    try:
        Catalog.load(models)
    except BadModel as error:
        if isinstance(error.__cause__, ValidationError):
            for one in translate(error.__cause__, Model):
                yield Mistake(("models", error.loc[0], *one.loc), one.message)
        else:
            yield Mistake(("models", *error.loc), error.message)
