"""Where tasks get their pictures: the task table, its timer, and one rendering thread."""

from __future__ import annotations

import asyncio
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runway_sandbox import render
from runway_sandbox.options import Render
from runway_sandbox.tasks import Failure, Output, Table, Task

if TYPE_CHECKING:
    from pathlib import Path

    from runway_sandbox.options import Options

_CANNED_SECONDS_MAX = 60.0
_BROKEN = Failure("ASSET.INVALID", "The input could not be decoded.")


@dataclass(slots=True)
class Studio:
    """Takes tasks in and brings them to their end; all methods belong to the event loop's thread."""

    options: Options
    folder: Path
    canned: Path
    table: Table = field(init=False)
    _rendering: ThreadPoolExecutor = field(init=False)
    _timer: asyncio.TimerHandle | None = None
    _is_closing: bool = False
    _jobs: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        options = self.options
        self.table = Table(
            options.concurrency,
            options.pending_seconds,
            options.render_seconds,
            options.tasks_max,
            self._forget,
        )
        self._rendering = ThreadPoolExecutor(1, "sandbox-render")

    def add(self, task: Task) -> None:
        """Take in a task and start it if there is room."""
        self.table.add(task)
        self.turn()

    def turn(self) -> None:
        """Move all tasks on to now, and come back when the next one is due."""
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
        if task.doom is not None:
            self.table.rendered(task, (), time.time())
        elif self.options.render is Render.REAL or task.content != "mp4":
            job = asyncio.get_running_loop().create_task(self._render(task))
            self._jobs.add(job)
            job.add_done_callback(self._jobs.discard)
        else:
            is_echo = self.options.render is Render.ECHO and task.clip is not None
            path = task.clip if is_echo and task.clip is not None else self.canned_for(task.seconds)
            self.table.rendered(task, _outputs(task, (path,)), time.time())

    def canned_for(self, seconds: float) -> Path:
        """Return the canned film of about a length, made where it is the first one; from any thread."""
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
            paths = await loop.run_in_executor(self._rendering, self._make_files, task)
        except render.NotAVideoError:
            self.table.fail(task, _BROKEN, time.time())
        else:
            if self.table.get(task.id) is task:
                self.table.rendered(task, _outputs(task, paths), time.time())
            else:
                _unlink(*paths)
        self.turn()

    def _make_files(self, task: Task) -> tuple[Path, ...]:
        clip = task.clip or self.canned_for(task.seconds)
        made = self.folder / f"{task.id}.mp4"
        if self.options.render is Render.REAL:
            render.winter(clip, made, render.SECONDS_MAX.get(task.model), lambda: not self._is_closing)
        else:
            made = clip
        if task.content == "mp4":
            return (made,)
        other = self.folder / f"{task.id}.{task.content}"
        render.rewrap(made, other, task.content)
        if made is not clip:
            _unlink(made)
        return (other,)

    def _forget(self, task: Task) -> None:
        _unlink(*(one.path for one in task.outputs or () if not one.path.name.startswith("canned")))
        if task.clip is not None:
            _unlink(task.clip)

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


def _outputs(task: Task, paths: tuple[Path, ...]) -> tuple[Output, ...]:
    kind = task.content
    names = (
        f"{task.id}.{kind}",
        *(f"{task.id}_{place}.{kind}" for place in range(2, task.outputs_count + 1)),
    )
    return tuple(Output(paths[0], name, render.CONTENT_TYPES[kind]) for name in names[: task.outputs_count])


def _unlink(*paths: Path) -> None:
    for path in paths:
        # The same file may stand for several outputs, so it may be gone already.
        path.unlink(missing_ok=True)
