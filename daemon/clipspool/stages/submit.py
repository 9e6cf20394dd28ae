"""Sends the one paid request: connects, makes the intent durable, sends once, records the task id."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Self, assert_never

import structlog

from clipspool.jobs import events as on
from clipspool.jobs.events import Event
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.model import Clip, Error, Held, Job, Request
from clipspool.jobs.nouns import replace
from clipspool.provider.protocol import Call, Created, Inline, NothingSent, Provider, Refused, Unclear
from clipspool.provider.transport import Depot
from clipspool.spool.guard import Unavailable
from clipspool.spool.handover import taker_of
from clipspool.spool.ledger import Ledger, ledger_of, submissions_beyond
from clipspool.spool.root import Root
from clipspool.spool.send_marks import SendMark, SendMarks
from clipspool.spool.sources import stamp
from clipspool.spool.space import lacking
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import folder_of, made_name
from clipspool.stages.deliver import folder_of_results
from clipspool.stages.fit import content_type_of, is_unchanged, parcel_of, type_of_clip
from clipspool.stages.payload import Sent, SentFile, read_sent
from clipspool.system.atomic import join, split_suffix
from clipspool.system.failpoint import reach

log = structlog.get_logger()

Compose = Callable[[Request, Inline | str, Sequence[Inline | str]], tuple[str, dict[str, Any]]]
"""Endpoint and JSON body of a request, its source and its references."""

_LINE_SECONDS = 1.0
"""After a line that took this long the server may have closed the silent connection."""
SPARE_BYTES = 64 << 20
"""Room that inbox and outbox need for a result, besides the clip's own size, before anything is spent."""


@dataclass(frozen=True, slots=True)
class SubmitTools:
    """The tools of the submit stage."""

    provider: Provider
    depot: Depot
    compose: Compose
    send_marks: SendMarks
    may_send: Callable[[], bool]
    """Whether this daemon may still send a paid request: a leader that was frozen may lead no more."""
    mark: Callable[[str, Root], None] = lambda _inbox, _root: None
    """Writes into an inbox how far the journal has come, right before a request from there is sent."""
    copied: Callable[[Root], str] = lambda _root: ""
    """Returns where another daemon serves a copy of this journal; empty where none does."""
    complete: Callable[[Request, Mapping[str, Any]], Request] = lambda request, _: request
    """Adds the fields that the model always needs; a job that an earlier version accepted may lack them."""
    retirement: Callable[[str], str] = lambda _model: ""
    """Returns since when a model is retired, and its successor."""


def submit(job: Job, clip: Clip, folders: Folders, tools: SubmitTools, gate: Callable[[], bool]) -> Event:
    """Submit a prepared job once. `gate` blocks until the intent is durable; False withdraws it.

    The intent is in the journal before it is in the work folder, and in both before a byte is sent; so a work
    folder that has more than the journal proves that the journal is an older copy. The task id is in the work
    folder before the event is returned, and in the journal right after. Raises OSError before the gate.
    """
    known = job.task.number if job.task else 0
    # A request that this journal does not know of may have been paid for: a person decides.
    if beyond := submissions_beyond(folders.inbox, clip.id, job.id, known):
        return on.InDoubt(beyond, tools.provider.profile)
    # Before the money: a result for which there is no room expires at the provider within days.
    if full := _no_room(folders, clip):
        return full
    try:
        here = stamp(folders.inbox, join(folder_of(clip.id), clip.source))
    except FileNotFoundError:
        # The prepare stage says what to do.
        return on.Changed("the clip is gone from its work folder", is_settled=True)
    if here != (clip.size, clip.mtime_ns):  # nobody checked these bytes: they are not paid for
        return on.Changed()
    request = tools.complete(job.request, clip.media)
    call = _call(replace(job, request=request), clip, folders, tools.depot, tools.compose)
    if isinstance(call, on.Changed):
        return call
    with (
        tools.send_marks.mark() as send_mark,
        _Gate(job, folders, tools, gate, send_mark) as gated,
    ):
        return _named(_send_once(call, tools.provider, gated), tools.retirement(job.request.model))


def _no_room(folders: Folders, clip: Clip) -> on.StageFailed | None:
    """Return why a result would have no room, in the inbox or the outbox; asked before anything is spent."""
    size = clip.size + SPARE_BYTES
    if why := lacking(folders.inbox, size):
        return on.StageFailed("DISK.FULL", f"{why}; nothing was sent", held=Held.DISK)
    try:
        why = lacking(folders.outbox, size, folder_of_results(folders, clip), tries=True)
    except Unavailable as error:
        why = error.strerror or str(error)
    except OSError as error:  # not even the outbox's own mark can be made: no inode is left, perhaps
        why = f"no file can be made in {folders.outbox.path}: {os.strerror(error.errno or 0)}"
    return on.StageFailed("OUTBOX.FULL", f"{why}; nothing was sent", held=Held.OUTBOX) if why else None


