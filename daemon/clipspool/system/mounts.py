"""Finds the file system of a folder, and its place in it, from Linux's mountinfo."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

_LOCAL = frozenset(
    "bcachefs btrfs erofs exfat ext2 ext3 ext4 f2fs fuseblk hfsplus jfs msdos nilfs2 ntfs ntfs3 overlay "  # noqa: SIM905 - two lines read better than thirty
    "ramfs reiserfs squashfs tmpfs udf vfat xfs zfs".split()
)
_NETWORK = frozenset(
    "9p acfs afs afpfs beegfs ceph cifs coda davfs drvfs gfs gfs2 glusterfs gpfs lustre mvfs ncp ncpfs nfs "  # noqa: SIM905
    "nfs4 ocfs2 orangefs panfs prl_fs pvfs2 smb2 smb3 smbfs vboxsf virtiofs vmhgfs".split()
)
_NETWORK_FUSE = frozenset(
    "ceph cephfs curlftpfs davfs davfs2 gcsfuse glusterfs goofys juicefs moosefs mfs osxfs rclone s3fs "  # noqa: SIM905
    "seaweedfs smbnetfs sshfs vmhgfs-fuse".split()
)
_WITH_UUID = frozenset({"btrfs", "ext2", "ext3", "ext4", "zfs"})
"""Types whose number, by statvfs, comes from the disk's UUID: names of devices change at a start."""
_WITH_CHANGE_TIMES = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "tmpfs", "xfs", "zfs"})
"""Types whose kernel sets a folder's ctime whenever a name in it changes; no program can set that time."""
_CHANGE_SECONDS = 2.0
"""A younger ctime may stand for two changes: it is as coarse as the kernel's tick."""
_ESCAPE = re.compile(rb"\\([0-7]{3})")


class MountKind(StrEnum):
    """Who can change a file system, by its type."""

    LOCAL = "local"
    """Only this machine: events arrive, locks and fsync can be trusted."""
    NETWORK = "network"
    """Other machines too: inotify does not see their changes."""
    UNKNOWN = "unknown"
    """A type not in our lists, as most FUSE drivers: neither events nor locks can be trusted."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo."""

    id: int
    device: str
    """`major:minor`; the same for every mount of one file system."""
    root: str
    """Which folder of the file system is mounted: `/`, or another for a bind or a subvolume."""
    point: str
    type: str
    """The kernel's name: `ext4`, `nfs4`, `fuse.sshfs`."""
    source: str
    is_read_only: bool

    @property
    def kind(self) -> MountKind:
        """Whether its type is a local file system, a network's, or unknown."""
        driver, _, fuse = self.type.partition(".")
        if driver in _NETWORK or (driver == "fuse" and fuse in _NETWORK_FUSE):
            return MountKind.NETWORK
        return MountKind.LOCAL if self.type in _LOCAL else MountKind.UNKNOWN


_NOWHERE = Mount(0, "0:0", "/", "/", "unknown", "", is_read_only=False)


def parse(mountinfo: bytes) -> tuple[Mount, ...]:
    """Read mountinfo's text; lines that do not follow proc(5) are skipped."""
    mounts = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(b" - ")
        fields, kinds = before.split(b" "), after.split(b" ")
        if len(fields) < 6 or len(kinds) < 2 or not fields[0].isdigit():  # noqa: PLR2004 - proc(5) counts them
            continue
        mounts.append(
            Mount(
                id=int(fields[0]),
                device=fields[2].decode("ascii", "replace"),
                root=_unescape(fields[3]),
                point=_unescape(fields[4]),
                type=_unescape(kinds[0]),
                source=_unescape(kinds[1]),
                is_read_only=b"ro" in fields[5].split(b",") or b"ro" in kinds[-1].split(b","),
            )
        )
    return tuple(mounts)


def _unescape(field: bytes) -> str:
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes([int(match[1], 8) & 255]), field))


