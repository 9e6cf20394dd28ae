"""Two clients of a kernel NFS or SMB server: who claims, what is paid, who takes over, what is seen when."""

import json

import pytest

from ground.nas.machine import run

PROTOCOLS = ("nfs3", "nfs42", "smb311")
SCENES = ("claims", "seen", "journey", "takeover")
CLIPS = 24
SECONDS_MAX = 5400


@pytest.fixture(scope="session")
def ground(request):
    """Return what came out in the machine, for the protocols whose tests run."""
    asked = [name for name in PROTOCOLS if any(f"[{name}" in item.name for item in request.session.items)]
    return run({"protocols": asked, "scenes": SCENES, "clips": CLIPS}, SECONDS_MAX)


@pytest.fixture(params=PROTOCOLS)
def share(request, ground):
    found = ground[request.param]
    assert "trouble" not in found, found["trouble"]
    return found


def scene(share, name):
    found = share[name]
    assert "trouble" not in found, found["trouble"]
    return found


@pytest.mark.parametrize("gap", ["0", "10", "100"])
def test_of_two_that_claim_a_clip_so_many_milliseconds_apart_one_has_it(share, gap):
    told = scene(share, "claims")[gap]
    assert told == {"believed_by_both": 0, "believed_by_none": 0, "in_both": 0, "lost": 0}


def test_two_daemons_with_a_journal_each_pay_for_each_clip_once_and_deliver_it_whole(share):
    told = scene(share, "journey")
    assert told["paid"] == CLIPS
    assert told["names"] == [f"shot{number:03}.mp4" for number in range(CLIPS)]
    assert told["broken"] == []
    assert told["with_provenance"] == CLIPS
    assert (told["done"], told["left_in_work"]) == (CLIPS, 0)
    assert sum(jobs.get("delivered", 0) for jobs in told["jobs"]) == CLIPS
    assert all(set(jobs) == {"delivered"} for jobs in told["jobs"]), "both of them took part"


def test_a_take_over_is_seen_by_the_other_client_at_once(share):
    assert scene(share, "seen")["seen_within"] < 3.0


def test_recover_takes_nothing_from_a_daemon_that_lives(share):
    told = scene(share, "takeover")
    assert told["beside_a_living_one"]["said"].splitlines()[-1] == "No clips to take over."
    assert set(told["its_jobs_after"]) == {"running"}
    assert told["from_a_living_one"]["code"] == 1
    assert "is running" in told["from_a_living_one"]["said"]


def test_the_survivor_of_a_kill_says_whose_clips_lie_there_and_takes_them_over(share):
    told = scene(share, "takeover")
    assert told["said_after"] < 60
    (peer,) = json.loads(told["status"])["inboxes"][0]["peers"]
    assert peer["clips"] == CLIPS // 2
    assert peer["command"].startswith("clipspool recover --from")
    assert f"its {CLIPS // 2} clips wait until it runs again" in told["status_file"]
    assert told["recover"]["said"].splitlines()[-1] == f"{CLIPS // 2} clips taken over."


def test_after_a_kill_and_a_take_over_each_clip_was_paid_once_and_delivered_once(share):
    told = scene(share, "takeover")
    assert told["paid"] == CLIPS
    assert told["names"] == [f"shot{number:03}.mp4" for number in range(CLIPS)]
    assert told["broken"] == []
    assert (told["done"], told["left_in_work"]) == (CLIPS, 0)
    first, second = told["jobs"]
    assert first == {"cancelled": CLIPS // 2}, "one that comes back doubts nothing that was taken over"
    assert second == {"delivered": CLIPS}
