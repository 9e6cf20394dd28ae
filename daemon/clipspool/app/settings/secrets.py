"""Finds the secrets that the settings need, where they may be, and refuses those that stand in the file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from clipspool.app.locations import SettingsError
from clipspool.app.settings.notify import SECRET_NAMES
from clipspool.app.settings.web import HOW_TO_GIVE_IT, is_near
from clipspool.app.settings.wording import KEY_PLACES, Mistake

Needs = Literal["all", "paid", "none"]
"""Which secrets have to be there: all that are named, those that the provider asks for, or none."""
_PLACES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("provider", "api_key"): ("provider_api_key", "api_key"),
    ("provider", "proxy_login"): ("proxy_login",),
    ("web", "token"): ("web_token",),
    **{("notify", name): (credential,) for name, credential in SECRET_NAMES.items()},
}
"""By their keys, the names of the credentials that may hold them."""
_USELESS_WITHOUT: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("web", "token"): ("listen", "hosts"),
    ("notify", "webhook_secret"): ("webhook_url",),
}
"""What is left out where its secret is not to be had and is not needed."""
_BUCKET_SECRETS = ("access_key_id", "secret_access_key")
_BUCKET_KEY_PLACES = (
    "set CLIPSPOOL_TRANSPORT__BUCKET__ACCESS_KEY_ID and …__SECRET_ACCESS_KEY, or give systemd credentials "
    "named bucket_access_key_id and bucket_secret_access_key"
)


def keys_in_file(written: Mapping[str, Any]) -> Iterator[Mistake]:
    """Find API keys in the file, wherever somebody thought they belong."""
    provider = written.get("provider")
    ways: list[tuple[str, ...]] = [(name,) for name in written]
    ways += [("provider", name) for name in provider] if isinstance(provider, dict) else []
    transport = written.get("transport")
    bucket = transport.get("bucket") if isinstance(transport, dict) else None
    for name in _BUCKET_SECRETS if isinstance(bucket, dict) else ():
        if name in (bucket or {}):
            yield Mistake(("transport", "bucket", name), f"must not stand in the file: {_BUCKET_KEY_PLACES}")
    notify = written.get("notify")
    for name in SECRET_NAMES if isinstance(notify, dict) else ():
        if name in (notify or {}):
            places = f"set CLIPSPOOL_NOTIFY__{name.upper()}, or name a file in `notify.{name}_file`"
            yield Mistake(("notify", name), f"must not stand in the file: {places}; and change it")
    if isinstance(provider, dict) and "proxy_login" in provider:
        places = "set CLIPSPOOL_PROVIDER__PROXY_LOGIN, or name a file in `provider.proxy_login_file`"
        yield Mistake(("provider", "proxy_login"), f"must not stand in the file: {places}; and change it")
    web = written.get("web")
    if isinstance(web, dict) and "token" in web:
        yield Mistake(("web", "token"), f"must not stand in the file: {HOW_TO_GIVE_IT}")
    for loc in ways:
        plain = loc[-1].lower().replace("-", "_")
        if plain in {"api_key", "apikey", "key", "provider_api_key", "token", "secret"}:
            yield Mistake(
                loc, f"must not stand in the file: {KEY_PLACES}; and change the key, it has been seen"
            )


def with_secrets(
    values: dict[str, Any], env: Mapping[str, str], needs: Needs = "all"
) -> tuple[dict[str, Any], list[Mistake]]:
    """Fill in every secret that the environment did not give, from a credential or the file named for it.

    Gives besides what was not found and is not needed; raises ValueError with the key's place and a message
    for what is.
    """
    unread: list[Mistake] = []
    for place, credentials in _PLACES.items():
        try:
            values = _with_secret(values, env, place, credentials)
        except ValueError as error:
            if needs == "all" or (needs == "paid" and place[0] == "provider"):
                raise
            unread.append(Mistake(*error.args))
    for (section, name), keys in _USELESS_WITHOUT.items():
        is_unread = any(mistake.loc == (section, f"{name}_file") for mistake in unread)
        table = values.get(section)
        if not isinstance(table, dict) or name in table or (section == "web" and _is_open_to_look(table)):
            continue
        if needs == "none" or is_unread:
            values = {**values, section: {key: value for key, value in table.items() if key not in keys}}
    return _with_bucket_key(values, env), unread


def _is_open_to_look(web: Mapping[str, Any]) -> bool:
    """Say whether a page needs no token: only this machine's users come to it, and only look."""
    listen = web.get("listen")
    return not web.get("hosts") and isinstance(listen, str) and is_near(listen)


def _with_secret(
    values: dict[str, Any], env: Mapping[str, str], place: tuple[str, str], credentials: tuple[str, ...]
) -> dict[str, Any]:
    """Fill a secret in that the environment did not give: a credential, else the file named for it."""
    section, name = place
    table = values.get(section, {})
    if not isinstance(table, dict) or name in table:
        return values
    found = _credential(env, credentials)
    file = table.get(f"{name}_file")
    if found is None and isinstance(file, str):
        try:
            found = _first_word(Path(file))
        except OSError as error:
            message = f"names a file that cannot be read: {os.strerror(error.errno or 0)}"
            raise ValueError((section, f"{name}_file"), message) from None
    return values if found is None else {**values, section: {**table, name: found}}


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
    """Read a key from a file; what surrounds it is white space."""
    fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as stream:
        return stream.read(65_536).decode("utf-8", "replace").strip().removeprefix("\ufeff")
