"""A thread a task with the official SDK, each looking every `--pause` seconds: the cost of open tasks.

It is ready once each thread has made one call, as it would have by creating its task.
"""

import argparse
import random
import threading
import time
from pathlib import Path

import runwayml

parser = argparse.ArgumentParser()
parser.add_argument("ids", type=Path)
parser.add_argument("origin")
parser.add_argument("--pause", type=float)
options = parser.parse_args()

client = runwayml.RunwayML(api_key="key_" + "0" * 128, base_url=options.origin)
dice = random.Random(1)


calling = threading.Semaphore(16)


def follow(task_id, first_pause):
    with calling:
        client.tasks.retrieve(task_id)
    have_called.release()
    time.sleep(first_pause)
    while client.tasks.retrieve(task_id).status not in {"SUCCEEDED", "FAILED", "CANCELLED"}:
        time.sleep(options.pause)


have_called = threading.Semaphore(0)
ids = options.ids.read_text().split()
for task_id in ids:
    threading.Thread(target=follow, args=(task_id, dice.random() * options.pause), daemon=True).start()
for _ in ids:
    have_called.acquire()
print("ready", flush=True)
threading.Event().wait()
