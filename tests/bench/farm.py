"""Nodes of a farm over one bay, each held to a share of a processor, and a PostgreSQL beside them."""

import os
import shutil
import sys
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import postgres
from bench import processes
from bench.tools import INBOX, Bay, Clipspool, until

SHARE = float(os.environ.get("BENCH_FARM_SHARE", "0.4"))
"""Of a core, for each node, where the machine has no core for each."""
_WEIGHT = 100_000
"""What else the machine does takes nothing of a share."""
V1, V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")


class Node(Clipspool):
    """One node: a home of its own, the bay's folders."""

    def __init__(self, bay, provider, url, name, *, leads, top="", **figures):
        home = bay.home / name
        home.mkdir()
        inboxes = [("bay", bay.inbox, bay.outbox)]
        super().__init__(SimpleNamespace(home=home), provider, inboxes=inboxes, **figures)
        self.ready = '"event": "started"' if leads else '"event": "follows"'
        self.name = name
        text = self.config.read_text().replace("[journal]\n", f'[journal]\nurl = "{url}"\n')
        text = text.replace("[logs]\n", f'[farm]\nnode = "{name}"\n\n{top}\n\n[logs]\n')
        self.config.write_text(text)

    def events(self, name):
        return [line for line in self.log.read_text().splitlines() if f'"event": "{name}"' in line]


@contextmanager
def farm(kit, provider, count, **figures):
    """Run a PostgreSQL and so many nodes, the first of which leads; everything is removed in the end."""
    bay = Bay(kit.folder())
    with tempfile.TemporaryDirectory(prefix="clipspool-") as folder, ExitStack() as ending:
        Path(folder).chmod(0o755)
        server = postgres.Server(Path(folder) / "server", settings={})
        server.make()
        server.start()
        ending.callback(server.stop)
        ending.callback(shutil.rmtree, bay.home, ignore_errors=True)
        url = server.schema("bench").url
        nodes = []
        for number in range(count):
            one = Node(bay, provider, url, f"node{number + 1}", leads=not nodes, **figures)
            ending.callback(one.kill)
            try:
                nodes.append(one.start())
            except Exception:
                print(one.log.read_text(errors="replace")[-3000:], file=sys.stderr)
                raise
        yield bay, server, nodes


@contextmanager
def held_to_a_share(nodes, most):
    """Hold each node, its decoding processes too, to the same share however many there are, up to `most`."""
    share = 1.0 if (os.cpu_count() or 1) > most else SHARE
    groups = [_group(f"clipspool-bench-{os.getpid()}-{node.name}", share) for node in nodes]
    try:
        for group, node in zip(groups, nodes, strict=True):
            for pid in processes.tree(node.process.pid):
                (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        for node in nodes:
            node.kill()
        for group in groups:
            with suppress(OSError):
                until(lambda group=group: not (group / "cgroup.procs").read_text(), 10, "a group is empty")
                group.rmdir()


def _group(name, share):
    """Make a group of processes that gets its share of a core; raises OSError where that may not be."""
    period = 100_000
    if (V1 / "cpu.cfs_quota_us").exists():
        group = V1 / name
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text(str(period))
        (group / "cpu.cfs_quota_us").write_text(str(int(period * share)))
        (group / "cpu.shares").write_text(str(_WEIGHT))
        return group
    group = V2 / name
    group.mkdir()
    (group / "cpu.max").write_text(f"{int(period * share)} {period}")
    (group / "cpu.weight").write_text("10000")
    return group


def transactions(server):
    """Count the transactions of a server so far."""
    (row,) = server.query(
        "public", "SELECT sum(xact_commit + xact_rollback) AS count FROM pg_stat_database", ()
    )
    return int(row["count"])


__all__ = ["INBOX", "Node", "farm", "held_to_a_share", "transactions"]
