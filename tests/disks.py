"""Disks in trouble, for tests: one that dies at the n-th change, one that refuses renames between folders."""

import errno
import os
from contextlib import contextmanager

import pytest

from clipspool.cli.check import trials
from clipspool.spool import claims
from clipspool.spool import root as roots
from clipspool.spool.root import Root
from clipspool.system import atomic as files
from clipspool.system import moves


class Crash(BaseException):
    """The process ends here."""


class Disk:
    """Ends a process at its `step`-th call that changes the disk, as a kill would: nothing is done after it.

    With `refused`, an error number, no file can be renamed or linked from one folder to another.
    """

    def __init__(self, step=0, refused=0):
        self.step, self.refused, self.calls, self.is_dead = step, refused, 0, False

    @contextmanager
    def in_place(self):
        """Take the system's place in the block."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "rename", self._counted(self._apart(os.rename)))
            for name in ("mkdir", "unlink", "fsync", "rmdir"):
                patch.setattr(os, name, self._counted(getattr(os, name)))
            rename_new = self._counted(self._apart(files.rename_new))
            for module in (claims, moves, roots, trials):
                patch.setattr(module, "rename_new", rename_new)
            for module in (claims, files, roots):
                patch.setattr(module, "write_all", self._counted(files.write_all))
            patch.setattr(Root, "create_in", self._counted(Root.create_in))
            yield

    def _counted(self, real):
        def change(*arguments, **more):
            self.calls += 1
            self.is_dead = self.is_dead or self.calls == self.step
            if self.is_dead:
                raise Crash
            return real(*arguments, **more)

        return change

    def _apart(self, real):
        def rename(*arguments, **more):
            folders = more.values() if more else (arguments[1], arguments[3])
            if self.refused and not os.path.samestat(*map(os.fstat, folders)):
                raise OSError(self.refused, os.strerror(self.refused))
            return real(*arguments, **more)

        return rename


REFUSALS = (errno.EXDEV, errno.EIO, errno.EPERM, errno.ENOSYS, errno.EINVAL)
