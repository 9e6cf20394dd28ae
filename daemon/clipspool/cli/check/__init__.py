"""`clipspool check`: checks everything needed to run, and suggests fixes.

Each check yields findings and never raises for what it finds. `setup` checks settings, key and journal,
`folders` tries the inboxes and outboxes for real, `page` asks the daemon that runs, and looks at its page,
`services` checks the journal's PostgreSQL, the ways to the provider and the receivers of notifications,
`dropin` writes the systemd drop-in.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from clipspool.app.build import provider_of
from clipspool.app.settings import Settings
from clipspool.cli.check.dropin import missing_folders, systemd_drop_in
from clipspool.cli.check.finding import Finding, is_fit
from clipspool.cli.check.folders import in_time, known_to, look_at_events, look_at_inbox
from clipspool.cli.check.page import look_at_daemon, look_at_page
from clipspool.cli.check.services import look_at_database, look_at_notify, look_at_transports
from clipspool.cli.check.setup import (
    look_at_credentials,
    look_at_defaults,
    look_at_hooks,
    look_at_journal,
    look_at_key,
    look_at_names,
    look_at_process,
    look_at_provider,
    look_at_proxy,
)
from clipspool.journal import Address
from clipspool.provider.protocol import Provider
from clipspool.system.units import unit_of

__all__ = ["Finding", "is_fit", "look", "missing_folders", "systemd_drop_in"]


def look(
    settings: Settings, provider: Provider | None = None, *, notifies: bool = False
) -> Iterator[Finding]:
    """Check everything, in the order in which a run needs it; offline where no provider is given.

    With `notifies` each receiver of notifications gets a test message.
    """
    yield Finding("ok", "settings", f"read from {settings.file or 'the environment'}")
    unit = None if settings.file is None else unit_of(settings.file)
    yield from look_at_process(unit=unit)
    yield from look_at_defaults(settings)
    yield from look_at_names(settings)
    yield from look_at_proxy(settings)
    yield from look_at_hooks(settings)
    yield from look_at_credentials(settings)
    yield from look_at_key(settings, is_needed=provider is not None, unit=unit)
    if settings.provider.api_key is None and unit is not None and "provider_api_key" in unit.credentials:
        provider = None
    yield from look_at_journal(settings.journal.path, is_elsewhere=settings.journal.url is not None)
    if isinstance(settings.journal.place, Address):
        yield from in_time("journal", partial(look_at_database, settings.journal.place))
    known = known_to(settings.journal.place)
    for inbox in settings.inbox:
        yield from look_at_inbox(inbox, settings, known)
    yield from look_at_events(settings)
    yield from look_at_notify(settings, sends=notifies)
    silent = list(look_at_daemon(settings))
    yield from silent
    yield from look_at_page(settings, is_silent=bool(silent))
    if provider is not None:
        yield from look_at_transports(settings)
        yield look_at_provider(provider)
        for address in settings.provider.other_urls:
            yield look_at_provider(provider_of(settings, address), f"provider at {address}")
