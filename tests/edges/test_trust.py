"""An older journal put back: told by the marks in the inboxes, on a real disk and a real journal."""

import shutil

import pytest

from clipspool.jobs.events import JobHeld
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.messages import JournalRestored
from clipspool.jobs.model import Held, State
from clipspool.reporting.headline import headline_of
from clipspool.reporting.status import job_json, status_json
from clipspool.scheduler import commands as operator
from clipspool.scheduler.restore_guard import FROM_BACKUP
from clipspool.scheduler.restore_marks import KEEP_SECONDS, Marks
from clipspool.spool.root import Root
from clipspool.system.atomic import OURS
from fakes import NOON, Clock, Desk
from patience import patient

S = State


@pytest.fixture
def inbox(tmp_path):
    (tmp_path / "bay").mkdir()
    return Root(tmp_path / "bay")


@pytest.fixture
def start(tmp_path, inbox):
    """Yield a function that starts on the existing journal, with the marks of one inbox."""
    desks = []
    clock = Clock()

    def start(*, accepts=False):
        desk = Desk(tmp_path, clock=clock, inboxes=("bay", "other"))
        desks.append(desk)
        desk.scheduler.begin()
        desk.heard = []
        desk.scheduler.subscribe(desk.heard.append)
        # What an inbox's thread asks is done at once here, for want of another thread.
        desk.scheduler.call = desk.order
        desk.marks = Marks(desk.scheduler, "j1", {"bay": (inbox, inbox)})
        desk.shop.mark = lambda name: desk.marks.before_sending(name, inbox)
        desk.scheduler.restore_guard.begin(["bay"], accepts=accepts)
        return desk

    yield start
    for desk in desks:
        desk.close()


def backup(desk, tmp_path):
    desk.journal.close()
    shutil.copy(tmp_path / "journal.db", tmp_path / "backup.db")


def put_back(desk, tmp_path):
    desk.marks.keep(is_end=True)
    desk.journal.close()
    for name in ("journal.db-wal", "journal.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", tmp_path / "journal.db")


@pytest.fixture
def restored(start, inbox, tmp_path):
    """Return a function that starts on a journal that was backed up before its one clip was submitted."""
    first = start()
    first.marks.prove("bay", inbox)
    first.drop(due_at=NOON + 60)
    first.turn()
    first.marks.keep(is_end=True)
    backup(first, tmp_path)
    second = start()
    second.marks.prove("bay", inbox)
    second.until(S.DELIVERED)
    put_back(second, tmp_path)
    return start


def test_a_mark_that_no_journal_of_ours_can_have_made_holds_nothing_and_stays(start, inbox):
    forged = f"{OURS}/journal-j1.{'9' * 18}"
    inbox.create(forged, b"")
    desk = start()
    desk.marks.prove("bay", inbox)
    desk.drop()
    desk.until(S.DELIVERED)
    desk.marks.keep(is_end=True)
    assert len(inbox.names(OURS)) == 2
    assert inbox.exists(forged)


def test_a_mark_that_somebody_made_and_the_operator_accepted_leaves_later_marks_readable(start, inbox):
    inbox.create(f"{OURS}/journal-j1.{10**9}", b"")
    desk = start(accepts=True)
    desk.marks.prove("bay", inbox)
    desk.drop()
    desk.until(S.DELIVERED)
    desk.marks.keep(is_end=True)
    (mark,) = inbox.names(OURS)
    assert int(mark.partition(".")[2]) == desk.scheduler.restore_guard.reached()


def test_nothing_is_submitted_before_the_mark_was_looked_at(start, inbox):
    desk = start()
    desk.drop()
    desk.turns(5, 60.0)
    assert desk.shop.done == []
    desk.marks.prove("bay", inbox)
    desk.until(S.DELIVERED)


