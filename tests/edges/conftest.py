"""What edge tests share."""

import logging
import os
import sys
import tempfile
import threading
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import structlog

from clipspool.media.decoder import Decoder
from journals import DRIVERS
from media_clips import clip
from pages import Stage


@pytest.fixture(autouse=True)
def _logs_as_before(monkeypatch):
    """Undo what a test configures of the logs: hooks, the root logger, and what loggers would keep."""
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook, sys.unraisablehook)
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    configure = structlog.configure
    monkeypatch.setattr(
        structlog, "configure", lambda **how: configure(**how | {"cache_logger_on_first_use": False})
    )
    yield
    root.handlers[:], root.level, logging.raiseExceptions = handlers, level, raising
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    if structlog.is_configured():
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()


@pytest.fixture
def open_path():
    """Yield a folder that other users may enter: pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(prefix="clipspool-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def stage(tmp_path):
    """Yield what the page is of: a journal, an inbox and an outbox of its own."""
    one = Stage(tmp_path)
    yield one
    one.journal.close()


@pytest.fixture(params=DRIVERS.values(), ids=DRIVERS.keys())
def driver(request, tmp_path):
    """Return a place for a journal, in each database in turn."""
    return request.param(tmp_path)


@pytest.fixture(scope="session")
def decoder():
    """Yield one decoder for all tests that look at what it makes, not at its process."""
    with closing(Decoder()) as shared:
        yield shared


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """Return a function that finds a clip by its name; each clip is made once for all workers."""
    folder = tmp_path_factory.getbasetemp()
    return partial(clip, (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "clips")
