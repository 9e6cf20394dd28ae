"""One node leads: the lease, its fence in each transaction, take-over, and what a frozen leader may do."""

import contextlib
import io
import itertools
import os
import time
from dataclasses import replace

import psycopg
import pytest
from psycopg.types.json import Jsonb
from rich.console import Console

import postgres
from clipspool.cli.farm import _table
from clipspool.farm.lease import LeaseLost, ask
from clipspool.farm.membership import Membership
from clipspool.farm.nodes import Identity, last_seen, leader_of, members
from clipspool.journal import Address, Journal, JournalError
from clipspool.journal.postgres import connect_beside, make_schema

SECONDS = 30.0
_NUMBERS = itertools.count()


class Clock:
    """Seconds since boot of one machine, moved by hand."""

    def __init__(self):
        self.at = 1000.0

    def __call__(self):
        return self.at


class Farm:
    """Nodes on one schema of a real PostgreSQL, beaten by hand."""

    def __init__(self, address):
        self.address = address
        make_schema(address)
        self.nodes = []
        self.is_reached = True

    def connect(self):
        if not self.is_reached:
            raise JournalError("the database is not reached")
        return connect_beside(self.address)

    def node(self, name, place="", *, has_page=False, **more):
        identity = Identity(
            name, f"{name}-{next(_NUMBERS)}", place or f"place-{name}", f"host-{name}", 1, "0.2.0"
        )
        identity = replace(identity, has_page=has_page)
        made = Membership(self.connect, identity, SECONDS, passed=(clock := Clock()), **more)
        made.clock = clock
        self.nodes.append(made)
        made._wants_lead.set()
        return made

    def in_contact(self, *nodes):
        """Beat once, and let the nodes have been in contact for longer than a lease."""
        for node in nodes:
            node.beat()
            node.clock.at += SECONDS + 1

    def expire(self):
        """Let the lease run out, by the database's clock."""
        self.ask("UPDATE leader SET until = now() - interval '0.1 seconds'")

    def ask(self, sql):
        with connect_beside(self.address) as beside:
            cursor = beside.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def members(self):
        with connect_beside(self.address) as beside:
            return members(beside)

    def open(self, lease):
        return Journal.open(self.address, lease.as_fence)


@pytest.fixture
def farm():
    made = Farm(postgres.shared().schema(f"lease_{os.getpid()}_{next(_NUMBERS)}"))
    yield made
    for node in made.nodes:
        node._stopping.set()
        node._wake.set()
        if node._thread.is_alive():
            node._thread.join()
        if node._connection is not None:
            node._connection.close()


def write(journal):
    with journal.turn():
        journal.set_fact("paused", ["*"])


def test_the_first_node_leads_and_the_second_follows(farm):
    a, b = farm.node("a"), farm.node("b")
    farm.in_contact(a, b)
    a.beat()
    b.beat()
    assert (a.lease.epoch, a.lease.lost_node, b.lease) == (1, "", None)
    assert {one.name: one.state for one in farm.members()} == {"a": "leads", "b": "follows"}


def test_another_node_takes_over_once_the_lease_has_run_out_with_the_next_epoch(farm):
    a, b = farm.node("a"), farm.node("b")
    a.beat()
    farm.in_contact(b)
    b.beat()
    assert b.lease is None
    farm.expire()
    b.beat()
    assert (b.lease.epoch, b.lease.lost_node) == (2, "a")
    assert leader_of(farm.members()).name == "b"
    a.beat()
    assert a.lease.is_ended


def test_what_a_replaced_leader_gathered_is_dropped_with_its_turn(farm):
    a, b = farm.node("a"), farm.node("b")
    a.beat()
    journal = farm.open(a.lease)
    write(journal)
    farm.in_contact(b)
    farm.expire()
    b.beat()
    with pytest.raises(LeaseLost, match="The node a no longer leads the farm"), journal.turn():
        journal.set_fact("paused", ["bay"])
    reader = Journal.read(farm.address)
    assert reader.fact("paused") == ["*"]
    reader.close()
    journal.close()


