"""What journeys share: a bay, checked by the oracle after each."""

import pytest

from faults.oracle import Oracle
from journeys.bay import open_bay


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    return tmp_path_factory.mktemp("clips") / "template.mp4"


@pytest.fixture
def open_bays(tmp_path, template):
    """Return a function that opens bays with any stand-in."""
    return lambda name="one", **options: open_bay(tmp_path / name, template, **options)


@pytest.fixture
def bay(open_bays):
    """Yield a bay; after the test its daemon is ended and the oracle finds no violation."""
    with open_bays() as one:
        yield one
        if one.daemon is not None and one.daemon.poll() is None:
            assert one.stop() == 0, one.lately()
        if one.is_checked:
            assert Oracle(one).violations() == []
