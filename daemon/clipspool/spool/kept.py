"""Accepts clips from an inbox that is only read (`source = "keep"`): they are copied, and remembered.

Nothing is written into such an inbox. Work folders, notes and all else of ours lie in its outbox, which is
`root` here; `origin` is the inbox. For each accepted clip `.clipspool/kept` holds a small file, named after
the clip's path, size and date and those of its sidecar. Whoever makes that file has the clip: of many daemons
one succeeds, since no file is ever replaced. It outlives the journal, so nothing is accepted twice after the
journal was lost or put back.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from io import FileIO
from typing import Any

from clipspool.jobs.model import Clip, Request
from clipspool.spool.guard import forgiving
from clipspool.spool.layout import ARRIVED, KEPT, LEDGER, MANIFEST, RETURNING, WORK
from clipspool.spool.pruning import File
from clipspool.spool.root import Root
from clipspool.spool.sources import open_source
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import Manifest, folder_of
from clipspool.system.atomic import Rel, join, rename_new, sync_folder, unlink
from clipspool.system.failpoint import reach

_MICROSECOND_NS = 1000
"""Dates are compared in microseconds: file servers differ in whether they keep finer ones."""
_ENTRY_BYTES_MAX = 64 << 10
Stamps = Mapping[Rel, Sequence[int]]
"""Size and time of the last change (in nanoseconds) of files in the inbox, by path; more is ignored."""


class Known(Exception):
    """The clip was accepted before, or by another daemon."""


def kept_name(clip: Rel, stamps: Stamps) -> str:
    """Return the name of the file that remembers a clip as it is, with its sidecar and prompt."""
    beside = {path: stamp for path, stamp in stamps.items() if path != clip}
    return f"{_key({clip: stamps[clip]}, 16)}-{_key(beside, 8)}"


def _key(stamps: Stamps, size: int) -> str:
    digest = hashlib.blake2b(digest_size=size)
    for path in sorted(stamps):
        bytes_, changed_ns = stamps[path][:2]
        digest.update(os.fsencode(path) + f"\0{bytes_}\0{changed_ns // _MICROSECOND_NS}\0".encode())
    return digest.hexdigest()


class Memory:
    """What was accepted from one inbox; for one thread, but `add` for any."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._stamp: tuple[int, ...] = ()
        self._names: frozenset[str] = frozenset()
        self._clips: set[str] = set()
        self._added: set[str] = set()

    def load(self, *, makes: bool = True) -> bool:
        """Read what is remembered, where it changed; return whether some was forgotten. Raises OSError."""
        if makes:
            self._root.make_folders(KEPT)
        with self._root.folder(KEPT) as folder:
            here = os.fstat(folder)
        stamp = (here.st_ino, here.st_mtime_ns, here.st_ctime_ns)
        if stamp == self._stamp:
            return False
        names = frozenset(self._root.names(KEPT))
        forgotten = bool((self._names | self._added) - names)
        self._stamp, self._names, self._added = stamp, names, set()
        self._clips = {name.partition("-")[0] for name in names}
        return forgotten

    def holds(self, clip: Rel, stamps: Stamps) -> bool:
        """Whether a clip was accepted as it is now, with the same sidecar or with one that is gone since."""
        name = kept_name(clip, stamps)
        is_alone = len(stamps) == 1
        return name in self._names | self._added or (is_alone and name.partition("-")[0] in self._clips)

    def add(self, name: str) -> None:
        """Remember one more."""
        self._added.add(name)
        self._clips.add(name.partition("-")[0])


def claim_by_copy(
    origin: Root, root: Root, manifest: Manifest, references: Sequence[tuple[Rel, str]], look_last: Any
) -> None:
    """Accept a clip: its copy first, whole and durable, then the file that decides, then the copy's name.

    After a crash the copy is in the work folder under its own name, and accepted; or it was not, and the
    start after it removes the rest. `look_last` is called right before the decision, and raises where the
    clip changed. Raises Known, FileExistsError where the id is in use, and OSError.
    """
    clip, home = manifest.clip, folder_of(manifest.clip.id)
    if root.exists(join(KEPT, manifest.kept)):
        raise Known(clip.path)
    if (missing := clip.size - root.space()) > 0:
        raise OSError(
            errno.ENOSPC, f"no room for its copy: {root.path} needs {missing:,} bytes more free space"
        )
    with root.folder(WORK, make=True) as work:
        os.mkdir(clip.id, dir_fd=work)
        root.create(join(home, MANIFEST), manifest.to_toml())
        root.append(join(home, LEDGER), b"")
        reach("copying")
        for path, name in references:
            origin.copy(path, root, join(home, name))
        bring_copy(origin, root, clip, ARRIVED)
        sync_folder(work)
    look_last()
    # Money: from here on no other daemon accepts the clip. A server whose answer was lost may refuse what it
    # has done, so what is in the file tells.
    about = {"clip": clip.id, "path": os.fsencode(clip.path).hex(), "at": clip.accepted_at}
    about |= {"size": clip.size, "mtime_ns": clip.mtime_ns}
    with suppress(FileExistsError):
        root.create(join(KEPT, manifest.kept), json.dumps(about).encode())
    if holder_of(root, manifest.kept) != clip.id:
        raise Known(clip.path)
    reach("remembered")
    settle_copy(root, clip, ARRIVED)
    reach("kept")


