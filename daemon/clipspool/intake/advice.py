"""Advice for editors about sidecars: what to write beside a clip, and how to name it; pure."""

from __future__ import annotations

from collections.abc import Sequence

from clipspool.intake.kinds import PLAIN_TEXT, suffix_of
from clipspool.intake.names import TOML, TXT, readable, stem
from clipspool.intake.near import FOLDER_PROMPT, meant_as_sidecar
from clipspool.jobs.naming import NAME_BYTES_MAX

_EXAMPLE = "Turn the street into deep winter at dusk"


def did_you_mean(name: str, clip: str) -> str:
    """Return advice on a file that is perhaps a clip's sidecar under a wrong name."""
    right = meant_as_sidecar(name) or name
    suffix = TXT if suffix_of(right) != TOML else TOML
    told = f"did you mean `{readable(name)}`? It is not read under that name: "
    if suffix_of(name.rstrip(" .")) in PLAIN_TEXT:
        return f"{told}rename it to `{readable(stem(clip))}{suffix}`"
    return f"{told}save it as plain text, named `{readable(stem(clip))}{suffix}`"


def in_a_row(suffixes: Sequence[str]) -> str:
    """Name suffixes in one phrase: `.mov, .mp4 and .webm`."""
    first, last = ", ".join(suffixes[:-1]), suffixes[-1] if suffixes else ""
    return f"{first} and {last}" if first else last


def what_would_serve(clip: str) -> str:
    """Return the names that a clip's sidecar may have; one of them is enough."""
    names = [name for name in (stem(clip) + TXT, stem(clip) + TOML, clip + TOML) if _can_be_named(name)]
    if not names:
        return "its name is too long for a sidecar beside it; shorten it"
    return f"put {' or '.join(f'`{readable(name)}`' for name in names)} beside it"


def example_for(clip: str) -> str:
    """Return an example sidecar for a clip that has none."""
    text, toml = stem(clip) + TXT, stem(clip) + TOML
    lines: list[str] = []
    if _can_be_named(text):
        lines += ["Make a plain text file in this folder, named exactly", f"    {readable(text)}"]
        lines += ["that describes the change you want, for example:", f"    {_EXAMPLE}"]
    if _can_be_named(toml):
        lines += ["Or, to choose more than the prompt, make one named exactly", f"    {readable(toml)}"]
        lines += ["with lines such as:", f'    prompt = "{_EXAMPLE}"', "    seed = 42"]
    return "\n".join(lines)


def _can_be_named(name: str) -> bool:
    return len(name.encode(errors="surrogateescape")) <= NAME_BYTES_MAX


def near_miss(path: str, right: str) -> str:
    """Return advice on a file that was perhaps meant as a folder's settings."""
    what = "the prompt" if right == FOLDER_PROMPT else "settings"
    how = "rename it to" if suffix_of(path) in {*PLAIN_TEXT, ""} else "save it as plain text, named"
    return (
        f"`{readable(path)}` is not read under that name. If it holds {what} for this folder, "
        f"{how} `{right}`; if not, give it a different name, or remove it"
    )
