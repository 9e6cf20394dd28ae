"""Orders from any node to the leader: taken up once, answered in their row; which inboxes a node reaches."""

import errno
import itertools
import os
import threading
import time
from functools import partial

import pytest
from psycopg.types.json import Jsonb
from structlog.testing import capture_logs

import postgres
from clipspool.farm.lease import Lease, ask
from clipspool.farm.orders import NotAnswered, OrderDesk, give
from clipspool.farm.sight import Sight
from clipspool.journal.postgres import connect_beside, make_schema

_NUMBERS = itertools.count()


@pytest.fixture
def opened():
    address = postgres.shared().schema(f"orders_{os.getpid()}_{next(_NUMBERS)}")
    make_schema(address)
    return partial(connect_beside, address)


class Heartbeat:
    """What a desk asks of the heartbeat, and tells it."""

    has_orders = False

    def __init__(self):
        self.looks = threading.Semaphore(0)

    def look_now(self):
        self.looks.release()


@pytest.fixture
def leader(opened):
    """Gives a desk that looks at once, and what it was asked."""
    desks = []

    def make(answer, epoch=1, heartbeat=None):
        lease = Lease("a", epoch, 30.0, time.monotonic(), passed=time.monotonic)
        desk = OrderDesk(opened, lease, answer, heartbeat or Heartbeat())
        desks.append(desk)
        return desk

    yield make
    for desk in desks:
        desk.stop()


def rows(opened, sql="SELECT taken_by, answered_at IS NOT NULL, trouble FROM orders ORDER BY id"):
    with opened() as beside:
        return beside.execute(sql).fetchall()


def test_an_order_of_another_node_is_carried_out_and_answered_soon(opened, leader):
    asked = []
    desk = leader(lambda command, arguments: asked.append((command, arguments)) or ["done"])
    desk.start()
    begun = time.monotonic()
    assert give(opened, "b", "retry", {"ids": ["j1"], "by": "ann"}, 30.0) == ["done"]
    assert time.monotonic() - begun < 10.0
    assert asked == [("retry", {"ids": ["j1"], "by": "ann"})]


def test_a_node_that_was_not_seen_for_a_month_is_forgotten_when_a_leader_begins(opened, leader):
    enter = (
        "INSERT INTO nodes (name, instance, place, host, pid, version, stages, has_page, lease_seconds, "
        "seen_at) VALUES (%s, 'x', 'x', 'x', 1, '0.2.0', '[]', true, 15, now() - %s::interval)"
    )
    with opened() as beside:
        for node in (("old", "31 days"), ("away", "29 days")):
            beside.execute(enter, node)
    leader(lambda *_: None).start()
    give(opened, "b", "retry", {}, 30.0)
    assert rows(opened, "SELECT name FROM nodes") == [("away",)]


def test_an_order_whose_notice_was_lost_is_taken_up_when_the_heartbeat_has_seen_it(opened, leader):
    taken, heartbeat = threading.Semaphore(0), Heartbeat()
    leader(lambda *_: taken.release(), heartbeat=heartbeat).start()
    give(opened, "b", "retry", {}, 30.0)  # by now it listens, and has looked once
    assert taken.acquire(timeout=30.0)
    with opened() as beside:
        beside.execute("INSERT INTO orders (node, command, arguments) VALUES ('b', 'retry', '{}')")
    assert not taken.acquire(timeout=0.5), "nobody has noticed it"
    heartbeat.has_orders = True
    assert taken.acquire(timeout=30.0)


def test_a_leader_that_is_drained_looks_at_once(opened, leader):
    heartbeat = Heartbeat()
    leader(lambda *_: None, heartbeat=heartbeat).start()
    give(opened, "b", "retry", {}, 30.0)
    assert heartbeat.looks.acquire(timeout=30.0)
    while heartbeat.looks.acquire(timeout=1.0):  # one by its start, one by the order
        pass
    with opened() as connection:
        assert ask(connection, "drain", {"name": "nobody", "is_drained": True}) == []
        assert not heartbeat.looks.acquire(timeout=0.3)
        connection.execute(
            "INSERT INTO nodes (name, instance, place, host, pid, version, stages, lease_seconds) "
            "VALUES ('a', '', '', '', 1, '', '[]', 30)"
        )
        assert ask(connection, "drain", {"name": "a", "is_drained": True})
    assert heartbeat.looks.acquire(timeout=30.0)


def test_what_the_leader_refuses_is_said_to_who_gave_the_order(opened, leader):
    def refuse(_command, _arguments):
        raise ValueError("there is no inbox bay-9")

    leader(refuse).start()
    with pytest.raises(NotAnswered, match="there is no inbox bay-9"):
        give(opened, "b", "pause", {"inbox": "bay-9"}, 30.0)


def test_a_leader_that_hangs_is_not_said_to_have_refused(opened, leader):
    def hang(_command, _arguments):
        raise TimeoutError

    leader(hang).start()
    with pytest.raises(NotAnswered, match="it may still carry it out"):
        give(opened, "b", "retry", {"ids": ["j1"]}, 30.0)


