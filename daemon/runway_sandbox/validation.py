"""Checks request bodies as the API does, and returns the issues it would answer; pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

SEED_MAX: Final = 4_294_967_295
PROMPT_UNITS_MAX: Final = 1000
KEYFRAMES_MAX: Final = 5
URL_CHARACTERS_MAX: Final = 2048
DATA_URI_BYTES_MAX: Final = 5 * 1024 * 1024
"""Length of the *encoded* data URI [PROVIDER 2.4]."""

_RATIOS: Final = (
    "1280:720", "720:1280", "1104:832", "960:960", "832:1104", "1584:672", "848:480", "640:480",
)  # fmt: skip
_FIELDS: Final = {
    "gen4_aleph": {"model", "videoUri", "promptText", "ratio", "references", "seed", "contentModeration"},
    "aleph2": {
        "model", "videoUri", "promptText", "seed", "contentModeration", "keyframes", "targetAspectRatio",
        "ratio", "outputFormat", "proresProfile",
    },
}  # fmt: skip
_REQUIRED: Final = {"gen4_aleph": ("videoUri", "promptText"), "aleph2": ("videoUri",)}
_ON_THE_PAGE: Final = {
    # The gateway's page marks all seven fields required [PROVIDER 1.1, 8]; it has none for aleph2.
    "gen4_aleph": ("videoUri", "promptText", "seed", "references", "ratio", "contentModeration"),
    "aleph2": ("videoUri", "promptText"),
}
_KINDS: Final = {"seed": "number", "references": "array", "contentModeration": "object"}
_VALUES: Final = {
    "targetAspectRatio": ("16:9", "4:3", "3:2", "1:1", "2:3", "3:4", "9:16", "21:9"),
    "outputFormat": ("mp4", "prores", "png_sequence", "sdr_rec709_10bit"),
    "proresProfile": ("422", "4444", "422 Proxy", "422 LT", "422 HQ", "4444 XQ"),
}
MEDIA_TYPES: Final = {
    "video": (
        "video/mp4", "video/webm", "video/quicktime", "video/mov", "video/ogg", "video/h264",
        "video/x-matroska", "video/matroska", "video/3gpp",
    ),
    "image": ("image/jpeg", "image/jpg", "image/png", "image/webp"),
}  # fmt: skip
_DATA_URI = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),")

Path = tuple[str | int, ...]
Check = Callable[[Any, Path], "list[Issue]"]


@dataclass(frozen=True, slots=True)
class Issue:
    """One mistake in a body, as the API names it [PROVIDER 2.7]."""

    code: str
    message: str
    path: Path = ()
    extra: tuple[tuple[str, Any], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the object that goes into `issues`."""
        return {"code": self.code, "path": list(self.path), "message": self.message, **dict(self.extra)}


@dataclass(frozen=True, slots=True)
class Create:
    """The parts of a valid body that the sandbox needs."""

    model: str
    source: str
    """The data URI, address or runway:// URI of the clip."""
    prompt: str
    seed: int | None
    output_format: str


def check_create(body: dict[str, Any], *, by_page: bool = False) -> Create | tuple[Issue, ...]:
    """Check a body of `video_to_video` whose model is known [PROVIDER 2.2, 2.3].

    Unknown keys are refused and null is no value. `by_page` refuses a body without the fields that the
    gateway's page marks required.
    """
    model = body["model"]
    issues = _unknown_keys(body, _FIELDS[model], ())
    required = (_ON_THE_PAGE if by_page else _REQUIRED)[model]
    issues += [_missing((name,), _KINDS.get(name, "string")) for name in required if name not in body]
    for name, check in _CHECKS[model].items():
        issues += check(body[name], (name,)) if name in body else []
    if "proresProfile" in body and body.get("outputFormat") != "prores":
        message = "proresProfile is only valid when outputFormat is prores"
        issues.append(Issue("custom", message, ("proresProfile",)))
    if issues:
        return tuple(issues)
    seed = body.get("seed")
    return Create(
        model=model,
        source=body["videoUri"],
        prompt=body.get("promptText", ""),
        seed=None if seed is None else int(seed),
        output_format=body.get("outputFormat", "mp4"),
    )


def _check_string(value: object, path: Path) -> list[Issue]:
    return [] if isinstance(value, str) else [_wrong_type(path, "string", value)]


def _check_prompt(prompt: Any, path: Path) -> list[Issue]:
    if issues := _check_string(prompt, path):
        return issues
    if not prompt:
        return [_issue("too_small", "Too small: expected string to have >=1 characters", path, minimum=1)]
    if len(prompt.encode("utf-16-le", "surrogatepass")) // 2 > PROMPT_UNITS_MAX:
        message = f"Too big: expected string to have <={PROMPT_UNITS_MAX} characters"
        return [_issue("too_big", message, path, maximum=PROMPT_UNITS_MAX)]
    return []


def _check_seed(seed: Any, path: Path) -> list[Issue]:
    if isinstance(seed, bool) or not isinstance(seed, int | float):
        return [_wrong_type(path, "number", seed)]
    if seed != seed // 1:
        message = "Invalid input: expected int, received number"
        return [_issue("invalid_type", message, path, expected="int")]
    if seed < 0:
        return [_issue("too_small", "Too small: expected number to be >=0", path, minimum=0)]
    if seed > SEED_MAX:
        return [_issue("too_big", f"Too big: expected number to be <={SEED_MAX}", path, maximum=SEED_MAX)]
    return []


