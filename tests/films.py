"""Small MP4, MOV and Matroska files, built by hand: real tables around bytes that are no pictures."""

import struct


def box(kind, *contents):
    body = b"".join(contents)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full(kind, *contents, version=0, flags=0):
    return box(kind, struct.pack(">I", version << 24 | flags), *contents)


FTYP = box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41")


def trak(number, handler, codec, chunks, sizes, *, timescale=1000, is_here=True, wide=False):
    """A track whose samples, of these sizes, lie one to a chunk, or all in the one chunk there is."""
    each = 1 if len(chunks) == len(sizes) else len(sizes)
    stbl = box(
        b"stbl",
        full(b"stsd", struct.pack(">II4s", 1, 16, codec), bytes(8)),
        full(b"stsc", struct.pack(">IIII", 1, 1, each, 1)) if chunks else full(b"stsc", bytes(4)),
        full(b"stsz", struct.pack(f">II{len(sizes)}I", 0, len(sizes), *sizes)),
        full(b"co64", struct.pack(f">I{len(chunks)}Q", len(chunks), *chunks))
        if wide
        else full(b"stco", struct.pack(f">I{len(chunks)}I", len(chunks), *chunks)),
    )
    dref = full(b"dref", struct.pack(">I", 1), full(b"url ", flags=1 if is_here else 0))
    return box(
        b"trak",
        full(b"tkhd", struct.pack(">III", 0, 0, number), bytes(68)),
        box(
            b"mdia",
            full(b"mdhd", struct.pack(">IIIII", 0, 0, timescale, 0, 0)),
            full(b"hdlr", bytes(4), handler, bytes(13)),
            box(b"minf", box(b"dinf", dref), stbl),
        ),
    )


def moov(*traks, duration=0, told=None, is_fragmented=False):
    """An index; `told` is the duration that `mehd` announces, in thousandths."""
    head = full(b"mvhd", struct.pack(">IIII", 0, 0, 1000, duration), bytes(80))
    trex = full(b"trex", struct.pack(">IIIII", 1, 1, 100, 50, 0))
    mehd = b"" if told is None else full(b"mehd", struct.pack(">I", told))
    mvex = box(b"mvex", mehd, trex) if is_fragmented or told is not None else b""
    return box(b"moov", head, *traks, mvex)


def film(sizes=(40, 50, 60), *, missing=0, codec=b"avc1", handler=b"vide", fill=b"p", wide=False):
    """A film with its index in front, one sample a chunk; `missing` bytes are not there of what it names."""
    length = len(FTYP) + len(moov(trak(1, handler, codec, sizes, sizes, wide=wide)))
    chunks, position = [], length + 8
    for size in sizes:
        chunks.append(position)
        position += size
    data = b"".join(fill * size for size in sizes)
    head = FTYP + moov(trak(1, handler, codec, chunks, sizes, wide=wide))
    return head + box(b"mdat", data[: len(data) - missing])


def fragment(sequence, at, sizes=(30, 40), *, duration=100, track=1):
    """One `moof` with its `mdat`: the samples follow each other."""

    def moof(offset):
        run = struct.pack(">II", len(sizes), offset) + b"".join(struct.pack(">I", size) for size in sizes)
        tfhd = full(b"tfhd", struct.pack(">II", track, duration), flags=0x020008)
        tfdt = full(b"tfdt", struct.pack(">I", at))
        return box(
            b"moof",
            full(b"mfhd", struct.pack(">I", sequence)),
            box(b"traf", tfhd, tfdt, full(b"trun", run[:4], run[4:], flags=0x201)),
        )

    return moof(len(moof(0)) + 8) + box(b"mdat", b"p" * sum(sizes))


def fragmented(count=3, *, told=None, duration=0, skip=(), step=200):
    """A fragmented film of two samples and 200 ms a fragment; `skip` leaves some out."""
    head = FTYP + moov(trak(1, b"vide", b"avc1", (), ()), duration=duration, told=told, is_fragmented=True)
    return head + b"".join(fragment(n + 1, n * step) for n in range(count) if n not in skip)


# --- Matroska -------------------------------------------------------------------------------------------


def element(identity, *contents, length=None):
    """An element; `length` 0 means that it does not say one."""
    body = b"".join(contents)
    name = identity.to_bytes((identity.bit_length() + 7) // 8, "big")
    size = b"\x01" + b"\xff" * 7 if length == 0 else (len(body) | 1 << 56).to_bytes(8, "big")
    return name + size + body


def number(identity, value):
    return element(identity, value.to_bytes(8, "big"))


EBML = element(0x1A45DFA3, element(0x4282, b"matroska"))
WEBM = element(0x1A45DFA3, element(0x4282, b"webm"))


def info(seconds=None):
    return element(0x1549A966, b"" if seconds is None else element(0x4489, struct.pack(">d", seconds * 1000)))


def tracks(codec=b"V_VP9", kind=1):
    return element(0x1654AE6B, element(0xAE, number(0xD7, 1), number(0x83, kind), element(0x86, codec)))


def cluster(at, count=5, *, length=None, fill=b"p", size=40):
    """A cluster of one block each 100 ms."""
    blocks = (element(0xA3, b"\x81", struct.pack(">h", n * 100), b"\0", fill * size) for n in range(count))
    return element(0x1F43B675, number(0xE7, at), *blocks, length=length)


def cues(position):
    point = element(0xBB, number(0xB3, 0), element(0xB7, number(0xF7, 1), number(0xF1, position)))
    return element(0x1C53BB6B, point)


def matroska(*parts, length=None, head=EBML):
    return head + element(0x18538067, *parts, length=length)
