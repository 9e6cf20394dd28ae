"""What makes two jobs ask for the same: the clip's bytes and all that the provider is told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

from clipspool.jobs.model import Request

_NOT_TOLD = (
    "priority",
    "not_before",
    "seed_is_drawn",
    "ratio_is_chosen",
    "finish",
    "finish_size",
    "keep_untouched",
    "again",
    "was_put_back",
)
"""Keys of a request that change when it is sent, or what becomes of the result, but not what is made."""


def seedless(request: Request, source_sha256: str, images: Sequence[str]) -> str:
    """Give the fingerprint of the request as if its seed had been drawn; empty where it was.

    A provenance names the seed that was drawn: dropped again it asks for the same.
    """
    if request.seed_is_drawn:
        return ""
    return fingerprint(replace(request, seed_is_drawn=True), source_sha256, images)


def fingerprint(request: Request, source_sha256: str, images: Sequence[str]) -> str:
    """Give equal texts for equal requests; `images` are the SHA-256 of the reference files, in their order.

    A seed that was drawn is left out, and a ratio that was chosen: nobody asked for those.
    """
    asked = {key: value for key, value in request.to_dict().items() if key not in _NOT_TOLD}
    if request.seed_is_drawn:
        del asked["seed"]
    if request.ratio_is_chosen:
        del asked["ratio"]
    files = iter(images)
    asked["references"] = [one.uri or next(files) for one in request.references]
    asked["source"] = source_sha256
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
