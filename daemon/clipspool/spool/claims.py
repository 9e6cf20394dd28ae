"""Claims a clip for one daemon: a rename into a new work folder, else a rename in its own folder and a copy.

The daemon whose rename succeeds has the clip; that holds for any number of daemons on any file system. Where
a clip cannot be renamed into its work folder, it first gets a hidden name with its id in its own folder, and
that rename decides. After a crash at any point the clip is whole: in the inbox, under its hidden name, or in
the work folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from clipspool.jobs.model import Clip
from clipspool.jobs.naming import numbered
from clipspool.spool.guard import forgiving
from clipspool.spool.kept import forget, is_cut
from clipspool.spool.layout import LEDGER, MANIFEST, SIDECAR, WORK
from clipspool.spool.root import Root
from clipspool.spool.workfolder import Manifest, clear_away, folder_of, read_manifest
from clipspool.system.atomic import (
    CLAIMED,
    NotRegular,
    Rel,
    claimed_name,
    discard,
    is_present,
    join,
    name_of,
    parent,
    rename_new,
    rename_to_own,
    split_suffix,
    sync_and_close,
    sync_folder,
    write_all,
)
from clipspool.system.failpoint import reach
from clipspool.system.moves import How, both, copy, digest_of, idle

_DAY_SECONDS = 86_400.0
_IN = How(is_moved=True, keeps_rights=True, is_alone=True)


@dataclass(frozen=True, slots=True)
class ClaimCalls:
    """What a claim calls: `look_last` right before the rename that decides, `beat` while bytes are copied."""

    look_last: Callable[[], None] = idle
    beat: Callable[[], object] = idle


def clip_id_of(claimed: str) -> str | None:
    """Return the clip's id in a hidden name; None for any other name."""
    found = CLAIMED.fullmatch(claimed)
    return found[1] if found else None


def claim(
    root: Root, manifest: Manifest, references: Sequence[tuple[Rel, str]] = (), way: ClaimCalls | None = None
) -> None:
    """Accept a clip: its work folder first, durable, then the clip and its sidecar are moved in.

    `references` are (path in the inbox, name in the work folder): copied, not moved. `look_last` is called
    right before the clip's rename: making the folder takes a sync, and copies take their time. Raises
    FileNotFoundError where the clip or its sidecar is gone, FileExistsError where the id is in use.
    """
    way = way or ClaimCalls()
    clip = manifest.clip
    home = folder_of(clip.id)
    with root.folder(WORK, make=True) as work:
        os.mkdir(clip.id, dir_fd=work)
        with root.folder(home) as folder, root.folder(parent(clip.path)) as source:
            # Durable before the clip is here: in a work folder without a manifest nobody could recover it.
            with root.create_in(MANIFEST, folder) as file:
                write_all(file, manifest.to_toml())
                sync_and_close(file)
            root.create_in(LEDGER, folder).close()
            reach("accepting")
            for path, name in references:
                root.copy(path, root, join(home, name))
            # Copies took their time: a clip that was written to meanwhile must not be accepted.
            way.look_last()
            _bring_in(root, clip.id, clip.path, source, clip.source, folder, way)
            reach("accepted")
            if clip.sidecar is not None and parent(clip.sidecar) == parent(clip.path):
                _bring_in(root, clip.id, clip.sidecar, source, SIDECAR, folder, way)
            # The manifest's name was there before the clip's: a journaling file system has both.
            sync_folder(folder)
            sync_folder(work)


def _bring_in(
    root: Root, clip_id: str, path: Rel, source: int, to_name: str, home: int, way: ClaimCalls
) -> None:
    """Move a file or folder into a work folder, always whole; of many daemons that try, one succeeds."""
    name = name_of(path)
    try:
        rename_to_own(name, source, to_name, home)
    except OSError as error:
        if not is_present(name, source):  # another daemon has it, or it was removed
            raise
        refused = error
    else:
        return
    own, here = claimed_name(clip_id, name), parent(path) or "the inbox"
    into = f"rename from {here} into {WORK}"
    try:
        rename_to_own(name, source, own, source)
    except OSError as also:
        if not is_present(name, source):
            raise
        raise both(refused, into, also, f"rename within {here}") from also
    # Durable before the copy is: after a power cut the clip must not be here under its name and in work too.
    sync_folder(source)
    reach("claimed")
    try:
        copy(own, source, to_name, home, root.create_in, replace(_IN, beat=way.beat))
    except BaseException as also:
        # Where the original is gone already and only a later call failed, the copy is the only one left.
        if is_present(own, source):
            # It was not accepted, so it stays in the inbox: the copy goes first, or it would be in both.
            discard(to_name, home)
            _rename_back(own, source, name)
        if isinstance(also, OSError):
            raise both(refused, into, also, f"copy from {here} into {WORK}") from also
        raise


