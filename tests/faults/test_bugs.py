"""The planted bugs still fit the program; that each is caught is what `make faults` shows."""

import pytest

from faults.bugs import BUGS, copied


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return copied(tmp_path_factory.mktemp("planted"))


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_can_still_be_planted(package, name):
    kept = {file: (package / file).read_text() for file, _, _ in BUGS[name].changes}
    BUGS[name].plant(package)
    for file, source in kept.items():
        (package / file).write_text(source)