def mount_of(path: str, mounts: Sequence[Mount]) -> Mount | None:
    """Find the mount of an absolute path without links: the longest mount point, the latest of equals."""
    around = [mount for mount in reversed(mounts) if _is_within(path, mount.point)]
    return max(around, key=lambda mount: len(mount.point), default=None)


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def missing_proc() -> str:
    """Return a sentence where /proc is missing, as in a bare chroot; empty where it is there."""
    if Path("/proc/self/fd").is_dir():
        return ""
    return "/proc is not mounted, and clipspool needs it: mount -t proc proc /proc"


def read() -> tuple[Mount, ...]:
    """Read this process's mounts; empty without /proc."""
    try:
        return parse(Path("/proc/self/mountinfo").read_bytes())
    except OSError:
        return ()


def filesystem_of(path: Path) -> Mount:
    """Find the mount of a path, which need not exist yet; one of type `unknown` where none is found.

    Asks the kernel for the mount's id (which mounts an automount), since a mount point can be hidden beneath
    another mount; else compares names.
    """
    mounts, real = read(), os.path.realpath(path)
    number = _mount_id(real)
    by_id = next((mount for mount in mounts if mount.id == number), None)
    return by_id or mount_of(real, mounts) or _NOWHERE


def identity_of(folder: int) -> str:
    """Return what tells an open folder from any other: type and source of its file system, its place there.

    Empty where that cannot be found out. It is the same after a restart of the machine, and for every mount.
    """
    number = _mount_of_descriptor(folder)
    mount = next((one for one in read() if one.id == number), None)
    if mount is None:
        return ""
    try:
        path = os.readlink(f"/proc/self/fd/{folder}")  # noqa: PTH115 - no path, but a descriptor's name
    except OSError:
        return ""
    below = os.path.relpath(path, mount.point) if _is_within(path, mount.point) else path.lstrip("/")
    number = os.fstatvfs(folder).f_fsid if mount.type in _WITH_UUID else 0
    source = f"{number:016x}" if number else mount.source
    return f"{mount.type} {source} {PurePosixPath(mount.root) / below}"


def _mount_of_descriptor(fd: int) -> int | None:
    try:
        lines = Path(f"/proc/self/fdinfo/{fd}").read_text("ascii", "replace")
    except OSError:
        return None
    found = re.search(r"^mnt_id:\s*(\d+)", lines, re.MULTILINE)
    return int(found[1]) if found else None


def _mount_id(path: str) -> int | None:
    """Return the mount id of a path or of its nearest ancestor that exists."""
    for folder in (Path(path), *Path(path).parents):
        try:
            fd = os.open(folder, os.O_PATH | os.O_CLOEXEC | (os.O_DIRECTORY if folder.is_dir() else 0))
        except (OSError, ValueError):
            continue
        try:
            return _mount_of_descriptor(fd)
        finally:
            os.close(fd)
    return None


FolderMark = tuple[int, int, int]
"""Device, inode and ctime in nanoseconds of a folder."""


class FolderMarks:
    """Marks what names a folder holds: while its mark is the same, none came, went or got another file.

    Only on local disks: on NFS and SMB the times of a folder come from a cache.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` is Unix time in seconds."""
        self._now = now
        self._has_change_times: dict[int, bool] = {}

    def forget_mounts(self) -> None:
        """Find out again of which type the file systems are: a device's number may be another's by now."""
        self._has_change_times.clear()

    def of(self, folder: int) -> FolderMark | None:
        """Return an open folder's mark, to be taken before its names are read; None where it has none."""
        there = os.fstat(folder)
        if self._now() - there.st_ctime < _CHANGE_SECONDS:
            return None
        if there.st_dev not in self._has_change_times:
            number = _mount_of_descriptor(folder)
            types = {mount.type for mount in read() if mount.id == number}
            self._has_change_times[there.st_dev] = bool(types & _WITH_CHANGE_TIMES)
        return (
            (there.st_dev, there.st_ino, there.st_ctime_ns) if self._has_change_times[there.st_dev] else None
        )


def place_of(path: Path) -> tuple[str, PurePosixPath]:
    """Return a path's device and its path in that file system: the same for every link and bind to it."""
    real = os.path.realpath(path)
    mount = filesystem_of(Path(real))
    below = os.path.relpath(real, mount.point) if _is_within(real, mount.point) else real.lstrip("/")
    return mount.device, PurePosixPath(mount.root) / PurePosixPath(below)
