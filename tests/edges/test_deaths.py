"""What was being examined when the process died: counted, set aside, forgiven."""

import pytest

from clipspool.intake.poison import Deaths

ONE, TWO = "one.mp4", "day/t\udcffwo.mp4"


@pytest.fixture
def start(tmp_path):
    """Return a function that starts the daemon again, as after a death of the one before."""
    return lambda boot="one boot": Deaths(tmp_path / "deaths", lambda: boot)


@pytest.fixture
def die(start):
    """Return a function that dies over a clip: the blocks it is in are never left."""
    blocks = []

    def die(clip, look="look", *, apart=False, **how):
        deaths = start(**how)
        blocks.append(deaths.examining(clip, look))
        blocks[-1].__enter__()
        if apart:
            blocks.append(deaths.paused())
            blocks[-1].__enter__()

    return die


@pytest.mark.parametrize("clip", [ONE, TWO])
def test_at_three_deaths_it_is_set_aside(start, die, clip):
    for _ in range(2):
        die(clip)
    assert not start().is_set_aside(clip, "look")
    die(clip)
    assert start().is_set_aside(clip, "look")
    assert not start().is_set_aside("other.mp4", "look")


def test_a_clip_that_changed_begins_anew(start, die):
    for _ in range(3):
        die(ONE)
    assert not start().is_set_aside(ONE, "another look")
    for _ in range(2):
        die(ONE, look="another look")
    assert not start().is_set_aside(ONE, "another look")


def test_one_that_is_examined_while_the_process_lives_is_cleared(start, die):
    for _ in range(2):
        die(ONE)
    deaths = start()
    with deaths.examining(ONE, "look"):
        pass
    deaths.survive(ONE)
    die(ONE)
    assert not start().is_set_aside(ONE, "look")


def test_what_waits_to_be_looked_into_counts_on(start, die):
    for _ in range(2):
        die(ONE)
        with start().examining(ONE, "look"):
            pass
    die(ONE)
    assert start().is_set_aside(ONE, "look")


def test_while_another_process_works_on_it_nobody_is_to_blame(start, die):
    for _ in range(4):
        die(ONE, apart=True)
    assert not start().is_set_aside(ONE, "look")


def test_what_is_set_aside_stays_so_until_it_is_forgiven(start, die):
    for _ in range(3):
        die(ONE)
    with start().examining(TWO, "look"):
        pass
    assert start().is_set_aside(ONE, "look")
    start().forgive()
    assert not start().is_set_aside(ONE, "look")


def test_a_machine_that_went_down_counts_for_nobody(start, die):
    for boot in ("one", "two", "three", "four"):
        die(ONE, boot=boot)
    assert not start(boot="four").is_set_aside(ONE, "look")


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"boot": "one boot"}', b'{"boot": "one boot", "counts": [1]}']
)
def test_a_damaged_file_is_as_good_as_none(start, tmp_path, data):
    (tmp_path / "deaths").write_bytes(data)
    assert not start().is_set_aside(ONE, "look")


def test_without_a_place_for_the_file_all_goes_on(tmp_path):
    deaths = Deaths(tmp_path / "nowhere" / "deaths")
    with deaths.examining(ONE, "look"):
        pass
    assert list(tmp_path.iterdir()) == []