def _rename_back(own: str, folder: int, name: str) -> None:
    """Rename a claimed file to its own name again, or to a free one like it."""
    for free in numbered(*split_suffix(name)):
        with suppress(FileExistsError):
            rename_new(own, folder, free, folder)
            return
    raise FileExistsError(f"no free name like {name}")


def is_claimed(root: Root, clip: Clip, kept: str = "") -> bool:
    """Whether a clip is claimed and not in its work folder yet: under its hidden name, or only decided.

    `kept` is the name in its manifest, of a clip from an inbox that is only read.
    """
    if kept:
        return is_cut(root, clip, kept)
    with suppress(FileNotFoundError, NotADirectoryError), root.folder(parent(clip.path)) as folder:
        return is_present(claimed_name(clip.id, name_of(clip.path)), folder)
    return False


def is_in_work(root: Root, clip: Clip) -> bool:
    """Whether a clip is in its work folder."""
    with suppress(FileNotFoundError, NotADirectoryError), root.folder(folder_of(clip.id)) as folder:
        return is_present(clip.source, folder)
    return False


def put_back(root: Root, clip: Clip, kept: str = "") -> None:
    """Undo the claim of a clip that was cut short: it has its name in the inbox again. Raises OSError."""
    if kept:
        forget(root, kept)
        return
    with root.folder(parent(clip.path)) as folder:
        _rename_back(claimed_name(clip.id, name_of(clip.path)), folder, name_of(clip.path))
        sync_folder(folder)


def finish_claim(root: Root, clip: Clip) -> None:
    """Finish the claim of a clip in its work folder: remove the copied original, move the sidecar in.

    Raises OSError while a claimed original cannot be removed: the clip must not be accepted before, for it
    would be found again and paid for twice. A sidecar that cannot be moved does no harm where it is.
    """
    home = folder_of(clip.id)
    root.finish_move(clip.path, join(home, clip.source))
    _remove_copied(root, clip.id, clip.path, join(home, clip.source))
    if clip.sidecar is None:
        return
    with forgiving(OSError):
        if root.exists(join(home, SIDECAR)):
            root.finish_move(clip.sidecar, join(home, SIDECAR))
            _remove_copied(root, clip.id, clip.sidecar, join(home, SIDECAR))
            return
        with root.folder(parent(clip.sidecar)) as source, root.folder(home) as folder:
            own = claimed_name(clip.id, name_of(clip.sidecar))
            if is_present(own, source):
                copy(own, source, SIDECAR, folder, root.create_in, _IN)
            else:
                _bring_in(root, clip.id, clip.sidecar, source, SIDECAR, folder, ClaimCalls())


def _remove_copied(root: Root, clip_id: str, path: Rel, whole: Rel) -> None:
    """Remove a claimed original whose copy is whole; one that differs goes back into the inbox."""
    own = claimed_name(clip_id, name_of(path))
    with suppress(FileNotFoundError, NotADirectoryError), root.folder(parent(path)) as folder:
        if not is_present(own, folder):
            return
        with root.folder(parent(whole)) as home:
            is_same = digest_of(own, folder) == digest_of(name_of(whole), home)
        # Compared by hash: of two names for what may be two films, neither may be removed on trust.
        if is_same:
            discard(own, folder)
        else:
            _rename_back(own, folder, name_of(path))
        sync_folder(folder)


def settle_stray(root: Root, folder: Rel, claimed: str, journal: str, now: float) -> None:
    """Rename a file with a hidden name to its own again, where no daemon is about to claim it.

    That is where its work folder is gone or unreadable, or is this journal's while no claim of it is under
    way. Another journal's file is left alone; `recover` takes it over. Raises OSError.
    """
    found = CLAIMED.fullmatch(claimed)
    if found is None:
        return
    try:
        manifest = read_manifest(root, found[1])
    except (FileNotFoundError, NotADirectoryError):
        manifest = None
    except (ValueError, NotRegular):
        # It may be that of a newer clipspool, which is about to copy the clip.
        if root.names(folder_of(found[1])) and now - root.stat(join(folder, claimed)).st_ctime < _DAY_SECONDS:
            return
        manifest = None
    if manifest is not None:
        # Another daemon may be copying it at this moment: back under its name it would be paid for twice.
        if manifest.journal != journal:
            return
        if is_in_work(root, manifest.clip):
            finish_claim(root, manifest.clip)
            return
    with root.folder(folder) as fd:
        _rename_back(claimed, fd, found[2].lstrip("."))
        sync_folder(fd)
    clear_away(root, found[1])
