"""What a job's history says in words, who did what, and how long the job was in each state; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from clipspool.jobs.model import TERMINAL, State
from clipspool.jobs.text import span
from clipspool.system.redaction import redact, redact_value

if TYPE_CHECKING:  # `status` draws without a database, which takes long to load
    from clipspool.jobs.records import Entry

OURS = "clipspool"
PROVIDER = "provider"
_SIZES = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB"))
_THEIRS = frozenset(
    {
        *("task_created", "task_seen", "task_missing", "task_succeeded", "task_cancelled"),
        *("answer_lost", "not_submitted"),
    }
)
Facts = Mapping[str, Any]


def seconds_by_state(entries: Iterable[Entry], until: float) -> dict[State, float]:
    """Add up the seconds a job spent in each state, oldest entry first; the last state lasts to `until`.

    Time in an ended state counts for nothing: a job that is retried was not at work meanwhile.
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


def by(entry: Entry) -> str:
    """Say who did it: an operator by name, the provider, or clipspool."""
    if who := entry.facts.get("by"):
        return str(who)
    if entry.event in _THEIRS or (entry.event == "failed" and entry.from_state != State.QUEUED):
        return PROVIDER
    return OURS


def words(entry: Entry) -> str:
    """Say in one line what happened."""
    facts = entry.facts
    tell = _WORDS.get(entry.event)
    return tell(facts, entry) if tell else entry.event.replace("_", " ")


def size_in_words(size: float) -> str:
    """Spell a size in bytes for people: `241 KB`, `1.5 GB`."""
    for unit, name in _SIZES:
        if size >= unit:
            return f"{size / unit:.1f} {name}" if size < 10 * unit else f"{size / unit:.0f} {name}"
    return f"{size:.0f} bytes"


def balance_in_words(look: Mapping[str, Any]) -> str:
    """Spell what an account has, to the last digit: two looks differ by one task, in a million too."""
    amount = f"{look['amount']:.4f}".rstrip("0").rstrip(".")
    return f"{amount} {look['unit']}"


def story_json(entries: Sequence[Entry]) -> Iterator[dict[str, Any]]:
    """Give a history for scripts: times to the millisecond, and the seconds since the entry before."""
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


def _said(facts: Facts, key: str, before: str = ": ") -> str:
    return f"{before}{facts[key]}" if facts.get(key) else ""


def _credits(facts: Facts, key: str = "credits") -> str:
    return f", {facts[key]:g} credits" if isinstance(facts.get(key), int | float) else ""


def _prepared(facts: Facts, _entry: Entry) -> str:
    told = "the clip was read whole"
    if changes := facts.get("changes"):
        told += f" and made to fit: {'; '.join(map(str, changes))}"
    if isinstance(facts.get("sent_size"), int):
        told += f" ({size_in_words(facts['sent_size'])})"
    told += f"; it goes by {facts['way']}" if facts.get("way") else ""
    return told + (
        f"; about{_credits(facts, 'credits_estimated')[1:]}" if "credits_estimated" in facts else ""
    )


def _not_submitted(facts: Facts, _entry: Entry) -> str:
    fault = facts.get("fault") or {}
    return f"not sent, surely nothing was paid: {fault.get('message', 'no reason given')}"


def _task_seen(facts: Facts, _entry: Entry) -> str:
    told = f"the provider says {facts.get('status', 'nothing')}"
    progress = facts.get("progress")
    return told + (f", {progress:.0%}" if isinstance(progress, float) and progress > 0 else "")


def _failed(facts: Facts, _entry: Entry) -> str:
    error = facts.get("error") or {}
    return f"failed ({error.get('code', 'no code')}): {error.get('message', '')}{_credits(facts)}"


def _files(facts: Facts, key: str) -> str:
    results = facts.get("results") or ()
    return ", ".join(str(one.get(key, "")) for one in results)


def _fetched(facts: Facts, _entry: Entry) -> str:
    size = sum(one.get("size", 0) for one in facts.get("results") or ())
    told = f"the result is here and was looked into, {size_in_words(size)}{_said(facts, 'warning', '; ')}"
    return told + _missing(facts)


