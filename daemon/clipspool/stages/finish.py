"""Makes fetched results fit the place of their source in a timeline; no result is ever lost here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from io import FileIO

import structlog

from clipspool.jobs.events import Event, Fetched, PartlyFetched, Postponed, StageFailed
from clipspool.jobs.model import Clip, Held, Job, Result
from clipspool.jobs.outputs import ZIP
from clipspool.media.decoder import Decoder
from clipspool.media.facts import MediaFault
from clipspool.media.timeline import FinishPlan, finish_plan
from clipspool.spool.watchfolder import Bay
from clipspool.spool.workfolder import folder_of, open_source
from clipspool.stages.fit import make_file
from clipspool.stages.payload import part_sent, read_sent
from clipspool.system.atomic import join

log = structlog.get_logger()


def finish(job: Job, clip: Clip, bay: Bay, fetched: Fetched, decoder: Decoder) -> Event:
    """Finish what was fetched, where that is asked for. A result that cannot be finished is delivered as is.

    Done again after a crash it does the same. Raises OSError, Unavailable among them.
    """
    if job.request.finish == "as_is":
        return fetched
    results: list[Result] = []
    for result in fetched.results:
        if result.finished or result.is_untouched:  # before one of them was lost, and fetched again
            results.append(result)
            continue
        finished = _Finishing(job, bay, clip, decoder).run(result)
        if isinstance(finished, Postponed | StageFailed):
            # What was fetched stays recorded: only the finishing is tried again.
            if isinstance(finished, Postponed):
                return PartlyFetched(fetched.results, finished.reason, fetched.missing, is_fault=False)
            held = finished.held or Held.RESULT
            return PartlyFetched(fetched.results, finished.message, fetched.missing, held=held)
        results.append(finished)
        if job.request.keep_untouched and finished.file != result.file:
            results.append(replace(result, is_untouched=True))
    return replace(fetched, results=tuple(results))


@dataclass(frozen=True, slots=True)
class _Finishing:
    job: Job
    bay: Bay
    clip: Clip
    decoder: Decoder

    def run(self, result: Result) -> Result | Postponed | StageFailed:
        """Finish one result; the provider's own file stays beside it."""
        if result.suffix == ZIP:
            return _as_it_came(result, "an archive of images has no timeline")
        if not result.is_film:
            return _as_it_came(result, "it is no video")
        home = folder_of(self.clip.id)
        try:
            source = open_source(self.bay.inbox, self.clip)
        except FileNotFoundError:
            return _as_it_came(result, "its source is gone")
        with source, self.bay.inbox.open(join(home, result.file)) as file:
            plan = self._plan(file, source)
            if isinstance(plan, MediaFault):
                return _faulted(result, plan)
            if plan.is_nothing:
                # Putting it into a container anew would change its bytes, and lose what is signed in them.
                return replace(result, finished=("it lay in the timeline as it came",))
            return self._make(result, plan, file, source)

    def _plan(self, file: FileIO, source: FileIO) -> FinishPlan | MediaFault:
        seen, origin = self.decoder.probe(file.fileno()), self.decoder.probe(source.fileno())
        if isinstance(seen, MediaFault):
            return seen
        if isinstance(origin, MediaFault):
            return origin
        start, seconds = part_sent(read_sent(self.bay.inbox, self.clip, self.job))
        is_sized = self.job.request.finish_size == "source"
        return finish_plan(seen, origin, start_seconds=start, seconds=seconds, dimensions=is_sized)

    def _make(
        self, result: Result, plan: FinishPlan, file: FileIO, source: FileIO
    ) -> Result | Postponed | StageFailed:
        name = f"{result.file.removesuffix(result.suffix)}.timeline.{plan.container}"
        made = make_file(
            self.bay.inbox,
            join(folder_of(self.clip.id), name),
            lambda target: self.decoder.finish(file.fileno(), source.fileno(), target.fileno(), plan),
        )
        if isinstance(made, MediaFault):
            return _faulted(result, made)
        done, sha256, here = made
        changes = done.changes
        if result.credentials:
            changes += ("the content credentials that the provider had signed into it are gone",)
        return replace(
            result,
            file=name,
            suffix=f".{plan.container}",
            size=here.st_size,
            sha256=sha256,
            finished=changes,
            seconds=float(plan.frames / Fraction(plan.fps)),
            frames=plan.frames,
            fps=plan.fps,
            credentials="gone" if result.credentials else "",
        )


def _as_it_came(result: Result, why: str) -> Result:
    return replace(result, finished=(f"left as it came: {why}",))


def _faulted(result: Result, fault: MediaFault) -> Result | Postponed | StageFailed:
    if fault.code == "MEDIA.STOPPED":
        return Postponed("the daemon stops", 0.0)
    if fault.code == "MEDIA.NO_SPACE":
        return StageFailed("INBOX.FULL", fault.message, held=Held.DISK)
    return _as_it_came(result, fault.message)
