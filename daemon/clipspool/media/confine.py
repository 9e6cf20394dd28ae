"""Takes from the decoding process what it does not need: files, network, programs, memory without end."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
from dataclasses import dataclass
from typing import Final, TypeAlias

CPU_SECONDS_OVER = 5
STACK_BYTES: Final = 2 << 20
PTHREAD_ATTRIBUTES_BYTES: Final = 128  # more than any machine's pthread_attr_t

LANDLOCK_CREATE_RULESET: Final = 444  # these two numbers are the same on every architecture
LANDLOCK_RESTRICT_SELF: Final = 446
LANDLOCK_VERSION: Final = 1
LANDLOCK_FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many bits each version knows
LANDLOCK_TCP_SINCE: Final = 4
LANDLOCK_SCOPE_SINCE: Final = 6
LANDLOCK_BOTH: Final = 0b11  # bind and connect; abstract sockets and signals

PR_SET_NO_NEW_PRIVS: Final = 38
PR_SET_SECCOMP: Final = 22
SECCOMP_MODE_FILTER: Final = 2
SECCOMP_ALLOW: Final = 0x7FFF0000
SECCOMP_KILL: Final = 0x80000000
SECCOMP_EPERM: Final = 0x00050001
SECCOMP_ENOSYS: Final = 0x00050026
BPF_LOAD_WORD: Final = 0x20
BPF_JUMP_IF_EQUAL: Final = 0x15
BPF_JUMP_IF_SET: Final = 0x45
BPF_RETURN: Final = 0x06
SECCOMP_DATA_NUMBER: Final = 0
SECCOMP_DATA_ARCH: Final = 4
SECCOMP_DATA_FIRST_ARGUMENT: Final = 16
CLONE3: Final = 435
CLONE_THREAD: Final = 0x10000


@dataclass(frozen=True, slots=True)
class Machine:
    """What seccomp needs to know of an architecture: its number, and those of calls."""

    architecture: int
    clone: int
    prlimit: int
    tgkill: int
    forbidden: tuple[int, ...]


# In this order: socket connect socketpair io_uring_setup; execve execveat (fork vfork); kill tkill
# rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal pidfd_getfd ptrace process_vm_readv process_vm_writev
# setpriority; (chmod) fchmod fchmodat fchmodat2 (chown lchown) fchown fchownat (utime utimes futimesat)
# utimensat and the six that change extended attributes, for Landlock knows none of these; unshare mount
# add_key request_key keyctl bpf perf_event_open userfaultfd.
MACHINES: Final = {
    "x86_64": Machine(
        0xC000003E,
        56,
        302,
        234,
        (
            *(41, 42, 53, 425, 59, 322, 57, 58, 62, 200, 129, 297, 424, 438, 101, 310, 311, 141),
            *(90, 91, 268, 452, 92, 94, 93, 260, 132, 235, 261, 280, 188, 189, 190, 197, 198, 199),
            *(272, 165, 248, 249, 250, 321, 298, 323),
        ),
    ),
    "aarch64": Machine(
        0xC00000B7,
        220,
        261,
        131,
        (
            *(198, 203, 199, 425, 221, 281, 129, 130, 138, 240, 424, 438, 117, 270, 271, 140),
            *(52, 53, 452, 55, 54, 88, 5, 6, 7, 14, 15, 16),
            *(97, 40, 217, 218, 219, 280, 241, 282),
        ),
    ),
}


def limit_resources(memory_bytes_max: int) -> None:
    """Bound this process: address space in bytes, no core dump, few descriptors."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes_max, memory_bytes_max))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def bound_stacks() -> None:
    """Let each thread of FFmpeg's have a small stack: by default all take as much as the main one may.

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
    allowance = int(used + seconds * (os.cpu_count() or 1)) + CPU_SECONDS_OVER
    resource.setrlimit(resource.RLIMIT_CPU, (allowance, resource.RLIM_INFINITY))


def ignore_stop_signals() -> None:
    """Leave Ctrl-C and SIGTERM to the daemon: it drains, and this process ends with its socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def forbid_files_and_network() -> None:
    """Forbid paths, sockets, programs and other processes from here on, as far as this kernel can.

    Call it when all imports are done. A kernel without Landlock or seccomp leaves the process as it is: the
    demuxer is pinned and knows no protocol but a descriptor, so this is the second wall and not the first.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return
    _landlock(libc)
    _seccomp(libc)


def _landlock(libc: ctypes.CDLL) -> None:
    version = libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_VERSION)
    if version < 1:
        return
    rights = LANDLOCK_FILE_RIGHTS[min(version, max(LANDLOCK_FILE_RIGHTS))]
    attributes = struct.pack("=Q", (1 << rights) - 1)
    if version >= LANDLOCK_TCP_SINCE:
        attributes += struct.pack("=Q", LANDLOCK_BOTH)
    if version >= LANDLOCK_SCOPE_SINCE:
        attributes += struct.pack("=Q", LANDLOCK_BOTH)
    ruleset = libc.syscall(LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return
    libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


_Step: TypeAlias = tuple[int, int, int, int]
"""An instruction, how many it skips if so and if not, and its operand."""


def _answered(number: int, answer: int) -> list[_Step]:
    """Give one answer to a call."""
    return [(BPF_JUMP_IF_EQUAL, 0, 1, number), (BPF_RETURN, 0, 0, answer)]


def _allowed_if(number: int, test: int, value: int) -> list[_Step]:
    """Allow a call where its first argument passes a test, and refuse it else."""
    return [
        (BPF_JUMP_IF_EQUAL, 0, 4, number),
        (BPF_LOAD_WORD, 0, 0, SECCOMP_DATA_FIRST_ARGUMENT),
        (test, 0, 1, value),
        (BPF_RETURN, 0, 0, SECCOMP_ALLOW),
        (BPF_RETURN, 0, 0, SECCOMP_EPERM),
    ]


def _seccomp(libc: ctypes.CDLL) -> None:
    machine = MACHINES.get(platform.machine())
    if machine is None:
        return
    program = [
        (BPF_LOAD_WORD, 0, 0, SECCOMP_DATA_ARCH),
        (BPF_JUMP_IF_EQUAL, 1, 0, machine.architecture),
        (BPF_RETURN, 0, 0, SECCOMP_KILL),
        (BPF_LOAD_WORD, 0, 0, SECCOMP_DATA_NUMBER),
        # Where its flags lie no filter can look; without it the C library takes clone.
        *_answered(CLONE3, SECCOMP_ENOSYS),
        *_allowed_if(machine.clone, BPF_JUMP_IF_SET, CLONE_THREAD),  # threads, but no processes
        *_allowed_if(machine.prlimit, BPF_JUMP_IF_EQUAL, 0),  # its own limits, but not the daemon's
        *_allowed_if(machine.tgkill, BPF_JUMP_IF_EQUAL, os.getpid()),  # abort needs it
    ]
    for number in machine.forbidden:
        program += _answered(number, SECCOMP_EPERM)
    program.append((BPF_RETURN, 0, 0, SECCOMP_ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    header = struct.pack("@HP", len(program), ctypes.addressof(code))
    libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0)
