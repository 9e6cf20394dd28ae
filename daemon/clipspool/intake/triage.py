"""Judges the files that belong together by name: accepted, waiting for something, or in need of an editor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from typing import TypeVar

import structlog

from clipspool.intake.accept import Acceptance
from clipspool.intake.examine import Changed, Examination, Pairing, Ready, Wrong
from clipspool.intake.kinds import card_in
from clipspool.intake.names import readable
from clipspool.intake.notes import in_words, local_time, sentence, why_paused
from clipspool.intake.pair import STILL_CHANGING, Matched, Patience, Waits, pair
from clipspool.intake.scan import Folder
from clipspool.intake.sidecar.defaults import Chain, Defaults
from clipspool.intake.stays import Stay, Stays, stay_of
from clipspool.intake.tree import Group, Tree
from clipspool.intake.types import Rules
from clipspool.jobs.messages import Accepted
from clipspool.jobs.model import Problem
from clipspool.spool.layout import SUFFIXES
from clipspool.spool.root import Root, Unavailable
from clipspool.system import threads
from clipspool.system.atomic import Rel, join, name_of

T = TypeVar("T")
CLAIMS_MAX = 4
"""Clips claimed side by side."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Goer:
    """A pairing with which all is well."""

    folder: Folder
    match: Matched
    ready: Ready
    claim: Future[Accepted] = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class _Judged:
    """What was found of a group."""

    group: Group
    stays: list[Stay] = field(default_factory=list)
    goers: list[_Goer] = field(default_factory=list)


