"""Recognises files and folders by name: what people drop beside clips, what other programs leave; pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from enum import StrEnum


class Sort(StrEnum):
    """Kinds of files that are not clips, sidecars or reference images."""

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
    """A prompt (`.txt`) without a clip."""
    SIDECAR = "sidecar"
    """A sidecar under a name that is not read, such as `shot.toml.txt`."""
    UNKNOWN = "unknown"
    SILENT = "silent"
    """Leftovers of other tools; they get no note."""


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


def words(text: str, before: str = "") -> frozenset[str]:
    """Return the words of a table, each with `before` in front of it."""
    return frozenset(f"{before}{word}" for word in text.split())


TIMELINES = words("edl fcpxml otio xml", ".")
"""Suffixes of the timelines that are read."""
UNREAD_TIMELINES = words("aaf cmx fcpxmld otiod otioz xmeml", ".")
"""Suffixes of timelines that cannot be read: they may show any clip. An ALE or OMF shows no pictures."""
SORTS = {suffix: sort for sort, names in _SUFFIXES.items() for suffix in words(names, ".")}
PLAIN_TEXT = words(f"txt toml text md markdown {_SUFFIXES[Sort.SETTINGS]}", ".")
"""Suffixes of plain text: renaming the file is enough."""
TEXT_DISGUISES = PLAIN_TEXT | words("rtf rtfd doc docx odt pages html htm", ".")
"""Suffixes that a text program appends to `.toml` and `.txt`, or writes instead of them."""
BUNDLES = words(
    "app band dra fcpbundle fcpxmld imovielibrary imovieproj logicx otiod photoslibrary rtfd tvlibrary", "."
)
"""Folders that one program treats as a single file; their contents are left alone."""
_PROGRAM_FOLDER = re.compile(
    r"""
        adobe[ ](?:premiere[ ]pro|after[ ]effects|audition|media[ ]encoder).*(?:previews?|auto-save)
      | media[ ]cache(?:[ ]files)? | peak[ ]files                        # Adobe
      | cacheclip | optimizedmedia | proxymedia                          # DaVinci Resolve
      | (?:avid|omfi)[ ]mediafiles | avid[ ]attic
      | final[ ]cut[ ](?:pro[ ])?backups""",
    re.VERBOSE,
)
"""Folders of editing programs for previews, proxies and backups: none of it is a clip that somebody chose."""
CARD_FOLDERS = words("AVCHD AVF_INFO BDMV BPAV CLIPS001 CONTENTS DCIM M4ROOT MP_ROOT PRIVATE VIDEO_TS XDROOT")
"""Names that cameras give to the folders on their cards; in capitals, which no editor writes by chance."""
_SILENT_STEMS = words("authors autorun changelog copying ehthumbs licence license mediapro") | {"icon\r"}
_STREAMS = (":zone.identifier", ":afp_afpinfo", ":afp_resource")
"""Ends of the names of what NTFS and macOS keep beside a file's content, where a copy made files of it."""
_CAMERA_NOTES = re.compile(r"m\d\d\.xml")
"""Sony's cameras write `C0001M01.XML` beside `C0001.MP4`."""
_NUMBERED = re.compile(r"(.*?)(\d{3,})(\.\w+)", re.DOTALL)
_SEQUENCE_MIN = 3
"""This many pictures that are numbered alike are treated as the frames of one film."""

_FILM_STARTS = (
    (4, b"ftyp", ".mp4", ""),
    (4, b"moov", ".mov", ""),
    (4, b"wide", ".mov", ""),
    (0, b"\x1aE\xdf\xa3", ".mkv", ""),
    (0, b"\x06\x0e+4", ".mxf", ""),
    (8, b"AVI ", ".avi", ""),
    (0, b"FLV\x01", "", "Flash video"),
    (0, b"OggS", "", "Ogg"),
    (0, b"\x30\x26\xb2\x75", "", "Windows Media"),
    (0, b"\x00\x00\x01\xba", ".mpg", ""),
    (0, b"GIF8", ".gif", ""),
)
"""Offset and bytes that begin a film; the right suffix, or the kind in words."""
_PACKET_BYTES = 188
"""Length of a packet of an MPEG transport stream; each begins with `G`."""
SNIFFED_BYTES = 400


