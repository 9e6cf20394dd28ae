"""The decoding process: receives one call at a time with its files, answers, and forgets."""

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
from typing import Any

import av
import av.logging

from clipspool.media import confine, conforming, images, reading, samples
from clipspool.media.facts import MediaError
from clipspool.media.plan import Conform
from clipspool.media.timeline import FinishPlan
from clipspool.media.wire import CALL_BYTES_MAX, FILES_MAX
from clipspool.system.process import return_freed_memory

LARGE_BYTES = 128 << 10
"""A picture is large: each clip has others, and what is kept of them does for no other."""


def main() -> None:
    """Serve the socket named by the first argument until the daemon goes, or asks nothing for long."""
    descriptor, memory_bytes_max, idle_seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    daemon = socket.socket(fileno=descriptor)
    return_freed_memory(LARGE_BYTES)
    av.logging.set_level(None)
    confine.ignore_stop_signals()
    confine.limit_resources(memory_bytes_max)
    confine.bound_stacks()
    _import_all_of_av()
    confine.forbid_files_and_network()
    gc.freeze()
    threading.Thread(target=_end_with_the_daemon, args=(daemon,), daemon=True).start()
    while select.select([daemon], [], [], idle_seconds)[0]:
        data, files, _, _ = socket.recv_fds(daemon, CALL_BYTES_MAX, FILES_MAX)
        if not data:
            return
        try:
            daemon.send(json.dumps(_answer(json.loads(data), files)).encode())
        finally:
            for file in files:
                os.close(file)
            # PyAV's containers and codecs lie in cycles: until they are found they hold their pictures.
            gc.collect()


def _import_all_of_av() -> None:
    """Import what PyAV would import at its first use, while files can still be opened."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if not module.name.endswith(("__main__", ".datasets")):
            importlib.import_module(module.name)


def _end_with_the_daemon(daemon: socket.socket) -> None:
    """Wait for the other end to close, also in the middle of a call.

    PR_SET_PDEATHSIG would not do: it fires when the thread that began this process ends, not the daemon.
    """
    poll = select.poll()
    poll.register(daemon, select.POLLRDHUP)
    poll.poll()
    os._exit(0)


def _answer(call: dict[str, Any], files: list[int]) -> dict[str, Any]:
    """Give {"value": …}, {"fault": …} or, for a mistake in this program, {"bug": traceback}."""
    confine.allow_cpu_seconds(call["seconds_max"])
    try:
        with reading.foreign_errors("reading the file"):
            return {"value": _call(call["name"], files, call["arguments"]).to_dict()}
    except MediaError as error:
        return {"fault": error.fault.to_dict()}
    except Exception:  # noqa: BLE001  the daemon raises it, with this traceback
        return {"bug": traceback.format_exc()[-8000:]}


def _call(name: str, files: list[int], arguments: dict[str, Any]) -> Any:
    match name:
        case "probe":
            return reading.probe(files[0])
        case "verify":
            return reading.verify(files[0])
        case "conform":
            return conforming.conform(files[0], files[1], files[2], Conform.from_dict(arguments))
        case "finish":
            return conforming.finish(files[0], files[1], files[2], FinishPlan.from_dict(arguments))
        case "poster":
            return images.poster(*files)
        case "image_facts":
            return images.image_facts(files[0])
        case "scale_image":
            return images.scale_image(files[0], files[1], **arguments)
        case "sample":
            return samples.make_sample(files[0], **arguments)
        case _:
            raise ValueError(f"no such call: {name}")


if __name__ == "__main__":
    main()
