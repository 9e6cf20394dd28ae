"""What people write first: watchdog, the official SDK, a thread a clip."""

import argparse
import base64
import threading
import time
import tomllib
from pathlib import Path

import httpx
import runwayml
from runwayml.lib import polling
from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer

parser = argparse.ArgumentParser()
parser.add_argument("inbox", type=Path)
parser.add_argument("outbox", type=Path)
parser.add_argument("done", type=Path)
parser.add_argument("origin")
parser.add_argument("--poll-seconds", type=float)
parser.add_argument("--settle-seconds", type=float)
options = parser.parse_args()

polling.POLL_TIME, polling.POLL_JITTER = options.poll_seconds, 0
client = runwayml.RunwayML(api_key="key_" + "0" * 128, base_url=options.origin)
web = httpx.Client()
known = set()
known_lock = threading.Lock()


def wait_until_settled(path):
    before = None
    while (now := (path.stat().st_size, path.stat().st_mtime_ns)) != before:
        before = now
        time.sleep(options.settle_seconds)


def download(url, target):
    part = target.with_suffix(".part")
    with web.stream("GET", url) as answer, part.open("wb") as file:
        answer.raise_for_status()
        for chunk in answer.iter_bytes():
            file.write(chunk)
    part.rename(target)


def process(clip):
    try:
        wait_until_settled(clip)
        sidecar = clip.with_suffix(".toml")
        prompt = tomllib.loads(sidecar.read_text())["prompt"]
        task = client.video_to_video.create(
            model="gen4_aleph",
            prompt_text=prompt,
            video_uri="data:video/mp4;base64," + base64.b64encode(clip.read_bytes()).decode(),
        )
        done = task.wait_for_task_output()
        download(done.output[0], options.outbox / clip.name)
        clip.rename(options.done / clip.name)
        sidecar.rename(options.done / sidecar.name)
    except Exception as error:
        print(f"{clip.name} failed: {error!r}", flush=True)


def begin(path):
    clip = Path(path)
    if clip.suffix != ".mp4":
        return
    with known_lock:
        if clip.name in known:
            return
        known.add(clip.name)
    threading.Thread(target=process, args=(clip,), daemon=True).start()


class Handler(FileSystemEventHandler):
    def on_created(self, event):
        begin(event.src_path)

    def on_moved(self, event):
        begin(event.dest_path)


observer = Observer()
observer.schedule(Handler(), str(options.inbox))
observer.start()
for clip in sorted(options.inbox.glob("*.mp4")):
    begin(clip)
print("ready", flush=True)
observer.join()
