"""Small numbered pictures, made without a coder, for tests of folders that are one clip."""

import struct
import zlib


def png(shade=0, width=16, height=10):
    """Return a grey PNG of one shade."""

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


def exr(*, tile=None, kinds=(b"scanlineimage",), width=40, height=24, is_deep=False):
    """Return the bytes of an EXR without compression, all black; with a part for each of its kinds."""
    has_parts = len(kinds) > 1

    def attribute(name, kind, body):
        return name + b"\0" + kind + b"\0" + struct.pack("<I", len(body)) + body

    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    flags = 2 | (0x1000 * has_parts) | (0x200 * (tile is not None and not has_parts)) | (0x800 * is_deep)
    heads, chunks = [], []
    for number, kind in enumerate(kinds):
        is_tiled = tile is not None and (kind.startswith(b"tiled") or not has_parts)
        places = (
            [(x, y) for y in range(-(-height // tile)) for x in range(-(-width // tile))] if is_tiled else []
        )
        of = [struct.pack("<4iI", x, y, 0, 0, 64) for x, y in places]
        of = of or [struct.pack("<iI", line, 64) for line in range(height)]
        heads.append(
            attribute(b"compression", b"compression", b"\0")
            + attribute(b"dataWindow", b"box2i", window)
            + attribute(b"displayWindow", b"box2i", window)
            + (attribute(b"tiles", b"tiledesc", struct.pack("<IIB", tile, tile, 0)) if is_tiled else b"")
            + attribute(b"type", b"string", kind)
            + attribute(b"chunkCount", b"int", struct.pack("<i", len(of)))
            + b"\0"
        )
        chunks.append([(struct.pack("<i", number) if has_parts else b"") + one + bytes(64) for one in of])
    data = struct.pack("<II", 20000630, flags) + b"".join(heads) + b"\0" * has_parts
    at, table = len(data) + 8 * sum(map(len, chunks)), b""
    for one in (one for of in chunks for one in of):
        table += struct.pack("<Q", at)
        at += len(one)
    return data + table + b"".join(one for of in chunks for one in of)


def fill(folder, numbers=range(1001, 1025), name="shot.{:04}.png", **size):
    """Write numbered PNGs into a folder, each of another shade; return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [name.format(number) for number in numbers]
    for number, one in zip(numbers, names, strict=True):
        (folder / one).write_bytes(png(number, **size))
    return names
