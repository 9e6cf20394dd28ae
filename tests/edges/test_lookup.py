"""What the page asks of the journal: every job once, page by page, and no dearer with a larger journal."""

import itertools
import random
from contextlib import closing
from dataclasses import replace
from functools import partial
from unicodedata import normalize

import pytest

from clipspool.jobs.model import Held, State
from clipspool.journal import Filter, Journal, Lookup, SortBy, lookup
from clipspool.journal.importing import import_journal
from fakes import NOON, a_clip, a_job
from journals import DRIVERS, InFile, InServer
from many import DAY, fill

COUNT = 1000
OPEN = tuple(state for state in State if not state.is_terminal)


@pytest.fixture(scope="module", params=DRIVERS.values(), ids=DRIVERS.keys())
def many(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("journal") / "journal.db"
    fill(path, COUNT, NOON, queued=100)
    if request.param is InFile:
        return Lookup(path)
    server = InServer(path)
    import_journal(path, server.address, lambda *_: None)
    return Lookup(server.address)


def walk(many, wanted, size=37):
    found, before, pages = [], None, 0
    while pages == 0 or before is not None:
        with many.look() as look:
            page = look.page(wanted, before, size)
        found += page.jobs
        before, pages = page.before, pages + 1
    return found


def test_jobs_that_changed_since_an_event_come_in_the_order_of_their_last_one(many):
    with many.look() as look:
        newest = look.last_event()
        assert look.jobs_changed_since(newest, 10) == ()
        every = look.jobs_changed_since(0, 10 * COUNT)
        assert {job.id for job in every} <= {job.id for job in look.page(Filter(), None, COUNT).jobs}
        assert look.jobs_changed_since(newest - 1, 10) == every[-1:]
        assert look.jobs_changed_since(0, 10) == every[:10]


def test_all_pages_together_hold_every_job_once_newest_first(many):
    ids = [job.id for job in walk(many, Filter(), 499)]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == len(ids) == COUNT


@pytest.mark.parametrize(
    ("wanted", "is_it"),
    [
        (Filter((State.FAILED,)), lambda j: j.state is State.FAILED),
        (Filter((State.DELIVERED,), "bay-1"), lambda j: j.state is State.DELIVERED and j.inbox == "bay-1"),
        (Filter(OPEN), lambda j: j.state in OPEN),
        (Filter(inbox="bay-2"), lambda j: j.inbox == "bay-2"),
        (Filter(word="TAKE 12"), lambda j: "take 12" in j.request.prompt),
        (Filter(word="shot899.mp4"), lambda j: j.path == "day/shot899.mp4"),
        (Filter(word="task-234"), lambda j: j.task is not None and j.task.task_id == "task-234"),
        (Filter(word="internal"), lambda j: j.error is not None),
        (Filter((State.FAILED,), "bay-0", "take"), lambda j: j.state is State.FAILED and j.inbox == "bay-0"),
        (Filter(word="100%_'\"\\"), lambda _: False),
        (Filter(inbox="nowhere"), lambda _: False),
    ],
)
def test_a_filter_gives_the_jobs_it_names_and_no_other(many, wanted, is_it):
    right = [job.id for job in walk(many, Filter(), 500) if is_it(job)]
    assert [job.id for job in walk(many, wanted)] == right


NAMES = ("day/Übergang Élan.mp4", "Москва_01.mov", "ΣΊΣΥΦΟΣ.mp4")


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("typed", ["NFC", "NFD"])
def test_a_name_is_found_as_it_stands_and_in_other_letter_case_by_whatever_system_wrote_it(
    driver, stored, typed
):
    with closing(driver.open()) as journal, journal.turn():
        for number, name in enumerate(map(partial(normalize, stored), NAMES)):
            job = a_job(f"n{number}", path=name)
            journal.accept(a_clip(job.clip_id, path=name), [job])
            texts = replace(job.request, prompt=f"as in {name}")
            job = replace(a_job(f"p{number}", path="x.mp4"), request=texts)
            journal.accept(a_clip(job.clip_id, path="x.mp4"), [job])
    with driver.look() as look:
        for number, name in enumerate(map(partial(normalize, typed), NAMES)):
            for word in (name, name[-9:], name.lower(), name.upper()):
                found = {job.id for job in look.page(Filter(word=word), None, 10).jobs}
                assert found == {f"n{number}", f"p{number}"}, word
                page = look.sorted_page(Filter(word=word), SortBy.CLIP, 0, 10)
                assert {job.id for job in page.jobs} == found
        assert look.page(Filter(word="ubergang"), None, 10).jobs == ()


def test_a_search_stops_after_so_many_jobs_and_says_where_to_go_on(many, monkeypatch):
    monkeypatch.setattr(lookup, "SCAN_MAX", 100)
    with many.look() as look:
        page = look.page(Filter(word="take 7."), None, 10)
        assert (page.jobs, page.is_partial) == ((), True)
        assert page.before == f"j{COUNT - 100:08d}"
    found = [job.request.seed for job in walk(many, Filter(word="take 77"), 10)]
    assert found == sorted(found, reverse=True)
    assert {77, 770, 779} <= set(found)


IN_ORDER = [State.IN_DOUBT, *(state for state in State if state is not State.IN_DOUBT)]
KEYS = {
    SortBy.CLIP: lambda job: job.path,
    SortBy.INBOX: lambda job: job.inbox,
    SortBy.STATE: lambda job: IN_ORDER.index(job.state),
    SortBy.CREDITS: lambda job: (job.credits_estimated is None, job.credits_estimated),
    SortBy.ACCEPTED: lambda job: job.id,
    SortBy.FOLDER: lambda job: (job.inbox, job.path),
}


def walk_sorted(many, wanted, by, size=401, **how):
    found, has_more = [], True
    while has_more:
        with many.look() as look:
            page = look.sorted_page(wanted, by, len(found), size, **how)
        found += page.jobs
        has_more = page.has_more
        assert not page.is_partial
    return found


@pytest.mark.parametrize("by", SortBy)
@pytest.mark.parametrize("wanted", [Filter(), Filter((State.FAILED,), "bay-0"), Filter(word="take 12")])
def test_the_whole_list_is_sorted_both_ways_and_the_newest_of_equals_comes_first(many, by, wanted):
    jobs = walk(many, wanted, 500)
    right = sorted(jobs, key=KEYS[by])
    assert [job.id for job in walk_sorted(many, wanted, by)] == [job.id for job in right]
    if by is not SortBy.FOLDER:
        right = sorted(jobs, key=KEYS[by], reverse=True)
        if len({KEYS[by](job) for job in jobs}) < len(jobs):  # a stable sort keeps the newest first
            right = sorted(jobs, key=lambda job: job.id, reverse=True)
            right = sorted(right, key=KEYS[by], reverse=True)
        assert [job.id for job in walk_sorted(many, wanted, by, is_down=True)] == [job.id for job in right]


def test_only_those_that_wait_for_a_person_are_sorted_where_these_are_wanted(many):
    right = {job.id for job in walk(many, Filter(OPEN), 400) if job.held or job.state is State.IN_DOUBT}
    assert {job.id for job in walk_sorted(many, Filter(OPEN, waits=True), SortBy.STATE)} == right
    assert {job.id for job in walk_sorted(many, Filter(OPEN, waits=True), SortBy.FOLDER)} == right


def test_of_a_very_long_list_the_newest_are_sorted_and_it_says_so(many, monkeypatch):
    monkeypatch.setattr(lookup, "SORTED_MAX", 100)
    with many.look() as look:
        page = look.sorted_page(Filter(), SortBy.ACCEPTED, 0, 10)
    assert page.is_partial
    assert page.jobs[0].id == f"j{COUNT - 100:08d}"


FOLDERS = ("", "a", "a/b", "a b", "a-b", "A", "\udcff", "z/" + "deep/" * 30 + "end")


@pytest.mark.parametrize("driver", DRIVERS.values(), ids=DRIVERS.keys())
def test_the_clips_of_a_folder_stand_together_however_they_are_called(driver, tmp_path, monkeypatch):
    path = tmp_path / "j.db"
    paths = [f"{folder}/{name}".lstrip("/") for folder in FOLDERS for name in ("0.mp4", "a.mp4", "zz.mp4")]
    random.Random(7).shuffle(paths)
    journal = Journal.open(path)
    with journal.turn():
        for number, one in enumerate(paths):
            clip = f"c{number}"
            journal.accept(a_clip(clip, path=one), [a_job(clip, path=one)])
    journal.close()
    if driver is InFile:
        found = Lookup(path)
    else:
        server = driver(path)
        import_journal(path, server.address, lambda *_: None)
        found = Lookup(server.address)
    for few in (lookup._FEW, 0):  # by sorting, and by the index
        monkeypatch.setattr(lookup, "_FEW", few)
        jobs = walk_sorted(found, Filter(), SortBy.FOLDER, 5)
        folders = [job.path.rpartition("/")[0] for job in jobs]
        assert len(jobs) == len(paths)
        assert sorted(folder for folder, _ in itertools.groupby(folders)) == sorted(FOLDERS)
        with found.look() as look:
            assert {look.count_in_folder(job, ()) for job in jobs} == {3}
            assert look.count_in_folder(jobs[0], (State.DELIVERED,)) == 0


@pytest.fixture(scope="module")
def two_sizes(tmp_path_factory):
    home = tmp_path_factory.mktemp("journals")
    for count in (1200, 12_000):
        fill(home / f"{count}.db", count, NOON, queued=40)
    return [home / "1200.db", home / "12000.db"]


def steps(path, ask):
    """Count what SQLite does for a question, in its own steps."""
    counted = [0]

    def count():
        counted[0] += 1

    with Lookup(path).look() as look:
        look._database._connection.set_progress_handler(count, 10)
        ask(look)
    return counted[0] * 10


@pytest.mark.parametrize(
    "ask",
    [
        lambda look: look.page(Filter(), None, 50),
        lambda look: look.page(Filter(inbox="bay-1"), None, 50),
        lambda look: look.page(Filter((State.DELIVERED,)), None, 50),
        lambda look: look.newest(State.DELIVERED, 8),
        lambda look: look.newest(State.FAILED, 1),
        lambda look: look.under_way(30),
        lambda look: look.seconds_to_result(100),
        lambda look: look.held(),
        lambda look: look.sorted_page(Filter(), SortBy.FOLDER, 0, 50),
        lambda look: look.job("j00000500"),
    ],
)
def test_a_question_costs_no_more_in_a_journal_ten_times_as_large(two_sizes, monkeypatch, ask):
    monkeypatch.setattr(lookup, "SCAN_MAX", 300)
    monkeypatch.setattr(lookup, "_FEW", 100)
    costs = [steps(path, ask) for path in two_sizes]
    assert costs[1] < costs[0] * 1.6 + 500, costs


def test_jobs_that_wait_for_a_person_are_found_in_every_open_state(many):
    with many.look() as look:
        held = look.held()
        jobs = look.load(sorted(held)).values()
    assert held == {job.id for job in walk(many, Filter(OPEN), 400) if job.held is not None}
    assert {job.held for job in jobs} == {Held.IN_DOUBT, Held.BUDGET}


def test_spend_by_day_adds_up_to_what_the_journal_says(tmp_path):
    fill(tmp_path / "j.db", 500, NOON, days=5)
    journal = Journal.read(tmp_path / "j.db")
    today = int(NOON // DAY)
    with Lookup(tmp_path / "j.db").look() as look:
        spent = look.spent_by_day(today - 5, today + 1)
    for day in range(today - 4, today + 1):
        since = journal.spent(day * DAY)
        assert sum(one.submissions for one in spent if one.day >= day) == since.submissions
        assert sum(one.credits for one in spent if one.day >= day) == pytest.approx(since.credits)
    journal.close()


def test_durations_are_from_the_task_to_its_result(many):
    with many.look() as look:
        found = look.seconds_to_result(70)
    assert len(found) == 70
    assert {model for model, _ in found} == {"gen4_aleph"}
    assert {round(seconds) for _, seconds in found} == set(range(84, 91))
