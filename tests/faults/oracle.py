"""The oracle: says from outside whether the invariants of FAULTS §2 hold, and shares no code with clipspool.

It reads the stand-in's ledger of paid tasks, the folders, the journal through sqlite3, and the logs.
"""

import contextlib
import hashlib
import json
import shutil
import sqlite3
import tempfile
import time
import tomllib
from collections import Counter, defaultdict
from pathlib import Path

LEGAL = {
    None: {"queued", "running", "in_doubt"},
    # A clip that is sent in parts runs without a request of its own.
    "queued": {"queued", "submitting", "in_doubt", "running", "fetched", "failed", "cancelled"},
    "submitting": {"submitting", "running", "queued", "failed", "in_doubt"},
    "in_doubt": {"in_doubt", "running", "queued", "cancelled"},
    "running": {"running", "rendered", "failed", "cancelled", "queued"},
    "rendered": {"rendered", "fetched", "failed", "cancelled", "queued", "running"},
    "fetched": {"fetched", "delivered", "rendered", "queued", "cancelled"},
    "delivered": set(),
    "failed": {"queued", "rendered", "running"},
    "cancelled": {"queued", "rendered", "running"},
}
SIZE_MAX = 200 << 20
REST_SECONDS = 5.0
ENDED = {"delivered", "failed", "cancelled"}


