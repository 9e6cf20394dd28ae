"""Passes numbered pictures to the decoding process one after the other: it may hold few files at a time."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from io import FileIO
from typing import IO, Final

from clipspool.system.process import start_thread

MARK: Final = b"clipspool pictures\n"
"""The first bytes of a feed: a process that was restarted in the middle of one finds other bytes."""
_NAME_BYTES: Final = 2
_LENGTH_BYTES: Final = 8
_CHUNK_BYTES: Final = 1 << 20


class Feed:
    """Writes pictures into a pipe in a thread of its own, until all are written or the reader is gone."""

    def __init__(self, pictures: Iterable[tuple[str, FileIO]], pipe: int) -> None:
        """Each picture is its name and its file, which is closed; so is the pipe. Raises OSError."""
        self._pictures = pictures
        self._pipe = open(pipe, "wb")  # noqa: SIM115 - the thread closes it
        self._fault: OSError | None = None
        self._thread = start_thread(self._run, "pictures")
        if self._thread is None:
            self._pipe.close()
            raise OSError(errno.EAGAIN, "no thread can be started to read the pictures")

    def end(self) -> None:
        """Wait for the thread, once the other end of the pipe is closed. Raises OSError of a picture."""
        if self._thread is not None:
            self._thread.join()
        if self._fault is not None:
            raise self._fault

    def _run(self) -> None:
        with suppress(BrokenPipeError), self._pipe as pipe:
            try:
                pipe.write(MARK)
                for name, file in self._pictures:
                    with file:
                        _write(pipe, os.fsencode(name), file)
            except BrokenPipeError:
                raise
            except OSError as error:
                self._fault = error


def _write(pipe: IO[bytes], name: bytes, file: FileIO) -> None:
    size = os.fstat(file.fileno()).st_size
    pipe.write(len(name).to_bytes(_NAME_BYTES, "big") + name + size.to_bytes(_LENGTH_BYTES, "big"))
    left = size
    while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
        pipe.write(chunk)
        left -= len(chunk)
    if left:
        raise OSError(errno.EIO, f"{os.fsdecode(name)} became shorter while it was read")


def next_picture(reader: IO[bytes]) -> tuple[str, bytes] | None:
    """Read one picture in the decoding process; None where it did not come whole."""
    name = reader.read(int.from_bytes(reader.read(_NAME_BYTES), "big"))
    length = int.from_bytes(reader.read(_LENGTH_BYTES), "big")
    data = reader.read(length)
    return (name.decode("utf-8", "backslashreplace"), data) if data and len(data) == length else None
