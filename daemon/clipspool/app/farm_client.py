"""What a command does with a farm where no node runs here: it asks who leads, or leads for a moment."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any

from clipspool.app.build import CannotStart, is_there, lock_journal
from clipspool.app.control import OTHER_SECONDS
from clipspool.app.follower import farm_status
from clipspool.app.node import identity_of
from clipspool.app.settings import Settings
from clipspool.farm.lease import Lease, ask
from clipspool.farm.membership import Membership
from clipspool.farm.nodes import Identity, Member, members
from clipspool.farm.orders import ANSWER_SECONDS, give
from clipspool.journal import Address, Journal, JournalError, NoJournal
from clipspool.journal.postgres import connect_beside, make_schema
from clipspool.journal.server import translated

_SPARE_SECONDS = 5.0


def nodes(address: Address) -> Sequence[Member]:
    """Return the farm's nodes; raises JournalError."""
    if not is_there(address):
        return ()
    with translated(address), closing(connect_beside(address)) as connection:
        return members(connection)


def order(settings: Settings, address: Address, command: str, arguments: Mapping[str, Any]) -> Any:
    """Have the node that leads carry out a command; raises NotAnswered and JournalError."""
    seconds = OTHER_SECONDS.get(command, ANSWER_SECONDS)
    return give(partial(connect_beside, address), settings.farm.name, command, arguments, seconds)


def status(settings: Settings, address: Address) -> dict[str, Any]:
    """Return what `status --json` prints where no node runs on this machine; raises JournalError."""
    daemon: dict[str, Any] = {"running": False, "pid": None, "since": None, "troubles": []}
    return farm_status(settings, address, daemon, time.time())


def _refuse_namesake(address: Address, ours: Identity) -> None:
    """Raise CannotStart where a node of this name runs on another machine: it would end, for good."""
    with translated(address), closing(connect_beside(address)) as connection:
        found = {one.name: one for one in members(connection)}.get(ours.name)
        named = ask(connection, "namesake", {"name": ours.name})
    if found is None or found.state in {"silent", "stopped"} or named[0]["place"] == ours.place:
        return
    raise CannotStart(
        f"No node leads the farm now, and this machine cannot for a moment: the node {ours.name} runs on "
        f"{found.host}. Try again, there or when a node leads, or give this machine a name of its own, "
        "`node` in [farm]."
    )


class BriefLead:
    """The lead of a farm for one command, while no node leads; raises CannotStart where it cannot be had."""

    def __init__(self, settings: Settings, address: Address, *, makes: bool) -> None:
        """Wait for the lead: a former leader may still be at work for one lease.

        Without `makes` a missing journal is not created.
        """
        if not makes and not is_there(address):
            raise CannotStart(str(NoJournal(address)))
        self.lock = lock_journal(settings, gives_away=True)
        """The lock on this machine's state."""
        seconds, ours = settings.farm.lease_seconds, identity_of(settings)
        self._membership = Membership(partial(connect_beside, address), ours, seconds)
        try:
            make_schema(address)
            _refuse_namesake(address, ours)
            self._membership.start()
            self.lease = self._await_lead(seconds + _SPARE_SECONDS)
            self.journal = Journal.open(address, self.lease.as_fence)
        except (CannotStart, JournalError) as error:
            self.close()
            raise CannotStart(str(error)) from error

    def _await_lead(self, seconds: float) -> Lease:
        lease = self._membership.await_lead(seconds)
        if lease is None:
            raise CannotStart("Another node leads the farm, or its database does not answer: try again.")
        return lease

    def close(self) -> None:
        """Release the lead; the journal is closed by then."""
        self._membership.stop()
        self.lock.release()
