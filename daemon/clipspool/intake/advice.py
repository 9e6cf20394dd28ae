"""Writes the advice in problem notes: on a sidecar's name and text, on other files, on errors; pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from clipspool.intake.kinds import BUNDLES, PARTIAL_SUFFIXES, PLAIN_TEXT, Sort, sort_of, stem, suffix_of
from clipspool.intake.names import TOML, TXT, may_name_sidecar
from clipspool.intake.near import FOLDER_PROMPT, is_bare_pause, meant_as_sidecar
from clipspool.jobs.sequence import DEFAULT_RATE, KINDS
from clipspool.spool.layout import SUFFIXES
from clipspool.system.atomic import NotRegular
from clipspool.system.moves import MoveRefused
from clipspool.system.redaction import readable

HOW_TO_EXPORT = "export it as OTIO, EDL, FCP XML or FCPXML"
_EXAMPLE = "Turn the street into deep winter at dusk"
_NAMED_MAX = 3
_LISTED_MAX = 100


# --- sidecars -------------------------------------------------------------------------------------------


def did_you_mean(name: str, clip: str) -> str:
    """Return advice on a file that may be a clip's sidecar under a wrong name."""
    # A file of keys (`shot.json`, `shot.tml`) must not become a prompt: its text would be sent as it stands.
    has_keys = suffix_of(meant_as_sidecar(name) or name) == TOML or sort_of(name) is Sort.SETTINGS
    suffix = TOML if has_keys else TXT
    return (
        f"did you mean `{readable(name)}`? It is not read under that name: "
        f"{_how_to_name(name)} `{readable(stem(clip))}{suffix}`"
    )


def _how_to_name(name: str) -> str:
    is_plain = suffix_of(name.rstrip(" .")) in {*PLAIN_TEXT, *PARTIAL_SUFFIXES, ""}
    return "rename it to" if is_plain else "save it as plain text, named"


def in_a_row(suffixes: Sequence[str]) -> str:
    """Join suffixes to one phrase: `.mov, .mp4 and .webm`."""
    return " and ".join(filter(None, (", ".join(suffixes[:-1]), *suffixes[-1:])))


def what_would_serve(clip: str) -> str:
    """Return the names that a clip's sidecar may have; one of them is enough."""
    names = [name for name in (stem(clip) + TXT, stem(clip) + TOML, clip + TOML) if may_name_sidecar(name)]
    if not names:
        return "its name is too long for a sidecar beside it; shorten it"
    return f"put {' or '.join(f'`{readable(name)}`' for name in names)} beside it"


def example_for(clip: str) -> str:
    """Return an example sidecar for a clip that has none."""
    text, toml = stem(clip) + TXT, stem(clip) + TOML
    toml = toml if may_name_sidecar(toml) else clip + TOML
    lines: list[str] = []
    if may_name_sidecar(text):
        lines += ["Make a plain text file in this folder, named exactly", f"    {readable(text)}"]
        lines += ["that describes the change you want, for example:", f"    {_EXAMPLE}"]
    if may_name_sidecar(toml):
        lines += ["Or, to choose more than the prompt, make one named exactly", f"    {readable(toml)}"]
        lines += ["with lines such as:", f'    prompt = "{_EXAMPLE}"', "    seed = 42"]
    return "\n".join(lines)


def near_miss(path: str, right: str) -> str:
    """Return advice on a file that may be meant as a folder's settings."""
    return (
        f"`{readable(path)}` is not read under that name. If it holds "
        f"{'the prompt' if right == FOLDER_PROMPT else 'settings'} for this folder, "
        f"{_how_to_name(path)} `{right}`; if not, give it a different name, or remove it"
    )


# --- files that are neither clips nor sidecars ----------------------------------------------------------


LINK = ("", "link")
"""Stands for a film's kind where the name is no file at all."""


@dataclass(frozen=True, slots=True)
class Found:
    """Files of one sort in a folder that share one note."""

    sort: Sort
    names: tuple[str, ...]
    """Sorted; the note is written beside the first."""
    similar: str = ""
    """A clip that may be meant, if the file is a prompt."""
    film: tuple[str, str] = ("", "")
    """Which film the first bytes show: the right suffix, or else its kind in words."""