def test_a_turn_that_swallows_the_loss_of_the_lease_still_writes_nothing(farm):
    """The scheduler answers a command with what it raised, and goes on with the turn's other messages."""
    a, b = farm.node("a"), farm.node("b")
    a.beat()
    journal = farm.open(a.lease)
    write(journal)
    farm.in_contact(b)
    farm.expire()
    b.beat()
    with pytest.raises(JournalError), journal.turn():  # noqa: PT012 - it is one turn
        with contextlib.suppress(LeaseLost):
            journal.set_fact("paused", ["bay"])
        journal.set_fact("brake", {"failures": 1})
    reader = Journal.read(farm.address)
    assert (reader.fact("paused"), reader.fact("brake")) == (["*"], None)
    reader.close()
    journal.close()


def test_a_former_term_of_the_same_node_writes_nothing_either(farm):
    """Its process may be frozen while the next one with its name, on another machine, leads."""
    old = farm.node("a", place="here")
    old.beat()
    journal = farm.open(old.lease)
    write(journal)
    new = farm.node("a", place="there")
    farm.in_contact(new)
    farm.expire()
    new.beat()
    assert new.lease.epoch == 2
    with pytest.raises(LeaseLost), journal.turn():
        journal.set_fact("paused", ["bay"])
    journal.close()
    mine = {**old._names, "sees": Jsonb([]), "doing": "", "epoch": 1, "seconds": SECONDS}
    (row,) = ask(old._open(), "beat", mine)
    assert not row["is_renewed"], "it renews no lease of the next term"
    ask(old._open(), "release", {"node": "a", "epoch": 1, "heir": ""})
    assert farm.ask("SELECT epoch, node, until > now() FROM leader") == [(2, "a", True)], "nor gives it back"


def test_a_lease_that_is_ended_here_lets_nothing_more_be_written_though_the_database_does_not_know(farm):
    """It was given back while the database was out of reach, or its heartbeat found that it was lost."""
    a = farm.node("a")
    a.beat()
    journal = farm.open(a.lease)
    write(journal)
    a.lease.end()
    with pytest.raises(LeaseLost):
        write(journal)
    journal.close()


def test_a_node_whose_name_was_taken_renews_no_lease(farm):
    old = farm.node("a", place="here")
    old.beat()
    farm.node("a", place="there")._open()  # it enters itself
    farm.ask("UPDATE leader SET until = now() + interval '1 second'")
    old.beat()
    assert old.lease.is_ended
    assert farm.ask("SELECT until < now() + interval '2 seconds' FROM leader") == [(True,)]


def test_a_node_that_follows_looks_often_while_the_leader_is_drained(farm):
    a, b = farm.node("a"), farm.node("b")
    a.beat()
    farm.in_contact(b)
    assert b.beat() == 3.0
    farm.ask("UPDATE nodes SET is_drained = true WHERE name = 'b'")
    assert b.beat() == 3.0
    farm.ask("UPDATE nodes SET is_drained = name = 'a'")
    assert b.beat() == 0.5


def test_a_leader_whose_row_a_restored_database_lacks_enters_itself_anew_and_leads_on(farm):
    a = farm.node("a")
    a.beat()
    farm.ask("DELETE FROM nodes; UPDATE leader SET until = now() + interval '5 seconds'")
    for renewed in (False, True):
        a.beat()
        assert not a.lease.is_ended
        assert farm.ask("SELECT until > now() + interval '10 seconds' FROM leader") == [(renewed,)]
    assert [one.state for one in farm.members()] == ["leads"]


def test_a_heartbeat_sees_the_orders_that_wait_for_the_leader(farm):
    a = farm.node("a")
    a.beat()
    given = (
        "INSERT INTO orders (node, command, arguments, taken_by, answered_at) VALUES ('b', 'pause', '{}', "
    )
    for order, waits in (
        ("1, NULL)", False),
        ("NULL, now())", False),
        ("0, NULL)", True),
        ("NULL, NULL)", True),
    ):
        farm.ask(given + order)
        a.beat()
        assert a.has_orders is waits
        farm.ask("DELETE FROM orders")


