"""The planted bugs still fit the program; that each is caught is what `make faults` shows."""

import subprocess
import sys

import pytest

from faults.bugs import BUGS, copied


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return copied(tmp_path_factory.mktemp("planted"))


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_can_still_be_planted(package, name):
    kept = {file: (package / file).read_text() for file, _, _ in BUGS[name].changes}
    BUGS[name].plant(package)
    # A name that is gone would be caught by its NameError, or hide that the bug itself is not.
    python = [str(package / file) for file in kept if file.endswith(".py")]
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "F821", *python]
    assert not python or subprocess.run(ruff, check=False).returncode == 0
    for file, source in kept.items():
        (package / file).write_text(source)
