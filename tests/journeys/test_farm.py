"""A farm as its users have it: nodes on one inbox, one journal in PostgreSQL, and what may happen to them."""

import contextlib
import signal
import socket
import tempfile
import threading
import time
from pathlib import Path

import pytest

import postgres
from journeys.nodes import LEASE, RUNNING_MAX, Farm, opened
from patience import FACTOR, patient


def test_every_node_answers_for_all_and_hands_over_at_sigterm_and_when_it_is_drained(open_bays):
    with opened(open_bays, ("a", "b")) as farm:
        a, b = farm.nodes.values()
        farm.start()
        assert farm.leader == "a"
        assert b.call("pause").returncode == 0
        farm.drop(2)
        farm.until(lambda: len(farm.bay.jobs()) == 2)
        assert [job["held"] for job in b.told("jobs")] == ["paused", "paused"]
        farm.until(lambda: b.told("status")["inboxes"][0]["state"] == "paused")
        status = b.told("status")
        farm.until(lambda: a.told("status")["spend"]["balance"])
        assert b.told("status")["spend"] == a.told("status")["spend"]
        assert [(one["name"], one["state"]) for one in status["nodes"]] == [("a", "leads"), ("b", "follows")]
        assert status["daemon"]["node"] == "b"
        assert b.call("resume").returncode == 0
        farm.until_retired(2)
        assert {job["node"] for job in b.told("jobs")} == {"a"}
        assert 'node = "a"' in (farm.bay.outbox / "s000.mp4.toml").read_text()
        assert {one["node"] for one in a.events()} == {"a"}
        assert a.call("farm", "drain", "nobody").returncode == 1
        assert b.call("farm", "drain", "a").returncode == 0
        drained = time.monotonic()
        farm.until_led_by_another("a")
        assert time.monotonic() - drained < patient(LEASE)
        farm.until(lambda: {one["name"]: one["state"] for one in b.told("farm")["nodes"]}["a"] == "drained")
        assert b.told("farm")["leader"] == "b"
        assert "leads (epoch 2)" in a.call("farm").stdout
        assert a.call("farm", "drain", "a", "--undo").returncode == 0
        assert b.stop() == 0
        farm.until_led_by_another("b")
        farm.drop(1, "t")
        farm.until_retired(3)
        assert a.stop() == 0
        assert farm.bay.paid == 3
        # Without any node a command leads for a moment.
        assert "only failed, cancelled" in b.call("retry", b.told("jobs")[0]["id"], "--yes").stderr
        assert {one["state"] for one in b.told("farm")["nodes"]} == {"stopped"}
        farm.check("b")


def test_a_machine_without_a_node_sees_and_commands_the_farm(open_bays):
    with opened(open_bays, ("a", "b")) as farm:
        a, b = farm.nodes.values()
        for node in (a, b):
            node.config.write_text("[retention]\ndone_days = 0.0\n" + node.config.read_text())
        farm.start("a")
        farm.drop(1)
        farm.until_retired(1)
        assert "no node runs on this machine; the farm is led by a" in b.call("status").stdout
        pruned = b.call("prune", "--yes")
        assert (pruned.returncode, pruned.stdout[:22]) == (0, "bay: 2 files in _done "), pruned
        assert not list((farm.bay.inbox / "_done").rglob("*.mp4"))
        assert b.call("pause").stdout == (
            "Submitting from all inboxes is paused; `clipspool resume` continues it.\n"
        )
        drained = b.call("farm", "drain", "a").stdout
        assert "hands over" in drained
        assert "No other node can lead: nothing is sent and nothing is delivered until one does." in drained
        assert b.call("farm", "drain", "a", "--undo").stdout == "a takes part again.\n"
        farm.until(lambda: farm.leader == "a")
        assert {one["name"] for one in b.told("farm")["nodes"]} == {"a"}, "no command had to lead"
        a.daemon.send_signal(signal.SIGSTOP)
        farm.until(lambda: b.told("farm")["nodes"][0]["state"] == "silent")
        assert "a gives no sign of life, last seen" in b.call("farm", "drain", "a").stdout
        a.daemon.send_signal(signal.SIGCONT)
        assert a.stop() == 0
        for more in ((), ("--undo",)):
            assert b.call("farm", "drain", "a", *more).stdout == (
                "a does not run: it has nothing to finish, and takes part when it is started.\n"
            )
        assert [(one["name"], one["state"]) for one in b.told("status")["nodes"]] == [("a", "stopped")]
        assert "clipspool is not running: start it" in b.call("status").stdout


