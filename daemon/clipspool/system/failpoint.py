"""Ends or freezes the process at a named place: for tests only, and refused without their flag.

`CLIPSPOOL_FAILPOINT=NAME:exit` ends it when the place is reached, `NAME:exit:3` the third time. `NAME:stop`
freezes it, as SIGSTOP would.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping

NAMES = (
    *("accepting", "claimed", "copied", "accepted"),  # work folder made, hidden name, copy whole, moved in
    # Of an inbox that is only read: its copy begins, the file that decides is made, the copy has its name.
    *("copying", "remembered", "kept"),
    "committed",  # a turn is durable, and nothing was handed out yet
    *("begun", "taking-over", "adopted"),  # in recovery; `taking-over`: our name is in another's manifest
    *("intent", "noted", "leaving"),  # in the journal, in the work folder, and the first byte is sent next
    *("sent", "created", "task-noted"),  # all bytes left, the task id was received, and written down
    *("splitting", "split"),  # before and after the parts of a long clip are written down
    *("fetched", "reused"),  # the result is in the work folder
    *("unpacked", "joined"),  # in the work folder: an archive as pictures, the film of all parts
    *("paper", "placed", "retired"),  # provenance and then result in the outbox, source moved
    *("migrate-copied", "migrated"),
)
EXIT_CODE = 86
_PLACE, _FLAG = "CLIPSPOOL_FAILPOINT", "CLIPSPOOL_TESTING"

_name = ""
_left = 0
_is_end = True
_lock = threading.Lock()


class FailpointRefused(Exception):
    """The environment names a failpoint without the tests' flag, or one that does not exist."""


def arm(env: Mapping[str, str] = os.environ) -> None:
    """Arm the failpoint that the environment names; raises FailpointRefused with one sentence."""
    global _name, _left, _is_end
    asked = env.get(_PLACE, "")
    if not asked:
        return
    if env.get(_FLAG) != "1":
        raise FailpointRefused(f"{_PLACE} is set, which is for tests alone: unset it, or set {_FLAG}=1.")
    name, action, count = [*asked.split(":", 2), "", ""][:3]
    if name not in NAMES or action not in {"exit", "stop"} or not (count or "1").isdecimal():
        raise FailpointRefused(f"{_PLACE}={asked} names no failpoint: NAME:exit or NAME:stop, and :COUNT.")
    _name, _left, _is_end = name, int(count or "1"), action == "exit"


def reach(name: str) -> None:
    """End or freeze the process if this is the armed place, reached for the armed time."""
    global _left  # noqa: PLW0603
    if name != _name:
        return
    with _lock:
        _left -= 1
        if _left == 0 and _is_end:
            os._exit(EXIT_CODE)
        elif _left == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
