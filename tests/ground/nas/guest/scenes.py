"""What is tried on a share that two clients mount: `home` is a folder as its server has it."""

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from runway_sandbox import Options, Render, serve
from runway_sandbox.render import sample

GAPS = (0.0, 0.01, 0.1)
CLIPS = 25
SPOOL = [sys.executable, "-m", "clipspool"]
RESCAN_SECONDS = {"a": 2.0, "b": 1.5, "c": 1.5}
"""Unequal, so that sometimes one client sees a clip first and sometimes the other."""
CONFIG = """\
[provider]
base_url = "{base_url}"
poll_seconds_min = 0.5
poll_seconds_max = 2
running_max = {running_max}
{provider}
[journal]
path = "{journal}"
{farm}
[logs]
format = "json"
[[inbox]]
name = "bay"
path = "{inbox}"
outbox = "{outbox}"
settle_seconds = 0.5
rescan_seconds = {rescan}
status_file = true
"""


# --- claims ---------------------------------------------------------------------------------------------


def claims(home, name, asked):
    """Have two clients claim the same clips, one of them so much later."""
    told = {"clips": CLIPS}
    for gap in GAPS:
        inbox = home / f"gap-{int(gap * 1000)}"
        inbox.mkdir(parents=True)
        for number in range(CLIPS):
            (inbox / f"c{number:02}.mp4").write_bytes(b"clip %d" % number)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            barrier = time.time() + 1.5
            work = [
                (f"/mnt/{client}/{name}/{inbox.name}", client, barrier, gap * (client == "b"))
                for client in "ab"
            ]
            won = pool.starmap(_claim_all, work)
        lying = [path.parent.name for path in (inbox / ".clipspool/work").glob("*/clip.mp4")]
        held = [sum(one[1:] == f"{number:02}" for one in lying) for number in range(CLIPS)]
        both = len(set(won[0]) & set(won[1]))
        told[f"{int(gap * 1000)}"] = {
            "believed_by_both": both,
            "believed_by_none": CLIPS - len(set(won[0]) | set(won[1])),
            "in_both": sum(count > 1 for count in held),
            "lost": sum(not count and not (inbox / f"c{n:02}.mp4").exists() for n, count in enumerate(held)),
        }
    return told


def _claim_all(inbox, client, begin, late):
    from clipspool.jobs.model import Clip, Job, Request
    from clipspool.spool.root import Root
    from clipspool.spool.workfolder import Manifest

    root, won = Root(Path(inbox)), []
    os.listdir(inbox)
    for number in range(CLIPS):
        path = f"c{number:02}.mp4"
        there = None
        with contextlib.suppress(OSError):  # the other client may have it already
            there = root.stat(path)
        clip_id = f"{client}{number:02}"
        clip = Clip(
            clip_id,
            "bay",
            path,
            None,
            "clip.mp4",
            there.st_size if there else 7,
            there.st_mtime_ns if there else 1,
            1.0,
            media={},
        )
        job = Job(
            clip_id,
            clip_id,
            "bay",
            "",
            Request("x", "gen4_aleph", 1),
            created_at=1.0,
            updated_at=1.0,
            due_at=1.0,
        )

        def wait(until=begin + number * 0.4 + late):
            while time.time() < until:
                time.sleep(0.0005)

        with contextlib.suppress(OSError):
            _claim(root, Manifest(clip, (job,), client), wait)
            won.append(number)
    return won


def _claim(root, manifest, look_last):
    try:
        from clipspool.spool.claims import ClaimCalls, claim
    except ModuleNotFoundError:  # version 0.1
        from clipspool.spool.workfolder import claim

        claim(root, manifest, look_last=look_last)
    else:
        claim(root, manifest, way=ClaimCalls(look_last))


# --- daemons --------------------------------------------------------------------------------------------


