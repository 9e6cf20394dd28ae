"""Describes a job's history in words: what happened, who did it, how long each state lasted; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from clipspool.jobs.model import TERMINAL, State
from clipspool.jobs.text import span
from clipspool.system.redaction import redact, redact_value

if TYPE_CHECKING:  # `status` draws this without the database modules, which take long to load
    from clipspool.jobs.records import HistoryEntry

OURS = "clipspool"
PROVIDER = "provider"
_SIZES = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
_THEIRS = frozenset(
    {
        *("task_created", "task_seen", "task_missing", "task_succeeded", "task_cancelled"),
        *("answer_lost", "not_submitted"),
    }
)
Facts = Mapping[str, Any]


def seconds_by_state(entries: Iterable[HistoryEntry], until: float) -> dict[State, float]:
    """Add up the seconds a job spent in each state: `entries` oldest first, the last state lasts to `until`.

    Time in an ended state is not counted: a job that is retried did no work meanwhile.
    """
    spent: dict[State, float] = {}
    state, since = State.QUEUED, 0.0
    is_open = False
    for entry in entries:
        if entry.to_state is None:
            continue
        if is_open:
            spent[state] = spent.get(state, 0.0) + max(entry.at - since, 0.0)
        state, since = State(entry.to_state), entry.at
        is_open = state not in TERMINAL
    if is_open:
        spent[state] = spent.get(state, 0.0) + max(until - since, 0.0)
    return spent


def by(entry: HistoryEntry) -> str:
    """Return who caused an entry: an operator by name, the provider, or clipspool."""
    if who := entry.facts.get("by"):
        return str(who)
    if entry.event in _THEIRS or (entry.event == "failed" and entry.from_state != State.QUEUED):
        return PROVIDER
    return OURS


def words(entry: HistoryEntry) -> str:
    """Describe an entry in one line."""
    if entry.event == "stage_failed":
        return _stage_failed(entry)
    describe = _WORDS.get(entry.event)
    return describe(entry.facts) if describe else entry.event.replace("_", " ")


def size_in_words(size: float) -> str:
    """Spell a size in bytes for people, by thousands as the page does: `247 kB`, `1.5 GB`."""
    for unit, name in _SIZES:
        if size >= unit:
            return f"{size / unit:.1f} {name}" if size < 10 * unit else f"{size / unit:.0f} {name}"
    return f"{size:.0f} byte{'s' * (round(size) != 1)}"


def balance_in_words(look: Mapping[str, Any]) -> str:
    """Write an account's balance with all digits, so that the price of one task shows even in a million."""
    amount = f"{look['amount']:.4f}".rstrip("0").rstrip(".")
    return f"{amount} {look['unit']}"


def story_json(entries: Sequence[HistoryEntry]) -> Iterator[dict[str, Any]]:
    """Yield a history for scripts: times to the millisecond, and the seconds since the entry before."""
    before: float | None = None
    for entry in entries:
        at = datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="milliseconds")
        yield {
            "at": at.replace("+00:00", "Z"),
            "seconds": None if before is None else round(entry.at - before, 3),
            "event": entry.event,
            "from": entry.from_state,
            "to": entry.to_state,
            "by": by(entry),
            "words": redact(words(entry)),
            "facts": redact_value(entry.facts),
        }
        before = entry.at


# --- a sentence for each event --------------------------------------------------------------------------


def _with(facts: Facts, key: str, before: str = ": ") -> str:
    return f"{before}{facts[key]}" if facts.get(key) else ""


def _credits(facts: Facts, key: str = "credits", before: str = ", ") -> str:
    return f"{before}{facts[key]:,.10g} credits" if isinstance(facts.get(key), int | float) else ""


def _prepared(facts: Facts) -> str:
    sentence = f"clip read and checked{_with(facts, 'node', ' on ')}"
    if changes := facts.get("changes"):
        sentence += f", converted: {'; '.join(map(str, changes))}"
    if isinstance(facts.get("sent_size"), int):
        sentence += f" ({size_in_words(facts['sent_size'])})"
    sentence += _with(facts, "way", "; uploaded through ")
    return sentence + _credits(facts, "credits_estimated", "; about ")


def _not_submitted(facts: Facts) -> str:
    fault = facts.get("fault") or {}
    return f"not submitted, nothing was charged: {fault.get('message', 'no reason given')}"


def _task_seen(facts: Facts) -> str:
    sentence = f"the provider says {facts.get('status', 'nothing')}"
    progress = facts.get("progress")
    return sentence + (f", {progress:.0%}" if isinstance(progress, float) and progress > 0 else "")


def _failed(facts: Facts) -> str:
    error = facts.get("error") or {}
    return f"failed ({error.get('code', 'no code')}): {error.get('message', '')}{_credits(facts)}"


def _fetched(facts: Facts) -> str:
    size = sum(one.get("size", 0) for one in facts.get("results") or ())
    sentence = f"result downloaded and verified{_with(facts, 'node', ' on ')}, {size_in_words(size)}"
    sentence += _with(facts, "warning", "; ")
    for one in facts.get("missing") or ():
        sentence += f"; output {one.get('number')} is missing: {one.get('why')}"
    return sentence


