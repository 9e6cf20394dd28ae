"""Looks at what was fetched before it is delivered: is it as long as what was sent, and another film."""

from __future__ import annotations

from dataclasses import replace

from clipspool.jobs.events import Fetched
from clipspool.jobs.model import Clip, Job, Result
from clipspool.media.lengths import Length, is_far_from
from clipspool.spool.watchfolder import Bay
from clipspool.stages.payload import length_sent, read_sent


def judge(job: Job, clip: Clip, bay: Bay, fetched: Fetched, seconds_max: float | None) -> Fetched:
    """Compare the first film with what was sent; `seconds_max` is how much of a clip the model uses.

    What is far shorter or longer waits for a person: nobody looks at every result of a night.
    """
    sent = read_sent(bay.inbox, clip, job)
    hashes = {clip.sha256, sent.source.sha256 if sent else None}
    results = tuple(_noticed(one, hashes) for one in fetched.results)
    expected = length_sent(clip, sent)
    first = next((one for one in results if one.is_film and one.seconds is not None), None)
    if first is None or first.seconds is None or expected is None:
        return replace(fetched, results=results)
    length, expected = Length(first.seconds, first.frames, first.fps), expected.at_most(seconds_max)
    if not is_far_from(length, expected):
        return replace(fetched, results=results)
    said = f"the result lasts {length.in_words()}, and {expected.in_words()} were sent"
    results = tuple(replace(one, noticed=(*one.noticed, said)) if one is first else one for one in results)
    orders = "`clipspool approve` delivers it as it is, `clipspool retry` pays for another one"
    return replace(fetched, results=results, doubt=f"{said}; {orders}")


def _noticed(result: Result, hashes: set[str | None]) -> Result:
    if result.sha256 not in hashes:
        return result
    said = "the result is the very file that was sent, byte for byte"
    return replace(result, noticed=(*result.noticed, said))
