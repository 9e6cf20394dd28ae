"""Starts the command as a process that is forked from one where its modules are loaded already.

A process of its own, with its own files, signals and end, for a tenth of the processor time: most of a start
is the loading of modules.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import clipspool

REQUEST_BYTES_MAX = 1 << 20
NOT_LOADED = ("clipspool.media.", "clipspool.__main__", "clipspool.cli.demo", "clipspool.cli.check.trials")
LATE = (
    *("pydantic_settings", "pydantic_settings.exceptions", "difflib", "rich.table", "rich.live", "zoneinfo"),
    *(
        "rich.progress",
        "encodings.utf_8_sig",
        "encodings.utf_16",
        "encodings.utf_16_be",
        "encodings.utf_16_le",
    ),
)
"""What functions import, besides our own modules; this Python may lie where another user cannot go."""


class Preforked:
    """A running command, with what journeys use of `subprocess.Popen`."""

    def __init__(self, arguments, *, env, cwd, stdout, stderr, user=None):
        """Begin; only root can begin as another user."""
        self.args, self.returncode = ["clipspool", *arguments], None
        about = {"arguments": arguments, "env": env, "cwd": str(cwd), "umask": umask(), "user": user}
        request = json.dumps(about).encode()
        self._answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, Path(os.devnull).open() as nothing:
            files = [theirs.fileno(), nothing.fileno(), stdout.fileno(), stderr.fileno()]
            socket.send_fds(_server(), [request], files)
        self.pid = int(self._answers.recv(64))

    def poll(self):
        return self._ended(socket.MSG_DONTWAIT)

    def wait(self, timeout=None):
        if self.returncode is None:
            self._answers.settimeout(timeout)
            if self._ended(0) is None:
                raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def send_signal(self, number):
        # Its parent keeps the number from being used again until the end is read here.
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(15)

    def kill(self):
        self.send_signal(9)

    def _ended(self, flags):
        if self.returncode is None:
            try:
                self.returncode = int(self._answers.recv(64, flags))
            except (BlockingIOError, TimeoutError):
                return None
            self._answers.close()
        return self.returncode


def run(arguments, seconds_max, *, begin=Preforked, **how):
    """Run a command to its end, as `subprocess.run` does."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = begin(arguments, stdout=out, stderr=err, **how)
        try:
            process.wait(seconds_max)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        told = [one.seek(0) or one.read().decode() for one in (out, err)]
    return subprocess.CompletedProcess(arguments, process.returncode, *told)


def umask():
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


@functools.cache
def _server():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, REQUEST_BYTES_MAX)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(theirs.fileno())],
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYDANTIC_DISABLE_PLUGINS": "__all__"},
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    atexit.register(_end, process, ours)
    return ours


def _end(process, control):
    control.close()
    process.wait()


# --- in the process that is forked --------------------------------------------------------------------------


def load():
    """Load what commands load when they need it; not PyAV, which only the decoder's process has."""
    for module in pkgutil.walk_packages(clipspool.__path__, "clipspool."):
        if not module.name.startswith(NOT_LOADED):
            importlib.import_module(module.name)
    for name in LATE:
        importlib.import_module(name)
    assert "av" not in sys.modules
    assert threading.active_count() == 1, "a fork would lose the other threads"
    gc.collect()
    gc.freeze()


def serve(control):
    """Fork for each request, until the tests have ended; returns in the new process, as the command."""
    watched = selectors.DefaultSelector()
    watched.register(control, selectors.EVENT_READ)
    while True:
        for key, _ in watched.select():
            if key.fileobj is control:
                request, files, _, _ = socket.recv_fds(control, REQUEST_BYTES_MAX, 4)
                if not request:
                    os._exit(0)
                pid = os.fork()
                if pid == 0:
                    leave(watched)
                    return become(json.loads(request), files)
                answers = socket.socket(fileno=files[0])
                answers.send(str(pid).encode())
                for file in files[1:]:
                    os.close(file)
                watched.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, answers))
            else:
                pid, answers = key.data
                watched.unregister(key.fileobj)
                os.close(key.fileobj)
                _, status = os.waitpid(pid, 0)
                with answers, contextlib.suppress(OSError):  # nobody may wait for it any more
                    answers.send(str(os.waitstatus_to_exitcode(status)).encode())


def leave(watched):
    """Let go of the server's own files: an object that goes later would close another file of its number."""
    for key in watched.get_map().values():
        if key.data is None:
            key.fileobj.detach()
        else:
            key.data[1].detach()
    watched.close()


def become(request, files):
    for place, file in enumerate(files[1:]):
        os.dup2(file, place)
    os.closerange(3, 1024)
    os.environ.clear()
    os.environ.update(request["env"])
    if (at_start := Path(request["env"].get("PYTHONPATH", ""), "sitecustomize.py")).exists():
        runpy.run_path(str(at_start))
    os.umask(request["umask"])
    os.chdir(request["cwd"])
    if request["user"] is not None:
        os.setgroups([])
        os.setgid(request["user"])
        os.setuid(request["user"])
    sys.argv[:] = ["clipspool", *request["arguments"]]
    sys.orig_argv[:] = [sys.executable, "-m", *sys.argv]  # a daemon that lost its database begins anew by it


if __name__ == "__main__":
    load()
    serve(socket.socket(fileno=int(sys.argv[1])))
    importlib.import_module("clipspool.cli").main()
