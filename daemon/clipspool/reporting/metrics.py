"""Metrics for Prometheus: counters kept as news arrives, and gauges of the moment of the scrape.

A scrape runs in any thread. It reads counters, the last `StateSnapshot` and the inboxes' public state; it
never asks the scheduler and never touches the journal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from clipspool import __version__
from clipspool.intake.inbox import Inbox
from clipspool.jobs.events import Connected, Delivered, Failed, Fetched, Prepared, TaskSucceeded, name_of
from clipspool.jobs.messages import Accepted, Happened, News
from clipspool.jobs.model import TERMINAL, State
from clipspool.reporting.metered import CallName, Direction
from clipspool.reporting.snapshot import LaneLoad, StateSnapshot

# Otherwise each counter has a second series of no use.
disable_created_metrics()  # type: ignore[no-untyped-call]
_CALL_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)
_TASK_SECONDS = (15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
_FAMILIES_MAX = 40
"""Failure codes may be the provider's words: beyond this many first words they count as OTHER."""

_Key = TypeVar("_Key", bound=tuple[str, ...])
Inboxes = Callable[[], Mapping[str, Inbox]]


class Metrics:
    """All metrics; each instance has a registry of its own. Any thread may use it."""

    def __init__(
        self, inboxes: Inboxes, turn_age_seconds: Callable[[], float] = lambda: 0.0, *, node: str = ""
    ) -> None:
        """`inboxes` returns those that are watched now, by name; `node` is this one's name in a farm."""
        self.turn_age_seconds = turn_age_seconds
        self.node, self.leads = node, False
        self.snapshot = StateSnapshot()
        """The last that the scheduler's thread took; a scrape shows it."""
        self._families: set[str] = set()
        self._children: dict[tuple[Counter | Histogram, tuple[str, ...]], Any] = {}
        registry = CollectorRegistry()
        self._registry = registry

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"clipspool_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"clipspool_{name}", text, labels, buckets=buckets, registry=registry)

        self._accepted = counter("clips_accepted", "Clips accepted", "inbox")
        self._ended = counter("jobs_ended", "Jobs that ended, by the state they ended in", "inbox", "state")
        self._failed = counter("jobs_failed", "Failed jobs by the first word of their code", "family")
        self._doubts = counter("doubts", "Submissions whose answer was lost", "inbox")
        self._events = counter("events", "Everything that happened to jobs", "event")
        self._bytes = counter("bytes", "Bytes of clips and results", "inbox", "what")
        self._estimated = counter("credits_estimated", "Credits reserved at submission", "inbox", "model")
        self._settled = counter("credits_settled", "Credits reported by the provider", "inbox", "model")
        self._calls = counter("provider_calls", "Calls to the provider", "call", "outcome")
        self._wire_bytes = counter("provider_bytes", "Bytes of files to and from the provider", "direction")
        self._notices = counter("notifications", "Messages to receivers", "receiver", "outcome")
        self._wrong_tokens = counter("web_wrong_tokens", "Requests to the page with a wrong token")
        self._call_seconds = histogram(
            "provider_call_seconds", "Time of a provider's answer", _CALL_SECONDS, "call"
        )
        self._task_seconds = histogram(
            "task_seconds", "Time from a task's creation to its success", _TASK_SECONDS, "model"
        )
        self._commit_seconds = histogram(
            "journal_commit_seconds", "Time of a commit of the journal", _COMMIT_SECONDS
        )
        ProcessCollector(registry=registry)
        registry.register(_Gauges(self, inboxes))

    def text(self) -> bytes:
        """Return all metrics in the text format, version 0.0.4."""
        return generate_latest(self._registry)

    def expect(self, inboxes: Iterable[str]) -> None:
        """Start counters at 0: Prometheus misses the first event of one that begins at 1."""
        for inbox in inboxes:
            self._accepted.labels(inbox)
            self._doubts.labels(inbox)
            for state in TERMINAL:
                self._ended.labels(inbox, state.value)

    def token_refused(self) -> None:
        """Count a wrong token that was sent to the page."""
        self._wrong_tokens.inc()

    # --- called in the scheduler's thread ------------------------------------------------------------------

    def on_news(self, news: News) -> None:
        """Count a piece of news."""
        if isinstance(news, Accepted):
            self._of(self._accepted, news.clip.inbox).inc()
            self._of(self._bytes, news.clip.inbox, "accepted").inc(news.clip.size)
        elif isinstance(news, Happened):
            self._happened(news)

    def committed(self, seconds: float) -> None:
        """Record how long a commit took."""
        self._commit_seconds.observe(seconds)

    def _happened(self, news: Happened) -> None:
        before, after, event = news.before, news.after, news.event
        inbox, model = after.inbox, after.request.model
        self._of(self._events, name_of(type(event))).inc()
        if after.doubts > before.doubts or (after.state is State.IN_DOUBT is not before.state):
            self._of(self._doubts, inbox).inc()
        if after.state.is_terminal and not before.state.is_terminal:
            self._of(self._ended, inbox, after.state.value).inc()
            if after.error is not None and after.state is State.FAILED:
                self._of(self._failed, self._family(after.error.code)).inc()
        match event:
            case Connected():
                self._of(self._estimated, inbox, model).inc(after.credits_estimated or 0.0)
            case Prepared(size=size, sent_size=sent_size):
                self._of(self._bytes, inbox, "prepared").inc(size if sent_size is None else sent_size)
            case TaskSucceeded():
                task = after.task
                self._of(self._settled, inbox, model).inc(max((task and task.credits) or 0.0, 0.0))
                if task is not None and task.created_at is not None:
                    self._of(self._task_seconds, model).observe(max(after.updated_at - task.created_at, 0.0))
            case Failed(credits=credits) if credits is not None:
                self._of(self._settled, inbox, model).inc(max(credits, 0.0))
            case Fetched(results=results):
                self._of(self._bytes, inbox, "fetched").inc(sum(result.size for result in results))
            case Delivered(results=results):
                self._of(self._bytes, inbox, "delivered").inc(sum(result.size for result in results))
            case _:
                pass

    def _family(self, code: str) -> str:
        family = code.partition(".")[0]
        if not re.fullmatch(r"[A-Z][A-Z0-9_]{0,39}", family):
            return "OTHER"
        if family not in self._families and len(self._families) >= _FAMILIES_MAX:
            return "OTHER"
        self._families.add(family)
        return family

    def _of(self, family: Counter | Histogram, *labels: str) -> Any:
        """Return the counter of these labels; prometheus_client checks and locks each time it is asked."""
        key = family, labels
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = family.labels(*labels)
        return child

    # --- called in any thread ------------------------------------------------------------------------------

    def call_ended(self, call: CallName, outcome: str, seconds: float) -> None:
        """Count a call to the provider."""
        self._of(self._calls, call, outcome).inc()
        self._of(self._call_seconds, call).observe(max(seconds, 0.0))

    def download_cut(self) -> None:
        """Count a download whose connection ended early."""
        self._of(self._calls, "download", "cut").inc()

    def bytes_moved(self, direction: Direction, count: int) -> None:
        """Count bytes of files."""
        self._of(self._wire_bytes, direction).inc(count)

    def noticed(self, receiver: str, outcome: str, count: int) -> None:
        """Count messages to a receiver: `sent`, `tried_again`, `dropped`, and `left_out` for single notes."""
        self._notices.labels(receiver, outcome).inc(count)


