"""Connects to the PostgreSQL that a journal is in, and tells what becomes of that in a sentence.

psycopg's errors become JournalError and JournalUnreachable here, where they arise.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.string import StrDumperUnknown

from clipspool.journal.database import Address
from clipspool.journal.files import JournalError, JournalUnreachable
from clipspool.system.process import closed_on_error

VERSION_MIN = 14
_CONNECTION: Mapping[str, str | int] = {
    "client_encoding": "UTF8",
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
"""What a url may say otherwise; without these a cut connection would be waited for during hours."""
_SESSION: Mapping[str, str] = {
    # The server notices within 11 s that this machine is gone, and gives up its locks.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}


class _Text(StrDumperUnknown):
    """Writes a string, and what PostgreSQL can't hold in one as an escape: NUL, halves of surrogate pairs."""

    def dump(self, obj: str) -> Any:
        try:
            return super().dump(obj)
        except (psycopg.DataError, UnicodeEncodeError):
            escaped = obj.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
            return super().dump(escaped)


def connect(
    address: Address, session: Mapping[str, str] = MappingProxyType({}), *, target: str = "read-write"
) -> psycopg.Connection:
    """Connect, every statement a transaction of its own; raises JournalUnreachable and JournalError.

    `session` holds settings of the server for this connection.
    """
    conninfo = conninfo_of(address, target=target)
    with translated(address):
        connection = psycopg.connect(conninfo, autocommit=True)
        with closed_on_error(connection):
            connection.adapters.register_dumper(str, _Text)
            connection.prepare_threshold = 2
            settings = [(key, value, False) for key, value in {**_SESSION, **session}.items()]
            connection.cursor().executemany(b"SELECT set_config(%s, %s, %s)", settings)
    return connection


def conninfo_of(address: Address, *, target: str = "read-write") -> str:
    """Return an address as libpq takes it, its password in it; raises JournalError.

    `target` is libpq's `target_session_attrs`, which finds the primary where a url names several servers.
    """
    name = f"clipspool on {socket.gethostname()}"[:63]
    try:
        given = conninfo_to_dict(address.url)
    except psycopg.ProgrammingError as error:
        raise JournalError(f"The journal's url {address} cannot be used ({_line(error)}).") from None
    secret = {} if address.password is None else {"password": address.password}
    defaults = {**_CONNECTION, "application_name": name, "target_session_attrs": target}
    return make_conninfo("", **{**defaults, **given, **secret})


@dataclass(frozen=True, slots=True)
class Condition:
    """How safely a server keeps what it acknowledges, and what it may do."""

    version: str
    settings: Mapping[str, str]
    """The values of `SETTINGS`."""
    replicas: int
    """How many servers follow this one now."""
    schema: str | None
    """The number of the journal's schema; None where there is no journal yet."""
    may_create: bool = True
    """Whether this user may make tables."""


SETTINGS = ("fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names")


def condition_of(address: Address) -> Condition:
    """Ask a server for what it does; raises JournalUnreachable and JournalError."""
    connection = connect(address)
    with translated(address), closing(connection):
        refuse_unfit(address, connection)
        rows = connection.execute(
            b"SELECT name, setting FROM pg_settings WHERE name = ANY (%s)", [list(SETTINGS)]
        )
        ((replicas,),) = connection.execute(b"SELECT count(*) FROM pg_stat_replication").fetchall()
        may_create = connection.execute(b"SELECT has_schema_privilege(current_schema(), 'CREATE')").fetchone()
        version = connection.info.server_version
        return Condition(
            f"{version // 10_000}.{version % 10_000}",
            dict(rows.fetchall()),
            replicas,
            number_of(connection),
            may_create == (True,),
        )


def refuse_unfit(address: Address, connection: psycopg.Connection) -> None:
    """Raise JournalError for a server that is too old, or a database that cannot hold every name."""
    version = connection.info.server_version
    if version < VERSION_MIN * 10_000:
        raise JournalError(
            f"The journal's server {address} is PostgreSQL {version // 10_000}, and clipspool needs "
            f"{VERSION_MIN} or newer."
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise JournalError(
            f"The database {address} is in {encoding}, which cannot hold every name; make one with "
            "`createdb --template=template0 --encoding=UTF8`."
        )


_HAS_JOURNAL = b"""SELECT FROM pg_catalog.pg_class
WHERE relname = 'journal_schema' AND relnamespace = current_schema()::regnamespace"""


def number_of(connection: psycopg.Connection) -> str | None:
    """Return the number of a journal's schema; None in a database that holds none."""
    # `to_regclass` answers from a cache that a wait for an advisory lock does not renew: a node that waited
    # while another made the tables would make them again.
    if connection.execute(_HAS_JOURNAL).fetchone() is None:
        return None
    found = connection.execute(b"SELECT number FROM journal_schema").fetchone()
    return None if found is None else str(found[0])


@contextmanager
def translated(address: Address) -> Iterator[None]:
    """Raise what the world did as JournalError; a bug in a statement or its values stays a bug."""
    try:
        yield
    except (psycopg.errors.DuplicatePreparedStatement, psycopg.errors.InvalidSqlStatementName) as error:
        raise JournalError(
            f"The journal in {address} is behind a pool that gives each transaction another connection "
            "(PgBouncer's transaction mode): name the server itself, or set the pool to session mode."
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise JournalError(f"The journal in {address} cannot be used ({_line(error)}).") from error
    except (psycopg.OperationalError, psycopg.InternalError) as error:
        raise JournalUnreachable(f"The journal in {address} does not answer ({_line(error)}).") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
