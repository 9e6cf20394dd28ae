"""The JSON interface over real HTTP: what it answers, what it takes, and what attackers get."""

import http.client
import json
import os
import socket
import threading
import time
import unicodedata
from contextlib import closing, suppress
from dataclasses import replace

import jsonschema_rs
import pytest

from clipspool.intake.names import Kind, Names
from clipspool.intake.types import Rules
from clipspool.jobs.conditions import Conditions
from clipspool.jobs.events import Failed
from clipspool.jobs.limits import Limits
from clipspool.jobs.messages import Happened
from clipspool.jobs.model import Error, Held, Paid, Part, State
from clipspool.reporting.status import job_json
from clipspool.spool.root import Root
from clipspool.spool.watchfolder import Folders
from clipspool.web import cache, connections, uploads
from clipspool.web.api import clips, films, jobs
from clipspool.web.api.jobs import _event_of
from clipspool.web.api.sidecars import SidecarRoutes
from clipspool.web.context import AccessRules, Right, Token
from fakes import NOON, a_clip, a_job
from films import film
from pages import FILM, SAME, TOKEN, clip_doors
from patience import patient

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
CLIP = film()
WINTER = 'prompt = "Turn the street into deep winter"\n'
EDITOR, GUEST = "the-token-of-an-editor", "the-token-of-a-guest-"
BOUNDARY = "----boundary"


def form(*parts):
    """Encode a multipart form: pairs of a name and a text, or of a name, a file's name and its bytes."""
    body = b""
    for name, *rest in parts:
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        if len(rest) == 2:
            body += b'; filename="' + os.fsencode(rest[0]) + b'"'
        content = rest[-1]
        body += b"\r\n\r\n" + (content if isinstance(content, bytes) else content.encode()) + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


class Api:
    """A program that uses the interface."""

    def __init__(self, web, token=TOKEN):
        self.web, self.headers = web, {"Authorization": f"Bearer {token}"}

    def __call__(self, method, path, body=None, headers=None, kind="application/json"):
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        sent = {**self.headers, **({"Content-Type": kind} if data is not None else {}), **(headers or {})}
        sent.setdefault("Content-Length", str(len(data or b"")))
        answer = self.web(method, f"/api/v1/{path}", sent, data)
        answer.json = json.loads(answer.body) if answer.body else None
        return answer

    def send(self, *parts, key=None):
        parts = parts or (("inbox", "bay"), ("sidecar", WINTER), ("file", "shot.mp4", CLIP))
        headers = {"Idempotency-Key": key} if key else {}
        return self("POST", "clips", form(*parts), headers, f"multipart/form-data; boundary={BOUNDARY}")


@pytest.fixture
def api(stage):
    with stage.open(clips=clip_doors(stage)) as web:
        yield Api(web)


def lying(stage, folder=""):
    """Return the files in the inbox that are not hidden, with those in folders, and their bytes."""
    home = stage.home / "bay" / folder
    found = (path for path in home.rglob("*") if path.is_file() and ".clipspool" not in path.parts)
    return {str(path.relative_to(home)): path.read_bytes() for path in found}


# --- looking --------------------------------------------------------------------------------------------


def test_jobs_are_listed_as_on_the_command_line_a_page_at_a_time(stage, api):
    for number in range(5):
        stage.add(f"clip{number}", path=f"day/shot{number}.mp4", state=State.FAILED)
    first = api("GET", "jobs?limit=2&state=failed&inbox=bay").json
    assert [job["id"] for job in first["jobs"]] == ["clip4", "clip3"]
    assert first["jobs"][0]["clip"] == "day/shot4.mp4"
    rest = api("GET", f"jobs?limit=200&before={first['before']}").json
    assert [job["id"] for job in rest["jobs"]] == ["clip2", "clip1", "clip0"]
    assert rest["before"] is None
    assert [job["id"] for job in api("GET", "jobs?q=shot3").json["jobs"]] == ["clip3"]
    assert api("GET", "jobs?state=delivered").json["jobs"] == []
    about = api("GET", "jobs/clip1").json
    assert (about["id"], about["media"], about["evidence"]) == ("clip1", {}, {})
    assert about["history"][0]["event"]


def test_a_name_that_is_not_utf8_is_escaped_wherever_it_is_told(stage, api):
    stage.add(path="caf\udce9/sh\udcf6t.mp4")
    with stage.journal.turn():
        clip = replace(a_clip("clip1"), lies_at="_done/caf\udce9/sh\udcf6t.mp4")
        stage.journal.retired(clip, stage.now)
    told = api("GET", "jobs/clip1").json
    assert told["clip"] == "caf\\xe9/sh\\xf6t.mp4"
    assert told["history"][-1]["facts"] == {"to": "_done/caf\\xe9/sh\\xf6t.mp4"}


def test_an_error_of_ours_is_told_as_json_too(stage, api, monkeypatch):
    monkeypatch.setattr(jobs, "about_json", lambda *_: 1 / 0)
    stage.add()
    answer = api("GET", "jobs/clip1")
    assert (answer.status, answer.json["error"]["code"]) == (500, "HTTP.500")


def test_half_a_pair_in_a_body_is_refused_before_anything_is_done(stage, api):
    bodies = ({"prompt": "a\ud800b"}, {"set": {"extra": {"a": "\ud800"}}}, {"why": "\udcff"})
    for body in bodies:
        refused = api("POST", "jobs/clip1/again", body)
        assert (refused.status, refused.json["error"]["code"]) == (400, "REQUEST.JSON")
    assert stage.commands == []


@pytest.mark.parametrize(
    ("act", "body"),
    [
        ("again", {"promt": "x"}),
        ("again", {"dryrun": True}),
        ("retry", {"whi": "x"}),
        ("approve", {"dry_run": True}),
        ("attach", {"task_id": "a", "forse": True}),
        ("choose", {"undone": True}),
    ],
)
def test_a_field_that_is_not_known_is_refused_before_anything_is_done(stage, api, act, body):
    refused = api("POST", f"jobs/clip1/{act}", body)
    assert (refused.status, refused.json["error"]["code"]) == (422, "REQUEST.FIELD")
    assert repr(list(body)[-1]) in refused.json["error"]["message"]
    assert stage.commands == []


@pytest.mark.parametrize(
    "path",
    [
        *("jobs?state=nothing", "jobs?limit=0", "jobs?limit=ten", "jobs?before=a/b", "jobs?limit=100000"),
        *("jobs?stat=failed", "jobs?inbox=bay&State=failed"),
    ],
)
def test_a_question_that_cannot_be_is_refused_with_a_sentence(api, path):
    answer = api("GET", path)
    assert answer.status == 422
    assert answer.json["error"]["message"].endswith(".")


def test_what_is_not_there_is_answered_as_json(api):
    for path in ("jobs/nothing", "jobs/a%2Fb", "nothing", "clips/nothing", f"uploads/{'0' * 32}"):
        answer = api("GET", path)
        assert (answer.status, set(answer.json)) == (404, {"error"}), path
    assert api("PUT", "jobs").status == 405
    assert api("PUT", "jobs").json["error"]["code"] == "HTTP.405"


def test_what_an_address_does_not_know_names_the_methods_that_it_knows(api):
    assert api("POST", f"uploads/{'0' * 32}").getheader("Allow") == "DELETE, GET, HEAD, PUT"
    assert api("DELETE", "jobs/a/retry").getheader("Allow") == "POST"
    assert api("PATCH", "jobs").getheader("Allow") == "GET, HEAD, POST, PUT, DELETE"


