"""An inbox on a real disk under a clock of its own, for the tests of intake."""

import struct
import threading
import time
from contextlib import contextmanager

from clipspool.intake.inbox import Inbox
from clipspool.intake.types import Inspection, Rules
from clipspool.jobs.messages import Accepted
from clipspool.spool.root import Root
from patience import patient

EPOCH = 1_800_000_000.0


def box(kind, body):
    return struct.pack(">I", 8 + len(body)) + kind + body


CLIP = box(b"ftyp", b"isom\0\0\0\0isom") + box(b"moov", b"m" * 100) + box(b"mdat", b"pictures" * 100)
SIDECAR = 'prompt = "deep winter"\nmodel = "gen4_aleph"\n'


def inspect(_file, pictures=None, _size=0):
    """Stand for the decoder: a clip of two seconds, or a folder of pictures."""
    return {"seconds": 2.0} | ({"pictures": pictures.to_dict()} if pictures else {}), []


class Bench:
    """An inbox, what it told, and the time it believes."""

    def __init__(self, path, *, check=lambda _request, _media: [], inspect=inspect, **rules):
        self.path = path
        path.mkdir(exist_ok=True)
        self.root = Root(path)
        self.told = []
        self.heard = threading.Event()
        self.seconds = 0.0
        self.fault = None
        self.peers = ()
        self.expected = 0
        self.leads = True
        self.rules = Rules("bay", **{"detect": "rescan", "settle_seconds": 3.0, **rules})
        self._check, self._inspect = check, inspect
        self.inbox = self.begin()

    def begin(self, **clocks):
        clocks = clocks or {"now": lambda: EPOCH + self.seconds, "monotonic": lambda: self.seconds}
        self.inbox = Inbox(
            self.root,
            self.rules,
            bind=self.bind,
            inspection=Inspection(self._check, self._inspect, self.expect, may_claim=lambda: self.leads),
            on_message=self.tell,
            **clocks,
        )
        return self.inbox

    def expect(self):
        self.expected += 1

    def bind(self):
        if self.fault is not None:
            raise self.fault
        self.root.bind()
        return self.peers

    def tell(self, what):
        self.told.append(what)
        self.heard.set()

    @property
    def accepted(self):
        return [told for told in self.told if isinstance(told, Accepted)]

    @property
    def paths(self):
        return [told.clip.path for told in self.accepted]

    def drop(self, name, data=CLIP, sidecar=SIDECAR):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if sidecar is not None:
            (self.path / f"{name}.toml").write_bytes(
                sidecar if isinstance(sidecar, bytes) else sidecar.encode()
            )
        path.write_bytes(data)
        return path

    def write(self, name, text):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def look(self, seconds=0.0):
        """Let time pass, then make one full pass."""
        self.seconds += seconds
        self.inbox.rescan_now()
        return self.inbox.run_pass(self.seconds)

    def settle(self):
        """Look, let everything settle, look."""
        self.look()
        self.look(self.rules.settle_seconds)

    def waiting(self):
        return {w.path: w for w in self.inbox.waiting}

    def note(self, name):
        path = self.path / f"{name}.problem.txt"
        return path.read_text() if path.exists() else None

    def lying(self):
        """Every file outside what is ours."""
        return sorted(
            str(path.relative_to(self.path))
            for path in self.path.rglob("*")
            if path.is_file() and ".clipspool" not in path.parts
        )

    def until(self, is_true, seconds=8.0):
        """Wait for something the inbox's own thread brings about."""
        end = time.monotonic() + patient(seconds)
        while not is_true():
            left = end - time.monotonic()
            assert left > 0, "it did not happen in time"
            self.heard.wait(min(left, 0.02))
            self.heard.clear()


@contextmanager
def benches(path, **usual):
    """Yield a maker of benches at that path, by these rules where no others are named; each is stopped."""
    made = []

    def make(**rules):
        made.append(Bench(path, **{**usual, **rules}))
        return made[-1]

    yield make
    for one in made:
        assert one.inbox.stop()
