"""What comes of a paid task, with the real command: outputs that cannot be had, and results of odd length."""

import json
import threading
import tomllib
import uuid

import pytest

from runway_sandbox.render import sample
from stub import Stub, answer

WINTER = 'prompt = "deep winter"\n'
GONE = answer(404, {"error": "gone"})


def provider(served, hold=lambda: None):
    """Script: take any request, end its task at once with these outputs, and serve them by their path.

    `hold` is called before the second half of each.
    """

    def script(line):
        while True:
            asked = line.read_request()
            host = asked.headers["host"]
            if asked.method == "POST":
                line.send(answer(200, {"id": str(uuid.uuid4())}))
            elif "/tasks/" in asked.path:
                output = [f"http://{host}/{name}" for name in served]
                body = {"id": asked.path.rpartition("/")[2], "status": "SUCCEEDED", "output": output}
                line.send(answer(200, body))
            else:
                found = served.get(asked.path.lstrip("/"))
                whole = GONE if found is None else answer(200, found, Content_Type="video/mp4")
                half = len(whole) - len(found or b"") // 2
                line.send(whole[:half])
                hold()
                line.send(whole[half:])

    return script


@pytest.fixture
def film(tmp_path):
    def film(seconds):
        path = tmp_path / f"{seconds}.mp4"
        sample(path, seconds=seconds)
        return path.read_bytes()

    return film


def begin(bay, stub):
    bay.is_checked = False  # another provider than the one whose ledger the oracle reads
    bay.configure(base_url=f"{stub.url}/v1")
    bay.start()


def told(bay):
    return json.loads(bay.call("jobs", "--json").stdout.splitlines()[0])


def test_a_download_shows_how_far_it_has_come_on_every_surface(bay, film):
    is_seen = threading.Event()
    data = film(2.0) + (8 << 20).to_bytes(4, "big") + b"free" + bytes((8 << 20) - 8)
    with Stub(provider({"film.mp4": data}, lambda: is_seen.wait(60))) as stub:
        begin(bay, stub)
        bay.drop("a.mp4", WINTER, film(2.0))
        job = bay.until(lambda: next((one for one in bay.told("jobs") if one["doing"]), None), 20)
        bay.until(lambda: told(bay)["progress"] > 0.4, 20)
        assert job["doing"] == "downloading the result"
        share = f"{told(bay)['progress']:.0%}"
        assert bay.told("show", job["id"])["progress"] == told(bay)["progress"] < 0.6
        for command in (("status",), ("jobs",), ("show", job["id"])):
            assert f"downloading the result, {share}" in bay.call(*command, COLUMNS="200").stdout
        is_seen.set()
        bay.until(lambda: "a.mp4" in bay.results(), 30)
        assert told(bay)["doing"] is None


@pytest.mark.slow
def test_an_output_that_cannot_be_had_is_named_and_the_film_is_delivered(bay, film):
    with Stub(provider({"film.mp4": film(0.25), "gone.jpg": None})) as stub:
        begin(bay, stub)
        bay.drop("a.mp4", WINTER)
        bay.until(lambda: "a.mp4" in bay.results(), 60)
        bay.until_retired()
        assert sum(asked.path == "/film.mp4" for asked in stub.asked) == 1
        result = tomllib.loads((bay.outbox / "a.mp4.toml").read_text())["result"]
        assert "output 2 could not be had" in result["missing"][0]
        assert (result["frames"], result["seconds"]) == (6, 0.25)
        assert told(bay)["missing"][0]["output"] == 2
        assert "output 2" in bay.call("jobs").stdout
        assert "output 2" in bay.events("delivered")[0]["why"]


def test_a_cancel_delivers_what_is_here_of_a_result(bay, film):
    with Stub(provider({"film.mp4": film(0.25), "gone.jpg": None})) as stub:
        begin(bay, stub)
        bay.drop("a.mp4", WINTER)
        bay.until(lambda: bay.events("partly_fetched"), 20)
        job = told(bay)["id"]
        asked = bay.call("cancel", job)
        assert "are delivered to the outbox first" in asked.stderr or told(bay)["state"] == "delivered"
        bay.call("cancel", job, "--yes")
        bay.until(lambda: "a.mp4" in bay.results(), 30)
        bay.until_retired()


def test_a_result_far_too_short_is_held_and_delivered_by_approval(bay, film):
    with Stub(provider({"film.mp4": film(0.25)})) as stub:
        begin(bay, stub)
        bay.drop("a.mp4", WINTER, film(3.0))
        job = bay.until(lambda: next((j for j in bay.told("jobs") if j["held"] == "result"), None), 20)
        assert "the result lasts 0.25 s" in job["reason"]
        assert "3 s" in job["reason"]
        assert "a.mp4" not in bay.results()
        assert f"approve {job['id']}" in bay.call("status", COLUMNS="300").stdout  # -c is long here
        assert bay.call("approve", job["id"], "--yes").returncode == 0
        bay.until_retired()
        result = tomllib.loads((bay.outbox / "a.mp4.toml").read_text())["result"]
        assert (result["seconds"], result["sent_seconds"]) == (0.25, 3.0)
        assert "the result lasts 0.25 s" in result["noticed"][0]


def test_a_result_far_too_short_that_nobody_wants_is_kept_beside_its_source(bay, film):
    with Stub(provider({"film.mp4": film(0.25)})) as stub:
        begin(bay, stub)
        bay.drop("a.mp4", WINTER, film(3.0))
        job = bay.until(lambda: next((j for j in bay.told("jobs") if j["held"] == "result"), None), 20)
        assert bay.call("cancel", job["id"], "--yes").returncode == 0
        bay.until_retired()
        assert "a.mp4" not in bay.results()
        assert (bay.inbox / "_failed/a.result.mp4").read_bytes() == film(0.25)
        note = tomllib.loads((bay.inbox / "_failed/a.mp4.error.toml").read_text())
        assert "is kept beside it in `_failed`" in note["what_to_do"]
