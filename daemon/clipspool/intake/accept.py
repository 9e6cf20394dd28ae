"""Turns a clip with which all is well into a claimed one, exactly once, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from clipspool.files import Rel, join, sync_folder
from clipspool.intake.examine import Changed, Pairing, Ready
from clipspool.intake.settle import MTIME_NS, SIZE, Stamp, stamp_of
from clipspool.intake.terms import Accepted, Rules
from clipspool.job import Clip, Job, job_id, new_id
from clipspool.root import Root, Unavailable
from clipspool.work import Manifest, claim, finish_claim, folder_of, source_name

_IDS_TRIED_MAX = 5


class Acceptance:
    """Claims clips of one inbox."""

    def __init__(self, root: Root, rules: Rules, now: Callable[[], float]) -> None:
        """Take the clock, in Unix seconds, that stamps clips and jobs."""
        self._root = root
        self.rules = rules
        self._now = now
        self._unsure: list[Manifest] = []

    def accept(self, ready: Ready) -> Accepted:
        """Claim a clip. Raises Changed, or OSError when it could not be taken: then it lies where it was."""
        for _ in range(_IDS_TRIED_MAX):
            manifest = self._manifest(ready)
            self._unsure.append(manifest)
            try:
                claim(self._root, manifest, ready.copies, lambda: self._expect_all(ready.pairing))
            except Unavailable:
                raise  # `make_sure` tells, once the folder is back
            except FileExistsError:  # the id is another clip's, whose folder is not ours to touch
                self._unsure.remove(manifest)
                continue
            except (Changed, OSError):
                if not self._resolve(manifest):
                    raise
            self._unsure.remove(manifest)
            return Accepted(manifest.clip, manifest.jobs)
        raise FileExistsError(f"no free name below {folder_of('')}")

    def make_sure(self) -> list[Accepted]:
        """Give the clips whose claim was cut short by a vanishing folder and went through. Raises OSError."""
        made: list[Accepted] = []
        for manifest in self._unsure.copy():
            if self._resolve(manifest):
                self._unsure.remove(manifest)
                made.append(Accepted(manifest.clip, manifest.jobs))
        return made

    def _resolve(self, manifest: Manifest) -> bool:
        """Say whether a claim that was cut short went through, and finish it; undo it where it did not."""
        home = folder_of(manifest.clip.id)
        if not self._is_claimed(manifest):
            self._root.remove_folder(home)
            self._unsure.remove(manifest)
            return False
        with suppress(OSError):  # a sidecar that cannot be moved does no harm where it lies
            finish_claim(self._root, manifest.clip)
        with self._root.folder(home) as folder:
            sync_folder(folder)
        return True

    def _is_claimed(self, manifest: Manifest) -> bool:
        return self._root.exists(join(folder_of(manifest.clip.id), manifest.clip.source))

    def _expect_all(self, pairing: Pairing) -> None:
        # A control file may have come since the folder was listed: the clip beside it would be paid in part.
        if any(self._root.exists(control) for control in pairing.controls):
            raise Changed(pairing.clip)
        self._expect(pairing.clip, pairing.stamp)
        if pairing.sidecar is not None and pairing.sidecar_stamp is not None:
            self._expect(pairing.sidecar, pairing.sidecar_stamp)

    def _expect(self, path: Rel, stamp: Stamp) -> None:
        with suppress(FileNotFoundError, NotADirectoryError):
            if stamp_of(self._root.stat(path)) == stamp:
                return
        raise Changed(path)

    def _manifest(self, ready: Ready) -> Manifest:
        now, pairing, rules = self._now(), ready.pairing, self.rules
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
                request=request,
                created_at=now,
                updated_at=now,
                priority=request.priority + rules.priority,
                due_at=max(now, request.not_before or 0.0),
            )
            for variant, request in ready.requests
        )
        return Manifest(clip, jobs, rules.journal)
