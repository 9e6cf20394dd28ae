"""Opens a clip for writing in the decoding process, to a descriptor of the daemon."""

from __future__ import annotations

import io
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import av
import av.container
import av.error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import ReadableBuffer

IO_BYTES = 1 << 20


@contextmanager
def output(
    destination: int,
    name: Literal["mp4", "mov"],
    *,
    has_free_tags: bool = False,
    is_streamed: bool = True,
) -> Iterator[av.container.OutputContainer]:
    """Write a clip from the descriptor's first byte on, its index in front if it is to be streamed.

    `has_free_tags` writes all tags by their names, also those that are not of the container's own few.
    `destination` must be readable too: the file is read back to move the index to the front.
    """
    os.ftruncate(destination, 0)
    os.lseek(destination, 0, os.SEEK_SET)

    def read_back(_url: str, _flags: int, _options: dict[str, str]) -> io.FileIO:
        return _ReadBack(destination)

    with _Target(destination) as file:
        flags = ("+faststart" if is_streamed else "") + ("+use_metadata_tags" if has_free_tags else "")
        options = {"movflags": flags} if flags else {}
        try:
            with av.open(
                file, "w", format=name, options=options, buffer_size=IO_BYTES, io_open=read_back
            ) as container:
                yield container
        except av.error.FFmpegError as error:
            if file.fault is not None:
                raise file.fault from error
            raise


class _Target(io.FileIO):
    """The file being written; it keeps its fault, which FFmpeg reports only as an error in a callback."""

    def __init__(self, file: int) -> None:
        super().__init__(file, "r+b", closefd=False)
        self.fault: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        rest = memoryview(data).cast("B")
        count = len(rest)
        try:
            while rest:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.fault = error
            raise
        return count


class _ReadBack(io.FileIO):
    """The same file with a second position; this process cannot open a path."""

    def __init__(self, file: int) -> None:
        super().__init__(file, "rb", closefd=False)
        self._position = 0

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        count = os.preadv(self.fileno(), [buffer], self._position)
        self._position += count
        return count

    def read(self, size: int | None = -1, /) -> bytes:
        data = os.pread(self.fileno(), size if size is not None and size >= 0 else IO_BYTES, self._position)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_END:
            offset += os.fstat(self.fileno()).st_size
        elif whence == os.SEEK_CUR:
            offset += self._position
        self._position = offset
        return offset

    def tell(self) -> int:
        return self._position
