"""Explains a sidecar that is not TOML in an editor's words: each wrong line, and a right one.

A right line is only shown to the editor, never used as a setting.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace

from clipspool.intake.sidecar.examples import (
    INVISIBLE,
    bare,
    known_key,
    list_line,
    meant_key,
    quoted,
    right_line,
)
from clipspool.intake.sidecar.keys import KEYS, SUB_KEYS
from clipspool.intake.sidecar.lines import Statement, keys_with_lines, line_of, statements
from clipspool.intake.sidecar.values import (
    COLON,
    COMMENT,
    Slip,
    assignment,
    following,
    is_fine,
    with_following,
)
from clipspool.jobs.model import Problem
from clipspool.system.redaction import redact

SLIPS_MAX = 5
_SHOWN_MAX = 90
_LINES_MAX = 500
_STATEMENT_MAX = 1500
"""Characters of a statement that are examined: patterns take far longer for more; a prompt has 1,000."""
_SECTIONS = frozenset({"content_moderation", "extra", "matrix", "result"})
_REPEATED = ("variant", "keyframe")
_HEADER = re.compile(r"\s*[\[({<]+\s*([\w .-]+?)\s*[\])}>]*\s*:?\s*$")
_SEPARATED = re.compile(
    r"\s*([A-Za-z]\w*)(?:\s|&nbsp;)*(?:[;|=\uff1d\uff1a]+|,(?=\S))(?:\s|&nbsp;)*(\S.*)$", re.DOTALL
)
_WORD = re.compile(r"\s*(?:--?)?([A-Za-z][\w-]*)\s+(\S.*)$", re.DOTALL)
_ITEM = re.compile(r"\s*[-*\u2022\u2013\u2014]\s+(\S.*?)\s*$")
_TAG = re.compile(r"\s*</?[a-zA-Z!][^>]*>")
_JSON_PAIR = re.compile(r'"(\w+)"\s*:\s*("(?:[^"\\]|\\.)*"|\[[^\]]*\]|[^,}\s]+)')


def explain(text: str, written: str, trouble: str, line: int | None) -> list[Problem]:
    """Return what is wrong with a text that tomllib refused with the message `trouble` at `line`.

    `written` is the text as the editor wrote it, line by line the same.
    """
    if "\r" in text.replace("\r\n", "\n"):
        return _line_ends(text, trouble, line)
    text, lines = text.replace("\r\n", "\n"), written.replace("\r\n", "\n").split("\n")
    if whole := _whole_file(text):
        return [whole]
    found = list(_statement_slips(text, lines)) or list(_repeated(text, lines, line))
    if found:
        return found[:SLIPS_MAX]
    shown = lines[line - 1] if line is not None and 0 < line <= len(lines) else ""
    plain = "the number or date in it does not exist" if "number" in trouble else "it cannot be read"
    return [Problem(f"{plain}; each line has to be `key = value`", line=line, text=shorten(shown))]


def placed(text: str, key: str, message: str) -> Problem:
    """Return a problem with a key of a valid TOML text, with its line and a right one."""
    line = line_of(text, key)
    if line is None:
        return Problem(message, key=key)
    shown = text.split("\n")[line - 1]
    parts = key.split(".")
    if "delete the line" in message and not shown.lstrip().startswith("["):  # as in `1. prompt = "x"`
        parts = [shown.partition("=")[0].rpartition(".")[2].strip()]
        message = f"`{parts[0]}` has something in front of it: only the key belongs before the ="
        key = ""
    raw = shown.partition("=")[2].strip() if is_fine(shown) else ""
    meant = meant_key(parts[-1]) if "extra" not in parts else None
    line_for = list_line if parts[0] == "matrix" and len(parts) > 1 else right_line
    right = line_for(meant, raw) if meant is not None else ""
    if (key and right == f"{meant} = {raw}" == f"{parts[-1]} = {raw}") or "too long" in message:
        right = ""  # nothing shorter can be made up, and a value that is right by itself needs no other
    right = "" if right == shown.strip() else right
    return Problem(message, key=key, line=line, text=shorten(shown), right=redact(right))


def shorten(line: str) -> str:
    """Return a line as a note shows it: short, without invisible characters or secrets."""
    text = "".join(letter if letter.isprintable() else " " for letter in line).strip()
    text = redact(text)  # a signed address is a secret, and many people read notes
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1].rstrip() + "\u2026"


# --- the whole file -------------------------------------------------------------------------------------


def _line_ends(text: str, trouble: str, line: int | None) -> list[Problem]:
    new = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        tomllib.loads(new)
    except (ValueError, RecursionError):
        return explain(new, new, trouble, line)
    number = text.replace("\r\n", "\n").partition("\r")[0].count("\n") + 1
    reason = "its lines end as on old Macs (a bare CR); save it with line ends of Windows (CRLF) or Unix (LF)"
    return [Problem(reason, line=number)]


def _whole_file(text: str) -> Problem | None:
    """Recognise JSON, which gets one problem instead of one for each line."""
    body = text.strip()
    if not (body.startswith("{") and re.match(r'\{\s*"?\w+"?\s*:', body)):
        return None
    pairs: list[tuple[str, str]] = []
    try:
        table = json.loads(body)
        pairs = [(key, json.dumps(value, ensure_ascii=False)) for key, value in table.items()]
    except (ValueError, RecursionError, AttributeError):
        pairs = _JSON_PAIR.findall(body[:_STATEMENT_MAX])
    right = [right_line(meant_key(key) or key, value) for key, value in pairs[:SLIPS_MAX]]
    return Problem(
        "it is JSON; write each key on a line of its own, with `=` and without braces",
        line=1,
        text=shorten(body.split("\n", maxsplit=1)[0]),
        right=redact("\n".join(filter(None, right))),
    )


def _repeated(text: str, lines: list[str], line: int | None) -> Iterator[Problem]:
    """Find keys and tables that are written twice."""
    seen: dict[str, int] = {}
    for path, number in keys_with_lines(text):
        if path in seen and (line is None or number >= line - 1):
            is_header = lines[number - 1].lstrip().startswith("[")
            name = f"[{path}]" if is_header else path.rpartition(".")[2]
            yield Problem(
                f"`{name}` appears twice, on lines {seen[path]} and {number}; delete one of the two",
                line=number,
                text=shorten(lines[number - 1]),
            )
        seen.setdefault(path, number)


# --- line by line ---------------------------------------------------------------------------------------


def _statement_slips(text: str, lines: list[str]) -> Iterator[Problem]:
    whole = [one for one in statements(text) if one.line <= _LINES_MAX]
    every = [replace(one, text=_bounded(one.text)) for one in whole]
    has_prompt = any(re.match(r"\s*prompt\s*=", one.text, re.IGNORECASE) for one in every)
    at = 0
    while at < len(every):
        one = every[at]
        if is_fine(whole[at].text):
            at += 1
            continue
        found = _found(every[at:], has_prompt=has_prompt, before=every[at - 1] if at else None)
        shown = lines[one.line - 1] if one.line <= len(lines) else one.text
        yield Problem(found.message, line=one.line, text=shorten(shown), right=redact(found.right))
        at += found.lines


def _bounded(text: str) -> str:
    """Shorten a statement so that the patterns below take little time."""
    return re.sub(r"[ \t]{9,}", " ", text[: 4 * _STATEMENT_MAX])[:_STATEMENT_MAX]


def _found(rest: list[Statement], *, has_prompt: bool, before: Statement | None) -> Slip:
    """Explain the first of these statements, which is not TOML."""
    text = rest[0].text
    if odd := _odd_letter(text):
        clean = _without_odd(text)
        if is_fine(clean):
            return Slip(f"{odd}; delete it", clean.strip().split("\n", maxsplit=1)[0])
        text = clean
    first = text.split("\n", maxsplit=1)[0]
    if found := _behind_header(first):
        return found
    if found := _comment(first) or _list_items(rest) or _web_text(text):
        return found
    if (header := _HEADER.match(text)) and (found := _header(header[1], text)):
        return found
    if "=" in text and (found := assignment(text, rest)):
        return found
    if (colon := COLON.match(text)) and (key := known_key(colon[2])):
        return _colon(key, colon[3], rest)
    if (separated := _SEPARATED.match(text)) and (key := _exact(separated[1])):
        return Slip(f"write = between `{key}` and its value", right_line(key, separated[2]))
    if key := _exact(text.strip().rstrip(":")):
        return with_following(f"the = is missing between `{key}` and its value", key, "", rest)
    word = _WORD.match(text)
    is_value = word and (len(word[2].split()) == 1 or word[2][:1] in "\"'[0123456789\u201c")
    if word and is_value and (key := _exact(word[1])):
        return Slip(f"the = is missing between `{key}` and its value", right_line(key, word[2]))
    return _loose_text(rest, has_prompt=has_prompt, before=before)


def _exact(word: str) -> str | None:
    plain = word.lower().replace("-", "_")
    return plain if plain in KEYS or plain in SUB_KEYS else None


def _odd_letter(text: str) -> str:
    for position, letter in enumerate(text):
        if letter in INVISIBLE:
            beside = re.search(r"\S+", text[position + 1 :]) if text[:position].strip() == "" else None
            where = f"before `{beside[0][:20]}`" if beside else f"after `{text[:position].strip()[-20:]}`"
            return f"{INVISIBLE[letter]} (U+{ord(letter):04X}), which is invisible, is {where}"
        if ord(letter) < 0x20 and letter not in "\n\t":  # noqa: PLR2004 - where control characters end
            return f"a control character (U+{ord(letter):04X}), which is invisible, is in this line"
    return ""


def _without_odd(text: str) -> str:
    kept = (" " if letter in INVISIBLE and letter.isspace() else letter for letter in text)
    return "".join(c for c in kept if c not in INVISIBLE and (ord(c) >= 0x20 or c in "\n\t"))  # noqa: PLR2004


def _comment(line: str) -> Slip | None:
    if re.fullmatch(r"\s*(?:([-=*_~#+.\u2026\u2014])\1*|`{3,}\w*|[\[\](){}\"'`]+)\s*", line):
        return Slip("a line such as this has no meaning here; delete it", "")
    found = COMMENT.match(line)
    if found is None or (line.lstrip().startswith("--") and _exact(found[1].split(" ")[0].split("=")[0])):
        return None
    return Slip("a comment begins with #", f"# {found[1]}"[:_SHOWN_MAX])


def _list_items(rest: list[Statement]) -> Slip | None:
    """Recognise a list as YAML writes it, with its key above it if that is a mistake too."""
    key, count, items = "references", 0, []
    head = re.fullmatch(r"\s*(\w+)\s*[:=]\s*", rest[0].text)
    if head and len(rest) > 1 and _ITEM.match(rest[1].text):
        key, count = known_key(head[1]) or head[1], 1
    for one in rest[count:]:
        if (found := _ITEM.match(one.text)) is None:
            break
        items.append(found[1])
        count += 1
    if not items:
        return None
    pair = COLON.match(items[0]) or re.match(r"()(\w+)\s*=\s*(.*)", items[0])
    if count == len(items) and pair and (named := known_key(pair[2])):
        return Slip("a line begins with its key, followed by =", right_line(named, pair[3]))
    if key == "prompt":
        right = right_line(key, " ".join(items))
        return Slip("put the text in quotes, on the line of its key", right, count)
    right = right_line(key, ", ".join(bare(item) for item in items))
    return Slip("write a list in square brackets, each entry in quotes, with commas between", right, count)


def _web_text(text: str) -> Slip | None:
    if _TAG.match(text) is None:
        return None
    plain = re.sub(r"<[^>]*>", " ", text).strip()
    right = right_line("prompt", plain) if plain else ""
    return Slip("this is a piece of a web page; leave out everything in < >", right)


def _behind_header(line: str) -> Slip | None:
    """Recognise a key on the line of a table's name."""
    found = re.match(r"\s*(\[\[?\w+\]?\])\s*[,;:]?\s*(\w+)\s*[=:]\s*(\S.*)$", line)
    if found is None:
        return None
    key = known_key(found[2]) or found[2]
    return Slip("each key needs a line of its own", f"{found[1]}\n{right_line(key, found[3])}")