def about_files(found: Found, accepted: Sequence[str]) -> str:
    """Return what files are, and what their editor can do."""
    names = found.names
    if len(names) == 1:
        return _about_file(found, accepted)
    first, rest = names[:_NAMED_MAX], names[_NAMED_MAX:_LISTED_MAX]
    others = f" and {len(names) - len(first):,} more" if rest else ""
    said = f"for each of the {len(names):,} files {_in_marks(first)}{others}: {_about_file(found, accepted)}"
    unnamed = f" and {len(names) - _LISTED_MAX:,} more" if len(names) > _LISTED_MAX else ""
    return f"{said}\nThe others are {_in_marks(rest)}{unnamed}." if rest else said


def _in_marks(names: Sequence[str]) -> str:
    return ", ".join(f"`{readable(name)}`" for name in names)


def _about_file(found: Found, accepted: Sequence[str]) -> str:
    name = found.names[0]
    match found.sort:
        case Sort.TEXT:
            return _about_text(name, found.similar)
        case Sort.UNKNOWN | Sort.SILENT:
            return _about_unknown(name, found.film, accepted)
        case _:
            right = meant_as_sidecar(name) or name
            usual = [suffix for suffix in (".mov", ".mp4") if suffix in accepted]
            return _WORDS[found.sort].format(
                suffix=in_a_row(sorted({readable(suffix_of(one)) for one in found.names})),
                accepted=in_a_row(accepted),
                convert=_convert(name),
                exported=" or ".join(usual) or in_a_row(accepted),
                settings=f"`{readable(stem(name))}{TOML}`",
                sidecar=f"{_how_to_name(name)} `{readable(right)}`",
            )


_WORDS = {
    Sort.FILM: "it is video of a kind that is not accepted ({suffix}); accepted: {accepted}: {convert}",
    Sort.RAW: (
        "it is camera raw ({suffix}), which is no video before it is developed: export it from "
        "DaVinci Resolve, or from the camera maker's program, as {exported}"
    ),
    Sort.SIDECAR: "it is not read under this name: if it is a sidecar, {sidecar}",
    Sort.SETTINGS: (
        "settings are read from TOML files only: write them into one with the clip's name, as in {settings}"
    ),
    Sort.PICTURE: (
        "it is a still picture, and no clip refers to it. As a reference image, save it as .jpg, .png or "
        '.webp and name it in the clip\'s sidecar: references = ["look.png"]'
    ),
    Sort.AUDIO: (
        "it is sound without pictures, and only video is accepted: put it under its pictures in your editing "
        "program, and export that"
    ),
    Sort.ARCHIVE: "it is an archive ({suffix}): unpack it, and put its clips here",
    Sort.PROJECT: "it is the project of a program ({suffix}), not a video: export the clips from there",
    Sort.TIMELINE: f"it is a timeline of a kind that is not read ({{suffix}}): {HOW_TO_EXPORT}, and put that "
    "here instead, with its clips",
    Sort.SHORTCUT: "it is a shortcut to a file elsewhere: copy that file itself here",
    Sort.DOCUMENT: (
        "it is a document ({suffix}), which is not used. A prompt must be a plain text file with the clip's "
        "name: `shot.txt` for `shot.mp4`"
    ),
}


def _about_text(name: str, similar: str) -> str:
    if is_bare_pause(name):
        return (
            "no clip has its name, so it pauses this folder as `_pause` does: remove it to continue. If it "
            f"is a prompt, it is for a clip named `{readable(stem(name))}.mp4`"
        )
    if similar:
        return (
            f"no clip has its name. If it is the prompt of `{readable(similar)}`: "
            f"rename it to `{readable(stem(similar))}{TXT}`"
        )
    own = readable(stem(name))
    return (
        f"no clip has its name. If it is a prompt, give it the name of its clip: `{own}{TXT}` is for a "
        f"clip named `{own}.mp4`"
    )


def is_misnamed(name: str, accepted: Sequence[str]) -> bool:
    """Whether a clip's name only has a space, a dot or the like behind its suffix."""
    return _bare(name) != name and suffix_of(_bare(name)) in accepted


def _bare(name: str) -> str:
    return name.rstrip(" ._")


def _about_unknown(name: str, film: tuple[str, str], accepted: Sequence[str]) -> str:
    if film == LINK:
        return "it is a link or a device, and none is followed: put the file or folder itself here"
    if is_misnamed(name, accepted):
        bare = _bare(name)
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


def _convert(name: str) -> str:
    return (
        "export it again as .mp4, or convert it, for example: "
        f'ffmpeg -i "{readable(name)}" -c:v libx264 -crf 12 -pix_fmt yuv420p -c:a aac '
        f'"{readable(stem(name))}.mp4"'
    )


