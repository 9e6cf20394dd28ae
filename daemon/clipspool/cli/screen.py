"""Draws `status` and `status --watch`: values in, lines out; pure.

The values are those of `status --json` and `jobs --json`. Every line fits the width it is given.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from rich.cells import cell_len
from rich.text import Text

from clipspool.cli.standstill import standstill
from clipspool.intake.names import readable
from clipspool.jobs.text import span

BLOCKS_MAX = 20
"""Blocks shown of each section where no height is given."""
_PROGRESS_MIN = 0.02
"""Below this progress no remaining time is estimated."""
_STATES = {
    "running": "cyan",
    "rendered": "cyan",
    "fetched": "cyan",
    "delivered": "green",
    "failed": "red",
    "in_doubt": "bold red",
    "cancelled": "dim",
}
_DOING = {"submitting": "sending", "rendered": "downloading the result", "fetched": "delivering"}
_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "in_doubt": ("attach {id} TASK_ID", "retry {id}", "cancel {id}"),
    "lost": ("attach {id} TASK_ID", "retry {id}", "cancel {id}"),
    "result": ("retry {id}", "cancel {id}"),
    "budget": ("approve {id}", "cancel {id}"),
    "duplicate": ("approve {id}", "cancel {id}"),
    "poison": ("approve {id}", "cancel {id}"),
    "refused": ("approve {id}", "cancel {id}"),
    "overdue": ("show {id}", "cancel {id}"),
    "outbox": ("check --offline", "show {id}"),
    "disk": ("check --offline", "show {id}"),
}
"""Commands offered for a job, by what holds it."""


@dataclass(frozen=True, slots=True)
class View:
    """Holds everything that is drawn. Jobs are as in `jobs --json`; the lists hold the first of them."""

    status: Mapping[str, Any]
    at: float
    """Unix seconds."""
    running: Sequence[Mapping[str, Any]] = ()
    """Rendering or being downloaded and delivered, the nearest to their end first."""
    running_count: int = 0
    queued: Sequence[Mapping[str, Any]] = ()
    """In the order in which they will be submitted."""
    queued_count: int = 0
    held: Sequence[Mapping[str, Any]] = ()
    held_count: int = 0
    failed: Sequence[Mapping[str, Any]] = ()
    """Those of the last day, the newest first."""
    trouble: str = ""
    """Why the values may be out of date; empty when they are current."""


@dataclass(slots=True)
class _Section:
    title: str
    count: int | None
    """Stands behind the title; None where there is nothing to count."""
    blocks: list[list[Text]] = field(default_factory=list)
    style: str = "bold"
    total: int | None = None
    """Of all blocks, where that is not the count."""

    def left_out(self, shown: int) -> int:
        total = self.total if self.total is not None else self.count or 0
        return max(total - shown, 0)

    def lines(self, shown: int) -> int:
        """Return its number of lines: an empty one, the title, what is shown, and one for the rest."""
        return 2 + sum(map(len, self.blocks[:shown])) + bool(self.left_out(shown))


def commands_for(job: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the commands for a job that waits for the operator or failed; empty for others."""
    if job["state"] == "failed":
        return (f"clipspool show {job['id']}", f"clipspool retry {job['id']}")
    task_id = next(iter(job.get("maybe_task_ids", ())), "TASK_ID")
    if job["held"] == "result" and job["state"] == "fetched":
        return tuple(f"clipspool {act} {job['id']}" for act in ("approve", "retry", "cancel"))
    typed = (one.format(id=job["id"]) for one in _COMMANDS.get(job["held"] or "", ()))
    return tuple(f"clipspool {one.replace('TASK_ID', shlex.quote(task_id))}" for one in typed)


