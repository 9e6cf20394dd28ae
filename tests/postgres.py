"""One real PostgreSQL for all tests of a session, its workers included: Debian's, started when first needed.

Each test has a schema of its own in it. It does not sync, so nothing here shows what a power cut does.
"""

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from clipspool.journal import Address

BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=None)
REPLICATED = {"wal_level": "replica", "max_wal_senders": "4", "hot_standby": "on"}
QUICK = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "16MB",
    "max_connections": "200",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


class Server:
    """A cluster in a folder, reached by a socket in it; run by `postgres` where we are root."""

    def __init__(self, folder, settings=QUICK, port=None):
        self.folder, self.settings, self.port = folder, dict(settings), port
        self.data = folder / "data"
        self.user = {"user": "postgres", "group": "postgres", "extra_groups": ()} if os.geteuid() == 0 else {}

    def make(self):
        """Make the cluster."""
        self.folder.mkdir(0o755, parents=True, exist_ok=True)
        if self.user:
            shutil.chown(self.folder, *(pwd.getpwnam("postgres")[2:4]))
        self._run("initdb", "--no-sync", "--no-locale", "-E", "UTF8", "-A", "trust", "-U", "clipspool")

    def make_of(self, primary):
        """Make a replica of a server that runs."""
        self.folder.mkdir(0o755, parents=True, exist_ok=True)
        if self.user:
            shutil.chown(self.folder, *(pwd.getpwnam("postgres")[2:4]))
        self._run("pg_basebackup", "-h", str(primary.folder), "-U", "clipspool", "-c", "fast", "-R", "-N")

    def promote(self):
        """Make a replica the primary."""
        self._run("pg_ctl", "promote", "-w", "-s")

    def start(self):
        """Start the server, and wait until it answers."""
        settings = {"listen_addresses": "", "unix_socket_directories": str(self.folder), **self.settings}
        if self.port:
            settings |= {"listen_addresses": "127.0.0.1", "port": str(self.port)}
        words = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        self._run("pg_ctl", "start", "-w", "-s", "-l", str(self.folder / "log"), "-o", words)

    def stop(self, how="immediate"):
        """Stop it: `immediate` ends all connections and writes nothing, `fast` shuts it down."""
        self._run("pg_ctl", "stop", "-w", "-s", "-m", how)

    @property
    def postmaster(self):
        """Its process id; None where it does not run."""
        try:
            number = int((self.data / "postmaster.pid").read_text().split()[0])
            os.kill(number, 0)
        except (OSError, ValueError, IndexError):
            return None
        return number

    def _run(self, program, *arguments):
        subprocess.run(
            [BIN / program, "-D", self.data, *arguments],
            check=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            **self.user,
        )

    def url(self, schema="public"):
        """Return the address of a schema; its connections have its name."""
        words = f"host={self.folder}&options=-csearch_path%3D{schema}&application_name={schema}"
        return f"postgresql://clipspool@/postgres?{words}" + (f"&port={self.port}" if self.port else "")

    def connect(self, schema="public"):
        """Connect to it beside all that is tested."""
        return psycopg.connect(self.url(schema), autocommit=True)

    def end_connections(self, schema):
        """End all connections that use a schema."""
        with self.connect() as beside:
            ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
            return beside.execute(ended, [schema]).rowcount

    def kill(self):
        """End the postmaster by kill -9, and wait until its children are gone."""
        number = self.postmaster
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
        os.kill(number, signal.SIGKILL)
        while any(Path("/proc", child).exists() for child in children):
            time.sleep(0.02)

    def query(self, schema, statement, values=()):
        """Ask for rows as dictionaries; none where the tables are not there yet, or nothing answers."""
        try:
            with self.connect(schema) as connection:
                return connection.cursor(row_factory=dict_row).execute(statement, values).fetchall()
        except (psycopg.errors.UndefinedTable, psycopg.OperationalError):
            return []

    @property
    def _where(self):
        return ("-h", self.folder, *(("-p", str(self.port)) if self.port else ()), "-U", "clipspool")

    def dump(self, schema):
        """Back a schema up."""
        command = [BIN / "pg_dump", *self._where, "-n", schema, "postgres"]
        return subprocess.run(command, check=True, capture_output=True).stdout

    def restore(self, schema, dump):
        """Put a backup in a schema's place."""
        with self.connect() as connection:
            connection.execute(f"DROP SCHEMA {schema} CASCADE")
        command = [BIN / "psql", *self._where, "-q", "-v", "ON_ERROR_STOP=1", "postgres"]
        subprocess.run(command, input=dump, check=True, stdout=subprocess.DEVNULL)

    def schema(self, name):
        """Make a schema, empty, and give its address."""
        with self.connect() as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
            connection.execute(f"CREATE SCHEMA {name}")
        return Address(self.url(name))


class _Shared:
    """The server of this session, and the lock that each worker shares while it uses it."""

    server = None
    using = None


def shared():
    """Return the session's server; the first worker that needs it starts it."""
    if _Shared.server is None:
        name = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid())
        server = Server(Path(tempfile.gettempdir(), f"clipspool-pg-{name[:12]}"))
        with _alone(server):
            if server.postmaster is None:
                shutil.rmtree(server.folder, ignore_errors=True)
                server.make()
                server.start()
            _Shared.using = Path(f"{server.folder}.using").open("w")  # noqa: SIM115 - held until `release`
            fcntl.flock(_Shared.using, fcntl.LOCK_SH)
        _Shared.server = server
    return _Shared.server


def release():
    """Stop the session's server, unless another worker still uses it."""
    server = _Shared.server
    if server is None:
        return
    with _alone(server) as starting, suppress(BlockingIOError), _Shared.using as using:
        fcntl.flock(using, fcntl.LOCK_EX | fcntl.LOCK_NB)
        server.stop()
        shutil.rmtree(server.folder)
        for lock in (using, starting):
            Path(lock.name).unlink()


@contextmanager
def _alone(server):
    """Start or stop a server while no other worker does."""
    with Path(f"{server.folder}.starting").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
