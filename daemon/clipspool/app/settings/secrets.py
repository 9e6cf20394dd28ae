"""Reads the secrets that the settings need from where they may be, and refuses those in the file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from clipspool.app.locations import SettingsError
from clipspool.app.settings.notify import SECRET_NAMES
from clipspool.app.settings.tables import JOURNAL_KEY_PLACES
from clipspool.app.settings.web import HOW_TO_GIVE_IT, is_near
from clipspool.app.settings.wording import KEY_PLACES, Mistake

Needs = Literal["all", "paid", "none"]
"""Which secrets must be readable: all that are named, those for the provider, or none."""
CREDENTIALS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("provider", "api_key"): ("provider_api_key", "api_key"),
    ("provider", "proxy_login"): ("proxy_login",),
    ("journal", "password"): ("journal_password",),
    ("web", "token"): ("web_token",),
    ("content_credentials", "key"): ("content_credentials_key",),
    **{("notify", name): (credential,) for name, credential in SECRET_NAMES.items()},
}
"""The credentials that may hold a secret, by its key."""
_USELESS_WITHOUT: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("web", "token"): ("listen", "hosts"),
    ("notify", "webhook_secret"): ("webhook_url",),
    ("content_credentials", "key"): ("certificate",),
}
"""Keys that are left out where their secret is missing and not needed."""
_BUCKET_SECRETS = ("access_key_id", "secret_access_key")
_BUCKET_KEY_PLACES = (
    "set CLIPSPOOL_TRANSPORT__BUCKET__ACCESS_KEY_ID and …__SECRET_ACCESS_KEY, or give systemd credentials "
    "named bucket_access_key_id and bucket_secret_access_key"
)
_INSTEAD: Mapping[tuple[str, ...], str] = {
    **{("transport", "bucket", name): _BUCKET_KEY_PLACES for name in _BUCKET_SECRETS},
    **{
        (section, name): f"set CLIPSPOOL_{section.upper()}__{name.upper()}, or name a file in "
        f"`{section}.{name}_file`; and change it"
        for section, name in (*(("notify", name) for name in SECRET_NAMES), ("provider", "proxy_login"))
    },
    ("web", "token"): HOW_TO_GIVE_IT,
    ("content_credentials", "key"): "name a file in `content_credentials.key_file`, or give a systemd "
    "credential named content_credentials_key",
    ("journal", "password"): f"{JOURNAL_KEY_PLACES}; and change it",
}
"""Secrets that must not stand in the file, by their keys, and where they belong."""
_KEY_NAMES = frozenset({"api_key", "apikey", "key", "provider_api_key", "token", "secret"})


def keys_in_file(written: Mapping[str, Any]) -> Iterator[Mistake]:
    """Find secrets in the file, and API keys wherever somebody thought they belong."""
    for loc, instead in _INSTEAD.items():
        table: Any = written
        for name in loc[:-1]:
            table = table.get(name) if isinstance(table, dict) else None
        if isinstance(table, dict) and loc[-1] in table:
            yield Mistake(loc, f"must not stand in the file: {instead}")
    web = written.get("web")
    tokens = web.get("tokens") if isinstance(web, dict) else None
    for name, table in tokens.items() if isinstance(tokens, dict) else ():
        if isinstance(table, dict) and "token" in table:
            yield Mistake(("web", "tokens", name, "token"), f"must not stand in the file: {_places_of(name)}")
    provider = written.get("provider")
    named = [("provider", name) for name in provider] if isinstance(provider, dict) else []
    for loc in (*((name,) for name in written), *named):
        if loc[-1].lower().replace("-", "_") in _KEY_NAMES:
            yield Mistake(
                loc,
                f"must not stand in the file: {KEY_PLACES}; get a new key: others may have read this one",
            )


def with_secrets(
    values: dict[str, Any], env: Mapping[str, str], needs: Needs = "all"
) -> tuple[dict[str, Any], list[Mistake]]:
    """Fill in every secret that the environment did not give, from a credential or the file named for it.

    Also returns mistakes about secrets that could not be read and are not needed; raises ValueError with the
    key's place and a message for one that is.
    """
    unread: list[Mistake] = []
    for place, credentials in CREDENTIALS.items():
        try:
            values = _with_secret(values, env, place, credentials)
        except ValueError as error:
            if needs == "all" or (needs == "paid" and place[0] == "provider"):
                raise
            unread.append(Mistake(*error.args))
    values, missing = _with_named_tokens(values, env)
    if missing and needs == "all":
        raise ValueError(missing[0].loc, missing[0].message)
    unread += missing
    for (section, name), keys in _USELESS_WITHOUT.items():
        is_unread = any(mistake.loc == (section, f"{name}_file") for mistake in unread)
        table = values.get(section)
        if not isinstance(table, dict) or name in table:
            continue
        if section == "web" and (table.get("tokens") or _is_open_to_look(table)):
            continue
        if needs == "none" or is_unread:
            values = {**values, section: {key: value for key, value in table.items() if key not in keys}}
    return _with_bucket_key(values, env), unread


def _places_of(name: str) -> str:
    return (
        f"set CLIPSPOOL_WEB__TOKENS__{name.upper()}__TOKEN, or give a systemd credential named "
        f"web_token_{name}, or name a file in `web.tokens.{name}.token_file`"
    )


def _with_named_tokens(
    values: dict[str, Any], env: Mapping[str, str]
) -> tuple[dict[str, Any], list[Mistake]]:
    """Fill in the tokens of `[web.tokens]`; those without one are left out, and returned as mistakes."""
    web = values.get("web")
    tokens = web.get("tokens") if isinstance(web, dict) else None
    if not isinstance(web, dict) or not isinstance(tokens, dict):
        return values, []
    found, missing = {}, []
    for name, table in tokens.items():
        loc = ("web", "tokens", name)
        if not isinstance(table, dict):
            found[name] = table
            continue
        try:
            found[name] = _filled(table, env, (*loc, "token"), (f"web_token_{name}",))
        except ValueError as error:
            missing.append(Mistake(*error.args))
            continue
        if "token" not in found[name]:
            del found[name]
            missing.append(Mistake(loc, f"has no token; {_places_of(name)}"))
    return {**values, "web": {**web, "tokens": found}}, missing


def _is_open_to_look(web: Mapping[str, Any]) -> bool:
    """Whether a page needs no token: only this machine's users reach it, and they can change nothing."""
    listen = web.get("listen")
    return not web.get("hosts") and isinstance(listen, str) and is_near(listen)


