"""Names the kinds of files that people drop beside clips, by suffix and by folder name; pure."""

from __future__ import annotations

import re
from enum import StrEnum


class Sort(StrEnum):
    """What a file is that is no clip, no sidecar and no reference image."""

    FILM = "film"
    RAW = "raw"
    PICTURE = "picture"
    AUDIO = "audio"
    ARCHIVE = "archive"
    PROJECT = "project"
    TIMELINE = "timeline"
    SHORTCUT = "shortcut"
    SETTINGS = "settings"
    """Text in another notation than TOML."""
    DOCUMENT = "document"
    TEXT = "text"
    """A prompt (`.txt`) for which no clip is there."""
    SIDECAR = "sidecar"
    """A sidecar under a name that is not read, such as `shot.toml.txt`."""
    UNKNOWN = "unknown"
    SILENT = "silent"
    """What other tools leave behind: nobody waits for an answer about it."""


_SUFFIXES = {
    Sort.FILM: """
        264 265 360 3g2 3gp apng asf av1 avi bik dav divx dv dvr-ms f4v flv gif gxf h264 h265 hevc insv
        ismv ivf lrf m1v m2t m2ts m2v m4p mjpeg mjpg mk3d mod mov mp2v mp4 m4v mp4v mkv mpe mpeg mpg mpv
        mqv mts mxf nut ogm ogv qt rm rmvb roq tod trp ts vid vob vp8 vp9 vro webm wmv wtv xvid y4m yuv""",
    Sort.RAW: """
        3fr ari arriraw arw arx braw cdng cine cr2 cr3 crm dng mcraw nef nev orf r3d raf raw rmf rw2 vrw""",
    Sort.PICTURE: """
        ai avif bmp cin dpx eps exr hdr heic heif ico iff j2k jp2 jpeg jpg jpx jxl png psb psd rgb sgi svg
        tga tif tiff webp""",
    Sort.AUDIO: """
        aac ac3 aif aifc aiff amr bwf caf dts eac3 ec3 flac m4a mid mp3 oga ogg opus rf64 w64 wav wma""",
    Sort.ARCHIVE: "7z bz2 cab dmg gz img iso lz lzma rar sit sitx tar tbz tgz txz txst xz zip zipx zst",
    Sort.PROJECT: """
        aep aepx aet als aup aup3 avb avc avp blend c4d camproj ccap cfa comp dfxp dra drp drt fcp fcpbundle
        ffx hip hiplc hrox imovieproj kdenlive logicx ma max mb mep mlt mogrt nk osp pek ppj prmdc prproj
        psproj ptf ptx sesx spp tscproj veg vf wfp""",
    Sort.TIMELINE: "aaf ale cmx edl fcpxml fcpxmld omf otio otiod otioz xmeml xml",
    Sort.SHORTCUT: "alias desktop inetloc lnk url webloc",
    Sort.SETTINGS: "cfg conf env ini json jsonc properties tml tolm tom tomal yaml yml",
    Sort.DOCUMENT: """
        3dl ass csv cube doc docm docx eml epub htm html icc key lut markdown md mhtml msg numbers odp ods
        odt ott pages pdf ppt pptx rtf rtfd scc srt ssa stl sub tex tsv ttml vtt wpd wps xls xlsx""",
    # Checksums, and what cameras, editors and copying tools leave beside clips.
    Sort.SILENT: """
        !bt !qb !sync !ut aae aria2 ascmhl bak bdm bim bup cpf cpi crdownload db download ifo ind lck
        lftp-pget-status lock log lrv md5 mhl modd moff mpl old opdownload orig part partial pmpd sfv sha1
        sha256 sha512 smi st swo swp swx thm tid tmp torrent xmp xxh xxh64 xxhash""",
}
SORTS: dict[str, Sort] = {f".{one}": sort for sort, names in _SUFFIXES.items() for one in names.split()}


