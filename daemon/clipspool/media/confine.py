"""Confines the decoding process: no files, network, programs or other processes, and bounded memory."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
from typing import Final, TypeAlias

from clipspool.media.facts import FILES_MAX

CPU_SECONDS_OVER = 5
_CORES: Final = os.cpu_count() or 1  # asked once: the C library reads two files of the system each time
DESCRIPTORS_MAX: Final = FILES_MAX + 64
STACK_BYTES: Final = 2 << 20
PTHREAD_ATTRIBUTES_BYTES: Final = 128  # more than any machine's pthread_attr_t

LANDLOCK_CREATE_RULESET: Final = 444  # these numbers are the same on every architecture
LANDLOCK_ADD_RULE: Final = 445
LANDLOCK_RESTRICT_SELF: Final = 446
LANDLOCK_RULE_PATH_BENEATH: Final = 1
LANDLOCK_SCRATCH_RIGHTS: Final = {1: 0x12E, 3: 0x412E}
"""To write, read, list, remove and make files, from version 3 on also to shorten them."""
LANDLOCK_VERSION: Final = 1
LANDLOCK_FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many bits each version knows
LANDLOCK_TCP_SINCE: Final = 4
LANDLOCK_SCOPE_SINCE: Final = 6
LANDLOCK_BOTH: Final = 0b11  # bind and connect; abstract sockets and signals

PR_SET_NAME: Final = 15
PR_SET_NO_NEW_PRIVS: Final = 38
PR_SET_SECCOMP: Final = 22
SECCOMP_MODE_FILTER: Final = 2
SECCOMP_ALLOW: Final = 0x7FFF0000
SECCOMP_KILL: Final = 0x80000000
SECCOMP_EPERM: Final = 0x00050001
SECCOMP_ENOSYS: Final = 0x00050026
BPF_LOAD_WORD: Final = 0x20
BPF_JUMP_IF_EQUAL: Final = 0x15
BPF_JUMP_IF_GREATER: Final = 0x25
BPF_JUMP_IF_SET: Final = 0x45
BPF_RETURN: Final = 0x06
SECCOMP_DATA_NUMBER: Final = 0
SECCOMP_DATA_ARCH: Final = 4
SECCOMP_DATA_FIRST_ARGUMENT: Final = 16
CLONE_THREAD: Final = 0x10000

ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# fmt: off
NUMBERS: Final = {
    # system call: its number on x86_64, on aarch64 (None where it has none); the frequent ones first
    "futex": (202, 98), "read": (0, 63), "pread64": (17, 67), "lseek": (8, 62), "write": (1, 64),
    "mmap": (9, 222), "munmap": (11, 215), "madvise": (28, 233), "mprotect": (10, 226),
    "mremap": (25, 216), "brk": (12, 214),
    # descriptors that are open
    "readv": (19, 65), "preadv": (295, 69), "writev": (20, 66), "pwrite64": (18, 68),
    "pwritev": (296, 70), "fstat": (5, 80), "newfstatat": (262, 79), "statx": (332, 291),
    "ftruncate": (77, 46), "fsync": (74, 82), "fdatasync": (75, 83), "close": (3, 57),
    "dup": (32, 23), "dup3": (292, 24), "fcntl": (72, 25), "ioctl": (16, 29),
    # the daemon's socket
    "recvmsg": (47, 212), "recvfrom": (45, 207), "sendmsg": (46, 211), "sendto": (44, 206),
    "poll": (7, None), "ppoll": (271, 73), "select": (23, None), "pselect6": (270, 72),
    # threads and signals of its own
    "clone": (56, 220), "clone3": (435, 435), "tgkill": (234, 131), "prctl": (157, 167),
    "set_robust_list": (273, 99), "rseq": (334, 293), "membarrier": (324, 283), "exit": (60, 93),
    "exit_group": (231, 94), "sched_yield": (24, 124), "sched_getaffinity": (204, 123),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132), "restart_syscall": (219, 128),
    # facts about itself and the clock
    "getpid": (39, 172), "gettid": (186, 178), "getppid": (110, 173), "getuid": (102, 174),
    "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177), "getcpu": (309, 168),
    "getrusage": (98, 165), "prlimit64": (302, 261), "sysinfo": (99, 179), "uname": (63, 160),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101), "gettimeofday": (96, 169), "times": (100, 153), "getrandom": (318, 278),
}
# fmt: on
"""All calls that the decoder may make, some of them under a condition: see `_filter`."""
SCRATCH_NUMBERS: Final = {"openat": (257, 56), "rename": (82, None), "renameat": (264, 38)}
"""Calls by which x264 keeps what its first pass found out."""
LAST_KNOWN: Final = 451
"""Later calls, whatever they are, are answered as by a kernel that does not have them."""


def limit_resources(memory_bytes_max: int) -> None:
    """Bound this process: address space in bytes, no core dump, few descriptors."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes_max, memory_bytes_max))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS_MAX, DESCRIPTORS_MAX))