def _with_secret(
    values: dict[str, Any], env: Mapping[str, str], place: tuple[str, str], credentials: tuple[str, ...]
) -> dict[str, Any]:
    """Fill in a secret that the environment did not give: from a credential, else the file named for it."""
    table = values.get(place[0], {})
    if not isinstance(table, dict):
        return values
    filled = _filled(table, env, place, credentials)
    return values if filled is table else {**values, place[0]: filled}


def _filled(
    table: dict[str, Any], env: Mapping[str, str], place: tuple[str, ...], credentials: tuple[str, ...]
) -> dict[str, Any]:
    """Return a table with the secret named by `place`; raises ValueError where its file is unreadable."""
    *above, name = place
    if name in table:
        return table
    found = _credential(env, credentials)
    file = table.get(f"{name}_file")
    if found is None and isinstance(file, str):
        try:
            found = _first_word(Path(file))
        except OSError as error:
            message = f"names a file that cannot be read: {os.strerror(error.errno or 0)}"
            raise ValueError((*above, f"{name}_file"), message) from None
    return table if found is None else {**table, name: found}


def _with_bucket_key(values: dict[str, Any], env: Mapping[str, str]) -> dict[str, Any]:
    transport = values.get("transport")
    bucket = transport.get("bucket") if isinstance(transport, dict) else None
    if not isinstance(transport, dict) or not isinstance(bucket, dict):
        return values
    found = {name: _credential(env, (f"bucket_{name}",)) for name in _BUCKET_SECRETS if name not in bucket}
    keys = {name: value for name, value in found.items() if value is not None}
    return {**values, "transport": {**transport, "bucket": {**bucket, **keys}}}


def _credential(env: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    folder = env.get("CREDENTIALS_DIRECTORY")
    for name in names if folder else ():
        try:
            return _first_word(Path(folder or "", name))
        except FileNotFoundError:
            continue
        except OSError as error:
            why = os.strerror(error.errno or 0)
            raise SettingsError(f"credential {name}: cannot be read: {why}") from None
    return None


def _first_word(file: Path) -> str:
    """Read a key from a file, without the white space around it."""
    fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as stream:
        return stream.read(65_536).decode("utf-8", "replace").strip().removeprefix("\ufeff")
