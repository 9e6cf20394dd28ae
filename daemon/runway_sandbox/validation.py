"""Which request bodies the API takes: pure checks, with the issues it would answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

SEED_MAX: Final = 4_294_967_295
PROMPT_UNITS_MAX: Final = 1000
KEYFRAMES_MAX: Final = 5
URL_CHARACTERS_MAX: Final = 2048

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


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing wrong with a body, as the API names it [PROVIDER 2.7]."""

    code: str
    message: str
    path: tuple[str | int, ...] = ()
    extra: tuple[tuple[str, Any], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the object that goes into `issues`."""
        return {"code": self.code, "path": list(self.path), "message": self.message, **dict(self.extra)}


@dataclass(frozen=True, slots=True)
class Create:
    """A body that passed: what the sandbox needs of it."""

    model: str
    source: str
    """The data URI, address or runway:// URI of the clip."""
    prompt: str
    seed: int | None
    references: tuple[str, ...]
    output_format: str


def check_create(
    body: object, data_uri_bytes_max: int, *, by_page: bool = False
) -> Create | tuple[Issue, ...]:
    """Check a body of `video_to_video` whose model is known [PROVIDER 2.2, 2.3].

    Unknown keys are refused and null is no value. `data_uri_bytes_max` counts the encoded URI. `by_page`
    refuses a body that lacks what the gateway's page marks required.
    """
    if not isinstance(body, dict):
        return (_type_issue((), "object", body),)
    model = body["model"]
    issues: list[Issue] = list(_unknown_keys(body, _FIELDS[model], ()))
    required = (_ON_THE_PAGE if by_page else _REQUIRED).get(model, ("videoUri",))
    issues += [_missing((name,), _KINDS.get(name, "string")) for name in required if name not in body]
    issues += _prompt_issues(body)
    if "videoUri" in body:
        issues += check_media(body["videoUri"], "video", ("videoUri",), data_uri_bytes_max)
    issues += _seed_issues(body)
    issues += _moderation_issues(body)
    issues += _choice_issues(body, model)
    issues += _reference_issues(body, data_uri_bytes_max)
    issues += _keyframe_issues(body, data_uri_bytes_max)
    if issues:
        return tuple(issues)
    guides = [*body.get("references", ()), *body.get("keyframes", ())]
    seed = body.get("seed")
    return Create(
        model=model,
        source=body["videoUri"],
        prompt=body.get("promptText", ""),
        seed=None if seed is None else int(seed),
        references=tuple(one["uri"] for one in guides),
        output_format=body.get("outputFormat", "mp4"),
    )


def _prompt_issues(body: dict[str, Any]) -> list[Issue]:
    if "promptText" not in body:
        return []
    prompt, path = body["promptText"], ("promptText",)
    if not isinstance(prompt, str):
        return [_type_issue(path, "string", prompt)]
    if not prompt:
        return [
            Issue("too_small", "Too small: expected string to have >=1 characters", path, (("minimum", 1),))
        ]
    if len(prompt.encode("utf-16-le", "surrogatepass")) // 2 > PROMPT_UNITS_MAX:
        message = f"Too big: expected string to have <={PROMPT_UNITS_MAX} characters"
        return [Issue("too_big", message, path, (("maximum", PROMPT_UNITS_MAX),))]
    return []


def _seed_issues(body: dict[str, Any]) -> list[Issue]:
    if "seed" not in body:
        return []
    seed, path = body["seed"], ("seed",)
    if isinstance(seed, bool) or not isinstance(seed, int | float):
        return [_type_issue(path, "number", seed)]
    if seed != seed // 1:
        return [
            Issue(
                "invalid_type", "Invalid input: expected int, received number", path, (("expected", "int"),)
            )
        ]
    if seed < 0:
        return [Issue("too_small", "Too small: expected number to be >=0", path, (("minimum", 0),))]
    if seed > SEED_MAX:
        return [
            Issue("too_big", f"Too big: expected number to be <={SEED_MAX}", path, (("maximum", SEED_MAX),))
        ]
    return []


def _moderation_issues(body: dict[str, Any]) -> list[Issue]:
    if "contentModeration" not in body:
        return []
    given, path = body["contentModeration"], ("contentModeration",)
    if not isinstance(given, dict):
        return [_type_issue(path, "object", given)]
    issues = list(_unknown_keys(given, {"publicFigureThreshold"}, path))
    if "publicFigureThreshold" in given:
        name = "publicFigureThreshold"
        issues += _one_of(given[name], ("auto", "low"), (*path, name))
    return issues


def _choice_issues(body: dict[str, Any], model: str) -> list[Issue]:
    issues: list[Issue] = []
    if "ratio" in body:
        if model == "gen4_aleph":
            issues += _one_of(body["ratio"], _RATIOS, ("ratio",))
        elif not isinstance(body["ratio"], str):
            issues.append(_type_issue(("ratio",), "string", body["ratio"]))
    for name, values in _VALUES.items():
        if name in body and name in _FIELDS[model]:
            issues += _one_of(body[name], values, (name,))
    if "proresProfile" in body and body.get("outputFormat") != "prores":
        message = "proresProfile is only valid when outputFormat is prores"
        issues.append(Issue("custom", message, ("proresProfile",)))
    return issues


def _reference_issues(body: dict[str, Any], data_uri_bytes_max: int) -> list[Issue]:
    if "references" not in body or body["model"] != "gen4_aleph":
        return []
    given = body["references"]
    if not isinstance(given, list):
        return [_type_issue(("references",), "array", given)]
    if len(given) > 1:
        message = "Too big: expected array to have <=1 items"
        return [Issue("too_big", message, ("references",), (("maximum", 1),))]
    issues: list[Issue] = []
    for place, one in enumerate(given):
        path = ("references", place)
        if not isinstance(one, dict):
            issues.append(_type_issue(path, "object", one))
            continue
        issues += _unknown_keys(one, {"type", "uri"}, path)
        issues += _one_of(one.get("type"), ("image",), (*path, "type"))
        issues += check_media(one.get("uri"), "image", (*path, "uri"), data_uri_bytes_max)
    return issues


def _keyframe_issues(body: dict[str, Any], data_uri_bytes_max: int) -> list[Issue]:
    if "keyframes" not in body or body["model"] != "aleph2":
        return []
    given = body["keyframes"]
    if not isinstance(given, list):
        return [_type_issue(("keyframes",), "array", given)]
    if len(given) > KEYFRAMES_MAX:
        message = f"Too big: expected array to have <={KEYFRAMES_MAX} items"
        return [Issue("too_big", message, ("keyframes",), (("maximum", KEYFRAMES_MAX),))]
    issues: list[Issue] = []
    for place, one in enumerate(given):
        path = ("keyframes", place)
        if not isinstance(one, dict):
            issues.append(_type_issue(path, "object", one))
            continue
        issues += _unknown_keys(one, {"seconds", "at", "uri", "range"}, path)
        if ("seconds" in one) == ("at" in one):
            issues.append(Issue("invalid_union", "Invalid input: expected one of seconds and at", path))
        issues += check_media(one.get("uri"), "image", (*path, "uri"), data_uri_bytes_max)
    ranged = sum(isinstance(one, dict) and "range" in one for one in given)
    if 0 < ranged < len(given):
        issues.append(Issue("custom", "All keyframes must set a range or none may", ("keyframes",)))
    return issues


def check_media(
    value: object, family: str, path: tuple[str | int, ...], data_uri_bytes_max: int
) -> list[Issue]:
    """Check an asset's URI of `family` "video" or "image" [PROVIDER 2.4]; its bytes are not looked at."""
    if not isinstance(value, str):
        return [_type_issue(path, "string", value)]
    if value.startswith("data:"):
        problem = _data_uri_problem(value, family, data_uri_bytes_max)
    elif value.startswith("runway://"):
        problem = None
    else:
        problem = _url_problem(value)
    return [Issue("custom", problem, path)] if problem else []


def _data_uri_problem(value: str, family: str, data_uri_bytes_max: int) -> str | None:
    if len(value) > data_uri_bytes_max:
        return (
            f"Data URI is too large: {len(value)} bytes encoded, at most {data_uri_bytes_max} are accepted."
        )
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
    if parts.scheme == "http" and is_loopback(host):
        return None
    if parts.scheme != "https":
        return "Invalid URL: only HTTPS URLs are accepted."
    if _is_address(host):
        return "Invalid URL: the host must be a name, not an IP address."
    return None


def is_loopback(host: str) -> bool:
    """Return whether a URL's host is this machine: a test's own file server may speak plain http."""
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _unknown_keys(given: dict[str, Any], known: set[str], path: tuple[str | int, ...]) -> list[Issue]:
    keys = [key for key in given if key not in known]
    if not keys:
        return []
    noun = "key" if len(keys) == 1 else "keys"
    named = ", ".join(f'"{key}"' for key in keys)
    return [Issue("unrecognized_keys", f"Unrecognized {noun}: {named}", path, (("keys", keys),))]


def _one_of(given: object, values: tuple[str, ...], path: tuple[str | int, ...]) -> list[Issue]:
    if isinstance(given, str) and given in values:
        return []
    named = "|".join(f'"{value}"' for value in values)
    return [
        Issue("invalid_value", f"Invalid option: expected one of {named}", path, (("values", list(values)),))
    ]


def _missing(path: tuple[str | int, ...], expected: str) -> Issue:
    message = f"Invalid input: expected {expected}, received undefined"
    return Issue("invalid_type", message, path, (("expected", expected),))


def _type_issue(path: tuple[str | int, ...], expected: str, given: object) -> Issue:
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    received = names.get(type(given), "null")
    return Issue(
        "invalid_type",
        f"Invalid input: expected {expected}, received {received}",
        path,
        (("expected", expected),),
    )
