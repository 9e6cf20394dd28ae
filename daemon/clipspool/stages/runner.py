"""Runs stages with their tools: folders, provider, decoder, transports and catalogue, by the job."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import FileIO
from typing import Any, assert_never

from clipspool.jobs.assignments import Assignment
from clipspool.jobs.events import Delivered, Event, Fetched, InDoubt, StageFailed, TakenOver
from clipspool.jobs.faults import Unsure
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.model import Clip, Job, Problem, Request
from clipspool.jobs.records import HookRun
from clipspool.jobs.sequence import Facts
from clipspool.jobs.working import ReportWork, Working
from clipspool.media import boxes
from clipspool.media.decoder import Decoder
from clipspool.media.facts import MediaFault
from clipspool.media.kinds import has_credentials, other_kind
from clipspool.media.plan import Bounds
from clipspool.media.signing import Signer
from clipspool.provider.catalog import Catalog
from clipspool.provider.protocol import Followed, Inline, Provider, TaskLook, TaskStatus
from clipspool.provider.transport import Depot
from clipspool.spool.handover import taker_of
from clipspool.spool.layout import SUFFIXES
from clipspool.spool.peers import host_of
from clipspool.spool.root import Root
from clipspool.spool.send_marks import SendMarks
from clipspool.spool.watchfolder import Folders
from clipspool.stages.changed import change_of
from clipspool.stages.deliver import deliver
from clipspool.stages.fetch import FetchTools, Probed, fetch
from clipspool.stages.film import media_of
from clipspool.stages.finish import finish, judge
from clipspool.stages.hooks import HookTools, after, vet
from clipspool.stages.poll import poll, task_id_of, tell_cancel
from clipspool.stages.poster import draw_posters, draw_posters_of
from clipspool.stages.prepare import PrepareTools, prepare, take_up_again
from clipspool.stages.provenance import why_perhaps_paid
from clipspool.stages.quoting import Quoting
from clipspool.stages.relink import note_ends
from clipspool.stages.retire import keep_results, missing, retire, sweep
from clipspool.stages.reuse import reuse
from clipspool.stages.sign import Signing
from clipspool.stages.split import JoinTools, join_results, record_parts
from clipspool.stages.submit import SubmitTools, submit
from clipspool.stages.unpack import unpack

_FRESH_SECONDS = 30.0
_CLIP_BYTES_MAX = 200 << 30
_HOLES_BYTES_MIN = 16 << 20
"""Smaller files may be compressed by their file system."""
_UNSURE = frozenset({"MEDIA.CRASHED", "MEDIA.TIMEOUT", "MEDIA.STOPPED"})
"""Lack of memory or time may be the cause as well as the file."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools that follow from the settings; replaced as a whole by a reload."""

    folders_of: Mapping[str, Folders]
    provider: Provider
    catalog: Catalog
    depot: Depot
    follow: Callable[[str], Followed | None]
    """Returns the provider for a task's profile; None where this key must not be sent to that address."""
    hooks: HookTools = field(default_factory=HookTools)
    signer: Signer | None = None
    """Signs re-encoded films; None where no certificate is configured."""
    draws_posters: Callable[[], bool] = field(default=lambda: True)
    """Whether anybody can see them: drawing one takes half of what the decoder does for a clip."""

    def limits(self, request: Request) -> Bounds | None:
        """Return the limits of a request's model; None for a model that is not in the catalogue any more."""
        return self.catalog.limits(request.model) if request.model in self.catalog.models else None

    @property
    def troubles(self) -> list[str]:
        """What is wrong with them, for the operator."""
        why = self.signer.trouble if self.signer is not None else ""
        return [f"results are not signed: {why}"] if why else []

    @property
    def quoting(self) -> Quoting:
        """Completes, checks and prices requests."""
        return Quoting(self.catalog, self.depot.ways)


