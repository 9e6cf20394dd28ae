"""Words a message for people, and as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clipspool.jobs.text import iso
from clipspool.reporting.notify.digest import NoticeMessage
from clipspool.reporting.notify.notes import Note
from clipspool.reporting.notify.topics import Topic
from clipspool.system.redaction import redact

_LINES_MAX = 15
_LINE_MAX = 300
_BODY_MAX = 1800
"""Some services take 2,000 characters."""
_TITLE_MAX = 120

_COUNTED = {
    Topic.FAILED: "failed",
    Topic.HELD: "held",
    Topic.IN_DOUBT: "in doubt",
    Topic.BUDGET: "over budget",
    Topic.PROVIDER_BLOCKED: "provider blocked",
    Topic.PROVIDER_BACK: "provider back",
    Topic.INBOX_OFFLINE: "inbox offline",
    Topic.INBOX_BACK: "inbox online again",
    Topic.SOURCE_CHANGED: "source changed",
    Topic.PEER_LOST: "clips of a stopped clipspool",
    Topic.INCOMPLETE: "incomplete",
    Topic.BATCH_FINISHED: "batch finished",
}


def title_of(message: NoticeMessage) -> str:
    """Return the title: one short line."""
    if message.is_test:
        return "clipspool: a test message"
    if message.count == 1:
        note = message.notes[0]
        about = str(note.facts.get("clip", "")) or note.inbox
        return _short(f"clipspool: {_COUNTED[note.topic]}" + (f": {about}" if about else ""), _TITLE_MAX)
    counts = (f"{count} {_COUNTED[topic]}" for topic, count in message.counts.items())
    return _short(f"clipspool: {', '.join(counts)}", _TITLE_MAX)


def body_of(message: NoticeMessage, origin: str) -> str:
    """Return plain text of at most 2,000 characters; `origin` is the machine it comes from."""
    lines: list[str] = []
    size = 0
    for note in message.notes[:_LINES_MAX]:
        line = _short(redact(note.text), _LINE_MAX)
        if size + len(line) > _BODY_MAX:
            break
        lines.append(line)
        size += len(line) + 1
    if (more := message.count - len(lines)) > 0:
        lines.append(f"… and {more} more: `clipspool status`, `clipspool jobs`")
    return "\n".join([*lines, f"({origin})"])


def payload_of(message: NoticeMessage, origin: str, at: float) -> dict[str, Any]:
    """Return a webhook's body: `type`, `timestamp` and `data`; the note itself, or a digest of many."""
    if message.count == 1:
        note = message.notes[0]
        return {
            "type": "test" if message.is_test else note.topic.value,
            "timestamp": iso(note.at),
            "data": {"origin": origin, **_data(note)},
        }
    return {
        "type": "digest",
        "timestamp": iso(at),
        "data": {
            "origin": origin,
            "counts": {topic.value: count for topic, count in message.counts.items()},
            "left_out": message.left_out,
            "notes": [
                {"type": note.topic.value, "timestamp": iso(note.at), "data": _data(note)}
                for note in message.notes
            ],
        },
    }


def _data(note: Note) -> Mapping[str, Any]:
    facts = {name: redact(value) if isinstance(value, str) else value for name, value in note.facts.items()}
    return {"text": redact(note.text), **facts}


def _short(words: str, most: int) -> str:
    """Return one printable line of at most `most` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in words).split())
    return line if len(line) <= most else line[: most - 1] + "…"