def _missing(facts: Facts) -> str:
    missing = facts.get("missing") or ()
    return "".join(f"; output {one.get('number')} could not be had: {one.get('why')}" for one in missing)


def _stage_failed(facts: Facts, entry: Entry) -> str:
    doing = {
        State.QUEUED: "getting it ready",
        State.RUNNING: "a look at the task",
        State.RENDERED: "the download",
        State.FETCHED: "the delivery",
    }.get(State(entry.from_state) if entry.from_state else State.QUEUED, "a step")
    return f"{doing} did not work, it is tried again{_said(facts, 'message')}"


def _balance_seen(facts: Facts, _entry: Entry) -> str:
    looks = [facts.get("before"), facts.get("after")]
    had, has = (balance_in_words(one) if one else "" for one in looks)
    return f"the account has {has or '?'}" + (f"; before it was sent it had {had}" if had else "")


_WORDS: Mapping[str, Callable[[Facts, Entry], str]] = {
    "accepted": lambda f, _: f"the clip left the inbox, {size_in_words(f.get('size', 0))}",
    "prepared": _prepared,
    "matched": lambda f, _: f"job {(f.get('reuse') or {}).get('job_id', '?')} delivered the same already",
    "reused": lambda f, _: f"the result of job {f.get('from_job', '?')} serves again, nothing was paid",
    "balance_seen": _balance_seen,
    "not_charged": lambda f, _: f"the doubt has ended by itself{_said(f, 'message')}; it is sent again",
    "changed": lambda f, _: f"it has to be made ready again{_said(f, 'reason')}",
    "postponed": lambda f, _: f"put off for {span(f.get('seconds', 0.0))}{_said(f, 'reason')}",
    "connected": lambda _f, _e: "connected; from here on money may be spent",
    "not_submitted": _not_submitted,
    "answer_lost": lambda f, _: f"the answer was lost, money may be spent{_said(f, 'message')}",
    "doubted": lambda f, _: (
        f"the work folder knows of {f.get('submissions', 1)} submissions, the journal not"
    ),
    "interrupted": lambda _f, _e: "clipspool ended while the request may have been on its way",
    "unsent": lambda _f, _e: "clipspool ended before anything of it was sent, surely nothing was paid",
    "task_created": lambda f, _: f"the provider took it as task {f.get('task_id', '?')}{_credits(f)}",
    "task_seen": _task_seen,
    "task_missing": lambda f, _: f"the provider does not know the task{_said(f, 'message')}",
    "stage_failed": _stage_failed,
    "task_succeeded": lambda f, _: f"rendered{_credits(f)}",
    "task_cancelled": lambda f, _: f"the task was cancelled at the provider{_said(f, 'message')}",
    "failed": _failed,
    "fetched": _fetched,
    "partly_fetched": lambda f, _: str(
        f.get("message") or "a part of the result is here; the rest is tried again"
    ),
    "result_gone": lambda f, _: f"{f.get('file', 'the result')} is gone from the work folder; fetched anew",
    "delivered": lambda f, _: f"delivered as {_files(f, 'name') or '?'}",
    "parked": lambda f, _: f"held for a person ({f.get('held', '?')}){_said(f, 'reason')}",
    "cancelled": lambda f, _: f"cancelled{_said(f, 'message')}",
    "taken_over": lambda f, _: f"taken over by {f.get('host') or f.get('journal', '?')} with `recover`",
    "cancel_asked": lambda _f, _e: "asked for its end",
    "retried": lambda _f, _e: "had it run again",
    "attached": lambda f, _: f"named task {f.get('task_id', '?')} as this job's",
    "approved": lambda _f, _e: "let it go",
    "set_aside": lambda f, _: f"its source stays where it is{_said(f, 'reason')}",
    "retired": lambda f, _: _retired(f),
}


def _retired(facts: Mapping[str, Any]) -> str:
    where = f"the source went to {facts['to']}" if facts.get("to") else "the source was removed"
    return f"{where}; {facts['change']}" if facts.get("change") else where
