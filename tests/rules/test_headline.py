"""The one line for systemd."""

from collections import Counter

from clipspool.jobs.model import Held, State
from clipspool.reporting.headline import headline


def test_it_is_idle_where_nothing_is_to_be_said():
    assert headline({}, {}, {}, [], "", []) == "idle"
    assert headline({State.DELIVERED: 9}, {}, {}, [], "", []) == "idle"


def test_what_is_wrong_stands_before_what_is_counted():
    counts = Counter({State.QUEUED: 3, State.RUNNING: 2, State.DELIVERED: 99})
    told = headline(
        counts,
        {Held.BUDGET: 2},
        {"bay-2": "Permission denied"},
        ["b", "a"],
        "ACCOUNT.CREDITS",
        ["The page cannot listen."],
    )
    assert told == (
        "provider blocked (ACCOUNT.CREDITS); inbox bay-2 offline (Permission denied); paused: a, b; "
        "The page cannot listen; 3 queued, 2 running; 2 held (budget)"
    )


def test_many_inboxes_and_long_reasons_leave_room_for_the_rest():
    told = headline({}, {}, {f"bay-{n}": "x" * 500 for n in range(9)}, [], "", [])
    assert "6 more inboxes offline" in told
    assert "1 more inbox offline" in headline({}, {}, {f"bay-{n}": "x" for n in range(4)}, [], "", [])
    assert len(told) < 400


def test_states_and_reasons_are_words():
    told = headline({State.IN_DOUBT: 1}, {Held.IN_DOUBT: 1}, {}, [], "", [])
    assert told == "1 in doubt; 1 held (in doubt)"
