"""Logging: one chain for structlog and the standard library, with one redaction step near its end.

JSON lines under systemd and in pipes, colour on a terminal, always on stderr: stdout belongs to commands. A
log call never raises, whatever its arguments are and whatever happens to the stream.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
import threading
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partialmethod
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import EventDict

from clipspool.system.redaction import HIDDEN, redact_cut, redact_name, register_secret

Format = Literal["auto", "json", "console"]
Level = Literal["debug", "info", "warning", "error"]

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_PRIORITIES: Final = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>", "critical": "<2>"}
_DEPTH_MAX: Final = 8
_ITEMS_MAX: Final = 200
_CHATTY: Final = ("urllib3", "requests", "watchdog", "asyncio", "charset_normalizer")

# --- what a line may hold -----------------------------------------------------------------------------------


def _clean(value: Any, depth: int = 0) -> Any:
    """Return a redacted value that JSON can hold; anything but plain values becomes text."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return redact_cut(value)
        case _ if depth >= _DEPTH_MAX:
            return "[too deep]"
        case Mapping():
            return _entries(list(value.items())[:_ITEMS_MAX], depth + 1)
        case list() | tuple() | set() | frozenset():
            return [_clean(inner, depth + 1) for inner in list(value)[:_ITEMS_MAX]]
        case datetime():
            return value.isoformat()
        case os.PathLike():
            return redact_cut(os.fsdecode(value))
        case _:
            return redact_cut(_text_of(value))


