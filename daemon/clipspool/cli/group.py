"""The command group, and the configuration that its commands read."""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

from clipspool import __version__
from clipspool.cli.output import EXIT_FAILED, fail, refuse, say

if TYPE_CHECKING:
    from pathlib import Path

    from clipspool.app.settings import Needs, Settings
    from clipspool.cli.which_journal import Need

_STDERR = 2
BROKEN = "{}. The running daemon goes on with what it read before."


class StillServed(Exception):
    """The configuration cannot be used, and a daemon runs that read it before it was broken."""

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))
        self.journal = journal


class Context:
    """Holds the options given before a command."""

    def __init__(self, config: str | None) -> None:
        """`config`: the file of `--config`; None searches the usual places."""
        self._config = config

    @property
    def config(self) -> Path | None:
        """The file of `--config`."""
        from pathlib import Path  # `--help` can do without

        return None if self._config is None else Path(self._config)

    def use(self, config: str) -> None:
        """Take the `--config` that stands after the command's name."""
        self._config = config

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

        `journal`: what the command does with it; where that is not possible, it ends with exit code 1.
        `looks`: check that no folders overlap; without it none is touched, so that no command waits for a
        file server that hangs. `needs`: which secrets must be readable. `env`: the environment of the one
        that is to run. `asks_daemon`: raises StillServed where the running daemon can carry the command out
        without the configuration.
        """
        from clipspool.app.settings import SettingsError, load
        from clipspool.cli import which_journal

        try:
            settings = load(self.config, env, looks=looks, needs=needs)
        except SettingsError as error:
            served = which_journal.served_journal(self.config) if asks_daemon else None
            if served is None:
                refuse(str(error))
            say(BROKEN.format(error), err=True)
            raise StillServed(served) from None
        settings = which_journal.with_password(settings)
        if journal == "read":  # what only reads logs nothing, and structlog takes 0.1 s to load
            from clipspool.system.redaction import register_secret

            for secret in settings.secrets:
                register_secret(secret)
        else:
            from clipspool.system import logs

            level = settings.logs.level if logged else "error"
            logs.configure(format=settings.logs.format, level=level, secrets=settings.secrets)
        return which_journal.found(settings, journal)


_COMMANDS = {
    "again": ("again", "Run clips of ended jobs once more, changed: each gives the next version."),
    "approve": (
        "act",
        "Approve held jobs: held for price, a daily limit, as duplicate, poison, refused or from_backup.",
    ),
    "attach": ("act", "Attach the provider's task TASK_ID to an in-doubt job."),
    "backup": ("upkeep", "Copy the journal into FILE as it is at this moment, also while the daemon runs."),
    "cancel": ("act", "Cancel jobs, at the provider too where possible."),
    "check": ("setup", "Check everything needed to run, and suggest fixes. Spends nothing."),
    "choose": (
        "again",
        "Mark delivered jobs as the ones to use, of all versions and variants of their clips.",
    ),
    "demo": ("sandbox", "Run one clip through clipspool on this machine, with no API key and at no cost."),
    "farm": ("farm", "Show the nodes of the farm: who leads, and what each does."),
    "init": (
        "setup",
        "Create config.toml and example folders in DIR, or here. Existing files are never changed.",
    ),
    "jobs": ("look", "List jobs, newest first, with the reason why each waits."),
    "logs": ("logs", "Show a job's history: what happened when, how long it took, and who did it."),
    "pause": ("act", "Stop submitting, from INBOX or from all; running tasks are still followed."),
    "prune": ("upkeep", "Remove sources, posters and history that are older than [retention] keeps."),
    "recover": (
        "daemon",
        "Take over accepted clips whose journal was lost or whose machine died, from the work folders.",
    ),
    "restore": ("upkeep", "Put a backup of the journal back; the daemon has to be stopped."),
    "resume": ("act", "Resume submitting; a blocked provider is tried again at once."),
    "retry": ("act", "Run failed, cancelled or in-doubt jobs again."),
    "run": ("daemon", "Watch the inboxes and process clips, in the foreground."),
    "sandbox": (
        "sandbox",
        "Run a local stand-in for the provider's API, to try configurations and faults at no cost.",
    ),
    "service": ("service", "Install, remove or inspect clipspool as a service of systemd."),
    "show": ("look", "Show everything about one job, its history included."),
    "status": ("look", "Show what clipspool is doing, what waits, and why."),
}
"""Each command's module, and the beginning of its help: `--help` loads none of them."""


