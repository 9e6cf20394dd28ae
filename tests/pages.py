"""The page over real HTTP, on a journal, an inbox and an outbox of its own."""

import http.client
import os
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import urlencode

from clipspool.app.quoting import Quoter
from clipspool.intake.types import Rules
from clipspool.jobs.conditions import Conditions
from clipspool.jobs.limits import Limits
from clipspool.jobs.model import Paid, State
from clipspool.journal import Journal
from clipspool.provider.catalog import Catalog
from clipspool.reporting.status import InboxView, status_json
from clipspool.spool.root import Root
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import folder_of
from clipspool.stages.quoting import Quoting
from clipspool.web.context import AccessRules, ClipDoors, DaemonHandle, Token
from clipspool.web.listen import PageSocket
from clipspool.web.server import PageServer
from fakes import NOON, RESULT, a_clip, a_job, a_task

TOKEN = "a-token-of-some-length"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SAME = {"Sec-Fetch-Site": "same-origin"}
FILM = bytes(range(256)) * 40
PRIVATE = b"nobody may read this"
LAYERS = {"defaults": {"model": "gen4_aleph"}}
FACTS = {
    "container": "mp4",
    "size_bytes": 2000,
    "video_codec": "h264",
    "width": 1280,
    "height": 720,
    "coded_width": 1280,
    "coded_height": 720,
    "fps": "24/1",
    "variable_frame_rate": False,
    "seconds": 4.0,
    "frames": 96,
    "pixel_format": "yuv420p",
    "bit_depth": 8,
}


def followed(path, link):
    """Where a browser goes by a link: `urljoin` takes folders without a name for none."""
    if not link.startswith("."):
        return link
    folders = path.partition("?")[0].split("/")[1:-1]
    while link.startswith("."):
        step, _, link = link.partition("/")
        if step == "..":
            folders.pop()
    return "/".join(["", *folders, link])


class Client:
    """Says to a page exactly what it is told to."""

    def __init__(self, address):
        self.address = address

    def __call__(self, method, path, headers=None, body=None, **fields):
        connection = http.client.HTTPConnection(*self.address, timeout=20)
        try:
            body = urlencode(fields).encode() if fields else body
            connection.putrequest(method, path, skip_host="Host" in (headers or {}))
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if method == "POST" and "Content-Length" not in (headers or {}):
                connection.putheader("Content-Length", str(len(body or b"")))
            connection.endheaders(body)
            answer = connection.getresponse()
            answer.body = answer.read()
            answer.text = answer.body.decode("utf-8", "replace")
            answer.to = followed(path, answer.getheader("Location", ""))
            return answer
        finally:
            connection.close()

    def get(self, path, **headers):
        return self("GET", path, {name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path, headers=None, **fields):
        return self("POST", path, FORM | (BEARER if headers is None else headers), b"", **fields)

    def log_in(self):
        answer = self.post("/login", SAME, token=TOKEN)
        assert answer.status == 303
        return answer.getheader("Set-Cookie").partition(";")[0]


class Stage:
    """A journal, an inbox with its outbox, and the page over them."""

    def __init__(self, home):
        self.home = home
        for name in ("bay", "results", "private"):
            (home / name).mkdir()
        (home / "private/film.mp4").write_bytes(PRIVATE)
        self.journal = Journal.open(home / "journal.db")
        self.bay = Folders("bay", Root(home / "bay"), Root(home / "results"), "j1")
        self.other_bays = {}
        self.commands = []
        self.answer = lambda _do, _arguments: []
        self.waiting, self.peers = [], []
        self.is_busy = False
        self.working, self.balance, self.limits = {}, None, Limits()
        self.wrong_tokens = 0
        self.now = NOON
        self.page = None

    def add(self, job_id="clip1", *, path="day/shot.mp4", **changes):
        job = a_job(job_id, path=path, **changes)
        with self.journal.turn():
            self.journal.accept(a_clip(job.clip_id, path=path), [job])
        work = self.home / "bay" / folder_of(job.clip_id)
        work.mkdir(parents=True)
        (work / "clip.mp4").write_bytes(FILM)
        return job

    def deliver(self, job_id="clip1", name="shot.mp4", **changes):
        (self.home / "results" / os.fsencode(name).decode("utf-8", "surrogateescape")).write_bytes(FILM[::-1])
        results = (replace(RESULT, name=name),)
        return self.add(
            job_id, state=State.DELIVERED, results=results, paid=Paid.YES, task=a_task(), **changes
        )

    def state(self):
        future = Future()
        if not self.is_busy:
            conditions = Conditions(self.now, working=self.working, limits=self.limits)
            inboxes = [InboxView("bay", "watching", "events", waiting=self.waiting, peers=self.peers)]
            inboxes += [InboxView(name, "watching", "events") for name in self.other_bays]
            daemon = {"running": True, "pid": 1, "since": None}
            future.set_result((status_json(self.journal.counts, conditions, inboxes, daemon), conditions))
        return future

    def command(self, do, arguments):
        if do == "balance":
            return self.balance
        self.commands.append((do, dict(arguments)))
        return self.answer(do, arguments)

    def count_wrong_token(self):
        self.wrong_tokens += 1

    @contextmanager
    def open(self, access=None, *, listen="127.0.0.1:0", **daemon):
        server_socket = PageSocket(listen)
        given = DaemonHandle(
            self.home / "journal.db",
            self.state,
            self.command,
            lambda: {**self.other_bays, "bay": self.bay},
            lambda: self.now,
            count_wrong_token=self.count_wrong_token,
            **daemon,
        )
        page = self.page = PageServer(server_socket, given, access or AccessRules((Token(TOKEN),)))
        page.start()
        try:
            yield Client(server_socket.socket.getsockname())
        finally:
            page.stop()


class Way:
    name = "inline"

    def room(self, _content_type):
        return 5_000_000


def clip_doors(stage, layers=LAYERS):
    """Return doors that quote by the real rules, for a clip whose facts are always the same."""
    quoting = Quoting(Catalog.load(), [Way()])
    quoter = Quoter(lambda: quoting, lambda _fd: (FACTS, []))
    rules = Rules("bay", layers=layers)

    def quote(_inbox, path, sidecar, file, images, sidecar_at):
        return quoter.quote(stage.bay.inbox, rules, path, sidecar, file, images, sidecar_name=sidecar_at)

    return ClipDoors(lambda: {"bay": rules}, quote, list)
