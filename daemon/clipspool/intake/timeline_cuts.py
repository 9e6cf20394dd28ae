"""Places the cuts of a timeline in their media, frame by frame, and writes each as a job's settings; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from math import ceil
from typing import Any

from clipspool.intake.advice import did_you_mean
from clipspool.intake.kinds import Sort, sort_of, stem
from clipspool.intake.names import TOML, Kind
from clipspool.intake.near import folded
from clipspool.intake.pair import Entry
from clipspool.intake.sidecar.keys import VARIANTS_MAX
from clipspool.intake.sidecar.layers import of_cut
from clipspool.intake.sidecar.parse import Layer, layer_of
from clipspool.intake.sidecar.references import spellings
from clipspool.media.facts import Probe
from clipspool.media.rates import constant_rate
from clipspool.media.timelines import Cut
from clipspool.media.timelines.model import frames_of_timecode
from clipspool.spool.timelines import PlannedCut
from clipspool.system.atomic import Rel
from clipspool.system.redaction import readable

HANDLE_FRAMES = 12
_VARIANT = re.compile(r"variant\.(\d+)\.")
NAMED_MAX = 8
NO_TIMELINES = "timelines are not taken from an inbox that is only read: write sidecars for its clips instead"
HOW_TO_MARK = (
    "no clip in it is marked: put a marker on each clip that is meant, or above it on the ruler, with the "
    "prompt as its comment (EDL: a line `* LOC:` or `* COMMENT:` with the prompt below the event)"
)


def timelines_in(entries: Sequence[Entry]) -> Iterator[tuple[Entry, Entry | None]]:
    """Yield the timelines of a group with their sidecars: `cut.edl.toml`, or `cut.toml` if no clip has it.

    Letter case does not matter where only one file has the name.
    """
    own = [entry for entry in entries if entry.kind is Kind.SIDECAR]
    files = {folded(entry.name): entry for entry in own} | {entry.name: entry for entry in own}
    for entry in entries:
        if entry.kind is Kind.TIMELINE:
            names = [f"{entry.name}{TOML}", *([] if _has_clip(entries) else [f"{stem(entry.name)}{TOML}"])]
            found = (files.get(name) or files.get(folded(name)) for name in names)
            yield entry, next(filter(None, found), None)


def _has_clip(entries: Sequence[Entry]) -> bool:
    return any(entry.kind in {Kind.CLIP, Kind.TEMPORARY} for entry in entries)


def nearly_its_sidecar(timeline: str, entries: Sequence[Entry]) -> str:
    """Return advice on a file of its group that may be meant as its sidecar, and is not read; "" for none.

    Without it the clips would be paid for with other settings.
    """
    near = [e.name for e in entries if e.kind is Kind.NEAR or sort_of(e.name) is Sort.SETTINGS]
    if not near or _has_clip(entries):
        return ""
    return f"it has no sidecar yet; {did_you_mean(near[0], timeline)}"


def why_missing(missing: Sequence[Cut]) -> str:
    """Return which clips a timeline waits for; empty for none."""
    paths = [spellings(cut.media[0])[-1] if cut.media else cut.name for cut in missing]
    names = list(dict.fromkeys(path.rpartition("/")[2] for path in paths))
    stills = [name for name in names if sort_of(name) is Sort.PICTURE]
    if stills:
        todo = "make a film of them under that name, or remove their markers"
        return f"it marks pictures, of which no film can be made here: {_listed(stills)}; {todo}"
    lacks = f"clips that it shows are neither in its folder nor below it: {_listed(names)}; put them there"
    return lacks if names else ""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return ", ".join(f"`{readable(name)}`" for name in names[:NAMED_MAX]) + more


def why_doubtful(doubtful: Sequence[tuple[Cut, Sequence[Rel]]]) -> str:
    """Return which marked cut of a timeline may show one of several clips; empty for none."""
    for cut, paths in doubtful:
        if cut.mark is not None and not cut.refusal:
            shown = " or ".join(f"`{readable(path)}`" for path in paths[:NAMED_MAX])
            todo = (
                "name their folders as the timeline's own paths do (an EDL has none), or leave only one here"
            )
            return f"{cut.in_words} may show {shown}: {todo}"
    return ""


def why_twice(timeline: str) -> str:
    """Return why a clip waits that a timeline shows, and that has a sidecar of its own."""
    return f"the timeline `{timeline}` shows it, and it has a sidecar of its own: remove one of the two"


def why_perhaps(timeline: str, todo: str = "") -> str:
    """Return why a clip without a sidecar waits for a timeline that cannot be read."""
    todo = todo or "correct or remove the timeline"
    why = f"the timeline `{readable(timeline)}` cannot be read, and may show it"
    return f"{why}: {todo}, or give this clip a sidecar of its own"


def placed(
    timeline: Rel, clip: Rel, marked: Sequence[Cut], facts: dict[str, Any], layers: Sequence[Layer]
) -> tuple[list[str], list[tuple[tuple[PlannedCut, ...], Layer]]]:
    """Place marked cuts in their clip twice: with the handles that `layers` ask for, and without any.

    Returns what is wrong with them, or for each of the two tries the cuts and their settings.
    """
    if len(marked) > VARIANTS_MAX:
        why = f"`{readable(clip)}` is marked {len(marked)} times, and has {VARIANTS_MAX} results at most"
        return [f"{why}: remove markers, or divide the timeline"], []
    said = (layer.keys["handle_frames"] for layer in reversed(layers) if "handle_frames" in layer.keys)
    asked = int(next(said, HANDLE_FRAMES))
    tries = []
    for handles in dict.fromkeys((asked, 0)):
        cuts = [_planned(cut, facts, handles, clip) for cut in marked]
        if wrong := [one for one in cuts if isinstance(one, str)]:
            return wrong, []
        why = "without handles: with them it is longer than the model takes" if handles < asked else ""
        good = tuple(
            replace(one, variant=f"_v{number}" if len(cuts) > 1 else "", why=why)
            for number, one in enumerate(cuts, 1)
            if not isinstance(one, str)
        )
        tries.append((good, _settings_of(timeline, marked, good)))
    return [], tries


def _settings_of(timeline: Rel, marked: Sequence[Cut], cuts: Sequence[PlannedCut]) -> Layer:
    """Return what the timeline says of a medium, as a sidecar would."""
    tables: list[dict[str, Any]] = []
    for cut, planned in zip(marked, cuts, strict=True):
        fps = Fraction(planned.fps)
        keys: dict[str, Any] = {
            "start_seconds": float(planned.first / fps),
            "length_seconds": float(planned.frames / fps),
        }
        tables.append({**keys, **({"prompt": cut.mark} if cut.mark else {})})
    # Only a result with its source's frames can take its place, and nothing but these frames is paid for.
    body: dict[str, Any] = {"finish": "timeline", "long_clips": "trim"}
    body |= tables[0] if len(tables) == 1 else {"variant": tables}
    layer = layer_of(body, timeline, is_own=True)
    names = tuple(cut.in_words for cut in marked)
    numbers = (_VARIANT.match(problem.key) for problem in layer.problems)
    numbered = zip(layer.problems, numbers, strict=True)
    problems = tuple(of_cut(one, names[int(found[1]) - 1 if found else 0]) for one, found in numbered)
    return replace(layer, problems=problems, cuts=names)


def _planned(cut: Cut, facts: dict[str, Any], handles: int, clip: Rel) -> PlannedCut | str:
    """Place a cut in its media, frame by frame; returns what is wrong where it does not lie in it."""
    probe = Probe.from_dict(dict(facts))
    fps = constant_rate(probe)
    total = round(Fraction(probe.seconds) * fps)
    zero = frames_of_timecode(probe.timecode, fps) if probe.timecode else None
    # The media's own timecode tells whether frames are dropped: a program writes `:` or `;` as its timeline
    # counts.
    is_drop = ";" in probe.timecode if probe.timecode else None
    day = frames_of_timecode("24:00:00:00", fps, is_drop=is_drop) or 0
    if cut.timecodes is not None:
        times = [frames_of_timecode(one, fps, is_drop=is_drop) for one in cut.timecodes]
        if times[0] is None or times[1] is None:
            rate = f"{float(fps):.6g} frames a second"
            return f"{cut.in_words}: its times cannot be read at {rate}, which its media has"
        begin, frames = times[0], times[1] - times[0]
        frames += day if frames < 0 and frames + day <= total else 0
    else:
        begin, frames = round(cut.start * fps), round(cut.seconds * fps)
    if cut.origin is not None:
        origin = round(cut.origin * fps)
    else:
        origin = zero if zero is not None and begin >= zero else 0
        if zero is not None and begin < zero and begin + day - zero + frames <= total:
            origin = zero - day  # a recording over midnight
    first = begin - origin
    if frames == total - first + 1:  # rounded up by a program that counts in another rate
        frames -= 1
    if frames < 1:
        return f"{cut.in_words}: it ends where it begins, or before that"
    if first < 0 or first + frames > total:
        shown = f"it shows frames {first} to {first + frames - 1} of its media, which has {total}"
        shown += f" from timecode {probe.timecode} on" if probe.timecode else ""
        todo = "is it the right file?"
        if cut.timecodes is not None and not probe.timecode:
            # Sony's MP4 has its timecode where only editing programs look for it.
            shown += ", and no timecode that can be read here"
            todo = "export FCP XML, FCPXML or OTIO, which count from its first picture"
        return f"{cut.in_words}: {shown}; {todo}"
    before = min(first, max(handles, ceil(cut.before * fps)))
    after = min(total - first - frames, max(handles, ceil(cut.after * fps)))
    start = (cut.origin if cut.origin is not None else Fraction(origin) / fps) + (first - before) / fps
    return PlannedCut(
        number=cut.number,
        name=cut.name,
        clip=clip,
        start=str(start),
        first=first - before,
        frames=before + frames + after,
        before=before,
        after=after,
        fps=str(fps),
        has_timecode=zero is not None and origin in {zero, zero - day},
    )
