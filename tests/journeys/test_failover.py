"""A database with a replica that takes over, while a daemon runs on it with real clips."""

import tempfile
from pathlib import Path

import pytest

import postgres
from clipspool.journal import Address

NAMES = [f"s{number:02}.mp4" for number in range(8)]


class Pair:
    """A primary and its replica, which a url names together."""

    def __init__(self, folder):
        settings = postgres.QUICK | postgres.REPLICATED
        self.primary = postgres.Server(folder / "one", settings)
        self.replica = postgres.Server(folder / "two", settings)
        self.primary.make()
        self.primary.start()
        self.replica.make_of(self.primary)
        self.replica.start()
        self.folders = f"{self.primary.folder},{self.replica.folder}"

    def url(self, schema):
        one = str(self.primary.folder)
        return self.primary.url(schema).replace(one, self.folders)

    def schema(self, name):
        self.primary.schema(name)
        return Address(self.url(name))

    def query(self, schema, statement, values=()):
        return self.primary.query(schema, statement, values)

    def wait_for_the_replica(self, names):
        """Have the primary acknowledge nothing that its replica does not have, or anything."""
        with self.primary.connect() as beside:
            beside.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
            beside.execute("SELECT pg_reload_conf()")

    def cut_off(self):
        """Have the replica learn nothing more; what it lacks then is lost when it takes over."""
        with self.replica.connect() as beside:
            beside.execute("ALTER SYSTEM SET primary_conninfo = ''")
            beside.execute("SELECT pg_reload_conf()")
        while self.primary.query("public", "SELECT 1 FROM pg_stat_replication"):
            pass

    def fail_over(self):
        """End the primary by kill -9, and make the replica the primary."""
        self.primary.kill()
        self.replica.promote()
        self.primary, self.replica = self.replica, self.primary

    def stop(self):
        for one in (self.primary, self.replica):
            if one.postmaster is not None:
                one.stop()


@pytest.fixture
def pair():
    with tempfile.TemporaryDirectory(prefix="clipspool-") as folder:
        Path(folder).chmod(0o755)
        both = Pair(Path(folder))
        yield both
        both.stop()


@pytest.mark.slow
def test_a_synchronous_replica_that_takes_over_is_as_a_restart(pair, bay):
    bay.move_to(pair, "journal")
    pair.wait_for_the_replica("*")
    bay.start()
    for name in NAMES[:4]:
        bay.drop(name)
    bay.until(lambda: bay.paid > 0)
    pair.fail_over()
    pair.wait_for_the_replica("")  # there is none any more, and everything would wait for it
    for name in NAMES[4:]:
        bay.drop(name)
    bay.until_retired(len(NAMES), seconds=60)
    assert set(bay.jobs().values()) == {"delivered"}
    assert bay.paid == len(NAMES)
    assert bay.told("status")["journal"]["restored"] is False


@pytest.mark.slow
def test_a_replica_that_lacks_the_last_second_sends_nothing_again_when_it_takes_over(pair, bay):
    bay.is_checked = False  # the oracle knows one journal, and this is its past
    bay.move_to(pair, "journal")
    bay.start()
    bay.call("pause")
    for name in NAMES:
        bay.drop(name)
    bay.until_states(*["queued"] * len(NAMES))
    pair.cut_off()
    bay.call("resume")
    bay.until(lambda: bay.paid == len(NAMES))
    pair.fail_over()
    bay.until(lambda: len(bay.events("started")) == 2, 40)
    bay.call("resume")  # of the pause that the replica remembers
    bay.drop("new.mp4")
    bay.until(lambda: len(bay.jobs()) == len(NAMES) + 1)
    bay.until(lambda: bay.told("status")["journal"]["restored"])
    assert bay.call("resume", "--accept-restored", "--yes").returncode == 0
    bay.until(lambda: bay.paid == len(NAMES) + 1)
    held = [job["id"] for job in bay.told("jobs") if job["held"] == "from_backup"]
    assert len(held) == len(NAMES)
    assert bay.call("approve", "--yes", *held).returncode == 0
    bay.until(lambda: not {"queued", "submitting"} & set(bay.jobs().values()))
    assert set(bay.box.ledger.creates_by_clip().values()) == {1}
