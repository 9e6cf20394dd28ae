"""A request's fingerprint: equal where two jobs send the provider the same clip and the same request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from clipspool.jobs.model import Request
from clipspool.jobs.nouns import replace

_NOT_SENT = {"priority", "not_before", "seed_is_drawn", "ratio_is_chosen", "again", "was_put_back", "preset"}
_NOT_SENT |= {"instead_of", "finish", "finish_size", "finish_codec", "finish_timing"}
_NOT_SENT |= {"keep_untouched", "keep_parts"}
_NOT_SENT |= {"timeline", "timeline_name", "timeline_credits"}
"""Keys of a request that change when it is sent, or what becomes of the result, but not what is rendered."""


def fingerprints_alike(request: Request, source_sha256: str, images: Sequence[str]) -> tuple[str, ...]:
    """Return the fingerprints of requests that differ only in who chose the seed and the ratio.

    A provenance names the seed that was drawn and the ratio that was chosen: as a sidecar it asks for the
    same. Whether the jobs found have the same seed and ratio is still to be checked: `is_sent_alike`.
    """
    seeds = {request.seed_is_drawn, True}
    ratios = {request.ratio_is_chosen, request.ratio is not None}
    marks = [(seed, ratio) for seed in sorted(seeds) for ratio in sorted(ratios | {False})]
    as_it_is = (request.seed_is_drawn, request.ratio_is_chosen)
    return tuple(
        fingerprint(replace(request, seed_is_drawn=seed, ratio_is_chosen=ratio), source_sha256, images)
        for seed, ratio in marks
        if (seed, ratio) != as_it_is
    )


def is_sent_alike(one: Request, other: Request) -> bool:
    """Whether two requests name one ratio, and one seed unless any seed serves both."""
    is_any_seed = one.seed_is_drawn and other.seed_is_drawn
    return one.ratio == other.ratio and (one.seed == other.seed or is_any_seed)


def fingerprint(request: Request, source_sha256: str, images: Sequence[str]) -> str:
    """Return equal texts for equal requests; `images` are the SHA-256 of the reference files, in their order.

    A seed that was drawn is left out, and a ratio that was chosen: nobody asked for those.
    """
    asked = {key: value for key, value in request.to_dict().items() if key not in _NOT_SENT}
    if request.seed_is_drawn:
        del asked["seed"]
    if request.ratio_is_chosen:
        del asked["ratio"]
    files = iter(images)
    asked["references"] = [
        f"{one.at} {one.uri or next(files)}" if one.at else one.uri or next(files)
        for one in request.references
    ]
    asked["source"] = source_sha256
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
