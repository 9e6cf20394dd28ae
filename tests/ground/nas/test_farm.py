"""Three nodes of a farm on a kernel's NFS 4.2, each with its own mount; the leader is killed half-way."""

import pytest

from ground.nas.machine import run

CLIPS = 24
RUNNING_MAX = 4
SECONDS_MAX = 3000


@pytest.fixture(scope="module")
def told():
    """Return what came out in the machine."""
    asked = {"protocols": ["nfs42"], "scenes": ["farm"], "clips": CLIPS, "running_max": RUNNING_MAX}
    share = run(asked, SECONDS_MAX)["nfs42"]
    assert "trouble" not in share, share["trouble"]
    assert "trouble" not in share["farm"], share["farm"]["trouble"]
    return share["farm"]


def test_when_the_leader_is_killed_half_way_another_node_leads_by_itself(told):
    assert CLIPS // 2 <= told["paid_before"] < CLIPS
    assert told["led_then"] != told["led_first"]


def test_each_clip_was_paid_once(told):
    assert (told["paid"], told["paid_twice"]) == (CLIPS, [])


def test_each_clip_was_delivered_once_and_whole(told):
    assert told["states"] == {"delivered": CLIPS}
    assert told["names"] == [f"shot{number:03}.mp4" for number in range(CLIPS)]
    assert told["broken"] == []
    assert told["with_provenance"] == CLIPS
    assert (told["done"], told["left_in_work"]) == (CLIPS, 0)


def test_the_provider_never_had_more_tasks_than_the_farm_may_have(told):
    assert told["live_max"] <= RUNNING_MAX
