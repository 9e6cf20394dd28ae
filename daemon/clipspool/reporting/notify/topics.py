"""The topics of notifications."""

from __future__ import annotations

from enum import StrEnum


class Topic(StrEnum):
    """A kind of note; an operator chooses among them by these names."""

    FAILED = "failed"
    """A job failed."""
    HELD = "held"
    """A job waits for a person, for another reason than those below."""
    IN_DOUBT = "in_doubt"
    """A paid request got no answer; money may be spent."""
    BUDGET = "budget"
    """A limit of the day is used up, or a job is dearer than a job may be."""
    PROVIDER_BLOCKED = "provider_blocked"
    """Nothing is submitted: sent at once for a fault of the account, later for one that may pass."""
    PROVIDER_BACK = "provider_back"
    """Submissions go on after a notified block."""
    INBOX_OFFLINE = "inbox_offline"
    """An inbox is offline: its folder is missing, or another one."""
    INBOX_BACK = "inbox_back"
    """It is watched again."""
    SOURCE_CHANGED = "source_changed"
    """A clip's source went on changing after it was sent."""
    PEER_LOST = "peer_lost"
    """Another daemon that shares an inbox has ended, and accepted clips of it lie there."""
    INCOMPLETE = "incomplete"
    """A job was delivered without an output of its task, or with a result that looks odd."""
    BATCH_FINISHED = "batch_finished"
    """All jobs of an inbox have ended or wait."""