def _suffixes(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


PLAIN_TEXT = _suffixes("txt toml text md markdown") | _suffixes(_SUFFIXES[Sort.SETTINGS])
"""What is plain text already: renaming is enough."""
TEXT_DISGUISES = PLAIN_TEXT | _suffixes("rtf rtfd doc docx odt pages html htm")
"""Suffixes that an editor's program puts behind, or in the place of, `.toml` and `.txt`."""
BUNDLES = _suffixes(
    "app band dra fcpbundle fcpxmld imovielibrary imovieproj logicx otiod photoslibrary rtfd tvlibrary"
)
"""Folders that one program takes for one file: what lies in them is that program's."""
CARD_FOLDERS = frozenset(
    [
        "AVCHD",
        "AVF_INFO",
        "BDMV",
        "BPAV",
        "CLIPS001",
        "CONTENTS",
        "DCIM",
        "M4ROOT",
        "MP_ROOT",
        "PRIVATE",
        "VIDEO_TS",
        "XDROOT",
    ]
)
"""What cameras call the folders on their cards; in capitals, as no editor names a folder by chance."""
_SILENT_STEMS = frozenset(
    ["authors", "autorun", "changelog", "copying", "ehthumbs", "icon\r", "licence", "license", "mediapro"]
)
_CAMERA_NOTES = re.compile(r"m\d\d\.xml", re.IGNORECASE)
"""How Sony's cameras name the facts of a clip: `C0001M01.XML` beside `C0001.MP4`."""
_NUMBERED = re.compile(r"(.*?)(\d{3,})(\.\w+)", re.DOTALL)
SEQUENCE_MIN = 3
"""So many pictures that are numbered alike are taken for the pictures of one film."""

_FILM_STARTS = (
    (4, b"ftyp", ".mp4"),
    (4, b"moov", ".mov"),
    (4, b"wide", ".mov"),
    (0, b"\x1aE\xdf\xa3", ".mkv"),
)
_OTHER_FILM_STARTS = (
    (0, b"\x06\x0e+4", "MXF"),
    (8, b"AVI ", "AVI"),
    (0, b"FLV\x01", "Flash video"),
    (0, b"OggS", "Ogg"),
    (0, b"\x30\x26\xb2\x75", "Windows Media"),
    (0, b"\x00\x00\x01\xba", "MPEG"),
    (0, b"GIF8", "GIF"),
)
_PACKET_BYTES = 188
"""Of an MPEG transport stream: each begins with a `G`."""
SNIFFED_BYTES = 400


def suffix_of(name: str) -> str:
    """Give the last suffix with its dot, in small letters; empty where only a dot leads or ends the name."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def sort_of(name: str) -> Sort:
    """Say what a file is by its name."""
    lower = name.lower()
    stem = lower.partition(".")[0]
    if stem in _SILENT_STEMS or lower.endswith("~") or lower.startswith("readme"):
        return Sort.SILENT
    suffix = suffix_of(name)
    if suffix == ".xml" and _CAMERA_NOTES.fullmatch(lower[-7:]):
        return Sort.SILENT
    return SORTS.get(suffix, Sort.UNKNOWN)


def film_in(start: bytes) -> tuple[str, str]:
    """Say which film is in a file by its first bytes: the suffix it should have, or its kind in words."""
    for at, mark, suffix in _FILM_STARTS:
        if start[at : at + len(mark)] == mark:
            return suffix, ""
    for at, mark, words in _OTHER_FILM_STARTS:
        if start[at : at + len(mark)] == mark:
            return "", words
    packets = start[: 2 * _PACKET_BYTES + 1 : _PACKET_BYTES]
    return "", "an MPEG transport stream" if packets == b"GGG" else ""


def numbered(name: str) -> tuple[str, str, str] | None:
    """Split the name of a numbered picture: what comes before the number, the number, its suffix."""
    found = _NUMBERED.fullmatch(name)
    return (found[1], found[2], found[3]) if found else None


def is_bundle(name: str) -> bool:
    """Say whether a folder is one that some program takes for a single file."""
    return suffix_of(name) in BUNDLES


def card_in(rel: str) -> str | None:
    """Give the folder of a camera card that a folder lies in; None where it lies in none.

    That is the folder around what the camera made, or, in the inbox itself, the camera's own folder.
    """
    parts = rel.split("/")
    for number, part in enumerate(parts):
        if part in CARD_FOLDERS:
            return "/".join(parts[:number]) or part
    return None
