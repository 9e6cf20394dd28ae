"""Ends the process at a named place, as by kill -9: for tests alone, and refused without their flag.

`CLIPSPOOL_FAILPOINT=NAME:exit` ends it when the place is reached, `NAME:exit:3` the third time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping

NAMES = (
    "accepting",
    "claimed",
    "copied",
    "accepted",
    "committed",
    "begun",
    "taking-over",
    "adopted",
    "intent",
    "noted",
    "leaving",
    "sent",
    "created",
    "task-noted",
    "fetched",
    "reused",
    "paper",
    "placed",
    "retired",
    "migrate-copied",
    "migrated",
)
"""In the order of a clip's life. `accepting`: its work folder stands; `claimed`: it has its hidden
name, to be copied; `copied`: a copy is whole, and its original still there; `accepted`: it lies in work;
`committed`: a turn is durable, and nothing was let out yet; `begun`, `adopted`: in recovery;
`taking-over`: another's manifest has our name;
`intent`: it is in the journal; `noted`: and in the work folder; `leaving`: its first byte is sent next;
`sent`: all bytes left; `created`: the task id was heard; `task-noted`; `fetched`, `reused`: a result is
in the work folder; `paper`: its provenance is out; `placed`: so is it; `retired`: the source was moved."""
EXIT_CODE = 86
_PLACE, _FLAG = "CLIPSPOOL_FAILPOINT", "CLIPSPOOL_TESTING"

_name = ""
_left = 0
_lock = threading.Lock()


class Refused(Exception):
    """A failpoint is asked for where none may be, or none like this."""


def arm(env: Mapping[str, str] = os.environ) -> None:
    """Take up what the environment asks for; raises Refused with one sentence."""
    global _name, _left
    asked = env.get(_PLACE, "")
    if not asked:
        return
    if env.get(_FLAG) != "1":
        raise Refused(f"{_PLACE} is set, which is for tests alone: unset it, or set {_FLAG}=1.")
    name, _, rest = asked.partition(":")
    action, _, count = rest.partition(":")
    if name not in NAMES or action != "exit" or not (count or "1").isdecimal():
        raise Refused(f"{_PLACE}={asked} names no failpoint: NAME:exit or NAME:exit:COUNT.")
    _name, _left = name, int(count or "1")


def reach(name: str) -> None:
    """End here, if this is the place and the time."""
    if name == _name:
        _reached()


def _reached() -> None:
    global _left  # noqa: PLW0603
    with _lock:
        _left -= 1
        if _left == 0:
            os._exit(EXIT_CODE)
