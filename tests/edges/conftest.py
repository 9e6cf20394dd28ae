"""What edge tests share."""

import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def open_path():
    """Give a folder that other users may enter: pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(prefix="clipspool-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
