"""Claims a clip that passed every check, exactly once, whatever happens on the way."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial

import structlog

from clipspool.intake.examine import Pairing, Ready, Unsettled
from clipspool.intake.sequences import Sequences
from clipspool.intake.settle import MTIME_NS, SIZE, stamp_of
from clipspool.intake.types import Rules
from clipspool.jobs.messages import Accepted
from clipspool.jobs.model import PICTURES_SOURCE, Clip, Job, job_id, new_id
from clipspool.jobs.nouns import replace
from clipspool.jobs.text import local_time
from clipspool.spool import claims
from clipspool.spool.claims import claim
from clipspool.spool.guard import Unavailable
from clipspool.spool.kept import Known, Memory, as_kept, claim_by_copy, kept_name
from clipspool.spool.layout import FAILED, source_name
from clipspool.spool.root import Root
from clipspool.spool.workfolder import Manifest, error_note_of, folder_of, settle_in, was_put_back
from clipspool.system.atomic import Rel, is_present, join, name_of, parent, sync_folder
from clipspool.system.moves import Unsteady
from clipspool.system.redaction import readable

log = structlog.get_logger()

_IDS_TRIED_MAX = 5
_STRAY_SECONDS = 60.0
"""A claimed file that is left this long under its hidden name, without a claim here, is put back."""


class Acceptance:
    """Claims clips of one inbox."""

    def __init__(
        self,
        root: Root,
        rules: Rules,
        now: Callable[[], float],
        origin: Root | None = None,
        may_claim: Callable[[], bool] = lambda: True,
    ) -> None:
        """`root` is where accepted clips lie, `origin` an inbox that is only read; `now` is Unix seconds.

        `may_claim` is asked right before each claim: a node that was frozen may lead its farm no more.
        """
        self._root, self._origin, self._may_claim = root, origin, may_claim
        self.memory = None if origin is None else Memory(root)
        """What was accepted from an inbox that is only read; None for any other."""
        self._now = now
        self._unsure: list[Manifest] = []
        """Claims that were cut short, so that it is unknown whether they went through."""
        self._strays: dict[Rel, float] = {}
        self._reported: set[Rel] = set()
        self.use_rules(rules)

    def use_rules(self, rules: Rules) -> None:
        """Accept by these rules from now on."""
        self._rules = rules
        self._sequences = Sequences(self._root, rules)

    def moment(self, seconds: float) -> str:
        """Return when it is in so many seconds, in local time, for people who wait for it."""
        return local_time(self._now() + seconds)

    def accept(self, ready: Ready) -> Accepted:
        """Claim a clip. Raises Unsettled, or OSError if it could not be claimed and is still in the inbox.

        Raises Known for one that was accepted before, from an inbox that is only read.
        """
        path = ready.pairing.clip
        if any(manifest.clip.path == path for manifest in self._unsure.copy()):
            raise OSError(errno.EAGAIN, "it is not known yet what became of an earlier try")
        for _ in range(_IDS_TRIED_MAX):
            manifest = self._manifest(ready)
            self._unsure.append(manifest)
            try:
                self._claim(manifest, ready)
            except Unavailable:
                raise  # `finish_claims` finds out, once the folder is back
            except FileExistsError:  # the id is another clip's, whose folder must not be touched
                self._unsure.remove(manifest)
                continue
            except (Unsettled, Known, OSError) as trouble:
                if not self._resolve(manifest):
                    if isinstance(trouble, Known):
                        self._remember(manifest)
                        raise
                    raise self._seen_as(trouble, manifest.clip) from trouble
            self._unsure.remove(manifest)
            settle_in(self._root, manifest)
            self._remember(manifest)
            return Accepted(manifest.clip, manifest.jobs)
        raise FileExistsError(f"no free name below {folder_of('')}")

    def _claim(self, manifest: Manifest, ready: Ready) -> None:
        look_last = partial(self._expect_all, ready.pairing)
        if self._origin is None:
            claim(self._root, manifest, ready.copies, claims.ClaimCalls(look_last))
        else:
            claim_by_copy(self._origin, self._root, manifest, ready.copies, look_last)

    def _remember(self, manifest: Manifest) -> None:
        if self.memory is not None:
            self.memory.add(manifest.kept)
            with suppress(OSError):  # a stale note of an earlier try harms nobody
                self._root.remove(error_note_of(join(FAILED, manifest.clip.path)))

    def _seen_as(self, trouble: Unsettled | OSError, clip: Clip) -> Unsettled | OSError:
        """Return Changed for a clip that another program moved or still writes to, else the error itself."""
        if isinstance(trouble, Unsteady):
            return Unsettled(clip.path)
        if isinstance(trouble, FileNotFoundError):
            with (
                suppress(FileNotFoundError, NotADirectoryError),
                self._watched.folder(parent(clip.path)) as fd,
            ):
                return trouble if is_present(name_of(clip.path), fd) else Unsettled(clip.path)
        return trouble

    def finish_claims(self) -> list[Accepted]:
        """Return the clips whose claim was cut short and went through. Raises Unavailable.

        One that cannot be settled now does not hold up the others: it is tried again.
        """
        accepted: list[Accepted] = []
        for manifest in self._unsure.copy():
            try:
                if self._resolve(manifest):
                    self._unsure.remove(manifest)
                    accepted.append(Accepted(manifest.clip, manifest.jobs))
            except Unavailable:
                raise
            except OSError as error:
                self._report(manifest.clip.path, error)
        return accepted

    def _resolve(self, manifest: Manifest) -> bool:
        """Finish a claim that was cut short if its clip is in work, else undo it; return which."""
        clip = manifest.clip
        home = folder_of(clip.id)
        if not claims.is_in_work(self._root, clip):
            if claims.is_claimed(self._root, clip, manifest.kept):
                claims.put_back(self._root, clip, manifest.kept)
            self._root.remove_folder(home)
            self._unsure.remove(manifest)
            return False
        claims.finish_claim(self._root, clip)
        settle_in(self._root, manifest)
        with self._root.folder(home) as folder:
            sync_folder(folder)
        return True

    def settle_strays(self, folder: Rel, names: Collection[str]) -> None:
        """Put back files with a hidden name that nobody claims. Raises Unavailable."""
        if self._origin is not None:
            return
        busy = {manifest.clip.id for manifest in self._unsure}
        now = self._now()
        for name in names:
            path = join(folder, name)
            if claims.clip_id_of(name) in busy or now - self._strays.setdefault(path, now) < _STRAY_SECONDS:
                continue
            try:
                claims.settle_stray(self._root, folder, name, self._rules.journal, now)
            except Unavailable:
                raise
            except OSError as error:
                self._report(path, error)
            self._strays[path] = now

    def _report(self, path: Rel, error: OSError) -> None:
        if path not in self._reported:
            self._reported.add(path)
            why = error.strerror or str(error)
            log.warning("claim_not_settled", inbox=self._rules.name, clip=readable(path), why=why)

    @property
    def _watched(self) -> Root:
        return self._origin or self._root

    def _expect_all(self, pairing: Pairing) -> None:
        # What is claimed now could not be recorded, and the next leader has looked for such claims already.
        if not self._may_claim():
            raise Unsettled(pairing.clip)
        # A control file may have come since the folder was listed: its clip would be paid for in part.
        if self._watched.has_any(parent(pairing.clip), map(name_of, pairing.controls)):
            raise Unsettled(pairing.clip)
        for path, stamp in pairing.stamps.items():
            with suppress(FileNotFoundError, NotADirectoryError):
                is_folder = path == pairing.clip and pairing.pictures is not None
                if stamp == (
                    self._sequences.stamp(path) if is_folder else stamp_of(self._watched.stat(path))
                ):
                    continue
            raise Unsettled(path)

    def _manifest(self, ready: Ready) -> Manifest:
        now, pairing, rules = self._now(), ready.pairing, self._rules
        is_back = self._origin is None and was_put_back(self._root, pairing.clip)
        clip = Clip(
            id=new_id(now),
            inbox=rules.name,
            path=pairing.clip,
            sidecar=pairing.sidecar,
            source=PICTURES_SOURCE if pairing.pictures is not None else source_name(pairing.clip),
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
        manifest = Manifest(clip, jobs, rules.journal, pairing.prompt)
        if self._origin is None:
            return manifest
        return as_kept(manifest, kept_name(pairing.clip, pairing.stamps))
