"""Who of the decoding processes gets a call, and when another is begun."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from clipspool.media.pool import Crew

FOR_EVER = 60.0


class Hand:
    def __init__(self):
        self.is_running = False


class Crewed:
    """A crew whose members live from their first call on."""

    def __init__(self, size, patience_seconds):
        self.crew = Crew([Hand() for _ in range(size)], patience_seconds)

    def borrow(self, *, is_long=False):
        hand = self.crew.borrow(is_long=is_long)
        hand.is_running = True
        return hand

    def give_back(self, hand, *, is_long=False):
        self.crew.give_back(hand, is_long=is_long)


@pytest.fixture
def later():
    """Begin a call in a thread of its own and give its future, once it is in the queue."""
    pool = ThreadPoolExecutor(8)

    def begin(crewed, *, is_long=False):
        before = len(crewed.crew._queue)
        future = pool.submit(crewed.borrow, is_long=is_long)
        while len(crewed.crew._queue) == before and not future.done():
            threading.Event().wait(0.001)
        return future

    yield begin
    pool.shutdown()


def test_calls_one_after_the_other_all_go_to_one():
    crewed = Crewed(3, FOR_EVER)
    hands = set()
    for is_long in (False, True, False):
        hand = crewed.borrow(is_long=is_long)
        hands.add(hand)
        crewed.give_back(hand, is_long=is_long)
    assert len(hands) == 1


def test_a_short_wait_begins_no_other(later):
    crewed = Crewed(3, FOR_EVER)
    first = crewed.borrow()
    waiting = later(crewed)
    assert not waiting.done()
    crewed.give_back(first)
    assert waiting.result(FOR_EVER) is first


def test_who_has_waited_for_long_gets_another():
    crewed = Crewed(3, 0.001)
    assert len({crewed.borrow(), crewed.borrow(), crewed.borrow()}) == 3


def test_while_the_first_is_begun_nobody_begins_another(later):
    crewed = Crewed(3, 0.2)
    first = crewed.borrow()
    waiting = later(crewed)
    threading.Event().wait(0.4)
    assert not waiting.done()
    crewed.give_back(first)
    assert waiting.result(FOR_EVER) is first


def test_a_queue_that_moves_on_begins_no_other(later):
    crewed = Crewed(3, 0.5)
    crewed.crew._moved_at = FOR_EVER * 1e9
    first = crewed.borrow()
    waiting = later(crewed)
    threading.Event().wait(0.8)
    assert not waiting.done()
    crewed.give_back(first)
    assert waiting.result(FOR_EVER) is first


def test_who_waits_for_very_long_in_a_queue_that_moves_on_gets_another():
    crewed = Crewed(3, 0.001)
    crewed.crew._moved_at = FOR_EVER * 1e9
    assert len({crewed.borrow(), crewed.borrow()}) == 2


def test_who_waited_for_another_and_found_none_gets_the_first_that_is_free(later):
    crewed = Crewed(1, 0.001)
    first = crewed.borrow()
    waiting = later(crewed)
    crewed.give_back(first)
    assert waiting.result(FOR_EVER) is first


def test_what_takes_long_leaves_one_to_what_is_short(later):
    crewed = Crewed(3, 0.001)
    long = [crewed.borrow(is_long=True) for _ in range(2)]
    third = later(crewed, is_long=True)
    short = crewed.borrow()
    assert short not in long
    crewed.give_back(short)
    assert not third.done()
    crewed.give_back(long[0], is_long=True)
    assert third.result(FOR_EVER) in {short, long[0]}


def test_a_single_one_does_what_takes_long_too():
    crewed = Crewed(1, FOR_EVER)
    hand = crewed.borrow(is_long=True)
    crewed.give_back(hand, is_long=True)
    assert crewed.borrow(is_long=True) is hand


def test_who_came_first_is_served_first(later):
    crewed = Crewed(1, FOR_EVER)
    hand = crewed.borrow()
    waiting = [later(crewed) for _ in range(3)]
    for number, future in enumerate(waiting, start=1):
        crewed.give_back(hand)
        assert future.result(FOR_EVER) is hand
        assert [one.done() for one in waiting].count(True) == number


def test_one_that_died_at_its_work_is_begun_again_by_the_next():
    crewed = Crewed(2, FOR_EVER)
    hand = crewed.borrow()
    hand.is_running = False
    crewed.give_back(hand)
    assert crewed.borrow() is hand


def test_one_is_begun_ahead_only_where_none_lives():
    crewed = Crewed(2, FOR_EVER)
    first = crewed.crew.borrow_first()
    assert crewed.crew.borrow_first() is None  # it is being begun
    first.is_running = True
    crewed.give_back(first)
    assert crewed.crew.borrow_first() is None
    assert crewed.borrow() is first
