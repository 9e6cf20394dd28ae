"""Whose clips `recover` takes: those of daemons that do not live, or one that is named."""

import pytest

from clipspool.jobs.records import Life, Peer
from clipspool.spool.takeover import NotTakenOver, chosen

NOW = 1_800_000_000.0


def peer(journal, life="ended", inbox="bay", seen_at=NOW - 12.0, host="edit-3"):
    return Peer(inbox, journal, host, Life(life), 3, seen_at)


def test_without_a_name_all_go_but_those_that_live():
    peers = [
        peer("aa01"),
        peer("bb02", "living"),
        peer("cc03", "silent"),
        peer("dd04", "unknown", seen_at=None),
    ]
    assert chosen(peers, None, NOW) == ["aa01", "cc03", "dd04"]


def test_one_is_named_by_how_its_journal_begins():
    assert chosen([peer("aa01"), peer("ab02")], "ab", NOW) == ["ab02"]


@pytest.mark.parametrize(
    ("wanted", "why"),
    [("bb", "bb.* is running: last seen 12 s ago"), ("a", "aa01 and ab02"), ("zz", "zz"), ("", "No inbox")],
)
def test_what_cannot_be_taken_over_is_refused_in_a_sentence(wanted, why):
    peers = [peer("aa01"), peer("ab02"), peer("bb03", "living")]
    with pytest.raises(NotTakenOver, match=why) as refused:
        chosen(peers, wanted, NOW)
    assert str(refused.value).count("\n") == 0


def test_a_daemon_that_one_inbox_shows_living_lives():
    peers = [peer("aa01", "silent", inbox="one"), peer("aa01", "living", inbox="two")]
    assert chosen(peers, None, NOW) == []
    assert chosen(reversed(peers), None, NOW) == []
