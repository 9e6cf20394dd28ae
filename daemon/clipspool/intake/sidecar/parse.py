"""Reads a sidecar or a `_defaults.toml`: any bytes in, keys or problems out."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from typing import Any

from clipspool.intake.kinds import stem
from clipspool.intake.near import DEFAULTS, FOLDER_PROMPT, folded
from clipspool.intake.sidecar.keys import KEYS, VARIANTS_MAX, kind_of, problems_in, problems_in_matrix
from clipspool.intake.sidecar.mistakes import explain, placed
from clipspool.intake.sidecar.quote_marks import straighten
from clipspool.jobs.model import Problem
from clipspool.system.atomic import Rel, name_of, parent

_PLAIN = (
    "save it as plain text, UTF-8 (Notepad: Save as, Encoding: UTF-8; "
    "TextEdit: Format > Make Plain Text, then save)"
)
_UTF8 = 'save it as UTF-8 (Notepad: Save as, Encoding: UTF-8; TextEdit: Save, Plain Text Encoding: "UTF-8")'
_SHOWN_MAX = 60
_NULS_SHARE = 0.3
"""Share of NUL bytes at even or at odd positions above which a text is probably UTF-16."""
_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"{\\rtf", "is rich text (RTF)"),
    (b"%PDF-", "is a PDF"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is a Word document"),
    (b"bplist00", "is a web archive or another binary file"),
    (b"\x89PNG\r\n", "is a picture (PNG)"),
    (b"\xff\xd8\xff", "is a picture (JPEG)"),
    (b"GIF8", "is a picture (GIF)"),
    (b"\x1f\x8b", "is a compressed file (gzip)"),
    (b"7z\xbc\xaf\x27\x1c", "is a compressed file (7z)"),
    (b"\x7fELF", "is a program"),
    (b"MZ\x90\x00", "is a program"),
)
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body|meta|div|span|p|br|b|font)[\s>/]", re.IGNORECASE)
_XML = re.compile(rb"<\?xml\s")

BYTES_MAX = 64 << 10
_DOTS_MAX = 64
_DEEP_KEY = re.compile(
    r"""(?<![A-Za-z0-9_"'-])(?:(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){64}"""
)
_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)$")
_PROBLEMS_MAX = 20
_SETTING = re.compile(
    rf"""[{{,\s-]*(["']?)(?:{"|".join(sorted(KEYS))})\1[ \t]*[=:]
       | \[\[?(?:variant|result|extra|matrix|keyframe)\]\]?
       | \{{[ \t]*(?:["']|$)                                                # JSON with keys of its own""",
    re.IGNORECASE | re.VERBOSE,
)
"""How a line begins that is TOML, JSON or YAML instead of a prompt."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The settings in one file, or in one part of the configuration."""

    file: Rel = ""
    """The file's path relative to the inbox, or the configuration's part in words."""
    folder: Rel = ""
    """Folder that its reference paths are relative to."""
    keys: dict[str, Any] = field(default_factory=dict)
    variants: tuple[dict[str, Any], ...] = ()
    problems: tuple[Problem, ...] = ()
    text: str = field(default="", repr=False)
    """Its source, to find a key's line."""
    cuts: tuple[str, ...] = ()
    """What each of its jobs shows, in words, where it is a timeline."""


def wrong_layer(file: Rel, *problems: Problem | str) -> Layer:
    """Return the layer of a file that cannot be used."""
    each = (Problem(problem) if isinstance(problem, str) else problem for problem in problems)
    return Layer(file, problems=tuple(replace(problem, file=file) for problem in each))


def _decoded(data: bytes) -> str | Problem:
    return Problem(f"is larger than {BYTES_MAX >> 10} KiB") if len(data) > BYTES_MAX else decode(data)


def parse(data: bytes, file: Rel, *, is_own: bool = True) -> Layer:
    """Read a file; never raises. `is_own` marks a clip's own sidecar, which may hold variants."""
    text = _decoded(data)
    if isinstance(text, Problem):
        return wrong_layer(file, text)
    try:
        body, text = _load(text.replace("\r\n", "\n"))
    except _Unreadable as trouble:
        return wrong_layer(file, *trouble.problems)
    return layer_of(body, file, is_own=is_own, text=text)


