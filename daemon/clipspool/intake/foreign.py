"""Recognises names that other programs give: partial files, control files, recycle bins, snapshots; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from clipspool.intake.kinds import stem, suffix_of, words

PARTIAL_SUFFIXES: Final = (".part", ".partial", ".tmp", ".crdownload", ".filepart")
"""Files with these suffixes are never looked at, whatever stands before the suffix."""
# Control files beside a clip that has its final name already; browsers and download managers (two lines);
# file sharing and synchronising; copying and transfer tools in general (two lines).
_PARTNER_SUFFIXES: Final = frozenset(PARTIAL_SUFFIXES) | words(
    """
        aria2 aria2__temp lftp-pget-status st aspx aspera-ckpt ytdl
        download opdownload fdmdownload ucdownload dtapart downiepart unconfirmed
        td xltd downloading jc! getright duckpart cyberducksegment
        !ut !qb !bt bc! az! bts !sync syncpart synctemp icloud ffs_tmp drivedownload driveupload pcloud
        temp incomplete unfinished inprogress in-progress uploading upload
        copying transferring transfer writing resume""",
    ".",
)
_PARTNER_PATTERN: Final = re.compile(r"\.(part-frag\d+|sb-[0-9a-f]{8}-\w{6}|~[0-9a-f]+)", re.IGNORECASE)
"""Fragments of yt-dlp, safe saves of macOS, downloads of Nextcloud and ownCloud."""
_PARTNER_PREFIXES: Final = (".syncthing.", "~syncthing~", ".unison.", ".in.", ".~", ".")
_LABEL: Final = re.compile(r"\.[\w~-]{2,24}")
"""What a tool inserts between a clip's name and its own suffix: a hash, the number of a transfer."""
_LABELS_MAX = 2
CONTROL_SUFFIXES: Final = (".aria2", ".lftp-pget-status", ".st", ".part", ".crdownload", ".!sync")
"""Checked right before a clip is claimed: they may have appeared since the folder was last listed."""

_FOLDERS: Final = frozenset(
    {
        # recycle bins
        *("#recycle", "@recycle", "#synorecycle", "$recycle.bin", "recycler", "recycled", "recycle bin"),
        *("recyclebin", "trashbox", "network trash folder", "files_trashbin"),
        # snapshots and earlier versions
        *("#snapshot", "@recently-snapshot", "@snapshot", "@sharesnap", "files_versions"),
        *("system volume information", "windowsimagebackup", "dfsrprivate"),
        # indexes, thumbnails and work folders of NAS makers
        *("@eadir", "@__thumb", "@tmp", "@sharebin", "@synologydrive", "@img_bkp_cache", "@transcode"),
        # desktops and file systems
        *("lost+found", "$extend", "config.msi", "msocache", "temporary items", "cleanup at startup"),
        *("thevolumesettingsfolder", "thefindbycontentfolder"),
    }
)
"""As `enters` compares them: in lower case."""
_FOLDER_PATTERN: Final = re.compile(r"[@#]syno.*|found\.\d{3}")
_FILES: Final = frozenset({"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"})

_CONFLICT: Final = re.compile(
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
