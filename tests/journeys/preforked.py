"""Starts the command and its decoder as processes that are forked from ones where their modules are loaded.

Each is a process of its own, with its own files, signals and end, for a tenth of the processor time: most of
a start is the loading of modules.
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
import select
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
import types
from pathlib import Path

import clipspool

REQUEST_BYTES_MAX = 1 << 20
NOT_LOADED = ("clipspool.media.", "clipspool.__main__", "clipspool.cli.demo", "clipspool.cli.check.trials")
LATE = (
    *(
        "clipspool.media.process",
        "pydantic_settings",
        "pydantic_settings.exceptions",
        "difflib",
        "rich.table",
        "rich.live",
        "zoneinfo",
    ),
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
        about["decoders"] = _decoder_server() if user is None else None
        request = json.dumps(about).encode()
        self._answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, Path(os.devnull).open() as nothing:
            files = [theirs.fileno(), nothing.fileno(), stdout.fileno(), stderr.fileno()]
            socket.send_fds(_server(), [request], files)
        self._lock = threading.Lock()
        self.pid = int(self._answers.recv(64))

    def poll(self):
        with self._lock:
            if self.returncode is None:
                with contextlib.suppress(BlockingIOError):
                    self.returncode = int(self._answers.recv(64, socket.MSG_DONTWAIT))
                    self._answers.close()
        return self.returncode

    def wait(self, timeout=None):
        with contextlib.suppress(ValueError, OSError):  # it is closed: another thread has read the end
            if not select.select([self._answers], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout)
        return self.poll()

    def send_signal(self, number):
        # Its parent keeps the number from being used again until the end is read here.
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(15)

    def kill(self):
        self.send_signal(9)


class PreforkedDecoder(Preforked):
    """The decoding process of a command, begun with what its `subprocess.Popen` was given."""

    def __init__(self, words, *, pass_fds, decoders, **_):
        self.args, self.returncode = words, None
        self._lock = threading.Lock()
        self._answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
            server.connect(decoders)
            request = {"decoder": words[5:], "umask": umask()}
            socket.send_fds(server, [json.dumps(request).encode()], [theirs.fileno(), *pass_fds])
        self.pid = int(self._answers.recv(64))


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
    """Start the process that commands are forked from; return the socket that takes requests."""
    return _start()


@functools.cache
def _decoder_server():
    """Start the process that decoders are forked from; return the address that commands connect to."""
    address = f"\0clipspool-decoders-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(address)
        listening.listen(100)
        _start(listening)
    return address


def _start(*listening):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, REQUEST_BYTES_MAX)
    with theirs:
        files = [theirs.fileno(), *(one.fileno() for one in listening)]
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, *map(str, files)],
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYDANTIC_DISABLE_PLUGINS": "__all__"},
            pass_fds=files,
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
    keep()


def load_decoder():
    """Load what the decoder's process loads before it takes a call."""
    importlib.import_module("clipspool.media.child")._import_all_of_av()
    keep()


def keep():
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a fork would lose the other threads"
    gc.collect()
    gc.freeze()


def serve(control, listening=None):
    """Fork for each request, until the tests have ended; returns the request in the new process."""
    watched = selectors.DefaultSelector()
    for one in (control, listening):
        if one is not None:
            watched.register(one, selectors.EVENT_READ)
    while True:
        for key, _ in watched.select():
            if key.data is None:
                if (forked := fork(key.fileobj, is_control=key.fileobj is control)) is None:
                    continue
                pid, request, files = forked
                if pid == 0:
                    leave(watched)
                    return request, files
                answers = socket.socket(fileno=files[0])
                with contextlib.suppress(OSError):  # a command that asked for a decoder was killed meanwhile
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


def fork(asked, *, is_control):
    """Take one request from the tests, or from a command that connects; return it with the new process."""
    with contextlib.nullcontext(asked) if is_control else asked.accept()[0] as one:
        request, files, _, _ = socket.recv_fds(one, REQUEST_BYTES_MAX, 4)
    if not request and is_control:
        os._exit(0)
    return (os.fork(), json.loads(request), files) if request else None


def leave(watched):
    """Let go of the server's own files: an object that goes later would close another file of its number."""
    for key in watched.get_map().values():
        if key.data is None:
            key.fileobj.detach()
        else:
            key.data[1].detach()
    watched.close()


def become_command(request, files):
    for place, file in enumerate(files[1:]):
        os.dup2(file, place)
    os.closerange(3, 1024)
    os.environ.clear()
    os.environ.update(request["env"])
    if (at_start := Path(request["env"].get("PYTHONPATH", ""), "sitecustomize.py")).exists():
        runpy.run_path(str(at_start))
    elif request["decoders"]:
        begin = functools.partial(PreforkedDecoder, decoders=request["decoders"])
        how = {"DEVNULL": subprocess.DEVNULL, "TimeoutExpired": subprocess.TimeoutExpired, "Popen": begin}
        sys.modules["clipspool.media.process"].subprocess = types.SimpleNamespace(**how)
    os.umask(request["umask"])
    os.chdir(request["cwd"])
    if request["user"] is not None:
        os.setgroups([])
        os.setgid(request["user"])
        os.setuid(request["user"])
    sys.argv[:] = ["clipspool", *request["arguments"]]
    sys.orig_argv[:] = [sys.executable, "-m", *sys.argv]  # a daemon that lost its database begins again by it


def become_decoder(request, files):
    os.dup2(files[1], 3)
    nothing = os.open(os.devnull, os.O_RDWR)
    for place in range(3):
        os.dup2(nothing, place)
    os.closerange(4, 1024)
    os.umask(request["umask"])
    sys.argv[:] = ["clipspool.media.child", "3", *request["decoder"]]


if __name__ == "__main__":
    sockets = [socket.socket(fileno=int(number)) for number in sys.argv[1:]]
    if len(sockets) == 1:
        load()
        become_command(*serve(*sockets))
        importlib.import_module("clipspool.cli").main()
    else:
        load_decoder()
        become_decoder(*serve(*sockets))
        sys.modules["clipspool.media.child"].main()
