"""What people write second: a queue that survives a crash (huey on SQLite), with the SDK in its tasks.

One process: watchdog enqueues, the consumer's threads work. A task that is not done yet is looked at by a new
scheduled task, so that no worker sleeps.
"""

import argparse
import base64
import time
import tomllib
from pathlib import Path

import httpx
import runwayml
from huey import SqliteHuey
from huey.consumer_options import ConsumerConfig
from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer

parser = argparse.ArgumentParser()
parser.add_argument("inbox", type=Path)
parser.add_argument("outbox", type=Path)
parser.add_argument("done", type=Path)
parser.add_argument("origin")
parser.add_argument("--queue", type=Path)
parser.add_argument("--poll-seconds", type=float)
parser.add_argument("--settle-seconds", type=float)
options = parser.parse_args()

huey = SqliteHuey(filename=str(options.queue), fsync=True)
client = runwayml.RunwayML(api_key="key_" + "0" * 128, base_url=options.origin)
web = httpx.Client()


@huey.task(retries=3, retry_delay=5)
def submit(name):
    clip = options.inbox / name
    before = None
    while (now := (clip.stat().st_size, clip.stat().st_mtime_ns)) != before:
        before = now
        time.sleep(options.settle_seconds)
    prompt = tomllib.loads(clip.with_suffix(".toml").read_text())["prompt"]
    task = client.video_to_video.create(
        model="gen4_aleph",
        prompt_text=prompt,
        video_uri="data:video/mp4;base64," + base64.b64encode(clip.read_bytes()).decode(),
    )
    follow.schedule((name, task.id), delay=options.poll_seconds)


@huey.task(retries=3, retry_delay=5)
def follow(name, task_id):
    task = client.tasks.retrieve(task_id)
    if task.status == "SUCCEEDED":
        fetch(name, task.output[0])
    elif task.status in {"FAILED", "CANCELLED"}:
        print(f"{name} failed", flush=True)
    else:
        follow.schedule((name, task_id), delay=options.poll_seconds)


@huey.task(retries=3, retry_delay=5)
def fetch(name, url):
    target = options.outbox / name
    part = target.with_suffix(".part")
    with web.stream("GET", url) as answer, part.open("wb") as file:
        answer.raise_for_status()
        for chunk in answer.iter_bytes():
            file.write(chunk)
    part.rename(target)
    for path in (options.inbox / name, (options.inbox / name).with_suffix(".toml")):
        path.rename(options.done / path.name)


known = {task.args[0] for task in [*huey.pending(), *huey.scheduled()]}


def enqueue(path):
    clip = Path(path)
    if clip.suffix == ".mp4" and clip.name not in known:
        known.add(clip.name)
        submit(clip.name)


class Handler(FileSystemEventHandler):
    def on_created(self, event):
        enqueue(event.src_path)

    def on_moved(self, event):
        enqueue(event.dest_path)


observer = Observer()
observer.schedule(Handler(), str(options.inbox))
observer.start()
for clip in sorted(options.inbox.glob("*.mp4")):
    enqueue(clip)
config = ConsumerConfig(
    workers=16, worker_type="thread", periodic=False, scheduler_interval=1, initial_delay=0.01
)
config.validate()
print("ready", flush=True)
huey.create_consumer(**config.values).run()