@pytest.mark.slow
def test_a_leader_that_is_killed_half_way_costs_nothing_and_no_time_of_a_person(open_bays):
    render = 1.0
    with opened(open_bays, lease=15.0, render_seconds=render) as farm:
        farm.start()
        farm.drop(24)
        farm.until(lambda: farm.bay.paid >= 10)
        followed = {
            row["task_id"] for row in farm.bay.query("SELECT task_id FROM tasks WHERE task_id IS NOT NULL")
        }
        farm.nodes["a"].daemon.kill()
        killed = time.monotonic()
        heir = farm.until_led_by_another("a", 20)
        farm.until(lambda: heir.events("started"))
        adopted = time.monotonic() - killed
        held = "SELECT 1 FROM jobs WHERE state = 'in_doubt'"
        farm.until(
            lambda: (
                len(farm.bay.query("SELECT 1 FROM clips WHERE retired_at IS NOT NULL"))
                + len(farm.bay.query(held))
                == 24
            )
        )
        took = time.monotonic() - killed
        assert len(farm.bay.query(held)) <= RUNNING_MAX
        assert farm.bay.paid + len(farm.bay.query(held)) >= 24
        assert farm.live_tasks_max(render) <= RUNNING_MAX
        assert followed
        slower = FACTOR / 4
        assert adopted < 20 * slower
        assert took < 30 * slower + 24 / RUNNING_MAX * render
        if not farm.bay.query(held):
            farm.check(heir.config.stem)


@pytest.mark.slow
def test_a_leader_that_is_frozen_longer_than_its_lease_sends_nothing_when_it_goes_on(open_bays):
    with opened(open_bays, ("a", "b"), render_seconds=0.5) as farm:
        a = farm.nodes["a"]
        farm.start()
        for turn in range(3):
            before = farm.leader
            farm.drop(8, f"s{turn}-")
            farm.until(lambda turn=turn: farm.bay.paid > 8 * turn)
            farm.nodes[before].daemon.send_signal(signal.SIGSTOP)
            farm.until_led_by_another(before)
            farm.nodes[before].daemon.send_signal(signal.SIGCONT)
            farm.until(
                lambda before=before: (
                    farm.nodes[before].events()[-1]["event"] == "follows"
                    or farm.nodes[before].events("follows")
                ),
            )
            farm.until(
                lambda turn=turn: (
                    sum(state in {"delivered", "in_doubt"} for state in farm.bay.jobs().values())
                    == 8 * turn + 8
                )
            )
        assert farm.live_tasks_max(0.5) <= RUNNING_MAX
        prompts = [create.sha256 for create in farm.bay.box.ledger.creates]
        assert len(prompts) == len(set(prompts)), "none was paid twice"
        assert a.daemon.poll() is None


CLOCK = """
import time
from pathlib import Path

_time, _set_by = time.time, Path(__file__).with_name("set-by")
time.time = lambda: _time() + float(_set_by.read_text())
"""


@pytest.mark.slow
@pytest.mark.parametrize("days", [3, -3])
def test_nodes_whose_clocks_differ_by_days_follow_each_others_tasks_and_hold_nothing(
    open_bays, tmp_path, days
):
    """The second node's clock is wrong when it takes over, and is set right while it leads."""
    (tmp_path / "sitecustomize.py").write_text(CLOCK)
    set_by = tmp_path / "set-by"
    set_by.write_text(str(86_400.0 * days))
    with opened(open_bays, ("a", "b"), render_seconds=4.0) as farm:
        a, b = farm.nodes.values()
        b.env["PYTHONPATH"] = str(tmp_path)
        farm.start()
        farm.drop(12)
        farm.until(lambda: farm.bay.paid >= 3)
        assert b.told("status")["spend"]["day"] == a.told("status")["spend"]["day"]
        a.daemon.kill()
        farm.until_led_by_another("a")
        farm.until(lambda: b.events("started"))
        farm.drop(3, "t")
        farm.until(lambda: farm.bay.paid >= 6)
        set_by.write_text("0")
        settled = "SELECT 1 FROM jobs WHERE state IN ('delivered', 'in_doubt')"
        farm.until(lambda: len(farm.bay.query(settled)) == 15, 60)
        doubts = farm.bay.query("SELECT 1 FROM jobs WHERE state = 'in_doubt'")
        assert len(doubts) <= RUNNING_MAX
        assert farm.bay.query("SELECT 1 FROM events WHERE event = 'held'") == []
        assert b.events("clock_was_set") == []
        wrong = "SELECT 1 FROM jobs WHERE abs(updated_at - extract(epoch FROM now())) > 1800"
        assert farm.bay.query(wrong) == []
        assert farm.leader == "b"
        prompts = [create.sha256 for create in farm.bay.box.ledger.creates]
        assert len(prompts) == len(set(prompts)), "none was paid twice"
        # Without any node a command leads for a moment, by the same time.
        assert b.call("pause").returncode == 0
        farm.drop(1, "u")
        waiting = "SELECT id FROM jobs WHERE state = 'queued'"
        farm.until(lambda: farm.bay.query(waiting))
        (job,) = farm.bay.query(waiting)
        assert b.stop() == 0
        set_by.write_text(str(86_400.0 * days))
        assert b.call("cancel", job["id"], "--yes", LC_ALL="C.UTF-8").returncode == 0
        assert farm.bay.query(waiting) == farm.bay.query(wrong) == []


