"""What went wrong, as a value: whose trouble it is, a stable code, and words for people; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FaultOf(StrEnum):
    """Whose trouble a refusal is; it decides who waits."""

    CLIP = "clip"
    """This clip or request; sending it again changes nothing."""
    MOMENT = "moment"
    """Nobody's; again later."""
    MODEL = "model"
    """The model has no route at the provider now: clips that ask for it wait, all others go on."""
    ACCOUNT = "account"
    """The key, the credits or the daily quota; every clip waits, none is to blame."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A clear no, translated from whatever the provider or the network said."""

    of: FaultOf
    code: str
    """Stable and dotted, ours or the provider's: `ACCOUNT.KEY_REFUSED`, `SAFETY.INPUT.TEXT`."""
    message: str
    """What happened, for people; no key, no signed address."""
    what_to_do: str = ""
    retry_after_seconds: float | None = None
    """0 to 86400, as the provider asked; None when it did not."""


class Unsure(Exception):
    """A clip could not be looked into, perhaps through no fault of its own; the message is for its editor."""