def parse_prompt(data: bytes, file: Rel) -> Layer:
    """Read a `.txt` that holds only a prompt; line breaks in it become spaces. Never raises."""
    text = _decoded(data)
    if isinstance(text, Problem):
        return wrong_layer(file, text)
    lines = [line.strip() for line in text.splitlines()]
    for number, line in enumerate(lines, 1):
        if setting := _SETTING.match(line):  # it would be sent, and paid for, as if it were the prompt
            name = name_of(file)
            right = DEFAULTS if folded(name) == FOLDER_PROMPT else stem(name) + ".toml"
            reason = (
                f"`{setting[0].strip()} …` is a setting, and a `.txt` file holds only the prompt: rename it "
                f"to `{right}` if all of it is settings, else leave only the prompt in it"
            )
            return wrong_layer(file, Problem(reason, line=number))
    return layer_of({"prompt": " ".join(line for line in lines if line)}, file)


def layer_of(body: Mapping[str, Any], file: Rel, *, is_own: bool = False, text: str = "") -> Layer:
    """Check a table that was read from a file or is the configuration's `[defaults]`."""
    keys = {key: value for key, value in body.items() if key not in {"result", "variant", "matrix"}}
    variants = body.get("variant", [])
    matrix = body.get("matrix", {})
    found = list(problems_in(keys))
    if keys.get("again") and not is_own:
        # Written once for many clips, it would pay for every clip that comes a second time.
        found.append(("again", "belongs in the sidecar of a clip, not in the defaults of many"))
    if "result" in body and not isinstance(body["result"], dict):
        found.append(("result", f"has to be a table; it is {kind_of(body['result'])}"))
    if not isinstance(variants, list) or not all(isinstance(table, dict) for table in variants):
        found.append(("variant", "has to be tables, each headed `[[variant]]` with double brackets"))
        variants = []
    elif variants and not is_own:
        found.append(("variant", "belongs in the sidecar of a clip, not in the defaults of many"))
    elif len(variants) > VARIANTS_MAX:
        found.append(("variant", f"appears {len(variants)} times; {VARIANTS_MAX} is the most"))
    for number, table in enumerate(variants[:VARIANTS_MAX], 1):
        found += problems_in(table, prefix=f"variant.{number}.")
    if matrix and not is_own:
        found.append(("matrix", "belongs in the sidecar of a clip, not in the defaults of many"))
    found += [(f"matrix{'.' if key else ''}{key}", message) for key, message in problems_in_matrix(matrix)]
    if matrix and not found:
        variants, trouble = _multiplied(variants, matrix)
        found += [("matrix", trouble)] if trouble else []
    problems = tuple(replace(placed(text, key, message), file=file) for key, message in found[:_PROBLEMS_MAX])
    folder = parent(file) if text else ""
    return Layer(file, folder, {} if problems else keys, () if problems else tuple(variants), problems, text)


def _multiplied(
    variants: Sequence[Mapping[str, Any]], matrix: Mapping[str, Sequence[Any]]
) -> tuple[list[dict[str, Any]], str]:
    """Return a variant for each combination: the last key of `[matrix]` changes first; or what is too much.

    With `[[variant]]` tables each of them is combined with the whole matrix, one table after the other.
    """
    counts = [*([len(variants)] if variants else []), *map(len, matrix.values())]
    total = prod(counts)
    if total > VARIANTS_MAX:
        product_ = f"{' x '.join(map(str, counts))} = " if len(counts) > 1 else ""
        return [], f"makes {product_}{total:,} results of one clip; {VARIANTS_MAX} is the most"
    combined = [dict(zip(matrix, values, strict=True)) for values in product(*matrix.values())]
    return [{**variant, **one} for variant in variants or [{}] for one in combined], ""


class _Unreadable(Exception):
    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems[0].message)
        self.problems = problems


