"""Runs one inbox in its own thread: scans for changes, has them judged, and reports what happened."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Literal

import structlog

from clipspool.intake.accept import Acceptance
from clipspool.intake.examine import Examination
from clipspool.intake.notes import Notes, WaitingFiles
from clipspool.intake.poison import Deaths
from clipspool.intake.tree import Images, Tree
from clipspool.intake.triage import CLAIMS_MAX, Judge
from clipspool.intake.types import InboxPaused, Inspection, Rules, Waiting
from clipspool.intake.unaccepted import UnknownFiles
from clipspool.intake.watch import Watch, has_events
from clipspool.jobs.messages import Accepted, InboxChanged, InboxState
from clipspool.jobs.records import Peer
from clipspool.spool.root import Root

_BATCH_SECONDS = 0.25
"""Judging and accepting continue this long before the folders are checked again."""
_NOTES_SECONDS, _REBIND_SECONDS = 0.05, 5.0
_CHECK_SECONDS, _CHECK_SECONDS_ALONE = 10.0, 30.0
"""How often other users of an inbox are looked for, however rare its rescans are. The second is for a local
disk without any: before anything is sent, whose the clip is is looked up anyway."""
_BOUND_SECONDS = 1.0  # how long a check that the folder is the right one is valid
_REST_SECONDS = 0.004
_REST_SHARE = 3.0
"""Between two scans it rests this many times as long as the last one took: a quarter of one core at most."""
_REST_SECONDS_MAX = 1.0

Message = Accepted | InboxChanged | InboxPaused

log = structlog.get_logger()


class Inbox:
    """One inbox with its thread. Public parts may be used from any thread, `run_pass` by one at a time."""

    def __init__(
        self,
        root: Root,
        rules: Rules,
        *,
        home: Root | None = None,
        bind: Callable[[], Sequence[Peer] | None],
        inspection: Inspection,
        on_message: Callable[[Message], None],
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`bind` checks that the folder is still the same and returns its other users, or raises Unavailable.

        `root` is the folder that is watched; where it is only read, `home` is where accepted clips and notes
        are put. `on_message` gets accepted clips and changes of state, in this inbox's thread. `now` is Unix
        time, `monotonic` measures waiting; both in seconds.
        """
        self.state: InboxState = "starting"
        self.reason = ""
        self.detect: Literal["events", "rescan"] = "rescan"
        self.last_scan = -inf
        self.is_idle = False
        """Whether, at the last pass, no file could go on without anybody's action."""
        self.waiting: tuple[Waiting, ...] = ()
        self.paused_by: str | None = None
        """Name of the `_pause` in it, empty for none; None before the first pass."""
        self.peers: tuple[Peer, ...] = ()
        self._root, self._bind = root, bind
        self._home = home or root
        self._inspection = inspection
        self._on_message = on_message
        self._now = now
        self._monotonic = monotonic
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._watch = Watch(root.path, self._bell)
        self._notes = Notes(self._home, rules.name)
        self._new_rules: Rules | None = None
        self._outgoing: list[Message] = []
        self._acceptance = Acceptance(
            self._home, rules, now, None if home is None else root, inspection.may_claim
        )
        self._deaths = Deaths(rules.deaths_file)
        self._is_forgiven = False
        self._wants_events = False
        self._events_trouble = ""
        self._bind_at = self._rest_until = -inf
        self._reset(rules)

    def _reset(self, rules: Rules) -> None:
        """Follow these rules, and drop all that was seen: every file settles from the start."""
        self._rules = rules
        self._acceptance.use_rules(rules)
        self._notes.use_places(rules.places)
        self._tree = Tree(self._root, rules, self._follow)
        elsewhere = None if self._home is self._root else self._home
        self._waiting_files = WaitingFiles(self._root, self._tree, self._notes, self._now, elsewhere)
        images = Images(self._root, self._tree)
        has_timelines = self._acceptance.memory is None
        self._unknown = UnknownFiles(
            self._root, rules, self._tree, self._waiting_files, images.is_used, has_timelines=has_timelines
        )
        self._judge = Judge(
            self._root,
            rules,
            self._tree,
            Examination(self._root, rules, images, self._deaths, self._inspection),
            self._acceptance,
            self._waiting_files,
            on_accepted=self._outgoing.append,
        )
        self._rescan_at = -inf

    # --- from any thread --------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name=f"intake-{self._rules.name}", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> bool:
        """Stop the thread after its current step; return False if it did not end within `timeout` seconds."""
        self._stopping.set()
        self._bell.set()
        if self._thread is not None:
            self._thread.join(timeout)
            return not self._thread.is_alive()
        self._watch.end()
        return True

    def rescan_now(self) -> None:
        """Have everything scanned soon; an inbox that is offline is tried again."""
        self._bind_at = self._rescan_at = -inf
        self._bell.set()

    def forgive(self) -> None:
        """Examine clips again that are set aside because the process died over them."""
        self._is_forgiven = True
        self.rescan_now()

    def use_rules(self, rules: Rules) -> None:
        """Follow other rules from the next pass on."""
        self._new_rules = rules
        self._bell.set()

    @property
    def rescan_seconds(self) -> float:
        """How often it should be scanned."""
        return self._rules.rescan_seconds

    @property
    def scan_age_seconds(self) -> float | None:
        """Time since the last scan; None before the first."""
        return None if self.last_scan == -inf else max(self._monotonic() - self.last_scan, 0.0)

    @property
    def emitters(self) -> tuple[int, int]:
        """How many threads receive events here, and how many should; none if only rescans are used."""
        return self._watch.emitters() if self.state == "watching" and self.detect == "events" else (0, 0)

    # --- the thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._bell.clear()
                begun = self._monotonic()
                try:
                    due = self.run_pass(begun)
                except Exception:
                    log.exception("intake_broken", inbox=self._rules.name)
                    due = begun + min(self._rules.rescan_seconds, _REBIND_SECONDS)
                self._sleep_until(due)
        finally:
            self._watch.end()
            self._deaths.close()

    def _sleep_until(self, due: float) -> None:
        """Sleep until something is due or an event comes, and at least the rest after the last scan."""
        now = self._monotonic()
        if due > now:
            self._bell.wait(min(due - now, threading.TIMEOUT_MAX))
        if not self._tree.affected:
            self._stopping.wait(max(self._rest_until - self._monotonic(), 0.0))

    def run_pass(self, now: float) -> float:
        """Make one pass at `now`, monotonic seconds; return the time at which the next one is due."""
        if self._new_rules is not None:
            rules, self._new_rules = self._new_rules, None
            self._reset(rules)
            if self.state == "watching":
                self._begin_watch()
        if self._is_forgiven:
            self._is_forgiven = False
            self._deaths.forgive()
            self._tree.affect_all()
        try:
            if self.state == "watching" or now >= self._bind_at:
                self._check_folder(now)
                self._update(now)
                self._judge_all(now)
                self._write_notes()
        except OSError as error:  # errors of single files were handled there
            self._go_offline(error, now)
        if (waiting := self._waiting_files.take_waiting()) is not None:
            self.waiting = waiting
        self._send_messages()
        if self.state != "watching":
            self.is_idle = True
            return self._bind_at
        if self._tree.affected or self._waiting_files.notes_due:
            self.is_idle = False
            return now
        next_look = self._tree.next_look(now)
        if next_look < inf:
            self._inspection.expect()
        self.is_idle = next_look == inf and not self._judge.delayed
        is_alone = self.detect == "events" and not self.peers
        check_at = self._bind_at - _BOUND_SECONDS + (_CHECK_SECONDS_ALONE if is_alone else _CHECK_SECONDS)
        return min(self._rescan_at, self._judge.next_timer(), self._unknown.next_due(), next_look, check_at)

    def _check_folder(self, now: float) -> None:
        """Check that the folder is still the same before anything is done there. Raises Unavailable."""
        if self.state == "watching" and now < min(self._bind_at, self._rescan_at):
            return
        self.peers = tuple(self._bind() or ())
        self._bind_at = now + _BOUND_SECONDS
        self._outgoing += self._acceptance.finish_claims()
        if (memory := self._acceptance.memory) is not None and memory.load():
            self._tree.affect_all()
        if self.state != "watching":
            self._reset(self._rules)
            self._begin_watch()
            self._set_state("watching", "")

    def _go_offline(self, error: OSError, now: float) -> None:
        self._watch.end()
        self._reset(self._rules)
        self.peers, self._bind_at = (), now + min(self._rules.rescan_seconds, _REBIND_SECONDS)
        self._set_state("offline", error.strerror or str(error))

    def _set_state(self, state: InboxState, reason: str) -> None:
        if (state, reason) == (self.state, self.reason):
            return
        before, self.state, self.reason = self.state, state, reason
        write = log.warning if state == "offline" else log.info
        change = {"from": before, "to": state, "reason": reason, "detect": self.detect}
        write("inbox_changed", inbox=self._rules.name, **change)
        self._outgoing.append(InboxChanged(self._rules.name, state, reason, self.detect))

    def _send_messages(self) -> None:
        """Send what happened; a message that fails is sent again in the next pass."""
        while self._outgoing:
            self._on_message(self._outgoing[0])
            del self._outgoing[0]

    # --- scanning ---------------------------------------------------------------------------------------

    def _begin_watch(self) -> None:
        detect = self._rules.detect
        self._wants_events = detect == "events" or (detect == "auto" and has_events(self._root.path))
        self._watch.end()
        self._try_watch(partial(self._watch.begin, ()))

    def _follow(self, folders: set[str], renewed: set[str]) -> None:
        if self.detect == "events":
            self._try_watch(partial(self._watch.follow, folders, renewed))

    def _try_watch(self, begin: Callable[[], None]) -> None:
        before, self.detect = self.detect, "events" if self._wants_events else "rescan"
        trouble = ""
        try:
            if self._wants_events:
                begin()
        except Exception as error:  # noqa: BLE001 - whatever fails about events, the rescan works without
            self._watch.end()
            self.detect = "rescan"
            trouble = str(error)
        if trouble and trouble != self._events_trouble:
            log.warning("events_unavailable", inbox=self._rules.name, reason=trouble)
        self._events_trouble = trouble
        if self.state == "watching" and before != self.detect:
            self._outgoing.append(InboxChanged(self._rules.name, self.state, self.reason, self.detect))

    def _update(self, now: float) -> None:
        """Scan everything if a rescan is due, else check where something may have changed."""
        begun = self._monotonic()
        hints = self._watch.hints()
        if now >= self._rescan_at:
            self._rescan(now)
        else:
            self._tree.follow_hints(hints, now)
            self._tree.check_unsettled(now)
            if self._tree.take_images_changed():
                self._judge.affect_dependent()
        if (file := self._tree.pause_in() or "") != self.paused_by:
            self.paused_by = file
            # Before any other message: what is accepted or queued must not be sent meanwhile.
            self._outgoing.insert(0, InboxPaused(self._rules.name, file))
        self._judge.affect_due(now)
        self._unknown.review_due(now)
        ended = self._monotonic()
        self._rest_until = ended + min(max(_REST_SECONDS, _REST_SHARE * (ended - begun)), _REST_SECONDS_MAX)

    def _rescan(self, now: float) -> None:
        self._rescan_at = now + self._rules.rescan_seconds
        if self._wants_events and not self._watch.is_alive():
            if self.detect == "events":
                log.warning("events_restarted", inbox=self._rules.name)
            self._try_watch(partial(self._watch.begin, ()))
        self._tree.walk(now)
        self._tree.take_images_changed()
        self._judge.affect_dependent()
        self._waiting_files.record_closed()
        self._waiting_files.clear_strays()
        self._waiting_files.renew()
        self._unknown.review_images(now)
        for folder in self._tree.folders.values():
            self._acceptance.settle_strays(folder.rel, folder.claimed_names())
        self.last_scan = now

    def _judge_all(self, now: float) -> None:
        """Judge affected groups for a limited time; each clip is reported as it is accepted."""
        until = self._monotonic() + _BATCH_SECONDS
        affected = self._tree.affected
        with self._root.held(), self._home.held():
            while affected and not self._stopping.is_set() and self._monotonic() <= until:
                groups = [affected.popitem(last=False)[0] for _ in range(min(len(affected), CLAIMS_MAX))]
                try:
                    self._judge.judge(groups, now)
                finally:
                    self._send_messages()

    def _write_notes(self) -> None:
        """Write notes for a short time: clips that are ready go first."""
        until = self._monotonic() + _NOTES_SECONDS
        while self._waiting_files.notes_due and not self._stopping.is_set() and self._monotonic() <= until:
            self._waiting_files.write_note()
