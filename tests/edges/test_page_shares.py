"""The page while the share of one inbox hangs, as NFS does: all else goes on, and who waits is told why."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

from clipspool.intake.types import Rules
from clipspool.jobs.model import Paid, State
from clipspool.spool.root import Root
from clipspool.spool.watchfolder import Folders
from clipspool.web import inbox_pages, media, threads, uploads
from clipspool.web.api import films, jobs
from clipspool.web.context import AccessRules, Token
from edges.test_api import Api
from fakes import RESULT, a_clip, a_job, a_task
from pages import BEARER, FORM, TOKEN, clip_doors


@contextmanager
def hanging(stage, monkeypatch):
    """Serve the page with a second inbox, `away`, whose disks do not answer."""
    for name in ("away", "away-results"):
        (stage.home / name).mkdir()
    away = Folders("away", Root(stage.home / "away"), Root(stage.home / "away-results"), "j1")
    stage.other_bays = {"away": away}
    both = replace(clip_doors(stage), rules=lambda: {"bay": Rules("bay"), "away": Rules("away")})
    answers, hung = threading.Event(), {away.inbox, away.outbox}
    for name in ("open", "read", "folder", "stat", "names", "space", "is_folder"):
        usual = getattr(Root, name)

        def hang(root, *given, _usual=usual, **more):
            if root in hung:
                answers.wait(60)
            return _usual(root, *given, **more)

        monkeypatch.setattr(Root, name, hang)

    def command(do, arguments):
        if do == "approve" or arguments.get("inbox") == "away":
            answers.wait(60)
        return []

    stage.answer = command
    with ThreadPoolExecutor(100) as others:
        try:
            with stage.open(
                AccessRules((Token(TOKEN),)),
                clips=both,
                metrics=lambda: b"figures",
                health=lambda: {"ok": True},
            ) as web:
                yield web, others
        finally:
            answers.set()


def deliver_there(stage):
    with stage.journal.turn():
        results = (replace(RESULT, name="gone.mp4"),)
        gone = a_job(
            "gone", path="g.mp4", state=State.DELIVERED, results=results, paid=Paid.YES, task=a_task()
        )
        clip = replace(a_clip("gone", path="g.mp4"), inbox="away")
        stage.journal.accept(clip, [replace(gone, inbox="away")])


def test_a_share_that_hangs_takes_no_thread_from_the_rest(stage, monkeypatch):
    stage.deliver("here", "here.mp4")
    deliver_there(stage)
    lost = f"/api/v1/uploads/{uploads.id_in('away', '0' * 24)}"
    with hanging(stage, monkeypatch) as (web, others):
        for path in (
            *("/jobs/gone/source", "/jobs/gone/result/1", "/jobs/gone/poster/1", "/jobs/gone/again", lost),
            *("/inbox/away", "/inbox/away/presets/x", "/api/v1/presets?inbox=away"),
            *("/api/v1/jobs/gone/results/1", "/api/v1/sidecar?inbox=away&path=x.mp4"),
        ):
            for _ in range(50):
                others.submit(web, "GET", path, BEARER)
        time.sleep(1)
        for path in ("/metrics", "/healthz", "/", "/jobs/here", "/jobs/here/result/1", "/inbox/bay"):
            assert web("GET", path, BEARER).status == 200, path
        assert Api(web).send(key="a new one").json["path"] == "shot.mp4"
        assert Api(web)("GET", f"uploads/{'0' * 32}").status == 404


def test_monitors_are_answered_while_everybody_else_waits(stage, monkeypatch):
    stage.add()
    with hanging(stage, monkeypatch) as (web, others):
        for _ in range(60):
            others.submit(web, "POST", "/jobs/clip1/approve", FORM | BEARER, b"")
        time.sleep(1)
        assert [web("GET", path, BEARER).status for path in ("/metrics", "/healthz")] == [200, 200]


@pytest.mark.parametrize("slow", ["LOOK_SECONDS", "FREE_SECONDS"])
def test_who_asks_for_what_lies_in_a_share_that_hangs_is_told_so(stage, monkeypatch, slow):
    for module in (threads, films, inbox_pages, jobs, media):
        monkeypatch.setattr(module, slow, 0.3, raising=False)
    deliver_there(stage)
    lost = f"uploads/{uploads.id_in('away', '0' * 24)}"
    with hanging(stage, monkeypatch) as (web, others):
        if slow == "FREE_SECONDS":
            for number in range(threads.EACH):
                name = {"inbox": "away", "name": f"{number}.mp4", "size": 9}
                others.submit(Api(web), "POST", "uploads", name)
            time.sleep(1)
        for path in (lost, "presets?inbox=away"):
            answer = Api(web)("GET", path)
            assert (answer.status, answer.json["error"]["code"]) == (503, "INBOX.SILENT")
        for path in ("/inbox/away", "/jobs/gone/source", "/jobs/gone/result/1", "/jobs/gone/poster/1"):
            page = web("GET", path, BEARER)
            assert (page.status, page.text) == (503, "The inbox's folder does not answer now; try again.\n")


def test_many_slow_senders_keep_no_other_from_sending(stage, monkeypatch):
    with stage.open(clips=clip_doors(stage)) as web, ExitStack() as lines:
        api = Api(web)

        def begin(number):
            begun = api("POST", "uploads", {"inbox": "bay", "name": f"{number}.mp4", "size": 900}).json["id"]
            line = lines.enter_context(socket.create_connection(web.address, timeout=20))
            head = f"PUT /api/v1/uploads/{begun}?offset=0 HTTP/1.1\r\nHost: localhost\r\n"
            line.sendall(f"{head}Authorization: Bearer {TOKEN}\r\nContent-Length: 900\r\n\r\nx".encode())
            return line

        slow = [begin(number) for number in range(60)]
        time.sleep(1)
        assert api.send().status == 201
        monkeypatch.setattr(films, "SENDERS_MAX", 60)
        refused = api.send()
        assert (refused.status, refused.json["error"]["code"]) == (503, "UPLOAD.MANY")
        slow[0].sendall(bytes(899))
        assert slow[0].recv(4096).startswith(b"HTTP/1.1 200")
        assert api.send().status == 201


def test_the_end_of_the_daemon_ends_what_is_sent_and_read_without_an_error(stage, caplog):
    stage.deliver("long", "long.mp4")
    (stage.home / "results/long.mp4").write_bytes(bytes(32 << 20))
    with stage.open(clips=clip_doors(stage)) as web, ExitStack() as lines:

        def connect(words):
            line = lines.enter_context(socket.create_connection(web.address, timeout=20))
            line.sendall(words)
            return line

        head = f" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        named = {"inbox": "bay", "name": "slow.mp4", "size": 900}
        begun = Api(web)("POST", "uploads", named).json["id"]
        sender = connect(f"PUT /api/v1/uploads/{begun}?offset=0{head}Content-Length: 900\r\n\r\nx".encode())
        reader = connect(f"GET /jobs/long/result/1{head}\r\n".encode())
        assert reader.recv(12) == b"HTTP/1.1 200"
        time.sleep(0.5)
        stage.page.stop()
        assert sender.recv(12) == b"", "it is hung up on, so it asks again"
    assert not [one for one in caplog.records if one.levelname == "ERROR"]
    assert (stage.home / f"bay/.{begun}.upload").read_bytes() == b"x"
