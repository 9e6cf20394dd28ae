"""What was being judged when the process died: counted, judged alone, set aside, forgiven."""

import pytest

from clipspool.intake.deaths import Deaths

ONE, TWO = ("", "one"), ("day", "t\udcffwo")


@pytest.fixture
def start(tmp_path):
    """Give a way to start anew; whoever ran before died."""
    return lambda boot="one boot": Deaths(tmp_path / "deaths", lambda: boot)


def die(start, *groups, look="look", **how):
    deaths = start(**how)
    deaths.enter(dict.fromkeys(groups, look))
    return deaths


def test_at_two_deaths_it_is_judged_alone_and_at_three_set_aside(start):
    die(start, ONE, TWO)
    assert not start().is_alone(ONE)
    die(start, TWO)
    assert start().is_alone(TWO)
    assert not start().is_set_aside(TWO, "look")
    die(start, TWO)
    assert start().is_set_aside(TWO, "look")
    assert not start().is_set_aside(ONE, "look")


def test_a_clip_that_changed_begins_anew(start):
    for _ in range(3):
        die(start, ONE)
    assert not start().is_set_aside(ONE, "another look")
    die(start, ONE, look="another look")
    assert not start().is_alone(ONE)


def test_what_is_survived_is_forgotten(start):
    die(start, ONE)
    die(start, ONE).leave(lambda _: "gone")
    die(start, ONE)
    assert not start().is_alone(ONE)


def test_what_was_not_looked_into_yet_counts_on(start):
    die(start, ONE)
    start().leave(lambda _: "look")
    die(start, ONE)
    assert start().is_alone(ONE)


def test_what_is_set_aside_stays_so_until_it_is_forgiven(start):
    for _ in range(3):
        die(start, ONE)
    deaths = start()
    deaths.enter({TWO: "look"})
    deaths.leave(lambda _: "gone")
    assert start().is_set_aside(ONE, "look")
    start().forgive()
    assert not start().is_set_aside(ONE, "look")


def test_a_machine_that_went_down_counts_for_nobody(start):
    for boot in ("one", "two", "three", "four"):
        die(start, ONE, boot=boot)
    assert not start(boot="four").is_alone(ONE)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"boot": "one boot"}', b'{"boot": "one boot", "counts": [1]}']
)
def test_a_damaged_file_is_as_good_as_none(start, tmp_path, data):
    (tmp_path / "deaths").write_bytes(data)
    assert not start().is_alone(ONE)


def test_without_a_place_for_the_file_all_goes_on(tmp_path):
    deaths = Deaths(tmp_path / "nowhere" / "deaths")
    deaths.enter({ONE: "look"})
    deaths.leave(lambda _: "gone")
    assert not deaths.is_alone(ONE)
    assert list(tmp_path.iterdir()) == []
