"""Finds out, beside the work, at which of the account's addresses the provider can be reached."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import structlog

from clipspool.app.build import follows, provider_of
from clipspool.app.settings import Settings
from clipspool.provider.addresses import Chooser, Reach
from clipspool.provider.protocol import Followed, Provider
from clipspool.provider.runway import Runway
from clipspool.scheduler.loop import Scheduler
from clipspool.stages.runner import StageRunner
from clipspool.system.process import seconds_since_boot, start_thread

log = structlog.get_logger()

_PROBE_SECONDS = 15.0
_PROBES = 4
"""How often an address is tried in the time after which another is used."""


class Gateway:
    """Has the provider at the address that is used; where there are several, a thread tries them.

    That thread sends nothing. What it finds changes the provider only in `change`, which the scheduler's
    thread calls: no request is between two addresses.
    """

    def __init__(self, settings: Settings, measured: Callable[[Provider], Provider]) -> None:
        """Take the first address; `measured` times a provider's calls."""
        self._measured = measured
        self._stopped = threading.Event()
        self.address = ""
        """The address that is used."""
        self._take(settings)

    @property
    def troubles(self) -> list[str]:
        """What is wrong, for the operator: nothing where the first address is used."""
        first = self._chooser.addresses[0]
        if self.address == first:
            return []
        return [f"{first} cannot be reached: {self.address} is used instead"]

    @property
    def follow(self) -> Callable[[str], Followed | None]:
        """Finds what follows a task, by its profile."""
        return follows(lambda: self.provider, self._at, self._chooser.addresses)

    def change(self, scheduler: Scheduler, stages: StageRunner) -> None:
        """Send to the address that can be reached from now on; call it in the scheduler's thread.

        Tasks are followed wherever they were made.
        """
        if self.address == self._chooser.current:
            return
        self.address = self._chooser.current
        self.provider = self._at(self.address)
        why = " ".join(self.troubles) or "it can be reached again"
        log.warning("gateway_changed", address=self.address, why=why)
        stages.equip(replace(stages.tools, provider=self.provider))
        scheduler.profile = self.provider.profile
        scheduler.withdraw_connecting()
        scheduler.call_soon(lambda scheduler: scheduler.braking.reached())

    def start(self) -> None:
        """Begin to try the addresses, where there are several."""
        if len(self._chooser.addresses) > 1:
            self._stopped = threading.Event()
            start_thread(self._run, "gateway", self._chooser, self._stopped)

    def use(self, settings: Settings, scheduler: Scheduler) -> None:
        """Use other settings, and stay with the address in use where they name it.

        With another key or address nothing holds submissions back any more. For the scheduler's thread.
        """
        self.stop()
        before = self.provider.profile
        self._take(settings)
        if self.provider.profile != before:
            scheduler.withdraw_connecting()
            scheduler.call_soon(lambda scheduler: scheduler.braking.release())
        self.start()

    def stop(self) -> None:
        """Try nothing any more; what is under way is not waited for."""
        self._stopped.set()

    def close(self) -> None:
        """Stop, and close the connections of the provider in use."""
        self.stop()
        self.provider.close()

    def _take(self, settings: Settings) -> None:
        # The former ways to the provider are not closed: a worker may be using one.
        self._settings = settings
        self._providers: dict[str, Provider] = {}
        provider, tried = settings.provider, dict[str, Runway]()
        self._pause = min(_PROBE_SECONDS, provider.unreachable_seconds / _PROBES)

        def reach(address: str) -> Reach:
            if address not in tried:
                tried[address] = provider_of(settings, address)
            return tried[address].reach()

        self._chooser = Chooser(provider.addresses, provider.unreachable_seconds, reach)
        if self.address in self._chooser.addresses:
            self._chooser.current = self.address
        self.address = self._chooser.current
        self.provider = self._at(self.address)

    def _at(self, address: str) -> Provider:
        if address not in self._providers:
            self._providers[address] = self._measured(provider_of(self._settings, address))
        return self._providers[address]

    def _run(self, chooser: Chooser, stopped: threading.Event) -> None:
        while not stopped.wait(self._pause):
            chooser.look(seconds_since_boot())
