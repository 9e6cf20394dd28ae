"""Accepts timelines: each marked clip becomes a job of its media, which is accepted as clips are.

A timeline takes the place of its media's sidecars. Its plan is written down first, then its media are claimed
one by one, and at last it leaves the inbox itself: after a crash it lies there still, and goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import structlog

from clipspool.intake.accept import Acceptance
from clipspool.intake.advice import HOW_TO_EXPORT
from clipspool.intake.examine import Examination, Pairing, Ready, Unsettled
from clipspool.intake.kinds import card_in, stem, suffix_of
from clipspool.intake.near import folded
from clipspool.intake.notes import WaitingFiles
from clipspool.intake.pair import Entry, Matched, Waits, pair
from clipspool.intake.scan import Folder
from clipspool.intake.settle import Stamp, stamp_of
from clipspool.intake.sidecar.defaults import Chain
from clipspool.intake.sidecar.parse import BYTES_MAX, parse
from clipspool.intake.timeline_cuts import (
    HOW_TO_MARK,
    NAMED_MAX,
    nearly_its_sidecar,
    placed,
    why_doubtful,
    why_missing,
    why_perhaps,
    why_twice,
)
from clipspool.intake.timeline_media import Dropped, Made, Media, Medium, Reading, plan_for, unread_in
from clipspool.intake.tree import Tree, up_to
from clipspool.intake.types import Rules
from clipspool.jobs.messages import Accepted
from clipspool.jobs.model import Request
from clipspool.jobs.naming import numbered
from clipspool.media import timelines
from clipspool.media.timelines import NoTimeline
from clipspool.spool.layout import DONE
from clipspool.spool.root import Root
from clipspool.spool.timelines import Plan, claimed_of, keep, note_left, plan_of
from clipspool.system.atomic import Rel, join, name_of, parent, split_suffix
from clipspool.system.redaction import readable

log = structlog.get_logger()


class Timelines:
    """The timelines of one inbox."""

    def __init__(
        self,
        root: Root,
        rules: Rules,
        tree: Tree,
        examination: Examination,
        acceptance: Acceptance,
        waiting_files: WaitingFiles,
        *,
        chain_of: Callable[[Folder], Chain],
        on_accepted: Callable[[Accepted], None],
    ) -> None:
        """`chain_of` returns the defaults of a folder."""
        self._root, self._rules, self._tree = root, rules, tree
        self._examination, self._acceptance = examination, acceptance
        self._waiting_files = waiting_files
        self._media = Media(root, rules, tree)
        self._chain_of, self._on_accepted = chain_of, on_accepted
        self._read: dict[Rel, Reading] = {}
        self._wanted: dict[Rel, frozenset[Rel]] = {}
        """The media of each timeline that waits."""
        self._judged: set[Rel] = set()
        """The files whose media are known, or that turned out to be no timelines."""

    def wants(self, path: Rel, answer: Matched | Waits, now: float) -> Waits | None:
        """Return why a clip waits that a timeline in the inbox shows; None for any other clip.

        Its group is judged when the timeline's media changes. `answer` is what the files beside it come to.
        """
        unread, todo = "", ""
        # Which clips it shows must be known before one of them is accepted for itself.
        for above in up_to(parent(path)):
            is_searched = above in self._tree.folders and card_in(above) is None
            for name in self._tree.folders[above].timelines if is_searched else ():
                if join(above, name) not in self._judged:
                    soon = now + self._rules.settle_seconds
                    return Waits(path, f"`{readable(name)}` is read first", look_at=soon, proceeds=True)
                reading = self._read.get(join(above, name))
                unread = name if reading is None or reading.may_show_any else unread
            if is_searched and (others := unread_in(self._tree.folders[above])):
                unread, todo = min(others), f"{HOW_TO_EXPORT}, and remove it"
        timeline = next((name for name, media in self._wanted.items() if path in media), None)
        timeline = timeline or self._newly_shown_by(path)
        if timeline is None:
            # Defaults alone would pay for it whole.
            if not unread or isinstance(answer, Waits) or answer.companions:
                return None
            return Waits(path, why_perhaps(unread, todo), needs_others=True)
        self._tree.affected[parent(timeline), self._tree.base(name_of(timeline))] = None
        name = readable(name_of(timeline))
        if isinstance(answer, Matched) and answer.companions:
            return Waits(path, why_twice(name), is_problem=True, needs_others=True)
        return Waits(path, f"the timeline `{name}` shows it, and waits", needs_others=True)

    def forget(self, path: Rel) -> None:
        """Drop what is known of a timeline that is gone or accepted; its media are judged again."""
        self._read.pop(path, None)
        self._judged.discard(path)
        self._expect(path, frozenset())

    def _newly_shown_by(self, path: Rel) -> Rel | None:
        """Return the timeline that shows a clip which was not there yet when the timeline was judged."""
        names = {folded(name_of(path)), folded(stem(name_of(path)))}  # a timeline may leave out the suffix
        for timeline, reading in self._read.items():
            if not names.isdisjoint(reading.names) and timeline in self._judged:
                media = self._media.shown(reading.cuts, parent(timeline)).paths
                if path in media:
                    self._expect(timeline, media)
                    return timeline
        return None

    def _expect(self, timeline: Rel, media: frozenset[Rel]) -> None:
        before = self._wanted.pop(timeline, frozenset())
        if media:
            self._wanted[timeline] = media
        for path in before ^ media:
            self._tree.affected[parent(path), self._tree.base(name_of(path))] = None

    def judge(self, folder: Folder, entry: Entry, sidecar: Entry | None, now: float) -> Waits | None:
        """Accept a timeline, or return why it waits. Raises Unavailable."""
        path = join(folder.rel, entry.name)
        try:
            answer = self._judge(folder, entry, sidecar, now)
        except Unsettled:
            names = (entry.name, *(() if sidecar is None else (sidecar.name,)))
            self._tree.check_files(folder.rel, names, now)
            soon = now + self._rules.settle_seconds
            return Waits(path, "it, or one of its clips, is still changing", look_at=soon, proceeds=True)
        if answer is None:
            self.forget(path)
        return answer

    def _judge(self, folder: Folder, entry: Entry, sidecar: Entry | None, now: float) -> Waits | None:
        path = join(folder.rel, entry.name)
        unready = self._unready(path, [one for one in (entry, sidecar) if one is not None], now)
        # While it may still change, all clips wait for it.
        (self._judged.add if unready is None or unready.is_problem else self._judged.discard)(path)
        if unready is not None:
            return unready
        dropped = self._dropped(folder, entry, sidecar)
        if isinstance(dropped, Waits):
            # Its clips wait also where only its sidecar has mistakes: else defaults may pay for them whole.
            cuts = self._read[path].cuts if path in self._read else ()
            self._expect(path, self._media.shown(cuts, folder.rel).paths)
            return dropped
        known = plan_of(self._root, dropped.id)
        claimed = claimed_of(self._root, known) if known else frozenset()
        shown = self._media.shown(dropped.cuts, folder.rel)
        marked = [cut for cut in dropped.cuts if cut.mark is not None]
        wanted = {one.path: one for one in shown.media if any(cut.mark is not None for cut in one.cuts)}
        self._expect(path, shown.paths)
        if not marked:
            return _problem(path, HOW_TO_MARK)
        beside = folder.entries(self._tree.base(entry.name)) if sidecar is None else ()
        lacks = why_missing(shown.missing) or nearly_its_sidecar(entry.name, beside)
        if lacks and not claimed:
            # They may be on their way: like a clip that waits for its sidecar.
            due = folder.since(entry.name) + self._rules.sidecar_wait_seconds
            return Waits.until(path, lacks, due, now, needs_others=True)
        if not self._judged.issuperset(join(folder.rel, name) for name in folder.timelines):
            soon = now + self._rules.settle_seconds
            return Waits(path, "another timeline is read first", look_at=soon, proceeds=True)
        if why := why_doubtful(shown.doubtful) or self._media.marked_twice(path, wanted, self._read):
            return _problem(path, why)
        made: list[Made] = []
        for medium in wanted.values():
            answer = self._made(dropped, medium, now)
            if isinstance(answer, Waits):
                return replace(answer, name=path, needs_others=True)
            made.append(answer)
        if not made and not claimed:
            return _problem(path, "; ".join(f"{c.in_words}: {c.refusal}" for c in marked[:NAMED_MAX]))
        if held := self._held(dropped, made, now):
            return held
        plan = plan_for(dropped, made, known, claimed, self._examination.price)
        self._accept(dropped, plan, made, [one.path for one in shown.media if one.path not in wanted])
        return None

    def _unready(self, path: Rel, files: Sequence[Entry], now: float) -> Waits | None:
        """Return why a timeline, or its sidecar, is not read yet."""
        if not all(one.is_regular for one in files):
            return _problem(path, "it, or its sidecar, is a link or a device; put the file itself here")
        if empty := next((one for one in files if one.is_empty), None):
            what = "it" if empty is files[0] else f"its sidecar `{readable(empty.name)}`"
            why = f"{what} is empty (0 bytes); if it is not being copied, copy it here again"
            return Waits.until(path, why, empty.since + self._rules.sidecar_wait_seconds, now)
        return None if all(one.is_settled for one in files) else Waits(path, "it is still changing")

    def _held(self, dropped: Dropped, made: Sequence[Made], now: float) -> Waits | None:
        if pause := self._tree.pause_in(dropped.folder.rel):
            why = f"paused: the inbox contains `{readable(pause)}`; remove it to continue"
            return Waits(dropped.path, why)
        since = [dropped.folder.since(name_of(dropped.path)), *(one.ready.pairing.since for one in made)]
        due = max(since) + self._rules.hold_seconds
        if now >= due:
            return None
        until = self._acceptance.moment(due - now)
        why = f"all is well; it is accepted at {until}. Remove it before then to take it back"
        return Waits(dropped.path, why, look_at=due, proceeds=True, is_well=True)

    # --- the document and its media ---------------------------------------------------------------------

    def _dropped(self, folder: Folder, entry: Entry, sidecar: Entry | None) -> Dropped | Waits:
        path = join(folder.rel, entry.name)
        stamp = folder.settled(entry.name)
        beside = None if sidecar is None else join(folder.rel, sidecar.name)
        if stamp is None:
            raise Unsettled(path)
        document = self._bytes(path, stamp, timelines.BYTES_MAX)
        known = self._read.get(path)
        if known is None or known.stamp != stamp:
            self._read.pop(path, None)
            try:
                known = Reading.of(stamp, timelines.read(document, suffix_of(entry.name)))
            except NoTimeline as error:
                known = Reading(stamp, fault=error)
            self._read[path] = known
        if known.fault is not None:
            held = "; meanwhile clips without a sidecar wait here and below" if known.may_show_any else ""
            return _problem(path, f"it cannot be read as a timeline: {known.fault}{held}")
        settings, layer = b"", None
        if sidecar is not None and beside is not None:
            its = folder.settled(sidecar.name)
            if its is None:
                raise Unsettled(beside)
            settings = self._bytes(beside, its, BYTES_MAX)
            layer = parse(settings, beside, is_own=False)
            if layer.problems:
                return Waits(path, "its sidecar has mistakes", found=layer.problems)
        return Dropped(folder, path, stamp, beside, document, settings, layer, known.cuts)

    def _bytes(self, path: Rel, stamp: Stamp, most: int) -> bytes:
        data = self._root.head(path, most + 1)
        if stamp_of(self._root.stat(path)) != stamp:
            raise Unsettled(path)
        return data

    # --- its jobs ---------------------------------------------------------------------------------------

    def _made(self, dropped: Dropped, medium: Medium, now: float) -> Made | Waits:
        """Examine a medium with the settings of its cuts; without handles where the model takes less."""
        folder = self._tree.folders[parent(medium.path)]
        pairing = self._pairing(folder, medium.path, now)
        if isinstance(pairing, Waits):
            return pairing
        facts = self._examination.facts(pairing, now)
        if isinstance(facts, Waits):
            return replace(facts, reason=f"`{readable(medium.path)}`: {facts.reason}")
        chain = self._chain_of(folder)
        own = (dropped.layer,) if dropped.layer else ()
        preset = self._examination.preset((*chain.layers, *own), now)
        marked = [cut for cut in medium.cuts if cut.mark is not None and not cut.refusal]
        layers = (*chain.layers, preset, *own)
        wrong, tries = placed(dropped.path, medium.path, marked, facts, layers)
        if wrong:
            return _problem(medium.path, "; ".join(wrong[:NAMED_MAX]))
        answers: list[Waits] = []
        for cuts, settings in tries:
            answer = self._examination.examine(replace(pairing, made=(*own, settings)), chain.layers, now)
            if isinstance(answer, Ready):
                return Made(answer, cuts)
            if not answer.found:
                return answer
            answers.append(answer)
        return answers[-1]  # it says how long a clip is that is too long, without handles

    def _pairing(self, folder: Folder, path: Rel, now: float) -> Pairing | Waits:
        name = name_of(path)
        rules = replace(self._rules, sidecar_required=False, optional_wait_seconds=0.0)
        answers = pair(folder.entries(self._tree.base(name)), now=now, rules=rules, defaults_serve=True)
        match = next((one for one in answers if isinstance(one, Matched) and one.clip == name), None)
        if match is None:
            why = next((one.reason for one in answers if isinstance(one, Waits) and one.name == name), "")
            return Waits(path, f"`{readable(path)}`: {why or 'it is still changing'}")
        if match.companions:
            why = f"`{readable(path)}` has a sidecar of its own, `{readable(match.companions[0])}`"
            return _problem(path, f"{why}: remove one of the two, or the timeline")
        stamp = folder.settled(name)
        if stamp is None:
            raise Unsettled(path)
        controls = tuple(join(folder.rel, one) for one in folder.controls(name))
        return Pairing(path, {path: stamp}, folder.since(name), controls=controls, pause=folder.pause(name))

    def _accept(self, dropped: Dropped, plan: Plan, made: Sequence[Made], unmarked: Sequence[Rel]) -> None:
        """Claim its media, move away what it shows unmarked, and remove it from the inbox.

        Called again after a crash or an error, it goes on where it stopped. Raises Unsettled and OSError.
        """
        # Written before the first claim: what is claimed must know which timeline waits for it.
        keep(self._root, plan, dropped.document, dropped.settings)
        for one in made:
            requests = tuple((variant, _of(plan, request)) for variant, request in one.ready.requests)
            self._on_accepted(self._acceptance.accept(replace(one.ready, requests=requests)))
            self._gone(one.ready.pairing.clip)
        for path in unmarked:
            self._put_away(plan, path)
        log.info(
            "timeline_accepted",
            inbox=self._rules.name,
            timeline=readable(dropped.path),
            jobs=sum(bool(cut.clip) for cut in plan.cuts),
            clips=len(plan.clips),
            credits=plan.credits,
        )
        for path in filter(None, (dropped.path, dropped.sidecar)):
            self._root.remove(path)
            self._gone(path)

    def _put_away(self, plan: Plan, path: Rel) -> None:
        """Move a clip that is shown, but not marked, to `_done`: it stays what the timeline links to."""
        home = join(DONE, parent(path))
        self._root.make_folders(home)
        for name in numbered(*split_suffix(name_of(path))):
            with suppress(FileExistsError):
                self._root.move(path, self._root, join(home, name))
                note_left(self._root, plan, [join(home, name)])
                break
        self._gone(path)

    def _gone(self, path: Rel) -> None:
        if (folder := self._tree.folders.get(parent(path))) is not None:
            folder.forget(name_of(path))
        self._examination.forget(path)
        self._waiting_files.clear_note(path)
        self._waiting_files.remove(path)


def _of(plan: Plan, request: Request) -> Request:
    name = readable(plan.path)
    return replace(request, timeline=plan.id, timeline_name=name, timeline_credits=plan.credits)


def _problem(path: Rel, why: str) -> Waits:
    return Waits(path, why, is_problem=True, needs_others=True)
