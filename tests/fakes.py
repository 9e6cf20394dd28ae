"""Fakes for the two seams, provider and clock, and the nouns that tests of the core begin with."""

import queue
import threading
from collections import Counter, defaultdict, deque
from dataclasses import replace
from functools import cached_property

from clipspool.jobs.events import (
    Cancelled,
    Delivered,
    Fetched,
    Postponed,
    Prepared,
    TaskCreated,
    TaskSucceeded,
)
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.limits import Limits
from clipspool.jobs.messages import Accepted
from clipspool.jobs.model import Clip, Job, Request, Result, Task
from clipspool.jobs.pacing import Pace, PollPace
from clipspool.journal import Journal
from clipspool.provider.protocol import Created, Download, DownloadCut, NothingSent, TaskLook, TaskStatus
from clipspool.scheduler.loop import Scheduler
from clipspool.scheduler.workers import AtGate
from clipspool.spool.claims import claim
from clipspool.spool.root import Root
from clipspool.spool.send_marks import SendMarks
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import Manifest
from patience import patient

NOON = 1_800_014_400.0
"""Unix seconds of a noon, UTC."""
PROFILE = "https://api.test/v1#5eed"
PACE = Pace(PollPace(5.0, 30.0, 20.0), random=lambda: 0.5)
BUSY = Fault(FaultOf.MOMENT, "PROVIDER.BUSY", "Too many requests", retry_after_seconds=20.0)
NO_CREDITS = Fault(FaultOf.ACCOUNT, "ACCOUNT.NO_CREDITS", "Not enough credits", "Buy credits.")
RESULT = Result("clip1-1.mp4", ".mp4", 6, "ab" * 32)


def always():
    """Say that this daemon may send, publish and move, as one does that is alone."""
    return True


def a_request(**changes):
    return replace(Request("deep winter", "gen4_aleph", 42), **changes)


def a_clip(clip_id="clip1", **changes):
    clip = Clip(clip_id, "bay", "day/shot.mp4", "day/shot.toml", "clip.mp4", 9, 1_000, NOON, media={})
    return replace(clip, **changes)


def a_job(job_id="clip1", **changes):
    clip_id = job_id.partition("-")[0]
    job = Job(job_id, clip_id, "bay", "", a_request(), created_at=NOON, updated_at=NOON, due_at=NOON)
    return replace(job, **{"path": "day/shot.mp4", **changes})


def a_task(number=1, **changes):
    return replace(Task(number, PROFILE, NOON, task_id=f"task-{number}", created_at=NOON), **changes)


class Clock:
    """Time that stands still until it is told to pass."""

    def __init__(self, now=NOON):
        self.now = now
        self.passed = 0.0

    def __call__(self):
        return self.now

    def passes(self, seconds):
        self.now += seconds
        self.passed += seconds

    def is_set(self, by):
        """Set it forward or back, while no time passes."""
        self.now += by


class Studio:
    """A provider that remembers: what it was sent, what it made of it, and what it serves."""

    profile = PROFILE

    def __init__(self):
        self.sent = []
        self.looks = {}
        self.served = {}
        self.asked = []
        self.is_usable = lambda: True
        """Whether the connection still is, when the gate asks."""
        self.answer = None
        """What the next submission is answered instead of a new task; called after the gate if it can be."""
        self.told_to_cancel = []
        self.cannot_cancel = None

    def submit(self, call, gate):
        if isinstance(self.answer, NothingSent):
            return self.answer
        if not gate(self.is_usable):
            return NothingSent(Fault(FaultOf.MOMENT, "GATE.SHUT", "the gate was shut"))
        self.sent.append({"endpoint": call.endpoint, "body": dict(call.body)})
        if self.answer is not None:
            return self.answer() if callable(self.answer) else self.answer
        task_id = f"task-{len(self.sent)}"
        self.looks[task_id] = TaskLook(TaskStatus.RUNNING, "RUNNING")
        return Created(task_id, 15.0)

    def finish(self, task_id, *files):
        """Let a task succeed with these files."""
        urls = tuple(f"https://results.test/{task_id}/{number}" for number, _ in enumerate(files))
        self.served.update(zip(urls, files, strict=True))
        self.looks[task_id] = TaskLook(TaskStatus.SUCCEEDED, "SUCCEEDED", outputs=urls)

    def look(self, task_id):
        return self.looks.get(task_id, TaskLook(TaskStatus.MISSING, "task_not_exist"))

    def cancel(self, task_id):
        self.told_to_cancel.append(task_id)
        return self.cannot_cancel

    def download(self, url, offset, etag):
        self.asked.append((url, offset, etag))
        served = self.served[url]
        return served.download(offset, etag) if isinstance(served, Film) else served


