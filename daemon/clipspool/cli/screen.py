"""Draws `status` and `status --watch`: values in, lines out; pure.

The values are those of `status --json` and `jobs --json`. Lines fit the width; reasons are wrapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.cells import cell_len, chop_cells
from rich.text import Text

from clipspool.cli.names import cut, cut_apart
from clipspool.cli.sections import Section, fitted
from clipspool.cli.suggestions import commands_for
from clipspool.jobs.account import Account
from clipspool.jobs.text import span
from clipspool.system.redaction import readable

_REASON_MIN = 24
"""Cells that a reason needs beside a name; with fewer it stands below."""
_PROGRESS_MIN = 0.02
"""Below this progress no remaining time is estimated."""
STYLES = {
    "running": "cyan",
    "rendered": "cyan",
    "fetched": "cyan",
    "delivered": "green",
    "failed": "red",
    "in_doubt": "bold red",
    "cancelled": "dim",
}
"""Of states."""
_DOING = {"submitting": "sending", "rendered": "downloading the result", "fetched": "delivering"}


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
    program: str = "clipspool"
    """How the commands begin that are suggested."""


def draw(view: View, width: int, height: int | None = None, *, ascii_only: bool = False) -> list[Text]:
    """Return the lines: no wider than `width` cells, and at most `height` of them where given.

    Without a height, what is printed stays to be copied: commands are then whole, also where they are wider.
    """
    pen = _Pen(width, view, ascii_only=ascii_only)
    head = pen.head(view)
    sections = [one for one in pen.sections(view) if one.blocks or one.count]
    room = None if height is None else height - len(head)
    lines = head + fitted(sections, room)
    for line in lines:
        line.plain = pen.shown(line.plain)
        if height is not None or line.overflow != "ignore":
            line.truncate(width, overflow="crop" if ascii_only else "ellipsis")
        line.no_wrap = True
    return lines if height is None else lines[:height]


def seconds_left(job: Mapping[str, Any], at: float) -> float | None:
    """Estimate the remaining seconds of a render from its progress; None where that is not possible."""
    progress, since = job["progress"], job["rendering_since"]
    if job["state"] != "running" or not since or progress is None or not _PROGRESS_MIN <= progress <= 1:
        return None
    took = max(at - datetime.fromisoformat(since).timestamp(), 0.0)
    return float(took * (1 - progress) / progress)


def _leader(status: Mapping[str, Any]) -> str:
    return next((str(one["name"]) for one in status.get("nodes", ()) if one["state"] == "leads"), "")


class _Pen:
    def __init__(self, width: int, view: View, *, ascii_only: bool) -> None:
        self.width = width
        self.is_ascii = ascii_only
        self.name = max(16, min(52, width * 3 // 10))
        self.inbox = max(6, min(16, width // 8))
        self._mark = ".." if ascii_only else "…"
        self._program = view.program
        jobs = (*view.held, *view.running, *view.queued, *view.failed)
        self._names = cut_apart(map(_name_of, jobs), self.name - 2, self._mark)
        files = (readable(one["path"]) for inbox in view.status["inboxes"] for one in inbox["waiting"])
        self._files = cut_apart(files, self.name - 4, self._mark)

    # --- the head ---------------------------------------------------------------------------------------

    def head(self, view: View) -> list[Text]:
        status = view.status
        clock = f"{datetime.fromtimestamp(view.at, UTC):%H:%M:%S} UTC"
        daemon = status["daemon"]
        if view.trouble:
            state, style = f"clipspool: {view.trouble}", "bold red"
        elif daemon["running"]:
            since = daemon["since"].replace("T", " ").removesuffix("Z")
            state, style = f"clipspool running since {since} UTC (process {daemon['pid']})", "green"
        elif leader := _leader(status):
            state, style = f"no node runs on this machine; the farm is led by {leader}", "green"
        else:
            state = "clipspool is not running: start it with `clipspool run` or `systemctl start clipspool`"
            style = "bold yellow"
        room = max(self.width - len(clock) - 2, 8)
        first, *more = self._wrap(state, room)
        lines = [Text(first + " " * (room - cell_len(first)), style).append(f"  {clock}", "dim")]
        lines += [Text(line, style) for line in more]
        lines.append(self._counts(status["jobs"]))
        for trouble in daemon.get("troubles", ()):
            lines += self._with(Text(), trouble, "yellow")
        lines += self._spend(status["spend"])
        account = Account.from_dict(status["spend"])
        lines += self._with(Text(), account.in_words(), "yellow" if account.is_short else "")
        for words, style in _standstill(status, view.at):
            lines += self._with(Text(), words, style)
        return lines

    def _counts(self, jobs: Mapping[str, int]) -> Text:
        counts = [
            Text(f"{n:,} {state.replace('_', ' ')}", STYLES.get(state, "")) for state, n in jobs.items() if n
        ]
        return Text(", ").join(counts) if counts else Text("no jobs yet", "dim")

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

    def shown(self, text: str) -> str:
        """Return a text as the terminal can show it."""
        return text.encode("ascii", "backslashreplace").decode() if self.is_ascii else text

    def _wrap(self, words: str, room: int) -> list[str]:
        """Break a text into lines of at most `room` cells."""
        lines = [""]
        for word in self.shown(readable(words)).split():
            for piece in [word] if cell_len(word) <= room else chop_cells(word, room):
                longer = f"{lines[-1]} {piece}".strip()
                if cell_len(longer) > room:
                    lines.append(piece)
                else:
                    lines[-1] = longer
        return lines

    def _with(self, line: Text, words: str, style: str) -> list[Text]:
        """Append words to a line, wrapped below themselves where they do not fit."""
        if not words:
            return [line]
        indent = line.cell_len
        if self.width - indent < min(_REASON_MIN, cell_len(words)):
            return [line, *(Text(f"    {more}", style) for more in self._wrap(words, max(self.width - 4, 1)))]
        first, *more = self._wrap(words, max(self.width - indent, 1))
        return [line.append(first, style), *(Text(" " * indent + one, style) for one in more)]

    # --- the sections -----------------------------------------------------------------------------------

    def sections(self, view: View) -> Iterable[Section]:
        held = [self._held(job) for job in view.held]
        yield Section("NEEDS YOU", view.held_count, held, "bold red", is_urgent=True)
        peers = [(one["name"], peer) for one in view.status["inboxes"] for peer in one.get("peers", ())]
        blocks = [self._left_behind(inbox, peer) for inbox, peer in peers if peer["command"]]
        yield Section("LEFT BEHIND by another clipspool", len(blocks), blocks, "bold red", is_urgent=True)
        is_followed = view.status["daemon"]["running"] or _leader(view.status) or view.trouble
        title = "RUNNING" if is_followed else "RUNNING, not followed until clipspool starts"
        yield Section(title, view.running_count, [self._running(job, view.at) for job in view.running])
        yield Section("QUEUED", view.queued_count, [self._queued(job) for job in view.queued])
        if lanes := view.status.get("lanes"):
            yield Section("LANES", None, [[self._lanes(lanes)]])
        yield self._inboxes(view.status["inboxes"], view.at)
        failed = [self._failed(job) for job in view.failed]
        yield Section("FAILED in the last day", len(failed), failed, "bold red", is_urgent=True)

    def _held(self, job: Mapping[str, Any]) -> list[Text]:
        line = self._job(job)
        line.append(f"{(job['held'] or '').replace('_', ' ')}: ", "red")
        return [*self._with(line, job["reason"] or "", ""), *self._typed(commands_for(job, self._program))]

    def _left_behind(self, inbox: str, peer: Mapping[str, Any]) -> list[Text]:
        who = peer["host"] or f"journal {peer['journal']}"
        clips = f"{peer['clips']:,} clips" if peer["clips"] != 1 else "1 clip"
        line = Text("  ").append(self._cut(who, self.name - 2)).append(" ")
        line.append(self._cut(inbox, self.inbox, "dim")).append(" ")
        lines = self._with(line, f"{clips}; {peer['reason']}", "red")
        return [*lines, *self._typed(["start it again there", peer["command"]])]

    def _failed(self, job: Mapping[str, Any]) -> list[Text]:
        error = job["error"] or {"code": "", "message": job["reason"] or "", "retryable": False}
        line = self._job(job)
        line.append(f"{error['code']} ", "red")
        return [*self._with(line, error["message"], ""), *self._typed(commands_for(job, self._program))]

    def _typed(self, commands: Sequence[str]) -> list[Text]:
        """Return lines of commands, each command on one line; `overflow` marks them as not to be cut."""
        lines = [""]
        for command in commands:
            longer = f"{lines[-1]}  |  {command}" if lines[-1] else f"    {command}"
            if lines[-1] and cell_len(longer) > self.width:
                lines.append(f"    {command}")
            else:
                lines[-1] = longer
        return [Text(line, "dim", overflow="ignore") for line in lines if line]

    def _running(self, job: Mapping[str, Any], at: float) -> list[Text]:
        line = self._job(job)
        state = job["state"]
        left = seconds_left(job, at)
        if job["held"] or state != "running":
            style = "red" if job["held"] else STYLES.get(state, "")
            return self._with(line, job["reason"] or _DOING.get(state, state), style)
        if job["progress"] is None or not job["rendering_since"]:
            since = job["rendering_since"]
            waits = job["reason"] or "accepted by the provider, waiting to render"
            return self._with(line, f"rendering for {span(at - _seconds(since))}" if since else waits, "cyan")
        tail = f" {job['progress']:>4.0%}  " + (f"{span(left)} left" if left is not None else "")
        room = self.width - cell_len(line.plain) - max(len(tail), 19)
        if room > 3:  # noqa: PLR2004 - below that a bar says nothing
            line.append(self._bar(job["progress"], room, "cyan"))
        return [line.append(tail)]

    def _queued(self, job: Mapping[str, Any]) -> list[Text]:
        line = self._job(job)
        held = (job["held"] or "").replace("_", " ")
        if held and not (job["reason"] or "").startswith(held):
            line.append(f"{held}: ", "yellow")
        return self._with(line, job["reason"] or "", "dim")

    def _lanes(self, lanes: Sequence[Mapping[str, Any]]) -> Text:
        line = Text("  ")
        for number, lane in enumerate(lanes):
            line.append("  " if number else "")
            at_work = ", ".join(f"{stage} {n}" for stage, n in lane["stages"].items() if n)
            line.append(f"{lane['name']} {lane['busy']}/{lane['threads']}", "" if lane["busy"] else "dim")
            line.append(f" ({at_work})" if at_work and self.width >= 100 else "", "dim")  # noqa: PLR2004
        return line

    def _inboxes(self, inboxes: Sequence[Mapping[str, Any]], at: float) -> Section:
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
            why = inbox["reason"] or (f"clipspool resume {inbox['name']}" if state == "paused" else "")
            if why:
                line.append(": ")
            blocks.append(self._with(line, why, style if state == "offline" else "dim"))
            first = sorted(waiting, key=lambda one: not one.get("problem"))
            blocks += [self._waiting(one, at) for one in first]
        is_urgent = any(one["state"] == "offline" for one in inboxes)
        return Section("INBOXES", len(inboxes), blocks, total=len(blocks) + left_out, is_urgent=is_urgent)

    def _waiting(self, one: Mapping[str, Any], at: float) -> list[Text]:
        line = (
            Text("    ").append(self._padded(self._files[readable(one["path"])], self.name - 4)).append(" ")
        )
        waits = span(max(at - _seconds(one["since"]), 0.0))
        line.append(f"{waits:>7} ", "dim")
        return self._with(line, one["reason"], "yellow" if one.get("problem") else "dim")

    # --- pieces -----------------------------------------------------------------------------------------

    def _job(self, job: Mapping[str, Any]) -> Text:
        line = Text("  ").append(self._padded(self._names[_name_of(job)], self.name - 2)).append(" ")
        return line.append(self._cut(job["inbox"], self.inbox, "dim")).append(" ")

    def _cut(self, name: str, width: int, style: str = "") -> Text:
        return Text(self._padded(cut(readable(name), width, self._mark), width), style)

    def _padded(self, shown: str, width: int) -> str:
        return shown + " " * max(width - cell_len(shown), 0)

    def _bar(self, share: float, width: int, style: str) -> Text:
        full, empty = ("#", "-") if self.is_ascii else ("━", "─")
        done = round(max(0.0, min(share, 1.0)) * width)
        return Text(full * done, style).append(empty * (width - done), "dim")


def _name_of(job: Mapping[str, Any]) -> str:
    """Return a job's name for people: its clip's, its variant, and its version from the second on."""
    version = job.get("version", 1)
    parts = (job["clip"], job["variant"], f"v{version:03}" if version > 1 else "")
    return readable(" ".join(part for part in parts if part))


def _seconds(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()


def _standstill(status: Mapping[str, Any], at: float) -> Iterator[tuple[str, str]]:
    """Yield why nothing is submitted, and what to type, each with its style; `at` is now, in Unix seconds."""
    journal, provider = status["journal"], status["provider"]
    if journal["restored"]:
        yield f"Nothing is submitted: {journal['reason']}", "bold red"
    if provider["blocked"]:
        yield f"The provider is blocked: {provider['reason']}", "bold red"
        left = _seconds(provider["until"]) - at if provider["until"] else 0.0
        when = f"in {span(left)}" if left > 0 else "due now"
        # Only a clip that is sent asks the provider: with none queued no retry is due.
        when = when if status["jobs"].get("queued") else "with the next clip"
        yield f"Next retry {when}; once it is fixed: clipspool resume", "red"
