"""Refuses clips that nothing can be done with: encrypted, in Dolby Vision 5, or without their pictures."""

from __future__ import annotations

from typing import BinaryIO, Final

from clipspool.media import ebml, recorders
from clipspool.media.boxes import Complete, Film
from clipspool.media.facts import MediaError
from clipspool.media.tables import read_at

_SEARCHED_BYTES = 4 << 20
_ENCRYPTED_TRACKS: Final = frozenset({b"encv", b"drmi", b"p601"})
_HEVC_TRACKS: Final = frozenset({b"hvc1", b"hev1", b"dvh1", b"dvhe"})
_DOLBY_VISION: Final = (b"dvcC", b"dvvC")
_EXTRA_DATA: Final = b"\x41\xed"
"""The element of Matroska that holds what an MP4 has in `dvcC`."""
_WITHOUT_BASE = 5
"""The profile whose pictures are in Dolby's own colours, which no other decoder shows rightly."""


def refuse_what_cannot_be_used(reader: BinaryIO, size: int, whole: Complete) -> None:
    """Raise MediaError with the reason, if a clip of this container is of no use."""
    match whole.container:
        case "mp4" | "mov":
            _look_into_movie(reader, whole.film)
        case "mkv" | "webm":
            head = read_at(reader, 0, _SEARCHED_BYTES // 16)
            if _profile_in(head, is_matroska=True) == _WITHOUT_BASE:
                raise _dolby_vision()
            if ebml.is_encrypted(reader, size):
                raise _encrypted()
        case _:
            if recorders.is_encrypted(reader, size, whole.container):
                raise _encrypted()


def _look_into_movie(reader: BinaryIO, film: Film | None) -> None:
    if film is None or (moov := film.boxes.moov) is None:
        return
    pictures = [track for track in film.movie.tracks if track.handler == b"vide"]
    if any(not track.is_here for track in pictures):
        why = "its pictures are in another file, to which it only refers"
        raise MediaError("MEDIA.UNREADABLE", why, "Export it as a self-contained movie.")
    if any(track.codec in _ENCRYPTED_TRACKS for track in pictures):
        raise _encrypted()
    if any(track.codec in _HEVC_TRACKS for track in pictures):
        head = read_at(reader, moov.data, min(moov.end - moov.data, _SEARCHED_BYTES))
        if _profile_in(head) == _WITHOUT_BASE:
            raise _dolby_vision()


def _profile_in(data: bytes, *, is_matroska: bool = False) -> int | None:
    """Return the Dolby Vision profile that a file's headers name, if they name one."""
    for mark in _DOLBY_VISION:
        at = data.find(mark)
        if at < 0:
            continue
        begin = at + len(mark)
        if is_matroska:
            begin = data.find(_EXTRA_DATA, begin)
            begin += len(_EXTRA_DATA) + 1 if begin >= 0 else 0
        if 0 <= begin < len(data) - 2:
            return data[begin + 2] >> 1
    return None


def _encrypted() -> MediaError:
    why = "its pictures are encrypted (copy protection, or a scrambled recording)"
    return MediaError(
        "MEDIA.UNSUPPORTED", why, "Export the clip without protection, from the program that plays it."
    )


def _dolby_vision() -> MediaError:
    why = "its colours are Dolby Vision profile 5, without an HDR10 or SDR version: they would turn green"
    return MediaError("MEDIA.UNSUPPORTED", why, "Export the clip as HDR10, HLG or SDR (Rec. 709).")
