"""What editors are told about files that are no clip and no sidecar: what it is, and what to do; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from clipspool.intake.advice import in_a_row
from clipspool.intake.kinds import PLAIN_TEXT, Sort, numbered, suffix_of
from clipspool.intake.names import TOML, TXT, readable, stem
from clipspool.intake.near import meant_as_sidecar

_NAMED_MAX = 3


@dataclass(frozen=True, slots=True)
class Found:
    """Files of one sort in a folder that are answered together."""

    sort: Sort
    names: tuple[str, ...]
    """Sorted; the first one's note tells of them all."""
    similar: str = ""
    """A clip that was perhaps meant, where the file is a prompt."""
    film: tuple[str, str] = ("", "")
    """Which film the first bytes show: the right suffix, or else its kind in words."""


def told_of(found: Found, accepted: Sequence[str]) -> str:
    """Say what files are, and what their editor can do."""
    names = found.names
    if len(names) == 1:
        return _told_of(found, accepted)
    shown = ", ".join(f"`{readable(name)}`" for name in names[:_NAMED_MAX])
    others = f" and {len(names) - _NAMED_MAX:,} more" if len(names) > _NAMED_MAX else ""
    return f"for each of the {len(names):,} files {shown}{others}: {_told_of(found, accepted)}"


def _told_of(found: Found, accepted: Sequence[str]) -> str:
    name = found.names[0]
    suffix = suffix_of(name)
    match found.sort:
        case Sort.FILM:
            return f"{_not_accepted(suffix, accepted)}: {_convert(name)}"
        case Sort.RAW:
            return (
                f"it is camera raw ({suffix}), which is no video before it is developed: export it from "
                f"DaVinci Resolve, or from the camera maker's program, as {_exported(accepted)}"
            )
        case Sort.TEXT:
            return _told_of_text(name, found.similar)
        case Sort.SIDECAR:
            right = meant_as_sidecar(name) or name
            how = (
                "rename it to"
                if suffix_of(name.rstrip(" .")) in PLAIN_TEXT
                else "save it as plain text, named"
            )
            return f"it is not read under this name: if it is a sidecar, {how} `{readable(right)}`"
        case Sort.SETTINGS:
            return (
                f"settings are read from TOML files only: write them into one with the clip's name, as in "
                f"`{readable(stem(name))}{TOML}`"
            )
        case Sort.UNKNOWN | Sort.SILENT:
            return _told_of_unknown(name, found.film, accepted)
        case (
            Sort.PICTURE
            | Sort.AUDIO
            | Sort.ARCHIVE
            | Sort.PROJECT
            | Sort.TIMELINE
            | Sort.SHORTCUT
            | Sort.DOCUMENT
        ):
            return _WORDS[found.sort].format(suffix=readable(suffix))
        case never:
            assert_never(never)


_WORDS = {
    Sort.PICTURE: (
        "it is a still picture, and no clip refers to it. As a reference image, save it as .jpg, .png or "
        '.webp and name it in the clip\'s sidecar: references = ["look.png"]'
    ),
    Sort.AUDIO: (
        "it is sound without pictures, and only video is taken: put it under its pictures in your editing "
        "program, and export that"
    ),
    Sort.ARCHIVE: "it is an archive ({suffix}): unpack it, and put its clips here",
    Sort.PROJECT: "it is the project of a program ({suffix}), not a video: export the clips from there",
    Sort.TIMELINE: "it is a timeline ({suffix}), which names clips but contains none: put the clips here",
    Sort.SHORTCUT: "it is a shortcut to a file elsewhere: copy that file itself here",
    Sort.DOCUMENT: (
        "it is a document ({suffix}), which is not used. A prompt must be a plain text file with the clip's "
        "name: `shot.txt` for `shot.mp4`"
    ),
}


def told_of_images(names: Sequence[str]) -> str:
    """Word the note on still images to which no clip refers."""
    image = readable(names[0])
    others = f" (so are {len(names) - 1:,} more in this folder)" if len(names) > 1 else ""
    return (
        f"it is a still image to which no clip refers{others}. To use it, name it in a clip's sidecar: "
        f'references = ["{image}"]. To keep images for later clips, put them '
        "into a folder named `refs`"
    )


def told_of_pictures(runs: Sequence[Sequence[str]]) -> str:
    """Word the note on numbered pictures, with how to make a video of them. `runs` are sorted names."""
    told = [
        f"{len(names):,} numbered pictures, `{readable(names[0])}` to `{readable(names[-1])}`"
        for names in runs
    ]
    before, number, suffix = numbered(runs[0][0]) or (runs[0][0], "", "")
    film = before.rstrip("._- ") or "shot"
    return (
        f"{'; '.join(told[:_NAMED_MAX])}: a folder of pictures is not accepted as a clip. Make a video of "
        f"them, for example: ffmpeg -framerate 24 -start_number {int(number or 0)} -i "
        f'"{readable(before)}%0{len(number)}d{suffix}" -c:v libx264 -crf 12 -pix_fmt yuv420p '
        f'"{readable(film)}.mp4"'
    )


def told_of_card(markers: Sequence[str]) -> str:
    """Word the note on the folders of a camera's card."""
    return (
        f"these are the folders of a camera's card ({', '.join(markers)}). Only clips with their own sidecar "
        "are accepted from them: move the clips that you want out, or write a sidecar for each"
    )


def told_of_bundle(name: str) -> str:
    """Word the note on a folder that is one file of some program."""
    return (
        f"it is a program's package ({suffix_of(name)}), which is not searched for clips: "
        "export the clips from that program, and put them here"
    )


def _told_of_text(name: str, similar: str) -> str:
    if similar:
        return f"no clip has its name. If it is the prompt of `{readable(similar)}`: {_for_clip(similar)}"
    return (
        f"no clip has its name. As a prompt it needs the name of its clip: `{readable(stem(name))}{TXT}` is "
        f"for a clip named `{readable(stem(name))}.mp4`. If it is not a prompt, it can stay; it is not "
        "used"
    )


def _for_clip(clip: str) -> str:
    return f"rename it to `{readable(stem(clip))}{TXT}`"


def _told_of_unknown(name: str, film: tuple[str, str], accepted: Sequence[str]) -> str:
    bare = name.rstrip(" ._")
    if bare != name and suffix_of(bare) in accepted:
        return (
            f"its name has `{readable(name[len(bare) :])}` behind the suffix: rename it to `{readable(bare)}`"
        )
    right, words = film
    if right in accepted:
        return f"it holds video, but its name does not say so: rename it to `{readable(name)}{right}`"
    if right or words:
        return f"it holds video ({words or right}), which is not accepted as a clip: {_convert(name)}"
    suffix = f" ({readable(suffix_of(name))})" if suffix_of(name) else ""
    return f"this kind of file{suffix} is unknown and not used. Accepted as clips: {in_a_row(accepted)}"


def _not_accepted(suffix: str, accepted: Sequence[str]) -> str:
    return f"{suffix} is not accepted as a clip; accepted: {in_a_row(accepted)}"


def _convert(name: str) -> str:
    shown = readable(name)
    return (
        "export it again as .mp4, or convert it, for example: "
        f'ffmpeg -i "{shown}" -c:v libx264 -crf 12 -pix_fmt yuv420p -c:a aac "{readable(stem(name))}.mp4"'
    )


def _exported(accepted: Sequence[str]) -> str:
    usual = [suffix for suffix in (".mov", ".mp4") if suffix in accepted]
    return " or ".join(usual) if usual else in_a_row(accepted)
