"""Takes a clip's work folder over from one journal for another, so that both know whose it is.

The taker claims the manifest by a rename, writes its own name into `.clipspool/taken` for the previous owner,
and only then reads the ledger and writes the manifest again.
"""

from __future__ import annotations

from clipspool.spool.layout import MANIFEST, TAKEN, claimed_manifest
from clipspool.spool.root import Root
from clipspool.spool.workfolder import MANIFEST_BYTES_MAX, Manifest, folder_of
from clipspool.system.atomic import join, open_regular, rename_new, rename_to_own, sync_folder

_NAME_BYTES_MAX = 100


def claim_manifest(root: Root, clip_id: str, owner: str, journal: str) -> bool:
    """Take a work folder from its owner for a journal; False where another was faster. Raises OSError.

    One plain rename decides: of many daemons that try, the file server lets one succeed. The manifest's new
    name has the taker's journal in it, so that after a crash it is known whose the clip is about to be.
    """
    home, own = folder_of(clip_id), claimed_manifest(journal)
    names = root.names(home)
    if own in names:
        return True
    name = MANIFEST if MANIFEST in names else claimed_manifest(owner)
    with root.folder(home) as folder:
        try:
            rename_to_own(name, folder, own, folder)
        except FileNotFoundError:
            return False
        # Durable before anything is decided by it: after a power cut the owner would have its clip back.
        sync_folder(folder)
        had = Manifest.from_toml(root.read(join(home, own), MANIFEST_BYTES_MAX)).journal
        if name == MANIFEST and had != owner:
            # Another finished its take-over since the folder was surveyed: the clip is that one's.
            rename_new(own, folder, name, folder)
            return False
    return True


def take_over(root: Root, clip_id: str, journal: str) -> None:
    """Record durably that a clip is another journal's from now on. Raises OSError."""
    root.replace(join(TAKEN, clip_id), journal.encode())


def taker_of(root: Root, clip_id: str, journal: str) -> str:
    """Return the journal that took a clip over; empty where it is still this one's. Raises OSError.

    The folder of these names is opened each time, and made where it is missing: what another machine writes
    there is visible at once then, and by the name alone only after half a minute.
    """
    with root.folder(TAKEN, make=True) as taken:
        try:
            file = open_regular(clip_id, taken)
        except FileNotFoundError:
            return ""
        with file:
            taker = file.read(_NAME_BYTES_MAX).decode("ascii", "replace")
    return "" if taker == journal else taker


def finish_take_over(root: Root, manifest: Manifest) -> None:
    """Write a claimed manifest under its usual name: the clip belongs to its journal from now on."""
    home = folder_of(manifest.clip.id)
    # In this order: without either manifest, nobody would know whose clip and whose payment this is.
    root.replace(join(home, MANIFEST), manifest.to_toml())
    root.remove(join(home, claimed_manifest(manifest.journal)))
