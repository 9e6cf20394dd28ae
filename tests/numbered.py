"""Small numbered pictures, made without a coder, for tests of folders that are one clip."""

import struct
import zlib


def png(shade=0, width=16, height=10):
    """Give a grey PNG of one shade."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + bytes([shade % 256]) * width for _ in range(height))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def fill(folder, numbers=range(1001, 1025), name="shot.{:04}.png", **size):
    """Write numbered PNGs into a folder, each of another shade; return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [name.format(number) for number in numbers]
    for number, one in zip(numbers, names, strict=True):
        (folder / one).write_bytes(png(number, **size))
    return names