class Film:
    """A file that the provider serves: cut after so many bytes each time, as long as there are cuts left."""

    def __init__(self, data, *, cuts=(), etag="", size=None, takes_ranges=True):
        self.data, self.etag, self.takes_ranges = data, etag, takes_ranges
        self.size = len(data) if size is None else size
        self.cuts = deque(cuts)

    def download(self, offset, etag):
        begin = offset if self.takes_ranges and etag == self.etag else 0
        return Download(self._chunks(begin), begin, self.size or None, self.etag)

    def _chunks(self, begin):
        rest = self.data[begin:]
        if not self.cuts:
            yield rest
            return
        yield rest[: self.cuts.popleft()]
        raise DownloadCut("the wire ended early")


class Bench:
    """One inbox with its outbox on a real disk, and a clip that was accepted into its work folder."""

    def __init__(self, path, *, name="day/shot.mp4", sidecar=b'prompt = "deep winter"\n', **bay):
        self.path, self.results = path / "bay", path / "results"
        self.path.mkdir()
        self.results.mkdir()
        self.bay = Folders("bay", Root(self.path), Root(self.results), "j1", **bay)
        self.clip = self.drop("clip1", name, b"some clip", sidecar=sidecar)
        self.job = a_job(path=name)
        self.work = self.path / ".clipspool/work/clip1"
        self._marks = path / "journal.leaving"

    @cached_property
    def send_marks(self):
        """The file stays open: a worker that runs thousands of tests may have a thousand."""
        return SendMarks(self._marks)

    def drop(self, clip_id, name, data, *, sidecar=b'prompt = "deep winter"\n'):
        """Put a clip into the inbox and claim it."""
        there = self.path / name
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(data)
        beside = there.with_suffix(".toml")
        if sidecar is not None:
            beside.write_bytes(sidecar)
        stat = there.stat()
        clip = a_clip(
            clip_id,
            path=name,
            sidecar=None if sidecar is None else str(beside.relative_to(self.path)),
            size=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
        )
        claim(self.bay.inbox, Manifest(clip, (a_job(clip_id, path=name),), "j1"))
        return clip


