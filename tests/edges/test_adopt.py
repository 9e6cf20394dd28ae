"""What a ledger tells of a request that the daemon's end cut short: nothing left, a task, or doubt."""

import pytest

from clipspool.jobs.events import Interrupted, NotSent, TaskCreated
from clipspool.jobs.model import State
from clipspool.spool import recovery as adopt
from clipspool.spool.guard import Unavailable
from clipspool.spool.handover import taker_of
from clipspool.spool.ledger import note, submissions_beyond
from clipspool.spool.recovery import adoptable, survey, what_came_of
from clipspool.spool.root import Root
from clipspool.spool.workfolder import read_manifest
from fakes import Bench, a_job, a_task

INTENT = {"what": "intent", "number": 1}
WAITS = INTENT | {"token": "token1"}
TASK = {"what": "task", "task_id": "task-1"}
REFUSED = {"what": "not_submitted"}


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def submitting(number=1):
    return a_job(state=State.SUBMITTING, task=a_task(number, task_id=None, created_at=None))


def told(bench, *lines, number=1, waiting=()):
    for line in lines:
        note(
            bench.bay.inbox,
            "clip1",
            line.get("job", "clip1"),
            **{k: v for k, v in line.items() if k != "job"},
        )
    return what_came_of(bench.bay.inbox, submitting(number), waiting)


@pytest.mark.parametrize(
    ("lines", "number", "event"),
    [
        ((), 1, NotSent()),
        ((INTENT,), 1, Interrupted()),
        ((INTENT, TASK), 1, TaskCreated("task-1")),
        ((INTENT, REFUSED), 1, NotSent()),
        ((INTENT,), 2, NotSent()),
        ((INTENT, TASK), 2, NotSent()),
        ((INTENT, REFUSED, INTENT | {"number": 2}), 2, Interrupted()),
        ((INTENT, INTENT | {"number": 2}, TASK), 2, TaskCreated("task-1")),
        (({**INTENT, "job": "clip1-v1"}, {**TASK, "job": "clip1-v1"}), 1, NotSent()),
        # What a daemon that was frozen adds late is of its own submission, whatever came since.
        ((INTENT, INTENT | {"number": 2}, REFUSED | {"number": 1}), 2, Interrupted()),
        ((INTENT, INTENT | {"number": 2}, REFUSED | {"number": 2}), 2, NotSent()),
        ((INTENT, INTENT | {"number": 2}, TASK | {"number": 1}), 2, Interrupted()),
        ((INTENT, INTENT | {"number": 2}, TASK | {"number": 2}), 2, TaskCreated("task-1")),
        ((INTENT | {"number": 2}, INTENT), 2, Interrupted()),
        # What can be no id leads to no task: asked for, it would be another address of the API.
        ((INTENT, TASK | {"task_id": ".."}), 1, Interrupted()),
        ((INTENT, TASK | {"task_id": ""}), 1, Interrupted()),
    ],
)
def test_the_ledger_tells_how_far_it_came(bench, lines, number, event):
    assert told(bench, *lines, number=number) == event


@pytest.mark.parametrize(
    ("lines", "event"),
    [
        ((WAITS,), NotSent()),
        ((WAITS, TASK), TaskCreated("task-1")),
        ((WAITS, REFUSED), NotSent()),
        ((WAITS, INTENT | {"number": 2}), Interrupted()),
        ((WAITS, INTENT), Interrupted()),
        ((WAITS | {"token": "token2"},), Interrupted()),
        # A daemon with a copy of this journal was faster, and may have sent it.
        ((WAITS | {"token": "token2"}, WAITS), Interrupted()),
        ((WAITS | {"token": "token2"}, REFUSED, WAITS), NotSent()),
        ((WAITS | {"token": ["token1"]},), Interrupted()),
        ((WAITS | {"job": "clip1-v1"}, INTENT), Interrupted()),
    ],
)
def test_a_request_that_still_waited_was_not_sent_unless_the_ledger_knows_more(bench, lines, event):
    assert told(bench, *lines, waiting={"token1"}) == event


@pytest.mark.parametrize("number", [2, None, "1"])
def test_a_ledger_that_knows_of_more_than_the_journal_leaves_doubt(bench, number):
    assert told(bench, {"what": "intent", "number": number}, TASK) == Interrupted()


