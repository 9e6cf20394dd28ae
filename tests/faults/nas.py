"""A double of a file server: a folder seen through FUSE that hangs, fails, loses writes, or says so at close.

Run as `nas.py BACKING MOUNT ORDERS`; the file ORDERS holds JSON: `hang` (every call waits), `strict` (names
are as on SMB and FAT), `error` (a name: every call fails), `errors` ({call: [name, how often]}), `lose` (how
many larger files lose what is written to them, while write and fsync say that all is well). As on NFS there
is no rename without replacing.
"""

import contextlib
import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

try:
    import mfusepy
except (ImportError, OSError):  # no libfuse on this machine
    mfusepy = None

STATS = ("st_atime", "st_ctime", "st_gid", "st_ino", "st_mode", "st_mtime", "st_nlink", "st_size", "st_uid")
SMALL = 2000  # below one page, the least that the kernel hands over at once
SPACE = (
    "f_bavail",
    "f_bfree",
    "f_blocks",
    "f_bsize",
    "f_favail",
    "f_ffree",
    "f_files",
    "f_frsize",
    "f_namemax",
)


class Nas:
    """The mount, from a test's side."""

    def __init__(self, home):
        self.backing, self.at, self.orders = home / "backing", home / "nas", home / "orders.json"
        self.backing.mkdir()
        self.at.mkdir()
        self.order()
        self._process = None

    def order(self, **orders):
        """Behave like this from now on; nothing given: well."""
        fresh = self.orders.with_suffix(".new")
        fresh.write_text(json.dumps(orders))
        fresh.rename(self.orders)

    def left(self):
        """Return the orders that are still to be carried out."""
        return json.loads(self.orders.read_text())

    def mount(self):
        """Mount it; False where this machine allows no such thing."""
        if mfusepy is None or not Path("/dev/fuse").exists():
            return False
        words = [sys.executable, __file__, str(self.backing), str(self.at), str(self.orders)]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            if os.path.ismount(self.at):
                return True
            if self._process.poll() is not None:
                return False
            time.sleep(0.05)
        return False

    def die(self):
        """End the server as a crash would: from then on every call fails with ENOTCONN."""
        self._process.kill()
        self._process.wait()

    def unmount(self):
        subprocess.run(["umount", "-l", str(self.at)], check=False, capture_output=True)
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def open_nas(home):
    """Yield a mounted double; None where this machine allows no such thing."""
    nas = Nas(home)
    try:
        yield nas if nas.mount() else None
    finally:
        nas.order()
        nas.unmount()


class Server:
    """What FUSE asks."""

    use_ns = True

    def __init__(self, backing, orders):
        self.backing, self.orders = backing, orders
        self._lock = threading.Lock()
        self._losing = set()

    def _read(self):
        with contextlib.suppress(OSError, ValueError):
            return json.loads(Path(self.orders).read_text())
        return {}

    def _count_down(self, orders):
        fresh = f"{self.orders}.{threading.get_ident()}"
        Path(fresh).write_text(json.dumps(orders))
        Path(fresh).rename(self.orders)

    def _obey(self, call):
        while (orders := self._read()).get("hang"):
            time.sleep(0.05)
        if "error" in orders:
            raise OSError(getattr(errno, orders["error"]), "as ordered")
        with self._lock:
            orders = self._read()
            name, times = orders.get("errors", {}).get(call, ("", 0))
            if times:
                orders["errors"][call] = [name, times - 1]
                self._count_down(orders)
                raise OSError(getattr(errno, name), "as ordered")

    def _at(self, path, call):
        self._obey(call)
        name, orders = os.path.basename(path), self._read()
        if "strict" in orders and (set(name) & set('<>:"\\|?*\t') or name.endswith((".", " "))):
            raise OSError(getattr(errno, orders["strict"]), "no such names here")
        if len(os.fsencode(name)) > orders.get("name_max", 255):
            raise OSError(errno.ENAMETOOLONG, "no such long names here")
        return self.backing + path

    def getattr(self, path, fh=None):
        there = os.fstat(fh) if fh is not None else os.lstat(self._at(path, "getattr"))
        told = {name: getattr(there, name) for name in STATS}
        return told | {name: getattr(there, name + "_ns") for name in ("st_atime", "st_mtime", "st_ctime")}

    def readdir(self, path, fh):
        with os.scandir(self._at(path, "readdir")) as entries:
            below = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
        return [(name, {"st_mode": there.st_mode, "st_ino": there.st_ino}, 0) for name, there in below]

    def statfs(self, path):
        there = os.statvfs(self._at(path, "statfs"))
        return {name: getattr(there, name) for name in SPACE}

    def mkdir(self, path, mode):
        os.mkdir(self._at(path, "mkdir"), mode)
        return 0

    def rmdir(self, path):
        os.rmdir(self._at(path, "rmdir"))
        return 0

    def unlink(self, path):
        os.unlink(self._at(path, "unlink"))
        return 0

    def rename(self, old, new):
        os.rename(self._at(old, "rename"), self._at(new, "rename to"))
        return 0

    def link(self, target, source):
        os.link(self.backing + source, self._at(target, "link"))
        return 0

    def symlink(self, target, source):
        os.symlink(source, self._at(target, "symlink"))
        return 0

    def readlink(self, path):
        return os.readlink(self._at(path, "readlink"))

    def chmod(self, path, mode):
        os.chmod(self._at(path, "chmod"), mode)
        return 0

    def chown(self, path, uid, gid):
        os.chown(self._at(path, "chown"), uid, gid)
        return 0

    def utimens(self, path, times=None):
        os.utime(self._at(path, "utimens"), ns=times)
        return 0

    def truncate(self, path, length, fh=None):
        os.truncate(self._at(path, "truncate"), length)
        return 0

    def open(self, path, flags):
        return os.open(self._at(path, "open"), flags)

    def create(self, path, mode, fi=None):
        return os.open(self._at(path, "create"), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def read(self, path, size, offset, fh):
        self._obey("read")
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):
        self._obey("write")
        with self._lock:
            orders = self._read()
            if orders.get("lose") and offset == 0 and len(data) > SMALL:
                orders["lose"] -= 1
                self._count_down(orders)
                self._losing.add(fh)
        return len(data) if fh in self._losing else os.pwrite(fh, data, offset)

    def flush(self, path, fh):
        """Answer a close; a file server that was out of room says so only here, and the bytes are gone."""
        try:
            self._obey("flush")
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(fh, 0)
            raise
        return 0

    def fsync(self, path, datasync, fh):
        self._obey("fsync")
        os.fsync(fh)
        return 0

    def fsyncdir(self, path, datasync, fh):
        self._obey("fsyncdir")
        return 0

    def release(self, path, fh):
        self._losing.discard(fh)
        os.close(fh)
        return 0


def main():
    class Mount(mfusepy.FUSE):
        def rename_fuse_3(self, old, new, flags):
            if flags:
                raise mfusepy.FuseOSError(errno.EINVAL)
            return super().rename_fuse_3(old, new, flags)

    backing, at, orders = sys.argv[1:]
    how = {"attr_timeout": 0, "entry_timeout": 0, "negative_timeout": 0, "use_ino": True}
    Mount(Server(backing, orders), at, foreground=True, fsname="nas", **how)


if __name__ == "__main__":
    main()