def test_an_older_journal_submits_nothing_until_the_operator_says_so(restored, inbox):
    desk = restored()
    desk.marks.prove("bay", inbox)
    desk.turns(5, 60.0)
    assert desk.shop.paid == []
    assert desk.scheduler.is_idle
    conditions = operator.conditions_of(desk.scheduler)
    assert job_json(desk.job(), conditions)["held"] == "from_backup"
    assert status_json({}, conditions, [], {})["journal"]["restored"] is True
    assert desk.order(operator.accept_restored) is True
    desk.turns(5, 60.0)
    assert desk.shop.paid == []
    desk.order(operator.approve, ["clip1"], "ann")
    desk.until(S.DELIVERED)


def test_what_was_queued_in_an_older_journal_is_approved_by_itself_and_what_comes_since_is_not_held(
    restored, inbox
):
    desk = restored()
    desk.marks.prove("bay", inbox)
    desk.turn()
    desk.drop("new1")
    desk.turns(3, 60.0)
    assert desk.shop.paid == []
    assert desk.order(operator.accept_restored) is True
    desk.until(S.DELIVERED, "new1")
    held, why = operator.conditions_of(desk.scheduler).why_waiting(desk.job())
    assert held == "from_backup"
    assert "may have been sent and paid for since" in why
    desk.order(operator.approve, ["clip1"], "ann")
    desk.until(S.DELIVERED)
    assert desk.shop.paid == ["new1", "clip1"]


def test_a_job_of_an_older_journal_that_was_approved_is_not_held_anew_at_the_next_start(restored, inbox):
    desk = restored()
    desk.marks.prove("bay", inbox)
    desk.turn()
    desk.order(operator.approve, ["clip1"], "ann")
    desk.turn()
    desk.journal.close()
    again = restored()
    again.marks.prove("bay", inbox)
    again.turns(2, 60.0)
    assert again.order(operator.accept_restored) is True
    again.until(S.DELIVERED)


def test_what_is_queued_in_a_backup_of_an_accepted_journal_is_held_as_well(restored, inbox, tmp_path):
    first = restored(accepts=True)
    first.marks.prove("bay", inbox)
    first.order(operator.cancel, ["clip1"], "ann")
    first.drop("new1", due_at=first.clock.now + 600)
    first.turn()
    first.marks.keep(is_end=True)
    backup(first, tmp_path)
    second = restored()
    second.marks.prove("bay", inbox)
    second.until(S.DELIVERED, "new1")
    put_back(second, tmp_path)
    last = restored()
    last.marks.prove("bay", inbox)
    last.turn()
    assert last.job("new1").held is Held.FROM_BACKUP


def test_a_request_that_connects_while_an_older_journal_is_found_is_not_sent(start, inbox):
    """Its operator accepts older journals at once, which is no consent to pay for each job in them."""
    desk = start(accepts=True)
    desk.marks.prove("bay", inbox)
    desk.drop()
    for _ in range(6):
        if any(flying.stage is Stage.SUBMIT for flying in desk.scheduler.in_flight.values()):
            break
        desk.turn()
    guard = desk.scheduler.restore_guard
    at_gate = desk.scheduler.mailbox.receive()
    desk.scheduler.call_soon(lambda _: guard.hold("bay", guard.begun_at + 1000))
    for message in at_gate:
        desk.scheduler.enqueue(message)
    desk.turns(3, 60.0)
    assert (desk.shop.paid, guard.restored) == ([], 0)
    assert desk.job().held is Held.FROM_BACKUP
    assert "may have been sent and paid for since" in desk.job().reason
    desk.order(operator.approve, ["clip1"], "ann")
    desk.until(S.DELIVERED)
    assert desk.shop.paid == ["clip1"]


def test_a_job_that_was_held_for_something_else_is_held_for_the_older_journal_and_says_both(start, inbox):
    """An approval of many prices at once says nothing about requests that were sent since."""
    desk = start(accepts=True)
    desk.marks.prove("bay", inbox)
    desk.drop(due_at=NOON + 600)
    desk.turn()
    desk.order(lambda scheduler: scheduler.decide(desk.job(), JobHeld(Held.BUDGET, "it is dear")))
    guard = desk.scheduler.restore_guard
    for _ in range(2):  # and once more, as after a second restore
        desk.order(lambda _: guard.hold("bay", guard.begun_at + 1000))
        assert desk.job().held is Held.FROM_BACKUP
        assert desk.job().reason == f"it is dear; {FROM_BACKUP}"