def _named(event: Event, retirement: str) -> Event:
    """Return an event with a retired model's successor, where the model is not offered."""
    if not retirement:
        return event
    match event:
        case on.Failed(error=error) if error.code.startswith("MODEL."):
            what_to_do = f"{error.what_to_do} {retirement}.".strip()
            return replace(event, error=replace(error, what_to_do=what_to_do))
        case on.NotSubmitted(fault=fault) if fault.of is FaultOf.MODEL:
            what_to_do = f"{fault.what_to_do} {retirement}.".strip()
            return on.NotSubmitted(replace(fault, what_to_do=what_to_do))
        case _:
            return event


def _send_once(call: Call, provider: Provider, gated: _Gate) -> Event:
    answer = provider.submit(call, gated.pass_through)
    match answer:
        case Created():
            reach("created")
            # On disk before anything else happens: the id is all that leads to what was paid for.
            gated.note("task", task_id=answer.task_id, number=gated.number)
            reach("task-noted")
            return on.TaskCreated(answer.task_id, answer.credits)
        case NothingSent() if gated.was_withdrawn:
            return on.Postponed("withdrawn before anything was sent", 0.0)
        case NothingSent() if gated.beyond:
            # A copy of this journal has its line first: whether that request was paid for is not known here.
            return on.InDoubt(gated.beyond, provider.profile)
        case NothingSent() if gated.is_lost:
            # Nothing is noted: whoever leads now has read the ledger, and decides by what was in it.
            return on.AnswerLost("the lead of the farm was lost before anything was sent", {})
        case NothingSent() | Refused():
            # Without this line the intent stays open: were the journal lost, the job would be in doubt.
            gated.note("not_submitted", number=gated.number)
            return _refused(gated.fault or answer.fault)
        case Unclear():
            # Nothing is noted: the open intent is what keeps this request from being sent a second time.
            return on.AnswerLost(answer.message, answer.evidence)
        case never:
            assert_never(never)


@dataclass(slots=True)
class _Gate:
    """Between the connection and the first byte: writes the intent into the journal, then into the ledger.

    The send mark is set last, right before the first byte: a crash between the two leaves the job in doubt
    though nothing was sent. So does a power cut after the ledger's line is written. To keep that time short
    the ledger is opened before, and in between it is only checked whether the clip still is ours: a daemon
    that takes it over records that before it reads the ledger, so that one of the two sees the other. Of two
    daemons with copies of one journal, the one whose line is first in the ledger sends; the other's job is in
    doubt.
    """

    job: Job
    folders: Folders
    tools: SubmitTools
    gate: Callable[[], bool]
    send_mark: SendMark
    was_withdrawn: bool = False
    fault: Fault | None = None
    beyond: int = 0
    """The number of a submission that is in the ledger but not in this journal; 0 for none."""
    is_lost: bool = False
    """Whether this daemon may not send any more."""
    _ledger: Ledger | None = None
    _opened: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # every line is synced when it is written: an error of close() is moot
            self._opened.close()

    def pass_through(self, is_usable: Callable[[], bool]) -> bool:
        # The gate opens with the journal's commit: until then a crash leaves no trace of this request.
        if self._is_taken() or not self.gate():
            self.was_withdrawn = True
            return False
        reach("intent")
        # Also where no send marks are kept: a copy of this journal may add a line that is otherwise equal.
        token = self.send_mark.token or secrets.token_hex(8)
        try:
            # The mark first: once the clip is delivered and its work folder gone, nothing else shows that a
            # journal was restored from before this request.
            self.tools.mark(self.folders.name, self.folders.inbox)
            ledger = self._opened.enter_context(ledger_of(self.folders.inbox, self.job.clip_id))
            known = self.number - 1
            # Where an heir follows this job now, a line would make it doubtful.
            if self._is_anothers(known) or not is_usable() or not self._may_still_send():
                return False
            self._ledger = ledger
            begun = monotonic()
            profile, job = self.tools.provider.profile, self.job
            facts = {"number": self.number, "token": token, "attempt": self.job.prepared_by}
            facts |= {"version": job.version} if job.version > 1 else {}
            ledger.note(job.id, "intent", profile=profile, **facts)
            reach("noted")
            if self._is_taken() or self._is_anothers(known, token):
                return False
            # A connection that the server closed meanwhile is no doubt yet: nothing was sent.
            if monotonic() - begun > _LINE_SECONDS and not is_usable():
                return False
            # Last of all: what this process was frozen over comes before it, and the line is in the ledger,
            # where whoever leads next finds it.
            if not self._may_still_send():
                return False
            self.send_mark.set_sending()
        except OSError as error:
            # A fault of this clip's folder, so that the others go on.
            self.fault = Fault(
                FaultOf.CLIP, "WORK.UNWRITABLE", f"the work folder cannot be written to: {error}"
            )
            return False
        reach("leaving")
        return True

    def _may_still_send(self) -> bool:
        self.is_lost = not self.tools.may_send()
        return not self.is_lost

    def _is_taken(self) -> bool:
        return bool(taker_of(self.folders.inbox, self.job.clip_id, self.folders.journal))

    def _is_anothers(self, known: int, before: str = "") -> bool:
        """Whether a daemon with a copy of this journal sends, or has sent, this job's request."""
        root, job = self.folders.inbox, self.job
        self.beyond = submissions_beyond(root, job.clip_id, job.id, known, before)
        if not self.beyond and (copied := self.tools.copied(root)):
            self.fault = Fault(FaultOf.CLIP, "WORK.COPIED", copied)
        return bool(self.beyond or self.fault)

    @property
    def number(self) -> int:
        """The number of this submission."""
        return (self.job.task.number if self.job.task else 0) + 1

    def note(self, what: str, **facts: Any) -> None:
        """Add a line that the journal will have too: the ledger is read where a journal is lost."""
        if self._ledger is None:
            return
        try:
            self._ledger.note(self.job.id, what, profile=self.tools.provider.profile, **facts)
        except OSError as error:
            log.warning("ledger_not_written", job=self.job.id, inbox=self.folders.name, why=str(error))


