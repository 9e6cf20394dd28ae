"""Journals with many jobs in them, written as the daemon would, but all at once."""

import time
import uuid

from clipspool.jobs.model import Clip, Job, Paid, Request, State, Task
from clipspool.journal import Journal

_BATCH = 5_000


def write_journal(bay, provider, *, running=0, delivered=0):
    """Write the journal of a bay: so many jobs whose task runs, and so many that ended long ago."""
    path = bay.home / "state/journal.sqlite3"
    path.parent.mkdir(parents=True)
    journal = Journal.open(path)
    profile = _profile(provider)
    now = time.time()
    states = [State.DELIVERED] * delivered + [State.RUNNING] * running
    for begin in range(0, len(states), _BATCH):
        with journal.turn():
            for number, state in enumerate(states[begin : begin + _BATCH], begin):
                clip, job = _entry(number, state, profile, now - len(states) + number)
                journal.accept(clip, [job])
                if state is State.DELIVERED:
                    journal.retired(clip, now)
    journal.close()


def _profile(provider):
    """Return what tasks are made with, as the daemon names it."""
    from clipspool.provider.runway import Runway  # noqa: PLC0415  (it takes long, and one row needs it)

    one = Runway(provider.base_url, lambda: "key_0", api_version="2024-11-06", user_agent="bench")
    try:
        return one.profile
    finally:
        one.close()


def _entry(number, state, profile, at):
    name = f"old{number:06}"
    path = f"{name}.mp4"
    clip = Clip(name, "bay", path, f"{name}.toml", "clip.mp4", 250_000, 1, at, media={})
    task = Task(1, profile, at, task_id=str(uuid.uuid4()), created_at=at, succeeded=state is State.DELIVERED)
    request = Request(f"deep winter {number}", "gen4_aleph", number)
    job = Job(name, name, "bay", "", request, created_at=at, state=state, due_at=at, updated_at=at)
    more = {"prepared": True, "task": task, "path": path, "paid": Paid.YES}
    return clip, Job(**{**{f: getattr(job, f) for f in job.__dataclass_fields__}, **more})