@pytest.fixture
def own_server():
    """Yield a server of one's own, which also listens on a port."""
    with tempfile.TemporaryDirectory(prefix="clipspool-") as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        Path(folder).chmod(0o755)
        server = postgres.Server(Path(folder) / "server", port=port)
        server.make()
        server.start()
        yield server
        if server.postmaster is not None:
            server.stop()


@pytest.mark.slow
def test_a_database_that_restarts_changes_no_leader_and_nothing_is_paid_twice(open_bays, own_server):
    # The lease is longer than a busy machine needs until the process has begun again.
    with opened(open_bays, ("a", "b"), server=own_server, lease=60.0) as farm:
        farm.start()
        farm.drop(12)
        farm.until(lambda: farm.bay.paid >= 3)
        own_server.stop("immediate")
        paid = farm.bay.paid
        time.sleep(2.0)
        assert farm.bay.paid - paid <= RUNNING_MAX
        own_server.start()
        back = time.monotonic()
        farm.until(lambda: len(farm.nodes["a"].events("started")) == 2)
        assert time.monotonic() - back < patient(5)
        farm.until_retired(12)
        assert farm.leader == "a"
        assert farm.bay.paid == 12
        assert farm.nodes["b"].events("leads") == []
        farm.check("a")


class Wire:
    """A way to the database for one node, which can be cut."""

    def __init__(self, port):
        self.to, self.is_cut, self.open = port, False, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                if self.is_cut:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self.to))
                self.open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self):
        self.is_cut = True
        for end in self.open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.cut()
        self.listener.close()


@pytest.mark.slow
def test_a_leader_that_is_cut_off_from_the_database_sends_nothing_new_and_follows_when_it_is_back(
    open_bays, own_server
):
    wire = Wire(own_server.port)

    def url(name):
        port = wire.port if name == "a" else own_server.port
        return f"postgresql://clipspool@127.0.0.1:{port}/postgres?options=-csearch_path%3D{farm_schema[0]}"

    farm_schema = []
    with open_bays(render_seconds=0.3) as bay, contextlib.closing(wire):
        bay.move_to(own_server, "cut")
        farm_schema.append("cut")
        farm = Farm(bay, ("a", "b"), url=url)
        try:
            farm.start()
            farm.drop(12)
            farm.until(lambda: bay.paid >= 3)
            wire.cut()
            heir = farm.until_led_by_another("a")
            at = heir.events("leads")[0]["time"]
            farm.until(lambda: sum(state in {"delivered", "in_doubt"} for state in bay.jobs().values()) == 12)
            assert len({create.sha256 for create in bay.box.ledger.creates}) == bay.paid
            wire.is_cut = False
            a = farm.nodes["a"]
            farm.until(lambda: [one for one in a.events("follows") if one["time"] > at])
            assert set(bay.jobs().values()) <= {"delivered", "in_doubt"}
        finally:
            for node in farm.nodes.values():
                if node.daemon is not None:
                    node.daemon.kill()
                    node.daemon.wait()


@pytest.mark.slow
def test_of_two_nodes_with_one_name_the_older_ends_with_a_sentence(open_bays):
    with opened(open_bays, ("a", "b")) as farm:
        a, b = farm.nodes.values()
        b.config.write_text(b.config.read_text().replace('node = "b"', 'node = "a"'))
        farm.start("a")
        b.start(wait=False, before=("env",))
        assert a.daemon.wait(patient(30)) == 78
        assert "Another clipspool runs as the node a of this farm (process" in a.log.read_text()
        a.daemon = None
        farm.until(lambda: b.events("leads"))
        farm.drop(2)
        farm.until_retired(2)
        assert farm.bay.paid == 2


