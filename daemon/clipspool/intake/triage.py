"""Judges the files that belong together by name: accepted, waiting, or in need of an editor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import TypeVar

import structlog

from clipspool.intake.accept import Acceptance
from clipspool.intake.advice import in_words, subject_of
from clipspool.intake.examine import Examination, Pairing, Ready, Unsettled
from clipspool.intake.kinds import card_in
from clipspool.intake.names import Kind
from clipspool.intake.notes import WaitingFiles
from clipspool.intake.pair import STILL_CHANGING, Entry, Matched, Waits, after_a_bug, pair
from clipspool.intake.scan import Folder
from clipspool.intake.sequences import Sequences
from clipspool.intake.settle import Timers
from clipspool.intake.sidecar.defaults import Chain, Defaults
from clipspool.intake.timeline_cuts import NO_TIMELINES, timelines_in
from clipspool.intake.timelines import Timelines
from clipspool.intake.tree import Group, Tree
from clipspool.intake.types import Rules
from clipspool.jobs.messages import Accepted
from clipspool.spool.guard import Unavailable
from clipspool.spool.kept import Known
from clipspool.spool.root import Root
from clipspool.system.atomic import Rel, join, name_of
from clipspool.system.process import start_thread
from clipspool.system.redaction import readable

T = TypeVar("T")
CLAIMS_MAX = 4  # side by side

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Claim:
    """A clip that passed every check, and the outcome of its claim."""

    folder: Folder
    match: Matched
    ready: Ready
    outcome: Future[Accepted] = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class _Judged:
    """Result for a group."""

    group: Group
    waits: dict[Rel, Waits] = field(default_factory=dict)
    claims: list[_Claim] = field(default_factory=list)


class Judge:
    """Judges one inbox's files by one set of rules, and records the results."""

    def __init__(
        self,
        root: Root,
        rules: Rules,
        tree: Tree,
        examination: Examination,
        acceptance: Acceptance,
        waiting_files: WaitingFiles,
        *,
        on_accepted: Callable[[Accepted], None],
    ) -> None:
        """`on_accepted` gets each clip as soon as it is accepted."""
        self.delayed: set[Group] = set()
        """Groups that wait only for time to pass."""
        self._root = root
        self._rules = rules
        self._tree = tree
        self._examination = examination
        self._acceptance = acceptance
        self._waiting_files = waiting_files
        self._sequences = Sequences(root, rules, is_only_read=acceptance.memory is not None)
        self._on_accepted = on_accepted
        self._defaults = Defaults(rules, partial(examination.read_layer, is_own=False))
        self._timelines = Timelines(
            root,
            rules,
            tree,
            examination,
            acceptance,
            waiting_files,
            chain_of=lambda folder: self._defaults.chain(folder.rel, tree.folders),
            on_accepted=on_accepted,
        )
        # A camera's card holds proxies and takes that nobody asked for: only clips with a sidecar are
        # accepted, and one note covers the whole card.
        self._rules_on_a_card = replace(rules, sidecar_required=True, sidecar_wait_seconds=inf)
        self._paths: dict[Group, tuple[Rel, ...]] = {}
        self._timers = Timers[Group]()
        self.next_timer = self._timers.next_at
        self._dependent: set[Group] = set()

    def affect_due(self, now: float) -> None:
        """Mark the groups whose timer is due to be judged."""
        self._tree.affected.update(dict.fromkeys(self._timers.take_due(now)))

    def affect_dependent(self) -> None:
        """Mark the groups to be judged that depend on other files: a reference, a file that did not open."""
        self._tree.affected.update(dict.fromkeys(self._dependent))

    def judge(self, groups: Sequence[Group], now: float) -> None:
        """Judge groups at `now`, monotonic seconds, and claim what passed. Raises Unavailable.

        A claim spends most of its time waiting for the disk, so several clips are claimed at the same time.
        """
        judged = [self._guarded(group, partial(self._judge, group, now)) for group in groups]
        claims = [claim for each in judged if each for claim in each.claims]
        threads_of = [(claim, start_thread(self._claim, "claim", claim)) for claim in claims[1:]]
        for claim in claims[:1] + [claim for claim, thread in threads_of if thread is None]:
            self._claim(claim)
        for thread in filter(None, (thread for _, thread in threads_of)):
            thread.join()
        for claim in claims:  # before anything else can go wrong: these clips have left the inbox
            if claim.outcome.exception() is None:
                self._on_accepted(claim.outcome.result())
        lost: Unavailable | None = None
        for each in filter(None, judged):
            try:
                self._guarded(each.group, partial(self._conclude, each, now))
            except Unavailable as error:
                lost = error
        if lost is not None:
            raise lost

    def _guarded(self, group: Group, work: Callable[[], T]) -> T | None:
        """Log a bug that one clip triggers, so that it does not hold up the others. Raises Unavailable."""
        try:
            return work()
        except Unavailable:
            raise
        except Exception:
            log.exception("judging_broken", inbox=self._rules.name, clip=readable("/".join(group)))
            self._dependent.add(group)
            with suppress(Exception):  # these may be what is broken
                self._record(group, after_a_bug(group[0], self._tree.folders[group[0]].entries(group[1])))
            return None

    def _judge(self, group: Group, now: float) -> _Judged:
        self._dependent.discard(group)
        self.delayed.discard(group)
        self._timers.drop(group)
        judged = _Judged(group)
        folder = self._tree.folders.get(group[0])
        entries = folder.entries(group[1]) if folder is not None else []
        if folder is None or all(entry.kind is Kind.FOLDER for entry in entries):
            return judged
        chain = self._defaults.chain(folder.rel, self._tree.folders)
        entries = self._judge_timelines(folder, entries, judged, now)
        for answer in pair(
            entries,
            now=now,
            rules=self._rules if card_in(folder.rel) is None else self._rules_on_a_card,
            defaults_serve=chain.hold_prompt,
            similar=lambda kind, typos: folder.groups.similar(group[1], kind, with_typos=typos),
            are_pictures=lambda name: self._sequences.see(join(folder.rel, name), self._tree, now),
        ):
            if self._is_kept(folder, answer):
                continue
            if wait := self._wanted_by_timeline(folder, answer, now):
                judged.waits[wait.name] = wait
            elif isinstance(answer, Waits):
                judged.waits[join(folder.rel, answer.name)] = answer
            elif isinstance(outcome := self._try(folder, answer, chain, now), _Claim):
                judged.claims.append(outcome)
            else:
                judged.waits[outcome.name] = outcome
        return judged

    def _judge_timelines(
        self, folder: Folder, entries: list[Entry], judged: _Judged, now: float
    ) -> list[Entry]:
        """Accept the timelines of a group, or note why they wait; return the group's other files."""
        others = {entry.name: entry for entry in entries if entry.kind is not Kind.TIMELINE}
        is_only_read = self._acceptance.memory is not None
        # A camera writes XML of its own on its card.
        for entry, sidecar in () if card_in(folder.rel) is not None else list(timelines_in(entries)):
            for used in filter(None, (entry, None if is_only_read else sidecar)):
                others.pop(used.name, None)
            if is_only_read:
                path = join(folder.rel, entry.name)
                judged.waits[path] = Waits(path, NO_TIMELINES, is_problem=True)
                continue
            try:
                wait = self._timelines.judge(folder, entry, sidecar, now)
            except Unavailable:
                raise
            except OSError as error:
                path = join(folder.rel, entry.name)
                wait = Waits(path, in_words(error), is_problem=True, needs_others=True)
            if wait is not None:
                judged.waits[wait.name] = wait
        return list(others.values())

    def _wanted_by_timeline(self, folder: Folder, answer: Matched | Waits, now: float) -> Waits | None:
        """Return why a clip waits that a timeline shows; an inbox that is only read takes no timelines."""
        if self._acceptance.memory is not None:
            return None
        name = answer.name if isinstance(answer, Waits) else answer.clip
        return self._timelines.wants(join(folder.rel, name), answer, now)

    def _is_kept(self, folder: Folder, answer: Matched | Waits) -> bool:
        """Whether a clip was accepted as it is, and stays: in an inbox that is only read."""
        memory = self._acceptance.memory
        if memory is None:
            return False
        clip, beside = (answer.clip, answer.companions) if isinstance(answer, Matched) else (answer.name, ())
        stamps = {join(folder.rel, name): folder.settled(name) for name in (clip, *beside)}
        known = {path: stamp for path, stamp in stamps.items() if stamp is not None}
        return len(known) == len(stamps) and memory.holds(join(folder.rel, clip), known)

    def _try(self, folder: Folder, match: Matched, chain: Chain, now: float) -> Waits | _Claim:
        """Examine a pairing; return the claim of a clip that passed, or why it waits."""
        path = join(folder.rel, match.clip)
        try:
            outcome = self._examine(folder, match, chain, now)
        except (Unsettled, OSError) as trouble:
            return self._wait_after(trouble, folder, match, now)
        if isinstance(outcome, Waits):
            return outcome if outcome.found else replace(outcome, needs_others=True)
        return self._paused(folder, path) or self._held(folder, match, now) or _Claim(folder, match, outcome)

    def _paused(self, folder: Folder, path: Rel) -> Waits | None:
        """Let a clip wait in the inbox while there is a `_pause` in its folder or above it."""
        pause = self._tree.pause_in(folder.rel)
        if pause is None:
            return None
        return Waits(path, f"paused: the inbox contains `{readable(pause)}`; remove it to continue")

    def _held(self, folder: Folder, match: Matched, now: float) -> Waits | None:
        """Let a complete clip wait for `hold_seconds`, so that its editor can still remove it."""
        since = [folder.since(name) for name in match.files]
        since += [self._sequences.since(join(folder.rel, match.clip))] if match.is_folder else []
        due = max(since) + self._rules.hold_seconds
        if now >= due:
            return None
        until = self._acceptance.moment(due - now)
        reason = f"all is well; it is accepted at {until}. Remove it before then to take it back"
        return Waits(join(folder.rel, match.clip), reason, look_at=due, proceeds=True, is_well=True)

    def _claim(self, claim: _Claim) -> None:
        try:
            with self._root.held():
                claim.outcome.set_result(self._acceptance.accept(claim.ready))
        except Exception as trouble:  # noqa: BLE001  (`_conclude` raises it)
            claim.outcome.set_exception(trouble)

    def _conclude(self, judged: _Judged, now: float) -> None:
        for claim in judged.claims:
            try:
                self._clean_up(claim, claim.outcome.result())
            except Known:
                continue
            except (Unsettled, OSError) as trouble:
                wait = self._wait_after(trouble, claim.folder, claim.match, now)
                judged.waits[wait.name] = wait
        self._record(judged.group, judged.waits)

    def _wait_after(self, trouble: Unsettled | OSError, folder: Folder, match: Matched, now: float) -> Waits:
        if isinstance(trouble, Unavailable):
            raise trouble
        path = join(folder.rel, match.clip)
        if isinstance(trouble, OSError):
            reason = in_words(trouble, subject_of(trouble, match.companions))
            return Waits(path, reason, is_problem=True, needs_others=True)
        names = (*match.companions, *(() if match.is_folder else (match.clip, *folder.controls(match.clip))))
        self._tree.check_files(folder.rel, names, now)
        return Waits(path, STILL_CHANGING, look_at=now + self._rules.settle_seconds, proceeds=True)

    def _examine(self, folder: Folder, match: Matched, chain: Chain, now: float) -> Ready | Waits:
        path = join(folder.rel, match.clip)
        if chain.blocked:
            since = max(chain.since, *(folder.since(name) for name in match.files))
            due = since + self._rules.sidecar_wait_seconds
            return Waits.until(path, chain.blocked, due, now, needs_others=True)
        stamps = {name: folder.settled(name) for name in match.files}
        settled = {join(folder.rel, name): stamp for name, stamp in stamps.items() if stamp is not None}
        if len(settled) < len(stamps):
            raise Unsettled(path)
        pictures = self._sequences.look(path, settled.values(), now) if match.is_folder else None
        if isinstance(pictures, Waits):
            return pictures
        settled |= {path: pictures.stamp} if pictures is not None else {}
        if match.overlooked is not None:
            overlooked = readable(match.overlooked)
            log.info("sidecar_overlooked", inbox=self._rules.name, clip=readable(path), sidecar=overlooked)
        sidecar, prompt = (name and join(folder.rel, name) for name in (match.sidecar, match.prompt))
        controls = tuple(join(folder.rel, name) for name in folder.controls(match.clip))
        since = folder.since(match.clip) if pictures is None else pictures.since
        pairing = Pairing(
            path,
            settled,
            since,
            sidecar,
            prompt,
            controls,
            folder.pause(match.clip),
            prompt_blocked=chain.prompt_blocked,
            pictures=pictures,
        )
        return self._examination.examine(pairing, chain.layers, now)

    def _record(self, group: Group, waits: Mapping[Rel, Waits]) -> None:
        """Replace what is known about a group."""
        paths = tuple(waits)
        for path in self._paths.get(group, ()):
            if path not in paths:
                self._examination.forget(path)
                self._timelines.forget(path)
                self._sequences.forget(path)
                self._waiting_files.remove(path)
        self._paths[group] = paths
        if not paths:
            del self._paths[group]
        for path, wait in waits.items():
            if wait.needs_others:
                self._dependent.add(group)
            if wait.proceeds:
                self.delayed.add(group)
            self._timers.add(group, wait.look_at)
            self._waiting_files.put(path, wait)

    def _clean_up(self, claim: _Claim, accepted: Accepted) -> None:
        """Forget a clip that was accepted, and remove its notes."""
        folder, path = claim.folder, accepted.clip.path
        self._examination.forget(path)
        names = (name_of(path), *claim.match.companions)
        if claim.match.is_folder:
            self._sequences.forget(path)
            self._tree.forget(path)
        for name in names if self._acceptance.memory is None else ():
            folder.forget(name)
        for name in names:
            self._waiting_files.clear_note(join(folder.rel, name))