@pytest.mark.parametrize("damage", [b"\0\0\0\0", b'{"job": "clip1", "what": "int', b"[]", b'"intent"'])
def test_a_ledger_with_a_line_that_cannot_be_read_proves_nothing(bench, damage):
    with (bench.work / "ledger.jsonl").open("ab") as ledger:
        ledger.write(damage)
    assert told(bench) == Interrupted()


def test_a_ledger_longer_than_any_clips_proves_nothing(bench):
    (bench.work / "ledger.jsonl").write_bytes(b"\n" * (16 << 20))
    assert told(bench, INTENT, TASK) == Interrupted()


def test_a_number_that_no_journal_counts_to_is_no_submission(bench):
    for number, beyond in ((1_000_000, 0), (999_999, 999_999)):
        (bench.work / "ledger.jsonl").unlink(missing_ok=True)
        told(bench, INTENT | {"number": number})
        assert submissions_beyond(bench.bay.inbox, "clip1", "clip1", 1) == beyond


def test_a_ledger_that_is_not_there_proves_nothing(bench):
    (bench.work / "ledger.jsonl").unlink()
    assert told(bench) == Interrupted()


def test_an_inbox_that_is_away_says_nothing_of_a_request_yet(tmp_path):
    with pytest.raises(Unavailable):
        what_came_of(Root(tmp_path / "nowhere"), submitting(), {"token1"})


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        ((), State.QUEUED),
        ((INTENT,), State.IN_DOUBT),
        ((INTENT, REFUSED), State.QUEUED),
        ((INTENT, REFUSED | {"number": 1}), State.QUEUED),
        ((INTENT, TASK), State.RUNNING),
        # What a daemon that was frozen notes late is of its own request: the newer one may be paid for.
        ((INTENT, INTENT | {"number": 2}, REFUSED | {"number": 1}), State.IN_DOUBT),
        ((INTENT, INTENT | {"number": 2}, REFUSED | {"number": 2}), State.QUEUED),
        ((INTENT, TASK | {"task_id": ".."}), State.IN_DOUBT),
    ],
)
def test_a_lost_journals_job_is_in_the_state_that_its_ledger_proves(bench, lines, state):
    told(bench, *lines)
    (one,) = adoptable("bay", bench.bay.inbox, "j2", set(), none, {"j1"})
    assert [job.state for job in one.jobs] == [state]


@pytest.mark.parametrize("late", [INTENT, INTENT | {"number": None}, INTENT | {"number": 2}])
def test_a_late_line_takes_a_lost_journals_count_of_requests_not_back(bench, late):
    """Counted too low, the next request would be taken for one that this journal does not know."""
    told(bench, INTENT | {"number": 2}, late)
    (one,) = adoptable("bay", bench.bay.inbox, "j2", set(), none, {"j1"})
    assert [job.task.number for job in one.jobs] == [3]


def test_a_clip_whose_ledger_cannot_be_read_is_told_of_and_not_adopted(bench):
    (bench.work / "ledger.jsonl").write_bytes(b"\n" * ((16 << 20) + 1))
    found = survey("bay", bench.bay.inbox, "j1", set())
    assert (found.damaged, found.ours, found.foreign) == (["clip1"], [], [])


def none(_ids):
    """Say that the journal has none of them."""
    return set()


def test_only_what_its_daemon_was_told_of_is_taken_over(bench, monkeypatch):
    root, take_over = bench.bay.inbox, adopt.take_over

    def accept_another(*told):
        take_over(*told)
        if not root.exists(".clipspool/work/clip2"):
            bench.drop("clip2", "day/two.mp4", b"another clip")

    monkeypatch.setattr(adopt, "take_over", accept_another)
    assert [one.clip.id for one in adoptable("bay", root, "j2", set(), none, {"j1"})] == ["clip1"]
    assert (taker_of(root, "clip2", "j1"), read_manifest(root, "clip2").journal) == ("", "j1")
    assert [one.clip.id for one in adoptable("bay", root, "j2", {"clip1"}, none, {"j1"})] == ["clip2"]
    assert taker_of(root, "clip2", "j1") == "j2"


def test_what_was_taken_from_a_journal_is_not_taken_back_into_it(bench):
    """A clip is entered once: taken back, it would be nobody's."""
    root = bench.bay.inbox
    assert [one.clip.id for one in adoptable("bay", root, "j2", set(), none, {"j1"})] == ["clip1"]
    assert adoptable("bay", root, "j1", set(), lambda ids: {"clip1"} & set(ids), {"j2"}) == []
    assert (taker_of(root, "clip1", "j1"), read_manifest(root, "clip1").journal) == ("j2", "j2")
