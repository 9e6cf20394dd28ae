"""Checks the archives of images that some models answer with."""

from __future__ import annotations

import encodings.cp437  # noqa: F401  zipfile asks for it when no file can be opened any more
import lzma
import os
import zipfile
import zlib

from clipspool.media.facts import MediaError, Probe

ZIP_ENTRIES_MAX = 100_000
ZIP_BYTES_MAX = 1 << 38
ZIP_CHUNK_BYTES = 1 << 18


def verify_archive(file: int) -> Probe:
    """Unpack a ZIP to nowhere, comparing its checksums; raises MediaError."""
    try:
        with open(file, "rb", closefd=False) as reader, zipfile.ZipFile(reader) as archive:
            entries = archive.infolist()
            _check_zip(entries)
            for entry in entries:
                with archive.open(entry) as member:
                    while member.read(ZIP_CHUNK_BYTES):
                        pass
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        NotImplementedError,
        RuntimeError,
        EOFError,
    ) as error:
        raise MediaError("MEDIA.UNREADABLE", "the archive is damaged", "Fetch it again.") from error
    return Probe(container="zip", size_bytes=os.fstat(file).st_size)


def _check_zip(entries: list[zipfile.ZipInfo]) -> None:
    if not any(entry.file_size for entry in entries):
        raise MediaError("MEDIA.UNREADABLE", "the archive is empty", "Fetch it again.")
    if len(entries) > ZIP_ENTRIES_MAX or sum(entry.file_size for entry in entries) > ZIP_BYTES_MAX:
        raise MediaError(
            "MEDIA.TOO_LARGE", "the archive unpacks to more than is allowed", "Look at it by hand."
        )
