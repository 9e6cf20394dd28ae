"""The page and the JSON interface of a node that follows: clips, orders and news as on the one that leads."""

import json
import threading

import pytest
import requests

from journeys.bay import make_clip
from journeys.nodes import begin, move_to_postgres, node

TOKEN = "a-token-of-some-length"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
WEB = '[web]\nlisten = "127.0.0.1:0"\n'


@pytest.fixture
def pair(bay):
    """Yield a node that leads without a page, and the page of one that follows."""
    move_to_postgres(bay)
    bay.is_checked = False
    bay.secrets.append(TOKEN)
    leader, follower = node(bay, "one", top=""), node(bay, "two", top=WEB)
    begin(leader, "started")
    follower.start(wait=False, CLIPSPOOL_WEB__TOKEN=TOKEN)
    follower.until(lambda: follower.events("page_served"), 20, "it serves its page")
    yield follower, Caller(follower.events("page_served")[-1]["at"].rstrip("/"))
    for one in (follower, leader):
        if one.daemon is not None:
            assert one.stop() == 0, one.lately()


class Caller:
    def __init__(self, home):
        self.home = home

    def __call__(self, method, path, **how):
        how.setdefault("headers", BEARER)
        return requests.request(method, self.home + path, timeout=60, allow_redirects=False, **how)

    def api(self, method, path, status=200, **how):
        answered = self(method, f"/api/v1{path}", **how)
        assert answered.status_code == status, answered.text
        return answered.json()

    def send(self, name, data, status=201, key="", prompt="deep winter"):
        form = [("inbox", (None, "bay")), ("prompt", (None, prompt)), ("file", (name, data))]
        headers = BEARER | ({"Idempotency-Key": key} if key else {})
        return self.api("POST", "/clips", status, files=form, headers=headers)


def watched(home, seen):
    """Follow the events of jobs in a thread."""

    def follow():
        with requests.get(f"{home}/api/v1/events", headers=BEARER, stream=True, timeout=120) as stream:
            seen.append(None)
            for line in stream.iter_lines():
                if line.startswith(b"data: {"):
                    seen.append(json.loads(line[6:]))

    threading.Thread(target=follow, daemon=True).start()


@pytest.mark.slow
def test_the_page_of_a_node_that_follows_takes_clips_and_orders_and_shows_what_happens(bay, pair):
    follower, call = pair
    bay.until(lambda: call.api("GET", "/status")["inboxes"], 20, "the leader's inboxes are known")
    seen = []
    watched(call.home, seen)
    bay.until(lambda: seen, what="the stream begins")
    clip = make_clip(bay.template, "shot.mp4")
    sent = call.send("shot.mp4", clip, key="one")
    assert (sent["inbox"], sent["path"]) == ("bay", "shot.mp4")
    bay.until_states("delivered", seconds=30)
    again = call.send("shot.mp4", clip, key="one")
    assert again["id"] == sent["id"], "the same request once more adds nothing"
    (job,) = call.api("GET", f"/clips/{sent['id']}")["jobs"]
    assert job["state"] == "delivered"
    picture = f"/jobs/{job['id']}/poster/1"
    drawn = lambda: call("GET", picture).headers["Content-Type"] == "image/jpeg"  # noqa: E731
    bay.until(drawn, what="the leader, which has no page, draws the picture")
    bay.until(lambda: {"delivered"} <= {one["state"] for one in seen[1:]}, what="the stream says so")

    # The same request once more is held as a duplicate: the follower's page shows it, and lets it go.
    call.send("twice.mp4", clip)
    bay.until(lambda: [job["held"] for job in follower.told("jobs")] == ["duplicate", None], 30, "it is held")
    held = follower.told("jobs")[0]["id"]
    bay.until(lambda: f"/jobs/{held}" in call("GET", "/").text, 20, "it needs attention")
    form = {"headers": BEARER | {"Content-Type": "application/x-www-form-urlencoded"}}
    assert call("POST", f"/jobs/{held}/approve", **form).status_code == 303
    bay.until_states("delivered", "delivered", seconds=30)

    # Once more, changed: first what it costs, then the order.
    change = {"prompt": "high summer", "dry_run": True}
    assert call.api("POST", f"/jobs/{held}/again", json=change)["done"]
    assert len(bay.jobs()) == 2
    made = call.api("POST", f"/jobs/{held}/again", json=change | {"dry_run": False})
    bay.until_states("delivered", "delivered", "delivered", seconds=30)
    assert call.api("POST", f"/jobs/{made['new']}/choose", json={})["done"]
    assert bay.paid == 3
    assert call("GET", "/inbox/bay").status_code == 200

    # A sidecar with a mistake is mended where it is shown.
    bay.drop("wrong.mp4", sidecar='promt = "deep winter"\n')
    waiting = "/sidecar?inbox=bay&path=wrong.mp4"
    bay.until(lambda: call("GET", f"/api/v1{waiting}").status_code == 200, 20, "it waits")
    mended = {"text": 'prompt = "late autumn"\n', "version": call.api("GET", waiting)["version"]}
    call.api("PUT", "/sidecar", json={"inbox": "bay", "path": "wrong.mp4", **mended})
    bay.until_states(*["delivered"] * 4, seconds=30)
    refused = call.send("film.exe", clip, status=415)
    assert "is no clip that the inbox bay takes" in str(refused)
