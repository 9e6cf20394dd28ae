"""The provider that all contestants talk to: asyncio, a fixed seed, one ready-made video for every task.

    python standin.py RESULT.mp4 --seconds 12

It says its port on the first line. `GET /bench/ledger` tells what was asked of it, with times (Unix seconds).
"""

import argparse
import asyncio
import json
import random
import time
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

SMALL_BYTES = 1_000_000


@dataclass
class Create:
    """One create that came in whole; each makes a paid task."""

    prompt: str
    begun_at: float
    whole_at: float
    size: int
    task: str
    done_at: float
    is_answered: bool = True
    polls: int = 0
    """Looks until, and with, the first that saw it done."""
    seen_done_at: float | None = None
    fetches: int = 0
    fetched_at: float | None = None
    """When its result was first asked for."""


@dataclass
class Head:
    """A request up to its body."""

    method: str
    path: str
    headers: dict
    begun_at: float
    body: list = field(default_factory=list)
    missing: int = 0


class Provider:
    """What the stand-in knows; one for all connections."""

    def __init__(self, options):
        self.options = options
        self.dice = random.Random(options.seed)
        self.creates = {}
        self.polls = 0
        self.first_poll_at = None
        self.dropped = set()
        self.result = Path(options.result)
        self.size = self.result.stat().st_size
        self.small = self.result.read_bytes() if self.size <= SMALL_BYTES else None

    def create(self, head, body):
        prompt = json.loads(body)["promptText"] if self.options.looks_into_bodies else ""
        now = time.time()
        takes = max(self.options.seconds * (1 + self.options.spread * self.dice.gauss(0, 1)), 0.0)
        if self.options.seconds_max is not None:
            takes = self.dice.uniform(self.options.seconds, self.options.seconds_max)
        task = str(uuid.UUID(int=self.dice.getrandbits(128), version=4))
        made = Create(prompt, head.begun_at, now, len(body), task, now + takes)
        self.creates[task] = made
        if self.options.drops_creates and _number(prompt) % 10 == 3 and prompt not in self.dropped:
            self.dropped.add(prompt)
            made.is_answered = False
            return None
        return {"id": task}

    def look(self, task, origin):
        now = time.time()
        self.polls += 1
        self.first_poll_at = self.first_poll_at or now
        told = {"id": task, "createdAt": datetime.now(UTC).isoformat()}
        made = self.creates.get(task)
        if made is None:
            return {**told, "status": "RUNNING", "progress": 0.5} if self.options.any_task else None
        if made.seen_done_at is None:
            made.polls += 1
        if now < made.done_at:
            return {**told, "status": "RUNNING", "progress": self._progress(made, now)}
        made.seen_done_at = made.seen_done_at or now
        return {**told, "status": "SUCCEEDED", "output": [f"{origin}/results/{task}.mp4"]}

    def _progress(self, made, now):
        share = (now - made.whole_at) / (made.done_at - made.whole_at)
        return round(share, 2) if self.options.tells_progress else 0.5

    def ledger(self):
        return {
            "creates": [asdict(made) for made in self.creates.values()],
            "polls": self.polls,
            "first_poll_at": self.first_poll_at,
        }


class Connection(asyncio.Protocol):
    """Reads requests off one connection, one after the other."""

    def __init__(self, provider):
        self.provider = provider
        self.waiting = bytearray()
        self.head = None
        self.sending = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if self.head is not None and len(data) <= self.head.missing:
            self.head.body.append(data)
            self.head.missing -= len(data)
            data = b""
        else:
            self.waiting += data
        self._go_on()

    def _go_on(self):
        while self.sending is None:
            if self.head is None and not self._read_head():
                return
            head = self.head
            if self.waiting and head.missing:
                part = bytes(self.waiting[: head.missing])
                del self.waiting[: head.missing]
                head.body.append(part)
                head.missing -= len(part)
            if head.missing:
                return
            self.head = None
            self._answer(head)

    def _read_head(self):
        end = self.waiting.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *lines = self.waiting[:end].decode("latin-1").split("\r\n")
        del self.waiting[: end + 4]
        method, path, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.head = Head(method, path, headers, time.time(), missing=int(headers.get("content-length", 0)))
        if headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _answer(self, head):
        provider, path = self.provider, head.path.partition("?")[0]
        origin = f"http://{head.headers.get('host', '')}"
        if head.method == "POST" and path.endswith("/video_to_video"):
            told = provider.create(head, b"".join(head.body))
            if told is None:
                self.transport.close()
            else:
                self._say(200, told)
        elif head.method == "GET" and "/tasks/" in path:
            told = provider.look(path.rpartition("/")[2], origin)
            self._say(200 if told else 404, told or {"error": "No such task"})
        elif head.method == "GET" and path.startswith("/results/"):
            self._serve(head, path.rpartition("/")[2].removesuffix(".mp4"))
        elif path == "/bench/ledger":
            self._say(200, provider.ledger())
        else:
            self._say(404, {"error": "Not found"})

    def _say(self, status, told):
        body = json.dumps(told).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)

    def _serve(self, head, task):
        provider = self.provider
        made = provider.creates.get(task)
        if made is None:
            self._say(404, {"error": "Not found"})
            return
        made.fetches += 1
        made.fetched_at = made.fetched_at or time.time()
        begin = int(head.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        is_cut = provider.options.cuts_downloads and _number(made.prompt) % 10 == 7 and made.fetches == 1
        size = provider.size
        status = f"206 X\r\nContent-Range: bytes {begin}-{size - 1}/{size}" if begin else "200 X"
        lines = f'Content-Type: video/mp4\r\nETag: "{task}"\r\nAccept-Ranges: bytes\r\n'
        self.transport.write(f"HTTP/1.1 {status}\r\n{lines}Content-Length: {size - begin}\r\n\r\n".encode())
        if is_cut:
            self.transport.write(provider.result.read_bytes()[begin : size // 2])
            self.transport.close()
        elif provider.small is not None:
            self.transport.write(provider.small[begin:])
        else:
            self.sending = asyncio.ensure_future(self._send_file(begin))

    async def _send_file(self, begin):
        try:
            with self.provider.result.open("rb") as file:
                await asyncio.get_running_loop().sendfile(self.transport, file, begin)
        except ConnectionError:
            self.transport.abort()
        self.sending = None
        self._go_on()


def _number(prompt):
    """Return the number at the end of a prompt; -1 when there is none."""
    last = prompt.rpartition(" ")[2]
    return int(last) if last.isdecimal() else -1


async def serve(options):
    provider = Provider(options)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(provider), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("result")
    parser.add_argument("--seconds", type=float, default=12.0, help="how long a task takes")
    parser.add_argument("--spread", type=float, default=0.0, help="its standard deviation, as a share")
    parser.add_argument("--seconds-max", type=float, help="anything from --seconds to this, evenly")
    parser.add_argument("--tells-progress", action="store_true", help="in percent; else always a half")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--drops-creates", action="store_true", help="each tenth is accepted, then cut off")
    parser.add_argument("--cuts-downloads", action="store_true", help="each tenth, once, half-way")
    parser.add_argument("--any-task", action="store_true", help="every task that is asked for is running")
    parser.add_argument(
        "--blind", dest="looks_into_bodies", action="store_false", help="count bodies, do not read them"
    )
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
