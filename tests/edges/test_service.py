"""The notify protocol, on real sockets."""

import os
import socket
from types import SimpleNamespace

import pytest

from clipspool.app.build import calm_turn_seconds
from clipspool.system.systemd import Service


@pytest.fixture(params=["file", "abstract"])
def systemd(request, tmp_path):
    """Listen as systemd does; gives the environment and a way to read what came."""
    name = str(tmp_path / "notify") if request.param == "file" else f"@clipspool-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name[1:] if name.startswith("@") else name)
        listener.settimeout(2)
        yield {"NOTIFY_SOCKET": name}, lambda: listener.recv(4096).decode().split("\n")


def test_each_call_is_one_datagram(systemd):
    env, heard = systemd
    service = Service(env)
    service.ready("2 inboxes")
    assert heard() == ["READY=1", "STATUS=2 inboxes"]
    service.status("3 running\nREADY=1\x1b[2J\udcff")
    assert heard() == ["STATUS=3 running READY=1 [2J"]
    service.watchdog()
    assert heard() == ["WATCHDOG=1"]
    service.reloading()
    first, second = heard()
    assert first == "RELOADING=1"
    assert int(second.removeprefix("MONOTONIC_USEC=")) > 0
    service.stopping("draining")
    assert heard() == ["STOPPING=1", "STATUS=draining"]
    service.status("x" * 1000)
    assert len(heard()[0]) == len("STATUS=") + 200


def test_an_empty_status_says_nothing(systemd):
    env, heard = systemd
    service = Service(env)
    service.status("\n")
    service.watchdog()
    assert heard() == ["WATCHDOG=1"]


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/there", "@" + "x" * 500, "vsock:2:1234"])
def test_nobody_listening_is_borne(address):
    service = Service({"NOTIFY_SOCKET": address})
    service.ready("x")
    service.watchdog()
    service.stopping()


def test_a_listener_that_does_not_read_never_blocks_us(systemd):
    env, _ = systemd
    service = Service(env)
    for _ in range(2000):
        service.watchdog()


def test_the_daemon_turns_four_times_within_the_watchdogs_time_also_while_there_is_nothing_to_do():
    def seconds(usec, *, until_idle=False, url=None):
        settings = SimpleNamespace(journal=SimpleNamespace(url=url))
        return calm_turn_seconds(settings, Service({"WATCHDOG_USEC": usec}), until_idle=until_idle)

    assert [seconds(usec) for usec in ("8000000", "120000000", "", "0", "x")] == [2.0, 5.0, 5.0, 5.0, 5.0]
    assert (seconds("", until_idle=True), seconds("", url="postgresql://")) == (1.0, 1.0)