def _call(job: Job, clip: Clip, folders: Folders, depot: Depot, compose: Compose) -> Call | on.Changed:
    """Compose the request; every address in it is made at this moment."""
    sent = read_sent(folders.inbox, clip, job)
    if sent is None and clip.is_pictures:  # a folder is never sent as it came
        return on.Changed("what was made of its pictures is gone, and is made again", is_settled=True)
    if sent is None and job.part:
        # Without the record of its frames the whole clip would be sent, and paid for, in its place.
        return on.Changed("the record of what is sent is gone", is_settled=True)
    if sent is None and _was_made(job, folders):
        # It was cut or converted, and priced as that: sent as it came, it may cost more than was approved.
        return on.Changed("the record of what is sent is gone", is_settled=True)
    sent = sent or _as_it_came(job, clip, folders)
    files = iter(enumerate(sent.references))
    source = _stands_for(job, clip, folders, depot, (None, sent.source))
    references: list[Inline | str | None] = [
        reference.uri or _stands_for(job, clip, folders, depot, next(files, None))
        for reference in job.request.references
    ]
    whole = [one for one in references if one is not None]
    if source is None or len(whole) < len(references):
        return on.Changed("its upload is gone or too old, and is made again", is_settled=True)
    endpoint, body = compose(job.request, source, whole)
    return Call(endpoint, body)


def _stands_for(
    job: Job, clip: Clip, folders: Folders, depot: Depot, file: tuple[int | None, SentFile] | None
) -> Inline | str | None:
    # What changed since it was prepared was never checked, and would be paid for unseen.
    if file is None or not is_unchanged(folders, clip, file[1]):
        return None
    return depot.address(file[1].way, parcel_of(folders, clip, job, *file), file[1].put_at)


def _was_made(job: Job, folders: Folders) -> bool:
    """Whether its work folder holds anything that was prepared for it: then a record belongs to it."""
    made = made_name(job, job.prepared_by, ".sent")
    return any(name.startswith(made) for name in folders.inbox.names(folder_of(job.clip_id)))


def _as_it_came(job: Job, clip: Clip, folders: Folders) -> Sent:
    """Return the record of a clip and its images that are sent unchanged in the request."""
    home = folder_of(clip.id)
    images = []
    for reference in job.request.references:
        if reference.file:
            here = folders.inbox.stat(join(home, reference.file))
            content_type = content_type_of(split_suffix(reference.file)[1].lower())
            images.append(
                SentFile(reference.file, here.st_size, here.st_mtime_ns, "", content_type, "inline")
            )
    source = SentFile(clip.source, clip.size, clip.mtime_ns, clip.sha256 or "", type_of_clip(clip), "inline")
    return Sent(source, tuple(images))


def _refused(fault: Fault) -> Event:
    match fault.of:
        case FaultOf.CLIP if fault.code.startswith("WORK.") or fault.code == "FILE.UNREADABLE":
            return on.NotSubmitted(fault)  # its folder may come back
        case FaultOf.CLIP:
            # Sent again it would be refused again.
            return on.Failed(Error(fault.code, fault.message, fault.what_to_do))
        case FaultOf.MOMENT | FaultOf.MODEL | FaultOf.ACCOUNT:
            return on.NotSubmitted(fault)
