"""Describes the running daemon in one line, what is wrong first, for `systemctl status`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from clipspool.intake.inbox import Inbox
from clipspool.jobs.model import Held, State
from clipspool.scheduler.loop import Scheduler

_NAMES_MAX = 3
_WHY_MAX = 60


def headline_of(scheduler: Scheduler, inboxes: Mapping[str, Inbox], troubles: Sequence[str]) -> str:
    """Describe the running daemon; in the scheduler's thread."""
    fault = scheduler.brake.fault
    if scheduler.restore_guard.restored:
        troubles = ["an older journal was put back: nothing is submitted", *troubles]
    return headline(
        scheduler.journal.counts,
        scheduler.journal.open_jobs().held,
        {name: inbox.reason for name, inbox in inboxes.items() if inbox.state == "offline"},
        [name for name in inboxes if scheduler.pauses.has(name)],
        "" if fault is None else fault.code,
        troubles,
    )


def headline(
    counts: Mapping[State, int],
    held: Mapping[Held, int],
    offline: Mapping[str, str],
    paused: Collection[str],
    blocked: str,
    troubles: Sequence[str],
) -> str:
    """Describe a state: `offline` holds reasons by inbox, `blocked` the code of the provider's fault."""
    parts = [f"provider blocked ({blocked})"] if blocked else []
    names = list(offline)
    parts += [f"inbox {name} offline ({_short(offline[name])})" for name in names[:_NAMES_MAX]]
    if len(names) > _NAMES_MAX:
        more = len(names) - _NAMES_MAX
        parts.append(f"{more} more {'inbox' if more == 1 else 'inboxes'} offline")
    if paused:
        parts.append(f"paused: {', '.join(sorted(paused))}")
    parts += [trouble.rstrip(".") for trouble in troubles]
    states = [(counts[s], s.value.replace("_", " ")) for s in State if not s.is_terminal and counts.get(s)]
    counted = ", ".join(f"{count} {state}" for count, state in states)
    parts.append(counted or "idle")
    if number := sum(held.values()):
        why = sorted(reason.value.replace("_", " ") for reason in held)
        parts.append(f"{number} held ({', '.join(why)})")
    return "; ".join(parts)


def _short(why: str) -> str:
    return why if len(why) <= _WHY_MAX else f"{why[: _WHY_MAX - 1]}…"
