"""A bay for journeys: folders, the stand-in of the provider, and the real command as a subprocess."""

import contextlib
import hashlib
import json
import os
import re
import signal
import sqlite3
import struct
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import tomli_w

from clipspool.spool.peers import SILENT_SECONDS
from journeys import preforked
from journeys.preforked import Preforked
from patience import patient
from runway_sandbox import Options, Render, serve
from runway_sandbox.render import sample

KEY = "canary-4f1d-never-shown"
ENDED = {"delivered", "failed", "cancelled"}
COMMAND = [sys.executable, "-m", "clipspool"]

CONFIG = """\
[provider]
base_url = "{base_url}"
poll_seconds_min = 0.05
poll_seconds_max = 0.2
{provider}

[journal]
path = "{journal}"
{url}

[logs]
format = "json"

{top}

[[inbox]]
name = "bay"
path = "{inbox}"
outbox = "{outbox}"
settle_seconds = 0.1
rescan_seconds = 1.0
{keys}
"""


def make_clip(path, name):
    """Return a small real MP4 of its own for each name: a `free` box at the end carries it."""
    if not path.exists():
        sample(path, seconds=0.25, width=160, height=90)
    body = name.encode("utf-8", "surrogateescape")
    return path.read_bytes() + struct.pack(">I4s", 8 + len(body), b"free") + body


def is_heard_late(env):
    """Whether these variables mean something to the command alone, and not to Python before it begins."""
    return all(
        re.fullmatch(r"CLIPSPOOL_.*|HOME|PYTHONPATH|XDG_.*|.*_DIRECTORY|NOTIFY_SOCKET|WATCHDOG_.*", name)
        for name in env
    )


class TooLateError(AssertionError):
    pass