def about_images(names: Sequence[str]) -> str:
    """Return the note on still images to which no clip refers."""
    others = f" (so are {len(names) - 1:,} more in this folder)" if len(names) > 1 else ""
    return (
        f"it is a still image to which no clip refers{others}. To use it, name it in a clip's sidecar: "
        f'references = ["{readable(names[0])}"]. To keep images for later clips, put them '
        "into a folder named `refs`"
    )


def about_pictures(runs: Sequence[Sequence[str]], folder: str) -> str:
    """Return the note on numbered pictures without a sidecar; `runs` are sorted names, all in one folder.

    `folder` is its name, empty where they lie in the inbox itself.
    """
    shown = [
        f"{len(names):,} numbered pictures, `{readable(names[0])}` to `{readable(names[-1])}`"
        for names in runs[:_NAMED_MAX]
    ]
    found = "; ".join(shown)
    if not folder or len(runs) > 1 or suffix_of(runs[0][0]) not in KINDS:
        return (
            f"{found}: pictures are one clip only in a folder that holds nothing else, as PNG, JPEG, TIFF, "
            "EXR or DPX, with a sidecar of the folder's name beside it: put them into such a folder"
        )
    text, toml = f"{readable(folder)}{TXT}", f"{readable(folder)}{TOML}"
    lines = (
        f"{found}: no sidecar of the folder's name yet, so it is not taken as a clip.",
        "Folder defaults are not enough here, because the pictures may be references.",
        f"Make a plain text file beside the folder, named exactly {text}, that holds the prompt,",
        f"or one named {toml}, with:",
        f'    prompt = "{_EXAMPLE}"',
        f"    frames_per_second = {DEFAULT_RATE:g}    # this many unless you say otherwise",
    )
    return "\n".join(lines)


def about_card(markers: Sequence[str]) -> str:
    """Return the note on the folders of a camera's card."""
    return (
        f"these are the folders of a camera's card ({', '.join(markers)}). Only clips with their own sidecar "
        "are accepted from them: move the clips that you want out, or write a sidecar for each"
    )


def holding_clips(advice: str) -> str:
    """Return the advice on a timeline that is not read, and what it does to the clips beside it."""
    return f"{advice.rstrip('.')}. Meanwhile clips without a sidecar wait here and below"


def about_bundle(name: str) -> str:
    """Return the note on a folder that some program treats as a single file."""
    if suffix_of(name) in {".fcpxmld", ".otiod"}:
        inner = "Info.fcpxml" if suffix_of(name) == ".fcpxmld" else "content.otio"
        return (
            f"it is a timeline's package, which is not read: put the file `{inner}` in it here instead, with "
            "the clips that it shows (macOS: right-click, Show Package Contents)"
        )
    if suffix_of(name) not in BUNDLES:
        return (
            "an editing program keeps files of its own in a folder of this name, so it is not searched for "
            "clips: export the clips from that program, or put them into another folder"
        )
    return (
        f"it is a program's package ({suffix_of(name)}), which is not searched for clips: "
        "export the clips from that program, and put them here"
    )


# --- errors ---------------------------------------------------------------------------------------------


def in_words(error: OSError, what: str = "it") -> str:
    """Describe for its editor why a clip, or a file that belongs to it, cannot be accepted."""
    if isinstance(error, NotRegular):
        return f"{what} is not a file but a link or a device; put the file itself here"
    if isinstance(error, PermissionError):
        why = "cannot be read or moved: permission denied"
        return f"{what} {why}; let clipspool read it, and write in its folder"
    if isinstance(error, MoveRefused):
        is_at_top = "from the inbox " in str(error.strerror)
        todo = "the inbox" if is_at_top else "its folder and the inbox"
        otherwise = "" if is_at_top else ", or move it into the inbox itself"
        return f"{what} cannot be accepted ({error.strerror}); let clipspool write in {todo}{otherwise}"
    return f"{what} cannot be accepted: {(error.strerror or 'unknown error').lower()}; it will be tried again"


def subject_of(trouble: OSError, companions: Collection[str]) -> str:
    """Return which file an error is about: the clip, one of its companions, or a reference image."""
    name = trouble.filename if isinstance(trouble.filename, str) else ""
    if name in companions:
        return f"its sidecar `{readable(name)}`"
    return f"its reference image `{readable(name)}`" if name.lower().endswith(SUFFIXES) else "it"
