"""Watches an outbox while the daemon works, through inotify: invariant I3 at every instant, not only after.

A final name has to come into being whole: renamed or linked into place, never written under, its provenance
there before it. What the kernel tells is kept in order, so a write under a final name is seen however short.
"""

import contextlib
import ctypes
import hashlib
import os
import select
import struct
import threading
import tomllib
from pathlib import Path

from patience import patient

MODIFY, MOVED_TO, CREATE, IS_FOLDER, OVERFLOW = 0x2, 0x80, 0x100, 0x40000000, 0x4000
HEAD = struct.Struct("iIII")
RESULTS = {".mp4", ".mov", ".webm", ".mkv", ".zip"}
libc = ctypes.CDLL(None, use_errno=True)


def is_final(name):
    return not name.startswith(".")


class Watcher:
    """Watches from `start` to `stop`; `found` holds sentences, `seen` the final names that came."""

    def __init__(self, outbox, foreign=()):
        self.outbox, self.foreign = Path(outbox), foreign
        self.found, self.seen = [], []
        self._folders = {}
        self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._add(self.outbox)

    def start(self):
        self._thread.start()
        return self

    def stop(self):
        """End, after all that was told so far has been looked at."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._thread.join(patient(10))
            os.close(self._fd)
        return self.found

    def _add(self, folder):
        number = libc.inotify_add_watch(self._fd, os.fsencode(folder), MODIFY | MOVED_TO | CREATE)
        if number >= 0:
            self._folders[number] = folder

    def _run(self):
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        while True:
            is_last = self._stopping.is_set()
            if poll.poll(0 if is_last else 50):
                for folder, mask, name in self._events():
                    self._judge(folder, mask, name)
            elif is_last:
                return

    def _events(self):
        data = os.read(self._fd, 1 << 16)
        while data:
            number, mask, _, length = HEAD.unpack_from(data)
            name = os.fsdecode(data[HEAD.size : HEAD.size + length].rstrip(b"\0"))
            data = data[HEAD.size + length :]
            if mask & OVERFLOW:
                self.found.append("I3: the watch over the outbox missed something")
            elif number in self._folders:
                yield self._folders[number], mask, name

    def _judge(self, folder, mask, name):
        path = folder / name
        if mask & IS_FOLDER:
            if is_final(name):
                self._add(path)
                for below in path.iterdir() if path.is_dir() else ():
                    self._judge(path, IS_FOLDER if below.is_dir() else MOVED_TO, below.name)
        elif not is_final(name) or path in self.foreign:
            return
        elif mask & MODIFY:
            self.found.append(f"I3: {name} was written under its final name")
        else:
            self.seen.append(name)
            with contextlib.suppress(FileNotFoundError):  # taken away again, as a provenance without its clip
                self._look(path)

    def _look(self, path):
        data = path.read_bytes()
        if path.suffix == ".toml":
            with contextlib.suppress(tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError):
                if tomllib.loads(data.decode())["result"]["sha256"]:
                    return
            self.found.append(f"I3: {path.name} was not whole when it got its name ({len(data)} bytes)")
        elif path.suffix in RESULTS:
            paper = path.with_name(path.name + ".toml")
            if not paper.exists():
                self.found.append(f"I3: {path.name} was there before its provenance")
            elif hashlib.sha256(data).hexdigest() not in paper.read_text():
                self.found.append(f"I3: {path.name} was not whole when it got its name ({len(data)} bytes)")


@contextlib.contextmanager
def watched(bay):
    """Watch a bay's outbox; at the end say what was wrong, by raising AssertionError."""
    watcher = Watcher(bay.outbox, bay.foreign).start()
    try:
        yield watcher
    finally:
        found = watcher.stop()
    assert found == []
