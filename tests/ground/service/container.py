"""Boots a Debian with systemd as PID 1 in a container of systemd-nspawn, and runs commands in it."""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from ground.debian import REPOSITORY, alone, cache, need, root_folder

PACKAGES = ["systemd", "systemd-sysv", "dbus", "python3-venv", "procps", "util-linux"]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BOOT_SECONDS = 120


class Done:
    """What a command in the container came to."""

    def __init__(self, process):
        self.code, self.out, self.err = process.returncode, process.stdout, process.stderr

    def __repr__(self):
        return f"exit code {self.code}\n{self.out}\n{self.err}"


class Container:
    """A running container; `root` is its file system as this machine sees it."""

    def __init__(self, root, init):
        self.root, self.init = root, init

    def run(self, command, *, user=None, seconds=180, **env):
        """Run a line of shell as root, or as another user, with that user's usual environment alone."""
        words = ["sh", "-c", command]
        if user is not None:
            words = ["runuser", "-u", user, "--", *words]
        home = "/root" if user is None else f"/home/{user}"
        told = {"PATH": PATH, "HOME": home, "LANG": "C.UTF-8"} | env
        inside = ["nsenter", "-a", "-t", str(self.init), "env", "-i", *(f"{k}={v}" for k, v in told.items())]
        return Done(
            subprocess.run(
                [*inside, *words], capture_output=True, text=True, timeout=seconds, check=False, cwd="/"
            )
        )

    def ok(self, command, **options):
        done = self.run(command, **options)
        assert done.code == 0, f"{command}\n{done}"
        return done.out

    def until(self, is_so, seconds=60, what="it happens"):
        end = time.monotonic() + seconds
        while not (found := is_so()):
            if time.monotonic() > end:
                log = self.run("journalctl -n 40 --no-pager; systemctl --no-pager status clipspool").out
                raise AssertionError(f"not within {seconds} s: {what}\n{log}")
            time.sleep(0.2)
        return found


@contextlib.contextmanager
def booted(folder):
    """Boot a container whose changes go into a folder of the test's."""
    need(systemd_nspawn="systemd-container", debootstrap="debootstrap", nsenter="util-linux")
    lower = root_folder("service-root", PACKAGES)
    root, upper, work = (folder / name for name in ("root", "upper", "work"))
    for one in (root, upper, work):
        one.mkdir(parents=True)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, root], check=True)
    try:
        _put_sources(root)
        shutil.copytree(wheels(), root / "wheels")
        with _nspawn(root, folder / "console.log") as init:
            yield Container(root, init)
    finally:
        subprocess.run(["umount", "-l", root], check=False)


@contextlib.contextmanager
def _nspawn(root, console):
    # A network of its own: only a loopback, so nothing that runs here can disturb it.
    command = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network"]
    # nspawn's own filter lacks the calls by which the decoder confines itself.
    command += ["--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self"]
    # These two would share a machine id and host name with every other container.
    command += ["--machine=clipspool-ground", "--link-journal=no", "-D", root, "-b"]
    with console.open("wb") as log:
        outside = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        init = _init_of(outside, console)
        container = Container(root, init)
        container.until(
            lambda: container.run("systemctl is-system-running").out.strip() in {"running", "degraded"},
            BOOT_SECONDS,
            "it boots",
        )
        yield init
    finally:
        outside.send_signal(signal.SIGTERM)
        try:
            outside.wait(30)
        except subprocess.TimeoutExpired:
            outside.kill()
            outside.wait()


def _init_of(outside, console):
    end = time.monotonic() + BOOT_SECONDS
    children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children")
    while time.monotonic() < end:
        assert outside.poll() is None, console.read_text(errors="replace")
        for child in children.read_text().split():
            # nspawn's child begins another process before it is the container's first.
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return int(child)
        time.sleep(0.1)
    raise AssertionError(console.read_text(errors="replace"))


def _put_sources(root):
    """Put the working tree, changes included, where a clone would lie."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    ).stdout
    source = root / "root/clipspool"
    for name in filter(None, names.decode().split("\0")):
        path = REPOSITORY / name
        if path.exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, source / name, follow_symlinks=False)


def wheels():
    """Return a folder with all that `pip install .[farm]` needs; made once for each set of requirements."""
    assert sys.version_info[:2] == (3, 11), "Debian bookworm has Python 3.11, and wheels are made for it"
    files = [REPOSITORY / "pyproject.toml", REPOSITORY / "constraints.txt"]
    key = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    folder = cache() / f"wheels-farm-{key}"
    with alone("wheels"):
        if not folder.exists():
            part = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            maker = cache() / "wheel-maker"
            if not maker.exists():
                subprocess.run([sys.executable, "-m", "venv", maker], check=True)
            pip = [maker / "bin/python", "-m", "pip", "wheel", "--quiet", "--wheel-dir", part]
            subprocess.run(
                [*pip, "-c", "constraints.txt", "hatchling", ".[farm]"], cwd=REPOSITORY, check=True
            )
            for ours in part.glob("clipspool-*.whl"):
                ours.unlink()
            part.rename(folder)
    return folder


def environment():
    """Return what stands in for the network: pip takes what it needs from a folder."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def is_possible():
    return os.geteuid() == 0 and sys.platform == "linux"
