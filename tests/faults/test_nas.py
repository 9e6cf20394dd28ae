"""A file server that hangs, fails, dies or lies, as the inbox or outbox of one of two: the other goes on."""

import contextlib
import hashlib
import json
import subprocess
import time

import pytest

from faults.nas import open_nas
from faults.oracle import Oracle
from faults.watcher import watched
from journeys.bay import COMMAND, make_clip
from patience import patient


@pytest.fixture
def nas(tmp_path):
    with open_nas(tmp_path) as one:
        if one is None:
            pytest.skip("no FUSE here")
        yield one


SECOND = """
[[inbox]]
name = "local"
path = "{home}/local"
outbox = "{home}/local-results"
settle_seconds = 0.1
rescan_seconds = 1.0
"""


def put_local(bay, name):
    folder = bay.home / "local"
    data = make_clip(bay.template, name)
    bay.dropped[hashlib.sha256(data).hexdigest()] = name
    (folder / f"{name}.toml").write_text(f'prompt = "{name}"\n')
    (folder / f".{name}.part").write_bytes(data)
    (folder / f".{name}.part").rename(folder / f"{name}.mp4")


@pytest.fixture
def two(nas, open_bays):
    """Yield a bay whose inbox and outbox lie on the file server, with a second inbox on a local disk."""
    with open_bays(render_seconds=2.0) as bay:
        bay.inbox, bay.outbox = nas.at / "bay", nas.at / "results"
        for folder in (bay.inbox, bay.outbox, bay.home / "local", bay.home / "local-results"):
            folder.mkdir()
        bay.configure(provider="running_max = 30")
        bay.config.write_text(bay.config.read_text() + SECOND.format(home=bay.home))
        try:
            yield bay
        finally:
            nas.order()


def until_local_has(bay, *names):
    results = bay.home / "local-results"
    bay.until(lambda: all((results / f"{n}.mp4").exists() for n in names), 30, f"{names} are delivered")


