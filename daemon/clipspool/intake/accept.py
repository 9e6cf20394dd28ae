"""Turns a clip with which all is well into a claimed one, exactly once, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace

import structlog

from clipspool.intake.examine import Changed, Pairing, Ready
from clipspool.intake.names import readable
from clipspool.intake.settle import MTIME_NS, SIZE, Stamp, stamp_of
from clipspool.intake.types import Rules
from clipspool.jobs.messages import Accepted
from clipspool.jobs.model import Clip, Job, job_id, new_id
from clipspool.spool.claims import (
    Way,
    claim,
    clip_id_of,
    finish_claim,
    is_claimed,
    is_in_work,
    put_back,
    settle_stray,
)
from clipspool.spool.root import Root, Unavailable
from clipspool.spool.workfolder import (
    Manifest,
    folder_of,
    settle_in,
    source_name,
    was_put_back,
)
from clipspool.system.atomic import Rel, join, lies, name_of, parent, sync_folder
from clipspool.system.moves import Unsteady, idle

log = structlog.get_logger()

_IDS_TRIED_MAX = 5


_STRAY_SECONDS = 60.0
"""A hidden name that lies so long, while no claim of it is under way here, is looked into."""


class Acceptance:
    """Claims clips of one inbox."""

    def __init__(
        self, root: Root, rules: Rules, now: Callable[[], float], beat: Callable[[], object] = idle
    ) -> None:
        """Take the clock, in Unix seconds, that stamps clips; `beat` is called while bytes are copied."""
        self._root = root
        self.rules = rules
        self._now = now
        self._beat = beat
        self._unsure: list[Manifest] = []
        self._strays: dict[Rel, float] = {}
        self._complained: set[Rel] = set()

    def accept(self, ready: Ready) -> Accepted:
        """Claim a clip. Raises Changed, or OSError when it could not be taken: then it lies where it was."""
        for _ in range(_IDS_TRIED_MAX):
            manifest = self._manifest(ready)
            self._unsure.append(manifest)
            way = Way(lambda: self._expect_all(ready.pairing), self._beat)
            try:
                claim(self._root, manifest, ready.copies, way)
            except Unavailable:
                raise  # `make_sure` tells, once the folder is back
            except FileExistsError:  # the id is another clip's, whose folder is not ours to touch
                self._unsure.remove(manifest)
                continue
            except (Changed, OSError) as trouble:
                if not self._resolve(manifest):
                    raise self._seen_as(trouble, manifest.clip) from trouble
            self._unsure.remove(manifest)
            settle_in(self._root, manifest)
            return Accepted(manifest.clip, manifest.jobs)
        raise FileExistsError(f"no free name below {folder_of('')}")

    def _seen_as(self, trouble: Changed | OSError, clip: Clip) -> Changed | OSError:
        """Tell a clip that somebody else took, or still writes to, from one that cannot be taken."""
        if isinstance(trouble, Unsteady):
            return Changed(clip.path)
        if isinstance(trouble, FileNotFoundError):
            with suppress(FileNotFoundError, NotADirectoryError), self._root.folder(parent(clip.path)) as fd:
                return trouble if lies(name_of(clip.path), fd) else Changed(clip.path)
        return trouble

    def make_sure(self) -> list[Accepted]:
        """Give the clips whose claim was cut short and went through; raises Unavailable.

        One that cannot be settled now keeps nobody else waiting: it is tried again.
        """
        made: list[Accepted] = []
        for manifest in self._unsure.copy():
            try:
                is_made = self._resolve(manifest)
            except Unavailable:
                raise
            except OSError as error:
                self._complain(manifest.clip.path, error)
                continue
            if is_made:
                self._unsure.remove(manifest)
                made.append(Accepted(manifest.clip, manifest.jobs))
        return made

    def _resolve(self, manifest: Manifest) -> bool:
        """Say whether a claim that was cut short went through, and finish it; undo it where it did not."""
        clip = manifest.clip
        home = folder_of(clip.id)
        if not is_in_work(self._root, clip):
            if is_claimed(self._root, clip):
                put_back(self._root, clip)
            self._root.remove_folder(home)
            self._unsure.remove(manifest)
            return False
        finish_claim(self._root, clip)
        settle_in(self._root, manifest)
        with self._root.folder(home) as folder:
            sync_folder(folder)
        return True

    def settle_strays(self, folder: Rel, names: Collection[str]) -> None:
        """Put back what lies in a folder under a hidden name though nobody takes it. Raises Unavailable."""
        busy = {manifest.clip.id for manifest in self._unsure}
        now = self._now()
        for name in names:
            path = join(folder, name)
            if clip_id_of(name) in busy or now - self._strays.setdefault(path, now) < _STRAY_SECONDS:
                continue
            try:
                settle_stray(self._root, folder, name, self.rules.journal, now)
            except Unavailable:
                raise
            except OSError as error:
                self._complain(path, error)
            self._strays[path] = now

    def _complain(self, path: Rel, error: OSError) -> None:
        if path not in self._complained:
            self._complained.add(path)
            log.warning(
                "claim_not_settled",
                inbox=self.rules.name,
                clip=readable(path),
                why=error.strerror or str(error),
            )

    def _expect_all(self, pairing: Pairing) -> None:
        # A control file may have come since the folder was listed: the clip beside it would be paid in part.
        if any(self._root.exists(control) for control in pairing.controls):
            raise Changed(pairing.clip)
        for path, stamp in pairing.stamps.items():
            self._expect(path, stamp)

    def _expect(self, path: Rel, stamp: Stamp) -> None:
        with suppress(FileNotFoundError, NotADirectoryError):
            if stamp_of(self._root.stat(path)) == stamp:
                return
        raise Changed(path)

    def _manifest(self, ready: Ready) -> Manifest:
        now, pairing, rules = self._now(), ready.pairing, self.rules
        is_back = was_put_back(self._root, pairing.clip)
        clip = Clip(
            id=new_id(now),
            inbox=rules.name,
            path=pairing.clip,
            sidecar=pairing.sidecar,
            source=source_name(pairing.clip),
            size=pairing.stamp[SIZE],
            mtime_ns=pairing.stamp[MTIME_NS],
            accepted_at=now,
            media=ready.media,
        )
        jobs = tuple(
            Job(
                id=job_id(clip.id, variant),
                clip_id=clip.id,
                inbox=rules.name,
                variant=variant,
                request=replace(request, was_put_back=is_back),
                created_at=now,
                updated_at=now,
                priority=request.priority + rules.priority,
                due_at=max(now, request.not_before or 0.0),
            )
            for variant, request in ready.requests
        )
        return Manifest(clip, jobs, rules.journal, pairing.prompt)
