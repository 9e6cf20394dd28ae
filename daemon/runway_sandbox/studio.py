"""Renders the tasks: the task table, its timer, and one rendering thread."""

from __future__ import annotations

import asyncio
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from runway_sandbox import render
from runway_sandbox.options import Options, Render
from runway_sandbox.tasks import Failure, Output, Table, Task

_CANNED_SECONDS_MAX = 60.0
_BROKEN = Failure("ASSET.INVALID", "The input could not be decoded.")


@dataclass(slots=True)
class Studio:
    """Accepts tasks and brings them to their end; all methods belong to the event loop's thread."""

    options: Options
    folder: Path
    canned: Path
    table: Table = field(init=False)
    _rendering: ThreadPoolExecutor = field(init=False)
    _timer: asyncio.TimerHandle | None = None
    _is_closing: bool = False
    _jobs: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        o = self.options
        self.table = Table(
            o.concurrency, o.pending_seconds, o.render_seconds, o.tasks_max, self._delete_files
        )
        self._rendering = ThreadPoolExecutor(1, "sandbox-render")

    def add(self, task: Task) -> None:
        """Add a task and start it if there is room."""
        self.table.add(task)
        self.turn()

    def turn(self) -> None:
        """Advance all tasks to now, and set the timer for the next one that is due."""
        now = time.time()
        for task in self.table.advance(now):
            self._start(task)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.table.next_due()
        if due is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.001, due - time.time()), self.turn)

    def _start(self, task: Task) -> None:
        if task.coming_failure is not None:
            self.table.rendered(task, (), time.time())
        elif self.options.render is Render.REAL or task.content != "mp4":
            job = asyncio.get_running_loop().create_task(self._render(task))
            self._jobs.add(job)
            job.add_done_callback(self._jobs.discard)
        else:
            clip = task.clip if self.options.render is Render.ECHO else None
            self.table.rendered(task, _outputs(task, clip or self.canned_for(task.seconds)), time.time())

    def canned_for(self, seconds: float) -> Path:
        """Return the canned film of about this length, made on first use; from any thread."""
        frames = max(1, round(min(seconds, _CANNED_SECONDS_MAX) * render.CANNED_RATE))
        if frames == render.CANNED_RATE:
            return self.canned
        path = self.canned.with_name(f"canned-{frames}.mp4")
        if not path.exists():
            made = path.with_name(f"{uuid.uuid4()}.mp4")
            render.sample(made, seconds=frames / render.CANNED_RATE)
            made.replace(path)
        return path

    async def _render(self, task: Task) -> None:
        loop = asyncio.get_running_loop()
        try:
            path = await loop.run_in_executor(self._rendering, self._make_file, task)
        except render.NotAVideoError:
            self.table.fail(task, _BROKEN, time.time())
        else:
            if self.table.get(task.id) is task:
                self.table.rendered(task, _outputs(task, path), time.time())
            else:
                path.unlink(missing_ok=True)
        self.turn()

    def _make_file(self, task: Task) -> Path:
        clip = task.clip or self.canned_for(task.seconds)
        made = self.folder / f"{task.id}.mp4"
        if self.options.render is Render.REAL:
            render.winter(clip, made, render.SECONDS_MAX.get(task.model), lambda: not self._is_closing)
        else:
            made = clip
        if task.content == "mp4":
            return made
        other = self.folder / f"{task.id}.{task.content}"
        render.rewrap(made, other, task.content)
        if made is not clip:
            made.unlink(missing_ok=True)
        return other

    def _delete_files(self, task: Task) -> None:
        paths = {one.path for one in task.outputs or () if not one.path.name.startswith("canned")}
        for path in paths | ({task.clip} if task.clip is not None else set()):
            path.unlink(missing_ok=True)

    async def close(self) -> None:
        """Stop the timer and the rendering under way."""
        self._is_closing = True
        if self._timer is not None:
            self._timer.cancel()
        self._rendering.shutdown(wait=False, cancel_futures=True)
        for job in tuple(self._jobs):
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        await asyncio.to_thread(self._rendering.shutdown)


def _outputs(task: Task, path: Path) -> tuple[Output, ...]:
    kind = task.content
    ends = ("", *(f"_{place}" for place in range(2, task.outputs_count + 1)))[: task.outputs_count]
    return tuple(Output(path, f"{task.id}{end}.{kind}", render.CONTENT_TYPES[kind]) for end in ends)
