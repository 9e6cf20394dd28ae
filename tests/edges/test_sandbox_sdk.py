"""The official SDK, an independent client, keeps the sandbox honest."""

import base64
import json
import os
import subprocess
import sys

import pytest

from patience import patient
from repository import SDK
from runway_sandbox import Options, Render, render, serve

JOURNEY = """
import json, sys
import runwayml
from runwayml.lib import polling
polling.POLL_TIME, polling.POLL_JITTER = 0.05, 0

asked = json.load(sys.stdin)
client = runwayml.RunwayML(
    api_key="key_" + "0" * 128, base_url=asked["origin"], max_retries=0, _strict_response_validation=True
)
told = {"version": runwayml.__version__}
task = client.video_to_video.create(**asked["create"])
told["first"] = client.tasks.retrieve(task.id).status
done = task.wait_for_task_output(timeout=60)
told["done"] = [done.status, len(done.output)]
told["output"] = done.output[0]
told["extras"] = sorted(done.model_extra or {})

uri = client.uploads.create_ephemeral(file=("clip.mp4", bytes.fromhex(asked["clip"]))).uri
again = client.video_to_video.create(**{**asked["create"], "video_uri": uri})
told["uploaded"] = uri.partition("://")[0]
client.tasks.delete(again.id)
try:
    client.tasks.retrieve(again.id)
except runwayml.NotFoundError as error:
    told["deleted"] = error.body["error"]
told["credits"] = client.organization.retrieve().credit_balance
try:
    client.video_to_video.create(**{**asked["create"], "prompt_text": "x" * 1001})
except runwayml.BadRequestError as error:
    told["refused"] = error.body["issues"][0]["path"]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("sdk") / "clip.mp4"
    render.sample(path, seconds=2, width=160, height=90)
    return path.read_bytes()


@pytest.mark.parametrize(("version", "model"), [("4.18", "gen4_aleph"), ("5.24", "aleph2")])
def test_the_official_sdk_creates_waits_for_and_deletes_a_task(version, model, clip):
    library = SDK / version
    if not (library / "runwayml").is_dir():
        pytest.fail(f"the runwayml SDK {version} is not installed in .venv/sdk: run `make test`")
    create = {
        "model": model,
        "prompt_text": "deep winter at dusk",
        "video_uri": f"data:video/mp4;base64,{base64.b64encode(clip).decode()}",
        "seed": 0,
        "content_moderation": {"public_figure_threshold": "low"},
    }
    with serve(
        Options(render=Render.CANNED, render_seconds=0.1, concurrency=5, daily_generations=500)
    ) as box:
        done = subprocess.run(
            [sys.executable, "-c", JOURNEY],
            input=json.dumps({"origin": box.origin, "create": create, "clip": clip.hex()}),
            env={**os.environ, "PYTHONPATH": str(library)},
            capture_output=True,
            text=True,
            timeout=patient(60),
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["version"].startswith(version)
        assert told["first"] in ("PENDING", "RUNNING")
        assert told["done"] == ["SUCCEEDED", 1]
        assert told["output"].startswith(f"{box.origin}/_results/")
        assert set(told["extras"]) <= {"cost"}
        assert told["uploaded"] == "runway"
        assert told["deleted"] == "Task not found"
        assert told["credits"] < Options().credits
        assert told["refused"] == ["promptText"]
        assert [one.model for one in box.ledger.creates] == [model, model]
        assert len(box.ledger.creates_by_clip()) == 1
