"""A key that the provider throws back in every way turns up nowhere that anybody reads."""

import json
import socket
import threading
from urllib.parse import quote

import pytest

from journeys.bay import KEY
from stub import Stub, answer

SIGNED = "5ignature-c4nary"
SAYS = (
    f"Authorization: Bearer {KEY} was refused at https://user:{KEY}@cdn.example/a.mp4?key={KEY}&sig={SIGNED} "
    f"({quote(KEY, safe='')}) {json.dumps({'api_key': KEY})}"
)
ECHOES = {
    "X-Echo": f"Bearer {KEY}",
    "Set-Cookie": f"session={KEY}",
    "Location": f"https://x.example/?k={KEY}",
}
ADDRESS = f"https://user:{KEY}@cdn.example/out.mp4?Signature={SIGNED}&key={KEY}"
BREAKS = """\
from clipspool.stages import prepare
real = prepare._read
def read(file, clip, stopping):
    if "breaks" in clip.path:
        import os
        key = os.environ["CLIPSPOOL_PROVIDER__API_KEY"]
        raise RuntimeError(f"Bearer {key} at https://user:{key}@host/?sig={key}")
    return real(file, clip, stopping)
prepare._read = read
"""


def mean(line):
    """Answer every request with the key in it; what is created depends on the prompt."""
    while True:
        asked = line.read_request()
        if asked.method == "POST":
            prompt = json.loads(asked.body)["promptText"]
            replies = {
                "refused": answer(
                    400, {"error": SAYS, "issues": [{"path": ["x"], "message": SAYS}]}, **ECHOES
                ),
                "doubtful": answer(500, f"<html>{SAYS}</html>".encode(), **ECHOES),
                "busy": answer(429, {"error": SAYS}, **ECHOES, Retry_After="1"),
            }
            line.send(replies.get(prompt, answer(200, {"id": f"task-{prompt}"}, **ECHOES)))
        elif asked.path.endswith("task-fails"):
            body = {"id": "task-fails", "status": "FAILED", "failure": SAYS, "failureCode": f"X.{KEY}"}
            line.send(answer(200, body, **ECHOES))
        elif "/tasks/" in asked.path:
            word = "SUCCEEDED" if asked.path.endswith("task-finishes") else f"WORD {KEY}"
            body = {"id": asked.path.rpartition("/")[2], "status": word, "output": [ADDRESS]}
            line.send(answer(200, body, **ECHOES))
        else:
            line.send(answer(403, {"error": SAYS}, **ECHOES))


@pytest.fixture
def notified(tmp_path):
    """Listen as systemd does; gives the socket's path and what came."""
    path, heard = str(tmp_path / "notify"), []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(0.2)
        ended = threading.Event()

        def listen():
            while not ended.is_set():
                try:
                    heard.append(listener.recv(65536))
                except TimeoutError:
                    continue

        thread = threading.Thread(target=listen)
        thread.start()
        yield path, heard
        ended.set()
        thread.join()


@pytest.mark.slow
def test_a_key_that_comes_back_in_every_way_is_told_nowhere(bay, notified):
    bay.is_checked = False  # what this provider answers leads nowhere
    path, heard = notified
    site = bay.home.parent / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(BREAKS)
    prompts = ("refused", "doubtful", "fails", "finishes", "odd")
    with Stub(mean) as stub:
        bay.configure(base_url=f"{stub.url}/v1", provider="running_max = 40")
        bay.start(NOTIFY_SOCKET=path, PYTHONPATH=str(site))
        for prompt in prompts:
            bay.drop(f"{prompt}.mp4", f'prompt = "{prompt}"\n')
        bay.drop("breaks.mp4", 'prompt = "breaks"\n')
        bay.until(lambda: sorted(bay.jobs().values()).count("failed") == 2, 20)
        bay.until(lambda: "in_doubt" in bay.jobs().values(), 20)
        bay.until(lambda: bay.events("bug"), 20)
        reasons = "SELECT 1 FROM jobs WHERE state = ? AND reason LIKE ?"
        bay.until(lambda: bay.query(reasons, "rendered", "_%"), 20)
        bay.until(lambda: bay.query(reasons, "running", "%WORD%"), 20)
        bay.drop("busy.mp4", 'prompt = "busy"\n')
        bay.until(lambda: bay.events("provider_blocked"), 20)
        bay.until(lambda: list(bay.inbox.glob("_failed/*.error.toml")), 20)
        shown = [bay.call("show", job).stdout for job in bay.jobs()]
        for words in (("status", "--json"), ("jobs", "--json"), ("check",)):
            done = bay.call(*words)
            shown.append(done.stdout + done.stderr)
        assert bay.stop() == 0
    assert any(b"READY=1" in one for one in heard)
    said = "\n".join(shown) + b"\n".join(heard).decode()
    files = {p: p.read_bytes() for p in bay.home.rglob("*") if p.is_file()}
    assert bay.journal in files
    for secret in (KEY, SIGNED):
        assert secret not in said
        assert [p.name for p, data in files.items() if secret.encode() in data] == []