class Judge:
    """Judges one inbox's files by one set of rules, and keeps what came of it."""

    def __init__(
        self,
        root: Root,
        rules: Rules,
        tree: Tree,
        examination: Examination,
        acceptance: Acceptance,
        stays: Stays,
        *,
        take: Callable[[Accepted], None],
        now: Callable[[], float],
    ) -> None:
        """`take` is handed each clip the moment it is accepted; `now` is Unix time in seconds."""
        self.going_on: set[Group] = set()
        """What time alone will bring forward."""
        self._root = root
        self._rules = rules
        self._tree = tree
        self._examination = examination
        self._acceptance = acceptance
        self._stays = stays
        self._take = take
        self._now = now
        self._defaults = Defaults(
            rules, lambda path, stamp: examination.read_layer(path, stamp, is_own=False)
        )
        self._patience = Patience(
            rules.sidecar_required,
            rules.sidecar_wait_seconds,
            rules.optional_wait_seconds,
            tuple(sorted(rules.extensions)),
        )
        self._paths: dict[Group, tuple[Rel, ...]] = {}
        self._timers: list[tuple[float, Group]] = []
        self._timer_of: dict[Group, float] = {}
        self._stuck: set[Group] = set()

    # --- when to judge again ----------------------------------------------------------------------------

    def next_timer(self) -> float:
        """Say when, in monotonic seconds, something has to be judged again though nothing changed."""
        return self._timers[0][0] if self._timers else inf

    def ring(self, now: float) -> None:
        """Have judged what is due."""
        while self._timers and self._timers[0][0] <= now:
            at, group = heappop(self._timers)
            if self._timer_of.get(group) == at:
                del self._timer_of[group]
                self._tree.affected[group] = None

    def judge_stuck(self) -> None:
        """Have judged again what hangs on more than its own files: a reference, a file that did not open."""
        self._tree.affected.update(dict.fromkeys(self._stuck))

    # --- judging ----------------------------------------------------------------------------------------

    def judge(self, groups: Sequence[Group], now: float) -> None:
        """Judge groups at `now`, monotonic seconds, and claim what may go on. Raises Unavailable.

        A claim waits for the disk most of its time, so those of several clips go on side by side.
        """
        judged = [each for group in groups if (each := self._in_peace(group, lambda g: self._judge(g, now)))]
        goers = [goer for each in judged for goer in each.goers]
        others = [threads.begin(self._claim, "claim", goer) for goer in goers[1:]]
        for goer in [goer for goer, other in zip(goers, [None, *others], strict=False) if other is None]:
            self._claim(goer)
        for other in others:
            if other is not None:
                other.join()
        for goer in goers:  # before anything else can go wrong: they have left the inbox
            if goer.claim.exception() is None:
                self._take(goer.claim.result())
        lost: Unavailable | None = None
        for each in judged:
            try:
                self._in_peace(each.group, lambda _, each=each: self._conclude(each, now))  # type: ignore[misc]
            except Unavailable as error:
                lost = error
        if lost is not None:
            raise lost

    def _in_peace(self, group: Group, work: Callable[[Group], T]) -> T | None:
        """Let no mistake of ours with one clip keep the others out. Raises Unavailable."""
        try:
            return work(group)
        except Unavailable:
            raise
        except Exception:
            log.exception("judging_broken", inbox=self._rules.name, clip=readable("/".join(group)))
            self._stuck.add(group)
            return None

    def _judge(self, group: Group, now: float) -> _Judged:
        self._stuck.discard(group)
        self.going_on.discard(group)
        self._timer_of.pop(group, None)
        folder = self._tree.folders.get(group[0])
        entries = folder.entries(group[1]) if folder is not None else []
        judged = _Judged(group)
        if folder is not None and entries:
            chain = self._defaults.chain(folder.rel, self._tree.folders)
            answers = pair(
                entries,
                now=now,
                patience=self._patience if card_in(folder.rel) is None else _ON_A_CARD,
                defaults_serve=chain.hold_prompt,
                similar=lambda kind, typos: folder.groups.similar(group[1], kind, with_typos=typos),
            )
            for answer in answers:
                match answer:
                    case Matched():
                        self._try(folder, answer, chain, now, judged)
                    case Waits():
                        judged.stays.append(stay_of(join(folder.rel, answer.name), answer))
        return judged

    def _try(self, folder: Folder, match: Matched, chain: Chain, now: float, judged: _Judged) -> None:
        """Let a pairing with which all is well go on; one that stays gives why."""
        path = join(folder.rel, match.clip)
        try:
            outcome = self._examine(folder, match, chain, now)
        except (Changed, OSError) as trouble:
            judged.stays.append(self._stays_for(trouble, folder, match, now))
            return
        match outcome:
            case Ready():
                if held := self._paused(folder, match) or self._held(folder, match, now):
                    judged.stays.append(held)
                else:
                    judged.goers.append(_Goer(folder, match, outcome))
            case Waits():
                judged.stays.append(stay_of(path, outcome, is_stuck=True))
            case Wrong(problems=problems):
                reason = "; ".join(sentence(problem) for problem in problems[:3])
                is_stuck = any(problem.key == "references" for problem in problems)
                judged.stays.append(Stay(path, reason, problems, is_stuck=is_stuck))

    def _paused(self, folder: Folder, match: Matched) -> Stay | None:
        """Let a clip wait in the inbox while `_pause` lies beside it or above it."""
        pause = self._tree.pause_above(folder.rel)
        return None if pause is None else Stay(join(folder.rel, match.clip), why_paused(pause))

    def _held(self, folder: Folder, match: Matched, now: float) -> Stay | None:
        """Let a whole clip wait in the inbox for `hold_seconds`, from where its editor can take it back."""
        due = max(folder.since(name) for name in (match.clip, *match.companions)) + self._rules.hold_seconds
        if now >= due:
            return None
        until = local_time(self._now() + due - now)
        reason = f"all is well; it is accepted at {until}. Remove it before then to take it back"
        return Stay(join(folder.rel, match.clip), reason, look_at=due, goes_on=True, is_well=True)

    def _claim(self, goer: _Goer) -> None:
        try:
            with self._root.held():
                goer.claim.set_result(self._acceptance.accept(goer.ready))
        except Exception as trouble:  # noqa: BLE001  (`_conclude` sees to it)
            goer.claim.set_exception(trouble)

    def _conclude(self, judged: _Judged, now: float) -> None:
        stays = judged.stays
        for goer in judged.goers:
            try:
                self._clear_away(goer, goer.claim.result())
            except (Changed, OSError) as trouble:
                stays.append(self._stays_for(trouble, goer.folder, goer.match, now))
        self._record(judged.group, stays)

    def _stays_for(self, trouble: Changed | OSError, folder: Folder, match: Matched, now: float) -> Stay:
        if isinstance(trouble, Unavailable):
            raise trouble
        path = join(folder.rel, match.clip)
        if isinstance(trouble, OSError):
            reason = in_words(trouble, _subject(trouble, match))
            return Stay(path, reason, (Problem(reason),), is_stuck=True)
        names = (match.clip, *match.companions, *folder.controls(match.clip))
        self._tree.suspect(folder.rel, names, now)
        return Stay(path, STILL_CHANGING, look_at=now + self._rules.settle_seconds, goes_on=True)

    def _examine(self, folder: Folder, match: Matched, chain: Chain, now: float) -> Ready | Wrong | Waits:
        path = join(folder.rel, match.clip)
        if chain.blocked:
            since = max(chain.since, folder.since(match.clip))
            due = since + self._rules.sidecar_wait_seconds
            return Waits(path, chain.blocked, now >= due, inf if now >= due else due, is_stuck=True)
        stamps = {name: folder.settled(name) for name in (match.clip, *match.companions)}
        settled = {join(folder.rel, name): stamp for name, stamp in stamps.items() if stamp is not None}
        if len(settled) < len(stamps):
            raise Changed(path)
        if match.overlooked is not None:
            overlooked = readable(match.overlooked)
            log.info("sidecar_overlooked", inbox=self._rules.name, clip=readable(path), sidecar=overlooked)
        sidecar, prompt = (
            None if name is None else join(folder.rel, name) for name in (match.sidecar, match.prompt)
        )
        controls = tuple(join(folder.rel, name) for name in folder.controls(match.clip))
        since, pause = folder.since(match.clip), folder.pause(match.clip)
        pairing = Pairing(
            path, settled, since, sidecar, prompt, controls, pause, prompt_blocked=chain.prompt_blocked
        )
        return self._examination.examine(pairing, chain.layers, now)

    def _set_timer(self, group: Group, at: float) -> None:
        if at < self._timer_of.get(group, inf):
            self._timer_of[group] = at
            heappush(self._timers, (at, group))

    def _record(self, group: Group, stays: Sequence[Stay]) -> None:
        """Put what came of a group in the place of what was known of it."""
        paths = tuple(stay.path for stay in stays)
        for path in self._paths.get(group, ()):
            if path not in paths:
                self._examination.forget(path)
                self._stays.remove(path)
        if paths:
            self._paths[group] = paths
        else:
            self._paths.pop(group, None)
        for stay in stays:
            if stay.is_stuck:
                self._stuck.add(group)
            if stay.goes_on:
                self.going_on.add(group)
            if stay.look_at < inf:
                self._set_timer(group, stay.look_at)
            self._stays.put(stay)

    def _clear_away(self, goer: _Goer, accepted: Accepted) -> None:
        folder, path = goer.folder, accepted.clip.path
        self._examination.forget(path)
        names = (name_of(path), *goer.match.companions)
        for name in names:
            folder.forget(name)
        for name in names:
            self._stays.clear_note(join(folder.rel, name))


_ON_A_CARD = Patience(sidecar_required=True, sidecar_wait_seconds=inf)
"""On a camera's card lie proxies, and takes that nobody asked for: only what has a sidecar is taken, and one
note tells of the whole card."""


def _subject(trouble: OSError, match: Matched) -> str:
    name = trouble.filename if isinstance(trouble.filename, str) else ""
    if name in match.companions:
        return f"its sidecar `{readable(name)}`"
    return f"its reference image `{readable(name)}`" if name.lower().endswith(SUFFIXES) else "it"