def _entries(items: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
    cleaned = {}
    for key, value in items:
        name, is_sensitive = redact_name(key if isinstance(key, str) else _text_of(key))
        if is_sensitive and value not in (None, ""):
            cleaned[name] = HIDDEN
        else:
            cleaned[name] = redact_cut(value) if type(value) is str else _clean(value, depth)
    return cleaned


def _text_of(value: Any) -> str:
    try:
        return str(value) if isinstance(value, BaseException) else repr(value)
    except Exception:  # noqa: BLE001 - a value whose text cannot be read must not stop its caller
        return f"[unreadable {type(value).__name__}]"


def _redacted(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Redact everything; later steps add only the time, the level and colour."""
    return _entries(event.items(), 0)


# --- the rest of the chain ----------------------------------------------------------------------------------


def _stamped(_logger: Any, method: str, event: EventDict) -> EventDict:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head = {"time": now, "level": "error" if method == "exception" else method}
    node = {"node": event.get("node", _output.node)} if _output.node else {}
    return {**head, **event, **node, **head}  # in front, and ours even where the caller uses the same keys


def _as_json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    # ASCII only: surrogates of file names, C1 controls and line separators become \u escapes.
    try:
        return json.dumps(event)
    except (TypeError, ValueError, RecursionError):
        return json.dumps({key: str(value) for key, value in event.items()})


_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
_TRACES: Final = ("exception", "stack")


def _escaped(value: Any) -> Any:
    """Escape characters that could forge a line or control a terminal."""
    match value:
        case str():
            return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), value)
        case dict():
            return {_escaped(key): _escaped(inner) for key, inner in value.items()}
        case list():
            return [_escaped(inner) for inner in value]
        case _:
            return value


class _Console:
    """Renders readable lines; a traceback follows its line, marked so that it cannot pose as log lines."""

    def __init__(self, *, colors: bool) -> None:
        self._render = structlog.dev.ConsoleRenderer(
            colors=colors, timestamp_key="time", pad_event_to=24, sort_keys=False
        )

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        traces = [str(event.pop(key)) for key in _TRACES if key in event]
        line = str(self._render(logger, method, _escaped(dict(event))))
        return "\n".join([line, *(f"  | {_escaped(row)}" for trace in traces for row in trace.splitlines())])


class _Output:
    """Writes whole lines, from any thread, and ignores errors of the stream."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.stream: TextIO | None = None
        self.has_priorities = False
        self.node = ""
        """This one's name in a farm."""

    def msg(self, line: str, level: str = "info") -> None:
        stream = self.stream or sys.stderr
        prefix = _PRIORITIES.get(level, "") if self.has_priorities else ""
        encoding = getattr(stream, "encoding", None) or "utf-8"
        try:
            line = line.encode(encoding, "backslashreplace").decode(encoding)
            with self._lock:
                stream.write(f"{prefix}{line}\n")
                stream.flush()
        except (OSError, ValueError, LookupError, AttributeError):
            return


_output = _Output()
_chain: list[Any] = []  # changed in place, since loggers keep the list they were made with
_threshold = _LEVELS["info"]


class Logger(structlog.BoundLoggerBase):
    """The class of `structlog.get_logger()`: each method takes an event's name and its facts by key."""

    def _log(self, method: str, event: str, /, **facts: Any) -> None:
        emit(method, event, {**self._context, **facts})

    debug = partialmethod(_log, "debug")
    info = partialmethod(_log, "info")
    warning = partialmethod(_log, "warning")
    error = partialmethod(_log, "error")
    exception = partialmethod(_log, "exception", exc_info=True)
    critical = partialmethod(_log, "critical")


def emit(method: str, event: str, facts: Mapping[str, Any]) -> None:
    """Send one line through the chain, if its level is wanted. Never raises."""
    level = "error" if method == "exception" else method
    if _LEVELS[level] < _threshold:
        return
    try:
        line: Any = {"event": event, **facts}
        for step in _chain:
            line = step(None, method, line)
        _output.msg(line, level)
    except Exception as error:  # noqa: BLE001 - logging never harms its caller
        _output.msg(json.dumps({"event": "log_line_lost", "error": type(error).__name__}), "error")


class _Bridge(logging.Handler):
    """Passes records of the standard library, such as those of requests and watchdog, to our chain."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - arguments that do not fit their format
            message = str(record.msg)
        method = record.levelname.lower() if record.levelname.lower() in _LEVELS else "info"
        trace = {"exc_info": record.exc_info} if record.exc_info else {}
        emit(method, message, {"logger": record.name, **trace})


def name_node(node: str) -> None:
    """Have every line say which node of a farm wrote it."""
    _output.node = node


def configure(
    *,
    format: Format = "auto",  # noqa: A002 - the setting's own name
    level: Level = "info",
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Set up logging, and the logging of uncaught exceptions and Python's warnings; a reload calls it again.

    `stream` is stderr except in tests.
    """
    global _threshold  # noqa: PLW0603 - one process has one log
    for secret in secrets:
        register_secret(secret)
    target = stream or sys.stderr
    is_terminal = _is_terminal(target)
    as_json = format == "json" or (format == "auto" and ("JOURNAL_STREAM" in os.environ or not is_terminal))
    _output.stream = stream
    _output.has_priorities = _is_journal(target)
    _chain[:] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _redacted,
        _stamped,
        _as_json if as_json else _Console(colors=is_terminal and "NO_COLOR" not in os.environ),
    ]
    _threshold = _LEVELS[level]
    structlog.configure(
        processors=_chain,
        wrapper_class=Logger,
        logger_factory=lambda *_: _output,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    root.setLevel(_threshold)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(_threshold, logging.WARNING))
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False
    sys.excepthook = _uncaught
    threading.excepthook = lambda info: _uncaught(info.exc_type, info.exc_value, info.exc_traceback)
    sys.unraisablehook = lambda info: _uncaught(info.exc_type, info.exc_value, info.exc_traceback)


def drop_closed_streams() -> None:
    """Discard pending output to a closed terminal or pipe: flushing it would fail an orderly end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), stream.fileno())


def _uncaught(kind: Any, error: BaseException | None, trace: Any) -> None:
    if kind in (SystemExit, KeyboardInterrupt):
        return
    emit("critical", "uncaught_exception", {"exc_info": (kind, error, trace)})


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (ValueError, AttributeError):
        return False


def _is_journal(stream: TextIO) -> bool:
    """Whether the stream leads to systemd's journal, which reads a leading `<6>` as the priority."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