def test_of_two_nodes_that_see_a_lease_run_out_at_once_one_takes_it(farm):
    a, b, c = farm.node("a"), farm.node("b"), farm.node("c")
    a.beat()
    farm.in_contact(b, c)
    farm.expire()
    connection = c._open()  # it has read that the lease of epoch 1 has run out
    b.beat()
    c._take_over(connection, 1, "a")
    assert (b.lease.epoch, c.lease) == (2, None)
    farm.expire()
    c._take_over(connection, 1, "a")
    assert c.lease is None, "what it read is of another lease"


def test_a_lease_that_was_renewed_meanwhile_is_not_taken(farm):
    a, b = farm.node("a"), farm.node("b")
    a.beat()
    farm.in_contact(b)
    b._take_over(b._open(), a.lease.epoch, "a")
    assert (b.lease, a.leads) == (None, True)


def test_a_leader_with_too_little_time_left_begins_no_transaction(farm):
    a = farm.node("a")
    a.beat()
    journal = farm.open(a.lease)
    farm.ask(f"UPDATE leader SET until = clock_timestamp() + interval '{SECONDS * 0.1} seconds'")
    with pytest.raises(LeaseLost):
        write(journal)
    journal.close()


def test_there_is_no_take_over_within_a_transaction_of_the_leader_that_has_begun(farm, monkeypatch):
    monkeypatch.setattr("clipspool.farm.lease._SPARE", 0.0)
    a, b = farm.node("a"), farm.node("b")
    a.beat()
    farm.in_contact(b)
    journal = farm.open(a.lease)
    farm.ask("UPDATE leader SET until = clock_timestamp() + interval '1 second'")
    with journal.turn():
        journal.set_fact("paused", ["*"])
        while farm.ask("SELECT until > clock_timestamp() FROM leader") == [(True,)]:
            time.sleep(0.05)
        b.beat()
        assert b.lease is None
    b.beat()
    assert b.lease.epoch == 2
    reader = Journal.read(farm.address)
    assert reader.fact("paused") == ["*"]
    reader.close()
    journal.close()


def test_a_leader_that_froze_in_a_transaction_keeps_no_take_over_waiting_for_long(farm):
    a, b = farm.node("a"), farm.node("b")
    a.beat()
    farm.in_contact(b)
    journal = farm.open(a.lease)
    journal._database._connection.execute("SET idle_in_transaction_session_timeout = '200ms'")
    with pytest.raises(JournalError), journal.turn():  # noqa: PT012 - it is one turn
        journal.set_fact("paused", ["*"])
        time.sleep(0.5)  # it is frozen: the server ends its session
        farm.expire()
        b.beat()
        assert b.lease.epoch == 2
        journal.set_fact("brake", {})
    journal.close()


def test_a_leader_that_froze_between_two_messages_of_a_step_keeps_no_take_over_waiting(farm, monkeypatch):
    """No timeout of the server runs there, so whoever takes over ends its transaction."""
    monkeypatch.setattr("clipspool.farm.lease._SPARE", 0.0)
    a, b = farm.node("a"), farm.node("b")
    a.beat()
    farm.in_contact(b)
    journal = farm.open(a.lease)
    journal._database._connection.execute("SET idle_in_transaction_session_timeout = 0")
    monkeypatch.setattr("clipspool.farm.membership._LATE", 0.01)
    farm.ask("UPDATE leader SET until = clock_timestamp() + interval '1 second'")
    with pytest.raises(JournalError), journal.turn():  # noqa: PT012 - it is one turn
        journal.set_fact("paused", ["*"])
        b.beat()
        assert b.lease is None
        assert journal.fact("paused") == ["*"], "before it has run out nobody ends it"
        # The server ends the transaction a moment after it was asked to: a node beats until it leads.
        give_up_at = time.monotonic() + 30
        while not b.leads and time.monotonic() < give_up_at:
            time.sleep(0.05)
            b.beat()
        assert b.lease.epoch == 2
        journal.set_fact("brake", {})
    journal.close()