class Node:
    """A daemon with a journal of its own, on one of the clients."""

    def __init__(self, client, name, base_url, provider="", *, farm="", running_max=30):
        self.home = Path(f"/tmp/{name}-{client}")
        self.home.mkdir()
        self.journal, self.config = self.home / "j.db", self.home / "c.toml"
        place = Path(f"/mnt/{client}/{name}")
        self.inbox, self.outbox = place / "in", place / "out"
        self.config.write_text(
            CONFIG.format(
                base_url=base_url,
                journal=self.journal,
                inbox=self.inbox,
                outbox=self.outbox,
                provider=provider,
                farm=farm,
                running_max=running_max,
                rescan=RESCAN_SECONDS[client],
            )
        )
        self.env = os.environ | {"CLIPSPOOL_PROVIDER__API_KEY": "sk-x"}
        self.log = self.home / "log"
        self.daemon = None

    def start(self, *, is_awaited=True):
        with self.log.open("ab") as log:
            command = [*SPOOL, "run", "-c", str(self.config)]
            self.daemon = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)
        if is_awaited:
            try:
                until(lambda: b'"event": "started"' in self.log.read_bytes(), 240, "it starts")
            except TimeoutError as error:
                raise TimeoutError(f"{error}; its log ends: {self.log.read_text()[-2000:]}") from None

    def call(self, *arguments):
        name, *rest = arguments
        command = [*SPOOL, name, "-c", str(self.config), *rest]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=300, check=False)
        return {"code": done.returncode, "said": done.stdout + done.stderr}

    def jobs(self):
        if not self.journal.exists():
            return {}
        with contextlib.closing(sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True)) as journal:
            try:
                return dict(journal.execute("SELECT id, state FROM jobs"))
            except sqlite3.OperationalError:
                return {}

    def journal_id(self):
        with contextlib.closing(sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True)) as journal:
            (told,) = journal.execute("SELECT value FROM facts WHERE name = 'id'").fetchone()
        return json.loads(told)

    def kill(self, number=signal.SIGKILL):
        self.daemon.send_signal(number)
        self.daemon.wait()

    def stop(self):
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.terminate()
            try:
                self.daemon.wait(90)
            except subprocess.TimeoutExpired:
                self.kill()


def until(is_so, seconds, what):
    end = time.monotonic() + seconds
    while not (found := is_so()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.2)
    return found


@contextlib.contextmanager
def two(home, name, provider="", **options):
    """Yield the stand-in and two daemons on one inbox, not yet started."""
    (home / "in").mkdir(parents=True)
    (home / "out").mkdir()
    ledger = Path(f"/tmp/{name}.jsonl")
    with serve(Options(**{"render": Render.ECHO, "render_seconds": 2.0, "ledger": ledger} | options)) as box:
        nodes = [Node(client, name, box.base_url, provider) for client in "ab"]
        try:
            yield box, nodes
        finally:
            for node in nodes:
                node.stop()


def drop(home, count, first=0):
    template = Path("/tmp/template.mp4")
    if not template.exists():
        sample(template, seconds=0.25, width=160, height=90)
    film = template.read_bytes()
    for number in range(first, first + count):
        tail = b"n%06d" % number
        (home / f"in/shot{number:03}.toml").write_text(f'prompt = "take {number}"\n')
        part = home / f"in/.shot{number:03}.part"
        part.write_bytes(film + (8 + len(tail)).to_bytes(4, "big") + b"free" + tail)
        part.rename(home / f"in/shot{number:03}.mp4")


def results(home):
    return sorted(path.name for path in (home / "out").rglob("*.mp4") if not path.name.startswith("."))


def told_of(home, box, nodes):
    films = [path for path in (home / "out").rglob("*.mp4") if not path.name.startswith(".")]
    return {
        "paid": len(box.ledger.creates),
        "results": len(films),
        "names": results(home),
        "broken": sorted(path.name for path in films if _digest(path) not in _sent(home)),
        "with_provenance": sum(path.with_name(path.name + ".toml").exists() for path in films),
        "done": len(list((home / "in/_done").rglob("*.mp4"))),
        "left_in_work": len(list((home / "in/.clipspool/work").glob("*/clip.*"))),
        "jobs": [_counts(node.jobs()) for node in nodes],
    }


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sent(home):
    """Return the digests of what the stand-in may have served: it plays each clip back as it came."""
    return {_digest(path) for path in (home / "in/_done").rglob("*.mp4")}


