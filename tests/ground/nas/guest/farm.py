"""A farm on a share: three nodes, each on a client of its own, with one journal in PostgreSQL."""

import contextlib
import time
from collections import Counter
from pathlib import Path

import scenes

from runway_sandbox import Options, Render, serve

NAMES = "abc"
RENDER_SECONDS, SPARE_SECONDS = 30.0, 10.0
FARM = """\
url = "{url}"
[farm]
node = "{name}"
"""


def kill_the_leader(home, name, asked):
    """Kill the leader by kill -9 half-way, while as many tasks run as may, and have the others go on."""
    import postgres  # here, as an older version that is tried has no need of its driver

    count, running_max = asked["clips"], asked["running_max"]
    server = postgres.Server(Path("/tmp/postgres"))
    server.make()
    server.start()
    server.schema("farm")
    (home / "in").mkdir(parents=True)
    (home / "out").mkdir()
    options = Options(render=Render.ECHO, render_seconds=RENDER_SECONDS, ledger=Path(f"/tmp/{name}.jsonl"))
    with (
        serve(options) as box,
        server.connect("farm") as journal,
        _nodes(name, box, server.url("farm"), running_max) as nodes,
    ):

        def leader():
            rows = journal.execute("SELECT node FROM leader WHERE until > now()").fetchall()
            return rows[0][0] if rows else ""

        def states():
            return Counter(state for (state,) in journal.execute("SELECT state FROM jobs"))

        def is_half_way():
            """No request is under way, nor soon will be: what was paid last is not about to end."""
            live = box.ledger.creates[-running_max:]
            is_fresh = bool(live) and time.time() < live[0].at + RENDER_SECONDS - SPARE_SECONDS
            return len(box.ledger.creates) >= count // 2 and is_fresh and states()["running"] == running_max

        for node in nodes.values():
            node.start(is_awaited=False)
        scenes.until(lambda: all(map(_joined, nodes.values())), 600, "all have joined")
        print("all have joined", flush=True)
        scenes.drop(home, count)
        scenes.until(is_half_way, 600, "half of the clips are paid")
        told = {"led_first": leader(), "paid_before": len(box.ledger.creates)}
        nodes[told["led_first"]].kill()
        print("killed", told, flush=True)
        killed = time.monotonic()
        scenes.until(lambda: leader() not in {"", told["led_first"]}, 400, "another node leads")
        told |= {"led_then": leader(), "led_after_seconds": round(time.monotonic() - killed, 1)}
        with contextlib.suppress(TimeoutError):
            scenes.until(lambda: _retired(home) >= count, 900, "all is delivered")
        time.sleep(10)  # a second result of one clip would come now
        told["delivered_after_seconds"] = round(time.monotonic() - killed, 1)
        for node in nodes.values():
            node.stop()
        creates = box.ledger.creates
        told |= scenes.told_of(home, box, ()) | {
            "paid_twice": sorted(set(box.ledger.creates_by_clip().values()) - {1}),
            "states": states(),
            "live_max": max(_live(creates, create.at) for create in creates),
        }
        if told["done"] < count:
            told["logs"] = _lately(nodes)
    server.stop()
    return told


@contextlib.contextmanager
def _nodes(name, box, url, running_max):
    nodes = {}
    for client in NAMES:
        keys = FARM.format(url=url, name=client)
        nodes[client] = scenes.Node(client, name, box.base_url, farm=keys, running_max=running_max)
    try:
        yield nodes
    except TimeoutError as error:
        raise TimeoutError(f"{error}\n{_lately(nodes)}") from None
    finally:
        for node in nodes.values():
            node.stop()


def _joined(node):
    said = node.log.read_bytes()
    return b'"event": "started"' in said or b'"event": "follows"' in said


def _retired(home):
    return len(list((home / "in/_done").rglob("*.mp4")))


def _live(creates, at):
    """Return how many tasks the provider had at a moment, by its own record; all take equally long."""
    return sum(create.at <= at < create.at + RENDER_SECONDS for create in creates)


def _lately(nodes):
    return "\n\n".join(node.log.read_text()[-3000:] for node in nodes.values())