def draw(view: View, width: int, height: int | None = None, *, ascii_only: bool = False) -> list[Text]:
    """Return the lines: no wider than `width` cells, and at most `height` of them where given."""
    pen = _Pen(width, ascii_only=ascii_only)
    head = pen.head(view)
    sections = [one for one in pen.sections(view) if one.blocks or one.count]
    room = None if height is None else height - len(head)
    lines = head + _fitted(sections, room)
    for line in lines:
        if ascii_only:
            line.plain = line.plain.encode("ascii", "backslashreplace").decode()
        line.truncate(width, overflow="crop" if ascii_only else "ellipsis")
        line.no_wrap = True
    return lines if height is None else lines[:height]


def _fitted(sections: Sequence[_Section], room: int | None) -> list[Text]:
    """Share the room among the sections, and end each with the number of blocks left out."""
    shown = [0] * len(sections)
    if room is None:
        shown = [min(len(section.blocks), BLOCKS_MAX) for section in sections]
    is_growing = room is not None
    while is_growing:
        is_growing = False
        for place, section in enumerate(sections):
            shown[place] += 1
            sizes = [one.lines(count) for one, count in zip(sections, shown, strict=True)]
            if shown[place] <= len(section.blocks) and sum(sizes) <= (room or 0):
                is_growing = True
            else:
                shown[place] -= 1
    lines: list[Text] = []
    for section, count in zip(sections, shown, strict=True):
        title = section.title if section.count is None else f"{section.title} ({section.count:,})"
        lines += [Text(), Text(title, section.style)]
        lines += [line for block in section.blocks[:count] for line in block]
        if left_out := section.left_out(count):
            lines.append(Text(f"  and {left_out:,} more", "dim"))
    return lines


def seconds_left(job: Mapping[str, Any], at: float) -> float | None:
    """Estimate the remaining seconds of a render from its progress; None where that is not possible."""
    progress, since = job["progress"], job["rendering_since"]
    if job["state"] != "running" or not since or progress is None or not _PROGRESS_MIN <= progress <= 1:
        return None
    took = max(at - datetime.fromisoformat(since).timestamp(), 0.0)
    return float(took * (1 - progress) / progress)


