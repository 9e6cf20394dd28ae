"""`clipspool run` and `clipspool recover`."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING

import click

from clipspool.cli.group import Context, command
from clipspool.cli.output import EXIT_CONFIG, EXIT_FAILED, consent, fail, refuse, say

if TYPE_CHECKING:
    from clipspool.app.settings import Settings

LARGE_BYTES = 4 << 20
"""Larger than the pieces in which films are read and written."""


@command()
@click.option("--until-idle", is_flag=True, help="Exit once all remaining jobs wait for the operator.")
@click.option(
    "--accept-restored", is_flag=True, help="Submit even if the journal was restored from a backup."
)
def run(context: Context, *, until_idle: bool, accept_restored: bool) -> None:
    """Watch the inboxes and process clips, in the foreground.

    Ctrl-C and SIGTERM finish the steps under way and exit 0; SIGHUP reloads the configuration.
    """
    from clipspool.system.process import return_freed_memory, stay_on_one_processor

    # Before anything starts a thread: the folders of the settings are looked at by some.
    stay_on_one_processor()
    return_freed_memory(LARGE_BYTES, arenas=1)  # Python's lock lets one thread allocate at a time
    structlog = _lean_structlog()
    settings = context.settings("none", logged=True, looks=True, needs="paid")

    from clipspool.app import node
    from clipspool.app.build import CannotStart
    from clipspool.app.settings import SettingsError
    from clipspool.app.settings.wording import KEY_PLACES
    from clipspool.journal import JournalError
    from clipspool.system import failpoint, mounts
    from clipspool.system.logs import drop_closed_streams

    log = structlog.get_logger()
    if why := mounts.missing_proc():
        fail(why)
    _refuse_another_user(settings)
    if settings.provider.api_key is None:
        say(f"No API key: {KEY_PLACES}", err=True)
        sys.exit(EXIT_CONFIG)
    try:
        failpoint.arm()
    except failpoint.FailpointRefused as error:
        refuse(str(error))
    try:
        node.run(settings, until_idle=until_idle, accept_restored=accept_restored)
        drop_closed_streams()
    except node.Replaced as error:
        refuse(str(error))  # a restart would only take the name back from the other node
    except CannotStart as error:
        fail(str(error))
    except SettingsError:
        raise
    except JournalError as error:
        log.error("stopped_by_trouble", why=str(error))  # noqa: TRY400 - a full disk needs no trace
        sys.exit(EXIT_FAILED)
    except Exception:
        # Money: to continue after an unknown error could pay for a task that is not recorded.
        log.exception("stopped_by_trouble")
        sys.exit(EXIT_FAILED)


def _lean_structlog() -> ModuleType:
    """Load structlog without the modules that only unused features need: they take 0.1 s and 8 MB."""
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]  # for tracebacks: our lines draw them otherwise
    if "asyncio" in sys.modules:
        import structlog
    else:
        sys.modules["asyncio"] = ModuleType("asyncio")  # for loggers that are awaited: there are none
        import structlog

        del sys.modules["asyncio"]  # the page needs the real one
    return structlog


def _refuse_another_user(settings: Settings) -> None:
    """Exit where a daemon already serves the configuration, or the service or journal is another user's.

    The right user cannot change files that the wrong one creates in the journal's folder and the inboxes.
    """
    from clipspool.app.serving import refusal, user_name
    from clipspool.system.atomic import OURS
    from clipspool.system.units import unit_of

    if served := refusal(settings.file, [inbox.home / OURS for inbox in settings.inbox]):
        fail(served)
    if settings.journal_named_by == "environment" or "STATE_DIRECTORY" in os.environ:
        return
    me = user_name(os.geteuid())
    unit = None if settings.file is None else unit_of(settings.file)
    if unit is not None and unit.user != me:
        fail(
            f"{settings.file} is the configuration of {unit.name}, which runs as {unit.user}, not as {me}. "
            f"Start it with `systemctl start {unit.name.removesuffix('.service')}`."
        )
    with suppress(OSError):
        owner = settings.journal.path.stat().st_uid
        if os.geteuid() == 0 != owner:
            fail(f"The journal {settings.journal.path} belongs to {user_name(owner)}: run this as that user.")


@command()
@click.option("--from", "wanted", metavar="ID", help="Only clips of the journal whose id begins with ID.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def recover(context: Context, *, wanted: str | None, yes: bool) -> None:
    """Take over accepted clips whose journal was lost or whose machine died, from the work folders.

    Clips that were never sent are queued again, those with a task are followed, and those that may have
    been sent without an answer are in doubt. Clips of a running clipspool are left alone.
    """
    settings = context.settings("find")
    import time

    from clipspool.cli.client import OperatorCommands
    from clipspool.jobs.nouns import read
    from clipspool.jobs.records import Peer
    from clipspool.spool.takeover import chosen, listed

    with OperatorCommands(settings) as operator:
        others = [read(Peer, one) for one in operator.do("others", makes=True)]
        journals = chosen(others, wanted, time.time())
        for peer in others:
            if peer.journal in journals:
                say(listed(peer))
        left = [peer for peer in others if peer.is_living and wanted is None]
        if left:
            say("Not taken over, because their clipspool is running:")
        for peer in left:
            say(listed(peer))
        if journals:
            consent(
                "Take these clips over from the clipspool that accepted them? If it starts again, it gives "
                "them up.",
                yes=yes,
            )
        taken = operator.do("recover", makes=True, journals=list(journals))
    say(f"{taken:,} clip{'s' * (taken != 1)} taken over." if taken else "No clips to take over.")
