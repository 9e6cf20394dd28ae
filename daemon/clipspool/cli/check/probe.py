"""Tries what a folder's file system can do: write, sync, rename, link, and distinguish letter case."""

from __future__ import annotations

import ctypes
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clipspool.system.atomic import FOLDER_FLAGS, NEW_FLAGS, OURS, Opened, is_folder, unlink

_RENAME_NOREPLACE = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What works there."""

    renames_without_replacing: bool
    """renameat2 with RENAME_NOREPLACE."""
    links: bool
    """Hard links."""
    ignores_case: bool
    """`A` and `a` are one name."""


def abilities_of(folder: Path) -> Abilities:
    """Try them out in `.clipspool`, and leave nothing behind. Raises OSError where writing does not work."""
    with Opened(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as root:
        is_new = not is_folder(OURS, root)
        with suppress(FileExistsError):
            os.mkdir(OURS, dir_fd=root)
        try:
            with Opened(os.open(OURS, FOLDER_FLAGS, dir_fd=root)) as ours:
                return _tried(ours)
        finally:
            if is_new:
                with suppress(OSError):  # a daemon that started meanwhile uses it by now
                    os.rmdir(OURS, dir_fd=root)


def _tried(folder: int) -> Abilities:
    stem = f".check-{secrets.token_hex(6)}"
    first, second, third = f"{stem}-a.tmp", f"{stem}-b.tmp", f"{stem}-c.tmp"
    try:
        with Opened(os.open(first, NEW_FLAGS, dir_fd=folder)) as fd:
            os.write(fd, b"clipspool check\n")
            os.fsync(fd)
        ignores_case = _exists(first.upper(), folder)
        code = _libc.renameat2(folder, os.fsencode(first), folder, os.fsencode(second), _RENAME_NOREPLACE)
        if code != 0:
            os.rename(first, second, src_dir_fd=folder, dst_dir_fd=folder)
        with suppress(OSError):
            os.link(second, third, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        return Abilities(
            renames_without_replacing=code == 0, links=_exists(third, folder), ignores_case=ignores_case
        )
    finally:
        for name in (first, second, third):
            with suppress(OSError):
                unlink(name, folder)


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True
