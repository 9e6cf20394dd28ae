"""Keeps what holds submissions back: records each change of the brake and publishes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from clipspool.jobs.circuit_breaker import Brake
from clipspool.jobs.messages import News, ProviderBlocked, ProviderUnblocked
from clipspool.jobs.nouns import read
from clipspool.journal import Journal


class Braking:
    """For the scheduler's thread, inside a turn."""

    def __init__(self, journal: Journal, publish: Callable[[News], None]) -> None:
        """Read the brake as the journal has it; `publish` calls all listeners once a change is durable."""
        self._journal, self._publish = journal, publish
        self.brake = read(Brake, journal.fact("brake") or {})

    def release(self) -> None:
        """Let submissions continue at once: the operator says that the fault is over."""
        self.set(Brake())

    def reached(self) -> None:
        """Let submissions continue where only the provider was out of reach: another address is used."""
        self.set(self.brake.answered())

    def set(self, brake: Brake) -> None:
        """Record what holds submissions back, and publish what changed."""
        if brake == self.brake:
            return
        before, self.brake = self.brake, brake
        if brake == Brake():
            self._journal.forget_fact("brake")
        else:
            self._journal.set_fact("brake", asdict(brake))
        self._publish_change("", before, brake)
        for model in before.models.keys() | brake.models.keys():
            self._publish_change(model, before.models.get(model, Brake()), brake.models.get(model, Brake()))

    def _publish_change(self, model: str, before: Brake, brake: Brake) -> None:
        fault = brake.fault
        if fault is None:
            if before.is_on:
                self._publish(ProviderUnblocked(model))
        elif (fault, brake.until) != (before.fault, before.until):
            is_new = before.fault is None or before.fault.code != fault.code
            self._publish(ProviderBlocked(fault, brake.until, is_new, model))
