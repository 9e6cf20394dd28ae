"""Options of the sandbox: every setting with its default, valid once built."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from runway_sandbox.misbehave import Misbehaviour

MIB = 1024 * 1024
MODELS = ("gen4_aleph", "aleph2")


class Style(StrEnum):
    """The task shapes that were published for the same GET [PROVIDER 0.1]."""

    BARE = "bare"
    """Runway's own object: `status`, `progress` 0..1, `output` [PROVIDER 1.4, 2.6]."""
    WRAPPED = "wrapped"
    """The gateway's envelope: `code`, `data.status`, `progress` "30%" [PROVIDER 1.3]."""
    MIXED = "mixed"
    """Bare and wrapped in turns; each task keeps its shape."""


class Render(StrEnum):
    """Origin of a result."""

    REAL = "real"
    """The clip itself in winter colours, re-encoded."""
    ECHO = "echo"
    """The clip's own bytes."""
    CANNED = "canned"
    """One small clip made at the start; nothing of the request's clip is kept."""


class UrlPlace(StrEnum):
    """Where the wrapped shape carries the result's address [PROVIDER 1.3]."""

    INNER = "inner"
    """`data.data.output`, the raw Runway object inside."""
    RESULT_URL = "result_url"
    """`data.result_url`, newer gateways."""
    FAIL_REASON = "fail_reason"
    """`data.fail_reason` on SUCCESS, legacy gateways."""


@dataclass(frozen=True, slots=True)
class Options:
    """All settings; times in seconds, sizes in bytes. Raises ValueError that names a setting out of range."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes any free port."""
    separate_results: bool = False
    """Serve result files from a second port, as a CDN is another host than the API."""

    style: Style = Style.BARE
    url_place: UrlPlace = UrlPlace.INNER
    gateway_ids: bool = False
    """`task_` and 32 characters, as newer gateways give, instead of a UUID [PROVIDER 1.2]."""
    strict: bool = True
    """Refuse what the API's page would refuse, above all a body without a field that it marks required."""
    api_keys: tuple[str, ...] = ()
    """The keys that are accepted; empty accepts any that is not empty."""

    render: Render = Render.REAL
    render_seconds: float = 4.0
    """Minimum time that a task is RUNNING; a real rendering may take longer."""
    pending_seconds: float = 0.0
    visible_after: float = 0.0
    """Seconds during which a fresh id is answered with task_not_exist [PROVIDER 1.5]."""
    concurrency: int | None = None
    """Tasks that run at once, the others are THROTTLED; None for all [PROVIDER 2.8]."""
    url_seconds: float = 86_400.0
    """Lifetime of a result's address; a later poll returns a new one [PROVIDER 2.6]."""

    cancel_status: int = 204
    """Status of DELETE: 204 if it works, 404 or 405 if it is not offered, as on Comet."""
    uploads: bool | None = None
    """Ephemeral uploads; None offers them under the official prefix only [PROVIDER 1.1]."""
    organization: bool = True
    credits: int = 1_000_000
    daily_generations: int | None = None
    """Tasks an account may make before 429 [PROVIDER 2.7]; None for no quota."""

    body_bytes_max: int = 64 * MIB
    """A longer request body is answered 413."""
    tasks_max: int = 50_000
    """More ended tasks are deleted, oldest first, with their files."""
    ledger: Path | None = None
    """A file to which each accepted create is appended, synced before it is answered."""
    misbehaviours: tuple[Misbehaviour, ...] = ()
    seed: int = 0
    """Random seed."""

    def __post_init__(self) -> None:
        for name in ("render_seconds", "pending_seconds", "visible_after", "url_seconds"):
            if not 0 <= getattr(self, name) <= 10_000_000:  # noqa: PLR2004  # some four months
                raise ValueError(f"{name} must be 0 to 10000000 seconds")
        for name in ("body_bytes_max", "tasks_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.concurrency is not None and self.concurrency < 1:
            raise ValueError("concurrency must be at least 1, or None for no limit")
        if self.cancel_status not in (204, 404, 405):
            raise ValueError("cancel_status must be 204, 404 or 405")
