"""The bench's stand-in is kept honest by the official SDK, and does the harm that its options promise."""

import base64
import http.client
import json
import os
import subprocess
import sys
import urllib.request

import pytest

from bench.clips import clip_bytes, number_of, write_film
from bench.provider import provide
from bench.rows import rescan
from repository import SDK

OLDEST = SDK / "4.18"
JOURNEY = """
import sys
import runwayml
from runwayml.lib import polling
polling.POLL_TIME, polling.POLL_JITTER = 0.05, 0
client = runwayml.RunwayML(
    api_key="key_" + "0" * 128, base_url=sys.argv[1], max_retries=0, _strict_response_validation=True
)
uri = "data:video/mp4;base64," + sys.stdin.read()
task = client.video_to_video.create(model="gen4_aleph", prompt_text="deep winter 1", video_uri=uri)
print(client.tasks.retrieve(task.id).status)
done = task.wait_for_task_output(timeout=20)
print(done.status)
print(done.output[0])
"""


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_film(tmp_path_factory.mktemp("bench") / "film.mp4", 250_000)


def submit(provider, number):
    body = json.dumps({"promptText": f"deep winter {number}"}).encode()
    with urllib.request.urlopen(f"{provider.base_url}/video_to_video", body, timeout=10) as answer:
        return json.load(answer)["id"]


def fetch(provider, task, **headers):
    request = urllib.request.Request(f"{provider.origin}/results/{task}.mp4", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


def test_the_official_sdk_finds_nothing_strange_in_it(film):
    if not (OLDEST / "runwayml").is_dir():
        pytest.fail("the runwayml SDK is not installed in .venv/sdk: run `make test`")
    with provide(film, "--seconds", 0.2) as provider:
        done = subprocess.run(
            [sys.executable, "-c", JOURNEY, provider.origin],
            input=base64.b64encode(clip_bytes("clip1", 3_500_000)).decode(),
            env={**os.environ, "PYTHONPATH": str(OLDEST)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        before, after, url = done.stdout.split()
        assert (before, after) == ("RUNNING", "SUCCEEDED")
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert answer.read() == film.read_bytes()
        (create,) = provider.creates()
        assert create["size"] > 4_666_667
        assert create["polls"] >= 2


def test_a_create_that_it_drops_made_a_task_all_the_same(film):
    with provide(film, "--drops-creates") as provider:
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            submit(provider, 13)
        submit(provider, 13)
        assert [one["is_answered"] for one in provider.creates()] == [False, True]


def test_a_download_that_it_cuts_is_whole_the_second_time_and_can_be_resumed(film):
    with provide(film, "--seconds", 0, "--cuts-downloads") as provider:
        task = submit(provider, 17)
        with pytest.raises(http.client.IncompleteRead) as cut:
            fetch(provider, task)
        got = cut.value.partial
        assert got + fetch(provider, task, Range=f"bytes={len(got)}-") == film.read_bytes()


def test_a_film_of_any_size_has_that_size(tmp_path):
    assert write_film(tmp_path / "film.mp4", 3_000_001).stat().st_size == 3_000_001
    assert len(clip_bytes("clip1", 250_000)) == 250_000


def test_the_rescan_that_the_bench_measures_finds_no_change(tmp_path):
    write_film(tmp_path / "film.mp4", 300_000)
    assert rescan.walk(rescan.RESCAN, tmp_path, 1)["wall"] > 0


def test_a_clip_is_known_by_its_number():
    assert number_of("clip00042") == number_of("deep winter 42") == 42