def lying(folder, *, ours=False):
    """Return every file beneath a folder with its content; what is ours only when asked for."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (ours or ".clipspool" not in path.relative_to(folder).parts)
    }


class Workshop:
    """Does no work, but says that it did; or what it was told to say, and when it was told to."""

    def __init__(self):
        self.done = []
        """(stage, job id) in the order of beginning."""
        self.paid = []
        """Ids of the jobs whose request left, one entry each time."""
        self.say = defaultdict(deque)
        """By stage: events to give, errors to raise, or functions of the job, once each."""
        self.held = {}
        """By stage: what a worker waits for before it answers."""
        self.tell_held = lambda: None
        self.waiting = Counter()
        self.retired = []
        self.swept = []
        self.change = ""
        """How the sources of clips that retire are said to differ from what was sent."""
        self.mark = lambda _inbox: None

    def hold(self, stage):
        self.held[stage] = threading.Event()
        return self.held[stage]

    def work(self, given, gate):
        stage, job, clip = given.stage, given.job, given.clip
        self.done.append((stage, job.id))
        if stage is Stage.SUBMIT and self.say[stage] and not callable(self.say[stage][0]):
            return self._said(stage, job)
        if stage is Stage.SUBMIT:
            if not gate():
                return Postponed("withdrawn before anything was sent", 0.0)
            self.mark(job.inbox)
            self.paid.append(job.id)
        self._wait(stage)
        if self.say[stage]:
            return self._said(stage, job)
        match stage:
            case Stage.PREPARE:
                return Prepared("ab" * 32, clip.size, clip.mtime_ns, 15.0, attempt=given.attempt)
            case Stage.SUBMIT:
                return TaskCreated(f"task-{job.id}-{job.task.number if job.task else 0}", 15.0)
            case Stage.POLL:
                return TaskSucceeded(15.0)
            case Stage.FETCH:
                return Fetched((RESULT,))
            case Stage.DELIVER:
                return Delivered((replace(RESULT, name="shot.mp4"),))
            case Stage.TELL_CANCEL:
                return Cancelled(job.cancel_by)

    def _wait(self, stage):
        if stage in self.held:
            event = self.held[stage]
            self.waiting[event] += 1
            self.tell_held()
            assert event.wait(patient(10))

    def _said(self, stage, job):
        said = self.say[stage].popleft()
        if isinstance(said, Exception):
            raise said
        return said(job) if callable(said) else said

    def retire(self, clip, jobs):
        self._wait("retire")
        if self.say["retire"]:
            self._said("retire", None)
        self.retired.append((clip.id, [job.state for job in jobs]))
        return replace(clip, lies_at=f"_done/{clip.path}"), self.change

    def sweep(self, clip):
        self._wait("sweep")
        self.swept.append(clip.id)


class Desk:
    """A scheduler on a real journal with a fake workshop, turned by hand: after a turn all answers are in."""

    def __init__(
        self,
        path,
        *,
        inboxes=("bay",),
        pace=PACE,
        clock=None,
        shop=None,
        opens=Journal.open,
        node="",
        **limits,
    ):
        self.clock = clock or Clock()
        self.shop = shop or Workshop()
        self.journal = opens(path / "journal.db")
        self.scheduler = Scheduler(
            self.journal,
            self.shop,
            profile=PROFILE,
            pace=pace,
            now=self.clock,
            passed=lambda: self.clock.passed,
            node=node,
        )
        self.scheduler.allow(inboxes, Limits(**limits))
        self._signs = queue.SimpleQueue()
        self._owed = 0
        self._at_gate = 0
        workers = self.scheduler.workers
        workers._report = self._report
        for lane in {workers.lane(stage) for stage in Stage}:
            lane.begin = self._counted(lane.begin)
        self.shop.tell_held = lambda: self._signs.put(None)

    def _counted(self, begin):
        def counted(work):
            self._owed += 1
            begin(work)

        return counted

    def _report(self, message):
        self.scheduler.enqueue(message)
        self._signs.put(message)

    def turn(self, seconds=0.0):
        """Let time pass, turn once, and wait until each worker has answered, stands at a gate or is held."""
        self.clock.passes(seconds)
        opened, self._at_gate = self._at_gate, 0
        try:
            self.scheduler.turn()
            self._owed += opened  # where the turn breaks off, they may stand at the gate for ever
        finally:
            self._collect()

    def _collect(self):
        while self._owed:
            self._at_gate += isinstance(self._signs.get(timeout=patient(10)), AtGate)
            self._owed -= 1

    def release(self, held):
        """Let held workers answer, and wait until they have."""
        self._owed += self.shop.waiting.pop(held, 0)
        self.shop.held = {stage: event for stage, event in self.shop.held.items() if event is not held}
        held.set()
        self._collect()

    def turns(self, count, seconds=0.0):
        for _ in range(count):
            self.turn(seconds)

    def drop(self, clip_id="clip1", *, variants=("",), **changes):
        """Let intake tell of an accepted clip, in the next turn."""
        inbox = changes.get("inbox", "bay")
        created_at = changes.pop("created_at", self.clock.now)
        names = [clip_id + variant.replace("_", "-") for variant in variants]
        jobs = tuple(
            a_job(name, variant=variant, created_at=created_at, **changes)
            for name, variant in zip(names, variants, strict=True)
        )
        self.scheduler.enqueue(Accepted(a_clip(clip_id, inbox=inbox, accepted_at=created_at), jobs))

    def order(self, command, *arguments):
        """Give an operator's command, and its answer after one turn."""
        answers = []
        self.scheduler.call_soon(lambda scheduler: answers.append(command(scheduler, *arguments)))
        self.turn()
        return answers[0]

    def job(self, job_id="clip1"):
        return self.journal.job(job_id)

    def state(self, job_id="clip1"):
        return self.job(job_id).state

    def until(self, state, job_id="clip1", turns=20):
        """Turn, each a minute later, until a job is in a state."""
        for _ in range(turns):
            job = self.job(job_id)
            if job is not None and job.state is state:
                return job
            self.turn(60.0)
        raise AssertionError(f"{job_id} is {self.job(job_id)}, not {state}")

    def close(self):
        for event in self.shop.held.values():
            event.set()
        self.scheduler.workers.stop()
        self.journal.close()


class Shelf:
    """What others look at of an inbox."""

    def __init__(self, **changes):
        self.state, self.detect, self.reason = "watching", "events", ""
        self.peers = ()
        self.waiting, self.emitters, self.scan_age_seconds, self.rescan_seconds = (), (2, 2), 1.5, 30.0
        vars(self).update(changes)
