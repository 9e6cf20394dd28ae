"""Checks `[extra]`, which is sent unchanged: values that JSON cannot hold, and names of local files; pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from clipspool.jobs.model import Problem

_DEPTH_MAX = 20
_ADDRESS_KEY = re.compile(r"(?:.*[a-z_-])?(?:ur[il]|src|href)s?", re.IGNORECASE)
"""`uri`, `imageUri`, `image_url`: a key whose value the API fetches."""
_TEXT_KEY = re.compile(r".*(?:text|prompt|description|title|note|label)s?", re.IGNORECASE)
_ADDRESS = re.compile(r"(?:https://[^\s/]+\S*|data:\S+|runway://\S+)", re.IGNORECASE)
_SUFFIX = re.compile(
    r"[^\n]{1,255}\.(?:png|jpe?g|webp|gif|tiff?|exr|dpx|bmp|heic|avif|psd|mp4|m4v|mov|webm|mkv|avi|mxf|wav|mp3|aac|cube)",
    re.IGNORECASE,
)
_PATH = re.compile(r"(?:/|~/|\.{1,2}[/\\\\]|[A-Za-z]:[/\\\\]|\\\\\\\\|file:)[^\n]*", re.IGNORECASE)
_SHOWN_MAX = 80


def extra_problems(extra: Mapping[str, Any], ours: Mapping[str, str]) -> Iterator[Problem]:
    """Yield why `[extra]` cannot be sent; `ours` has the API's fields that have keys of their own."""
    for key, value in extra.items():
        if key in ours:
            instead = f"use the key `{ours[key]}`" if ours[key] else "it is the clip itself"
            if value == []:
                instead = "leave it out: where a model requires the list, an empty one is sent anyway"
            yield Problem(f"cannot be set through [extra]: {instead}", f"extra.{key}")
        elif wrong := no_json(value):
            yield Problem(f"cannot be sent as JSON: {wrong}", f"extra.{key}")
        else:
            yield from _addresses(value, (key,))


def _addresses(value: Any, path: tuple[str, ...]) -> Iterator[Problem]:
    """Find values that the API would have to fetch and cannot: a file's name, a path, plain http."""
    match value:
        case dict():
            for key, inner in value.items():
                yield from _addresses(inner, (*path, str(key)))
        case list() | tuple():
            for place, inner in enumerate(value):
                yield from _addresses(inner, (*path[:-1], f"{path[-1]}[{place}]"))
        case str() if wrong := _wrong(
            value, path[-1].partition("[")[0], is_keyframe=path[0].startswith("keyframes")
        ):
            yield Problem(wrong, f"extra.{'.'.join(path)}")


def _wrong(value: str, key: str, *, is_keyframe: bool) -> str:
    shown = value[:_SHOWN_MAX]
    if _ADDRESS.fullmatch(value.strip()):
        return ""
    is_address = _ADDRESS_KEY.fullmatch(key) is not None
    is_file = not _TEXT_KEY.fullmatch(key) and (_PATH.fullmatch(value) or _SUFFIX.fullmatch(value))
    if not is_address and not is_file:
        return ""
    if is_keyframe:
        return (
            f"is `{shown}`, which the provider cannot read: write a [[keyframe]] table instead, with "
            'at = "first" (or seconds) and image = "look.png", which is sent; or write an https:// address'
        )
    return (
        f"is `{shown}`, which the provider cannot read: [extra] is sent unchanged, and no file goes with "
        "it. Put the file on a web server and write its https:// address here"
    )


def no_json(value: Any, depth: int = 0) -> str:
    """Return why a TOML value cannot be written as JSON; empty when it can."""
    if depth > _DEPTH_MAX:
        return "nested too deep"
    match value:
        case None | bool() | int() | str():
            return ""
        case float():
            return "" if math.isfinite(value) else "not a finite number"
        case dict() | list() | tuple():
            inner = value.values() if isinstance(value, dict) else value
            return next((wrong for one in inner if (wrong := no_json(one, depth + 1))), "")
        case _:
            return "a date or time: write it as text in quotes"
