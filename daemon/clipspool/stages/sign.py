"""Signs what was re-encoded, where a certificate is configured; a result is never lost for want of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import FileIO

import structlog

from clipspool.jobs.model import Clip, Job, Result
from clipspool.jobs.text import text
from clipspool.media.facts import MediaFault
from clipspool.media.signing import Ingredient, Signed, Signer, SigningOrder
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import folder_of
from clipspool.stages.fit import make_file
from clipspool.system.atomic import join, name_of

log = structlog.get_logger()
_GONE = "the content credentials that the provider had signed into it are gone"


@dataclass(frozen=True, slots=True)
class Signing:
    """What signs, and whether clipspool stops."""

    signer: Signer | None = None
    """None where no certificate is configured."""
    stopping: Callable[[], bool] = lambda: False


UNSIGNED = Signing()


def sign(
    made: Result,
    ingredients: Sequence[Ingredient],
    job: Job,
    clip: Clip,
    folders: Folders,
    signing: Signing,
) -> Result | MediaFault:
    """Return a re-encoded film signed, or as it is, with what became of the provider's signature.

    `made.credentials` says whether the provider had signed what it was made of. A fault is returned only
    where clipspool stops. Raises OSError.
    """
    had, why = made.credentials, ""
    if (signer := signing.signer) is not None:
        work = partial(signer.sign, stopping=signing.stopping)
        done = _signed(made, ingredients, job, clip, folders, work)
        if isinstance(done, Result):
            return done
        if done.code == "MEDIA.STOPPED":
            return done
        log.warning("not_signed", job=job.id, inbox=clip.inbox, clip=text(clip.path), why=done.message)
        why = f"not signed: {done.message}"
    said = filter(None, (_GONE if had else "", why))
    return replace(made, credentials="gone" if had else "", finished=(*made.finished, *said))


def _signed(
    made: Result,
    ingredients: Sequence[Ingredient],
    job: Job,
    clip: Clip,
    folders: Folders,
    work: Callable[[FileIO, FileIO, SigningOrder, int], Signed | MediaFault],
) -> Result | MediaFault:
    home = folder_of(clip.id)
    order = SigningOrder(text(name_of(clip.path)), made.suffix, job.request.model, made.finished, ingredients)
    name = f"{made.file.removesuffix(made.suffix)}.signed{made.suffix}"
    with folders.inbox.folder(home) as folder, folders.inbox.open(join(home, made.file)) as film:
        done = make_file(folders.inbox, join(home, name), lambda target: work(film, target, order, folder))
    if isinstance(done, MediaFault):
        return done
    signed, sha256, here = done
    folders.inbox.remove(join(home, made.file))
    kept = "; the provider's credentials are kept in them" if made.credentials else ""
    said = f"content credentials signed by {text(signed.subject)}{kept}"
    return replace(
        made,
        file=name,
        size=here.st_size,
        sha256=sha256,
        credentials="signed",
        finished=(*made.finished, said),
    )
