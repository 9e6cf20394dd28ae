"""Checks the ZIP archives of images that some models return."""

from __future__ import annotations

import encodings.cp437  # noqa: F401  zipfile imports it later, when no file can be opened any more
import lzma
import os
import zipfile
import zlib

from clipspool.media.facts import MediaError, Probe

ZIP_ENTRIES_MAX = 100_000
ZIP_BYTES_MAX = 1 << 38
ZIP_CHUNK_BYTES = 1 << 18


def verify_archive(file: int) -> Probe:
    """Unpack a ZIP without keeping anything, and compare its checksums; raises MediaError."""
    try:
        with open(file, "rb", closefd=False) as reader, zipfile.ZipFile(reader) as archive:
            entries = archive.infolist()
            bytes_unpacked = sum(entry.file_size for entry in entries)
            if not bytes_unpacked:
                raise MediaError("MEDIA.UNREADABLE", "the archive is empty", "Fetch it again.")
            if len(entries) > ZIP_ENTRIES_MAX or bytes_unpacked > ZIP_BYTES_MAX:
                why = "the archive unpacks to more than is allowed"
                raise MediaError("MEDIA.TOO_LARGE", why, "Look at it by hand.")
            for entry in entries:
                with archive.open(entry) as member:
                    while member.read(ZIP_CHUNK_BYTES):
                        pass
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, EOFError) as error:
        raise MediaError("MEDIA.UNREADABLE", "the archive is damaged", "Fetch it again.") from error
    return Probe(container="zip", size_bytes=os.fstat(file).st_size)
