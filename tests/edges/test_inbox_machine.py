"""Hypothesis against an inbox in a real folder: files come, grow, go, and turn into odd things in any order.

Only the clock is ours. A crash forgets all that the inbox knew; a vanished folder and its coming back too.
"""

import contextlib
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from clipspool.spool.guard import Unavailable
from clipspool.spool.recovery import survey
from inboxes import CLIP, Bench, box

EXAMPLES = int(os.environ.get("CLIPSPOOL_TEST_EXAMPLES", "12"))
PHASES = [
    phase for phase in Phase if phase is not Phase.shrink or "CLIPSPOOL_TEST_AS_FOUND" not in os.environ
]
NAMES = st.sampled_from(["a.mp4", "b.mov", "day/a.mp4", "day/B.MP4", "_x.mp4", "day.mp4/c.mp4"])
SETTLE = 3.0
GOOD = 'prompt = "x"\nmodel = "m"\n'


class Dropping(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.home = Path(tempfile.mkdtemp())
        self.bench = Bench(self.home / "bay", settle_seconds=SETTLE, journal="j1")
        self.count = 0
        self.whole = {}
        """Each whole clip's bytes that lies, or lay when it was taken, in the inbox, by a number in it."""
        self.gone = set()
        self.changed_at = {}
        self.adopted = []

    def teardown(self):
        if hasattr(self, "bench"):
            try:
                self._finish()
            finally:
                self.bench.inbox.stop()
                shutil.rmtree(self.home)

    def _fresh(self):
        self.count += 1
        return CLIP + box(b"free", b"%06d" % self.count)

    def _forget(self, path):
        """A file of the inbox is about to be overwritten or removed by its editor."""
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            self.whole = {number: one for number, one in self.whole.items() if one != data}

    def _clear(self, path):
        if path.is_symlink() or path.is_fifo():
            path.unlink()
        elif path.is_dir():
            return False
        return True

    def _place(self, name):
        path = self.bench.path / name
        with contextlib.suppress(FileExistsError, NotADirectoryError):
            path.parent.mkdir(parents=True, exist_ok=True)
        return path if path.parent.is_dir() and self._clear(path) else None

    # --- what editors do --------------------------------------------------------------------------------

    @rule(name=NAMES, seconds=st.sampled_from([0.0, 1.0, SETTLE]))
    def drop_a_pair_and_look(self, name, seconds):
        self.drop(name, "rename")
        self.drop_sidecar(name, "full", GOOD)
        self.look(seconds)

    @rule(name=NAMES, how=st.sampled_from(["write", "rename", "half", "link"]))
    def drop(self, name, how):
        path = self._place(name)
        if path is None:
            return
        self._forget(path)
        data = self._fresh()
        if how == "half":
            path.write_bytes(data[: len(data) // 2])
        elif how == "write":
            path.write_bytes(data)
        else:
            part = path.parent / f".{self.count}.part"
            part.write_bytes(data)
            if how == "link":
                path.unlink(missing_ok=True)
                os.link(part, path)
                part.unlink()
            else:
                part.rename(path)
        if how != "half":
            self.whole[self.count] = data
        self.changed_at[data] = self.bench.seconds

    @rule(
        name=NAMES,
        style=st.sampled_from(["stem", "full"]),
        text=st.sampled_from([GOOD, GOOD, GOOD, "promt = 1\n", ""]),
    )
    def drop_sidecar(self, name, style, text):
        path = self._place(name)
        if path is not None:
            beside = path.with_name(path.name + ".toml") if style == "full" else path.with_suffix(".toml")
            if self._clear(beside):
                beside.write_text(text)

    @rule(name=NAMES)
    def append(self, name):
        path = self.bench.path / name
        if path.is_file() and not path.is_symlink():
            self._forget(path)
            self.count += 1
            with path.open("ab") as file:
                file.write(box(b"free", b"more %06d" % self.count))
            self.whole[self.count] = path.read_bytes()
            self.changed_at[path.read_bytes()] = self.bench.seconds

    @rule(name=NAMES, to=NAMES)
    def rename(self, name, to):
        path, target = self.bench.path / name, self._place(to)
        if target is not None and path.is_file() and path != target:
            self._forget(target)
            path.rename(target)
            self.changed_at[target.read_bytes()] = self.bench.seconds

    @rule(name=NAMES)
    def delete(self, name):
        path = self.bench.path / name
        if path.is_file():
            self._forget(path)
            path.unlink()

    @rule(name=NAMES, what=st.sampled_from(["link", "fifo", "folder"]))
    def put_something_odd(self, name, what):
        path = self.bench.path / name
        if path.parent.is_dir() and not path.exists() and not path.is_symlink():
            match what:
                case "link":
                    path.symlink_to(self.home / "bay" / "nowhere")
                case "fifo":
                    os.mkfifo(path)
                case "folder" if name.startswith("b"):
                    path.mkdir()

    @rule(text=st.sampled_from(['prompt = "d"\n', "odd = 1\n", None]))
    def change_defaults(self, text):
        path = self.bench.path / "_defaults.toml"
        if text is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(text)

    # --- what the daemon and the world do ---------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, SETTLE, 70.0]))
    def look(self, seconds):
        self.bench.look(seconds)

    @rule()
    def crash(self):
        self.bench.inbox.stop()
        self.bench.begin()
        known = {told.clip.id for told in self.bench.accepted} | {one.clip.id for one in self.adopted}
        self.adopted += survey("bay", self.bench.root, "j1", known).ours

    @rule()
    def vanish_and_come_back(self):
        away = self.home / "away"
        self.bench.path.rename(away)
        self.bench.path.mkdir()
        self.bench.fault = Unavailable(5, "it is away")
        self.bench.look(1.0)
        assert list(self.bench.path.iterdir()) == []
        self.bench.fault = None
        self.bench.path.rmdir()
        away.rename(self.bench.path)

    # --- what holds -------------------------------------------------------------------------------------

    def _lying(self):
        """Count every clip's bytes, in the inbox and in work folders."""
        return Counter(
            path.read_bytes()
            for path in self.bench.path.rglob("*")
            if path.is_file() and not path.is_symlink() and path.suffix.lower() in {".mp4", ".mov"}
        )

    @invariant()
    def nothing_is_lost_and_nothing_doubled(self):
        if hasattr(self, "bench"):
            lying = self._lying()
            for number, data in self.whole.items():
                assert lying[data] == 1, f"clip {number} lies there {lying[data]} times"

    @invariant()
    def what_is_accepted_is_whole_and_was_left_alone_long_enough(self):
        if not hasattr(self, "bench"):
            return
        taken = Counter(told.clip.id for told in self.bench.accepted)
        assert all(count == 1 for count in taken.values())
        for told in self.bench.accepted:
            clip = told.clip
            data = (self.bench.path / ".clipspool/work" / clip.id / clip.source).read_bytes()
            assert data in self.whole.values(), f"{clip.path} was accepted though it is no whole clip"
            assert not any(part.startswith("_") for part in clip.path.split("/"))
            stood = clip.accepted_at - 1_800_000_000.0 - self.changed_at[data]
            assert stood >= SETTLE, f"{clip.path} stood still for {stood} s only"

    def _finish(self):
        """Left alone, every whole clip with a good sidecar is accepted, and each other has a note."""
        for _ in range(4):
            self.bench.look(70.0)
        self.nothing_is_lost_and_nothing_doubled()
        self.what_is_accepted_is_whole_and_was_left_alone_long_enough()
        waiting = self.bench.waiting()
        for path in self.bench.path.rglob("*"):
            rel = path.relative_to(self.bench.path)
            if any(part.startswith((".", "_")) for part in rel.parts) or path.is_dir():
                continue
            if path.suffix.lower() in {".mp4", ".mov"}:
                assert str(rel) in waiting, f"{rel} lies there and nobody says why"
                assert waiting[str(rel)].problem, f"{rel} waits in silence: {waiting[str(rel)]}"
                assert path.with_name(path.name + ".problem.txt").exists(), f"{rel} has no note"


Dropping.TestCase.settings = settings(
    max_examples=EXAMPLES,
    phases=PHASES,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestWhateverIsDropped = Dropping.TestCase