def test_a_command_on_another_machine_with_a_nodes_name_does_not_end_that_node(open_bays):
    with opened(open_bays, ("a", "b")) as farm:
        a, b = farm.nodes.values()
        b.config.write_text(b.config.read_text().replace('node = "b"', 'node = "a"'))
        farm.start("a")
        b.call("farm", "drain", "a")
        farm.until(lambda: not farm.leader)
        refused = b.call("pause")
        assert refused.returncode == 1
        assert "this machine cannot for a moment: the node a runs on " in refused.stderr
        assert b.call("farm", "drain", "a", "--undo").returncode == 0
        farm.until(lambda: farm.leader == "a")
        assert b.call("pause").returncode == 0
        assert a.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("which", ["inbox", "outbox"])
def test_a_leader_that_cannot_reach_an_inbox_or_its_outbox_hands_over_to_a_node_that_can(open_bays, which):
    with opened(open_bays, ("a", "b")) as farm:
        folder = getattr(farm.bay, which)
        for name, node in farm.nodes.items():
            way = farm.bay.home / f"way-{name}"
            way.symlink_to(folder)
            node.config.write_text(node.config.read_text().replace(f'"{folder}"', f'"{way}"'))
        farm.start()
        farm.drop(2)
        farm.until_retired(2)
        before = farm.leader
        farm.until(lambda: all(one["sees"] for one in farm.bay.query("SELECT sees FROM nodes")))
        way = farm.bay.home / f"way-{before}"
        way.unlink()
        way.mkdir()  # as a mount point without its share
        lost = time.monotonic()
        heir = farm.until_led_by_another(before)
        assert time.monotonic() - lost < patient(30)
        farm.drop(2, "t")
        farm.until_retired(4)
        assert farm.leader == heir.config.stem
        assert farm.bay.paid == 4


@pytest.mark.slow
def test_a_node_that_followed_for_long_accepts_no_database_that_forgot_something_since(open_bays, own_server):
    with opened(open_bays, ("a", "b"), server=own_server) as farm:
        a, b = farm.nodes.values()
        farm.start("a")
        b.start("--accept-restored", wait=False, before=("env",))
        farm.until(lambda: b.events("follows"))
        followed = time.monotonic()
        a.call("pause")
        farm.drop(1)
        farm.until(lambda: len(farm.bay.jobs()) == 1)
        copy = own_server.dump(farm.schema)
        a.call("resume")
        farm.until_retired(1)
        farm.until(lambda: time.monotonic() - followed > 2 * LEASE)
        a.daemon.kill()
        a.daemon.wait()
        own_server.restore(farm.schema, copy)
        farm.until_led_by_another("a")
        b.call("resume")
        farm.drop(1, "t")
        farm.until(lambda: {job["held"] for job in b.told("jobs")} == {"from_backup", "restored"})
        assert farm.bay.paid == 1


@pytest.mark.slow
def test_a_database_that_forgot_what_was_sent_is_known_by_the_inbox_and_nothing_is_sent(
    open_bays, own_server
):
    with opened(open_bays, ("a",), server=own_server) as farm:
        a = farm.nodes["a"]
        farm.start()
        a.call("pause")
        farm.drop(3)
        farm.until(lambda: len(farm.bay.jobs()) == 3)
        copy = own_server.dump(farm.schema)
        a.call("resume")
        farm.until_retired(3)
        a.daemon.kill()
        a.daemon.wait()
        own_server.restore(farm.schema, copy)
        farm.start()
        a.call("resume")
        farm.drop(1, "t")
        farm.until(lambda: {job["held"] for job in a.told("jobs")} == {"from_backup", "restored"})
        assert a.told("status")["journal"]["restored"] is True
        assert farm.bay.paid == 3
        assert a.call("resume", "--accept-restored", "--yes").returncode == 0
        farm.until(lambda: farm.bay.paid == 4)
        held = [job["id"] for job in a.told("jobs") if job["held"] == "from_backup"]
        assert len(held) == 3
        a.call("approve", "--yes", *held)
        farm.until(lambda: "queued" not in farm.bay.jobs().values())
        time.sleep(1.0)
        assert farm.bay.paid == 4, "what its folders prove is in doubt, or failed"