def _stage_failed(entry: HistoryEntry) -> str:
    doing = {
        State.QUEUED: "preparing the clip",
        State.RUNNING: "asking for the task's status",
        State.RENDERED: "the download",
        State.FETCHED: "the delivery",
    }.get(State(entry.from_state) if entry.from_state else State.QUEUED, "a step")
    return f"{doing} failed and will be tried again{_with(entry.facts, 'message')}"


def _balance_seen(facts: Facts) -> str:
    looks = [facts.get("before"), facts.get("after")]
    had, has = (balance_in_words(one) if one else "" for one in looks)
    return f"the account has {has or '?'}" + (f"; before the request it had {had}" if had else "")


_WORDS: Mapping[str, Callable[[Facts], str]] = {
    "again": lambda f: f"ordered as version {f.get('version', '?')}, made from job {f.get('from_job', '?')}",
    "chosen": lambda f: f"chosen: it also lies at {', '.join(f.get('names') or ())}",
    "unchosen": lambda _: "not the chosen version any more",
    "accepted": lambda f: f"accepted: moved out of the inbox, {size_in_words(f.get('size', 0))}",
    "prepared": _prepared,
    "duplicate_found": lambda f: (
        f"same request as job {(f.get('reuse') or {}).get('job_id', '?')}, which was delivered"
    ),
    "reused": lambda f: f"the result of job {f.get('from_job', '?')} was reused; nothing was charged",
    "balance_seen": _balance_seen,
    "not_charged": lambda f: f"the request was not charged, it will be sent again{_with(f, 'message')}",
    "changed": lambda f: f"has to be prepared again{_with(f, 'reason')}",
    "postponed": lambda f: f"postponed by {span(f.get('seconds', 0.0))}{_with(f, 'reason')}",
    "fell_back": lambda f: (
        f"{f.get('instead_of', '?')} {f.get('why', 'is not offered now')}: "
        f"{f.get('model', '?')} is used instead"
    ),
    "vetted": lambda f: (
        f"the before_submit hook let it pass, {span(f.get('seconds', 0.0))}{_with(f, 'output')}"
    ),
    "hook_ran": lambda f: (
        f"the {f.get('hook', '?')} hook {'failed: ' + str(f['trouble']) if f.get('trouble') else 'ran'}, "
        f"{span(f.get('seconds', 0.0))}{_with(f, 'output')}"
    ),
    "connected": lambda _: "sending the request (may be charged from here on)",
    "not_submitted": _not_submitted,
    "answer_lost": lambda f: (
        f"no clear answer arrived, the request may have been charged{_with(f, 'message')}"
    ),
    "in_doubt": lambda f: (
        f"the work folder records {f.get('submissions', 1)} submissions that the journal does not have"
    ),
    "interrupted": lambda _: "clipspool ended while the request may have been in flight",
    "not_sent": lambda _: "clipspool ended before the request was sent; nothing was charged",
    "task_created": lambda f: f"the provider accepted it as task {f.get('task_id', '?')}{_credits(f)}",
    "task_seen": _task_seen,
    "task_missing": lambda f: f"the provider does not know the task{_with(f, 'message')}",
    "task_succeeded": lambda f: f"rendered{_credits(f)}",
    "task_cancelled": lambda f: f"the task was cancelled at the provider{_with(f, 'message')}",
    "failed": _failed,
    "fetched": _fetched,
    "partly_fetched": lambda f: str(
        f.get("message") or "part of the result is downloaded; the rest will be tried again"
    ),
    "result_gone": lambda f: (
        f"{f.get('file', 'the result')} is missing in the work folder; downloading it again"
    ),
    "delivered": lambda f: (
        f"delivered as {', '.join(str(one.get('name', '')) for one in f.get('results') or ()) or '?'}"
    ),
    "entered": lambda f: f"begun as part {f.get('part', '?')} of job {f.get('of', '?')}",
    "split": lambda f: f"cut into {len(f.get('parts') or ())} parts, each sent as a task of its own",
    "parts_seen": lambda f: str(f.get("message") or "its parts have come further"),
    "parts_fetched": lambda f: f"all {len(f.get('parts') or ())} parts are here; they are joined",
    "part_gone": lambda f: (
        f"the result of part {f.get('part', '?')} is missing in the work folder; downloading it again"
    ),
    "joined": lambda _: "its result is part of the film that was delivered",
    "held": lambda f: f"held for the operator ({f.get('held', '?')}){_with(f, 'reason')}",
    "cancelled": lambda f: f"cancelled{_with(f, 'message')}",
    "taken_over": lambda f: f"taken over by {f.get('host') or f.get('journal', '?')} with `recover`",
    "cancel_asked": lambda _: "asked to cancel it",
    "retried": lambda _: "started a retry",
    "attached": lambda f: f"attached task {f.get('task_id', '?')} to this job",
    "approved": lambda _: "approved it",
    "set_aside": lambda f: f"the source file stays where it is{_with(f, 'reason')}",
    "pruned": lambda f: (
        f"removed from {f.get('from', '?')}, as [retention] says, {size_in_words(f.get('size', 0))}"
    ),
    "retired": lambda f: (
        f"source {'moved to ' + f['to'] if f.get('to') else 'removed'}{_with(f, 'change', '; ')}"
    ),
}
