"""Failpoints are for tests, and cost nothing elsewhere."""

import os
import re
import signal

import pytest

from clipspool.system import failpoint
from repository import PACKAGE

TESTING = {"CLIPSPOOL_TESTING": "1"}


@pytest.fixture(autouse=True)
def disarmed(monkeypatch):
    monkeypatch.setattr(failpoint, "_name", "")
    monkeypatch.setattr(failpoint, "_left", 0)


def test_every_failpoint_has_its_place_and_every_place_a_name():
    found = [
        name
        for path in PACKAGE.rglob("*.py")
        for name in re.findall(r'\breach\("([\w-]+)"\)', path.read_text())
    ]
    assert sorted(found) == sorted(failpoint.NAMES)


def test_none_is_armed_without_the_flag():
    with pytest.raises(failpoint.FailpointRefused, match="for tests alone"):
        failpoint.arm({"CLIPSPOOL_FAILPOINT": "sent:exit"})


@pytest.mark.parametrize("asked", ["nowhere:exit", "sent", "sent:sleep", "sent:exit:often", ":exit"])
def test_a_failpoint_that_there_is_not_is_refused(asked):
    with pytest.raises(failpoint.FailpointRefused, match="names no failpoint"):
        failpoint.arm({"CLIPSPOOL_FAILPOINT": asked, **TESTING})


def test_it_ends_the_process_the_nth_time_it_is_reached(monkeypatch):
    ends = []
    monkeypatch.setattr(failpoint.os, "_exit", ends.append)
    failpoint.arm({"CLIPSPOOL_FAILPOINT": "sent:exit:2", **TESTING})
    failpoint.reach("sent")
    failpoint.reach("created")
    assert ends == []
    failpoint.reach("sent")
    assert ends == [failpoint.EXIT_CODE]


def test_it_freezes_the_process_as_sigstop_does(monkeypatch):
    sent = []
    monkeypatch.setattr(failpoint.os, "kill", lambda pid, number: sent.append((pid, number)))
    failpoint.arm({"CLIPSPOOL_FAILPOINT": "sent:stop", **TESTING})
    failpoint.reach("sent")
    failpoint.reach("sent")
    assert sent == [(os.getpid(), signal.SIGSTOP)]


def test_unset_it_does_nothing():
    failpoint.arm({})
    for name in failpoint.NAMES:
        failpoint.reach(name)
