"""What systemd sees of the daemon, and a port that is taken."""

import socket
import subprocess

import pytest

from journeys.bay import COMMAND


def taken_port():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


@pytest.mark.slow
def test_a_taken_port_stops_no_work_and_the_page_is_served_once_it_is_free(bay):
    with taken_port() as other:
        port = other.getsockname()[1]
        bay.configure(top=f'[web]\nlisten = "127.0.0.1:{port}"')
        checked = bay.call("check", "--offline")
        assert f"127.0.0.1:{port} is in use by process" in checked.stdout
        bay.start()
        bay.drop("shot.mp4")
        bay.until_retired()
        (trouble,) = bay.told("status")["daemon"]["troubles"]
        assert "another program already listens there" in trouble
        assert trouble.split(" (")[0] in bay.call("status").stdout
        assert len(bay.events("page_not_served")) == 1
    bay.until(lambda: bay.events("page_served"), 20, "the page is served")
    assert bay.told("status")["daemon"]["troubles"] == []
    assert f"served on 127.0.0.1:{port}, by process {bay.daemon.pid}" in bay.call("check", "--offline").stdout


def test_a_page_at_an_address_that_this_machine_has_not_stops_no_work(bay):
    bay.configure(top='[web]\nlisten = "unix:/nowhere/at/all.sock"')
    bay.start()
    bay.drop("shot.mp4")
    bay.until_retired()
    assert "its folder does not exist" in bay.told("status")["daemon"]["troubles"][0]


def test_a_reload_says_what_came_of_it(bay):
    def reload():
        command = [*COMMAND, "service", "reload", "-c", str(bay.config)]
        return subprocess.run(command, env=bay.env, capture_output=True, text=True, check=False, timeout=60)

    assert reload().returncode == 1
    bay.start()
    good = bay.config.read_text()
    bay.configure(provider="running_max = 2")
    assert reload().returncode == 0
    for broken, why in (
        ("[provider", "not TOML"),
        (good + "[nonsense]\n", "unknown key"),
        (good.replace(str(bay.outbox), str(bay.home / "elsewhere")), "needs a restart"),
    ):
        bay.config.write_text(broken)
        done = reload()
        assert done.returncode == 1, broken
        assert why in done.stderr
        assert "Nothing was changed: " in done.stderr
    assert len(bay.events("reload_refused")) == 3
    assert len(bay.events("reloaded")) == 1


@pytest.mark.slow
def test_systemd_is_told_of_what_is_wrong(bay):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        address = str(bay.home / "notify")
        heard.bind(address)
        heard.settimeout(20)
        bay.start(NOTIFY_SOCKET=address)

        def told(word):
            while True:
                lines = heard.recv(4096).decode().split("\n")
                if any(line.startswith("STATUS=") and word in line for line in lines):
                    return True

        assert told("idle")
        bay.call("pause", "bay")
        assert told("paused: bay")
        bay.inbox.rename(bay.home / "away")
        assert told("inbox bay offline")
        (bay.home / "away").rename(bay.inbox)
        bay.call("resume")