class Commands(click.Group):
    """The main group, which loads the module of a command when it is called."""

    def invoke(self, ctx: click.Context) -> None:
        """Run a command; one that cannot be carried out ends with its sentence."""
        try:
            super().invoke(ctx)
        except Exception as error:
            from clipspool.jobs.faults import OperatorError

            if not isinstance(error, OperatorError):
                raise
            say(str(error), err=True)
            sys.exit(error.exit_code)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return all names, in order."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command, or all of them where click has to say which one is meant."""
        wanted = [cmd_name] if cmd_name in _COMMANDS else _COMMANDS
        for module in {_COMMANDS[name][0] for name in wanted}:
            importlib.import_module(f"clipspool.cli.{module}")
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands as click does, without loading them."""
        room = formatter.width - 6 - max(map(len, _COMMANDS))
        with formatter.section("Commands"):
            stubs = [click.Command(name, help=text) for name, (_, text) in _COMMANDS.items()]
            formatter.write_dl([(str(one.name), one.get_short_help_str(room)) for one in stubs])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "-c",
    "--config",
    type=click.Path(dir_okay=False),
    help="Configuration file; default: $CLIPSPOOL_CONFIG, ./config.toml, your own, /etc/clipspool.",
)
@click.version_option(__version__, prog_name="clipspool")
@click.pass_context
def clipspool(context: click.Context, config: str | None) -> None:
    """Spooler for AI video: drop a clip and a sidecar into a folder, get the render in another.

    Start with `clipspool demo`, or with `clipspool init` and `clipspool check`.
    """
    context.obj = Context(config)


def _remember(context: click.Context, _parameter: click.Parameter, config: str | None) -> None:
    if config is not None:
        context.obj.use(config)


config_option = click.option(
    "-c",
    "--config",
    type=click.Path(dir_okay=False),
    expose_value=False,
    callback=_remember,
    help="Configuration file.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
asks_nothing = click.option("--yes", is_flag=True, hidden=True, expose_value=False)
"""For commands that ask nothing: a script may give `--yes` to every command that changes something."""


def command(
    name: str | None = None, group: click.Group | None = None
) -> Callable[[Callable[..., None]], click.Command]:
    """Add a command to a group, the main one unless another is given; `-c` is accepted after its name too."""

    def add(function: Callable[..., None]) -> click.Command:
        return (group or clipspool).command(name)(click.pass_obj(config_option(function)))

    return add


def main() -> None:
    """Run the command; a closed pipe (`| head`) ends it quietly.

    A missing permission ends it with one sentence, and so does a full disk, or any file that cannot be used.
    """
    _use_utf8()
    _open_standard_streams()
    # pydantic looks for plugins in every installed package, which takes 15 ms; the settings have none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        clipspool(prog_name="clipspool")
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(EXIT_FAILED)
    except PermissionError as error:
        fail(f"{error.filename or 'A file'}: {error.strerror}; run this as a user with the permission.")
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered would fail again at the end
            fail(f"{error.filename or 'The output'}: cannot be written, there is no space left.")
        if error.filename is not None:
            fail(f"{error.filename}: {error.strerror}.")
        try:
            os.getcwd()  # noqa: PTH109 - pathlib loads late
        except OSError:
            fail("The folder that you are in is gone: change into another one.")
        raise


def _use_utf8() -> None:
    """Begin again with UTF-8 for names and arguments where the locale has another encoding, such as Latin-1.

    Names in configurations, journals and on file servers are UTF-8; no such folder would be found.
    """
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        os.execv(sys.executable, [sys.orig_argv[0], "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606


def _open_standard_streams() -> None:
    """Open those of the three standard streams that the caller closed (`>&-`).

    Otherwise the next files that are opened get their numbers, and what is printed ends up in them.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(fd, True)
    os.close(fd)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(_STDERR, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # PYTHONIOENCODING may lack a name's letters