class Oracle:
    """Looks at one bay. `violations` gives sentences; none is the goal."""

    def __init__(self, bay):
        self.bay = bay
        self.found = []
        self._parts = {}

    def violations(self, *, at_rest=True):
        """Check everything; `at_rest` says that the faults are over and the daemon had its time.

        What it clears away once the journal has it, a moment after a clip has retired, gets `REST_SECONDS`.
        """
        end = time.monotonic() + REST_SECONDS
        while True:
            self._check(at_rest=at_rest)
            is_unrest = any(found.startswith(("I7:", "I10:")) for found in self.found)
            if not is_unrest or time.monotonic() > end:
                return self.found
            time.sleep(0.1)

    def _check(self, *, at_rest):
        self.found = []
        files = self._files()
        jobs, clips, tasks, events = self._journal()
        self._find_parts(jobs, clips, events)
        self._nothing_lost(files, clips, jobs)
        self._paid_once(jobs, clips, events)
        self._nothing_partial(jobs)
        self._source_until_durable(clips, jobs)
        self._tasks_known(jobs, tasks, clips)
        self._transitions(jobs, events)
        if at_rest:
            self._everything_ended(jobs, clips)
            self._nothing_left_over(jobs, clips)
        self._nothing_beyond()
        self._no_secrets()

    def _say(self, invariant, what):
        self.found.append(f"{invariant}: {what}")

    def ledger(self):
        """Return the creates that were paid for."""
        if not self.bay.ledger.exists():
            return []
        creates = [json.loads(line) for line in self.bay.ledger.read_text().splitlines()]
        made_of = self._made_of()
        if not self._parts:
            jobs, clips, _, events = self._journal()
            self._find_parts(jobs, clips, events)
        creates = [c | {"part": self._parts.get((c["sha256"], c["seed"]), ("", ""))} for c in creates]
        creates = [
            c | {"sha256": c["part"][0] or made_of.get(c["sha256"], c["sha256"]), "part": c["part"][1]}
            for c in creates
        ]
        return [c for c in creates if self.bay.is_alone or c["sha256"] in self.bay.dropped]

    def _find_parts(self, jobs, clips, events):
        """Find the clip and the job of each part that was made ready, by the bytes sent and the seed."""
        of_part = {job["id"]: job for job in jobs if job.get("part")}
        for event in events:
            job = of_part.get(event["job_id"])
            if job is not None and event["event"] == "prepared":
                sent, seed = json.loads(event["facts"])["sent_sha256"], json.loads(job["request"])["seed"]
                self._parts[sent, seed] = (clips[job["clip_id"]]["sha256"], job["id"])

    def _made_of(self):
        """Give, for what was made of a clip to fit its model, the clip: as provenance and papers tell."""
        made_of = {}
        papers = [*self.bay.outbox.rglob("*.toml"), *self.bay.inbox.glob(".clipspool/work/*/*.sent.toml")]
        for path in papers:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                told = tomllib.loads(path.read_text())
                if "result" in told and "sent_sha256" in told["result"]:
                    made_of[told["result"]["sent_sha256"]] = told["result"]["source_sha256"]
                elif told["source"]["of"]:
                    made_of[told["source"]["sha256"]] = told["source"]["of"]
        return made_of

    def doubts(self):
        """Count what is in doubt, and the false alarms among it (I12): no task of theirs was ever made."""
        jobs, clips, _, _ = self._journal()
        doubtful = [clips[j["clip_id"]]["sha256"] for j in jobs if j["held"] == "in_doubt"]
        paid = Counter(create["sha256"] for create in self.ledger())
        return len(doubtful), sum((Counter(doubtful) - paid).values())

    def _files(self):
        """Count the files of the inbox by their SHA-256.

        What FUSE keeps of a file that was removed while it was open stays where that removal fails, too.
        """
        found = Counter()
        for path in self.bay.inbox.rglob("*"):
            if path.name.startswith(".fuse_hidden"):
                continue
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and not path.is_symlink() and path.stat().st_size < SIZE_MAX:
                    found[hashlib.sha256(path.read_bytes()).hexdigest()] += 1
        return found

    def _journal(self):
        if self.bay.database is not None:
            clips = {row["id"]: row for row in self.bay.query("SELECT * FROM clips")}
            return (
                self.bay.query("SELECT * FROM jobs"),
                clips,
                self.bay.query("SELECT * FROM tasks"),
                self.bay.query("SELECT * FROM events ORDER BY id"),
            )
        path = self.bay.journal
        if not path.exists():
            return [], {}, [], []
        try:
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as journal:
                return self._read(journal)
        except sqlite3.OperationalError as error:
            if "readonly database" not in str(error):
                raise
        # Right after a kill in its first moments it has to be rolled back, which is a write: into a copy.
        with tempfile.TemporaryDirectory() as folder:
            for suffix in ("", "-wal", "-journal"):
                with contextlib.suppress(FileNotFoundError):
                    shutil.copy(f"{path}{suffix}", folder)
            with contextlib.closing(sqlite3.connect(Path(folder) / path.name)) as journal:
                return self._read(journal)

    def _read(self, journal):
        journal.row_factory = sqlite3.Row
        try:
            sound = journal.execute("PRAGMA integrity_check").fetchone()[0]
            if sound != "ok" or journal.execute("PRAGMA foreign_key_check").fetchall():
                self._say("I6", f"the journal is damaged: {sound}")
            jobs = [dict(row) for row in journal.execute("SELECT * FROM jobs")]
            clips = {row["id"]: dict(row) for row in journal.execute("SELECT * FROM clips")}
            tasks = [dict(row) for row in journal.execute("SELECT * FROM tasks")]
            events = [dict(row) for row in journal.execute("SELECT * FROM events ORDER BY id")]
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            return [], {}, [], []
        return jobs, clips, tasks, events

    def _nothing_lost(self, files, clips, jobs):
        undelivered = {job["clip_id"] for job in jobs if job["state"] != "delivered"}
        is_delivered = {c["sha256"] for c in clips.values() if c["id"] not in undelivered}
        for sha256, name in self.bay.dropped.items():
            count = files[sha256]
            if count == 0 and not (self.bay.deletes_sources and sha256 in is_delivered):
                self._say("I1", f"{name} is lost")
            if count > 1:
                self._say("I1", f"{name} is there {count} times")

    def _paid_once(self, jobs, clips, events):
        allowed = Counter()
        for job in jobs:
            sha256 = clips[job["clip_id"]]["sha256"]
            allowed[sha256] += 1
        for event in events:
            if event["event"].lower() == "retried":
                allowed[clips[event["clip_id"]]["sha256"]] += 1
        requests = Counter()
        of_parts, retried = Counter(), Counter()
        for event in events:
            retried[event["job_id"]] += event["event"].lower() == "retried"
        for create in self.ledger():
            if create["part"]:
                of_parts[create["part"]] += 1
                continue
            requests[create["sha256"], create["prompt"], create["seed"], create["model"]] += 1
            if create["sha256"] not in self.bay.dropped:
                self._say("I2", f"bytes that nobody dropped were paid for: {create}")
        for part, count in of_parts.items():
            if count > 1 + retried[part] + self.bay.consents:
                self._say("I2", f"part {part} was paid {count} times")
        for (sha256, prompt, seed, _), count in requests.items():
            consents = allowed[sha256] - sum(1 for j in jobs if clips[j["clip_id"]]["sha256"] == sha256)
            if count > 1 + max(consents, 0) + self.bay.consents:
                self._say("I2", f"{self.bay.dropped.get(sha256)} was paid {count} times ({prompt!r}, {seed})")

    def _nothing_partial(self, jobs):
        papers = {}
        for path in self.bay.outbox.rglob("*"):
            if path.name.startswith(".") or ".clipspool" in path.parts or not path.is_file():
                continue
            if path.suffix == ".toml":
                papers[path] = tomllib.loads(path.read_text())
                continue
            if path in self.bay.foreign:
                continue
            paper = path.with_name(path.name + ".toml")
            if not paper.exists():
                self._say("I3", f"{path.name} lies in the outbox without its provenance")
                continue
            told = tomllib.loads(paper.read_text())["result"]
            said = str(told)
            if hashlib.sha256(path.read_bytes()).hexdigest() not in said:
                self._say("I3", f"{path.name} is not what its provenance says")
            if b"ftyp" not in path.read_bytes()[:12] and path.suffix in {".mp4", ".mov"}:
                self._say("I3", f"{path.name} is no video")
        for job in jobs:
            is_part = bool(job.get("part"))  # what is delivered is the film that all parts make
            for result in json.loads(job["results"]) if job["state"] == "delivered" and not is_part else ():
                path = self.bay.outbox / _text(result["name"])
                if path in self.bay.taken_away:
                    continue
                if not path.is_file():
                    self._say("I3", f"{job['id']} is delivered, but {path.name} is not there")
                elif hashlib.sha256(path.read_bytes()).hexdigest() != result["sha256"]:
                    self._say("I3", f"{path.name} is not the result that the journal knows")

    def _source_until_durable(self, clips, jobs):
        by_clip = defaultdict(list)
        for job in jobs:
            by_clip[job["clip_id"]].append(job)
        for clip in clips.values():
            if clip["lies_at"] is None:
                continue
            place = clip["lies_at"].split(b"/")[0]
            states = {job["state"] for job in by_clip[clip["id"]]}
            if place == b"_done" and states - {"delivered"} and clip["retired_at"]:
                self._say("I4", f"{clip['path']} is in _done while its jobs are {states}")
        by_hash = defaultdict(set)
        for clip in clips.values():
            by_hash[clip["sha256"]] |= {job["state"] for job in by_clip[clip["id"]]}
        for path in (self.bay.inbox / "_done").rglob("*"):
            if not path.is_file() or path.suffix == ".toml":
                continue
            states = by_hash.get(hashlib.sha256(path.read_bytes()).hexdigest(), set())
            if states and states - {"delivered"}:
                self._say("I4", f"{path.name} lies in _done while the journal says {states}")

    def _tasks_known(self, jobs, tasks, clips):
        known = {task["task_id"] for task in tasks if task["task_id"]}
        doubtful = {
            clips[job["clip_id"]]["sha256"]
            for job in jobs
            if job["state"] in {"in_doubt", "submitting"} or job["held"] == "in_doubt"
        }
        doubtful |= {
            clips[job["clip_id"]]["sha256"] for job in jobs if job["doubts"] or job["paid"] == "unknown"
        }
        noted = set()
        for path in self.bay.inbox.glob(".clipspool/work/*/ledger.jsonl"):
            for line in path.read_text().splitlines():
                with contextlib.suppress(ValueError):
                    noted.add(json.loads(line).get("task_id"))
        for create in self.ledger():
            if create["task_id"] not in known | noted and create["sha256"] not in doubtful:
                name = self.bay.dropped.get(create["sha256"])
                self._say("I5", f"task {create['task_id']} of {name} was forgotten")

    def _transitions(self, jobs, events):
        last = {}
        for event in events:
            job = event["job_id"]
            if job is None:
                continue
            before, after = event["from_state"], event["to_state"]
            if event["event"] == "again":  # a version begins with it
                last.setdefault(job, before)
            if last.get(job) != before:
                self._say("I6", f"{job} was {last.get(job)}, and {event['event']} says from {before}")
            # A hook after a job's end, and a choice, are told of in its history, and change nothing.
            changes_nothing = (
                event["event"] in {"hook_ran", "chosen", "unchosen", "again"} and after == before
            )
            if after not in LEGAL[before] and not changes_nothing:
                self._say("I6", f"{job} went from {before} to {after} by {event['event']}")
            last[job] = after
        for job in jobs:
            if last.get(job["id"]) != job["state"]:
                self._say("I6", f"{job['id']} is {job['state']}; its history ends {last.get(job['id'])}")

    def _everything_ended(self, jobs, clips):
        waiting = {job["id"] for job in jobs if job["state"] not in ENDED}
        for job in jobs:
            if job.get("part") and job["state"] == "fetched" and job["id"].rpartition("-p")[0] in waiting:
                continue  # for the other parts
            if job["state"] not in ENDED and not job["held"]:
                self._say("I7", f"{job['id']} is still {job['state']}: {job['reason']}")
        by_clip = defaultdict(set)
        for job in jobs:
            by_clip[job["clip_id"]].add(job["state"])
        for clip in clips.values():
            if by_clip[clip["id"]] <= ENDED and clip["retired_at"] is None:
                self._say("I7", f"{clip['path']} has ended and is not retired")

    def _nothing_left_over(self, jobs, clips):
        is_open = {job["clip_id"] for job in jobs if job["state"] not in ENDED}
        for path in self.bay.inbox.glob(".clipspool/work/*"):
            if path.name not in is_open and path.name in clips:
                names = sorted(p.name for p in path.iterdir())
                self._say("I10", f"the work folder of {path.name} is left over: {names}")
        for root in (self.bay.inbox, self.bay.outbox):
            for path in root.rglob(".*.tmp"):
                self._say("I10", f"a temporary file is left over: {path.relative_to(root)}")
        for place in ("_done", "_failed"):
            names = {p.name for p in (self.bay.inbox / place).rglob("*") if p.is_file()}
            stems = {Path(name).stem for name in names if not name.endswith(".toml")}
            for name in names:
                of = name.removesuffix(".error.toml").removesuffix(".toml")
                if name.endswith(".toml") and of not in names | stems and len(name) < 230:
                    self._say("P5", f"{place}/{name} lies there without its clip")
        papers = [p for p in self.bay.outbox.rglob("*.toml") if ".clipspool" not in p.parts]
        for paper in papers:
            clip = paper.with_suffix("")
            if not clip.exists() and clip not in self.bay.taken_away:
                self._say("I10", f"{paper.name} tells of a result that is not there")

    def _nothing_beyond(self):
        found = {p.name: p.read_bytes() for p in self.bay.beyond.iterdir()}
        if found != {"precious.mp4": b"nobody may touch this"}:
            self._say("I8", f"something outside was touched: {sorted(found)}")

    def _no_secrets(self):
        for path in self.bay.home.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                if not path.is_file() or path.is_symlink() or path in self.bay.may_tell:
                    continue
                if path.stat().st_size > SIZE_MAX:
                    continue
                data = path.read_bytes()
                for secret in (*self.bay.secrets, "Signature="):
                    if secret.encode() in data:
                        self._say("I9", f"{path.relative_to(self.bay.home)} tells {secret}")


def _text(name):
    """Read a name of the journal, where it stands as the hex of its bytes."""
    return bytes.fromhex(name).decode("utf-8", "surrogateescape")
