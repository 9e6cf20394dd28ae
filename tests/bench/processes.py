"""Measures a tree of processes from outside: processor time with ended children, peak memory, threads."""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS = 0.1
_SHARE_MAX = 0.05
"""What looking may cost of one core."""


def _stat(pid):
    """Return the fields of /proc/PID/stat after the name: state, parent, …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def tree(root):
    """Return the process and all below it that live."""
    children = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  (names are enough)
        if name.isdecimal():
            with suppress(OSError):
                children.setdefault(int(_stat(name)[1]), []).append(int(name))
    found, open_ends = [], [root]
    while open_ends:
        pid = open_ends.pop()
        found.append(pid)
        open_ends += children.get(pid, [])
    return found


def cpu_seconds(root):
    """Add up the processor time of a tree, with that of children that ended and were waited for."""
    total = 0
    for pid in tree(root):
        with suppress(OSError):
            total += sum(map(int, _stat(pid)[11:15]))
    return total / _TICK


def memory_bytes(root, kind="Pss"):
    """Add up what a tree has of memory: its proportional set size, so that shared pages count once.

    That grows when another process ends that shared its libraries; what is `Anonymous` does not.
    """
    total = 0
    for pid in tree(root):
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) * 1024
    return total


def threads(root):
    """Count the threads of a tree."""
    total = 0
    for pid in tree(root):
        with suppress(OSError):
            total += int(_stat(pid)[17])
    return total


class Watcher:
    """Samples memory and threads of a tree while a `with` block lasts; processor time is exact."""

    def __init__(self, root):
        self.root = root
        self.peak_bytes = 0
        self.peak_threads = 0
        self.cpu_seconds = 0.0
        self.memory = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._begun = cpu_seconds(self.root)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.cpu_seconds = cpu_seconds(self.root) - self._begun
        self._over.set()
        self._thread.join()

    def _watch(self):
        pause = _SAMPLE_SECONDS
        while True:
            begun = time.thread_time()
            self.memory.append(memory_bytes(self.root))
            self.peak_bytes = max(self.peak_bytes, self.memory[-1])
            self.peak_threads = max(self.peak_threads, threads(self.root))
            pause = max(_SAMPLE_SECONDS, (time.thread_time() - begun) / _SHARE_MAX)
            if self._over.wait(pause):
                return