def test_a_result_is_downloaded_whole_or_in_parts(stage, api):
    stage.deliver()
    got = api.web("GET", "/api/v1/jobs/clip1/results/1", api.headers)
    assert (got.status, got.body) == (200, FILM[::-1])
    part = api.web("GET", "/api/v1/jobs/clip1/results/1", api.headers | {"Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, FILM[::-1][10:20])
    beyond = api("GET", "jobs/clip1/results/1", headers={"Range": "bytes=99999-"})
    assert (beyond.status, beyond.json["error"]["code"]) == (416, "RESULT.PART")
    assert beyond.getheader("Content-Range") == f"bytes */{len(FILM)}", "how long it is"
    for path in ("clip1/results/2", "clip1/results/0", "clip1/results/x", "nobody/results/1"):
        assert api("GET", f"jobs/{path}").status == 404
    (stage.home / "results/shot.mp4").unlink()
    assert api("GET", "jobs/clip1/results/1").json["error"]["code"] == "RESULT.UNKNOWN"


def test_events_tell_what_happens_to_jobs_and_go_on_after_a_lost_connection(stage, api):
    before = stage.add()
    line, seen = follow(api.web, "/api/v1/events")
    stage.page.listener(Happened(before, replace(before, state=State.FAILED), None))
    seen = until(line, seen, b"data:")
    data = json.loads(seen.split(b"data: ")[1].split(b"\n")[0])
    assert (data["id"], data["state"], data["clip"]) == ("clip1", "failed", "day/shot.mp4")
    first = int(seen.split(b"id: ")[1].split(b"\n")[0])
    stage.page.listener(Happened(before, replace(before, state=State.DELIVERED), None))
    seen = until(*follow(api.web, "/api/v1/events", last=first), b"data:")
    assert b"id: %d\nevent: job\n" % (first + 1) in seen
    assert b"failed" not in seen
    assert b"missed" not in seen


@pytest.mark.parametrize("last", [0, 3, 1_764_000_000_000, 10**14])
def test_a_reader_that_comes_back_after_a_restart_learns_that_it_missed_something(stage, api, last):
    before = stage.add()
    for state in (State.QUEUED, State.RUNNING, State.FAILED, State.QUEUED, State.DELIVERED):
        stage.page.listener(Happened(before, replace(before, state=state), None))
    assert b"event: missed" in until(*follow(api.web, "/api/v1/events", last=last), b"event:")


def test_the_head_of_a_stream_is_answered_and_the_next_request_too(api):
    for path in ("/events", "/api/v1/events"):
        connection = http.client.HTTPConnection(*api.web.address, timeout=20)
        with closing(connection):
            for method, wanted in (("HEAD", path), ("GET", "/api/v1/jobs")):
                connection.request(method, wanted)
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 200, "the connection is free again"


def until(line, seen, wanted):
    """Read a stream until something has come, and close it."""
    end = time.monotonic() + patient(5)
    with line:
        while wanted not in seen:
            assert time.monotonic() < end, seen
            seen += line.recv(4096)
    return seen


def follow(web, path, last=None):
    """Open a stream; gives its connection once it has begun, and what came by then."""
    line = socket.create_connection(web.address, timeout=20)
    again = "" if last is None else f"Last-Event-ID: {last}\r\n"
    line.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{again}\r\n".encode())
    seen = b""
    while b"retry:" not in seen:
        seen += line.recv(4096)
    return line, seen


def fail(stage, name):
    """Record that a new job failed."""
    before = stage.add(name)
    with stage.journal.turn():
        event = Failed(Error("A.CODE", "no", "none"))
        stage.journal.record(before, replace(before, state=State.FAILED), event)


def test_what_happened_while_nobody_followed_is_in_no_stream(stage):
    with stage.open(publishes_news=False) as web:
        follow(web, "/api/v1/events")[0].close()
        end = time.monotonic() + patient(20)
        while stage.page.events.streams:
            assert time.monotonic() < end
            time.sleep(0.05)
        fail(stage, "earlier")
        page, _ = follow(web, "/events")
        line, seen = follow(web, "/api/v1/events")
        fail(stage, "later")
        while b'"later"' not in seen:
            assert time.monotonic() < end, seen
            seen += line.recv(4096)
        assert b'"earlier"' not in seen
        line.close()
        page.close()


def test_a_reader_that_comes_back_learns_that_nobody_followed_meanwhile(stage):
    with stage.open(publishes_news=False) as web:
        line, seen = follow(web, "/api/v1/events")
        fail(stage, "first")
        seen = until(line, seen, b'"first"')
        last = int(seen.split(b"id: ")[1].split(b"\n")[0])
        end = time.monotonic() + patient(20)
        while stage.page.events.streams:
            assert time.monotonic() < end
            time.sleep(0.05)
        fail(stage, "meanwhile")
        assert b"event: missed" in until(*follow(web, "/api/v1/events", last=last), b"event:")


@pytest.mark.parametrize("path", ["/api/v1/events", "/events"])
def test_a_page_that_is_told_no_news_reads_the_journal_for_what_changed(stage, path):
    with stage.open(publishes_news=False) as web:
        line, seen = follow(web, path)
        begun = seen.count(b"event:")
        fail(stage, "clip1")  # what happens as soon as the stream began is not missed
        end = time.monotonic() + patient(10)
        while seen.count(b"event:") == begun:
            assert time.monotonic() < end, seen
            seen += line.recv(4096)
        line.close()
        assert (b'"state": "failed"' in seen) is ("api" in path)
        stage.add("held", state=State.QUEUED, held=Held.DUPLICATE)
        end = time.monotonic() + patient(10)
        while b"/jobs/held" not in web.get("/").body:
            assert time.monotonic() < end, "what waits for a person is read again soon"
            time.sleep(0.5)


# --- deciding -------------------------------------------------------------------------------------------


def test_what_a_program_decides_is_done_as_the_command_line_does_it(stage, api):
    stage.answer = lambda _do, _given: [{"id": "clip1", "done": True, "state": "queued"}]
    stage.add(state=State.FAILED)
    assert api("POST", "jobs/clip1/retry").json == {"id": "clip1", "done": True, "state": "queued"}
    api("POST", "jobs/clip1/cancel", {"why": "wrong take"})
    api("POST", "jobs/clip1/approve", {})
    api("POST", "jobs/clip1/attach", {"task_id": " task-9 ", "force": True})
    assert stage.commands == [
        ("retry", {"ids": ["clip1"], "by": "the page"}),
        ("cancel", {"ids": ["clip1"], "by": "the page", "why": "wrong take"}),
        ("approve", {"ids": ["clip1"], "by": "the page"}),
        ("attach", {"job_id": "clip1", "task_id": "task-9", "by": "the page", "force": True}),
    ]
    stage.commands.clear()
    api("POST", "jobs/clip1/again", {"prompt": "summer", "set": {"seed": 7}, "dry_run": True})
    api("POST", "jobs/clip1/choose", {"undo": True})
    assert [api("POST", f"jobs/clip1/{act}").status for act in ("again", "choose")] == [200, 200]
    del stage.commands[2:]
    assert stage.commands == [
        (
            "again",
            {"ids": ["clip1"], "by": "the page", "prompt": "summer", "set": {"seed": 7}, "dry_run": True},
        ),
        ("choose", {"ids": ["clip1"], "by": "the page", "undo": True}),
    ]
    stage.commands.clear()
    api("POST", "jobs/clip1/again", {"prompt": "summer"}, headers={"Idempotency-Key": "take-7"})
    assert stage.commands[0][1]["key"] == "take-7"
    api("POST", "jobs/clip1/again", {"version": 2})
    assert stage.commands[1][1]["versions"] == {"clip1": 2}
    stage.balance = {"amount": 2.5, "unit": "USD"}
    assert api("GET", "balance").json == {"balance": {"amount": 2.5, "unit": "USD", "credits": 250.0}}
    for body in ({"prompt": 5}, {"set": []}, {"dry_run": "no"}, {"promt": "x"}, {"dryrun": True}):
        assert api("POST", "jobs/clip1/again", body).status == 422
    stage.answer = lambda _do, _given: [{"id": "clip1", "done": False, "why": "it is delivered"}]
    answer = api("POST", "jobs/clip1/retry")
    assert (answer.status, answer.json["error"]["message"]) == (409, "Not done: it is delivered.")
    for body in ({"task_id": ""}, {"task_id": 5}, {}, {"task_id": "a", "force": 1}):
        assert api("POST", "jobs/clip1/attach", body).status == 422


def test_each_right_opens_its_own_doors_alone(stage):
    stage.add(state=State.IN_DOUBT, held=Held.IN_DOUBT, paid=Paid.UNKNOWN)
    tokens = (
        Token(EDITOR, "edit", frozenset({Right.ADD})),
        Token(GUEST, "guest", frozenset({Right.LOOK})),
    )
    access = AccessRules(tokens, is_near=False, must_log_in=True)
    with stage.open(access, clips=clip_doors(stage, layers={})) as web:
        editor, guest, stranger = Api(web, EDITOR), Api(web, GUEST), Api(web, "a-token-that-is-not-known")
        paths = {"look": "jobs", "document": "openapi.json", "add": f"clips/{'0' * 32}"}
        assert [editor("GET", path).status for path in paths.values()] == [403, 403, 404]
        assert [guest("GET", path).status for path in paths.values()] == [200, 200, 403]
        assert [stranger("GET", path).status for path in paths.values()] == [401, 401, 401]
        for one in (editor, guest, stranger):
            assert one("POST", "jobs/clip1/retry").status in {401, 403}
        for one in (guest, stranger):
            answer = one.send()
            assert (answer.status in {401, 403}, set(answer.json)) == (True, {"error"})
        assert editor.send().status == 422  # its defaults name no model: it got as far as that
    assert stage.commands == []


def test_a_program_without_its_token_is_told_so(stage, api):
    api.headers = {}
    for method, path in (("POST", "jobs/clip1/cancel"), ("POST", "clips"), ("DELETE", f"uploads/{'0' * 32}")):
        answer = api(method, path)
        assert (answer.status, "Authorization: Bearer" in answer.json["error"]["message"]) == (401, True)
        assert answer.getheader("WWW-Authenticate") == "Bearer"
    assert stage.commands == []
    api.headers = {"Authorization": "Bearer wrong-token-of-length"}
    assert api("GET", "jobs").getheader("WWW-Authenticate") == "Bearer"


def test_a_page_of_another_site_sends_nothing_with_the_session_of_this_one(stage, api):
    session = {"Cookie": api.web.log_in()}
    api.headers = session
    assert api("POST", "jobs/clip1/retry").status == 403
    assert api.send().status == 403
    assert api("PUT", f"uploads/{'0' * 32}?offset=0", b"x", {"Sec-Fetch-Site": "cross-site"}).status == 403
    assert lying(stage) == {}
    api.headers = session | SAME
    assert api.send().status == 201


# --- taking clips ---------------------------------------------------------------------------------------


def test_a_clip_lies_in_the_inbox_whole_with_its_sidecar_as_if_made_there_by_hand(stage, api):
    answer = api.send(
        ("inbox", "bay"), ("folder", "day/scene-2"), ("sidecar", WINTER), ("file", "shot.mp4", CLIP)
    )
    assert (answer.status, answer.json["path"], answer.json["state"]) == (
        201,
        "day/scene-2/shot.mp4",
        "waiting",
    )
    assert lying(stage, "day") == {"scene-2/shot.mp4": CLIP, "scene-2/shot.mp4.toml": WINTER.encode()}
    assert answer.json["credits_estimated"] == 60.0
    by_hand = stage.home / "bay/day/by-hand.mp4"
    by_hand.write_bytes(b"")
    for path in (stage.home / "bay/day/scene-2").iterdir():
        ours, theirs = path.stat(), by_hand.stat()
        assert (ours.st_uid, ours.st_gid, ours.st_mode) == (theirs.st_uid, theirs.st_gid, theirs.st_mode)


def test_the_sidecar_is_there_before_its_clip(stage, api, monkeypatch):
    seen = []
    move = type(stage.bay.inbox).move

    def look_then_move(self, rel, *given, **more):
        seen.extend(lying(stage))
        return move(self, rel, *given, **more)

    monkeypatch.setattr(type(stage.bay.inbox), "move", look_then_move)
    sent = api.send().json
    assert set(seen) == {"shot.mp4.toml", f".{sent['id']}.upload"}


def test_a_prompt_is_enough_and_images_lie_beside(stage, api):
    parts = (("inbox", "bay"), ("prompt", 'a "quoted" winter'), ("file", "Größe.mov", CLIP))
    assert api.send(*parts).json["path"] == "Größe.mov"
    assert lying(stage)["Größe.mov.toml"] == b'prompt = "a \\"quoted\\" winter"\n'
    sidecar = f'{WINTER}references = ["look.png"]\n'
    parts = (("inbox", "bay"), ("sidecar", sidecar), ("reference", "look.png", PNG), ("file", "b.mp4", CLIP))
    assert api.send(*parts).status == 201
    assert lying(stage)["look.png"] == PNG
    other = (
        ("inbox", "bay"),
        ("sidecar", sidecar),
        ("reference", "look.png", PNG * 2),
        ("file", "c.mp4", CLIP),
    )
    assert api.send(*other).json["error"]["code"] == "REFERENCE.NAME"
    assert "c.mp4" not in lying(stage)


def test_a_quote_in_a_name_is_read_as_browsers_and_curl_write_it(stage, api):
    sidecar = WINTER + "references = ['lo\"ok.png']\n"
    fields = ("inbox", "bay"), ("sidecar", sidecar), ("reference", "lo%22ok.png", PNG)
    assert api.send(*fields, ("file", "5%22 shot.mp4", CLIP)).json["path"] == '5" shot.mp4'
    assert set(lying(stage)) == {'5" shot.mp4', '5" shot.mp4.toml', 'lo"ok.png'}


def test_nothing_is_replaced_and_a_taken_name_gets_a_number(stage, api):
    (stage.home / "bay/SHOT.mp4").write_bytes(b"an editor's own")
    (stage.home / "bay/shot-2.mp4.toml").write_bytes(b"another's")
    assert api.send().json["path"] == "shot-3.mp4"
    assert lying(stage)["SHOT.mp4"] == b"an editor's own"


def test_the_same_request_once_more_is_answered_as_before_also_after_a_restart(stage, api):
    first = api.send(key="take-7").json
    assert api.send(key="take-7").json["id"] == first["id"]
    (stage.home / "bay/shot.mp4").unlink()  # accepted meanwhile
    (stage.home / "bay/shot.mp4.toml").unlink()
    with stage.open(clips=clip_doors(stage)) as web:
        again = Api(web).send(key="take-7")
        assert (again.status, again.json["id"], again.json["state"]) == (201, first["id"], "accepted")
        other = Api(web).send(("inbox", "bay"), ("sidecar", WINTER), ("file", "b.mp4", CLIP), key="take-7")
        assert (other.status, other.json["error"]["code"]) == (422, "REQUEST.KEY")
    assert lying(stage) == {}


def test_a_request_with_a_used_key_that_is_refused_or_cut_does_not_free_the_key(stage, api):
    first = api.send(key="take-7").json
    other = ("inbox", "bay"), ("sidecar", WINTER), ("file", "b.mp4", CLIP)
    assert api.send(*other, key="take-7").status == 422
    assert api.send(*other, ("more", "x"), key="take-7").status == 422
    assert api.send(key="take-7").json["path"] == first["path"]
    assert sorted(lying(stage)) == ["shot.mp4", "shot.mp4.toml"]


def test_of_two_requests_with_one_key_at_once_one_is_refused(stage, api):
    body = form(("inbox", "bay"), ("sidecar", WINTER), ("file", "shot.mp4", CLIP))
    head = "POST /api/v1/clips HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: take-7\r\n"
    head += f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n"
    head += f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    with socket.create_connection(api.web.address, timeout=10) as line:
        line.sendall(head.encode() + body[:-90])
        while not any((stage.home / "bay").glob(".*.upload")):
            time.sleep(0.05)
        second = api.send(key="take-7")
        assert (second.status, second.json["error"]["code"]) == (409, "UPLOAD.BUSY")
        line.sendall(body[-90:])
        assert line.recv(4096).startswith(b"HTTP/1.1 201")
    assert api.send(key="take-7").json["path"] == "shot.mp4"
    assert sorted(lying(stage)) == ["shot.mp4", "shot.mp4.toml"]


def test_a_clip_is_not_placed_again_where_its_record_could_not_be_read_for_a_moment(stage, api, monkeypatch):
    first = api.send(key="take-7").json

    def lost(*_given):
        raise OSError(5, "the share does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(Root, "read", lost)
        answer = api.send(key="take-7")
        assert (answer.status, answer.json["error"]["code"]) == (503, "INBOX.FAULT")
    assert api.send(key="take-7").json["id"] == first["id"]
    assert sorted(lying(stage)) == ["shot.mp4", "shot.mp4.toml"]


def test_a_key_is_one_tokens_own(stage):
    tokens = tuple(Token(secret, secret[-6:]) for secret in (EDITOR, GUEST))
    with stage.open(AccessRules(tokens), clips=clip_doors(stage)) as web:
        sent = [Api(web, secret).send(key="take-7").json["id"] for secret in (EDITOR, GUEST, EDITOR)]
    assert sent[0] == sent[2] != sent[1]


@pytest.mark.parametrize("step", ["placing", "sidecar", "clip"])
def test_a_crash_while_a_clip_is_placed_is_finished_by_the_same_request(stage, api, monkeypatch, step):
    def crash(*_given, **_more):
        raise OSError(5, "the daemon dies here")

    keep = uploads.Uploads._keep

    def keep_placing(self, root, upload):
        if upload.placed_at is not None:
            crash()
        return keep(self, root, upload)

    with monkeypatch.context() as patch:
        if step == "clip":
            patch.setattr(uploads.Uploads, "_keep", keep_placing)
        else:
            patch.setattr(type(stage.bay.inbox), "create" if step == "placing" else "move", crash)
        assert api.send(key="k").status == 503
    answer = api.send(key="k")
    assert (answer.status, answer.json["path"]) == (201, "shot.mp4")
    assert lying(stage) == {"shot.mp4": CLIP, "shot.mp4.toml": WINTER.encode()}


def test_two_clips_of_one_name_and_prompt_sent_at_once_each_keep_their_sidecar(stage, api, monkeypatch):
    bay, begun, answers = stage.bay.inbox, threading.Barrier(2), []
    move = type(bay).move

    def both_are_about_to_move(self, rel, *given, **more):
        if rel.endswith(".upload"):
            with suppress(threading.BrokenBarrierError):
                begun.wait(0.3)
        return move(self, rel, *given, **more)

    monkeypatch.setattr(type(bay), "move", both_are_about_to_move)
    senders = [threading.Thread(target=lambda: answers.append(api.send().json["path"])) for _ in range(2)]
    for one in senders:
        one.start()
    for one in senders:
        one.join()
    assert sorted(answers) == ["shot-2.mp4", "shot.mp4"]
    assert sorted(lying(stage)) == ["shot-2.mp4", "shot-2.mp4.toml", "shot.mp4", "shot.mp4.toml"]


def test_two_nodes_that_place_one_name_and_prompt_at_once_each_keep_their_sidecar(stage, monkeypatch):
    given = (lambda: {"bay": stage.bay}, lambda: {"bay": Rules("bay")}, lambda: stage.now)
    first, second = uploads.Uploads(*given, "a"), uploads.Uploads(*given, "b")
    of_first, of_second = (one.begin("bay", "", "shot.mp4", 10) for one in (first, second))
    bay, other, create = type(stage.bay.inbox), [], type(stage.bay.inbox).create
    found_free = iter(["shot.mp4", "shot.mp4", "shot-2.mp4"])
    monkeypatch.setattr(uploads.Uploads, "_free_name", lambda *_given: next(found_free))

    def the_other_is_as_far(self, rel, data, *given, **more):
        create(self, rel, data, *given, **more)
        if not other:
            other.append("")
            other[0] = second.place(of_second, WINTER.encode()).path

    monkeypatch.setattr(bay, "create", the_other_is_as_far)
    assert [first.place(of_first, WINTER.encode()).path, *other] == ["shot.mp4", "shot-2.mp4"]
    assert sorted(lying(stage)) == ["shot-2.mp4", "shot-2.mp4.toml", "shot.mp4", "shot.mp4.toml"]


def test_a_clip_that_came_by_hand_meanwhile_gets_no_sidecar_of_ours(stage, api, monkeypatch):
    create = type(stage.bay.inbox).create

    def somebody_is_quicker(self, rel, data, *given, **more):
        create(self, rel, data, *given, **more)
        if rel == "shot.mp4.toml":
            (stage.home / "bay/shot.mp4").write_bytes(b"an editor's own")

    monkeypatch.setattr(type(stage.bay.inbox), "create", somebody_is_quicker)
    assert api.send().json["path"] == "shot-2.mp4"
    assert sorted(lying(stage)) == ["shot-2.mp4", "shot-2.mp4.toml", "shot.mp4"]


@pytest.mark.parametrize("name", ["shot.mp4", "Übergang É.mp4"])
def test_what_became_of_a_clip_is_told_by_its_id(stage, api, monkeypatch, name):
    monkeypatch.setattr(cache, "FRESH_SECONDS", 0.0)
    sent = api.send(("inbox", "bay"), ("prompt", "x"), ("file", name, CLIP)).json
    assert api("GET", f"clips/{sent['id']}").json["state"] == "waiting"
    stage.waiting = [{"path": name, "reason": "it is still changing", "since": "x", "problem": True}]
    told = api("GET", f"clips/{sent['id']}").json
    assert (told["state"], told["reason"]) == ("problem", "it is still changing")
    stage.waiting = []
    stage.add("job1", path=name, created_at=stage.now)
    (stage.home / "bay" / name).unlink()
    told = api("GET", f"clips/{sent['id']}").json
    assert (told["state"], [job["id"] for job in told["jobs"]]) == ("accepted", ["job1"])


def test_a_clip_that_was_taken_out_of_the_inbox_is_not_said_to_be_accepted_for_ever(stage, api, monkeypatch):
    sent = api.send(key="k").json["id"]
    (stage.home / "bay/shot.mp4").unlink()
    told = api("GET", f"clips/{sent}").json
    assert (told["state"], told["jobs"]) == ("accepted", []), "it may be on its way into the journal"
    monkeypatch.setattr(clips, "_GONE_SECONDS", 0.0)
    answer = api("GET", f"clips/{sent}")
    assert (answer.status, answer.json["error"]["code"]) == (404, "CLIP.GONE")
    assert api.send(key="k").status == 201, "the same order is answered as before, and not given anew"
    stage.add("job1", path="shot.mp4", created_at=stage.now)
    assert [job["id"] for job in api("GET", f"clips/{sent}").json["jobs"]] == ["job1"]


WRONG_FORMS = [
    ((("inbox", "bay"), ("sidecar", WINTER)), 422, "REQUEST.FILE"),
    ((("sidecar", WINTER), ("file", "shot.mp4", CLIP)), 422, "REQUEST.ORDER"),
    ((("inbox", "nowhere"), ("file", "shot.mp4", CLIP)), 404, "INBOX.UNKNOWN"),
    (
        (("inbox", "bay"), ("sidecar", "seed = 4"), ("prompt", "x"), ("file", "shot.mp4", CLIP)),
        422,
        "REQUEST.FIELD",
    ),
    ((("inbox", "bay"), ("file", "shot.txt", CLIP)), 415, "CLIP.KIND"),
    ((("inbox", "bay"), ("file", "shot.mp4", b"")), 422, "CLIP.PROBLEM"),
    ((("inbox", "bay"), ("sidecar", WINTER), ("file", "shot.mp4", CLIP[:-9])), 422, "CLIP.PROBLEM"),
    ((("inbox", "bay"), ("sidecar", "promt = 1"), ("file", "shot.mp4", CLIP)), 422, "CLIP.PROBLEM"),
    ((("inbox", "bay"), ("file", "shot.mp4", CLIP)), 422, "CLIP.PROBLEM"),
    ((("inbox", "bay"), ("inbox", "bay"), ("file", "a.mp4", CLIP)), 422, "REQUEST.FIELD"),
    ((("inbox", "bay"), ("token", "x"), ("file", "a.mp4", CLIP)), 422, "REQUEST.FIELD"),
    ((("inbox", "bay"), ("file", "a.mp4", CLIP), ("file", "b.mp4", CLIP)), 400, "REQUEST.FORM"),
    (
        (("inbox", "bay"), ("prompt", "x"), ("file", "a.mp4", CLIP), ("folder", "day")),
        422,
        "REQUEST.ORDER",
    ),
    ((("inbox", "bay"), ("prompt", "x"), ("file", "a.mp4", CLIP), ("name", "b.mp4")), 422, "REQUEST.ORDER"),
    ((("inbox", "bay"), ("upload", "0" * 32), ("file", "a.mp4", CLIP)), 422, "REQUEST.FIELD"),
    ((("inbox", "bay"), ("sidecar", "x" * 70_000), ("file", "a.mp4", CLIP)), 413, "REQUEST.SIZE"),
    ((("inbox", "bay"), ("prompt", b"\xff"), ("file", "a.mp4", CLIP)), 422, "REQUEST.TEXT"),
    (
        (("inbox", "bay"), ("prompt", "x"), ("file", "a.mp4", CLIP), ("reference", "a.exe", PNG)),
        415,
        "REFERENCE.KIND",
    ),
    (
        (("inbox", "bay"), ("prompt", "x"), ("file", "a.mp4", CLIP), ("reference", "../a.png", PNG)),
        415,
        "REFERENCE.KIND",
    ),
    (tuple(("inbox", "bay") for _ in range(60)), 400, "REQUEST.FORM"),
]


def test_a_form_that_is_wrong_is_refused_and_leaves_nothing(stage, api):
    for parts, status, code in WRONG_FORMS:
        answer = api.send(*parts)
        assert (answer.status, answer.json["error"]["code"]) == (status, code), parts
        assert [path for path in (stage.home / "bay").rglob("*") if path.is_file()] == []


HIDDEN = ("../evil.mp4", "/etc/evil.mp4", "..", ".hidden.mp4", "_x.mp4", "a\x01.mp4", "a\u202e.mp4", " a.mp4")


def test_a_name_that_leads_elsewhere_or_hides_is_refused(stage, api):
    for name in (*HIDDEN, "x" * 300 + ".mp4"):
        answer = api.send(("inbox", "bay"), ("prompt", "x"), ("name", name), ("file", "a.mp4", CLIP))
        assert answer.status in {415, 422}, name
    assert lying(stage) == {}


MACS = (
    "Screen Recording 2026-12-01 at 5.03.46\u202fPM.mp4",
    "a\u00a0b.mp4",
    "\U0001f468\u200d\U0001f469.mp4",
)


def test_a_clip_and_an_image_may_have_the_names_that_a_mac_gives(stage, api):
    for name in MACS:
        shot = name.replace("mp4", "png")
        sidecar = f'prompt = "x"\nreferences = ["{shot}"]\n'
        answer = api.send(
            ("inbox", "bay"), ("sidecar", sidecar), ("file", name, CLIP), ("reference", shot, PNG)
        )
        assert (answer.status, answer.json.get("path")) == (201, name), answer.json
    assert {name for name in lying(stage) if name.endswith(".mp4")} == {*MACS}
    answer = api("POST", "uploads", {"inbox": "bay", "name": " a.mp4", "size": 10})
    assert "a space at either end; this one is ` a.mp4`." in answer.json["error"]["message"]


@pytest.mark.parametrize("named", ["Winter.JPG", "winter.jpg", "looks/Shot at 5 PM.png", "Straße.png"])
def test_a_reference_is_found_as_intake_finds_it(stage, api, named):
    (stage.home / "bay/looks").mkdir()
    for image in ("Winter.JPG", "looks/Shot at 5\u202fPM.png", unicodedata.normalize("NFD", "Straße.png")):
        (stage.home / "bay" / image).write_bytes(PNG)
    sidecar = f'prompt = "x"\nreferences = ["{named}"]\n'
    answer = api.send(("inbox", "bay"), ("sidecar", sidecar), ("file", "a.mp4", CLIP))
    assert answer.status == 201, answer.json
    sidecar = sidecar.replace(named, "Look.png")
    sent = ("inbox", "bay"), ("sidecar", sidecar), ("file", "b.mp4", CLIP)
    assert api.send(*sent, ("reference", "LOOK.png", PNG)).status == 201
    (stage.home / "bay/look.PNG").write_bytes(PNG)
    assert api.send(*sent).status == 422, "which of the two is meant"


def test_a_clip_lies_in_the_folder_that_is_there_whoever_spelled_it(stage, api):
    made = unicodedata.normalize("NFD", "Büro/Übergang")
    (stage.home / "bay" / made).mkdir(parents=True)
    (stage.home / "bay" / made / "_defaults.toml").write_text(WINTER)
    sent = ("folder", "Büro/Übergang"), ("sidecar", "seed = 3\n")
    answer = api.send(("inbox", "bay"), *sent, ("file", "a.mp4", CLIP))
    assert (answer.status, answer.json.get("path")) == (201, f"{made}/a.mp4"), answer.json
    begun = api("POST", "uploads", {"inbox": "bay", "name": "b.mp4", "size": len(CLIP)}).json["id"]
    api("PUT", f"uploads/{begun}?offset=0", CLIP, None, "application/octet-stream")
    assert api("POST", f"uploads/{begun}/quote", dict(sent)).json["problems"] == []
    answer = api.send(("upload", begun), ("folder", "Büro/Übergang/neu"), sent[1])
    assert answer.json.get("path") == f"{made}/neu/b.mp4", answer.json
    assert len([path for path in (stage.home / "bay").iterdir() if path.name != ".clipspool"]) == 1


def test_a_file_that_is_no_clip_is_refused_with_what_to_do(api):
    said = {
        "_shot.mp4": "names that begin with `.`, `_` or `~`",
        "shot.braw": "camera raw (.braw)",
        "shot.zip": "unpack it",
        "notes.txt": "it takes .avi, ",
    }
    for name, words in said.items():
        answer = api("POST", "uploads", {"inbox": "bay", "name": name, "size": 10})
        assert (answer.status, words in answer.json["error"]["message"]) == (415, True), answer.json


FOLDERS = (
    "../out",
    "a/../../b",
    "_done",
    ".clipspool/work",
    "a//b",
    "a\\b",
    "@eaDir",
    "x/" * 40 + "y",
    "a\0b",
)


def test_a_folder_that_leads_elsewhere_or_is_not_looked_into_is_refused(stage, api):
    for folder in FOLDERS:
        answer = api.send(("inbox", "bay"), ("folder", folder), ("prompt", "x"), ("file", "a.mp4", CLIP))
        assert (answer.status, answer.json["error"]["code"]) == (422, "CLIP.FOLDER"), folder
    assert lying(stage) == {}


def test_a_link_in_the_inbox_leads_nowhere(stage, api):
    (stage.home / "bay/out").symlink_to(stage.home / "private")
    answer = api.send(("inbox", "bay"), ("folder", "out"), ("prompt", "x"), ("file", "a.mp4", CLIP))
    assert answer.status >= 400
    assert [path.name for path in (stage.home / "private").iterdir()] == ["film.mp4"]


def test_a_form_that_ends_early_leaves_nothing(stage, api):
    body = form(("inbox", "bay"), ("prompt", "x"), ("file", "a.mp4", CLIP))
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    for cut, said in ((body[:-30], 400), (b"nonsense", 400), (b"", 400)):
        assert api("POST", "clips", cut, None, kind).status == said
    head = f"POST /api/v1/clips HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
    head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(api.web.address, timeout=10) as line:
        line.sendall(head.encode() + body[: len(body) // 2])
    until = time.monotonic() + 10
    while any(path.is_file() for path in (stage.home / "bay").rglob("*")) and time.monotonic() < until:
        time.sleep(0.02)
    assert [path for path in (stage.home / "bay").rglob("*") if path.is_file()] == []


def test_a_clip_that_the_disk_cannot_hold_is_refused_before_it_is_sent(stage, api, monkeypatch):
    monkeypatch.setattr(type(stage.bay.inbox), "space", lambda _self: 300 << 20)
    given = {"inbox": "bay", "name": "a.mp4", "size": 100 << 20}
    answer = api("POST", "uploads", given)
    assert (answer.status, answer.json["error"]["code"]) == (507, "INBOX.FULL")
    for size in (1 << 50, 0):
        assert api("POST", "uploads", given | {"size": size}).json["error"]["code"] == "CLIP.SIZE"
    begun = api("POST", "uploads", given | {"size": 1000})
    assert begun.status == 201
    monkeypatch.setattr(type(stage.bay.inbox), "space", lambda _self: 256 << 20)  # others were quicker
    piece = api("PUT", f"uploads/{begun.json['id']}?offset=0", bytes(1000), None, "application/octet-stream")
    assert (piece.status, piece.json["error"]["code"]) == (507, "INBOX.FULL")
    assert api("GET", f"uploads/{begun.json['id']}").json["received"] == 0


def test_uploads_that_nobody_finishes_are_limited_at_once_and_placed_ones_are_not_counted(
    stage, api, monkeypatch
):
    monkeypatch.setattr(uploads, "_OPEN_MAX", 3)
    given = {"inbox": "bay", "name": "a.mp4", "size": 10}
    for number in range(5):
        assert api.send(("inbox", "bay"), ("prompt", "x"), ("file", f"{number}.mp4", CLIP)).status == 201
    begun = [api("POST", "uploads", given) for _ in range(4)]
    assert [one.status for one in begun] == [201, 201, 201, 429]
    assert api("DELETE", f"uploads/{begun[0].json['id']}").status == 204
    assert api("POST", "uploads", given).status == 201
    for upload in (one.json["id"] for one in begun[1:3]):  # by another node of the farm
        (stage.home / f"bay/.clipspool/uploads/{upload}.json").unlink()
    assert api("POST", "uploads", given).status == 429
    monkeypatch.setattr(uploads, "_RECOUNT_SECONDS", 0.0)
    assert api("POST", "uploads", given).status == 201


ODD_RECORDS = (
    b"{}",
    b"[1]",
    b'"x"',
    b"nul",
    b"\xff",
    b"[" * 16_000,
    b'{"begun_at": "x"}',
    b'{"begun_at": null, "placed_at": "x"}',
    b'{"folder": 1}',
    b'{"id": "../../x"}',
    b'{"inbox": "away", "folder": "../out"}',
)


def test_a_record_that_somebody_changed_harms_no_other_upload(stage, api):
    given = {"inbox": "bay", "name": "a.mp4", "size": 10}
    begun = api("POST", "uploads", given).json
    home = stage.home / "bay/.clipspool/uploads"
    known = json.loads((home / f"{begun['id']}.json").read_text())
    for number, odd in enumerate(ODD_RECORDS):
        record = f"{number:032x}"
        data = odd if not odd.startswith(b'{"') else json.dumps({**known, "id": record, **json.loads(odd)})
        (home / f"{record}.json").write_bytes(data if isinstance(data, bytes) else data.encode())
        assert api("GET", f"uploads/{record}").status == 404, odd
        assert api("DELETE", f"uploads/{record}").status == 404, odd
    stage.page._films.uploads._open.clear()  # as after a restart: all records are read
    assert api("POST", "uploads", given).status == 201
    assert api("GET", f"uploads/{begun['id']}").json["state"] == "receiving"


def test_an_image_that_would_be_hidden_in_the_inbox_is_refused(stage, api):
    clip = ("inbox", "bay"), ("prompt", "x"), ("file", "a.mp4", CLIP)
    for name in (".look.png", "_look.png", "look.svg"):
        answer = api.send(*clip, ("reference", name, PNG))
        assert (answer.status, answer.json["error"]["code"]) == (415, "REFERENCE.KIND")
    assert lying(stage) == {}


def test_a_body_that_is_announced_as_huge_is_refused_before_it_comes(api):
    for path in ("uploads", "jobs/clip1/retry"):
        answer = api("POST", path, headers={"Content-Length": "200000"})
        assert answer.status == 413, "else it is waited for"


def test_images_that_are_sent_at_once_use_a_limited_memory(api, monkeypatch):
    monkeypatch.setattr(films, "IMAGES_BYTES_MAX", 100)
    clip = ("inbox", "bay"), ("prompt", "x"), ("file", "a.mp4", CLIP)
    for _ in range(4):  # what was held is free again
        assert api.send(*clip, ("reference", "a.png", PNG)).status == 201
        assert api.send(*clip, ("reference", "b.png", PNG + bytes(100))).status == 503


def test_an_inbox_that_is_away_keeps_no_clip_from_the_others(stage):
    away = Folders("away", Root(stage.home / "away"), Root(stage.home / "away-results"), "j1")
    both = replace(clip_doors(stage), rules=lambda: {"bay": Rules("bay"), "away": Rules("away")})
    stage.other_bays = {"away": away}
    with stage.open(clips=both) as web:
        api = Api(web)
        begun = api("POST", "uploads", {"inbox": "bay", "name": "shot.mp4", "size": len(CLIP)}).json["id"]
        octets = "application/octet-stream"
        assert api("PUT", f"uploads/{begun}?offset=0", CLIP, None, octets).status == 200
        assert api.send(("upload", begun), ("sidecar", WINTER)).status == 201
        assert api.send(key="take-1").status == 201
        lost = api("GET", f"uploads/{uploads.id_in('away', begun)}")
        assert (lost.status, lost.json["error"]["code"]) == (503, "INBOX.OFFLINE"), "it may lie there"
        assert api("GET", f"uploads/{'0' * 32}").status == 404


def test_an_inbox_whose_share_hangs_keeps_no_upload_from_the_others(stage, monkeypatch):
    away = Folders("away", Root(stage.home / "away"), Root(stage.home / "away-results"), "j1")
    both = replace(clip_doors(stage), rules=lambda: {"bay": Rules("bay"), "away": Rules("away")})
    stage.other_bays = {"away": away}
    read, answers = Root.read, threading.Event()

    def hang(root, *given):
        if root is away.inbox:
            answers.wait(60)
        return read(root, *given)

    monkeypatch.setattr(Root, "read", hang)
    try:
        with stage.open(clips=both) as web:
            api = Api(web)
            begun = api("POST", "uploads", {"inbox": "bay", "name": "a.mp4", "size": len(CLIP)}).json["id"]
            octets = "application/octet-stream"
            assert api("PUT", f"uploads/{begun}?offset=0", CLIP, None, octets).status == 200
            assert api("GET", f"uploads/{begun}").json["received"] == len(CLIP)
            assert api.send(("upload", begun), ("sidecar", WINTER)).status == 201
            assert api("GET", f"clips/{begun}").json["state"] == "waiting"
    finally:
        answers.set()


# --- in pieces ------------------------------------------------------------------------------------------


def test_a_large_clip_is_sent_in_pieces_quoted_and_then_placed(stage, api):
    stage.limits = Limits(credits_per_job_max=50.0, credits_per_day=500.0)
    begun = api("POST", "uploads", {"inbox": "bay", "folder": "day", "name": "shot.mp4", "size": len(CLIP)})
    assert begun.status == 201
    at = f"uploads/{begun.json['id']}"
    octets = "application/octet-stream"
    assert api("PUT", f"{at}?offset=0", CLIP[:100], None, octets).json["received"] == 100
    wrong = api("PUT", f"{at}?offset=50", CLIP[50:], None, octets)
    assert (wrong.status, wrong.json["error"]["received"]) == (409, 100)
    assert api.send(("upload", begun.json["id"]), ("sidecar", WINTER)).json["error"]["received"] == 100
    early = api("POST", f"{at}/quote", {"sidecar": WINTER}).json
    assert (early["problems"], early["credits"]) == ([], None)
    assert lying(stage, "day") == {f".{begun.json['id']}.upload": CLIP[:100]}
    assert api("PUT", f"{at}?offset=100", CLIP[100:] + b"x", None, octets).status == 413
    assert api("PUT", f"{at}?offset=100", CLIP[100:], None, octets).json["received"] == len(CLIP)
    quote = api(
        "POST", f"{at}/quote", {"sidecar": WINTER + "[[variant]]\nseed=1\n[[variant]]\nseed=2\n"}
    ).json
    assert (quote["credits"], [job["variant"] for job in quote["jobs"]]) == (120.0, ["v1", "v2"])
    assert quote["media"]["seconds"] == 4.0
    why = "it would cost about 60 credits, and a job may cost 50"
    assert (quote["held"], quote["reason"], quote["credits_left_today"]) == ("budget", why, 500.0)
    problem = api("POST", f"{at}/quote", {"sidecar": "promt = 1"}).json["problems"][0]
    assert "did you mean `prompt`?" in problem["message"]
    sent = api.send(("upload", begun.json["id"]), ("sidecar", WINTER))
    assert (sent.status, sent.json["path"]) == (201, "day/shot.mp4")
    assert api.send(("upload", begun.json["id"]), ("sidecar", WINTER)).json["path"] == "day/shot.mp4"
    assert api.send(("inbox", "hall"), ("upload", begun.json["id"])).json["error"]["code"] == "REQUEST.INBOX"
    assert lying(stage, "day") == {"shot.mp4": CLIP, "shot.mp4.toml": WINTER.encode()}
    assert api("DELETE", at).status == 409
    assert api("POST", f"{at}/quote", {"sidecar": WINTER}).status == 409
    assert api("PUT", f"{at}?offset=0", CLIP, None, octets).status == 409


def test_a_lost_connection_loses_nothing_of_what_was_sent(api):
    data = bytes(3 << 20)
    begun = api("POST", "uploads", {"inbox": "bay", "name": "shot.mp4", "size": len(data)}).json
    head = f"PUT /api/v1/uploads/{begun['id']}?offset=0 HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(data)}\r\n\r\n"
    with socket.create_connection(api.web.address, timeout=10) as line:
        line.sendall(head.encode() + data[: 2 << 20])
        time.sleep(0.2)
    until = time.monotonic() + 10
    here = 2 << 20
    octets = "application/octet-stream"
    # Until the server has seen that the connection is lost, the upload is busy with it.
    while (
        rest := api("PUT", f"uploads/{begun['id']}?offset={here}", data[here:], None, octets)
    ).status == 409:
        assert time.monotonic() < until, rest.json
        time.sleep(0.02)
    assert rest.json["received"] == len(data)


def test_an_upload_that_another_node_received_anew_is_its_own(stage):
    """A sender whose connection was lost begins again at another node, while the first one waits."""
    given = (lambda: {"bay": stage.bay}, lambda: {"bay": Rules("bay")}, lambda: stage.now)
    first, second = uploads.Uploads(*given, "a"), uploads.Uploads(*given, "b")
    key = "0" * 32
    of_first = first.begin("bay", "", "shot.mp4", None, key, 100)
    of_second = second.begin("bay", "", "shot.mp4", None, key, 100)
    with second.open_part(of_second) as file:
        file.write(CLIP[:100])
    with pytest.raises(uploads.NotTaken, match="at another node"):
        first.place(of_first, b"")
    first.drop(of_first)
    with second.open_part(of_second) as file:
        file.write(CLIP[100:])
    assert second.place(of_second, b"").path == "shot.mp4"
    assert lying(stage) == {"shot.mp4": CLIP}


def test_an_upload_in_pieces_is_completed_or_given_up_at_any_node(stage):
    names = {"inbox": "bay", "name": "shot.mp4", "size": len(CLIP)}
    with (
        stage.open(clips=replace(clip_doors(stage), node="a")) as one,
        stage.open(clips=replace(clip_doors(stage), node="b")) as other,
    ):
        a, b = Api(one), Api(other)
        begun, left = (a("POST", "uploads", names).json["id"] for _ in range(2))
        half = len(CLIP) // 2
        for api, offset, piece in ((a, 0, CLIP[:half]), (b, half, CLIP[half:])):
            sent = api("PUT", f"uploads/{begun}?offset={offset}", piece, kind="application/octet-stream")
            assert sent.status == 200
        assert b.send(("inbox", "bay"), ("sidecar", WINTER), ("upload", begun)).status == 201
        assert b("DELETE", f"uploads/{left}").status == 204
    assert lying(stage) == {"shot.mp4": CLIP, "shot.mp4.toml": WINTER.encode()}


def test_an_upload_is_given_up_and_old_ones_go_by_themselves(stage, api):
    given = {"inbox": "bay", "name": "a.mp4", "size": 10}
    first, second = (api("POST", "uploads", given).json["id"] for _ in range(2))
    assert api("DELETE", f"uploads/{first}").status == 204
    assert api("GET", f"uploads/{first}").status == 404
    stage.now += 8 * 86_400
    stage_uploads = uploads.Uploads(
        lambda: {"bay": stage.bay}, lambda: {"bay": Rules("bay")}, lambda: stage.now
    )
    third = stage_uploads.begin("bay", "", "a.mp4", 10)
    assert set(lying(stage)) == {f".{third.id}.upload"}
    assert stage_uploads.find(second) is None


def test_a_hidden_upload_is_no_clip_and_nobodys_control_file():
    names = Names({".mp4"})
    assert names.kind(f".{'0a' * 16}.upload") is Kind.IGNORED


def test_a_film_may_take_as_long_as_bytes_come_and_a_silent_one_ends(api, monkeypatch):
    seconds = 0.4
    monkeypatch.setattr(connections, "ASK_SECONDS", seconds)
    monkeypatch.setattr(connections, "STALL_SECONDS", seconds)
    monkeypatch.setattr(connections, "MOVES_BYTES", 3)
    size = 30
    begun = api("POST", "uploads", {"inbox": "bay", "name": "a.mp4", "size": size}).json
    head = f"PUT /api/v1/uploads/{begun['id']}?offset=0 HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Authorization: Bearer {TOKEN}\r\nContent-Length: {size}\r\n\r\n"
    with socket.create_connection(api.web.address, timeout=10) as line:
        line.sendall(head.encode())
        for _ in range(6):
            time.sleep(seconds / 2)
            line.sendall(b"xxxxx")
        assert line.recv(4096).startswith(b"HTTP/1.1 200")
    silent = api("POST", "uploads", {"inbox": "bay", "name": "b.mp4", "size": size}).json
    with socket.create_connection(api.web.address, timeout=10) as line:
        line.sendall(head.replace(begun["id"], silent["id"]).encode() + b"x")
        assert line.recv(4096) == b""
    with socket.create_connection(api.web.address, timeout=10) as line:
        line.sendall(head.replace(begun["id"], silent["id"]).replace("offset=0", "offset=1").encode())
        with suppress(ConnectionError):
            for _ in range(20):  # some that drip are no progress
                time.sleep(seconds / 2)
                line.sendall(b"x")
        assert api("GET", f"uploads/{silent['id']}").json["received"] < 10


# --- sidecars -------------------------------------------------------------------------------------------


def test_the_sidecar_of_a_waiting_clip_is_mended_where_it_is_shown(stage, api):
    bay = stage.home / "bay"
    (bay / "shot.mp4").write_bytes(CLIP)
    (bay / "shot.toml").write_text('promt = "winter"\n')
    (bay / "other.toml").write_text(WINTER)
    stage.waiting = [{"path": "shot.mp4", "reason": "unknown key", "since": "x", "problem": True}]
    shown = api("GET", "sidecar?inbox=bay&path=shot.mp4").json
    assert (shown["path"], shown["text"]) == ("shot.toml", 'promt = "winter"\n')
    save = {"inbox": "bay", "path": "shot.mp4", "version": shown["version"]}
    wrong = api("PUT", "sidecar", save | {"text": "pompt = 1"})
    assert (wrong.status, wrong.json["error"]["problems"][0]["line"]) == (422, 1)
    assert (bay / "shot.toml").read_text() == 'promt = "winter"\n'
    assert api("PUT", "sidecar", save | {"text": WINTER}).status == 200
    assert (bay / "shot.toml").read_text() == WINTER
    assert api("PUT", "sidecar", save | {"text": WINTER}).json["error"]["code"] == "SIDECAR.CHANGED"
    for path in ("other.toml", "../results/x", "other.mp4", "shot.toml"):
        assert api("GET", f"sidecar?inbox=bay&path={path}").status == 404
        assert api("PUT", "sidecar", save | {"path": path, "text": WINTER}).status == 404


def test_a_sidecar_that_is_far_too_large_is_replaced_as_any_other(stage, api):
    bay = stage.home / "bay"
    (bay / "shot.mp4").write_bytes(CLIP)
    (bay / "shot.toml").write_text("#" * 300_000)
    stage.waiting = [{"path": "shot.mp4", "reason": "too large", "since": "x", "problem": True}]
    shown = api("GET", "sidecar?inbox=bay&path=shot.mp4").json
    assert (shown["path"], len(shown["text"])) == ("shot.toml", 256 << 10)
    saved = {"inbox": "bay", "path": "shot.mp4", "version": shown["version"], "text": WINTER}
    assert api("PUT", "sidecar", saved).status == 200
    assert (bay / "shot.toml").read_text() == WINTER


@pytest.mark.parametrize("moment", ["quoted", "replaced"])
def test_a_sidecar_that_is_saved_as_its_clip_is_accepted_does_not_stay_behind(
    stage, api, monkeypatch, moment
):
    bay = stage.home / "bay"
    (bay / "shot.mp4").write_bytes(CLIP)
    (bay / "shot.toml").write_text('promt = "winter"\n')
    stage.waiting = [{"path": "shot.mp4", "reason": "unknown key", "since": "x", "problem": True}]
    version = api("GET", "sidecar?inbox=bay&path=shot.mp4").json["version"]

    def accept():
        for name in ("shot.mp4", "shot.toml"):
            (bay / name).unlink()

    quote, replaced = SidecarRoutes._quote, type(stage.bay.inbox).replace
    if moment == "quoted":
        monkeypatch.setattr(SidecarRoutes, "_quote", lambda *given: (quote(*given), accept())[0])
    else:
        monkeypatch.setattr(type(stage.bay.inbox), "replace", lambda *given: (accept(), replaced(*given))[1])
    given = {"inbox": "bay", "path": "shot.mp4", "version": version, "text": WINTER}
    answer = api("PUT", "sidecar", given)
    assert (answer.status, answer.json["error"]["code"]) == (409, "CLIP.ACCEPTED")
    assert lying(stage) == {}


def test_a_waiting_clip_without_a_sidecar_gets_one(stage, api):
    (stage.home / "bay/shot.mp4").write_bytes(CLIP)
    stage.waiting = [{"path": "shot.mp4", "reason": "waits for its sidecar", "since": "x", "problem": True}]
    shown = api("GET", "sidecar?inbox=bay&path=shot.mp4").json
    assert (shown["path"], shown["version"]) == ("shot.mp4.toml", "")
    given = {"inbox": "bay", "path": "shot.mp4", "version": "", "text": WINTER}
    assert api("PUT", "sidecar", given).status == 200
    assert (stage.home / "bay/shot.mp4.toml").read_text() == WINTER


# --- the document ---------------------------------------------------------------------------------------


def test_the_document_is_valid_and_names_every_address(stage, api):
    from openapi_spec_validator import validate  # noqa: PLC0415 - three seconds, which no other test needs

    document = api("GET", "openapi.json").json
    validate(document)
    described = {
        (method.upper(), path.removeprefix("/api/v1"))
        for path, methods in document["paths"].items()
        for method in methods
    }
    routed = {
        (method, route.path.removeprefix("/api/v1"))
        for route in stage.page.routes
        if route.path.startswith("/api/v1")
        for method in route.methods - {"HEAD"}
    }
    assert described == routed


def test_what_is_answered_is_what_the_document_says(stage, api):
    stage.deliver()
    stage.add("clip2", state=State.IN_DOUBT, held=Held.IN_DOUBT, paid=Paid.UNKNOWN)
    schemas = api("GET", "openapi.json").json["components"]["schemas"]

    def is_as_described(answer, name):
        whole = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
        jsonschema_rs.Draft202012Validator(whole).validate(answer.json)

    is_as_described(api("GET", "jobs"), "Jobs")
    is_as_described(api("GET", "jobs/clip2"), "JobWithHistory")
    sent = api.send()
    is_as_described(sent, "Clip")
    is_as_described(api("GET", "models"), "Models")
    is_as_described(status := api("GET", "status"), "Status")
    described = schemas["Status"]["properties"]
    assert set(status.json) == set(described) - {"nodes"}
    for name in ("provider", "journal"):
        assert set(status.json[name]) == set(described[name]["properties"])
    assert set(status.json["inboxes"][0]) == set(described["inboxes"]["items"]["properties"])
    presets = [{"name": "winter", "keys": {}, "from": "inbox", "picture": None, "problem": ""}]
    stage.answer = lambda do, _given: presets if do == "presets" else []
    is_as_described(api("GET", "presets?inbox=bay"), "Presets")
    assert api("GET", "presets?inbox=nowhere").status == 404
    assert set(_event_of(stage.journal.job("clip2"))) == set(schemas["Event"]["properties"])
    is_as_described(api("GET", "nothing"), "Refusal")
    job = api("GET", "jobs").json["jobs"][0]
    assert set(job) == set(schemas["Job"]["properties"]), "a field is not described"
    (result,) = api("GET", "jobs/clip1").json["results"]
    described = schemas["Job"]["properties"]["results"]["items"]["properties"]
    assert set(result) | {"seconds", "frames", "frames_per_second"} == set(described)


def test_the_document_describes_a_part_and_a_folder_of_pictures(api):
    document = api("GET", "openapi.json").json
    described = document["components"]["schemas"]["Job"]["properties"]["parts"]["items"]
    part = a_job(part=1, parts=(Part(1, 2, 0, 24, 0, "24/1", sent_size=9, sent_sha256="ab"),))
    (told,) = job_json(part, Conditions(NOON), (part,))["parts"]
    assert (told["sent_size"], told["sent_sha256"]) == (9, "ab")
    assert set(told) == set(described["properties"])
    whole = {**described, "components": document["components"]}
    jsonschema_rs.Draft202012Validator(whole).validate(told)
    answered = document["paths"]["/api/v1/jobs/{job}/results/{number}"]["get"]["responses"]["200"]
    assert set(answered["content"]) == {"application/octet-stream", "application/zip"}
