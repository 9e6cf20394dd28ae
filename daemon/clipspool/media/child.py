"""The decoding process: receives one call at a time with its files, answers it, and keeps nothing."""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import select
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import av
import av.logging

from clipspool.media import (
    coding,
    confine,
    conforming,
    finishing,
    images,
    joining,
    packing,
    reading,
    samples,
    scenes,
)
from clipspool.media.facts import CALL_BYTES_MAX, FILES_MAX, MediaError, Value
from clipspool.media.joins import JoinPlan
from clipspool.media.plan import Conform
from clipspool.media.timeline import FinishPlan
from clipspool.system.process import return_freed_memory

LARGE_BYTES = 2 << 20
"""A larger picture's memory is returned at once: the next clip has pictures of another size. What a codec
allocates again for each look is smaller; returned, it cost more than half of a look in page faults."""


def main() -> None:
    """Serve the socket of the first argument until the daemon closes it, or makes no call for long.

    The others are the memory in bytes, the seconds without a call, and a folder for passing files, if any.
    """
    descriptor, memory_bytes_max, idle_seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    scratch = sys.argv[4] if len(sys.argv) > 4 else ""  # noqa: PLR2004
    daemon = socket.socket(fileno=descriptor)
    av.logging.set_level(None)
    confine.ignore_stop_signals()
    confine.limit_resources(memory_bytes_max)
    confine.bound_stacks()
    _import_all_of_av()
    if confine.forbid_files_and_network(scratch):
        coding.allow_two_passes(scratch)
    gc.freeze()
    return_freed_memory(LARGE_BYTES, arenas=2)  # not before the imports: what they free would be kept
    threading.Thread(target=_end_with_the_daemon, args=(daemon,), daemon=True).start()
    while select.select([daemon], [], [], idle_seconds)[0]:
        data, files, _, _ = socket.recv_fds(daemon, CALL_BYTES_MAX, FILES_MAX)
        if not data:
            return
        try:
            answer = _answer(json.loads(data), files, daemon)
        finally:
            for file in files:
                os.close(file)
        daemon.send(json.dumps(answer).encode())
        # PyAV's containers and codecs are in reference cycles, which hold their pictures until collected.
        gc.collect()


def _import_all_of_av() -> None:
    """Import the modules that PyAV imports at first use, while files can still be opened."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if not module.name.endswith(("__main__", ".datasets")):
            importlib.import_module(module.name)


def _end_with_the_daemon(daemon: socket.socket) -> None:
    """End this process when the daemon's end of the socket closes, also in the middle of a call.

    PR_SET_PDEATHSIG would not do: it fires when the thread that started this process ends, not the daemon.
    """
    poll = select.poll()
    poll.register(daemon, select.POLLRDHUP)
    poll.poll()
    os._exit(0)


def _answer(call: dict[str, Any], files: list[int], daemon: socket.socket) -> dict[str, Any]:
    """Return {"value": …}, {"fault": …} or, for a bug of this program, {"bug": traceback}.

    Before that {"run": …, "share": …} is sent now and then by the calls that code pictures.
    """
    confine.allow_cpu_seconds(call["seconds_max"])
    coding.progress.begin(lambda run, share: _send_share(daemon, run, share))
    try:
        with reading.foreign_errors("reading the file"):
            return {"value": _CALLS[call["name"]](*files, **call["arguments"]).to_dict()}
    except MediaError as error:
        return {"fault": error.fault.to_dict()}
    except Exception:  # noqa: BLE001  the daemon raises it, with this traceback
        return {"bug": traceback.format_exc()[-8000:]}


def _send_share(daemon: socket.socket, run: int, share: float) -> None:
    with suppress(OSError):  # the daemon is gone, and this process ends with it
        daemon.send(json.dumps({"run": run, "share": share}).encode())


_CALLS: dict[str, Callable[..., Value]] = {
    "probe": reading.probe,
    "verify": reading.verify,
    "scenes": scenes.scenes,
    "conform": lambda one, two, to, **plan: conforming.conform(one, two, to, Conform.from_dict(plan)),
    "finish": lambda one, two, to, **plan: finishing.finish(one, two, to, FinishPlan.from_dict(plan)),
    "join": lambda one, to, *parts, **plan: joining.join(one, to, parts, JoinPlan.from_dict(plan)),
    "poster": images.poster,
    "image_facts": images.image_facts,
    "scale_image": images.scale_image,
    "crop_stills": images.crop_stills,
    "sample": samples.make_sample,
    "still": packing.still,
    "pack": packing.pack,
}


if __name__ == "__main__":
    main()
