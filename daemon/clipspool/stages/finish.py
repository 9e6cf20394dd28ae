"""Checks fetched results, and makes them fit their source's place in a timeline; none is ever lost here."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from fractions import Fraction
from io import FileIO

import structlog

from clipspool.jobs.events import Event, Fetched, PartlyFetched, Postponed, StageFailed
from clipspool.jobs.model import Clip, Held, Job, Request, Result
from clipspool.jobs.text import text
from clipspool.jobs.working import ReportWork, Working, keep_to_oneself
from clipspool.media.decoder import Decoder
from clipspool.media.facts import Finished, MediaFault
from clipspool.media.lengths import Length, is_far_from
from clipspool.media.signing import Ingredient
from clipspool.media.timeline import FinishChoices, FinishPlan, finish_plan
from clipspool.spool.sources import open_source
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import folder_of, made_name
from clipspool.stages.fit import make_file
from clipspool.stages.payload import (
    Sent,
    bars_sent,
    length_sent,
    part_sent,
    rate_sent,
    read_sent,
    was_extended,
)
from clipspool.stages.sign import UNSIGNED, Signing, sign
from clipspool.system.atomic import join, name_of, split_suffix

log = structlog.get_logger()


def finish(
    job: Job,
    clip: Clip,
    folders: Folders,
    fetched: Fetched,
    decoder: Decoder,
    *,
    attempt: str,
    signing: Signing = UNSIGNED,
    report: ReportWork = keep_to_oneself,
) -> Event:
    """Finish what was fetched, where that is asked for. A result that cannot be finished is delivered as is.

    In any case a result loses what was added to its clip before it was sent: black bars, a held picture. Done
    again after a crash it does the same. Raises OSError, Unavailable among them.
    """
    sent = read_sent(folders.inbox, clip, job)
    if job.request.finish == "as_is" and not was_extended(sent):
        return fetched
    results: list[Result] = []
    for result in fetched.results:
        if result.finished or result.is_untouched:  # before one of them was lost, and fetched again
            results.append(result)
            continue
        finished = _Finishing(job, attempt, folders, clip, decoder, signing, sent, report).run(result)
        if isinstance(finished, StageFailed) and job.cancel_by:
            finished = _as_it_came(result, finished.message)  # it is to end now, not once there is room
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


def wanted_of(request: Request) -> FinishChoices:
    """Return what a job asks for of its finished film."""
    codec, by_time = request.finish_codec or None, request.finish_timing == "time"
    return FinishChoices(request.finish_size == "source", codec, by_time)


@dataclass(frozen=True, slots=True)
class _Finishing:
    job: Job
    attempt: str
    folders: Folders
    clip: Clip
    decoder: Decoder
    signing: Signing
    sent: Sent | None
    report: ReportWork

    def run(self, result: Result) -> Result | Postponed | StageFailed:
        """Finish one result; the provider's own file stays beside it."""
        if not result.is_film:
            return _as_it_came(result, "it is no video")
        made = join(folder_of(self.clip.id), result.file)
        is_timeline = self.job.request.finish != "as_is"
        try:
            root = self.folders.inbox
            source = open_source(root, self.clip, self.job.request) if is_timeline else root.open(made)
        except FileNotFoundError:
            return _as_it_came(result, "its source is gone")
        with source, self.folders.inbox.open(made) as file:
            plan = self._plan(file, source)
            if isinstance(plan, MediaFault):
                return _faulted(result, plan)
            if plan.is_nothing:
                # A new container would change its bytes, and lose the signature in them.
                words = ("it lay in the timeline as it came", plan.lost, plan.kind)
                return replace(result, finished=tuple(filter(None, words)))
            return self._make(result, plan, file, source)

    def _told(self, _run: int, share: float) -> None:
        self.report(Working("finishing the result", share))

    def _plan(self, file: FileIO, source: FileIO) -> FinishPlan | MediaFault:
        start, seconds = part_sent(self.sent)
        bars = bars_sent(self.sent)
        seen = self.decoder.probe(file.fileno())
        if isinstance(seen, MediaFault):
            return seen
        if self.job.request.finish == "as_is":
            return finish_plan(seen, seen, seconds=seconds, bars=bars)
        origin = self.decoder.probe(source.fileno())
        if isinstance(origin, MediaFault):
            return origin
        wanted = wanted_of(self.job.request)
        return finish_plan(
            seen,
            origin,
            start_seconds=start,
            seconds=seconds,
            bars=bars,
            sent_fps=rate_sent(self.sent),
            wanted=wanted,
        )

    def _make(
        self, result: Result, plan: FinishPlan, file: FileIO, source: FileIO
    ) -> Result | Postponed | StageFailed:
        # What was fetched may be of an earlier attempt, so that its name does not do.
        _, _, number = result.file.removesuffix(result.suffix).rpartition("-")
        name = made_name(self.job, self.attempt, f"-{number}.timeline.{plan.container}")
        made = make_file(
            self.folders.inbox,
            join(folder_of(self.clip.id), name),
            lambda target: self.decoder.finish(
                file.fileno(), source.fileno(), target.fileno(), plan, on_share=self._told
            ),
        )
        if isinstance(made, MediaFault):
            return _faulted(result, made)
        ingredients = self._ingredients(result, file, source)
        finished = film_of(result, name, plan, made)
        signed = sign(finished, ingredients, self.job, self.clip, self.folders, self.signing)
        return _faulted(result, signed) if isinstance(signed, MediaFault) else signed

    def _ingredients(self, result: Result, file: FileIO, source: FileIO) -> tuple[Ingredient, ...]:
        """Return what the finished film is made of: the provider's, and the clip whose sound it has."""
        made_by = f"{self.job.request.model}, task {self.job.task.task_id if self.job.task else ''}"
        made = Ingredient(file, made_by, result.suffix, is_parent=True)
        if self.job.request.finish == "as_is":
            return (made,)
        suffix = split_suffix(self.clip.source)[1].lower()
        return (made, Ingredient(source, text(name_of(self.clip.path)), suffix, is_parent=False))


def film_of(
    result: Result, name: str, plan: FinishPlan, made: tuple[Finished, str, os.stat_result]
) -> Result:
    """Return a result with the film that was made by a plan in its place."""
    done, sha256, here = made
    return replace(
        result,
        file=name,
        suffix=f".{plan.container}",
        size=here.st_size,
        sha256=sha256,
        finished=done.changes,
        seconds=float(plan.frames / Fraction(plan.fps)),
        frames=plan.frames,
        fps=plan.fps,
        is_tall=plan.height > plan.width,
    )


def _as_it_came(result: Result, why: str) -> Result:
    return replace(result, finished=(f"left as it came: {why}",))


def _faulted(result: Result, fault: MediaFault) -> Result | Postponed | StageFailed:
    if fault.code == "MEDIA.STOPPED":
        return Postponed("the daemon stops", 0.0)
    if fault.code == "MEDIA.NO_SPACE":
        return StageFailed("INBOX.FULL", fault.message, held=Held.DISK)
    return _as_it_came(result, fault.message)


def judge(job: Job, clip: Clip, folders: Folders, fetched: Fetched, seconds_max: float | None) -> Fetched:
    """Compare the first film with what was sent; `seconds_max` is how much of a clip the model uses.

    A film that is far shorter or longer waits for a person: nobody watches every result of a night.
    """
    sent = read_sent(folders.inbox, clip, job)
    hashes = {clip.sha256, sent.source.sha256 if sent else None}
    results = tuple(_noticed(one, hashes) for one in fetched.results)
    expected = length_sent(clip, sent)
    first = next((one for one in results if one.seconds is not None), None)
    if first is None or first.seconds is None or expected is None:
        return replace(fetched, results=results)
    length, expected = Length(first.seconds, first.frames, first.fps), expected.at_most(seconds_max)
    if not is_far_from(length, expected):
        return replace(fetched, results=results)
    why = f"the result lasts {length.in_words()}, and {expected.in_words()} were sent"
    results = tuple(_with_notice(one, why) if one is first else one for one in results)
    orders = "`clipspool approve` delivers it as it is, `clipspool retry` pays for another one"
    return replace(fetched, results=results, doubt=f"{why}; {orders}")


def _noticed(result: Result, hashes: set[str | None]) -> Result:
    if result.sha256 not in hashes:
        return result
    return _with_notice(result, "the result is the file that was sent, byte for byte")


def _with_notice(result: Result, what: str) -> Result:
    """Return a result with one more notice, once: it is judged again where only finishing it failed."""
    return result if what in result.noticed else replace(result, noticed=(*result.noticed, what))