def test_an_order_whose_connection_is_lost_is_said_to_be_carried_out_or_not(opened, leader):
    """Who gives it again at once may have a clip run twice, and pay for both."""
    givers, carried_out = [], threading.Event()

    def connect_giver():
        givers.append(opened())
        return givers[-1]

    def end_connection(*_order):
        with (
            opened() as beside
        ):  # whatever it asks at this moment: its first look for an answer may be to come
            beside.execute("SELECT pg_terminate_backend(%s)", [givers[0].info.backend_pid])
        carried_out.set()

    leader(end_connection).start()
    with pytest.raises(NotAnswered, match="the order may be carried out all the same: look at the jobs"):
        give(connect_giver, "b", "again", {"ids": ["j1"]}, 30.0)
    assert carried_out.wait(30.0)


@pytest.mark.parametrize("prompt", ["caf\udce9", "caf\0"])
def test_an_order_that_no_database_takes_is_said_to_be_not_given(opened, prompt):
    with pytest.raises(
        NotAnswered, match=r"^the order was not given: a part of it is no UTF-8, or holds a NUL$"
    ):
        give(opened, "b", "again", {"ids": ["j1"], "prompt": prompt}, 30.0)
    assert rows(opened) == []


def test_an_order_that_nobody_takes_is_withdrawn_and_never_carried_out_later(opened, leader):
    with pytest.raises(NotAnswered, match="no node of the farm leads now, so nothing was done"):
        give(opened, "b", "retry", {"ids": ["j1"]}, 0.2)
    asked = []
    with opened() as connection:
        leader(lambda *order: asked.append(order)).look(connection)
    assert (asked, rows(opened)) == ([], [(None, True, "withdrawn")])


def test_an_order_whose_leader_ended_is_not_carried_out_a_second_time(opened, leader):
    """It may have made a job run again, and be charged: a person looks before it is given once more."""
    taken, ended, begun = threading.Event(), threading.Event(), []

    def answer_never(*order):
        begun.append(order)
        taken.set()
        ended.wait(30.0)
        raise OSError("the process ended")

    first, asked = leader(answer_never), []
    giver = threading.Thread(
        target=lambda: asked.append(outcome(partial(give, opened, "b", "retry", {}, 30.0)))
    )
    giver.start()
    with opened() as connection:
        while not taken.is_set():
            first.look(connection)
            time.sleep(0.05)
        first.look(connection)  # while the order is under way
        leader(lambda *order: asked.append(order), epoch=2).look(connection)
    giver.join()
    ended.set()
    (said,) = asked
    assert len(begun) == 1
    assert "may have carried it out or not: look at the jobs before you give it again" in said


def outcome(act):
    try:
        return act()
    except NotAnswered as error:
        return str(error)


def test_an_order_that_is_a_minute_old_is_not_carried_out(opened, leader):
    with opened() as connection:
        connection.execute(
            "INSERT INTO orders (at, node, command, arguments) "
            "VALUES (now() - interval '61 seconds', 'b', 'retry', '{}')"
        )
        asked = []
        leader(lambda *order: asked.append(order)).look(connection)
    assert asked == []
    assert rows(opened) == [(None, True, "no node that leads took it up in time; nothing was done")]


def test_a_leader_that_was_replaced_keeps_no_snapshot_over_its_successors(opened):
    with opened() as connection:
        for epoch, body in ((2, "new"), (1, "of before"), (2, "newer")):
            ask(connection, "keep_snapshot", {"epoch": epoch, "body": Jsonb(body)})
            told = [row["body"] for row in ask(connection, "snapshot")]
            assert told == [{"of before": "new"}.get(body, body)]
    assert rows(opened, "SELECT epoch FROM snapshot") == [(2,)]


def test_an_inbox_that_cannot_be_reached_or_does_not_answer_is_not_seen():
    now, is_there = [0.0], [True]

    def look():
        if not is_there[0]:
            raise FileNotFoundError

    sight = Sight({"bay": look, "far": lambda: None}, monotonic=lambda: now[0])
    sight.look("bay")
    sight.look("far")
    assert sight.names() == {"bay", "far"}
    is_there[0] = False
    sight.look("bay")
    assert sight.names() == {"far"}
    now[0] = 11.0  # the look at it hangs
    assert sight.names() == frozenset()


def test_a_node_says_once_why_it_does_not_reach_an_inbox():
    troubles = ["it is not the inbox it was"] * 2 + ["", "stale"]

    def look():
        if why := troubles.pop(0):
            raise OSError(errno.ENODEV, why)

    sight = Sight({"bay": look})
    with capture_logs() as said:
        for _ in range(4):
            sight.look("bay")
    assert [(one["event"], one["inbox"], one["why"]) for one in said] == [
        ("inbox_not_reached", "bay", "it is not the inbox it was"),
        ("inbox_not_reached", "bay", "stale"),
    ]


def test_a_thread_for_each_inbox_looks_by_itself():
    looked = threading.Event()
    sight = Sight({"bay": looked.set})
    sight.start()
    assert looked.wait(30.0)
    sight.stop()
