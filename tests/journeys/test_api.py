"""Programs on the JSON interface of the real daemon."""

import hashlib
import os
import re
import subprocess
import sys

import requests

from journeys.bay import make_clip
from repository import DOCS

DOCUMENT = DOCS / "api.md"
TOKEN = "a-token-of-some-length"


def test_the_client_of_the_documentation_gets_a_clip_delivered(bay, tmp_path):
    (client,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert len(client.strip().splitlines()) < 25
    bay.secrets.append(TOKEN)
    bay.configure(top='[web]\nlisten = "127.0.0.1:0"\n')
    bay.start(CLIPSPOOL_WEB__TOKEN=TOKEN)
    home = bay.events("page_served")[-1]["at"].rstrip("/")
    clip = tmp_path / "Москва 1.mp4"
    clip.write_bytes(make_clip(bay.template, clip.name))
    bay.dropped[hashlib.sha256(clip.read_bytes()).hexdigest()] = clip.name
    env = os.environ | {"CLIPSPOOL_URL": home, "CLIPSPOOL_TOKEN": TOKEN}
    command = [sys.executable, "-c", client, str(clip), "bay"]
    how = {"env": env, "capture_output": True, "text": True, "timeout": 60}
    prompts = ("deep winter", "deep winter", "summer")
    run = [subprocess.run([*command, prompt], check=False, **how) for prompt in prompts]
    assert run[0].stdout == "Москва 1.mp4\n", run[0].stderr
    assert run[1].stdout == run[0].stdout, "the same request once more adds nothing"
    assert "was used for another clip" in run[2].stderr
    assert bay.paid == 1
    jobs = requests.get(f"{home}/api/v1/jobs", timeout=10).json()["jobs"]
    assert [job["clip"] for job in jobs] == ["Москва 1.mp4"]
    assert jobs == bay.told("jobs")
