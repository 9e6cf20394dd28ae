"""The command group, and the configuration that its commands read."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clipspool import __version__
from clipspool.cli.output import EXIT_FAILED, fail, refuse, say

if TYPE_CHECKING:
    from clipspool.app.settings import Needs, Settings
    from clipspool.cli.finding import Need

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
