"""A virtual machine with a file server and three clients of it: Debian's kernel in qemu, with no need of KVM.

Its disk is made once and kept; what is tried comes in through a shared folder, and so do results go out.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

from ground.debian import REPOSITORY, alone, cache, need, root_folder

GUEST = Path(__file__).parent / "guest"
PACKAGES = (
    *("linux-image-amd64", "nfs-kernel-server", "nfs-common", "rpcbind", "cifs-utils", "samba"),
    *("kmod", "iproute2", "procps", "python3", "python3-venv", "postgresql"),
)
MEMORY_MB = 1536
CLOCK = "shift=1,align=off,sleep=off"
"""Its clock counts its own instructions, 2 ns each, and skips its sleep: no deadline in there passes because
this machine is busy, and a render that is waited for takes no time. All of it runs on one of our cores."""
DISK = "5G"
TRIED = "CLIPSPOOL_GROUND_SOURCE"
"""Names another folder of packages to try than this repository's `daemon`."""
INIT = """\
#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev 2> /dev/null
mkdir -p /dev/pts /dev/shm /host; mount -t devpts pts /dev/pts; mount -t tmpfs tmp /dev/shm
mount -t tmpfs -o mode=755 run /run; mount -t tmpfs tmp /tmp
modprobe -a 9p 9pnet_virtio
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 host /host
sh /host/guest/begin.sh > /host/console.txt 2>&1
sync; umount /host; echo o > /proc/sysrq-trigger; sleep 60
"""


def disk():
    """Return the folder of the machine's disk, kernel and initrd; made once for these dependencies."""
    assert sys.version_info[:2] == (3, 11), "Debian bookworm has Python 3.11, and wheels are made for it"
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *project["optional-dependencies"]["farm"],
        (REPOSITORY / "constraints.txt").read_text(),
    ]
    key = hashlib.sha256("\n".join([INIT, DISK, *PACKAGES, *wanted]).encode()).hexdigest()[:12]
    home = cache() / f"nas-disk-{key}"
    need(qemu_system_x86_64="qemu-system-x86", mke2fs="e2fsprogs")
    base = root_folder("nas", PACKAGES)
    with alone("nas-disk"):
        if not home.exists():
            for older in cache().glob("nas-disk-*"):
                shutil.rmtree(older)
            part = cache() / "nas-disk.part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            _make(base, part)
            part.rename(home)
    return home


def _make(base, home):
    root = home / "root"
    subprocess.run(["cp", "-a", str(base), str(root)], check=True)
    wheels = root / "wheels"
    # Wheels are fetched out here, where pip knows its index; in there they are only unpacked.
    fetch = ["pip", "wheel", "-q", "-w", str(wheels), "-c", str(REPOSITORY / "constraints.txt")]
    subprocess.run([sys.executable, "-m", *fetch, f"{REPOSITORY}[farm]"], check=True)
    enter = ["chroot", str(root), "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
    subprocess.run([*enter, "python3", "-m", "venv", "/opt/clipspool"], check=True)
    install = ["/opt/clipspool/bin/pip", "install", "-q", "--no-index", "--find-links", "/wheels"]
    subprocess.run([*enter, *install, "clipspool[farm]"], check=True)
    shutil.rmtree(wheels)
    init = root / "my-init"
    init.write_text(INIT)
    init.chmod(0o755)
    for kind in ("vmlinuz", "initrd.img"):
        (file,) = (root / "boot").glob(f"{kind}-*")
        shutil.copy(file, home / kind)
    disk = home / "root.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(disk), DISK], check=True)
    shutil.rmtree(root)


def run(asked, seconds):
    """Boot, do in there what is asked, and give what came out; within so many seconds."""
    home = disk()
    with tempfile.TemporaryDirectory(prefix="clipspool-nas-") as place:
        host = Path(place)
        shutil.copytree(GUEST, host / "guest")
        shutil.copy(REPOSITORY / "tests/postgres.py", host / "guest")
        tried = Path(os.environ.get(TRIED) or REPOSITORY / "daemon")
        for package in tried.iterdir():
            if (package / "__init__.py").exists():
                shutil.copytree(package, host / "tried" / package.name)
        # Of the same Python: an emulated processor is slow at it.
        compile_all = ["compileall", "-q", "--invalidation-mode", "unchecked-hash", str(host / "tried")]
        subprocess.run([sys.executable, "-m", *compile_all], check=True)
        (host / "asked.json").write_text(json.dumps(asked))
        with (host / "boot.txt").open("w") as boot:
            began = time.monotonic()
            try:
                subprocess.run(
                    _command(home, host), stdout=boot, stderr=boot, stdin=-3, timeout=seconds, check=True
                )
            except subprocess.TimeoutExpired:
                raise TimeoutError(_last_words(host)) from None
        told = host / "told.json"
        if not told.exists():
            raise RuntimeError(_last_words(host))
        found = json.loads(told.read_text())
        found["minutes"] = round((time.monotonic() - began) / 60, 1)
        sys.stdout.write(f"{json.dumps(found, indent=1)}\n")
        return found


def _command(home, host):
    return [
        *("qemu-system-x86_64", "-accel", "tcg", "-icount", CLOCK, "-m", str(MEMORY_MB)),
        *("-nographic", "-no-reboot", "-nic", "none"),
        *("-kernel", str(home / "vmlinuz"), "-initrd", str(home / "initrd.img")),
        *("-append", "console=ttyS0 root=/dev/vda rw init=/my-init panic=-1 quiet"),
        *("-drive", f"file={home / 'root.img'},if=virtio,format=raw,snapshot=on"),
        *("-virtfs", f"local,path={host},mount_tag=host,security_model=none"),
    ]


def _last_words(host):
    said = [
        file.read_text(errors="replace")[-3000:]
        for file in (host / "boot.txt", host / "console.txt")
        if file.exists()
    ]
    return "\n".join(said)