def test_it_stays_so_over_a_restart_and_marks_are_not_turned_back(restored, inbox):
    desk = restored()
    desk.marks.prove("bay", inbox)
    desk.marks.keep(is_end=True)
    desk.journal.close()
    again = restored()
    again.marks.prove("bay", inbox)
    again.turns(5, 60.0)
    assert again.shop.paid == []
    for one in (desk, again):
        assert one.heard.count(JournalRestored()) == 1
    assert headline_of(again.scheduler, {}, []).startswith("an older journal was put back")


def test_the_operator_can_accept_it_at_the_start(restored, inbox):
    desk = restored(accepts=True)
    desk.marks.prove("bay", inbox)
    desk.drop("new1")
    desk.until(S.DELIVERED, "new1")
    assert desk.job().held is Held.FROM_BACKUP
    assert desk.shop.paid == ["new1"]


def test_once_accepted_it_is_trusted_at_the_next_start_and_a_second_restore_is_seen(
    restored, inbox, tmp_path
):
    desk = restored(accepts=True)
    desk.marks.prove("bay", inbox)
    desk.turn()
    desk.marks.keep(is_end=True)
    desk.journal.close()
    next_one = restored()
    next_one.marks.prove("bay", inbox)
    assert next_one.scheduler.restore_guard.restored == 0
    next_one.turns(3, 60.0)
    put_back(next_one, tmp_path)
    last = restored()
    last.marks.prove("bay", inbox)
    assert last.scheduler.restore_guard.restored > 0


def test_it_stays_held_at_the_next_start_however_far_the_older_journal_has_come_meanwhile(restored, inbox):
    desk = restored()
    desk.marks.prove("bay", inbox)
    for number in range(12):
        desk.drop(f"more{number}")
        desk.turn(60.0)
    assert desk.scheduler.restore_guard.reached() > max(desk.marks._marks_in(inbox))
    desk.journal.close()
    again = restored()
    again.marks.prove("bay", inbox)
    again.turns(3, 60.0)
    assert (again.scheduler.restore_guard.restored > 0, again.shop.paid) == (True, [])


def killed(desk, tmp_path):
    """End a daemon as kill -9 does, and put the backup in its journal's place."""
    desk.marks.keep = lambda **_: None
    put_back(desk, tmp_path)


@pytest.mark.parametrize("earlier", [0, 1])
def test_a_journal_from_moments_before_a_request_is_known_as_older_though_its_daemon_was_killed(
    start, inbox, tmp_path, earlier
):
    first = start()
    first.marks.prove("bay", inbox)
    for number in range(earlier):
        first.drop(f"early{number}")
        first.until(S.DELIVERED, f"early{number}")
    first.marks.keep()  # as a turn does: from here on none is due for a minute
    backup(first, tmp_path)
    second = start()
    second.marks.prove("bay", inbox)
    second.marks.keep()
    second.drop()
    second.clock.passes(-60.0)  # all of it within a second
    second.until(S.DELIVERED)
    killed(second, tmp_path)
    third = start()
    third.marks.prove("bay", inbox)
    assert third.scheduler.restore_guard.restored > third.scheduler.restore_guard.begun_at


def test_a_request_that_was_marked_and_cut_off_leaves_no_false_alarm(start, inbox):
    desk = start()
    desk.marks.prove("bay", inbox)
    desk.drop()
    desk.shop.hold(Stage.SUBMIT)
    desk.turns(4)
    assert desk.state() is S.SUBMITTING
    assert desk.shop.paid == ["clip1"]
    again = start()
    again.marks.prove("bay", inbox)
    assert again.scheduler.restore_guard.restored == 0


def test_a_daemon_that_is_killed_right_after_it_read_a_mark_has_not_raised_it(start, inbox):
    """The next one would take its own journal for an older copy, and send nothing until a person comes."""
    desk = start()
    desk.scheduler.call_soon = [].append  # the turn that would record it does not come
    desk.marks.prove("bay", inbox)
    desk.drop()
    desk.turns(3, 60.0)
    assert desk.shop.paid == []
    desk.marks.keep(is_end=True)
    desk.journal.close()
    again = start()
    again.marks.prove("bay", inbox)
    assert again.scheduler.restore_guard.restored == 0


