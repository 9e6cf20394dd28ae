"""The thread for one inbox: it hears and looks, and has judged what has changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from math import inf
from typing import Literal

import structlog

from clipspool.intake.accept import Acceptance
from clipspool.intake.examine import Examination, Inspection
from clipspool.intake.images import Images
from clipspool.intake.notes import Notes
from clipspool.intake.poison import Deaths
from clipspool.intake.stays import Stays
from clipspool.intake.tree import Tree
from clipspool.intake.triage import CLAIMS_MAX, Judge
from clipspool.intake.types import InboxPaused, Rules, Waiting
from clipspool.intake.unaccepted import Unknowns
from clipspool.intake.watch import Watch, tells_events
from clipspool.jobs.messages import Accepted, InboxChanged, InboxState
from clipspool.jobs.records import Peer
from clipspool.spool.root import Root

_BATCH_SECONDS = 0.25
"""Judging and accepting go on this long before the folders are looked at again."""
_NOTES_SECONDS, _REBIND_SECONDS = 0.05, 5.0
_CHECK_SECONDS = 10.0  # others that share it are looked for this often, however rarely it is looked through
_BOUND_SECONDS = 1.0  # how long a check that the folder is the right one holds
_REST_SECONDS = 0.004
_REST_SHARE = 3.0
"""Between two looks it rests this many times as long as the last look took: a quarter of one core at most."""
_REST_SECONDS_MAX = 1.0
_SILENT_SECONDS = 120.0

log = structlog.get_logger()


class Inbox:
    """One inbox, watched. Its public parts may be used from any thread, `look` from one at a time."""

    def __init__(
        self,
        root: Root,
        rules: Rules,
        *,
        bind: Callable[[], Sequence[Peer] | None],
        inspection: Inspection,
        tell: Callable[[Accepted | InboxChanged | InboxPaused], None],
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the folder and what intake needs from others.

        `bind` makes sure that the folder is the one it was, else it raises Unavailable, and gives who else
        uses it; `tell` hears of accepted clips and changes of state, from this inbox's thread. `now` is Unix
        time, `monotonic` what waiting goes by; both in seconds.
        """
        self.state: InboxState = "starting"
        self.reason = ""
        self.detect: Literal["events", "rescan"] = "rescan"
        self.last_scan = -inf
        self.is_idle = False
        """Whether, at the last look, nothing was on its way in that nobody has to do something about."""
        self.waiting: tuple[Waiting, ...] = ()
        self.paused_by: str | None = None
        """The `_pause` that lies in it, empty for none; None before the first look."""
        self.peers: tuple[Peer, ...] = ()
        self._root, self._bind = root, bind
        self._inspection = inspection
        self._tell = tell
        self._now = now
        self._monotonic = monotonic
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._beat = monotonic()
        self._watch = Watch(root.path, self._bell)
        self._notes = Notes(root, rules.name)
        self._new_rules: Rules | None = None
        self._untold: list[Accepted | InboxChanged | InboxPaused] = []
        self._acceptance = Acceptance(root, rules, now, self._beat_now)
        self._deaths = Deaths(rules.deaths_file)
        self._is_forgiven = False
        self._wants_events = False
        self._events_trouble = ""
        self._bind_at = self._rest_until = -inf
        self._begin(rules)

    def _begin(self, rules: Rules) -> None:
        """Go by these rules, and forget all that was seen: what lies there settles anew."""
        self._rules = rules
        self._acceptance.rules = rules
        self._notes.places = rules.places
        self._tree = Tree(self._root, rules, self._follow)
        self._stays = Stays(self._root, self._tree, self._notes, self._now)
        images = Images(self._tree)
        examination = Examination(self._root, rules, images, self._deaths, self._inspection)
        self._unknowns = Unknowns(self._root, rules, self._tree, self._stays, images.is_used)
        self._judge = Judge(
            self._root,
            rules,
            self._tree,
            examination,
            self._acceptance,
            self._stays,
            take=self._untold.append,
            now=self._now,
        )
        self._rescan_at = -inf

    # --- from outside -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin the thread."""
        self._thread = threading.Thread(target=self._run, name=f"intake-{self._rules.name}", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> bool:
        """End the thread after what it is doing; False when it did not end within `timeout` seconds."""
        self._stopping.set()
        self._bell.set()
        if self._thread is not None:
            self._thread.join(timeout)
            return not self._thread.is_alive()
        self._watch.end()
        return True

    def wake(self) -> None:
        """Have everything looked at soon, and an inbox that is offline tried again."""
        self._bind_at = -inf
        self._rescan_at = -inf
        self._bell.set()

    def forgive(self) -> None:
        """Look again at what is set aside because the process died over it."""
        self._is_forgiven = True
        self.wake()

    def apply(self, rules: Rules) -> None:
        """Go by other rules from the next look on."""
        self._new_rules = rules
        self._bell.set()

    def is_healthy(self) -> bool:
        """Say whether the thread runs and gets on; an inbox that is offline can be healthy."""
        silent = self._monotonic() - self._beat
        is_running = self._thread is not None and self._thread.is_alive()
        return is_running and silent < max(_SILENT_SECONDS, 3 * self._rules.rescan_seconds)

    @property
    def rescan_seconds(self) -> float:
        """How often it should be looked through."""
        return self._rules.rescan_seconds

    @property
    def scan_age_seconds(self) -> float | None:
        """How long ago it was last looked through; None before the first time."""
        return None if self.last_scan == -inf else max(self._monotonic() - self.last_scan, 0.0)

    @property
    def emitters(self) -> tuple[int, int]:
        """How many threads hear of events here, and how many should; none where rescans serve alone."""
        return self._watch.emitters() if self.state == "watching" and self.detect == "events" else (0, 0)

    def _beat_now(self) -> None:
        """Note that the inbox gets on: a copy of a large clip takes longer than a look may."""
        self._beat = self._monotonic()

    # --- the thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._bell.clear()
                begun = self._monotonic()
                try:
                    due = self.look(begun)
                except Exception:
                    log.exception("intake_broken", inbox=self._rules.name)
                    due = begun + min(self._rules.rescan_seconds, _REBIND_SECONDS)
                self._sleep_until(due)
        finally:
            self._watch.end()
            self._deaths.close()

    def _sleep_until(self, due: float) -> None:
        """Sleep until something is due or heard, and not less than the last look costs."""
        now = self._monotonic()
        if due > now:
            self._bell.wait(min(due - now, threading.TIMEOUT_MAX))
        if not self._tree.affected:
            self._stopping.wait(max(self._rest_until - self._monotonic(), 0.0))

    def look(self, now: float) -> float:
        """Make one pass at `now`, monotonic seconds; give the time at which the next one is due."""
        self._beat = self._monotonic()
        if self._new_rules is not None:
            rules, self._new_rules = self._new_rules, None
            self._begin(rules)
            if self.state == "watching":
                self._begin_watch()
        if self._is_forgiven:
            self._is_forgiven = False
            self._deaths.forgive()
            self._tree.affect_all()
        try:
            if self.state == "watching" or now >= self._bind_at:
                self._make_sure(now)
                self._hear_and_look(now)
                self._judge_all(now)
                self._write_notes()
        except OSError as error:  # one that is about a single file has been dealt with there
            self._go_offline(error, now)
        self._flush()
        if self.state != "watching":
            self.is_idle = True
            return self._bind_at
        if self._tree.affected or self._stays.notes_due:
            self.is_idle = False
            return now
        next_look = self._tree.next_look(now)
        if next_look < inf:
            self._inspection.expect()
        self.is_idle = next_look == inf and not self._judge.going_on
        soonest = min(self._rescan_at, self._judge.next_timer(), self._unknowns.next_due(), next_look)
        return min(soonest, self._bind_at - _BOUND_SECONDS + _CHECK_SECONDS)

    def _make_sure(self, now: float) -> None:
        """See that the folder is the one it was, before anything is done there. Raises Unavailable."""
        if self.state == "watching" and now < min(self._bind_at, self._rescan_at):
            return
        self.peers = tuple(self._bind() or ())
        self._bind_at = now + _BOUND_SECONDS
        self._untold += self._acceptance.make_sure()
        if self.state != "watching":
            self._begin(self._rules)
            self._begin_watch()
            self._change("watching", "")

    def _go_offline(self, error: OSError, now: float) -> None:
        self._watch.end()
        self._begin(self._rules)
        self.peers, self._bind_at = (), now + min(self._rules.rescan_seconds, _REBIND_SECONDS)
        self._change("offline", error.strerror or str(error))

    def _change(self, state: InboxState, reason: str) -> None:
        if (state, reason) == (self.state, self.reason):
            return
        before, self.state, self.reason = self.state, state, reason
        name = self._rules.name
        say = log.warning if state == "offline" else log.info
        say("inbox_changed", inbox=name, **{"from": before, "to": state}, reason=reason, detect=self.detect)
        self._untold.append(InboxChanged(name, state, reason, self.detect))

    def _flush(self) -> None:
        """Publish who waits, and tell what has to be told; what fails to be told is told again."""
        if self._stays.is_news:
            self._stays.is_news = False
            self.waiting = tuple(self._stays.waiting.values())
        self._tell_all()

    def _tell_all(self) -> None:
        while self._untold:
            self._tell(self._untold[0])
            del self._untold[0]

    # --- hearing and looking ----------------------------------------------------------------------------

    def _begin_watch(self) -> None:
        rules = self._rules
        self._wants_events = rules.detect == "events" or (
            rules.detect == "auto" and tells_events(self._root.path)
        )
        self._watch.end()
        self._try_watch(lambda: self._watch.begin(()))

    def _follow(self, folders: set[str], renewed: set[str]) -> None:
        if self.detect == "events":
            self._try_watch(lambda: self._watch.follow(folders, renewed))

    def _try_watch(self, begin: Callable[[], None]) -> None:
        before, self.detect = self.detect, "events" if self._wants_events else "rescan"
        trouble = ""
        try:
            if self._wants_events:
                begin()
        except Exception as error:  # noqa: BLE001 - whatever ails the events, the rescan does without them
            self._watch.end()
            self.detect = "rescan"
            trouble = str(error)
        if trouble and trouble != self._events_trouble:
            log.warning("events_unavailable", inbox=self._rules.name, reason=trouble)
        self._events_trouble = trouble
        if self.state == "watching" and before != self.detect:
            self._untold.append(InboxChanged(self._rules.name, self.state, self.reason, self.detect))

    def _hear_and_look(self, now: float) -> None:
        begun = self._monotonic()
        hints = self._watch.hints()
        if now >= self._rescan_at:
            self._rescan_at = now + self._rules.rescan_seconds
            if self._wants_events and not self._watch.is_alive():
                if self.detect == "events":
                    log.warning("events_restarted", inbox=self._rules.name)
                self._try_watch(lambda: self._watch.begin(()))
            self._tree.walk(now)
            self._judge.judge_stuck()
            self._stays.record_closed()
            self._stays.clear_strays()
            self._unknowns.review(now)
            for folder in self._tree.folders.values():
                self._acceptance.settle_strays(folder.rel, tuple(folder.claimed))
            self.last_scan = now
        else:
            self._tree.hear(hints, now)
            self._tree.look_again(now)
            if self._tree.images_changed:
                self._judge.judge_stuck()
        self._tree.images_changed = False
        if (file := self._tree.pause()) != self.paused_by:
            self.paused_by = file
            # Before anything else is told: what is accepted or queued must not be sent meanwhile.
            self._untold.insert(0, InboxPaused(self._rules.name, file))
        self._judge.ring(now)
        self._unknowns.answer(now)
        took = self._monotonic() - begun
        self._rest_until = self._monotonic() + min(max(_REST_SECONDS, _REST_SHARE * took), _REST_SECONDS_MAX)

    def _judge_all(self, now: float) -> None:
        """Judge what is affected, for a time, telling of each clip as it is accepted."""
        until = self._monotonic() + _BATCH_SECONDS
        affected = self._tree.affected
        with self._root.held():
            while affected and not self._stopping.is_set() and self._monotonic() <= until:
                groups = [affected.popitem(last=False)[0] for _ in range(min(len(affected), CLAIMS_MAX))]
                try:
                    self._judge.judge(groups, now)
                finally:
                    self._tell_all()
                self._beat = self._monotonic()

    def _write_notes(self) -> None:
        """Write notes for a short time: clips that are ready go first."""
        until = self._monotonic() + _NOTES_SECONDS
        while self._stays.notes_due and not self._stopping.is_set() and self._monotonic() <= until:
            self._stays.write_note()