@pytest.fixture
def clones():
    """Yield the addresses of a database and of its copy in the same server: their tables have one number."""
    server, names = postgres.shared(), [f"clone{which}_{os.getpid()}" for which in (1, 2)]
    with server.connect() as beside:
        beside.execute(f"CREATE DATABASE {names[0]}")
        addresses = [Address(server.url().replace("/postgres?", f"/{name}?")) for name in names]
        make_schema(addresses[0])
        beside.execute(f"CREATE DATABASE {names[1]} TEMPLATE {names[0]}")
        yield addresses
        for name in names:
            beside.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_take_over_ends_no_transaction_of_another_farm_in_a_copy_of_the_database(clones, monkeypatch):
    monkeypatch.setattr("clipspool.farm.membership._LATE", 0.0)
    ours, theirs = clones
    with connect_beside(theirs) as other, other.transaction():
        other.execute("SELECT FROM leader FOR SHARE")
        farm = Farm(ours)
        a, b = farm.node("a"), farm.node("b")
        a.beat()
        farm.in_contact(b)
        farm.expire()
        b.beat()
        assert b.leads
        assert other.execute("SELECT 1").fetchone() == (1,)
    for node in farm.nodes:
        node._connection.close()


@pytest.mark.parametrize(("lease", "within"), [(30.0, "10s"), (6.0, "4s")])
def test_no_transaction_of_a_leader_may_take_as_long_as_its_lease(farm, lease, within):
    a = farm.node("a")
    a._seconds = lease
    a.beat()
    journal = farm.open(a.lease)
    for name in ("idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout"):
        assert journal._database._connection.execute(f"SHOW {name}").fetchone() == (within,)
    journal.close()


def test_a_frozen_leader_that_thaws_sends_nothing_by_its_own_clock(farm):
    a = farm.node("a")
    a.beat()
    assert a.lease.may_send()
    a.clock.at += SECONDS * 0.85
    assert a.lease.may_send()
    a.clock.at += SECONDS * 0.1  # it was frozen, and nobody may have taken over yet
    assert not a.lease.may_send()


def test_the_time_that_the_database_took_is_not_counted_as_lease(farm, monkeypatch):
    """The deadline counts from before it was asked: it may have read its clock right then."""
    a = farm.node("a")

    def late(connection, name, values=None):
        answer = ask(connection, name, values)
        a.clock.at += SECONDS / 2 if name in {"take_over", "beat"} else 0.0
        return answer

    monkeypatch.setattr("clipspool.farm.membership.ask", late)
    a.beat()
    assert a.lease._deadline - a.clock() == SECONDS / 2
    a.beat()
    assert a.lease._deadline - a.clock() == SECONDS / 2


def test_the_clock_counts_the_sleep_of_the_machine(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "clipspool.system.process.time.clock_gettime", lambda clock: asked.append(clock) or 1.0
    )
    from clipspool.farm.lease import Lease  # noqa: PLC0415

    Lease("a", 1, SECONDS, 0.0).may_send()
    assert asked == [time.CLOCK_BOOTTIME]


def test_the_leader_records_the_databases_time_and_counts_on_by_a_clock_that_nobody_sets(farm, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 5.0)
    a = farm.node("a")
    a.beat()
    ((database,),) = farm.ask("SELECT extract(epoch FROM now())::float8")
    assert a.lease.now() == pytest.approx(database, abs=60.0)
    before = a.lease.now()
    a.clock.at += 18_000.0
    assert a.lease.now() == pytest.approx(before + 18_000.0)


