"""Asks the kernel whether some program on this machine has a file open for writing."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from pathlib import Path

from clipspool.system import mounts

_NFS_SERVER = Path("/proc/net/rpc/nfsd")


class Writers:
    """Who writes to the files of one inbox, as far as this machine's kernel knows."""

    def __init__(self, folder: Path) -> None:
        """Take the inbox."""
        self._folder = folder
        self._device: int | None = None
        self._is_known = False

    def has_one(self, descriptor: int) -> bool | None:
        """Say whether a file, open for reading, is open for writing elsewhere; None where nobody can tell.

        A read lease is refused while somebody writes. It is held for an instant. On a share a refusal means
        something else, and who neither owns the file nor is root gets no lease.
        """
        if not self._is_local(descriptor):
            return None
        try:
            # A writer that comes in this instant makes the kernel send a signal: SIGIO would end us.
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as error:
            return True if error.errno == errno.EAGAIN else None
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False

    def are_all_seen(self) -> bool:
        """Say whether no machine but this one writes: an NFS server opens and closes files as it likes."""
        return not _NFS_SERVER.exists()

    def _is_local(self, descriptor: int) -> bool:
        if not self._is_known:
            self._is_known = True
            if mounts.filesystem_of(self._folder).kind is mounts.Kind.LOCAL:
                self._device = self._folder.stat().st_dev
        return os.fstat(descriptor).st_dev == self._device
