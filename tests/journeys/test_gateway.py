"""A gateway that is out of reach, and other addresses of the same account."""

import contextlib
import select
import signal
import socket
import threading
import tomllib

import pytest

from journeys.nodes import begin, move_to_postgres, node
from runway_sandbox import Options, Render, serve


class Door:
    """A way to the provider on a port of its own, which can be shut and opened again."""

    def __init__(self, box):
        self._far = ("127.0.0.1", int(box.base_url.split(":")[2].partition("/")[0]))
        self._listener, self._lines = None, set()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.base_url = box.base_url.replace(str(self._far[1]), str(self.port))

    def open(self):
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in list(self._lines):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near):
        with contextlib.suppress(OSError), near, socket.create_connection(self._far) as far:
            self._lines |= {near, far}
            ends = {near: far, far: near}
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    if not (data := end.recv(65536)):
                        return
                    ends[end].sendall(data)


@pytest.fixture
def door_of():
    doors = []

    def make(box):
        doors.append(Door(box))
        doors[-1].open()
        return doors[-1]

    yield make
    for door in doors:
        with contextlib.suppress(OSError):
            door.shut()


def configure(bay, first, *others):
    urls = ", ".join(f'"{one}"' for one in others)
    provider = f"other_urls = [{urls}]\nunreachable_seconds = 0.4\nconnect_seconds = 2.0"
    bay.configure(base_url=first, provider=provider)


def provider_of(bay, name):
    return tomllib.loads((bay.outbox / f"{name}.toml").read_text())["result"]["provider"].partition("#")[0]


def test_another_address_of_the_account_is_used_while_the_first_is_out_of_reach(open_bays, door_of):
    with open_bays(render_seconds=1.0) as bay:
        door = door_of(bay.box)
        configure(bay, door.base_url, bay.box.base_url)
        bay.start()
        bay.drop("before.mp4")
        bay.until_states("running")
        door.shut()
        bay.drop("meanwhile.mp4")
        bay.until_states("delivered", "delivered", seconds=30)
        assert provider_of(bay, "before.mp4") == door.base_url
        assert provider_of(bay, "meanwhile.mp4") == bay.box.base_url
        (changed,) = bay.events("gateway_changed")
        assert changed["address"] == bay.box.base_url
        trouble = f"{door.base_url} cannot be reached: {bay.box.base_url} is used instead"
        assert trouble in bay.told("status")["daemon"]["troubles"]
        door.open()
        bay.until(lambda: len(bay.events("gateway_changed")) == 2, what="the first is used again")
        assert trouble not in bay.told("status")["daemon"]["troubles"]
        bay.drop("after.mp4")
        bay.until_states("delivered", "delivered", "delivered", seconds=30)
        assert provider_of(bay, "after.mp4") == door.base_url
        assert bay.paid == 3
        assert bay.events("in_doubt") == []


def test_a_task_that_the_other_address_does_not_know_is_waited_for_and_never_lost(open_bays, door_of):
    with (
        open_bays(render_seconds=1.0) as bay,
        serve(Options(render=Render.CANNED, render_seconds=0.0)) as stranger,
    ):
        door = door_of(bay.box)
        configure(bay, door.base_url, stranger.base_url)
        bay.start()
        bay.drop("shot.mp4")
        bay.until_states("running")
        door.shut()
        bay.until(lambda: bay.events("gateway_changed"), what="the other address is used")
        asked = lambda: [one for one in stranger.ledger.requests if "/tasks/" in one.path]  # noqa: E731
        bay.until(lambda: len(asked()) > 3, what="the other address is asked for the task")
        assert bay.jobs() == dict.fromkeys(bay.jobs(), "running")
        assert bay.job()["held"] is None
        door.open()
        bay.until_states("delivered", seconds=30)
        assert bay.paid == 1
        assert stranger.ledger.creates == []


def test_a_reload_while_another_address_is_used_stays_with_it_and_follows_its_tasks(open_bays, door_of):
    with open_bays(render_seconds=2.0) as bay:
        door = door_of(bay.box)
        configure(bay, door.base_url, bay.box.base_url)
        door.shut()
        bay.start()
        bay.drop("shot.mp4")
        bay.until_states("running", seconds=30)
        bay.config.write_text(
            bay.config.read_text().replace("[logs]", "[budget]\nsubmissions_per_day = 9\n\n[logs]")
        )
        assert bay.call("check", "--offline").returncode == 0
        bay.daemon.send_signal(signal.SIGHUP)
        bay.until(lambda: bay.events("reloaded"), what="it is reloaded")
        bay.until_states("delivered", seconds=30)
        bay.drop("next.mp4")
        bay.until_states("delivered", "delivered", seconds=30)
        assert len(bay.events("gateway_changed")) == 1
        assert provider_of(bay, "next.mp4") == bay.box.base_url


def test_check_asks_at_each_address(open_bays, door_of):
    with open_bays() as bay:
        door = door_of(bay.box)
        door.shut()
        configure(bay, bay.box.base_url, door.base_url)
        told = bay.call("check").stdout
        assert f"provider at {door.base_url}" in told
        assert "NETWORK.REFUSED" in told


@pytest.mark.slow
def test_the_next_leader_of_a_farm_follows_what_was_made_at_the_other_address(open_bays, door_of):
    with open_bays(render_seconds=3.0) as bay:
        bay.is_alone = bay.is_checked = False
        door = door_of(bay.box)
        door.shut()
        move_to_postgres(bay)
        other = f'other_urls = ["{bay.box.base_url}"]\nunreachable_seconds = 0.4\nconnect_seconds = 2.0'
        one, two = (
            node(bay, name, top="", provider=other, base_url=door.base_url) for name in ("one", "two")
        )
        begin(one, "started")
        begin(two, "follows")
        try:
            bay.drop("shot.mp4")
            bay.until_states("running", seconds=30)
            one.stop(signal.SIGKILL)
            two.until(lambda: two.events("started"), 30, "it leads")
            bay.drop("next.mp4")
            bay.until_states("delivered", "delivered", seconds=60)
            assert provider_of(bay, "shot.mp4") == provider_of(bay, "next.mp4") == bay.box.base_url
            assert bay.paid == 2
        finally:
            two.stop(signal.SIGKILL)
