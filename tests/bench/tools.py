"""The contestants: clipspool, and what people would use instead, each over a bay of its own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from bench import clips
from repository import PEERS as LIBRARIES

PEERS = Path(__file__).with_name("peers")
NODE_RED = LIBRARIES.with_name("node-red")
POLL_SECONDS = 5.0
SETTLE_SECONDS = 0.2
OURS = "clipspool"

CONFIG = """\
[provider]
base_url = "{base_url}"
poll_seconds_min = {poll_seconds}
polls_per_second_max = 10000
running_max = {running_max}
inline_bytes_max = 40_000_000
{provider}

[budget]
submissions_per_day = 10_000_000

[journal]
path = "{home}/state/journal.sqlite3"

[logs]
format = "json"
"""
INBOX = """
[[inbox]]
name = "{name}"
path = "{inbox}"
outbox = "{outbox}"
settle_seconds = {settle_seconds}
rescan_seconds = 30
"""


class TooLateError(Exception):
    """What was waited for did not happen."""


def until(is_so, seconds, what, pause=0.05):
    """Wait for something; raises TooLateError."""
    end = time.monotonic() + seconds
    while not (found := is_so()):
        if time.monotonic() > end:
            raise TooLateError(f"not within {seconds:g} s: {what}")
        time.sleep(pause)
    return found


class Bay:
    """An inbox, an outbox and a place for finished sources, below one folder."""

    def __init__(self, home):
        self.home = home
        self.inbox, self.outbox, self.done = home / "inbox", home / "outbox", home / "done"
        for folder in (self.inbox, self.outbox, self.done):
            folder.mkdir(parents=True)

    def make(self, count, size, first=0):
        return clips.make(self.home / "made", count, size, first)

    def results(self):
        """Return when each result got its final name, by the clip's number (Unix seconds)."""
        found = {}
        with os.scandir(self.outbox) as entries:
            for entry in entries:
                if entry.name.endswith(".mp4"):
                    with suppress(OSError):
                        found[clips.number_of(entry.name.removesuffix(".mp4"))] = entry.stat().st_ctime
        return found

    def has_results(self, count):
        with os.scandir(self.outbox) as entries:
            return sum(entry.name.endswith(".mp4") for entry in entries) >= count


class Tool:
    """One contestant over one bay, as a process of its own."""

    name = ""
    ready = "ready"

    def __init__(self, bay, provider, *, poll_seconds=POLL_SECONDS, settle_seconds=SETTLE_SECONDS):
        self.bay, self.provider = bay, provider
        self.poll_seconds, self.settle_seconds = poll_seconds, settle_seconds
        self.log = bay.home / "log"
        self.process = None

    def command(self):
        raise NotImplementedError

    def env(self):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CLIPSPOOL_")}
        return {**kept, "PYTHONPATH": str(LIBRARIES), "PYTHONUNBUFFERED": "1"}

    def start(self):
        begun = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                env=self.env(),
                stdout=log,
                stderr=log,
                cwd=self.bay.home,
                start_new_session=True,
            )
        until(lambda: self.ready.encode() in self.log.read_bytes()[begun:], 60, f"{self.name} starts")
        return self

    def kill(self):
        """End it and all it started at once, as a power cut would."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


class Clipspool(Tool):
    """Ours."""

    name = OURS
    ready = '"event": "started"'

    def __init__(self, bay, provider, *, running_max=1000, keys="", inboxes=(), **figures):
        super().__init__(bay, provider, **figures)
        config = CONFIG.format(
            base_url=provider.base_url,
            poll_seconds=self.poll_seconds,
            running_max=running_max,
            home=bay.home,
            provider=keys,
        )
        for name, inbox, outbox in inboxes or [("bay", bay.inbox, bay.outbox)]:
            config += INBOX.format(name=name, inbox=inbox, outbox=outbox, settle_seconds=self.settle_seconds)
        self.config = bay.home / "config.toml"
        self.config.write_text(config)

    def command(self):
        return self.arguments("run")

    def arguments(self, name, *rest):
        return [sys.executable, "-m", "clipspool", name, "-c", str(self.config), *rest]

    def env(self):
        return {**super().env(), "PYTHONPATH": "", "CLIPSPOOL_PROVIDER__API_KEY": "key_0"}

    def call(self, name, *rest):
        """Run a command to its end and give what it says."""
        done = subprocess.run(
            self.arguments(name, *rest), env=self.env(), capture_output=True, text=True, check=False
        )
        return done.stdout

    def told(self, name, *rest):
        """Run a command with --json and read its lines."""
        return [json.loads(line) for line in self.call(name, *rest, "--json").splitlines()]


class SdkScript(Tool):
    """A script on the official SDK: watchdog, a thread a clip, `wait_for_task_output`."""

    name = "SDK script"

    def command(self):
        return [
            *(sys.executable, str(PEERS / "sdk_script.py")),
            *map(str, (self.bay.inbox, self.bay.outbox, self.bay.done, self.provider.origin)),
            *(f"--poll-seconds={self.poll_seconds}", f"--settle-seconds={self.settle_seconds}"),
        ]


class Huey(Tool):
    """A queue that survives a crash, with the SDK in its tasks."""

    name = "huey"

    def command(self):
        return [
            *(sys.executable, str(PEERS / "huey_tasks.py")),
            *map(str, (self.bay.inbox, self.bay.outbox, self.bay.done, self.provider.origin)),
            *(f"--poll-seconds={self.poll_seconds}", f"--settle-seconds={self.settle_seconds}"),
            f"--queue={self.bay.home / 'huey.db'}",
        ]


class Bash(Tool):
    """Debian's inotifywait, curl and jq, a background job a clip."""

    name = "inotifywait"

    def command(self):
        places = (self.bay.inbox, self.bay.outbox, self.bay.done, self.provider.origin)
        return ["bash", *map(str, (PEERS / "inotify.sh", *places, self.poll_seconds, self.settle_seconds))]


class NodeRed(Tool):
    """A flow of Node-RED: watch, http request and function nodes."""

    name = "Node-RED"
    ready = "Started flows"

    def command(self):
        folder = PEERS / "node-red"
        return [
            *("node", str(NODE_RED / "node_modules/node-red/red.js")),
            *("--userDir", str(self.bay.home / "node-red"), "--settings", str(folder / "settings.js")),
            str(folder / "flow.json"),
        ]

    def env(self):
        bay = self.bay
        places = {"INBOX": bay.inbox, "OUTBOX": bay.outbox, "DONE": bay.done, "ORIGIN": self.provider.origin}
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        figures = {"POLL_SECONDS": self.poll_seconds, "SETTLE_SECONDS": self.settle_seconds, "PORT": port}
        return {**super().env(), **{name: str(value) for name, value in (places | figures).items()}}


PEERS_OF_CLIPS = (SdkScript, Bash, Huey, NodeRed)


@contextmanager
def run(kind, home, provider, **figures):
    """Run a contestant in a new bay; it is ended, and the bay removed."""
    bay = Bay(home)
    tool = kind(bay, provider, **figures)
    try:
        yield tool.start()
    except Exception:
        print(tool.log.read_text(errors="replace")[-3000:], file=sys.stderr)
        raise
    finally:
        tool.kill()
        shutil.rmtree(home, ignore_errors=True)
