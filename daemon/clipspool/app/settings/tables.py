"""The base of all tables of the settings, and the kinds of values that several of them use."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

YEAR_SECONDS = 366 * 86400.0
_MAPPED_MAX = 200
_PATH_MAX = 1000
_LIST_MAX = 200


def no_truth(value: Any) -> Any:
    """Refuse true and false, which pydantic would read as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")  # noqa: TRY004 - pydantic hears ValueError only
    return value


def form(pattern: str, words: str) -> AfterValidator:
    """Accept text of this form alone; `words` describe it."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(f"must be {words}")
        return value

    return AfterValidator(check)


def path(value: Path) -> Path:
    """Refuse a path that names no file or folder."""
    if "\0" in str(value) or str(value) in {"", "."}:
        raise ValueError("must name a file or folder")
    return value


def public_address(
    value: str, example: str = "https://api.cometapi.com/runwayml/v1", *, is_public: bool = True
) -> str:
    """Check an address without ever repeating it: it may hold a password."""
    try:
        url = urlsplit(value)
        host, port = url.hostname, url.port
    except ValueError:
        raise ValueError(f"must be an address such as {example}") from None
    if url.username is not None or url.password is not None:
        raise ValueError("must hold no user name or password; the key has its own place")
    if "?" in value or "#" in value:
        raise ValueError("must end with its path, without ? or #")
    if not host or port == 0 or not is_plain(value):
        raise ValueError(f"must be an address such as {example}")
    is_loopback, is_private = nearness(host)
    if is_public and url.scheme == "https" and is_private and not is_loopback:
        raise ValueError("must lead to a public host, or to this machine's loopback")
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback):
        raise ValueError("must begin with https:// (http:// is for loopback)")
    return value.rstrip("/")


JOURNAL_KEY_PLACES = (
    "name a file of passwords in PGPASSFILE, set CLIPSPOOL_JOURNAL__PASSWORD, or give a systemd credential "
    "named journal_password"
)


def database_address(value: str) -> str:
    """Check the address of a PostgreSQL without ever repeating it: it may hold a password."""
    example = "postgresql://db.example/clipspool, with USER@ before the host"  # a whole one would be redacted
    try:
        url = urlsplit(value)
        has_password = url.password is not None or "password" in parse_qs(url.query)
    except ValueError:
        raise ValueError(f"must be an address such as {example}") from None
    if has_password:
        raise ValueError(
            f"must hold no password; {JOURNAL_KEY_PLACES}; and change it: others may have read it"
        )
    if url.scheme not in {"postgresql", "postgres"} or not is_plain(value):
        raise ValueError(f"must be an address such as {example}")
    return value


def is_plain(address: str) -> bool:
    """Whether an address holds only characters that no program reads in two ways."""
    return address.isascii() and address.isprintable() and not set(address) & {" ", "\\"}


def nearness(host: str) -> tuple[bool, bool]:
    """Return whether a host is loopback, and whether it is an address that is not public."""
    if host == "localhost" or host.endswith(".localhost"):
        return True, True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False, False
    return address.is_loopback, not address.is_global


def secret(value: SecretStr, least: int = 4) -> SecretStr:
    """Refuse text that cannot be a key, without repeating it."""
    if not re.fullmatch(f"[!-~]{{{least},4096}}", value.get_secret_value()):
        raise ValueError(f"must be {least} to 4096 printable ASCII characters without spaces")
    return value


def _word(value: str) -> str:
    if not value or "\0" in value or len(value) > _PATH_MAX:
        raise ValueError(f"must be a word of a command, 1 to {_PATH_MAX} characters")
    return value


def _at_most(value: Any) -> Any:
    if isinstance(value, list | tuple) and len(value) > _LIST_MAX:
        raise ValueError(f"has more than {_LIST_MAX} entries")
    return value


def _at_least_one(value: Any) -> Any:
    if value in ([], ()):
        raise ValueError("must have at least one entry")
    return value


Number = BeforeValidator(no_truth)
Seconds = Annotated[float, Field(gt=0, le=YEAR_SECONDS, allow_inf_nan=False), Number]
Days = Annotated[float, Field(ge=0, le=36_600, allow_inf_nan=False), Number]
Credits = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False), Number]
Word = Annotated[str, AfterValidator(_word)]
AnyPath = Annotated[Path, AfterValidator(path)]
# Checked before the entries: pydantic would count a wrong entry as a missing one.
few = BeforeValidator(_at_most)
some = BeforeValidator(lambda value: _at_least_one(_at_most(value)))
Keys = Mapping[str, Any]


class SettingsTable(BaseModel):
    """A table of the configuration: strict, and never changed once read."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def path_map(value: Mapping[str, str]) -> Mapping[str, str]:
    """Refuse entries without an absolute folder here and a name there."""
    if len(value) > _MAPPED_MAX:
        raise ValueError(f"has more than {_MAPPED_MAX} entries")
    for here, there in value.items():
        if not here.startswith("/") or here.strip("/") == "" or not here.isprintable():
            raise ValueError('must have absolute folders of this machine on the left: "/mnt/nas/bay-1"')
        if not 0 < len(there) <= _PATH_MAX or not there.isprintable():
            raise ValueError(r"must have what editors call the folder on the right: 'Z:\bay-1'")
    return value


PathMap = Annotated[Mapping[str, str], AfterValidator(path_map)]
