"""When a file has stopped changing."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from clipspool.intake.settle import Settling


def stamp(size=1000, mtime=1, ctime=1, inode=7, device=1):
    return (size, mtime, ctime, inode, device)


def test_a_file_settles_at_the_first_look_after_its_time():
    settling = Settling(3.0)
    assert settling.see("a", stamp(), 10.0)
    assert not settling.see("a", stamp(), 12.9)
    assert settling.settled("a") is None
    assert settling.see("a", stamp(), 13.0)
    assert settling.settled("a") == stamp()
    assert not settling.see("a", stamp(), 20.0)


def test_one_look_is_never_enough():
    settling = Settling(0.001)
    settling.see("a", stamp(), 1000.0)
    assert settling.settled("a") is None


def test_any_part_of_the_stamp_starts_the_time_anew():
    for changed in (stamp(size=1001), stamp(mtime=2), stamp(ctime=2), stamp(inode=8), stamp(device=2)):
        settling = Settling(3.0)
        settling.see("a", stamp(), 0.0)
        settling.see("a", changed, 2.9)
        assert not settling.see("a", changed, 3.0)
        assert settling.settled("a") is None
        assert settling.see("a", changed, 5.9)


def test_a_settled_file_that_changes_is_unsettled_again():
    settling = Settling(1.0)
    settling.see("a", stamp(), 0.0)
    settling.see("a", stamp(), 1.0)
    assert settling.see("a", stamp(size=5), 2.0)
    assert settling.settled("a") is None


def test_an_empty_file_never_settles():
    settling = Settling(1.0)
    for now in range(100):
        settling.see("a", stamp(size=0), float(now))
    assert settling.settled("a") is None
    assert settling.next_look(100.0) == inf


def test_a_slow_writer_with_pauses_shorter_than_settling_keeps_it_open():
    settling = Settling(3.0)
    for number in range(20):
        settling.see("a", stamp(size=number + 1), number * 2.9)
        assert settling.settled("a") is None


def test_it_says_when_to_look_so_that_nothing_settles_late():
    settling = Settling(0.2)
    settling.see("a", stamp(), 10.0)
    now, looks = 10.0, 0
    while settling.settled("a") is None:
        now = settling.next_look(now)
        settling.see("a", stamp(), now)
        looks += 1
    assert now == 10.2
    assert looks == 4


def test_a_look_at_the_whole_folder_tells_what_came_changed_settled_and_went():
    settling = Settling(1.0)
    assert settling.see_all({"a": stamp(), "b": stamp()}, 0.0) == {"a", "b"}
    assert settling.see_all({"a": stamp(), "b": stamp(size=2)}, 1.0) == {"a", "b"}
    assert (settling.settled("a"), settling.settled("b")) == (stamp(), None)
    assert settling.see_all({"b": stamp(size=2)}, 1.5) == {"a"}
    assert settling.see_all({"b": stamp(size=2)}, 1.6) == set()


def test_a_file_that_went_and_came_back_starts_anew():
    settling = Settling(1.0)
    settling.see("a", stamp(), 0.0)
    settling.see("a", stamp(), 1.0)
    assert settling.see("a", None, 1.1)
    settling.see("a", stamp(), 1.2)
    assert settling.settled("a") is None


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0.01, 2.0)), min_size=1, max_size=40))
def test_what_has_settled_stood_still_for_the_whole_time_and_was_not_empty(looks):
    settling, now, last, since = Settling(1.0), 0.0, None, 0.0
    for size, pause in looks:
        now += pause
        if size != last:
            last, since = size, now
        settling.see("a", stamp(size=size), now)
        assert (settling.settled("a") is not None) == (size > 0 and now >= since + 1.0)
