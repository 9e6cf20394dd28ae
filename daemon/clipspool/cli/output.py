"""What all commands print and ask, and how they end: lines, questions, JSON, exit codes."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

PIPED_WIDTH = 200
WIDE = 110
"""From this many columns on a table has room for a reason beside its other columns."""
_STEERING = re.compile("\x1b(?!\\[[0-9;]*m)|[\0-\b\v-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""All control characters but line breaks, tabs and colours."""
EXIT_FAILED = 1
EXIT_CONFIG = 78


def say(text: str = "", *, err: bool = False, end: str = "\n") -> None:
    """Print lines with secrets redacted; what is not UTF-8 is escaped, and what would steer the terminal."""
    from clipspool.system.redaction import redact_words

    text = _STEERING.sub(lambda found: ascii(found[0])[1:-1], text)
    color = False if os.environ.get("NO_COLOR") else None  # click looks only whether it is a terminal
    click.echo(utf8(redact_words(text)) + end, err=err, nl=False, color=color)


def utf8(text: str) -> str:
    """Return an argument with its bytes that are not UTF-8 escaped; without them it is the same."""
    return text.encode("utf-8", "backslashreplace").decode()


def ended(sentence: str) -> str:
    """Return a sentence with its full stop, unless it ends with a sign already."""
    return sentence if sentence.endswith((".", "?", "!")) else f"{sentence}."


def refuse(message: str) -> NoReturn:
    """Print why the configuration cannot be used, and exit with 78."""
    say(message, err=True)
    sys.exit(EXIT_CONFIG)


def fail(message: str) -> NoReturn:
    """Print why the command failed, and exit with 1."""
    say(message, err=True)
    sys.exit(EXIT_FAILED)


def ask_daemon(journal: Path, do: str, **arguments: Any) -> tuple[Any] | None:
    """Have a running daemon do something, and return its answer; None where no daemon runs.

    Raises CommandFailed where the daemon cannot do it.
    """
    from clipspool.app import control

    try:
        return (control.ask(journal, do, **arguments),)
    except control.NoDaemon:
        return None


def consent(question: str, *, yes: bool) -> None:
    """Ask before an action that may cost money or lose work; without a terminal `--yes` is required."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail(f"{question}\nAborted. Use --yes to skip this question.")
    if not click.confirm(question, default=False, err=True):  # where the output goes into a file, it is seen
        fail("Aborted.")


def console() -> Console:
    """Return what output is laid out for: the terminal, or a pipe or file, which has room for long lines."""
    from rich.console import Console

    is_known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console() if is_known else Console(width=PIPED_WIDTH)


def print_json(value: Any) -> None:
    """Print JSON in ASCII, one value a line, with secrets redacted."""
    import json

    from clipspool.system.redaction import redact_words

    line = json.dumps(value)
    if redact_words(line) != line:
        # Text by text: in the line a rule would take the sign that escapes a quote, and break the JSON.
        line = json.dumps(_redacted(value))
    click.echo(line)


def _redacted(value: Any) -> Any:
    from clipspool.system.redaction import redact_words

    match value:
        case str():
            return redact_words(value)
        case dict():
            return {redact_words(key): _redacted(below) for key, below in value.items()}
        case list() | tuple():
            return [_redacted(below) for below in value]
        case _:
            return value