def suffix_of(name: str) -> str:
    """Return the last suffix with its dot, in lower case; empty if the only dot is first or last."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def stem(name: str) -> str:
    """Return a name without its last suffix."""
    dot = name.rfind(".")
    return name[:dot] if dot > 0 else name


def sort_of(name: str) -> Sort:
    """Return what a file is by its name."""
    lower = name.lower()
    if lower.partition(".")[0] in _SILENT_STEMS or lower.startswith("readme"):
        return Sort.SILENT
    if lower.endswith(("~", *_STREAMS)) or _CAMERA_NOTES.fullmatch(lower[-7:]):
        return Sort.SILENT
    return SORTS.get(suffix_of(name), Sort.UNKNOWN)


def film_in(start: bytes) -> tuple[str, str]:
    """Return which film a file holds by its first bytes: the suffix it should have, or its kind in words."""
    for offset, mark, suffix, words in _FILM_STARTS:
        if start.startswith(mark, offset):
            return suffix, words
    packets = start[: 2 * _PACKET_BYTES + 1 : _PACKET_BYTES]
    return ".ts" if packets == b"GGG" else "", ""


def numbered(name: str) -> tuple[str, str, str] | None:
    """Split the name of a numbered picture into prefix, number and suffix."""
    found = _NUMBERED.fullmatch(name)
    return (found[1], found[2], found[3]) if found else None


def runs_of(names: Iterable[str]) -> list[list[str]]:
    """Return the names that are numbered alike, if they are enough for a film; each run sorted."""
    alike = defaultdict[tuple[str, str], list[str]](list)
    for name in names:
        if split := numbered(name):
            alike[split[0], split[2]].append(name)
    return sorted(sorted(names) for names in alike.values() if len(names) >= _SEQUENCE_MIN)


def is_bundle(name: str) -> bool:
    """Return whether a program treats this folder as a single file, or keeps its own files in it."""
    return suffix_of(name) in BUNDLES or _PROGRAM_FOLDER.fullmatch(name.strip().lower()) is not None


def card_in(rel: str) -> str | None:
    """Return the folder around the camera's own folders if `rel` is part of a camera card.

    In the inbox itself it is the camera's own folder; None outside of a card.
    """
    parts = rel.split("/")
    found = next((number for number, part in enumerate(parts) if part in CARD_FOLDERS), None)
    return None if found is None else "/".join(parts[:found]) or parts[found]


# --- names that other programs give: partial files, recycle bins, snapshots ------------------------------

PARTIAL_SUFFIXES = (".part", ".partial", ".tmp", ".crdownload", ".filepart")
"""Files with these suffixes are never examined, whatever their name."""
# Control files beside a clip that has its final name already; browsers and download managers (two lines);
# file sharing and synchronising; copying and transfer tools in general (two lines).
_PARTNER_SUFFIXES = frozenset(PARTIAL_SUFFIXES) | words(
    """
        aria2 aria2__temp lftp-pget-status st aspx aspera-ckpt ytdl
        download opdownload fdmdownload ucdownload dtapart downiepart unconfirmed
        td xltd downloading jc! getright duckpart cyberducksegment
        !ut !qb !bt bc! az! bts !sync syncpart synctemp icloud ffs_tmp drivedownload driveupload pcloud
        temp incomplete unfinished inprogress in-progress uploading upload
        copying transferring transfer writing resume""",
    ".",
)
_PARTNER_PATTERN = re.compile(r"\.(part-frag\d+|sb-[0-9a-f]{8}-\w{6}|~[0-9a-f]+)", re.IGNORECASE)
"""Fragments of yt-dlp, safe saves of macOS, downloads of Nextcloud and ownCloud."""
_PARTNER_PREFIXES = (".syncthing.", "~syncthing~", ".unison.", ".in.", ".~", ".")
_LABEL = re.compile(r"\.[\w~-]{2,24}")
"""What a tool inserts between a clip's name and its own suffix: a hash, the number of a transfer."""
_LABELS_MAX = 2
CONTROL_SUFFIXES = (".aria2", ".lftp-pget-status", ".st", ".part", ".crdownload", ".!sync")
"""Checked right before a clip is claimed: they may have appeared since the folder was last listed."""

