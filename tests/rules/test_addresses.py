"""Which of an account's addresses is used, and who is asked about a task."""

import pytest

from clipspool.jobs.faults import Fault, FaultOf
from clipspool.provider.addresses import Chooser, OneAccount, Reach
from clipspool.provider.protocol import TaskLook, TaskStatus

FIRST, SECOND, THIRD = "https://one.test/v1", "https://two.test/v1", "https://three.test/v1"
MISSING = TaskLook(TaskStatus.MISSING, "task_not_exist")
RUNNING = TaskLook(TaskStatus.RUNNING, "RUNNING")
AWAY = Fault(FaultOf.MOMENT, "NETWORK.REFUSED", "refused")
BUSY = Fault(FaultOf.MOMENT, "PROVIDER.BUSY", "busy")


class Net:
    def __init__(self):
        self.reach = {FIRST: Reach.YES, SECOND: Reach.YES, THIRD: Reach.YES}
        self.chooser = Chooser([FIRST, SECOND, THIRD], 60.0, lambda address: self.reach[address])
        self.now = 0.0

    def passes(self, seconds, every=15.0):
        end = self.now + seconds
        while self.now < end:
            self.now += every
            self.chooser.look(self.now)
        return self.chooser.current


def test_the_first_address_is_left_only_after_it_was_out_of_reach_all_the_time():
    net = Net()
    net.reach[FIRST] = Reach.NO
    assert net.passes(60) == FIRST, "it was found out of reach 45 s ago"
    net.reach[FIRST] = Reach.YES
    net.passes(15)
    net.reach[FIRST] = Reach.NO
    assert net.passes(60) == FIRST
    assert net.passes(15) == SECOND


def test_only_an_address_that_can_be_reached_takes_its_place():
    net = Net()
    net.reach |= {FIRST: Reach.NO, SECOND: Reach.UNSURE}
    assert net.passes(75) == THIRD
    net = Net()
    net.reach |= {FIRST: Reach.NO, SECOND: Reach.NO, THIRD: Reach.UNSURE}
    assert net.passes(600) == FIRST
    net.reach[THIRD] = Reach.YES
    assert net.passes(15) == THIRD


def test_tls_that_fails_or_a_proxy_that_refuses_is_no_reason_to_leave_an_address():
    net = Net()
    net.reach[FIRST] = Reach.UNSURE
    assert net.passes(600) == FIRST


def test_the_first_is_used_again_once_it_was_in_reach_for_as_long():
    net = Net()
    net.reach[FIRST] = Reach.NO
    net.passes(75)
    for _ in range(5):
        net.reach[FIRST] = Reach.YES
        assert net.passes(60) == SECOND
        net.reach[FIRST] = Reach.NO
        assert net.passes(15) == SECOND, "it comes and goes"
    net.reach[FIRST] = Reach.UNSURE
    assert net.passes(120) == SECOND
    net.reach[FIRST] = Reach.YES
    assert net.passes(75) == FIRST
    net.reach[FIRST] = Reach.NO
    assert net.passes(75) == SECOND
    net.reach[FIRST] = Reach.YES
    assert net.passes(60) == SECOND, "the time counts again"


def test_where_the_other_is_lost_too_the_next_is_used_and_the_first_before_others():
    net = Net()
    net.reach |= {FIRST: Reach.NO}
    net.passes(75)
    net.reach[SECOND] = Reach.NO
    assert net.passes(60) == SECOND
    assert net.passes(15) == THIRD
    net.reach |= {FIRST: Reach.YES, THIRD: Reach.NO, SECOND: Reach.YES}
    assert net.passes(75) == FIRST


class Asked:
    """What is asked at one address."""

    def __init__(self, answer, name=""):
        self.answer, self.name, self.cancelled, self.looks, self.downloads = answer, name, [], 0, []

    def look(self, _task_id):
        self.looks += 1
        return self.answer

    def cancel(self, task_id):
        self.cancelled.append(task_id)

    def download(self, url, _offset, _etag):
        self.downloads.append(url)
        return AWAY


def account(current, made_at, **answers):
    asked = {FIRST: Asked(answers["first"]), SECOND: Asked(answers["second"]), THIRD: Asked(answers["third"])}
    return OneAccount(asked, current, made_at), asked


@pytest.mark.parametrize(
    ("current", "first", "second", "expected"),
    [
        (SECOND, AWAY, RUNNING, RUNNING),  # one account: the other address knows it
        (SECOND, AWAY, MISSING, AWAY),  # never lost by the word of another address
        (SECOND, RUNNING, MISSING, RUNNING),
        (SECOND, MISSING, MISSING, MISSING),
        (SECOND, BUSY, MISSING, BUSY),
        (SECOND, RUNNING, BUSY, RUNNING),
        (SECOND, MISSING, AWAY, MISSING),
        (FIRST, MISSING, RUNNING, MISSING),
        (FIRST, RUNNING, MISSING, RUNNING),
        (FIRST, AWAY, RUNNING, RUNNING),  # a machine that has not changed its address yet
        (FIRST, AWAY, MISSING, AWAY),
        (FIRST, BUSY, RUNNING, BUSY),
    ],
)
def test_a_task_that_was_made_at_the_first_address_is_missing_only_by_its_word(
    current, first, second, expected
):
    one, _ = account(current, FIRST, first=first, second=second, third=MISSING)
    assert one.look("t1") == expected


def test_the_address_in_use_is_asked_first_and_no_other_where_it_knows_the_task():
    one, asked = account(SECOND, FIRST, first=RUNNING, second=RUNNING, third=RUNNING)
    one.look("t1")
    assert [asked[address].looks for address in (FIRST, SECOND, THIRD)] == [0, 1, 0]


@pytest.mark.parametrize(
    ("first", "second", "third", "expected"),
    [
        (AWAY, RUNNING, MISSING, SECOND),
        (AWAY, MISSING, MISSING, FIRST),  # where it is missing, its end would count as ordered
        (AWAY, MISSING, RUNNING, THIRD),
        (RUNNING, MISSING, RUNNING, FIRST),
        (MISSING, MISSING, RUNNING, FIRST),
    ],
)
def test_a_task_is_stopped_where_it_is_known(first, second, third, expected):
    one, asked = account(SECOND, FIRST, first=first, second=second, third=third)
    one.cancel("t1")
    assert [address for address, each in asked.items() if each.cancelled] == [expected]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://one.test/v1/videos/t1/content", FIRST),
        ("https://two.test/v1/videos/t1/content", SECOND),
        ("https://results.test/t1.mp4", SECOND),
        ("https://one.test.evil.test/t1.mp4", SECOND),
        ("http://one.test/t1.mp4", SECOND),
    ],
)
def test_a_result_is_asked_of_the_address_that_serves_it(url, expected):
    one, asked = account(SECOND, FIRST, first=RUNNING, second=RUNNING, third=RUNNING)
    one.download(url, 0, "")
    assert [address for address, each in asked.items() if each.downloads] == [expected]
