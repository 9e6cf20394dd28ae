"""Runs the demo: the real daemon renders a real clip at the sandbox and explains each step."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from clipspool.jobs.conditions import Conditions
from clipspool.jobs.faults import OperatorError
from clipspool.journal import Journal
from clipspool.media.decoder import Decoder
from clipspool.media.facts import MediaFault
from clipspool.reporting.status import job_json
from clipspool.system import mounts
from runway_sandbox import Options, serve

_WAIT_SECONDS = 90.0
_LOOK_SECONDS = 0.15
_PROMPT = "Turn the street into deep winter at dusk"

Say = Callable[[str], None]


class DemoFailed(OperatorError):
    """The demo stopped before its end; the message says where."""


def run_demo(folder: Path | None, options: Options, say: Say) -> None:
    """Make a clip, drop it with a sidecar, follow it to its result; raises DemoFailed.

    `folder` is kept; None makes a temporary one, which is kept too so that the result can be viewed.
    """
    if why := mounts.missing_proc():
        raise DemoFailed(why)
    home, inbox, outbox = _make_folders(folder)
    say(f"Folder of this demo: {home}")
    say(f"  {inbox.name}/           the inbox: editors drop clips here")
    say(f"  {outbox.name}/   the outbox: results appear here\n")
    with serve(options) as box:
        say(f"1. The sandbox, a local stand-in for the provider's API, runs at {box.base_url}")
        config = _write_config(home, box.base_url)
        with _daemon(config, home) as daemon:
            say("2. The daemon watches the inbox: clipspool run -c config.toml")
            clip = _drop(inbox)
            say(f"3. An editor drops a clip and its sidecar:\n     {clip}\n     {clip.with_suffix('.toml')}")
            say(f'     prompt = "{_PROMPT}"\n')
            job = _follow(config, daemon, say)
        spent = len(box.ledger.creates)
    result = outbox / job["results"][0]["name"]
    paper = Path(f"{result}.toml")
    say(f"\nDone. The sandbox charged for {spent} task. The result:")
    say(f"     {result}  ({result.stat().st_size:,} bytes)")
    say(f"and its provenance, {paper.name}:")
    for line in paper.read_text().splitlines():
        say(f"     {line}")
    source = tomllib.loads(paper.read_text())["result"]["source"]
    say(f"\nThe source is in {inbox / '_done' / source}. Look around, then delete {home}.")


def _make_folders(folder: Path | None) -> tuple[Path, Path, Path]:
    home = Path(tempfile.mkdtemp(prefix="clipspool-demo-")) if folder is None else folder.absolute()
    home.mkdir(parents=True, exist_ok=True)
    # Money: beside a real configuration it would replace that, and drop its clip into a real inbox.
    if any(home.iterdir()):
        raise DemoFailed(f"{home} is not empty: name a new folder, or an empty one.")
    inbox, outbox = home / "bay-1", home / "bay-1-results"
    inbox.mkdir()
    outbox.mkdir()
    return home, inbox, outbox


def _write_config(home: Path, base_url: str) -> Path:
    config = home / "config.toml"
    config.write_text(
        f'[provider]\nbase_url = "{base_url}"\npoll_seconds_min = 0.5\npoll_seconds_max = 1.0\n\n'
        '[journal]\npath = "journal/journal.sqlite3"\n\n[defaults]\nmodel = "gen4_aleph"\n\n'
        '[[inbox]]\npath = "bay-1"\noutbox = "bay-1-results"\nsettle_seconds = 1.0\n'
    )
    return config


def _drop(inbox: Path) -> Path:
    clip = inbox / "street.mp4"
    with closing(Decoder()) as decoder, (inbox / ".street.mp4.part").open("w+b") as file:
        made = decoder.sample(file.fileno(), seconds=3.0)
    if isinstance(made, MediaFault):
        raise DemoFailed(f"The clip could not be made: {made.message}")
    (inbox / "street.toml").write_text(f'prompt = "{_PROMPT}"\n')
    (inbox / ".street.mp4.part").rename(clip)
    return clip


@contextmanager
def _daemon(config: Path, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    # What is set for a real daemon would send the demo to the real provider.
    env = {name: value for name, value in os.environ.items() if not name.upper().startswith("CLIPSPOOL_")}
    env["CLIPSPOOL_PROVIDER__API_KEY"] = "demo-key-of-no-worth"
    with (home / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(  # noqa: S603  (our own program)
            [sys.executable, "-m", "clipspool", "run", "-c", str(config)], env=env, stderr=log, stdout=log
        )
        try:
            yield daemon
        finally:
            daemon.terminate()
            daemon.wait(60)


_STEPS = {
    "queued": "accepted: moved out of the inbox",
    "submitting": "sending (intent recorded first)",
    "running": "the provider created a task and is rendering",
    "rendered": "rendered; downloading the result",
    "fetched": "result downloaded and verified: it is a video",
    "delivered": "delivered: provenance first, then the video, both synced to disk",
}


def _follow(config: Path, daemon: subprocess.Popen[bytes], say: Say) -> dict[str, Any]:
    """Print each step that the journal records, until the job has ended."""
    begun, begun_at = time.monotonic(), time.time()
    count = 0
    while time.monotonic() - begun < _WAIT_SECONDS:
        if daemon.poll() is not None:
            raise DemoFailed(f"The daemon ended; see {config.with_name('daemon.log')} for the reason.")
        job, steps = _job(config)
        for at, state in steps[count:]:
            say(f"   {at - begun_at:5.1f} s  {state:<10} {_STEPS.get(state, job['reason'])}")
        count = len(steps)
        if job.get("state") == "delivered":
            return job
        if job.get("state") in {"failed", "cancelled", "in_doubt"}:
            raise DemoFailed(f"The job is {job['state']}: {job['error'] or job['reason']}")
        time.sleep(_LOOK_SECONDS)
    raise DemoFailed(f"No result within {_WAIT_SECONDS:g} s; see {config.with_name('daemon.log')}.")


def _job(config: Path) -> tuple[dict[str, Any], list[tuple[float, str]]]:
    """Return the job and when it entered each state; both empty before it is accepted."""
    journal = Journal.read(config.with_name("journal") / "journal.sqlite3")
    if journal is None:
        return {}, []
    with closing(journal):
        job = next(iter(journal.find()), None)
        history = journal.history(job) if job is not None else []
    if job is None:
        return {}, []
    steps = [(one.at, one.to_state) for one in history if one.to_state and one.to_state != one.from_state]
    return job_json(job, Conditions(time.time())), steps