def test_a_node_that_follows_has_the_databases_time(farm, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    node = farm.node("a")
    node.beat()
    ((now,),) = farm.ask("SELECT extract(epoch FROM now())::float8")
    assert node.now() == pytest.approx(now, abs=30.0)
    node.clock.at += 3600.0
    assert node.now() == pytest.approx(now + 3600.0, abs=30.0)


def test_a_nodes_clock_changes_nothing_of_who_leads(farm):
    a, b = farm.node("a"), farm.node("b")
    a.beat()
    farm.in_contact(b)
    b.clock.at += 1e6
    b.beat()
    assert b.lease is None
    a.clock.at -= 900
    a.beat()
    assert leader_of(farm.members()).name == "a"


def test_after_an_outage_nobody_takes_over_for_one_lease_but_the_former_leader_goes_on(farm):
    a, b = farm.node("a"), farm.node("b")
    a.beat()
    farm.in_contact(b)
    farm.is_reached = False
    for node in (a, b):
        node._connection.close()
        with pytest.raises((psycopg.Error, JournalError)) as raised:
            node.beat()
        node._lose_contact(raised.value)
    farm.expire()
    farm.is_reached = True
    b.beat()
    b.clock.at += SECONDS - 0.1
    b.beat()
    assert b.lease is None
    a.beat()
    assert a.lease.is_ended
    a.beat()
    assert (a.lease.epoch, a.lease.lost_node, a.lease.is_ended) == (2, "", False)


def test_after_an_outage_of_one_lease_another_node_takes_over(farm):
    a, b = farm.node("a"), farm.node("b")
    a.beat()
    b.beat()
    farm.expire()
    b._lose_contact(OSError("cut"))
    b.beat()
    b.clock.at += SECONDS + 0.1
    b.beat()
    assert (b.lease.epoch, b.lease.lost_node) == (2, "a")


def test_a_leader_that_gives_its_lease_back_is_followed_at_once_and_nobody_doubts_it(farm):
    a, b = farm.node("a"), farm.node("b")
    a.beat()
    b.beat()
    a.give_back()
    assert not a.lease.may_send()
    b.beat()
    assert (b.lease.epoch, b.lease.lost_node) == (2, "")
    a.beat()
    assert a.lease.is_ended


def test_who_lost_the_lead_is_known_to_the_next_ones_too(farm):
    """One that leads for a command alone must not make its doubt forgotten."""
    a, b, c = farm.node("a"), farm.node("b"), farm.node("c")
    a.beat()
    farm.in_contact(b)
    farm.expire()
    b.beat()
    b.give_back()
    farm.ask("UPDATE leader SET lost_at = lost_at - interval '40 seconds'")
    c.beat()
    assert (c.lease.epoch, c.lease.lost_node) == (3, "a")
    assert 40 < c.lease.lost_seconds < 60


def test_a_lease_that_was_given_back_to_one_node_waits_for_it_a_moment(farm):
    a, b, c = farm.node("a"), farm.node("b"), farm.node("c")
    for node in (a, b, c):
        node.beat()
    a.give_back(heir="c")
    b.beat()
    assert b.lease is None
    c.beat()
    assert c.lease.epoch == 2


def test_an_heir_that_does_not_come_is_not_waited_for(farm):
    a, b = farm.node("a"), farm.node("b")
    a.beat()
    b.beat()
    a.give_back(heir="c")
    farm.ask("UPDATE leader SET until = now() - interval '6 seconds'")
    b.beat()
    assert b.lease.epoch == 2


def test_the_next_process_with_the_same_lock_need_not_wait_for_the_last_ones_lease(farm):
    a = farm.node("a", place="here")
    a.beat()
    again = farm.node("a", place="here")
    again.beat()
    assert (again.lease.epoch, again.lease.lost_node) == (2, "")


def test_of_two_nodes_with_one_name_the_older_is_fenced_and_told_and_the_lease_is_not_taken_from_it(farm):
    old, new = farm.node("a", place="here"), farm.node("a", place="there")
    old.beat()
    farm.in_contact(new)
    new.beat()
    assert new.lease is None
    old._connection.close()  # a node that connects again does not enter itself again
    old.beat()
    assert old.lease.is_ended
    assert old.replaced_by == "process 1 on host-a"
    assert old.await_lead(0.0) is None
    farm.expire()
    new.beat()
    assert (new.lease.epoch, new.replaced_by) == (2, "")


def test_a_node_that_a_restored_database_does_not_know_enters_itself_again(farm):
    a = farm.node("a")
    a.beat()
    farm.ask("DELETE FROM nodes")
    a.beat()
    assert [one.name for one in farm.members()] == ["a"]
    assert a.replaced_by == ""


def test_a_node_without_a_sign_of_life_for_one_lease_is_silent_and_what_it_did_is_not_shown(farm):
    a = farm.node("a", doing=lambda: "3 running")
    a.beat()
    a.beat()
    (one,) = farm.members()
    assert (one.state, one.doing, one.is_live) == ("leads", "3 running", True)
    farm.ask(f"UPDATE nodes SET seen_at = now() - interval '{SECONDS + 1} seconds'")
    (one,) = farm.members()
    assert (one.state, one.doing, one.is_live) == ("silent", "", False)
    assert last_seen(one) == "31 s ago"


def test_the_versions_of_nodes_are_shown_where_they_differ(farm):
    farm.node("a").beat()
    farm.node("b").beat()

    def shown():
        console = Console(file=io.StringIO(), width=200)
        console.print(_table(farm.members()))
        return console.file.getvalue()

    assert "version" not in shown()
    farm.ask("UPDATE nodes SET version = '0.3.0' WHERE name = 'b'")
    assert "leads (epoch 1), version 0.2.0" in shown()
    assert "follows, version 0.3.0" in shown()


def test_a_drained_node_takes_no_lead_until_another_process_begins(farm):
    a = farm.node("a")
    a._wants_lead.clear()
    a.beat()
    farm.ask("UPDATE nodes SET is_drained = true")
    a._wants_lead.set()
    a.beat()
    assert (a.is_drained, a.lease) == (True, None)
    assert farm.members()[0].state == "drained"
    a.identity = replace(a.identity, instance="a-again")  # the same process, started again
    a._is_registered = False
    a._connection.close()
    a.beat()
    assert a.is_drained
    b = farm.node("a", place="place-a")
    b.identity = replace(b.identity, pid=2)
    b.beat()
    assert not b.is_drained


def test_a_leader_that_lacks_an_inbox_which_another_node_sees_learns_its_heir(farm):
    a = farm.node("a", sees=lambda: seen)
    b = farm.node("b", sees=lambda: {"bay-1", "bay-2"})
    seen = {"bay-1", "bay-2"}
    a.beat()
    b.beat()
    a.beat()
    seen = {"bay-2"}
    a.beat()
    assert a.heir == ""  # it may be for a moment alone
    a.beat()
    assert a.heir == "b"


def test_a_node_that_sees_less_lets_the_other_go_first(farm):
    a, b = farm.node("a", sees=lambda: {"bay-1"}), farm.node("b", sees=lambda: {"bay-1", "bay-2"})
    c = farm.node("c")
    c.beat()
    a.beat()
    b.beat()
    c.give_back()
    a.beat()
    assert a.lease is None
    b.beat()
    assert b.lease.epoch == 2


def test_the_leader_knows_whether_any_node_has_a_page_or_had_one_before_it_went(farm):
    with_page = farm.node("b", has_page=True)
    with_page.beat()
    with_page.stop()
    a = farm.node("a")
    farm.in_contact(a)
    a.beat()
    assert a.leads
    assert a.has_page, "it is known with the lead"
    without = farm.node("b")
    farm.in_contact(without)
    a.beat()
    assert not a.has_page
    farm.in_contact(farm.node("c", has_page=True))
    assert not a.has_page
    a.beat()
    assert a.has_page


def test_a_scheduler_that_turns_no_more_lets_its_lease_run_out(farm):
    a = farm.node("a", leads_on=lambda: False)
    a.beat()
    (before,) = farm.ask("SELECT until FROM leader")
    a.beat()
    assert farm.ask("SELECT until FROM leader") == [before]


def test_a_newer_version_does_not_change_the_tables_under_running_nodes(farm):
    farm.node("a").beat()
    farm.ask("UPDATE journal_schema SET number = '0002'")
    with pytest.raises(JournalError, match=r"in use by an older clipspool .* on a: stop those nodes first"):
        make_schema(farm.address)


def test_a_thread_beats_by_itself_and_tells_who_waits_for_the_lead(farm):
    a = farm.node("a")
    a._passed = time.monotonic
    a.start()
    lease = a.await_lead(30.0)
    assert lease.epoch == 1
    b = farm.node("b")
    b._passed = time.monotonic
    b.start()
    assert b.await_lead(0.2) is None
    a.stop()
    assert b.await_lead(30.0).epoch == 2
    b.stop()
    assert {one.state for one in farm.members()} == {"stopped"}