@pytest.mark.heavy
@pytest.mark.parametrize("moment", ["queued", "running"])
def test_while_a_file_server_hangs_the_other_inbox_goes_on_and_after_it_nothing_is_lost(nas, two, moment):
    two.start()
    put_local(two, "first")
    until_local_has(two, "first")
    for number in range(12):
        two.drop(f"n{number:02}.mp4")
    if moment == "running":
        two.until(lambda: list(two.jobs().values()).count("running") >= 4, 20)
    nas.order(hang=True)
    for number in range(3):
        put_local(two, f"while{number}")
    until_local_has(two, "while0", "while1", "while2")
    asked = subprocess.Popen(
        [*COMMAND, "status", "-c", str(two.config), "--json"],
        env=two.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    told = b""
    with contextlib.suppress(subprocess.TimeoutExpired):
        told, _ = asked.communicate(timeout=patient(10))
    nas.order(error="EIO")
    assert asked.wait(patient(10)) == 0
    assert json.loads(told)["daemon"]["running"]
    put_local(two, "after")
    until_local_has(two, "after")
    nas.order()
    two.until_retired(17, 60)
    assert two.paid == 17
    assert two.stop() == 0


@pytest.mark.heavy
def test_a_daemon_ends_in_time_and_with_0_while_a_file_server_hangs(nas, two):
    more = [nas.at / f"more{number}" for number in range(4)]
    for folder in more:
        folder.mkdir()
    inboxes = (f'[[inbox]]\nname = "{at.name}"\npath = "{at}"\noutbox = "{two.outbox}"\n' for at in more)
    two.config.write_text("\n".join([two.config.read_text(), *inboxes]))
    two.start()
    for number in range(4):
        two.drop(f"n{number}.mp4")
    two.until(lambda: "running" in two.jobs().values(), 20)
    nas.order(hang=True)
    time.sleep(1)
    two.daemon.terminate()
    two.until(lambda: two.events("stopped"), 58, "it stops")
    nas.order()  # what waits for FUSE cannot be killed, unlike what waits for NFS
    assert two.daemon.wait(patient(10)) == 0
    two.daemon = None
    assert two.run_until_idle(60) == 0
    assert sorted(two.jobs().values()) == ["delivered"] * 4
    assert two.paid == 4


@pytest.mark.heavy
def test_a_file_server_that_dies_takes_its_inbox_offline_and_nothing_is_paid_twice(nas, two):
    two.start()
    for number in range(4):
        two.drop(f"n{number}.mp4")
    two.until(lambda: list(two.jobs().values()) == ["running"] * 4, 20)
    nas.die()
    two.until(lambda: [e for e in two.events("inbox_changed") if e["to"] == "offline"], 20, "offline")
    put_local(two, "local")
    until_local_has(two, "local")
    nas.unmount()
    assert list(nas.at.iterdir()) == []
    assert nas.mount()
    two.until_retired(5, 60)
    assert list(nas.at.iterdir())
    assert two.paid == 5
    assert two.stop() == 0


CALLS = {
    "ESTALE": ("getattr", "open", "readdir", "unlink"),
    "EIO": ("rename", "link", "create", "fsync", "fsyncdir", "write", "read", "statfs"),
    "EACCES": ("rename", "unlink", "mkdir"),
}


@pytest.mark.heavy
@pytest.mark.parametrize("error", CALLS)
def test_a_file_server_that_fails_now_and_then_loses_nothing(nas, two, error):
    with watched(two):
        two.start()
        for number in range(6):
            nas.order(errors={call: [error, 3] for call in CALLS[error]})
            try:
                two.drop(f"n{number}.mp4")
            except OSError:
                nas.order()
                two.drop(f"n{number}.mp4")
                nas.order(errors={call: [error, 3] for call in CALLS[error]})
            time.sleep(0.4)
        nas.order()
        two.until_retired(6, 60)
        assert two.stop() == 0
    assert two.paid == 6
    assert [v for v in Oracle(two).violations() if not v.startswith("I10")] == []


@pytest.fixture
def shared(nas, open_bays):
    """Yield a bay whose outbox alone lies on the file server."""
    with open_bays(render_seconds=0.5) as bay:
        bay.outbox = nas.at / "results"
        bay.outbox.mkdir()
        bay.configure()
        yield bay
        nas.order()


def test_a_file_server_that_says_only_at_close_that_bytes_are_lost_is_heard(nas, shared):
    with watched(shared):
        shared.start()
        shared.drop()
        shared.until_states("running")
        nas.order(errors={"flush": ["EIO", 2]})
        shared.until(lambda: nas.left()["errors"]["flush"][1] == 0, 20, "the file server failed at close")
        shared.until_retired(1, 30)
        assert shared.stop() == 0
    assert Oracle(shared).violations() == []


def test_a_file_server_that_loses_what_was_written_never_shows_it_under_a_final_name(nas, shared):
    with watched(shared):
        shared.start()
        shared.drop()
        shared.until_states("running")
        nas.order(lose=1)
        shared.until(lambda: nas.left()["lose"] == 0, 20, "the file server lost something")
        shared.until_retired(1, 30)
        assert shared.stop() == 0
    assert Oracle(shared).violations() == []


@pytest.mark.parametrize("error", ["EINVAL", "ENOENT"])
def test_a_file_server_that_takes_fewer_names_gets_the_result_under_one_that_it_takes(nas, shared, error):
    nas.order(strict=error)
    odd = ["a:b.mp4", "what?.mp4", 'day: one/q"q.mp4', "tab\t.mp4", "dots...mp4"]
    with watched(shared):
        shared.start()
        for name in odd:
            shared.drop(name)
        shared.until_retired(len(odd), 40)
        assert shared.stop() == 0
    names = {name for name in shared.results() if name.endswith(".mp4")}
    assert names == {"a_b.mp4", "what_.mp4", "day_ one/q_q.mp4", "tab_.mp4", "dots...mp4"}
    assert Oracle(shared).violations() == []


def test_a_file_server_that_takes_shorter_names_gets_the_result_under_one_that_it_takes(nas, shared):
    """As the encrypted folders of a NAS do."""
    nas.order(name_max=143)
    with watched(shared):
        shared.start()
        for name in ("n" * 250 + ".mp4", "n" * 140 + ".mp4", "d" * 200 + "/short.mp4"):
            shared.drop(name)
        shared.until_retired(3, 40)
        assert shared.stop() == 0
    names = {name for name in shared.results() if name.endswith(".mp4")}
    assert names == {"n" * 110 + ".mp4", "n" * 110 + "-2.mp4", "d" * 110 + "/short.mp4"}
    assert Oracle(shared).violations() == []
