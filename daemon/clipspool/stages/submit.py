"""Send the one paid request: connect, let the intent become durable, send once, write the task id down."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, Self, assert_never

import structlog

from clipspool.jobs.events import (
    AnswerLost,
    Changed,
    Event,
    Failed,
    InDoubt,
    NotSubmitted,
    Postponed,
    StageFailed,
    TaskCreated,
)
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.model import Clip, Error, Held, Job, Request
from clipspool.provider.protocol import Call, Created, Inline, NotSent, Provider, Refused, Unclear
from clipspool.provider.transport import Depot
from clipspool.spool.handover import taker_of
from clipspool.spool.ledger import Ledger, ledger_of, submissions_beyond
from clipspool.spool.root import Root, Unavailable
from clipspool.spool.send_marks import SendMark, SendMarks
from clipspool.spool.space import lacking
from clipspool.spool.watchfolder import Bay
from clipspool.spool.workfolder import folder_of
from clipspool.stages.fit import content_type_of, is_unchanged, parcel_of, type_of_clip
from clipspool.stages.payload import Sent, SentFile, read_sent
from clipspool.system.atomic import join, split_suffix
from clipspool.system.failpoint import reach

log = structlog.get_logger()

Compose = Callable[[Request, Inline | str, Sequence[Inline | str]], tuple[str, dict[str, Any]]]
"""Endpoint and JSON body of a request, its source and its references."""

_LINE_SECONDS = 1.0
"""A line that took so long may have outlived the server's patience with a connection that says nothing."""
SPARE_BYTES = 64 << 20
"""Room for a result, besides the clip's own size, in the inbox and in the outbox before anything is spent."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What submit works with."""

    provider: Provider
    depot: Depot
    compose: Compose
    send_marks: SendMarks
    mark: Callable[[str, Root], None] = lambda _inbox, _root: None
    """Marks in an inbox how far the journal has come, right before a request from there leaves."""
    copied: Callable[[Root], str] = lambda _root: ""
    """Says where another daemon serves a copy of this journal; empty where none does."""
    complete: Callable[[Request, Mapping[str, Any]], Request] = lambda request, _: request
    """Fills in what the model always wants; a job that an earlier version accepted may lack it."""
    retirement: Callable[[str], str] = lambda _model: ""
    """Says of a model since when it is retired, and what its successor is."""


def submit(job: Job, clip: Clip, bay: Bay, desk: Desk, gate: Callable[[], bool]) -> Event:
    """Submit a prepared job once. `gate` blocks until the intent is durable; False withdraws it.

    The intent is in the journal before it is in the work folder, and in both before a byte leaves; so a work
    folder that knows more than the journal tells of a journal that was put back. The task id is in the work
    folder before the answer is given, and in the journal right after. Raises OSError before the gate.
    """
    known = job.task.number if job.task else 0
    if beyond := submissions_beyond(bay.inbox, clip.id, job.id, known):
        return InDoubt(beyond, desk.provider.profile)
    if full := _no_room(bay, clip.size + SPARE_BYTES):
        return full
    try:
        here = bay.inbox.stat(join(folder_of(clip.id), clip.source))
    except FileNotFoundError:
        return Changed(
            "the clip is gone from its work folder", is_settled=True
        )  # preparing it says what to do
    if (here.st_size, here.st_mtime_ns) != (clip.size, clip.mtime_ns):
        return Changed()
    request = desk.complete(job.request, clip.media)
    call = _call(replace(job, request=request), clip, bay, desk.depot, desk.compose)
    if isinstance(call, Changed):
        return call
    with (
        desk.send_marks.mark() as send_mark,
        _Gate(job, bay, desk, gate, send_mark) as gated,
    ):
        return _named(_send_once(call, desk.provider, gated), desk.retirement(job.request.model))


def _no_room(bay: Bay, size: int) -> StageFailed | None:
    """Say what keeps a result from being fetched or delivered, before anything is spent on it."""
    if why := lacking(bay.inbox, size):
        return StageFailed("DISK.FULL", f"{why}; nothing was sent", held=Held.DISK)
    try:
        why = lacking(bay.outbox, size, tries=True)
    except Unavailable as error:
        why = error.strerror or str(error)
    except OSError as error:  # not even the outbox's own mark can be made: no inode is left, perhaps
        why = f"no file can be made in {bay.outbox.path}: {os.strerror(error.errno or 0)}"
    return StageFailed("OUTBOX.FULL", f"{why}; nothing was sent", held=Held.OUTBOX) if why else None


def _named(event: Event, retirement: str) -> Event:
    """Say of a model that is not offered what took its place."""
    if not retirement:
        return event
    match event:
        case Failed(error=error) if error.code.startswith("MODEL."):
            what_to_do = f"{error.what_to_do} {retirement}.".strip()
            return replace(event, error=replace(error, what_to_do=what_to_do))
        case NotSubmitted(fault=fault) if fault.of is FaultOf.MODEL:
            what_to_do = f"{fault.what_to_do} {retirement}.".strip()
            return NotSubmitted(replace(fault, what_to_do=what_to_do))
        case _:
            return event


def _send_once(call: Call, provider: Provider, gated: _Gate) -> Event:
    answer = provider.submit(call, gated.pass_through)
    match answer:
        case Created():
            reach("created")
            gated.note("task", task_id=answer.task_id)
            reach("task-noted")
            return TaskCreated(answer.task_id, answer.credits)
        case NotSent() if gated.was_withdrawn:
            return Postponed("withdrawn before anything was sent", 0.0)
        case NotSent() if gated.beyond:
            return InDoubt(gated.beyond, provider.profile)
        case NotSent() | Refused():
            gated.note("not_submitted")
            return _refused(gated.fault or answer.fault)
        case Unclear():
            return AnswerLost(answer.message, answer.evidence)
        case never:
            assert_never(never)