@dataclass(slots=True)
class StageRunner:
    """Runs the stages of a running daemon. Its methods may be called from any thread."""

    tools: Tools
    decoder: Decoder
    send_marks: SendMarks
    now: Callable[[], float]
    may_send: Callable[[], bool]
    """Whether this daemon may still spend, publish and move sources; asked right before each.

    Without a default: who forgets it would let a leader that was frozen pay for what its heir pays for.
    """
    stopping: Callable[[], bool] = field(default=lambda: False)
    mark: Callable[[str, Root], None] = field(default=lambda _inbox, _root: None)
    """Writes into an inbox how far the journal has come."""
    copied: Callable[[Root], str] = field(default=lambda _root: "")
    """Returns where another daemon serves a copy of this journal; empty where none does."""
    _working: dict[str, Working] = field(default_factory=dict)
    """By job, how far a stage has come that is under way here."""
    _ended_looks: dict[str, tuple[float, TaskLook]] = field(default_factory=dict)
    """By task id, the poll that found it ended: its addresses are fresh, and kept nowhere else."""

    def equip(self, tools: Tools) -> None:
        """Replace the tools, after a reload; stages under way keep theirs."""
        self.tools = tools

    def work(self, given: Assignment, gate: Callable[[], bool]) -> Event:
        """Run one stage of one job; raises OSError for a fault of the disk."""
        tools = self.tools
        if given.stage in {Stage.POLL, Stage.TELL_CANCEL}:
            return self._follow(given.stage, given.job, tools)
        folders = tools.folders_of[given.job.inbox]
        try:
            with folders.held():
                return self._handle(given, folders, gate)
        finally:
            self._working.pop(given.job.id, None)

    def working(self) -> Mapping[str, Working]:
        """Return what is done to each job at this moment, where it takes long enough to be shown."""
        return self._working.copy()

    def _reports(self, job: Job) -> ReportWork:
        def report(working: Working) -> None:
            self._working[job.id] = working

        return report

    def _handle(self, given: Assignment, folders: Folders, gate: Callable[[], bool]) -> Event:
        tools, job, clip = self.tools, given.job, given.clip
        if taker := taker_of(folders.inbox, clip.id, folders.journal):
            return TakenOver(taker, host_of(folders.inbox, taker))
        match given.stage:
            case Stage.PREPARE if job.reuse is not None:
                return reuse(job, clip, tools.folders_of, job.reuse, attempt=given.attempt)
            case Stage.PREPARE if why := why_perhaps_paid(folders.inbox, clip, job):
                return InDoubt(job.task.number + 1 if job.task else 1, tools.provider.profile, why)
            case Stage.PREPARE:
                return prepare(job, clip, folders, self._prepare_tools(tools, job), attempt=given.attempt)
            case Stage.VET:
                return vet(job, clip, folders, tools.hooks, self.stopping)
            case Stage.SUBMIT if job.is_split:
                return record_parts(job, clip, folders, self.may_send)
            case Stage.SUBMIT:
                submit_tools = SubmitTools(
                    tools.provider,
                    tools.depot,
                    self._compose,
                    self.send_marks,
                    self.may_send,
                    self.mark,
                    self.copied,
                    self.complete,
                    tools.catalog.retirement,
                )
                return submit(job, clip, folders, submit_tools, gate)
            case Stage.FETCH if job.is_split:
                joining = JoinTools(self.decoder, Signing(tools.signer, self.stopping), self._reports(job))
                return join_results(job, clip, folders, joining, attempt=given.attempt)
            case Stage.FETCH:
                return self._fetch(given, folders, tools)
            case Stage.DELIVER:
                return self._deliver(job, clip, folders)
            case Stage.POLL | Stage.TELL_CANCEL:
                raise ValueError(given.stage)
            case never:
                assert_never(never)

    def _deliver(self, job: Job, clip: Clip, folders: Folders) -> Event:
        """Publish a job's results. Of several versions each has its poster at once: its clip retires late."""
        event = deliver(job, clip, folders, self.now(), self.may_send)
        if self.tools.draws_posters() and isinstance(event, Delivered) and (job.variant or job.version > 1):
            draw_posters_of(clip, replace(job, results=event.results), folders, self.decoder)
        return event

    def _prepare_tools(self, tools: Tools, job: Job) -> PrepareTools:
        return PrepareTools(
            self.decoder,
            tools.depot,
            tools.limits,
            tools.catalog.credits,
            self.now,
            self.stopping,
            self._reports(job),
        )

    def _provider_of(self, job: Job, tools: Tools) -> Followed | StageFailed:
        profile = job.task.profile if job.task else ""
        provider = tools.follow(profile)
        if provider is None:
            address = profile.partition("#")[0]
            message = f"the task was made at {address} with another key, which is no longer configured"
            return StageFailed("PROVIDER.OTHER", message)
        return provider

    def _follow(self, stage: Stage, job: Job, tools: Tools) -> Event:
        provider = self._provider_of(job, tools)
        if stage is Stage.TELL_CANCEL:
            return tell_cancel(job, provider)
        if isinstance(provider, StageFailed):
            return provider
        task_id = task_id_of(job)
        seen = provider.look(task_id)
        if isinstance(seen, TaskLook) and seen.status is TaskStatus.SUCCEEDED:
            self._ended_looks[task_id] = (self.now(), seen)
        return poll(seen)

    def _fetch(self, given: Assignment, folders: Folders, tools: Tools) -> Event:
        job, clip, attempt = given.job, given.clip, given.attempt
        provider = self._provider_of(job, tools)
        if isinstance(provider, StageFailed):
            return provider
        if self.may_send():
            take_up_again(job, clip, folders)
        seen_at, look = self._ended_looks.pop(task_id_of(job), (0.0, None))
        if self.now() - seen_at > _FRESH_SECONDS:
            look = None
        report = self._reports(job)
        fetch_tools = FetchTools(provider, self._look_into, self.stopping, self.may_send, report)
        event = fetch(job, folders, fetch_tools, look, attempt=attempt)
        if not isinstance(event, Fetched):
            return event
        event = unpack(
            job, clip, folders, event, self.decoder, attempt=attempt, stopping=self.stopping, report=report
        )
        if not isinstance(event, Fetched):
            return event
        limits = tools.limits(job.request)
        # Before it is finished: the finished film always has its source's length.
        judged = judge(job, clip, folders, event, limits.seconds_max if limits else None)
        if job.part:
            return judged  # what is finished is the film that all parts make
        signing = Signing(tools.signer, self.stopping)
        return finish(
            job, clip, folders, judged, self.decoder, attempt=attempt, report=report, signing=signing
        )

    def run_hook(self, name: str, job: Job, clip: Clip) -> HookRun:
        """Run a hook after a job's end."""
        tools = self.tools
        folders = tools.folders_of.get(job.inbox)
        if folders is None:
            return HookRun(name, trouble="its inbox is not configured any more")
        return after(name, job, clip, folders, tools.hooks, self.stopping)

    def retire(self, clip: Clip, jobs: Sequence[Job]) -> tuple[Clip, str]:
        """Draw posters, and move the clip's source out of its work folder; raises OSError.

        The text is how the source differs from what was sent.
        """
        folders = self.tools.folders_of[clip.inbox]
        if taker_of(folders.inbox, clip.id, folders.journal):
            return replace(clip, lies_at=None, sidecar_lies_at=None), ""
        change = change_of(clip, jobs, folders)
        if self.tools.draws_posters():
            draw_posters(clip, jobs, folders, self.decoder)
        with folders.held():
            keep_results(clip, jobs, folders)
            retired = retire(clip, jobs, folders, self.may_send)
            note_ends(clip, jobs, folders, self.decoder, self.now(), self.may_send)
            return retired, change or missing(retired, jobs, folders)

    def sweep(self, clip: Clip) -> None:
        """Remove a retired clip's work folder, and what was uploaded for it; raises OSError."""
        self.tools.depot.remove(clip.id)
        sweep(clip, self.tools.folders_of[clip.inbox])

    def _compose(
        self, request: Request, source: Inline | str, references: Sequence[Inline | str]
    ) -> tuple[str, dict[str, Any]]:
        catalog = self.tools.catalog
        return catalog.models[request.model].endpoint, catalog.body(request, source, references)

    def _look_into(self, file: FileIO) -> Probed:
        kind = boxes.container(file)
        if kind is None:
            return self._look_into_other(file)
        seen = self.decoder.verify(file.fileno())
        if isinstance(seen, MediaFault):
            return Probed("", seen.message)
        film = None if kind == "zip" else seen
        return Probed(f".{kind}", film=film, credentials="kept" if has_credentials(file) else "")

    def _look_into_other(self, file: FileIO) -> Probed:
        """Probe an output that is no film: a picture, facts about the film, or nothing of use."""
        suffix = other_kind(file)
        if not suffix:
            return Probed("", "it is no video")
        if suffix in SUFFIXES and isinstance(fault := self.decoder.image_facts(file.fileno()), MediaFault):
            return Probed("", fault.message)
        return Probed(suffix)

    def complete(self, request: Request, media: Mapping[str, Any]) -> Request:
        """Return a request with the fields that its model always needs."""
        return self.tools.quoting.complete(request, media)

    def check(self, request: Request, media: Mapping[str, Any]) -> list[Problem]:
        """Return what keeps a request for a clip from being sent: the model's limits, or the clip itself."""
        return self.tools.quoting.check(request, media)

    def price(self, request: Request, media: Mapping[str, Any]) -> float | None:
        """Return the credits that a request for a clip costs; None where that is not known."""
        return self.tools.quoting.price(request, media)

    def inspect(
        self, file: int, pictures: Facts | None = None, size: int = 0
    ) -> tuple[dict[str, Any], list[Problem]]:
        """Probe a clip in an inbox: return its media facts, and why it is no clip at all. Raises Unsure.

        For a folder of `pictures`, which has `size` bytes in all, `file` is the first picture.
        """
        if pictures is None:
            return inspect(self.decoder, file)
        seen = self.decoder.still(file, pictures.kind)
        return (
            ({}, _problems_of(seen)) if isinstance(seen, MediaFault) else (media_of(seen, pictures, size), [])
        )


def inspect(decoder: Decoder, file: int) -> tuple[dict[str, Any], list[Problem]]:
    """Probe an open clip: return its media facts, and why it is no clip at all.

    Raises Unsure where the decoder gave up, which may not be the clip's fault.
    """
    there = os.fstat(file)
    if there.st_size > _CLIP_BYTES_MAX:
        return {}, [Problem(f"the clip is larger than {_CLIP_BYTES_MAX >> 30} GB. Export it smaller.")]
    if there.st_size > _HOLES_BYTES_MIN and there.st_blocks * 512 < there.st_size // 2:
        return {}, [Problem("most of the file is not there yet: it has holes. Copy or export it again.")]
    seen = decoder.probe(file)
    return ({}, _problems_of(seen)) if isinstance(seen, MediaFault) else (seen.to_dict(), [])


def _problems_of(fault: MediaFault) -> list[Problem]:
    if fault.code in _UNSURE:
        raise Unsure(f"{fault.message}. {fault.what_to_do}")
    return [Problem(f"{fault.message}. {fault.what_to_do}".removesuffix(". "))]