def bound_stacks() -> None:
    """Set a small stack for each thread of FFmpeg: the default is as much as the main thread may have.

    Stacks count as address space, used or not. A C library without that call has small ones anyway.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "pthread_setattr_default_np"):
        return
    attributes = ctypes.create_string_buffer(PTHREAD_ATTRIBUTES_BYTES)
    libc.pthread_attr_init(attributes)
    libc.pthread_attr_setstacksize(attributes, ctypes.c_size_t(STACK_BYTES))
    libc.pthread_setattr_default_np(attributes)
    libc.pthread_attr_destroy(attributes)


def allow_cpu_seconds(seconds: float) -> None:
    """Let this process use `seconds` more of every core before the kernel ends it."""
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    allowance = int(used + seconds * _CORES) + CPU_SECONDS_OVER
    resource.setrlimit(resource.RLIMIT_CPU, (allowance, resource.RLIM_INFINITY))


def ignore_stop_signals() -> None:
    """Leave Ctrl-C and SIGTERM to the daemon: it drains, and this process ends with its socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def forbid_files_and_network(scratch: str = "") -> bool:
    """Forbid paths, sockets, programs and other processes from here on, as far as this kernel can.

    Files may be made in the folder `scratch` if Landlock can confine them to it; return whether it can.

    Call it when all imports are done. A kernel without Landlock or seccomp leaves the process as it is: the
    demuxer is pinned and knows no protocol but a descriptor, so this is the second wall and not the first.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    is_scratch_confined = _landlock(libc, scratch) and bool(scratch)
    _seccomp(libc, may_open=is_scratch_confined)
    return is_scratch_confined


def _landlock(libc: ctypes.CDLL, scratch: str) -> bool:
    """Forbid all paths but those beneath `scratch`, if it names a folder; return whether that is in force."""
    version = libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_VERSION)
    if version < 1:
        return False
    rights = LANDLOCK_FILE_RIGHTS[min(version, max(LANDLOCK_FILE_RIGHTS))]
    attributes = struct.pack("=Q", (1 << rights) - 1)
    if version >= LANDLOCK_TCP_SINCE:
        attributes += struct.pack("=Q", LANDLOCK_BOTH)
    if version >= LANDLOCK_SCOPE_SINCE:
        attributes += struct.pack("=Q", LANDLOCK_BOTH)
    ruleset = libc.syscall(LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return False
    is_allowed = True
    if scratch and not os.path.isdir(scratch):  # noqa: PTH112
        is_allowed = False
    elif scratch:
        folder = os.open(scratch, os.O_PATH | os.O_DIRECTORY)
        allowed = LANDLOCK_SCRATCH_RIGHTS[max(v for v in LANDLOCK_SCRATCH_RIGHTS if v <= version)]
        rule = struct.pack("=Qi", allowed, folder)
        is_allowed = libc.syscall(LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_PATH_BENEATH, rule, 0) == 0
        os.close(folder)
    is_confined = libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
    return is_confined and is_allowed


_Step: TypeAlias = tuple[int, int, int, int]
"""An instruction, how many it skips if its test is true and if not, and its operand."""


def _seccomp(libc: ctypes.CDLL, *, may_open: bool) -> None:
    if platform.machine() not in ARCHITECTURES:
        return
    program = _filter(platform.machine(), os.getpid(), may_open=may_open)
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    header = struct.pack("@HP", len(program), ctypes.addressof(code))
    libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0)


def _filter(machine: str, pid: int, *, may_open: bool = False) -> list[_Step]:
    """Compose the filter: the calls of `NUMBERS` are allowed, all others answered with an error.

    Those of `SCRATCH_NUMBERS` are allowed as well if `may_open`, which is for Landlock to confine.
    """
    conditions = {
        "clone": (BPF_JUMP_IF_SET, CLONE_THREAD),  # threads, but no processes
        "prlimit64": (BPF_JUMP_IF_EQUAL, 0),  # its own limits, but not the daemon's
        "tgkill": (BPF_JUMP_IF_EQUAL, pid),  # abort needs it
        "prctl": (BPF_JUMP_IF_EQUAL, PR_SET_NAME),  # names of threads
    }
    program = [
        (BPF_LOAD_WORD, 0, 0, SECCOMP_DATA_ARCH),
        (BPF_JUMP_IF_EQUAL, 1, 0, ARCHITECTURES[machine]),
        (BPF_RETURN, 0, 0, SECCOMP_KILL),
        (BPF_LOAD_WORD, 0, 0, SECCOMP_DATA_NUMBER),
    ]
    for name, numbers in (NUMBERS | (SCRATCH_NUMBERS if may_open else {})).items():
        number = numbers[list(ARCHITECTURES).index(machine)]
        if number is None:
            continue
        if name in conditions:
            test, value = conditions[name]
            program += [
                (BPF_JUMP_IF_EQUAL, 0, 4, number),
                (BPF_LOAD_WORD, 0, 0, SECCOMP_DATA_FIRST_ARGUMENT),
                (test, 0, 1, value),
                (BPF_RETURN, 0, 0, SECCOMP_ALLOW),
                (BPF_RETURN, 0, 0, SECCOMP_EPERM),
            ]
            continue
        # No filter can read the flags of clone3; without it the C library takes clone.
        answer = SECCOMP_ENOSYS if name == "clone3" else SECCOMP_ALLOW
        program += [(BPF_JUMP_IF_EQUAL, 0, 1, number), (BPF_RETURN, 0, 0, answer)]
    return [
        *program,
        (BPF_JUMP_IF_GREATER, 0, 1, LAST_KNOWN),
        (BPF_RETURN, 0, 0, SECCOMP_ENOSYS),
        (BPF_RETURN, 0, 0, SECCOMP_EPERM),
    ]