class _Gate:
    """Between the connection and the first byte: the intent goes into the journal, then into the ledger.

    Last of all it is noted that it leaves, which takes no moment: an end between that and the first byte is
    doubt where nothing was sent. After a power cut so is one behind the ledger's line, so the ledger is open
    before, and in between it is only asked whether the clip is ours still: whoever takes it over says so
    before it reads the ledger, so that one of both hears of the other. Of two daemons with copies of one
    journal, the one whose line is first in the ledger sends; the other's job is in doubt.
    """

    def __init__(self, job: Job, bay: Bay, desk: Desk, gate: Callable[[], bool], send_mark: SendMark) -> None:
        self.was_withdrawn = False
        self.fault: Fault | None = None
        self.beyond = 0
        """The number of a submission that the ledger has and this journal has not."""
        self._job, self._bay, self._profile, self._gate = job, bay, desk.provider.profile, gate
        self._desk = desk
        self._send_mark = send_mark
        # Also where no send_marks are noted: a copy of this journal may add a line that is the same else.
        self._token = send_mark.token or secrets.token_hex(8)
        self._ledger: Ledger | None = None
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # every line is synced when it is written: closing has nothing to say
            self._opened.close()

    def pass_through(self, is_usable: Callable[[], bool]) -> bool:
        if self._is_taken() or not self._gate():
            self.was_withdrawn = True
            return False
        reach("intent")
        try:
            # A mark first: once the clip is delivered and its work folder gone, nothing else tells a journal
            # that was put back from before this request.
            self._desk.mark(self._bay.name, self._bay.inbox)
            ledger = self._opened.enter_context(ledger_of(self._bay.inbox, self._job.clip_id))
            known = self._job.task.number if self._job.task else 0
            if self._is_anothers(known) or not is_usable():
                return False
            self._ledger = ledger
            begun = monotonic()
            ledger.note(self._job.id, "intent", profile=self._profile, number=known + 1, token=self._token)
            reach("noted")
            if self._is_taken() or self._is_anothers(known, self._token):
                return False
            if monotonic() - begun > _LINE_SECONDS and not is_usable():
                return False
            self._send_mark.set_sending()
        except OSError as error:
            # Of this clip's folder, so that the others go on.
            self.fault = Fault(FaultOf.CLIP, "WORK.UNWRITABLE", f"the work folder takes no notes: {error}")
            return False
        reach("leaving")
        return True

    def _is_taken(self) -> bool:
        return bool(taker_of(self._bay.inbox, self._job.clip_id, self._bay.journal))

    def _is_anothers(self, known: int, before: str = "") -> bool:
        """Tell whether a daemon that serves a copy of this journal sends, or has sent, this job's request."""
        root, job = self._bay.inbox, self._job
        self.beyond = submissions_beyond(root, job.clip_id, job.id, known, before)
        if not self.beyond and (copied := self._desk.copied(root)):
            self.fault = Fault(FaultOf.CLIP, "WORK.COPIED", copied)
        return bool(self.beyond or self.fault)

    def note(self, what: str, **facts: str) -> None:
        """Add a line that the journal is about to have too: the ledger serves one that was lost."""
        if self._ledger is None:
            return
        try:
            self._ledger.note(self._job.id, what, profile=self._profile, **facts)
        except OSError as error:
            log.warning("ledger_not_written", job=self._job.id, inbox=self._bay.name, why=str(error))


def _call(job: Job, clip: Clip, bay: Bay, depot: Depot, compose: Compose) -> Call | Changed:
    """Compose the request, every address in it made this very moment."""
    sent = read_sent(bay.inbox, clip, job) or _as_it_came(job, clip, bay)
    files = iter(enumerate(sent.references))
    source = _stands_for(job, clip, bay, depot, (None, sent.source))
    references: list[Inline | str | None] = [
        reference.uri or _stands_for(job, clip, bay, depot, next(files, None))
        for reference in job.request.references
    ]
    whole = [one for one in references if one is not None]
    if source is None or len(whole) < len(references):
        return Changed("what was put up for it is gone or too old, and is put up again", is_settled=True)
    endpoint, body = compose(job.request, source, whole)
    return Call(endpoint, body)


def _stands_for(
    job: Job, clip: Clip, bay: Bay, depot: Depot, file: tuple[int | None, SentFile] | None
) -> Inline | str | None:
    if file is None or not is_unchanged(bay, clip, file[1]):
        return None
    return depot.address(file[1].way, parcel_of(bay, clip, job, *file), file[1].put_at)


def _as_it_came(job: Job, clip: Clip, bay: Bay) -> Sent:
    """Describe a clip and its images that go into the request just as they are."""
    home = folder_of(clip.id)
    images = []
    for reference in job.request.references:
        if reference.file:
            here = bay.inbox.stat(join(home, reference.file))
            content_type = content_type_of(split_suffix(reference.file)[1].lower())
            images.append(
                SentFile(reference.file, here.st_size, here.st_mtime_ns, "", content_type, "inline")
            )
    source = SentFile(clip.source, clip.size, clip.mtime_ns, clip.sha256 or "", type_of_clip(clip), "inline")
    return Sent(source, tuple(images))


def _refused(fault: Fault) -> Event:
    match fault.of:
        case FaultOf.CLIP if fault.code.startswith("WORK.") or fault.code == "FILE.UNREADABLE":
            return NotSubmitted(fault)  # its folder may be back later
        case FaultOf.CLIP:
            return Failed(Error(fault.code, fault.message, fault.what_to_do))
        case FaultOf.MOMENT | FaultOf.MODEL | FaultOf.ACCOUNT:
            return NotSubmitted(fault)