class Bay:
    """One inbox with its outbox, journal, stand-in and daemon, below one folder."""

    def __init__(self, home, box, template, ledger):
        self.home, self.box, self.template, self.ledger = home, box, template, ledger
        self.inbox, self.outbox = home / "bay", home / "results"
        self.journal = home / "state" / "journal.sqlite3"
        self.config = home / "config.toml"
        self.database = None
        """The server and schema of the PostgreSQL that the journal is in; None: it is in its file."""
        self.log = home / "daemon.log"
        self.base_url = box.base_url
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("CLIPSPOOL_")}
        self.env |= {"CLIPSPOOL_PROVIDER__API_KEY": KEY, "PYTHONUNBUFFERED": "1"}
        self.secrets = [KEY]
        self.dropped = {}
        self.daemon = None
        self.is_checked, self.is_alone = True, True
        self.consents = 0
        self.deletes_sources = False
        self.foreign, self.taken_away, self.may_tell = set(), set(), set()
        self.inbox.mkdir(parents=True)
        self.outbox.mkdir()
        self.beyond = home / "beyond"
        self.beyond.mkdir()
        (self.beyond / "precious.mp4").write_bytes(b"nobody may touch this")
        self.configure()

    def configure(self, *, provider="", top="", keys="", **places):
        named = {"base_url": self.base_url, "journal": self.journal, "inbox": self.inbox} | places
        named.setdefault("outbox", self.outbox)
        url = "" if self.database is None else f'url = "{self.database[0].url(self.database[1])}"'
        self.config.write_text(CONFIG.format(url=url, provider=provider, top=top, keys=keys, **named))

    # --- what an editor does ----------------------------------------------------------------------------

    def drop(self, name="shot.mp4", sidecar='prompt = "deep winter"\n', data=None):
        """Drop a sidecar and then its clip, the clip by rename; None drops no sidecar."""
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = make_clip(self.template, name) if data is None else data
        if sidecar is not None:
            path.with_suffix(".toml").write_text(sidecar)
        part = path.parent / f".{hashlib.sha1(os.fsencode(name)).hexdigest()[:8]}.part"
        part.write_bytes(data)
        part.rename(path)
        self.dropped[hashlib.sha256(data).hexdigest()] = name
        return path

    def write(self, name, text):
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    # --- the daemon -------------------------------------------------------------------------------------

    def start(self, *arguments, wait=True, before=(), **env):
        begun = self.log.stat().st_size if self.log.exists() else 0
        words = ["run", "-c", str(self.config), *arguments]
        with self.log.open("ab") as log:
            places = {"env": self.env | env, "stdout": log, "stderr": log, "cwd": self.home}
            if before or not is_heard_late(env):
                self.daemon = subprocess.Popen([*before, *COMMAND, *words], **places)
            else:
                self.daemon = Preforked(words, **places)
        if wait:
            self.until(lambda: b'"event": "started"' in self.log.read_bytes()[begun:], 20, "it starts")
        return self.daemon

    def stop(self, number=signal.SIGTERM, seconds=30):
        daemon, self.daemon = self.daemon, None
        if daemon is None:
            return None
        if daemon.poll() is None:
            daemon.send_signal(number)
        try:
            return daemon.wait(patient(seconds))
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
            raise

    def run_until_idle(self, seconds=30, **env):
        self.start("--until-idle", wait=False, **env)
        code = self.daemon.wait(patient(seconds))
        self.daemon = None
        return code

    def call(self, *arguments, config=True, **env):
        """Run a command to its end."""
        name, *rest = arguments
        words = [name, *(["-c", str(self.config)] if config else []), *rest]
        begin = Preforked if is_heard_late(env) else subprocess.Popen
        words = words if begin is Preforked else [*COMMAND, *words]
        return preforked.run(words, patient(60), begin=begin, env=self.env | env, cwd=self.home)

    def told(self, *arguments):
        """Run a command with --json and read what it says."""
        done = self.call(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        if arguments[0] == "jobs":
            return [json.loads(line) for line in done.stdout.splitlines()]
        return json.loads(done.stdout)

    # --- looking ----------------------------------------------------------------------------------------

    def until(self, is_so, seconds=15, what="it happens"):
        end = time.monotonic() + patient(seconds)
        asked = time.monotonic()
        while not (found := is_so()):
            if time.monotonic() > end:
                raise TooLateError(f"not within {patient(seconds):g} s: {what}\n{self.lately()}")
            if self.daemon is not None and self.daemon.poll() is not None and not is_so():
                raise TooLateError(f"the daemon ended before: {what}\n{self.lately()}")
            # What is asked by commands, say, must not keep the processor from what is waited for.
            time.sleep(min(max(0.02, time.monotonic() - asked), 0.5))
            asked = time.monotonic()
        return found

    def lately(self):
        log = self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""
        files = "\n".join(sorted(str(p.relative_to(self.home)) for p in self.home.rglob("*")))
        return f"{self.jobs()}\n{log}\n{files}"

    def move_to(self, server, schema):
        """Keep the journal in an empty schema of a PostgreSQL."""
        server.schema(schema)
        self.database = (server, schema)
        self.configure()

    def query(self, statement, *values):
        if self.database is not None:
            server, schema = self.database
            return server.query(schema, statement.replace("?", "%s"), values)
        if not self.journal.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True)) as journal:
            journal.row_factory = sqlite3.Row
            try:
                return [dict(row) for row in journal.execute(statement, values)]
            except sqlite3.OperationalError:
                return []

    def jobs(self):
        """Give each job's state by id."""
        return {row["id"]: row["state"] for row in self.query("SELECT id, state FROM jobs ORDER BY id")}

    def job(self):
        """Return the one job there is."""
        (job,) = self.query("SELECT * FROM jobs")
        return job

    def until_states(self, *states, seconds=15):
        """Wait until the jobs are in these states, in any order."""
        wanted = sorted(states)
        self.until(lambda: sorted(self.jobs().values()) == wanted, seconds, f"jobs are {wanted}")

    def until_retired(self, count=1, seconds=20):
        self.until(
            lambda: len(self.query("SELECT 1 FROM clips WHERE retired_at IS NOT NULL")) == count,
            seconds,
            f"{count} clips retired",
        )

    def until_swept(self, seconds=20):
        """Wait until no work folder is left; they go after the journal says that their clips are retired."""
        work = self.inbox / ".clipspool" / "work"
        self.until(lambda: not list(work.iterdir()), seconds, "all work folders are removed")

    def results(self):
        return sorted(str(p.relative_to(self.outbox)) for p in self.outbox.rglob("*") if p.is_file())

    def lying(self):
        """Name every file in the inbox that is not ours; folders may vanish meanwhile."""
        found = []
        for folder, folders, names in os.walk(self.inbox):
            folders[:] = [name for name in folders if name != ".clipspool"]
            found += [str(Path(folder, name).relative_to(self.inbox)) for name in names]
        return sorted(found)

    def events(self, name=None):
        written = self.log.read_text(errors="replace") if self.log.exists() else ""
        lines = written.rpartition("\n")[0].splitlines()  # the last line may still be on its way
        told = [json.loads(line) for line in lines if line.startswith("{")]
        return [one for one in told if name is None or one["event"] == name]

    @property
    def paid(self):
        """Count the paid creates, by the stand-in's own ledger."""
        return len(self.box.ledger.creates)


@contextlib.contextmanager
def open_bay(home, template, **options):
    """Make a bay with a stand-in of its own; its daemon is ended with it."""
    home.mkdir(parents=True, exist_ok=True)
    ledger = home / "ledger.jsonl"
    chosen = {"render": Render.CANNED, "render_seconds": 0.0, "ledger": ledger} | options
    with serve(Options(**chosen)) as box:
        bay = Bay(home, box, template, ledger)
        try:
            yield bay
        finally:
            if bay.daemon is not None:
                bay.daemon.kill()
                bay.daemon.wait()


def beside(one, name="two"):
    """Make another daemon on the same inbox and outbox, with a journal of its own."""
    two = object.__new__(type(one))
    two.__dict__ |= one.__dict__ | {
        "config": one.home / f"{name}.toml",
        "journal": one.home / f"state-{name}" / "journal.sqlite3",
        "log": one.home / f"{name}.log",
        "daemon": None,
    }
    return two


def make_silent(two, journal):
    """Make the mark of a daemon look as if a machine had left it that nobody has heard of for long."""
    mark = two.inbox / f".clipspool/daemons/{journal}.toml"
    told = tomllib.loads(mark.read_text()) | {"boot": "another machine", "place": "elsewhere"}
    mark.write_text(tomli_w.dumps(told))
    at = mark.stat().st_mtime - SILENT_SECONDS - 1
    os.utime(mark, (at, at))


def journal_id(bay):
    """Return the identity of a bay's journal."""
    (row,) = bay.query("SELECT value FROM facts WHERE name = 'id'")
    return json.loads(row["value"])
