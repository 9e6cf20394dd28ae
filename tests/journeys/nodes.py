"""Several nodes of a farm over one bay: each the real command, with one journal in PostgreSQL."""

import contextlib
import os
import signal
import time

import postgres
from faults.oracle import Oracle
from journeys.bay import beside
from patience import patient

LEASE = 5.0
RUNNING_MAX = 4
CONFORMS = "[models.gen4_aleph]\nside_pixels_max = 120\n"
"""Every clip has to be made smaller before it is sent."""


def move_to_postgres(bay, server=None):
    """Keep the bay's journal in a schema of its own, in the session's server unless another is named."""
    bay.move_to(server or postgres.shared(), f"farm_{os.getpid()}_{time.monotonic_ns()}")


def node(bay, name, *, farm="", top=CONFORMS, **places):
    """Make a node of the farm: its own name, state and log; folders and journal are the bay's."""
    one = beside(bay, name)
    one.home = bay.home
    one.configure(top=f'[farm]\nnode = "{name}"\nlease_seconds = {LEASE}\n{farm}\n{top}', **places)
    return one


def begin(one, event):
    """Start a node, and wait until it leads (`started`) or follows (`follows`)."""
    one.start(wait=False)
    one.until(lambda: one.events(event), 20, f"it {event}")
    return one


def prepared_by(bay):
    """Return by job who prepared it: empty for the node that led."""
    rows = bay.query("SELECT job_id, facts::json ->> 'node' AS node FROM events WHERE event = 'prepared'")
    return {row["job_id"]: row["node"] or "" for row in rows}


class Farm:
    """Nodes beside a bay, each with a configuration and a state folder of its own."""

    def __init__(self, bay, names, *, lease=LEASE, url=None, keys=""):
        self.bay, self.nodes = bay, {}
        bay.is_checked = False  # it is checked at the end, from one node's side
        for name in names:
            node = beside(bay, name)
            node.configure(
                provider=f"running_max = {RUNNING_MAX}",
                top=f'[farm]\nnode = "{name}"\nlease_seconds = {lease}',
                keys=keys,
            )
            if url is not None:
                node.config.write_text(
                    node.config.read_text().replace(self.bay.database[0].url(self.schema), url(name))
                )
            self.nodes[name] = node

    @property
    def schema(self):
        return self.bay.database[1]

    def start(self, *names):
        """Start nodes, the first of which leads."""
        for name in names or self.nodes:
            node = self.nodes[name]
            node.start(wait=False, before=("env",))
            node.until(lambda node=node: node.events("leads") or node.events("follows"), 30, f"{name} joins")

    @property
    def leader(self):
        rows = self.bay.query("SELECT node FROM leader WHERE until > now()")
        return rows[0]["node"] if rows else ""

    def until_led_by_another(self, before, seconds=30):
        end = time.monotonic() + patient(seconds)
        while self.leader in {"", before}:
            assert time.monotonic() < end, self.lately()
            time.sleep(0.05)
        return self.nodes[self.leader]

    def until(self, is_so, seconds=30):
        end, asked = time.monotonic() + patient(seconds), time.monotonic()
        while not is_so():
            assert time.monotonic() < end, self.lately()
            time.sleep(min(max(0.05, time.monotonic() - asked), 0.5))
            asked = time.monotonic()

    def until_retired(self, count, seconds=60):
        retired = "SELECT 1 FROM clips WHERE retired_at IS NOT NULL"
        self.until(lambda: len(self.bay.query(retired)) == count, seconds)

    def lately(self):
        return "\n\n".join(node.lately() for node in self.nodes.values())

    def drop(self, count, prefix="s"):
        for number in range(count):
            self.bay.drop(f"{prefix}{number:03}.mp4")

    def live_tasks_max(self, render_seconds):
        """Return how many tasks ran at once, by the provider's own record; all take equally long."""
        starts = [create.at for create in self.bay.box.ledger.creates]
        return max(sum(at <= other < at + render_seconds for at in starts) for other in starts)

    def check(self, name):
        """Nothing was paid twice and nothing is lost, as the journal and the folders show."""
        self.bay.until_swept()
        found = Oracle(self.nodes[name]).violations()
        assert found == [], "\n".join([*found, self.lately()])


@contextlib.contextmanager
def opened(open_bays, names=("a", "b", "c"), server=None, *, bay="one", render_seconds=0.3, **how):
    """Make nodes over a new bay, not started yet; in the end all are killed, a frozen one too."""
    with open_bays(bay, render_seconds=render_seconds) as made:
        move_to_postgres(made, server)
        farm = Farm(made, names, **how)
        try:
            yield farm
        finally:
            for node in farm.nodes.values():
                if node.daemon is not None and node.daemon.poll() is None:
                    node.daemon.send_signal(signal.SIGCONT)
                    node.daemon.kill()
                    node.daemon.wait()
