"""The power cut: a clip's life on a disk of its own that loses whatever was not brought to it.

A loop image with ext4 is shut down by EXT4_IOC_SHUTDOWN without flushing its log, which is what a power cut
leaves; then it is mounted again. Needs root and loop devices.
"""

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import time

from faults.kill import Bench

SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, struct.pack("I", 2)
PLACES = ("together", "folders", "journal")
"""What lies on the disk that is cut: everything; inbox and outbox alone; the journal alone."""
TELLING = {"fdatasync", "fsync", "rename", "renameat", "renameat2", "sendto", "sendmsg", "unlink", "unlinkat"}


class Disk:
    """A disk of 256 MB, mounted at `at`."""

    def __init__(self, image, at):
        self.image, self.at = image, at
        with image.open("wb") as file:
            file.truncate(256 << 20)
        at.mkdir()
        self._run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1", image)
        self.mount()

    def _run(self, *words):
        subprocess.run(list(map(str, words)), check=True, capture_output=True)

    def mount(self):
        self._run("mount", "-o", "loop", self.image, self.at)

    def unmount(self):
        for _ in range(100):
            with contextlib.suppress(subprocess.CalledProcessError):
                return self._run("umount", self.at)
            time.sleep(0.1)
        return self._run("umount", self.at)

    def settle(self):
        """Bring everything to the disk."""
        self._run("sync", "-f", self.at)

    def cut(self):
        """Let the power fail, and come back."""
        root = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(root, SHUTDOWN, NO_LOG_FLUSH)
        finally:
            os.close(root)
        self.unmount()
        self.mount()

    def close(self):
        subprocess.run(["umount", "-l", str(self.at)], check=False, capture_output=True)


@contextlib.contextmanager
def open_disk(home):
    """Yield a disk; None where this machine allows no such thing."""
    disk = None
    try:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            disk = Disk(home / "disk.img", home / "disk")
            disk.settle()
        yield disk
    finally:
        if disk is not None:
            disk.close()


class PowerBench(Bench):
    """As the kill bench, but with each end the power goes too."""

    place = "together"
    disk = None

    def new_bay(self):
        bay = super().new_bay()
        here = self.disk.at / bay.home.name
        here.mkdir()
        if self.place != "journal":
            bay.inbox, bay.outbox = here / "bay", here / "results"
            bay.inbox.mkdir()
            bay.outbox.mkdir()
        if self.place != "folders":
            bay.journal = here / "state" / "journal.sqlite3"
        bay.configure()
        return bay

    def drop(self, bay):
        super().drop(bay)
        self.disk.settle()

    def traced(self, bay, at):
        told = super().traced(bay, at)
        if told["killed_at"]:
            self.disk.cut()
        return told

    def point(self, *at):
        verdict = super().point(*at)
        for path in self.disk.at.glob("bay*"):
            shutil.rmtree(path)
        return verdict


def telling_points(labels):
    """Return the calls around which a power cut says something: commits, renames, requests."""
    return [
        number
        for number, label in enumerate(labels, 1)
        if label in TELLING or (number > 1 and labels[number - 2] in TELLING)
    ]
