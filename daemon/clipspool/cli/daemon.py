"""`clipspool run` and `clipspool recover`."""

from __future__ import annotations

import sys

import click

from clipspool.cli.group import EXIT_CONFIG, EXIT_FAILED, Context, command, consent, fail, refuse, say

LARGE_BYTES = 4 << 20
"""More than the pieces in which films are read and written."""


@command()
@click.option(
    "--until-idle", is_flag=True, help="End when nothing is left to do but what waits for a person."
)
@click.option(
    "--accept-restored", is_flag=True, help="Submit also with a journal that is an older copy, put back."
)
def run(context: Context, *, until_idle: bool, accept_restored: bool) -> None:
    """Watch the inboxes and do the work, in the foreground.

    Ctrl-C and SIGTERM finish what is under way and exit 0; SIGHUP reads the configuration again.
    """
    settings = context.settings(logged=True, looks=True)
    import structlog

    from clipspool import failpoint, malloc
    from clipspool.app import Daemon
    from clipspool.journal import JournalError
    from clipspool.parts import CannotStart
    from clipspool.settings.wording import KEY_PLACES
    from clipspool.web.door import CannotListen

    log = structlog.get_logger()
    if settings.provider.api_key is None:
        say(f"No API key: {KEY_PLACES}", err=True)
        sys.exit(EXIT_CONFIG)
    try:
        failpoint.arm()
    except failpoint.Refused as error:
        refuse(str(error))
    malloc.give_back(LARGE_BYTES)
    try:
        daemon = Daemon(settings)
    except (CannotStart, JournalError) as error:
        fail(str(error))
    except CannotListen as error:
        refuse(str(error))
    try:
        daemon.run(until_idle=until_idle, accept_restored=accept_restored)
    except JournalError as error:
        log.error("stopped_by_trouble", why=str(error))  # noqa: TRY400 - a full disk needs no trace
        sys.exit(EXIT_FAILED)
    except Exception:
        # Whatever it is, going on could spend what is not recorded.
        log.exception("stopped_by_trouble")
        sys.exit(EXIT_FAILED)


@command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def recover(context: Context, *, yes: bool) -> None:
    """Rebuild a lost journal from the inboxes' work folders.

    What was never sent is queued again, what has a task is followed, and what may have been sent without an
    answer is in doubt.
    """
    settings = context.settings()
    from clipspool.cli.desk import Desk

    consent(
        "This takes over every accepted clip that the journal does not know. Clips of another machine that "
        "shares the inbox would be taken from it. Go on?",
        yes=yes,
    )
    with Desk(settings) as desk:
        taken = desk.recover()
    say(f"{taken} clips taken on." if taken != 1 else "1 clip taken on.")