class _Pen:
    def __init__(self, width: int, *, ascii_only: bool) -> None:
        self.width = width
        self.is_ascii = ascii_only
        self.name = max(16, min(52, width * 3 // 10))
        self.inbox = max(6, min(16, width // 8))

    # --- the head ---------------------------------------------------------------------------------------

    def head(self, view: View) -> list[Text]:
        status = view.status
        clock = f"{datetime.fromtimestamp(view.at, UTC):%H:%M:%S} UTC"
        daemon = status["daemon"]
        if view.trouble:
            first = Text(f"clipspool: {view.trouble}", "bold red")
        elif daemon["running"]:
            since = daemon["since"].replace("T", " ").removesuffix("Z")
            first = Text(f"clipspool running since {since} UTC (process {daemon['pid']})", "green")
        else:
            stopped = "clipspool is not running: `clipspool run` or `systemctl start clipspool`"
            first = Text(stopped, "bold yellow")
        how: Literal["crop", "ellipsis"] = "crop" if self.is_ascii else "ellipsis"
        first.truncate(max(self.width - len(clock) - 2, 8), overflow=how, pad=True)
        lines = [Text.assemble(first, "  ", (clock, "dim")), self._counts(status["jobs"])]
        lines += [Text(trouble, "yellow") for trouble in daemon.get("troubles", ())]
        lines += self._spend(status["spend"])
        for words, style, lines_max in standstill(status, view.at):
            lines += self._wrapped(words, style, lines_max)
        return lines

    def _counts(self, jobs: Mapping[str, int]) -> Text:
        told = [
            Text(f"{n:,} {state.replace('_', ' ')}", _STATES.get(state, "")) for state, n in jobs.items() if n
        ]
        return Text(", ").join(told) if told else Text("no jobs yet", "dim")

    def _spend(self, spend: Mapping[str, Any]) -> list[Text]:
        pieces = [("submissions", spend["submissions"], spend.get("submissions_per_day"))]
        pieces.append(("credits", spend["credits"], spend.get("credits_per_day")))
        line = Text("today ")
        for number, (what, used, most) in enumerate(pieces):
            line.append(", " if number else "")
            if most is None:
                line.append(f"about {used:,.10g} {what}" if what == "credits" else f"{used:,} {what}")
                continue
            share = used / most if most else 1.0
            style = "bold red" if share >= 1 else "yellow" if share >= 0.8 else ""  # noqa: PLR2004
            line.append(f"{used:,.10g} of {most:,.10g} {what} ", style)
            line.append(self._bar(share, max(self.width // 16, 4), style or "green"))
        return [line]

    def _wrapped(self, message: str, style: str, most: int) -> list[Text]:
        words, lines = readable(message).split(), [""]
        for word in words:
            longer = f"{lines[-1]} {word}".strip()
            if cell_len(longer) > self.width and lines[-1]:
                lines.append(word)
            else:
                lines[-1] = longer
        return [Text(line, style) for line in lines[:most]]

    # --- the sections -----------------------------------------------------------------------------------

    def sections(self, view: View) -> Iterable[_Section]:
        yield _Section("NEEDS YOU", view.held_count, [self._held(job) for job in view.held], "bold red")
        peers = [(one["name"], peer) for one in view.status["inboxes"] for peer in one.get("peers", ())]
        blocks = [self._left_behind(inbox, peer) for inbox, peer in peers if peer["command"]]
        yield _Section("LEFT BEHIND by another clipspool", len(blocks), blocks, "bold red")
        is_followed = view.status["daemon"]["running"] or view.trouble
        title = "RUNNING" if is_followed else "RUNNING, not followed until clipspool starts"
        yield _Section(title, view.running_count, [[self._running(job, view.at)] for job in view.running])
        yield _Section("QUEUED", view.queued_count, [[self._queued(job)] for job in view.queued])
        if lanes := view.status.get("lanes"):
            yield _Section("LANES", None, [[self._lanes(lanes)]])
        yield self._inboxes(view.status["inboxes"], view.at)
        failed = [self._failed(job) for job in view.failed]
        yield _Section("FAILED in the last day", len(failed), failed, "bold red")

    def _held(self, job: Mapping[str, Any]) -> list[Text]:
        line = self._job(job)
        line.append(f"{(job['held'] or '').replace('_', ' ')}: ", "red")
        line.append(readable(job["reason"] or ""))
        return [line, self._typed(commands_for(job))]

    def _left_behind(self, inbox: str, peer: Mapping[str, Any]) -> list[Text]:
        who = peer["host"] or f"journal {peer['journal']}"
        clips = f"{peer['clips']:,} clips" if peer["clips"] != 1 else "1 clip"
        line = Text("  ").append(self._cut(who, self.name - 2)).append(" ")
        line.append(self._cut(inbox, self.inbox, "dim")).append(" ")
        line.append(f"{clips}; {readable(peer['reason'])}", "red")
        return [line, self._typed(["start it again there", peer["command"]])]

    def _failed(self, job: Mapping[str, Any]) -> list[Text]:
        error = job["error"] or {"code": "", "message": job["reason"] or "", "retryable": False}
        line = self._job(job)
        line.append(f"{error['code']} ", "red")
        line.append(readable(error["message"]))
        return [line, self._typed(commands_for(job))]

    def _typed(self, commands: Sequence[str]) -> Text:
        """Return a line of commands; one that does not fit whole is left out."""
        line = ""
        for command in commands:
            longer = f"{line}  |  {command}" if line else f"    {command}"
            if line and cell_len(longer) > self.width:
                break
            line = longer
        return Text(line, "dim")

    def _running(self, job: Mapping[str, Any], at: float) -> Text:
        line = self._job(job)
        state = job["state"]
        left = seconds_left(job, at)
        if job["held"] or state != "running":
            style = "red" if job["held"] else _STATES.get(state, "")
            return line.append(readable(job["reason"] or _DOING.get(state, state)), style)
        if job["progress"] is None or not job["rendering_since"]:
            since = job["rendering_since"]
            waits = job["reason"] or "accepted by the provider, waiting to render"
            line.append(f"rendering for {span(at - _seconds(since))}" if since else readable(waits), "cyan")
            return line
        tail = f" {job['progress']:>4.0%}  " + (f"{span(left)} left" if left is not None else "")
        room = self.width - cell_len(line.plain) - max(len(tail), 19)
        if room > 3:  # noqa: PLR2004 - below that a bar says nothing
            line.append(self._bar(job["progress"], room, "cyan"))
        return line.append(tail)

    def _queued(self, job: Mapping[str, Any]) -> Text:
        line = self._job(job)
        held = (job["held"] or "").replace("_", " ")
        if held and not (job["reason"] or "").startswith(held):
            line.append(f"{held}: ", "yellow")
        return line.append(readable(job["reason"] or ""), "dim")

    def _lanes(self, lanes: Sequence[Mapping[str, Any]]) -> Text:
        line = Text("  ")
        for number, lane in enumerate(lanes):
            line.append("   " if number else "")
            at_work = ", ".join(f"{stage} {n}" for stage, n in lane["stages"].items() if n)
            line.append(f"{lane['name']} {lane['busy']}/{lane['threads']}", "" if lane["busy"] else "dim")
            line.append(f" ({at_work})" if at_work and self.width >= 100 else "", "dim")  # noqa: PLR2004
        return line

    def _inboxes(self, inboxes: Sequence[Mapping[str, Any]], at: float) -> _Section:
        blocks: list[list[Text]] = []
        left_out = 0
        for inbox in inboxes:
            waiting = inbox["waiting"]
            count = inbox.get("waiting_count", len(waiting))
            left_out += count - len(waiting)
            state = inbox["state"]
            style = {"offline": "bold red", "paused": "yellow", "unwatched": "yellow"}.get(state, "green")
            line = Text("  ").append(self._cut(inbox["name"], self.name - 2)).append(" ")
            line.append(state, style)
            if state == "watching":
                line.append(f" ({inbox['detect']})", "dim")
            files = f"{count:,} file{'s' * (count != 1)}" if count else "no files"
            line.append(f", {files} waiting", "" if count else "dim")
            if inbox["reason"]:
                line.append(f": {readable(inbox['reason'])}", style if state == "offline" else "dim")
            if state == "paused" and not inbox["reason"]:
                line.append(f": clipspool resume {inbox['name']}", "dim")
            blocks.append([line])
            first = sorted(waiting, key=lambda one: not one.get("problem"))
            blocks += [[self._waiting(one, at)] for one in first]
        return _Section("INBOXES", len(inboxes), blocks, total=len(blocks) + left_out)

    def _waiting(self, one: Mapping[str, Any], at: float) -> Text:
        line = Text("    ").append(self._cut(one["path"], self.name - 4)).append(" ")
        waits = span(max(at - _seconds(one["since"]), 0.0))
        line.append(f"{waits:>7} ", "dim")
        return line.append(readable(one["reason"]), "yellow" if one.get("problem") else "dim")

    # --- pieces -----------------------------------------------------------------------------------------

    def _job(self, job: Mapping[str, Any]) -> Text:
        name = f"{job['clip']} {job['variant']}".rstrip()
        line = Text("  ").append(self._cut(name, self.name - 2)).append(" ")
        return line.append(self._cut(job["inbox"], self.inbox, "dim")).append(" ")

    def _cut(self, name: str, width: int, style: str = "") -> Text:
        """Cut a name to a width; of a path the end is kept, which says more."""
        shown = readable(name)
        if cell_len(shown) > width:
            mark = ".." if self.is_ascii else "…"
            while cell_len(shown) + len(mark) > width:
                shown = shown[1:]
            shown = mark + shown
        return Text(shown + " " * (width - cell_len(shown)), style)

    def _bar(self, share: float, width: int, style: str) -> Text:
        full, empty = ("#", "-") if self.is_ascii else ("━", "─")
        done = round(max(0.0, min(share, 1.0)) * width)
        return Text(full * done, style).append(empty * (width - done), "dim")


def _seconds(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()
