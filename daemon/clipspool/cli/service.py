"""`clipspool service`: installs, removes and describes the service, and has it reload its configuration."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clipspool.cli.group import Context, asks_nothing, clipspool, yes_option
from clipspool.cli.output import EXIT_FAILED, consent, fail, say

if TYPE_CHECKING:
    from clipspool.app.settings import Settings
    from clipspool.cli.installing.steps import Step

config_option = click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration that it serves; default: /etc/clipspool/config.toml.",
)
user_option = click.option(
    "--user", metavar="NAME", default="clipspool", show_default=True, help="Who runs it."
)


@clipspool.group()
def service() -> None:
    """Install, remove or inspect clipspool as a service of systemd."""


@service.command()
@config_option
@user_option
@click.option("--uid", type=click.IntRange(1, 2**31), help="The new user's id, which owns files on shares.")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A file with the API key; else $CLIPSPOOL_PROVIDER__API_KEY, or it is asked for.",
)
@yes_option
@click.pass_obj
def install(
    context: Context,
    *,
    config: Path | None,
    user: str,
    uid: int | None,
    key_file: Path | None,
    yes: bool,
) -> None:
    """Install the service: user, folders, unit, drop-in and key file; then start it.

    Each step is shown first and must be confirmed. A second run does only what is missing.
    """
    _root_and_systemd()
    from clipspool.cli.installing.steps import has_key, left_out, steps
    from clipspool.cli.installing.wish import CONFIG, Wish
    from clipspool.cli.suggestions import program

    file = _config_of(context, config)
    if not file.exists():
        fail(
            f"There is no {file}: `clipspool init /srv/clips` and "
            f"`install -D -m 644 /srv/clips/config.toml {file}` create one to start from."
        )
    wish = Wish(file, user, uid)
    settings = _settings(file, wish.state)
    count = _do(steps(wish, settings, lambda: _key(key_file, asks=not yes)), yes=yes)
    for line in left_out(wish, settings):
        say(line)
    if not has_key(wish, settings):
        say(
            "It has no API key yet and was not started. Put the key into "
            f"{wish.credential('provider_api_key')} (root only, chmod 600), then run this again."
        )
    elif not count:
        say(f"Everything is installed for {file}; nothing was changed.")
    else:
        begins = program(None if file == CONFIG else file)
        say(f"Done: `systemctl status {wish.unit}`, `{begins} status`, `{begins} check`.")


@service.command()
@config_option
@user_option
@click.option(
    "--purge", is_flag=True, help="Also remove the journal, the configuration, its key and the user."
)
@yes_option
@click.pass_obj
def remove(context: Context, *, config: Path | None, user: str, purge: bool, yes: bool) -> None:
    """Remove the service. Clips, results, configuration and journal stay."""
    _root_and_systemd()
    from clipspool.cli.installing.removal import left, removal
    from clipspool.cli.installing.wish import Wish

    wish = Wish(_config_of(context, config), user)
    count = _do(removal(wish, purges=purge), yes=yes)
    if not count:
        say(f"No service is installed for {wish.config}: nothing was changed.")
    if kept := left(wish):
        say(f"Kept: {', '.join(map(str, kept))}, and every clip and result.")


@service.command()
@config_option
@click.pass_obj
def status(context: Context, *, config: Path | None) -> None:
    """Show whether the service is installed and runs, and what keeps it from running."""
    from clipspool.app.settings import SettingsError, load
    from clipspool.cli.check.dropin import folders_of
    from clipspool.cli.installing.standing import standing
    from clipspool.cli.installing.wish import Wish

    wish = Wish(_config_of(context, config))
    folders: list[Path] = []
    trouble = ""
    try:
        folders = folders_of(load(wish.config, looks=False, needs="none"))
    except SettingsError as error:
        trouble = str(error)
    runs, lines = standing(wish, folders, trouble)
    say("\n".join(lines))
    if not runs:
        sys.exit(EXIT_FAILED)


@service.command()
@config_option
@asks_nothing
@click.pass_obj
def reload(context: Context, *, config: Path | None) -> None:
    """Reload the running daemon's configuration; fails where it cannot be applied."""
    from clipspool.app import control
    from clipspool.cli.which_journal import running

    file = _config_of(context, config)
    one = running(file)
    if one is None:
        fail(f"No running daemon serves {file}.")
    if one.journal is None:
        fail(f"{file} is served by {one}, which does not answer.")
    try:
        control.ask(one.journal, "reload")
    except control.NoDaemon:
        fail(f"{file} is served by {one}, which takes no commands yet: try again.")
    except control.CommandFailed as error:
        fail(str(error))
    say(f"{file} was reloaded.")


def _do(steps: Iterator[Step], *, yes: bool) -> int:
    """Show each step, ask, and do it; returns how many there were."""
    count = 0
    for step in steps:
        count += 1
        say(f"{step.what}:")
        say(f"  {step.how}")
        consent("Do that?", yes=yes)
        step.do()
    return count


def _root_and_systemd() -> None:
    from clipspool.cli.installing.steps import SYSTEMD

    if os.geteuid() != 0:
        fail("Only root can do that: sudo clipspool service …")
    if not SYSTEMD.is_dir():
        fail("systemd does not run here; `clipspool run` works without it.")


def _config_of(context: Context, config: Path | None) -> Path:
    from clipspool.app.settings import file_of
    from clipspool.cli.installing.wish import CONFIG

    return file_of(config or context.config or CONFIG) or CONFIG


def _settings(file: Path, state: Path) -> Settings:
    """Read the configuration as the service will: without root's own environment."""
    from clipspool.app.settings import load
    from clipspool.system.units import handed_over

    return load(file, {"STATE_DIRECTORY": str(state), **handed_over(file)}, needs="none")


def _key(file: Path | None, *, asks: bool) -> str | None:
    """Read the API key from the file or the environment, else ask for it."""
    text = file.read_text("utf-8", "replace") if file else os.environ.get("CLIPSPOOL_PROVIDER__API_KEY", "")
    if not text.strip() and asks and sys.stdin.isatty():
        text = str(click.prompt("API key (empty: later)", default="", hide_input=True, show_default=False))
    return text.strip() or None
