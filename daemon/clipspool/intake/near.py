"""Compares names as people type them: near-misses of a sidecar, `_defaults.toml` or `_pause`; pure."""

from __future__ import annotations

import re
import unicodedata
from difflib import SequenceMatcher

from clipspool.intake.kinds import PARTIAL_SUFFIXES, TEXT_DISGUISES, suffix_of

DEFAULTS = "_defaults.toml"
FOLDER_PROMPT = "_prompt.txt"
PAUSE = "_pause"
SETTINGS_NAMES = frozenset({DEFAULTS, FOLDER_PROMPT})
_SETTINGS = dict.fromkeys(("defaults", "default"), DEFAULTS) | dict.fromkeys(
    ("prompt", "prompts"), FOLDER_PROMPT
)
_PAUSES = frozenset({"pause", "paused", "pausing", "pauses"})
_BARE_PAUSES = frozenset({"pause", "paused"})
"""Without the leading `_` only these count, and only as files: other words may be anything."""
_LIKENESS = 0.82
"""A name at least this similar is a misspelling: `_defauts`, `_defualts`, `_promt`."""
_LIKENESS_OF_STEMS = 0.74
"""The same for a sidecar's name, which the note only suggests: `shto.toml`."""
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), "-")
_SPACES = dict.fromkeys([0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " ")
_COPY_WORDS = "copy|kopie|copie|copia|kopia|kopi|cópia|コピー|副本|duplicate"
_COPY_MARK = re.compile(
    rf"""(?:
        [\s_.-]*\(\s*(?:\d{{1,3}}|(?:{_COPY_WORDS})(?:[\s_]*\d+)?)\s*\)   # (1), (copy)
      | \s+-\s+(?:{_COPY_WORDS})                                         # " - Copy", " - Kopie"
      | [\s_.-]+(?:{_COPY_WORDS})(?:[\s_]+\d{{1,3}})?                    # " copy", " copy 2"
      | \s*[\s_.(-]\(?[^()]*conflicted\s+copy.*                          # (anna's conflicted copy 2026-01-01)
      | [._-]sync-conflict-.*
      | \[\d{{1,3}}\]
    )$""",
    re.VERBOSE,
)
_COPY_PREFIX = re.compile(r"^(?:copy of|kopie von|copie de|copia de)\s+")
_SEPARATORS = re.compile(r"[\s_.-]+")


def folded(name: str) -> str:
    """Fold differences of letter case, of how accents are encoded (NFC), and between spaces.

    A Mac's screenshots and recordings have a narrow space before PM that nobody can type.
    """
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).translate(_SPACES)


def loose(stem: str) -> str:
    """Reduce a folded name to what remains without copy marks, with all separators alike.

    Names with the same result may be meant to be the same: `e10_shot`, `e10-shot`, `e10 shot (1)`.
    """
    stem = _plain(uncopied(stem))
    return _SEPARATORS.sub("_", stem).strip("_") or stem


def _plain(name: str) -> str:
    if name.isascii():
        return name
    return unicodedata.normalize("NFKC", name).translate(_DASHES).casefold()


def uncopied(stem: str) -> str:
    """Strip what programs add to the name of a copy: ` (1)`, ` - Copy`, `copy of `."""
    while True:
        shorter = _COPY_PREFIX.sub("", _COPY_MARK.sub("", stem))
        if shorter == stem or not shorter:
            return stem
        stem = shorter


def meant_as_sidecar(name: str) -> str | None:
    """Return the right name of a sidecar with a wrong suffix: `shot.toml` for `shot.toml.txt`."""
    inner, is_disguised = name, False
    while True:
        bare = inner.rstrip(" .")
        suffix = suffix_of(bare)
        if suffix not in TEXT_DISGUISES:
            break
        below = bare[: -len(suffix)]
        if bare == inner and suffix_of(below.rstrip(" .")) not in {".toml", ".txt"}:
            break
        inner = below if bare == inner else bare
        is_disguised = True
    return inner if is_disguised and suffix_of(inner) in {".toml", ".txt"} and inner != name else None


def meant_as_settings(name: str) -> str | None:
    """Return the settings file whose name this one nearly is; None if it is not a near-miss.

    Without the leading `_` only `defaults.toml` and `prompt.txt` themselves count, also with a dash before
    them: other words name clips.
    """
    if name[:1] not in "_dDpP -" and ord(name[0]) not in _DASHES:  # quick, for every file
        return None
    core, suffixes = _core(name)
    if not core.startswith("_"):
        right = _SETTINGS.get(core.lstrip("- "))
        return right if right is not None and suffixes[:1] == [suffix_of(right)] else None
    core = core.strip("_ .-")
    similar = (
        right
        for word, right in _SETTINGS.items()
        if core[:1] == word[:1] and SequenceMatcher(None, core, word).ratio() >= _LIKENESS
    )
    return _SETTINGS.get(core) or next(similar, None)


def is_bare_pause(name: str) -> bool:
    """Return whether a file's name is `_pause` without its `_`: `pause`, `-pause`, `Pause.txt`."""
    if name[:1] not in "pP -" and ord(name[0]) not in _DASHES:
        return False
    core, suffixes = _core(name)
    return core.lstrip("- ") in _BARE_PAUSES and suffixes in ([], [".txt"])


def is_pause(name: str) -> bool:
    """Return whether a name is `_pause` or a near-miss of it."""
    core = _core(name)[0].strip("_ .-") if name[:1] == "_" else ""
    return core in _PAUSES or sorted(core) == sorted("pause")


def _core(name: str) -> tuple[str, list[str]]:
    """Strip suffixes of texts and unfinished copies, and copy marks; return both, the last suffix first."""
    core, suffixes = _plain(folded(name)).strip(), []
    while True:
        if suffix_of(core) in {*TEXT_DISGUISES, *PARTIAL_SUFFIXES}:
            suffixes.append(suffix_of(core))
            shorter = core[: -len(suffixes[-1])].rstrip(" .")
        else:
            shorter = uncopied(core).rstrip(" .")
        if shorter == core or not shorter:
            return core, suffixes
        core = shorter


def is_typo_of(name: str, other: str) -> bool:
    """Return whether two loose names differ by a slip; names of two shots differ in a number."""
    if re.findall(r"\d+", name) != re.findall(r"\d+", other):
        return False
    return SequenceMatcher(None, name, other).ratio() >= _LIKENESS_OF_STEMS