def bring_copy(origin: Root, root: Root, clip: Clip, name: str) -> None:
    """Copy a clip into its work folder, whole and durable, with its date. Raises OSError.

    Raises FileNotFoundError where it is gone, or is not the one that was accepted.
    """
    there = origin.stat(clip.path)
    if not is_as_it_was(there, clip.size, clip.mtime_ns):
        raise FileNotFoundError(errno.ENOENT, "it changed since it was accepted", clip.path)
    home = folder_of(clip.id)
    root.remove(join(home, name))
    digest = origin.copy(clip.path, root, join(home, name))
    # Size and date alone do not show it: another film would be sent in the name of the one accepted.
    if clip.sha256 not in {None, digest}:
        root.remove(join(home, name))
        raise FileNotFoundError(errno.ENOENT, "it changed since it was accepted", clip.path)
    with root.folder(home) as folder:
        os.utime(name, ns=(clip.mtime_ns, clip.mtime_ns), dir_fd=folder, follow_symlinks=False)


def return_copy(origin: Root, root: Root, clip: Clip) -> None:
    """Copy a clip that was accepted before into its work folder again. Raises OSError.

    Under another name first than a clip that arrives: its claim is not undone after a crash.
    """
    bring_copy(origin, root, clip, RETURNING)
    settle_copy(root, clip, RETURNING)


def is_unchanged(origin: Root, clip: Clip) -> bool:
    """Whether a clip lies in the inbox as it was accepted. Raises OSError."""
    there = origin.stat_if_there(clip.path)
    return there is not None and is_as_it_was(there, clip.size, clip.mtime_ns)


def open_source_of(folders: Folders, clip: Clip, request: Request) -> FileIO:
    """Open a clip: in its work folder, where it retired to, or where it stayed. Raises FileNotFoundError."""
    try:
        return open_source(folders.inbox, clip, request)
    except FileNotFoundError:
        if folders.origin is None or not is_unchanged(folders.origin, clip):
            raise
        return folders.origin.open(clip.path)


def is_as_it_was(there: os.stat_result, size: int, mtime_ns: int) -> bool:
    """Whether a file has the size and the date that a clip had."""
    return (there.st_size, there.st_mtime_ns // _MICROSECOND_NS) == (size, mtime_ns // _MICROSECOND_NS)


def settle_copy(root: Root, clip: Clip, name: str) -> None:
    """Give a copy the name of the clip in its work folder. Raises FileNotFoundError."""
    with root.folder(folder_of(clip.id)) as folder:
        rename_new(name, folder, clip.source, folder)
        sync_folder(folder)


def holder_of(root: Root, name: str) -> str:
    """Return the id of the clip that a file in `kept` is for; empty where there is none. Raises OSError."""
    return str(_entry(root, name).get("clip", ""))


def _entry(root: Root, name: str) -> dict[str, Any]:
    try:
        found = json.loads(root.read_if_there(join(KEPT, name), _ENTRY_BYTES_MAX) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def is_cut(root: Root, clip: Clip, name: str) -> bool:
    """Whether a claim was cut between its decision and its end: only then is the copy without its name."""
    return root.exists(join(folder_of(clip.id), ARRIVED)) and holder_of(root, name) == clip.id


def forget(root: Root, name: str) -> None:
    """Forget a clip, durably: it is accepted again."""
    with root.folder(KEPT) as folder:
        unlink(name, folder)
        sync_folder(folder)


def gone_since(root: Root, origin: Root, until: float) -> Iterator[File]:
    """Yield what remembers clips that were accepted by `until` and are not in the inbox any more.

    A clip that has another size or date now is another clip. Raises OSError, Unavailable among them: an
    inbox that cannot be read is not an empty one.
    """
    for name in sorted(root.names_if_there(KEPT)):
        entry = _entry(root, name)
        try:
            path = os.fsdecode(bytes.fromhex(entry["path"]))
            at, size, mtime_ns = float(entry["at"]), int(entry["size"]), int(entry["mtime_ns"])
        except (KeyError, TypeError, ValueError):
            continue
        if at > until or _is_there(origin, path, size, mtime_ns):
            continue
        there = root.stat(join(KEPT, name))
        yield File(join(KEPT, name), there.st_size, there.st_mtime_ns)


def _is_there(origin: Root, path: Rel, size: int, mtime_ns: int) -> bool:
    with forgiving(OSError, ValueError):  # closed to us, or a name that was tampered with
        there = origin.stat_if_there(path)
        return there is not None and is_as_it_was(there, size, mtime_ns)
    return True  # nothing is known of it


def as_kept(manifest: Manifest, name: str) -> Manifest:
    """Return a manifest of a clip that is kept: neither sidecar nor prompt is ever moved for it."""
    return replace(manifest, clip=replace(manifest.clip, sidecar=None), prompt=None, kept=name)
