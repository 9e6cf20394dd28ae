"""Runs a command, counts the calls that change or tell anything in all its threads, and spoils the n-th.

A tracer of our own, since strace counts `when=N` for each thread by itself. Usage: trace.py N REPORT
COMMAND...; N = 0 only counts. `12` kills the process at the entry of the 12th call, which is not carried out;
`12=EIO` lets that call fail instead; `12~EIO` carries it out and says that it failed, as NFS may. With an
error, calls that read and close count too, from the taking of the journal's lock on.
`renameat2,linkat=EPERM` lets every such call fail from then on, `renameat!EXDEV` those between two folders.
Linux on x86-64.
"""

import contextlib
import ctypes
import errno
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

CALLS = {
    1: "write",
    18: "pwrite64",
    20: "writev",
    42: "connect",
    44: "sendto",
    45: "recvfrom",
    46: "sendmsg",
    48: "shutdown",
    74: "fsync",
    75: "fdatasync",
    77: "ftruncate",
    82: "rename",
    83: "mkdir",
    84: "rmdir",
    86: "link",
    87: "unlink",
    90: "chmod",
    91: "fchmod",
    258: "mkdirat",
    263: "unlinkat",
    264: "renameat",
    265: "linkat",
    285: "fallocate",
    316: "renameat2",
}
READING_CALLS = {
    0: "read",
    3: "close",
    5: "fstat",
    17: "pread64",
    73: "flock",
    138: "fstatfs",
    217: "getdents64",
    257: "openat",
    262: "newfstatat",
    437: "openat2",
}
NAMING_CALLS = {257, 262, 437}
SOURCE = str(Path(__file__).resolve().parents[2] / "daemon")
OPENAT = 257
IS_WRITTEN = os.O_WRONLY | os.O_RDWR | os.O_CREAT
WALL = 0x40000000
CONT, SYSCALL, SEIZE, LISTEN, GET_SYSCALL_INFO = 7, 24, 0x4206, 0x4208, 0x420E
POKE_USER = 6
ORIG_RAX, RAX = 120, 80
# Mark system calls; follow fork, vfork, clone; begin with exec; die with us.
OPTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x100000
GROUP_STOP = 128
STOPPING = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
SECONDS_MAX = 60

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
SPOILT = re.compile(r"(\d+)(?:([=~])([A-Z0-9]+))?")
REFUSED = re.compile(r"([a-z0-9,]+)([=!])([A-Z]+)")


class Info(ctypes.Structure):
    _fields_ = (
        ("op", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("places", ctypes.c_uint64 * 2),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
        ("more", ctypes.c_uint64 * 4),
    )


class Tracer:
    def __init__(self, at):
        self.refused = frozenset()
        if found := REFUSED.fullmatch(at):
            names, how, error = found.groups()
            number, self.refused = "0", frozenset(names.split(","))
        else:
            number, how, error = SPOILT.fullmatch(at).groups()
        self.at, self.how = int(number), how
        self.error = getattr(errno, error) if error else 0
        self.calls = {**CALLS, **READING_CALLS} if error else CALLS
        self.is_counting = not error
        self.spoilt = {}
        self.count = 0
        self.labels = []
        self.written = set()
        self.main = 0
        self.killed_at = None

    def run(self, command):
        gate, opener = os.pipe()
        self.main = os.fork()
        if self.main == 0:
            os.read(gate, 1)
            os.close(opener)
            os.execvp(command[0], command)
        if libc.ptrace(SEIZE, self.main, None, OPTIONS) != 0:
            os.kill(self.main, signal.SIGKILL)
            raise OSError(ctypes.get_errno(), "ptrace")
        os.write(opener, b"x")
        end = time.monotonic() + SECONDS_MAX
        code = None
        alive = {self.main}
        libc.ptrace(SYSCALL, self.main, None, None)
        while alive and time.monotonic() < end:
            try:
                pid, status = os.waitpid(-1, WALL)
            except ChildProcessError:
                break
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                alive.discard(pid)
                if pid == self.main:
                    code = os.waitstatus_to_exitcode(status)
                    end = min(end, time.monotonic() + 5)
                continue
            alive.add(pid)
            self.stopped(pid, status)
        return code

    def stopped(self, pid, status):
        event, number = status >> 16, os.WSTOPSIG(status)
        request, deliver = SYSCALL, 0
        if number == signal.SIGTRAP | 0x80:
            self.called(pid)
        elif event == GROUP_STOP and number in STOPPING:
            request = LISTEN
        elif event == 0:
            deliver = number
        libc.ptrace(request, pid, None, deliver)

    def called(self, pid):
        info = Info()
        libc.ptrace(GET_SYSCALL_INFO, pid, ctypes.sizeof(info), ctypes.addressof(info))
        if info.op != 1:
            if error := self.spoilt.pop(pid, 0):
                libc.ptrace(POKE_USER, pid, RAX, -error)
            return
        label = self.calls.get(info.number)
        if info.number == OPENAT and info.arguments[2] & IS_WRITTEN:
            label = "openat"
            if self.error and not self.is_counting:
                self.is_counting = text_at(pid, *info.arguments[:2]).endswith(".lock")
                return
            if not self.at:
                self.written.add(text_at(pid, info.arguments[0], info.arguments[1]))
        if label is None or self.killed_at is not None or not self.is_counting:
            return
        if info.number in READING_CALLS and is_programs_own(pid, info):
            return
        self.count += 1
        self.labels.append(label)
        if label in self.refused and (self.how == "=" or is_between_folders(pid, info)):
            self.spoilt[pid] = self.error
            libc.ptrace(POKE_USER, pid, ORIG_RAX, -1)
        if self.count == self.at:
            self.killed_at = label
            if not self.error:
                os.kill(self.main, signal.SIGKILL)
                return
            self.spoilt[pid] = self.error
            if self.how == "=" and label != "close":  # a descriptor is given back whatever close says
                libc.ptrace(POKE_USER, pid, ORIG_RAX, -1)


def is_between_folders(pid, info):
    """Return whether a rename or a link by descriptors leads from one folder to another."""
    one, other = (Path(f"/proc/{pid}/fd/{info.arguments[at]}") for at in (0, 2))
    return one.stat().st_ino != other.stat().st_ino


def is_programs_own(pid, info):
    """Return whether a call reads the program itself or what the system tells, rather than data."""
    with contextlib.suppress(OSError):
        if info.number in NAMING_CALLS:
            path = text_at(pid, *info.arguments[:2])
        else:
            path = str(Path(f"/proc/{pid}/fd/{info.arguments[0]}").readlink())
        return path.startswith(
            ("/usr/", "/lib", "/etc/", "/proc/", "/dev/", sys.prefix, sys.base_prefix, SOURCE)
        )
    return True


def text_at(pid, folder, address):
    """Read the path a traced process names, made absolute."""
    folder = ctypes.c_int32(folder & 0xFFFFFFFF).value
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        name = os.fsdecode(memory.read(512).split(b"\0")[0])
    base = Path(f"/proc/{pid}/cwd" if folder < 0 else f"/proc/{pid}/fd/{folder}").readlink()
    return str(base / name)


if __name__ == "__main__":
    tracer = Tracer(sys.argv[1])
    ended = tracer.run(sys.argv[3:])
    report = {
        "code": ended,
        "count": tracer.count,
        "killed_at": tracer.killed_at,
        "labels": tracer.labels,
        "written": sorted(tracer.written),
    }
    Path(sys.argv[2]).write_text(json.dumps(report))