class _Gauges(Collector):
    """Gauges, collected at each scrape: an inbox that is removed leaves nothing behind."""

    def __init__(self, metrics: Metrics, inboxes: Inboxes) -> None:
        self._metrics = metrics
        self._inboxes = inboxes

    def collect(self) -> Iterator[Metric]:
        snapshot = self._metrics.snapshot
        yield InfoMetricFamily("clipspool_build", "The version", value={"version": __version__})
        if self._metrics.node:
            leads = {(self._metrics.node,): self._metrics.leads}
            yield _gauges("node_leads", "Whether this node leads the farm", ["node"], leads)
        yield _gauge("turn_age_seconds", "Time since the last turn", self._metrics.turn_age_seconds())
        yield from _of_jobs(snapshot)
        yield from _of_pace(snapshot)
        yield from _of_inboxes(dict(self._inboxes()))


_LANES: tuple[tuple[str, str, Callable[[LaneLoad], int]], ...] = (
    ("lane_queue", "Work before a lane's threads", lambda load: load.queued),
    ("lane_busy", "Work handed out to a lane", lambda load: load.busy),
    ("lane_threads", "Threads of a lane", lambda load: load.threads),
)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"clipspool_{name}", text, value=value)


def _gauges(name: str, text: str, labels: list[str], values: Mapping[_Key, float]) -> Metric:
    family = GaugeMetricFamily(f"clipspool_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family


def _of_jobs(snapshot: StateSnapshot) -> Iterator[Metric]:
    jobs = {(state.value,): count for state, count in snapshot.jobs.items()}
    yield _gauges("jobs", "Jobs by state", ["state"], jobs)
    text = "Accepted jobs that wait, by reason"
    yield _gauges("jobs_waiting", text, ["inbox", "reason"], snapshot.waiting)
    for name, text, measure in _LANES:
        loads = {(lane,): measure(load) for lane, load in snapshot.lanes.items()}
        yield _gauges(name, text, ["lane"], loads)


def _of_pace(snapshot: StateSnapshot) -> Iterator[Metric]:
    spend, limits = snapshot.spend, snapshot.limits
    blocked = {(of,): snapshot.blocked_by == of for of in ("account", "moment")}
    yield _gauges("provider_blocked", "1 while nothing is submitted, by the kind of fault", ["of"], blocked)
    yield _gauge("poll_budget_per_second", "Polls that may start in a second", snapshot.polls_per_second_max)
    yield _gauge("poll_budget_left", "Polls that may start now", snapshot.polls_left)
    yield _gauge("poll_lag_seconds", "How long the most overdue poll has been due", snapshot.poll_lag_seconds)
    yield _gauge("day_submissions", "Submissions since midnight, UTC", spend.submissions)
    yield _gauge("day_submissions_max", "What may be submitted in a day", limits.submissions_per_day)
    yield _gauge("day_credits", "Credits since midnight, UTC, settled or estimated", spend.credits)
    if limits.credits_per_day is not None:
        yield _gauge("day_credits_max", "Credits that may be spent in a day", limits.credits_per_day)


def _of_inboxes(inboxes: Mapping[str, Inbox]) -> Iterator[Metric]:
    waiting: dict[tuple[str, ...], float] = {}
    ages: dict[tuple[str], float] = {}
    for name, inbox in inboxes.items():
        files = inbox.waiting
        waiting[name, "problem"] = problems = sum(one.problem for one in files)
        waiting[name, "not_ready"] = len(files) - problems
        if (age := inbox.scan_age_seconds) is not None:
            ages[name,] = age
    watching = {(name,): inbox.state == "watching" for name, inbox in inboxes.items()}
    emitters = {name: inbox.emitters for name, inbox in inboxes.items()}
    alive = {(name,): threads for name, (threads, _) in emitters.items()}
    wanted = {(name,): threads for name, (_, threads) in emitters.items()}
    yield _gauges("clips_waiting", "Files in an inbox, not accepted yet", ["inbox", "reason"], waiting)
    yield _gauges("inbox_watching", "1 while an inbox is watched", ["inbox"], watching)
    yield _gauges("inbox_scan_age_seconds", "Time since an inbox was looked through", ["inbox"], ages)
    yield _gauges("inbox_emitters_alive", "Threads that hear of events", ["inbox"], alive)
    yield _gauges("inbox_emitters_wanted", "Threads that should hear of events", ["inbox"], wanted)
