"""Writes the manual pages clipspool(1), clipspool.toml(5) and clipspool-sidecar(5) into a folder.

They are made from the commands' own help, docs/configuration.md and docs/sidecar.md:
`python docs/man.py build/man`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from clipspool import __version__
from clipspool.cli import clipspool

DOCS = Path(__file__).parent


def main(folder: Path) -> None:
    """Write all pages into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, "utf-8")


def pages() -> dict[str, str]:
    """Return the pages by their file names."""
    return {
        "clipspool.1": _commands(),
        "clipspool.toml.5": _document("clipspool.toml", "configuration of clipspool", "configuration.md"),
        "clipspool-sidecar.5": _document("clipspool-sidecar", "what to do with a clip", "sidecar.md"),
    }


def _head(name: str, section: int, what: str) -> list[str]:
    title = f'.TH "{name.upper()}" {section} "" "clipspool {__version__}"'
    return [title, ".SH NAME", f"{_text(name)} \\- {_text(what)}"]


def _commands() -> str:
    lines = _head("clipspool", 1, "a spooler for AI video")
    context = click.Context(clipspool, info_name="clipspool")
    lines += [
        ".SH SYNOPSIS",
        "\\fBclipspool\\fR [OPTIONS] COMMAND [ARGS]",
        ".SH OPTIONS",
        *_options(clipspool, context),
    ]
    lines.append(".SH COMMANDS")
    for name, command, below in _leaves(clipspool, context):
        usage = " ".join(command.collect_usage_pieces(below))
        lines += [f".SS {_text(name)} {_text(usage)}", _text(" ".join((command.help or "").split()))]
        lines += _options(command, below)
    codes = "0 done, 1 failed, 2 wrong usage, 78 the configuration cannot be used."
    return "\n".join([*lines, ".SH EXIT STATUS", codes, ".SH SEE ALSO", *_see()]) + "\n"


def _leaves(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        below = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", leaf, at) for inner, leaf, at in _leaves(command, below))
        else:
            yield name, command, below


def _options(command: click.Command, context: click.Context) -> list[str]:
    records = [one.get_help_record(context) for one in command.get_params(context)]
    return [
        line
        for record in records
        if record and record[1]
        for line in (".TP", f"\\fB{_text(record[0])}\\fR", _text(record[1]))
    ]


def _document(name: str, what: str, source: str) -> str:
    lines = [*_head(name, 5, what), ".SH DESCRIPTION"]
    text = re.sub(r"^\|.*\n(?=\|-)", "", (DOCS / source).read_text("utf-8"), flags=re.MULTILINE)
    for line in text.splitlines()[1:]:
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if line.startswith("#"):
            lines.append(f".SH {_text(line.lstrip('# '))}")
        elif line.startswith("    "):
            lines += [".nf", _text(line), ".fi"]
        elif line.startswith("- "):
            lines += [".IP \\(bu 2", _text(line[2:])]
        elif not cells:
            lines.append(_text(line.strip()) if line else ".PP")
        elif set(cells[0]) != {"-"}:
            default = f" (default {cells[1]})" if cells[2:] and cells[1] else ""
            lines += [".TP", f"\\fB{_text(cells[0])}\\fR{_text(default)}", _text(cells[-1] or "-")]
    return "\n".join([*lines, ".SH SEE ALSO", *_see()]) + "\n"


def _see() -> list[str]:
    return [".BR clipspool (1),", ".BR clipspool.toml (5),", ".BR clipspool-sidecar (5)"]


def _text(text: str) -> str:
    """Return text as roff shows it: marks of Markdown removed, its own signs escaped."""
    plain = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)
    plain = re.sub(r"\*+(\w[^*]*)\*+", r"\1", plain).replace("`", "").replace("\\|", "|")
    escaped = plain.replace("\\", "\\e").replace("-", "\\-")
    escaped = re.sub(r"[^\x00-\x7f]", lambda sign: f"\\[u{ord(sign[0]):04X}]", escaped)
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    main(Path(sys.argv[1]))
