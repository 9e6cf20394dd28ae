"""One real PostgreSQL for all tests of a session, its workers included: Debian's, started when first needed.

Each test has a schema of its own in it. It does not sync, so nothing here shows what a power cut does.
"""

import fcntl
import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import psycopg

from clipspool.journal import Address

BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=None)
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
        """Give the address of a schema."""
        return f"postgresql://clipspool@/postgres?host={self.folder}&options=-csearch_path%3D{schema}" + (
            f"&port={self.port}" if self.port else ""
        )

    def connect(self, schema="public"):
        """Connect to it beside all that is tested."""
        return psycopg.connect(self.url(schema), autocommit=True)

    def schema(self, name):
        """Make a schema, empty, and give its address."""
        with self.connect() as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
            connection.execute(f"CREATE SCHEMA {name}")
        return Address(self.url(name))


class _Shared:
    """The server of this session, and the lock that each worker shares while it uses it."""

    server = None
    lock = None


def shared():
    """Give the session's server; the first worker that needs it starts it."""
    if _Shared.server is None:
        name = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid())
        server = Server(Path(tempfile.gettempdir(), f"clipspool-pg-{name[:12]}"))
        _Shared.lock = Path(f"{server.folder}.lock").open("w")  # noqa: SIM115 - it is held until `release`
        fcntl.flock(_Shared.lock, fcntl.LOCK_EX)
        if server.postmaster is None:
            shutil.rmtree(server.folder, ignore_errors=True)
            server.make()
            server.start()
        fcntl.flock(_Shared.lock, fcntl.LOCK_SH)
        _Shared.server = server
    return _Shared.server


def release():
    """Stop the session's server, unless another worker still uses it."""
    if _Shared.server is None:
        return
    with suppress(BlockingIOError), _Shared.lock as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _Shared.server.stop()
        shutil.rmtree(_Shared.server.folder)
        Path(lock.name).unlink()
