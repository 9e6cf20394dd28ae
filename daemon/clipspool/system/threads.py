"""Begins threads where the system may refuse one: a limit that is reached ends nothing, and may pass."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


def begin(target: Callable[..., object], name: str, *args: Any) -> threading.Thread | None:
    """Begin a daemon thread, which never keeps the process from ending; None where there may be no more.

    RLIMIT_NPROC, TasksMax or memory may say so; the caller goes on without it, and tries again later.
    """
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread
