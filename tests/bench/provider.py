"""Starts the stand-in beside the contestants and asks it what it saw."""

import json
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

STANDIN = Path(__file__).with_name("standin.py")


class Provider:
    """A running stand-in."""

    def __init__(self, process):
        self.process = process
        self.origin = f"http://127.0.0.1:{int(process.stdout.readline())}"

    @property
    def base_url(self):
        return f"{self.origin}/v1"

    def ledger(self):
        with urllib.request.urlopen(f"{self.origin}/bench/ledger", timeout=30) as answer:
            return json.load(answer)

    def creates(self):
        return self.ledger()["creates"]


@contextmanager
def provide(result, *options):
    """Run a stand-in that serves this file as every result; `options` are those of standin.py."""
    command = [sys.executable, str(STANDIN), str(result), *map(str, options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield Provider(process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