def test_a_mark_that_was_read_before_the_journal_was_accepted_holds_nothing_afterwards(restored, inbox):
    first = restored()
    first.marks.prove("bay", inbox)
    first.drop("new")
    first.turn()
    first.journal.close()
    desk = restored(accepts=True)

    def accepted_meanwhile(hold):
        desk.order(operator.accept_restored)
        return desk.order(hold)

    desk.scheduler.call = accepted_meanwhile
    desk.marks.prove("bay", inbox)
    assert desk.job("new").held is None


def test_an_inbox_that_was_offline_for_a_run_still_tells_an_older_journal(restored, inbox):
    offline = restored()  # its mark is not looked at in this run
    offline.scheduler.restore_guard.proven.add("other")
    for number in range(3):
        offline.drop(f"other{number}", inbox="other")
        offline.until(S.DELIVERED, f"other{number}")
    assert offline.scheduler.restore_guard.reached() > max(offline.marks._marks_in(inbox))
    offline.journal.close()
    back = restored()
    back.marks.prove("bay", inbox)
    assert back.scheduler.restore_guard.restored


def test_two_that_leave_at_once_share_a_mark_and_one_that_was_removed_is_made_again(start, inbox):
    desk = start()
    desk.marks.prove("bay", inbox)
    desk.scheduler.restore_guard.recorded = 7
    desk.marks.before_sending("bay", inbox)
    made = (inbox.path / ".clipspool/journal-j1.7").stat()
    desk.marks.before_sending("bay", inbox)
    assert (inbox.path / ".clipspool/journal-j1.7").stat().st_ctime_ns == made.st_ctime_ns
    (inbox.path / ".clipspool/journal-j1.7").unlink()
    desk.scheduler.restore_guard.recorded = 9
    desk.marks.before_sending("bay", inbox)
    assert inbox.names(OURS) == ["journal-j1.9"]


def test_what_runs_is_followed_and_delivered_with_an_older_journal(start, inbox, tmp_path):
    first = start()
    first.marks.prove("bay", inbox)
    first.drop()
    first.until(S.RUNNING)
    backup(first, tmp_path)
    second = start()
    second.marks.prove("bay", inbox)
    second.until(S.DELIVERED)
    put_back(second, tmp_path)
    desk = start()
    desk.marks.prove("bay", inbox)
    assert desk.scheduler.restore_guard.restored
    desk.until(S.DELIVERED)
    assert desk.shop.paid == []


def test_the_mark_is_kept_up_now_and_then_and_only_when_something_happened(start, inbox):
    desk = start()
    desk.marks.prove("bay", inbox)
    desk.turn()

    def kept(seconds):
        desk.clock.passes(seconds)
        desk.marks.keep()
        for thread in desk.marks._writing.values():
            thread.join(patient(5))
        return [path.name for path in (inbox.path / ".clipspool").iterdir()]

    assert kept(0) == ["journal-j1.0"]
    desk.drop()
    desk.turn()
    assert kept(1) == ["journal-j1.0"]
    assert kept(KEEP_SECONDS) == ["journal-j1.1"]
    (inbox.path / ".clipspool/journal-j1.1").unlink()
    assert kept(2 * KEEP_SECONDS) == []


@pytest.mark.parametrize("number", ["", "x", "-5", "1e9", "9" * 400, "5.tmp", "٣"])
def test_what_is_no_mark_holds_nothing(start, inbox, number):
    (inbox.path / ".clipspool").mkdir()
    (inbox.path / f".clipspool/journal-j1.{number[:200]}").touch()
    desk = start()
    desk.marks.prove("bay", inbox)
    desk.drop()
    desk.until(S.DELIVERED)


def test_the_mark_of_another_journal_says_nothing(start, inbox):
    (inbox.path / ".clipspool").mkdir()
    (inbox.path / ".clipspool/journal-j2.99999").touch()
    desk = start()
    desk.marks.prove("bay", inbox)
    assert not desk.scheduler.restore_guard.restored