def _load(text: str) -> tuple[dict[str, Any], str]:
    """Read a text, with curly quotes as straight ones if it is not TOML otherwise; return both."""
    if _DEEP_KEY.search(text):  # tomllib takes quadratic time for these: 18 s for 64 KiB
        raise _Unreadable(Problem(f"has a key with more than {_DOTS_MAX} dots"))
    try:
        return tomllib.loads(text), text
    except RecursionError as error:
        raise _Unreadable(Problem("is nested too deep")) from error
    except ValueError as error:  # also an integer of more than 4,300 digits, a month 13
        straight = straighten(text)
        trouble = str(error)
    try:
        if straight != text:
            return tomllib.loads(straight), straight
    except (ValueError, RecursionError) as error:
        trouble = str(error)
    at = _AT_LINE.search(trouble)
    line = int(at[1]) if at else text.count("\n") + (not text.endswith("\n"))
    raise _Unreadable(*explain(straight, text, trouble, line))


# --- bytes to text --------------------------------------------------------------------------------------


def decode(data: bytes) -> str | Problem:
    """Decode a sidecar, a defaults file or a prompt; never raises. Line ends stay as they are.

    UTF-8 with or without a byte order mark and UTF-16 with one are text. Everything else is a problem that
    says what the file is and what to do; the caller sets its `file`.
    """
    if kind := _kind_of(data):
        return Problem(f"{kind}, not plain text; {_PLAIN}")
    if data.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return Problem(f"is saved as UTF-32; {_UTF8}")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return _without_nul(data.decode("utf-16"))
        except UnicodeDecodeError:
            return Problem(f"is saved as UTF-16 and is damaged, or was cut short; {_UTF8}")
    if _looks_like_utf16(data):
        return Problem(f"is saved as UTF-16 without its mark, so it cannot be read for certain; {_UTF8}")
    return _from_utf8(data.removeprefix(b"\xef\xbb\xbf"))


def _kind_of(data: bytes) -> str:
    """Return what a file is that is not plain text, by its first bytes; empty if it may be text."""
    for beginning, kind in _KINDS:
        if data.startswith(beginning):
            return kind
    if data.startswith(b"PK\x03\x04"):
        if b"word/" in data or b"[Content_Types].xml" in data[:200]:
            return "is a Word document"
        if data[30:38] == b"mimetype":
            return "is an OpenOffice or LibreOffice document"
        return "is a Pages document" if b".iwa" in data else "is a ZIP file or an office document"
    if data[4:8] == b"ftyp":
        return "is a video"
    first = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:100]
    return "is a web page (HTML)" if _HTML.match(first) else "is XML" if _XML.match(first) else ""


def _looks_like_utf16(data: bytes) -> bool:
    few, many = sorted((data[::2].count(0), data[1::2].count(0)))
    return len(data) > 1 and many > len(data) / 2 * _NULS_SHARE and few * 10 < many


def _from_utf8(data: bytes) -> str | Problem:
    try:
        return _without_nul(data.decode())
    except UnicodeDecodeError as error:
        # Bytes that no text in any of the usual encodings has in plenty.
        foreign = sum(byte >= 0x80 or (byte < 0x20 and byte not in b"\t\n\r\f") for byte in data)  # noqa: PLR2004
        if data.count(0) or foreign * 4 > len(data):
            return Problem(f"is not text, or is damaged; {_PLAIN}")
        number, line = _line_around(data, error.start)
        return Problem(
            f"has a letter that is not saved as UTF-8 (shown as \ufffd): `{line}`; {_UTF8}", line=number
        )


def _without_nul(text: str) -> str | Problem:
    before, nul, _ = text.partition("\0")
    if not nul:
        return text
    reason = f"contains a NUL character; it is not text, or is damaged; {_PLAIN}"
    return Problem(reason, line=before.count("\n") + 1)


def _line_around(data: bytes, position: int) -> tuple[int, str]:
    """Return number and text of the line with the first wrong byte, which is shown as U+FFFD."""
    lines = re.split(rb"\r\n|\r|\n", data[:position])
    rest = re.split(rb"[\r\n]", data[position:], maxsplit=1)[0]
    begin = lines[-1].decode(errors="replace")
    # A long beginning is shortened so that the wrong letter stays visible.
    begin = begin if len(begin) < _SHOWN_MAX else "…" + begin[-_SHOWN_MAX // 2 :]
    line = begin + rest.decode(errors="replace")
    shown = "".join(letter if letter.isprintable() else " " for letter in line[:_SHOWN_MAX]).strip()
    return len(lines), shown + ("…" if len(line) > _SHOWN_MAX else "")