def _counts(jobs):
    return {state: list(jobs.values()).count(state) for state in sorted(set(jobs.values()))}


def journey(home, name, asked):
    """Have two daemons take what lies in one inbox."""
    count = asked["clips"]
    with two(home, name) as (box, nodes):
        for node in nodes:
            node.start()
        for number in range(count):
            drop(home, 1, first=number)
            time.sleep(0.5)
        with contextlib.suppress(TimeoutError):
            until(lambda: len(list((home / "in/_done").rglob("*.mp4"))) >= count, 420, "all is delivered")
        time.sleep(5)  # a second result of one clip would come now
        for node in nodes:
            node.stop()
        return told_of(home, box, nodes)


# --- take-over ------------------------------------------------------------------------------------------


def takeover(home, name, asked):
    """Kill one of two daemons half-way, see what the other says, and have it take over."""
    count = asked["clips"]
    with two(home, name, render_seconds=240.0) as (box, (a, b)):
        a.start()
        drop(home, count // 2)
        until(
            lambda: list(a.jobs().values()).count("running") == count // 2,
            240,
            "the first has the first half",
        )
        b.start()
        told = {"beside_a_living_one": b.call("recover", "--yes"), "its_jobs_after": _counts(a.jobs())}
        a_id = a.journal_id()
        told["from_a_living_one"] = b.call("recover", "--from", a_id, "--yes")
        a.kill()
        drop(home, count - count // 2, first=count // 2)
        began = time.monotonic()
        with contextlib.suppress(TimeoutError):
            until(lambda: b'"foreign_work_found"' in b.log.read_bytes(), 60, "the survivor says so")
            told["said_after"] = round(time.monotonic() - began, 1)
        told["status"] = b.call("status", "--json")["said"]
        # The file is written again once a minute: it says so a little later.
        with contextlib.suppress(TimeoutError):
            until(lambda: "until it runs again" in _status_files(home), 90, "the file says so")
        told["status_file"] = _status_files(home)
        told["recover"] = b.call("recover", "--from", a_id, "--yes")
        with contextlib.suppress(TimeoutError):
            until(lambda: len(list((home / "in/_done").rglob("*.mp4"))) >= count, 700, "all is delivered")
        a.start()
        with contextlib.suppress(TimeoutError):
            until(lambda: set(a.jobs().values()) == {"cancelled"}, 90, "the first lets go")
        a.stop()
        b.stop()
        return told | told_of(home, box, (a, b))


def _status_files(home):
    """Return the text of the inbox's status files, without line breaks."""
    return " ".join(" ".join(file.read_text().split()) for file in (home / "in").glob("_status*.txt"))


def seen(home, name, asked):
    """Take a clip over by one client, and see how soon the other's daemon would know."""
    from clipspool.spool.root import Root

    try:
        from clipspool.spool.handover import take_over, taker_of
    except ModuleNotFoundError:  # version 0.1
        from clipspool.spool.workfolder import take_over, taker_of

    home.mkdir(parents=True)
    a, b = (Root(Path(f"/mnt/{client}/{name}")) for client in "ab")
    (home / ".clipspool/work").mkdir(parents=True)
    worst = 0.0
    for number in range(3):
        clip = f"clip{number}"
        for _ in range(4):
            taker_of(a, clip, "ja")
            time.sleep(0.3)
        take_over(b, clip, "jb")
        began = time.monotonic()
        with contextlib.suppress(TimeoutError):
            until(lambda c=clip: taker_of(a, c, "ja"), 45, "it is seen")
        worst = max(worst, time.monotonic() - began)
    return {"seen_within": round(worst, 1)}
