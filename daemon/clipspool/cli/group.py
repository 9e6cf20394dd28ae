"""The command group, and what all commands share: configuration, exit codes, questions, output."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from clipspool import __version__

if TYPE_CHECKING:
    from rich.console import Console

    from clipspool.app.settings import Needs, Settings
    from clipspool.cli.finding import Need

PIPED_WIDTH = 200
WIDE = 110
"""From so many columns on a table has room for a reason beside its other columns."""
EXIT_FAILED = 1
EXIT_CONFIG = 78
BROKEN = "{}. The running daemon goes on with what it read before."


class StillServed(Exception):
    """The configuration cannot be used, and a daemon runs that read it before it was broken."""

    def __init__(self, journal: Path) -> None:
        """Take the daemon's journal."""
        super().__init__(str(journal))
        self.journal = journal


class Context:
    """Holds the options given before a command."""

    def __init__(self, config: Path | None) -> None:
        """`config`: the file of `--config`; None searches the usual places."""
        self.config = config

    def settings(
        self,
        journal: Need,
        *,
        logged: bool = False,
        looks: bool = False,
        needs: Needs = "none",
        env: Mapping[str, str] = os.environ,
        asks_daemon: bool = False,
    ) -> Settings:
        """Read the configuration, or end with exit code 78 and one clear sentence.

        `journal`: what the command does with it; it ends with exit code 1 where that cannot be. `looks`: see
        that the folders are apart; else none is touched, so that a file server that hangs holds up no
        command. `needs`: which secrets have to be there. `env`: the environment of the one that is to run.
        `asks_daemon`: raises StillServed where a daemon that runs can do without the configuration.
        """
        from clipspool.app.settings import SettingsError, load
        from clipspool.cli import finding

        try:
            settings = load(self.config, env, looks=looks, needs=needs)
        except SettingsError as error:
            served = finding.served_journal(self.config) if asks_daemon else None
            if served is None:
                refuse(str(error))
            say(BROKEN.format(error), err=True)
            raise StillServed(served) from None
        if journal == "read":  # what only reads logs nothing, and structlog takes 0.1 s to load
            from clipspool.system.redaction import register_secret

            for secret in settings.secrets:
                register_secret(secret)
        else:
            from clipspool.system import logs

            level = settings.logs.level if logged else "error"
            logs.configure(format=settings.logs.format, level=level, secrets=settings.secrets)
        return finding.found(settings, journal)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file; default: $CLIPSPOOL_CONFIG, ./config.toml, your own, /etc/clipspool.",
)
@click.version_option(__version__, prog_name="clipspool")
@click.pass_context
def clipspool(context: click.Context, config: Path | None) -> None:
    """Spooler for AI video: drop a clip and a sidecar into a folder, get the render in another.

    Start with `clipspool demo`, or with `clipspool init` and `clipspool check`.
    """
    context.obj = Context(config)


def _remember(context: click.Context, _parameter: click.Parameter, config: Path | None) -> None:
    if config is not None:
        context.obj.config = config


config_option = click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    expose_value=False,
    callback=_remember,
    help="Configuration file.",
)


def command(
    name: str | None = None, group: click.Group | None = None
) -> Callable[[Callable[..., None]], click.Command]:
    """Add a command to a group, the main one unless another is given; `-c` is accepted after its name too."""

    def add(function: Callable[..., None]) -> click.Command:
        return (group or clipspool).command(name)(click.pass_obj(config_option(function)))

    return add


def say(text: str = "", *, err: bool = False, end: str = "\n") -> None:
    """Print a line with secrets redacted; names that are not UTF-8 are escaped."""
    from clipspool.system.redaction import redact_words

    click.echo(redact_words(text).encode("utf-8", "backslashreplace").decode() + end, err=err, nl=False)


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


def consent(question: str, *, yes: bool) -> None:
    """Ask before an action that may cost money or lose work; without a terminal `--yes` is required."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail(f"{question}\nAborted. Use --yes to skip this question.")
    if not click.confirm(question, default=False):
        fail("Aborted.")


def console() -> Console:
    """Return what output is laid out for: the terminal, or a pipe or file, which has room for long lines."""
    from rich.console import Console

    is_known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console() if is_known else Console(width=PIPED_WIDTH)


def print_json(value: Any) -> None:
    """Print JSON in ASCII, one value a line."""
    import json

    say(json.dumps(value, ensure_ascii=True))


def main() -> None:
    """Run the command; a closed pipe (`| head`) ends it quietly, a missing permission with one sentence."""
    # pydantic looks for plugins in every installed package, which takes 15 ms; the settings have none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        clipspool(prog_name="clipspool")
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(EXIT_FAILED)
    except PermissionError as error:
        fail(f"{error.filename or 'A file'}: {error.strerror}; run this as a user with the permission.")