def _header(name: str, text: str) -> Slip | None:
    """Explain a line in brackets that does not open a table correctly."""
    if text.lstrip()[0] not in "[({<":
        return None
    plain = name.strip().lower().replace(" ", "_").replace("-", "_")
    for known in _REPEATED:
        if re.sub(r"s?_?\d*$", "", plain) == known:
            return Slip(f"each {known} begins with its name in double square brackets", f"[[{known}]]")
    if plain in _SECTIONS:
        return Slip("write the name of a table in square brackets", f"[{plain}]")
    if text.lstrip()[0] == "[" and "," not in text:
        return Slip("there are no sections here; delete this line", "")
    return None


def _colon(key: str, value: str, rest: list[Statement]) -> Slip:
    if key in _SECTIONS and not value:
        return Slip("write the name of a table in square brackets", f"[{key}]")
    if value and value not in {"|", ">", "|-", ">-"}:
        return Slip("put = after the key, not a colon", right_line(key, value))
    return with_following("put = after the key, not a colon", key, "", rest)


def _loose_text(rest: list[Statement], *, has_prompt: bool, before: Statement | None) -> Slip:
    """Explain text without a key: the prompt itself, the rest of the prompt, or a remark."""
    if not has_prompt:
        return with_following(
            "the prompt needs its key, and quotes around the text", "prompt", rest[0].text.strip(), rest
        )
    below = following(rest)
    whole = " ".join(one.text.strip() for one in (rest[0], *below))
    message, right = "if it is a remark, begin it with #", f"# {whole}"[:_SHOWN_MAX]
    if before is not None and re.match(r"\s*prompt\s*=", before.text) and is_fine(before.text):
        message = "if it belongs to the prompt, put it inside its quotes, on one line"
        right = "prompt = " + quoted(f"{tomllib.loads(before.text).get('prompt', '')} {whole}")
    return Slip(f"this is text without a key; {message}", right, 1 + len(below))
