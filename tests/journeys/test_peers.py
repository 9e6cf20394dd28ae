"""Two daemons with a journal each on one inbox: one dies, the other says so and takes over."""

import signal

import pytest

from journeys.bay import beside, journal_id, make_silent


def two_with_clips(one, count=3):
    """Return one daemon that has sent clips, and another beside it that has none."""
    two = beside(one)
    for bay in (one, two):
        bay.configure(keys="status_file = true")
    one.start()
    for number in range(count):
        one.drop(f"n{number}.mp4")
    one.until_states(*["running"] * count)
    two.start()
    two.until(lambda: two.told("status")["inboxes"][0]["peers"], what="it sees the other")
    return one, two


def status_files(bay):
    return [file.read_text() for file in bay.inbox.glob("_status*.txt")]


@pytest.mark.slow
def test_a_survivor_says_so_on_every_surface_and_takes_over_what_the_dead_one_had(open_bays):
    with open_bays(render_seconds=60.0) as bay:
        bay.is_checked = False  # half of the story is in the other journal
        one, two = two_with_clips(bay)
        try:
            dead = journal_id(one)
            command = f"clipspool recover --from {dead}"
            (peer,) = two.told("status")["inboxes"][0]["peers"]
            assert (peer["journal"], peer["life"], peer["command"]) == (dead, "living", "")
            assert two.events("foreign_work_found") == []
            one.stop(signal.SIGKILL)
            two.until(lambda: two.events("foreign_work_found"), 25, "it says so while it runs")
            (told,) = two.events("foreign_work_found")
            assert (told["journal"], told["clips"], told["inbox"]) == (dead, 3, "bay")
            assert told["host"]
            assert command in told["what_to_do"]
            (peer,) = two.told("status")["inboxes"][0]["peers"]
            assert (peer["life"], peer["clips"], peer["command"]) == ("ended", 3, command)
            assert command in two.call("status").stdout
            two.until(
                lambda: any(f"(journal {dead}) is not running" in text for text in status_files(two)),
                15,
                "the status file says so",
            )
            assert all(f"({dead[:6]})" not in text for text in status_files(two)), "the dead one's is gone"
            done = two.call("recover", "--from", dead[:8], "--yes")
            assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "3 clips taken over.")
            two.until_retired(3, seconds=90)
            assert bay.paid == 3
            names = sorted(f"n{n}.mp4{end}" for n in range(3) for end in ("", ".toml"))
            assert [name for name in two.results() if not name.startswith(".")] == names
            two.until(lambda: not two.told("status")["inboxes"][0]["peers"], what="nothing is left behind")
            one.start()
            one.until_states(*["cancelled"] * 3)
            job = one.told("jobs")[0]
            assert job["error"]["code"] == "TAKEN_OVER"
            assert journal_id(two) in job["error"]["message"]
            again = one.call("retry", "--yes", job["id"])
            assert again.returncode == 1
            assert "taken over by" in again.stdout + again.stderr
            assert "queued" not in again.stdout
            assert one.stop() == 0
            assert bay.paid == 3
        finally:
            two.stop()


def test_what_a_living_daemon_has_stays_with_it(open_bays):
    with open_bays(render_seconds=60.0) as bay:
        bay.is_checked = False
        one, two = two_with_clips(bay)
        try:
            refused = two.call("recover", "--from", journal_id(one), "--yes")
            assert refused.returncode == 1
            assert "is running" in refused.stderr
            assert len(refused.stderr.strip().splitlines()) == 1
            alone = two.call("recover", "--yes")
            assert alone.stdout.splitlines()[-1] == "No clips to take over."
            assert "Not taken over" in alone.stdout
            assert set(one.jobs().values()) == {"running"}
            assert two.jobs() == {}
        finally:
            two.stop()


def test_a_daemon_that_was_stopped_can_be_taken_over_at_once_and_without_a_daemon(open_bays):
    with open_bays(render_seconds=60.0) as bay:
        bay.is_checked = False
        one, two = two_with_clips(bay, 2)
        assert two.stop() == 0
        assert one.stop() == 0
        done = two.call("recover", "--yes")
        assert done.stdout.splitlines()[-1] == "2 clips taken over."
        assert "(stopped;" in done.stdout
        assert one.call("retry", "--yes", *one.jobs()).returncode == 1
        assert set(one.jobs().values()) == {"cancelled"}


def test_a_doubt_of_a_node_that_comes_back_is_the_takers_and_not_its_own(open_bays):
    with open_bays() as bay:
        bay.is_checked = False
        bay.box.misbehave("create:slow:seconds=60")
        one, two = bay, beside(bay)
        two.configure()
        one.start()
        one.drop("a.mp4")
        one.drop("b.mp4")
        one.until_states("submitting", "submitting")
        one.until(lambda: one.paid == 2, what="the provider has both requests")
        one.stop(signal.SIGKILL)
        two.start()
        try:
            two.until(lambda: two.events("foreign_work_found"))
            assert two.call("recover", "--from", journal_id(one), "--yes").returncode == 0
            two.until_states("in_doubt", "in_doubt")
            one.start()
            one.until_states("cancelled", "cancelled")
            assert {job["paid"] for job in one.told("jobs")} == {"unknown"}
            assert one.events("interrupted") == []
            assert one.stop() == 0
        finally:
            two.stop()


@pytest.mark.slow
def test_one_that_was_cut_off_and_taken_over_meanwhile_lets_go_within_a_scan(open_bays):
    with open_bays(render_seconds=60.0) as bay:
        bay.is_checked = False
        one, two = two_with_clips(bay)
        try:
            make_silent(two, journal_id(one))
            assert two.call("recover", "--from", journal_id(one), "--yes").returncode == 0
            one.until_states(*["cancelled"] * 3, seconds=8)
            two.until_retired(3, seconds=90)
            assert bay.paid == 3
            assert one.stop() == 0
        finally:
            two.stop()