# Recycle bins; snapshots and earlier versions; indexes and work folders of NAS makers; desktops and
# file systems; at the end the names with spaces.
_FOLDERS = words(
    """
        #recycle @recycle #synorecycle $recycle.bin recycler recycled recyclebin trashbox files_trashbin
        #snapshot @recently-snapshot @snapshot @sharesnap files_versions windowsimagebackup dfsrprivate
        @eadir @__thumb @tmp @sharebin @synologydrive @img_bkp_cache @transcode
        lost+found $extend config.msi msocache thevolumesettingsfolder thefindbycontentfolder"""
) | {
    *("recycle bin", "network trash folder", "system volume information", "temporary items"),
    "cleanup at startup",
}
"""As `enters` compares them: in lower case."""
_FOLDER_PATTERN = re.compile(r"[@#]syno.*|@gmt-[\d.-]+|found\.\d{3}")
_FILES = frozenset({"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"})

_CONFLICT = re.compile(
    r"""
      \.sync-conflict-\d{8}-\d{6}                                        # Syncthing
    | \([^()]*\b(?:conflicted|case[ ]conflict|sfconflict)\b[^()]*\)      # Dropbox, Nextcloud, Seafile
    | \([^()]*\b(?:in[ ]konflikt|konflikt|en[ ]conflit|en[ ]conflicto|in[ ]conflitto)\b[^()]*\)  # elsewhere
    | [ _-]conflict-\d{8}-\d{6}                                          # ownCloud
    | _[a-z]{3}-\d\d-\d{4,6}-\d{4}_(?:case)?conflict$                    # Synology Drive
    | _caseconflict$
    """,
    re.IGNORECASE | re.VERBOSE,
)


def is_foreign_file(lower: str) -> bool:
    """Return whether a file's name, in lower case, is one that desktops leave in every folder."""
    return lower in _FILES or lower in _FOLDERS


def is_foreign_folder(name: str) -> bool:
    """Return whether a folder is a system's recycle bin, snapshot or index, in any letter case."""
    lower = name.lower().rstrip()
    return lower in _FOLDERS or _FOLDER_PATTERN.fullmatch(lower) is not None


def looks_foreign(name: str) -> bool:
    """Return whether a folder at an inbox's top is named as NAS makers name theirs."""
    return name.startswith(("@", "#"))


def inner_names(name: str) -> Iterator[str]:
    """Yield the names that a temporary or control file may belong to, the likeliest first.

    `shot.mp4.aria2`, `shot.mp4.1a2b3c4d.partial` and `.shot.mp4.Xyz1` belong to `shot.mp4`.
    """
    if name.startswith("._"):  # AppleDouble files stay beside a clip for ever
        return
    prefix = next((prefix for prefix in _PARTNER_PREFIXES if name.startswith(prefix)), "")
    inner = name[len(prefix) :]
    inner = inner[: -len(".cfg")] if inner.lower().endswith((".td.cfg", ".xltd.cfg")) else inner
    suffix = suffix_of(inner)
    is_partner = suffix in _PARTNER_SUFFIXES or _PARTNER_PATTERN.fullmatch(suffix) is not None
    if not suffix or not (is_partner or prefix):
        return
    inner = stem(inner)
    yield inner
    for _ in range(_LABELS_MAX if is_partner else 0):
        suffix = suffix_of(inner)
        if _LABEL.fullmatch(suffix) is None or suffix == ".toml":
            return
        inner = stem(inner)
        yield inner


def is_conflict_copy(stem: str) -> bool:
    """Return whether a name without its suffix marks the second version of a synchronised file."""
    return _CONFLICT.search(stem) is not None
