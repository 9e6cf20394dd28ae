"""Where stages get their tools: folders, provider, decoder and catalogue, by the job they are for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import FileIO
from typing import Any, assert_never

from clipspool.bay import Bay
from clipspool.catalog import Catalog
from clipspool.events import Event, StageFailed
from clipspool.job import Clip, Job, Problem, Request
from clipspool.lifecycle import Stage
from clipspool.media import boxes
from clipspool.media.decoder import Decoder
from clipspool.media.facts import MediaFault
from clipspool.provider import Inline, Look, Provider, TaskStatus, encoded_length
from clipspool.stages.deliver import deliver
from clipspool.stages.fetch import Seen, fetch
from clipspool.stages.poll import poll, task_id_of, tell_cancel
from clipspool.stages.prepare import prepare
from clipspool.stages.retire import retire, sweep
from clipspool.stages.submit import content_type_of, submit

_FRESH_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Tools:
    """What the operator's settings make of the tools; replaced as a whole by a reload."""

    bays: Mapping[str, Bay]
    provider: Provider
    catalog: Catalog
    inline_bytes_max: int
    follow: Callable[[str], Provider | None]
    """Gives the provider for a task's profile; None where this key must not be shown to that address."""


@dataclass(slots=True)
class Shop:
    """The workshop of a running daemon. Its methods may be called from any thread."""

    tools: Tools
    decoder: Decoder
    now: Callable[[], float]
    stopping: Callable[[], bool] = field(default=lambda: False)
    _ended_looks: dict[str, tuple[float, Look]] = field(default_factory=dict)
    """By task id, what the poll saw that found it ended: its addresses are fresh, and kept nowhere else."""

    def work(self, stage: Stage, job: Job, clip: Clip, gate: Callable[[], bool]) -> Event:
        """Run one stage of one job; raises OSError for a fault of the disk."""
        tools = self.tools
        match stage:
            case Stage.PREPARE:
                return prepare(job, clip, tools.bays[job.inbox], tools.catalog.credits)
            case Stage.SUBMIT:
                return submit(job, clip, tools.bays[job.inbox], tools.provider, self._compose, gate)
            case Stage.DELIVER:
                return deliver(job, clip, tools.bays[job.inbox], self.now())
            case Stage.POLL | Stage.FETCH | Stage.TELL_CANCEL:
                return self._follow(stage, job, tools)
            case never:
                assert_never(never)

    def _follow(self, stage: Stage, job: Job, tools: Tools) -> Event:
        profile = job.task.profile if job.task else ""
        provider = tools.follow(profile)
        if provider is None:
            address = profile.partition("#")[0]
            message = f"the task was made at {address} with another key, which is no longer configured"
            return StageFailed("PROVIDER.OTHER", message)
        task_id = task_id_of(job)
        if stage is Stage.TELL_CANCEL:
            return tell_cancel(job, provider)
        if stage is Stage.POLL:
            seen = provider.look(task_id)
            if isinstance(seen, Look) and seen.status is TaskStatus.SUCCEEDED:
                self._ended_looks[task_id] = (self.now(), seen)
            return poll(seen)
        seen_at, look = self._ended_looks.pop(task_id, (0.0, None))
        if self.now() - seen_at > _FRESH_SECONDS:
            look = None
        return fetch(job, tools.bays[job.inbox], provider, self._look_into, self.stopping, look)

    def retire(self, clip: Clip, jobs: Sequence[Job]) -> Clip:
        """Move a clip's source to where it ends; raises OSError."""
        return retire(clip, jobs, self.tools.bays[clip.inbox])

    def sweep(self, clip: Clip) -> None:
        """Remove a retired clip's work folder; raises OSError."""
        sweep(clip, self.tools.bays[clip.inbox])

    def _compose(
        self, request: Request, source: Inline | str, references: Sequence[Inline | str]
    ) -> tuple[str, dict[str, Any]]:
        catalog = self.tools.catalog
        return catalog.models[request.model].endpoint, catalog.body(request, source, references)

    def _look_into(self, file: FileIO) -> Seen:
        kind = boxes.container(file)
        if kind is None:
            return Seen("", "it is no video")
        seen = self.decoder.verify(file.fileno())
        if isinstance(seen, MediaFault):
            return Seen("", seen.message)
        return Seen(boxes.suffix_for(kind))

    def check(self, request: Request) -> list[Problem]:
        """Say what the catalogue has against a request."""
        return self.tools.catalog.problems(request)

    def inspect(self, file: int) -> tuple[dict[str, Any], list[Problem]]:
        """Look into a clip that lies in an inbox: what it holds, and what its editor has to mend."""
        seen = self.decoder.probe(file)
        if isinstance(seen, MediaFault):
            return {}, [Problem(f"{seen.message} {seen.what_to_do}".strip())]
        facts = seen.to_dict()
        length = encoded_length(seen.size_bytes, content_type_of(f".{seen.container}"))
        most = self.tools.inline_bytes_max
        if length > most:
            megabytes = most * 3 // 4 / 1e6
            return facts, [
                Problem(
                    f"the clip is too large to be sent: {seen.size_bytes / 1e6:.1f} MB, and up to "
                    f"{megabytes:.1f} MB are taken. Export it shorter or with a lower bit rate."
                )
            ]
        return facts, []