def _check_moderation(given: Any, path: Path) -> list[Issue]:
    if not isinstance(given, dict):
        return [_wrong_type(path, "object", given)]
    name = "publicFigureThreshold"
    issues = _unknown_keys(given, {name}, path)
    return issues + (_one_of(("auto", "low"), given[name], (*path, name)) if name in given else [])


def _check_list(items_max: int, check: Check, given: Any, path: Path) -> list[Issue]:
    if not isinstance(given, list):
        return [_wrong_type(path, "array", given)]
    if len(given) > items_max:
        message = f"Too big: expected array to have <={items_max} items"
        return [_issue("too_big", message, path, maximum=items_max)]
    issues: list[Issue] = []
    for place, one in enumerate(given):
        below = (*path, place)
        issues += check(one, below) if isinstance(one, dict) else [_wrong_type(below, "object", one)]
    return issues


def _check_reference(one: Any, path: Path) -> list[Issue]:
    return [
        *_unknown_keys(one, {"type", "uri"}, path),
        *_one_of(("image",), one.get("type"), (*path, "type")),
        *_check_media("image", one.get("uri"), (*path, "uri")),
    ]


def _check_keyframe(one: Any, path: Path) -> list[Issue]:
    issues = _unknown_keys(one, {"seconds", "at", "uri", "range"}, path)
    if ("seconds" in one) == ("at" in one):
        issues.append(Issue("invalid_union", "Invalid input: expected one of seconds and at", path))
    return issues + _check_media("image", one.get("uri"), (*path, "uri"))


def _check_keyframes(given: Any, path: Path) -> list[Issue]:
    issues = _check_list(KEYFRAMES_MAX, _check_keyframe, given, path)
    frames = given if isinstance(given, list) and len(given) <= KEYFRAMES_MAX else []
    ranged = sum(isinstance(one, dict) and "range" in one for one in frames)
    if 0 < ranged < len(frames):
        issues.append(Issue("custom", "All keyframes must set a range or none may", path))
    return issues


def _check_media(family: str, value: Any, path: Path) -> list[Issue]:
    """Check an asset's URI of `family` "video" or "image" [PROVIDER 2.4], without its bytes."""
    if issues := _check_string(value, path):
        return issues
    problem = None
    if value.startswith("data:"):
        problem = _data_uri_problem(value, family)
    elif not value.startswith("runway://"):
        problem = _url_problem(value)
    return [Issue("custom", problem, path)] if problem else []


def _data_uri_problem(value: str, family: str) -> str | None:
    if len(value) > DATA_URI_BYTES_MAX:
        most = f"at most {DATA_URI_BYTES_MAX} are accepted"
        return f"Data URI is too large: {len(value)} bytes encoded, {most}."
    head = _DATA_URI.match(value[:256])
    if head is None or "base64" not in head[2].split(";"):
        return "Invalid data URI: expected data:<type>;base64,<data>."
    if head[1].lower() not in MEDIA_TYPES[family]:
        return f'Unsupported Content-Type in data URI: "{head[1]}".'
    return None


def _url_problem(value: str) -> str | None:
    if len(value) > URL_CHARACTERS_MAX:
        return f"URL is too long: at most {URL_CHARACTERS_MAX} characters are accepted."
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return "Invalid URL."
    if not host or any(character.isspace() for character in value):
        return "Invalid URL."
    try:
        is_address, is_loopback = True, ip_address(host).is_loopback
    except ValueError:
        is_address, is_loopback = False, host == "localhost"
    if parts.scheme == "http" and is_loopback:  # a test's own file server may use plain http
        return None
    if parts.scheme != "https":
        return "Invalid URL: only HTTPS URLs are accepted."
    return "Invalid URL: the host must be a name, not an IP address." if is_address else None


def _unknown_keys(given: dict[str, Any], known: set[str], path: Path) -> list[Issue]:
    keys = [key for key in given if key not in known]
    noun = "key" if len(keys) == 1 else "keys"
    named = ", ".join(f'"{key}"' for key in keys)
    return [_issue("unrecognized_keys", f"Unrecognized {noun}: {named}", path, keys=keys)] if keys else []


def _one_of(values: tuple[str, ...], given: object, path: Path) -> list[Issue]:
    if isinstance(given, str) and given in values:
        return []
    named = "|".join(f'"{value}"' for value in values)
    return [_issue("invalid_value", f"Invalid option: expected one of {named}", path, values=list(values))]


def _missing(path: Path, expected: str) -> Issue:
    message = f"Invalid input: expected {expected}, received undefined"
    return _issue("invalid_type", message, path, expected=expected)


def _wrong_type(path: Path, expected: str, given: object) -> Issue:
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    message = f"Invalid input: expected {expected}, received {names.get(type(given), 'null')}"
    return _issue("invalid_type", message, path, expected=expected)


def _issue(code: str, message: str, path: Path, **extra: Any) -> Issue:
    return Issue(code, message, path, tuple(extra.items()))


_COMMON: Final[dict[str, Check]] = {
    "promptText": _check_prompt,
    "videoUri": partial(_check_media, "video"),
    "seed": _check_seed,
    "contentModeration": _check_moderation,
}
_CHECKS: Final[dict[str, dict[str, Check]]] = {
    "gen4_aleph": {
        **_COMMON,
        "ratio": partial(_one_of, _RATIOS),
        "references": partial(_check_list, 1, _check_reference),
    },
    "aleph2": {
        **_COMMON,
        "ratio": _check_string,
        **{name: partial(_one_of, values) for name, values in _VALUES.items()},
        "keyframes": _check_keyframes,
    },
}
