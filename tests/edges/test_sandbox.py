"""The sandbox over real HTTP: the journey, the shapes, and each way it can be told to misbehave."""

import base64
import gzip
import hashlib
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile

import av
import pytest
import requests

from patience import patient
from runway_sandbox import Options, Render, Style, UrlPlace, render, serve

HEADERS = {"Authorization": "Bearer key-1", "X-Runway-Version": "2024-11-06"}
QUICK = {"render": Render.CANNED, "render_seconds": 0}


@pytest.fixture(scope="module")
def clip_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("sandbox") / "clip.mp4"
    render.sample(path, seconds=0.5, width=160, height=90)
    return path


@pytest.fixture(scope="module")
def clip(clip_path):
    return clip_path.read_bytes()


@pytest.fixture
def box():
    with serve(Options(**QUICK)) as running:
        yield running


def body_of(clip, **changes):
    uri = f"data:video/mp4;base64,{base64.b64encode(clip).decode()}"
    body = {"model": "gen4_aleph", "videoUri": uri, "promptText": "winter", "seed": 7}
    more = {"ratio": "1280:720", "references": [], "contentModeration": {"publicFigureThreshold": "auto"}}
    return {**(body if changes.get("model") == "aleph2" else body | more), **changes}


REQUIRED = ("videoUri", "promptText", "seed", "references", "ratio", "contentModeration")


@pytest.mark.parametrize("absent", REQUIRED)
def test_what_the_page_marks_required_is_asked_for_unless_the_sandbox_is_lenient(clip, absent):
    def asked(box, **headers):
        body = {key: value for key, value in body_of(clip).items() if key != absent}
        url = f"{box.base_url}/video_to_video"
        return requests.post(url, json=body, headers={**HEADERS, **headers}, timeout=10)

    with serve(Options(**QUICK)) as strict:
        refused = asked(strict)
        assert refused.status_code == 400
        told = refused.json()
        issues = json.loads(told["message"])["issues"] if "data" in told else told["issues"]
        assert [issue["path"] for issue in issues] == [[absent]]
    with serve(Options(**QUICK, strict=False)) as lenient:
        assert asked(lenient).status_code == (400 if absent in {"videoUri", "promptText"} else 200)


def test_an_organization_tells_its_limits_in_whole_numbers_as_the_sdk_has_them():
    for given in ({}, {"concurrency": 3, "daily_generations": 50}):
        with serve(Options(**QUICK, **given)) as box:
            for base in (box.base_url, box.base_url.replace("/runwayml", "")):
                told = requests.get(f"{base}/organization", headers=HEADERS, timeout=10).json()
                for limit in told["tier"]["models"].values():
                    assert all(type(value) is int for value in limit.values())


def create(box, clip, headers=HEADERS, **changes):
    return requests.post(
        f"{box.base_url}/video_to_video", json=body_of(clip, **changes), headers=headers, timeout=10
    )


def poll(box, task_id, headers=HEADERS):
    return requests.get(f"{box.base_url}/tasks/{task_id}", headers=headers, timeout=10)


def done(box, task_id, seconds=15):
    """Follow a task to its end; the last answer's JSON."""
    deadline = time.monotonic() + seconds
    while True:
        answer = poll(box, task_id).json()
        status = answer.get("data", answer)["status"]
        if status in ("SUCCEEDED", "FAILED", "CANCELLED", "SUCCESS", "FAILURE"):
            return answer
        assert time.monotonic() < deadline, answer
        threading.Event().wait(0.02)


def result_url(box, clip, **changes):
    return done(box, create(box, clip, **changes).json()["id"])["output"][0]


def test_a_clip_comes_back_as_a_real_and_visibly_changed_video(clip_path, clip):
    with serve(Options(render_seconds=0)) as box:
        url = result_url(box, clip)
        made = clip_path.with_name("result.mp4")
        made.write_bytes(requests.get(url, timeout=10).content)
    with av.open(str(clip_path)) as before, av.open(str(made)) as after:
        frames = [list(one.decode(video=0)) for one in (before, after)]
        assert after.streams.video[0].codec_context.name == "h264"
        assert before.streams.video[0].average_rate == after.streams.video[0].average_rate
    assert len(frames[0]) == len(frames[1]) == 12
    assert (frames[1][0].width, frames[1][0].height) == (160, 90)
    old, new = (bytes(one[5].reformat(format="rgb24").planes[0]) for one in frames)
    difference = sum(abs(a - b) for a, b in zip(old, new, strict=True)) / len(old)
    assert difference > 20


def test_gen4_aleph_returns_five_seconds_of_a_longer_clip(tmp_path):
    long = tmp_path / "long.mp4"
    render.sample(long, seconds=7, width=64, height=64, rate=8)
    with serve(Options(render_seconds=0)) as box:
        made = tmp_path / "made.mp4"
        made.write_bytes(requests.get(result_url(box, long.read_bytes()), timeout=10).content)
    assert render.probe(made).seconds == pytest.approx(5.0, abs=0.1)


def test_aleph2_refuses_more_than_thirty_seconds(box, tmp_path):
    long = tmp_path / "long.mp4"
    render.sample(long, seconds=31, width=64, height=64, rate=4)
    answer = create(box, long.read_bytes(), model="aleph2")
    assert answer.status_code == 400
    assert "at most 30 s" in answer.text


def test_echo_returns_the_very_bytes(clip):
    with serve(Options(render=Render.ECHO, render_seconds=0)) as box:
        assert requests.get(result_url(box, clip), timeout=10).content == clip


def test_the_ledger_knows_each_paid_create_in_the_process_over_http_and_on_disk(clip, tmp_path):
    path = tmp_path / "ledger.jsonl"
    with serve(Options(**QUICK, ledger=path)) as box:
        ids = [create(box, clip).json()["id"] for _ in range(2)]
        assert create(box, clip, promptText="").status_code == 400
        records = box.ledger.creates
        over_http = requests.get(f"{box.origin}/_sandbox/ledger", timeout=10).json()
        assert box.ledger.wait(lambda ledger: len(ledger.requests) == 3)
        assert [one.status for one in box.ledger.requests] == [200, 200, 400]
    digest = hashlib.sha256(clip).hexdigest()
    assert [one.task_id for one in records] == ids
    assert (records[0].sha256, records[0].prompt, records[0].seed, records[0].model) == (
        digest, "winter", 7, "gen4_aleph",
    )  # fmt: skip
    assert over_http["by_clip"] == {digest: 2}
    assert [json.loads(line)["task_id"] for line in path.read_text().splitlines()] == ids


def test_the_wrapped_shape_is_the_gateways(clip):
    with serve(Options(style=Style.WRAPPED, render=Render.CANNED, render_seconds=0.2)) as box:
        task_id = create(box, clip).json()["id"]
        first = poll(box, task_id).json()
        assert (first["code"], first["data"]["status"], first["data"]["task_id"]) == (
            "success",
            "IN_PROGRESS",
            task_id,
        )
        assert re.fullmatch(r"\d+%", first["data"]["progress"])
        assert first["data"]["finish_time"] == 0
        last = done(box, task_id)["data"]
        assert (last["status"], last["progress"]) == ("SUCCESS", "100%")
        assert last["data"]["status"] == "SUCCEEDED"
        assert last["data"]["createdAt"].endswith("+08:00")
        assert len(last["data"]["output"]) == 1


@pytest.mark.parametrize(
    ("place", "name"), [(UrlPlace.RESULT_URL, "result_url"), (UrlPlace.FAIL_REASON, "fail_reason")]
)
def test_the_wrapped_shape_can_hide_the_address_elsewhere(clip, place, name):
    with serve(Options(style=Style.WRAPPED, url_place=place, **QUICK)) as box:
        data = done(box, create(box, clip).json()["id"])["data"]
        assert data[name].startswith("http://")
        assert "output" not in data["data"]


def test_mixed_takes_the_shapes_in_turns(clip):
    with serve(Options(style=Style.MIXED, **QUICK)) as box:
        answers = [poll(box, create(box, clip).json()["id"]).json() for _ in range(4)]
        assert ["code" in one for one in answers] == [False, True, False, True]


def test_a_fresh_id_is_not_there_at_once_and_never_for_another_key(clip):
    with serve(Options(visible_after=0.3, **QUICK)) as box:
        task_id = create(box, clip).json()["id"]
        answer = poll(box, task_id)
        assert answer.status_code == 400
        assert answer.json() == {"code": "task_not_exist", "message": "task_not_exist", "data": None}
        while poll(box, task_id).status_code == 400:
            threading.Event().wait(0.02)
        assert poll(box, task_id, {**HEADERS, "Authorization": "Bearer key-2"}).status_code == 400


def test_tasks_beyond_the_concurrency_are_throttled(clip):
    with serve(Options(render=Render.CANNED, render_seconds=0.3, concurrency=1)) as box:
        ids = [create(box, clip).json()["id"] for _ in range(2)]
        assert [poll(box, one).json()["status"] for one in ids] == ["RUNNING", "THROTTLED"]
        assert [done(box, one)["status"] for one in ids] == ["SUCCEEDED", "SUCCEEDED"]


def test_headers_are_checked(box, clip):
    without = {name: value for name, value in HEADERS.items() if name != "X-Runway-Version"}
    assert create(box, clip, headers={}).status_code == 401
    assert create(box, clip, headers=without).status_code == 400
    assert create(box, clip, headers={**HEADERS, "X-Runway-Version": "2023-01-01"}).status_code == 400
    assert box.ledger.creates == []
    assert poll(box, create(box, clip).json()["id"], without).status_code == 200


def test_what_is_no_video_is_refused(box):
    answer = create(box, b"<html>" * 100)
    assert answer.status_code == 400
    assert "could not be decoded" in answer.json()["message"]
    assert create(box, b"", videoUri="data:video/mp4;base64,@@@@").status_code == 400


def test_bodies_that_are_no_json_object_are_refused(box):
    for data in (b"", b"{", b"[]", b'{"model": NaN}', b"[" * 100_000, b"\xff\xfe"):
        answer = requests.post(f"{box.base_url}/video_to_video", data=data, headers=HEADERS, timeout=10)
        assert answer.status_code == 400, data[:20]


def test_an_unknown_model_is_answered_as_each_door_does(box, clip):
    answer = create(box, clip, model="gen9")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_not_found")
    official = requests.post(
        f"{box.origin}/v1/video_to_video", json=body_of(clip, model="gen9"), headers=HEADERS, timeout=10
    )
    assert (official.status_code, official.json()) == (403, {"error": "Model variant gen9 is not available"})


def test_no_credits_and_no_quota_are_told_as_the_api_does(clip):
    with serve(Options(credits=10, **QUICK)) as box:
        assert create(box, clip).status_code == 200
        answer = create(box, clip)
        assert (answer.status_code, answer.json()["code"]) == (403, "quota_not_enough")
        quota = requests.get(f"{box.origin}/user/quota?key=key-1", timeout=10).json()
        assert quota["total_quota"] == pytest.approx(0.02)
    with serve(Options(daily_generations=1, **QUICK)) as box:
        assert [create(box, clip).status_code for _ in range(2)] == [200, 429]
        assert len(box.ledger.creates) == 1


def test_a_body_beyond_the_limit_is_answered_413(clip):
    with serve(Options(body_bytes_max=1000, **QUICK)) as box:
        answer = create(box, clip * 50)
        assert (answer.status_code, answer.json()["code"]) == (413, "read_request_body_failed")
        chunked = requests.post(
            f"{box.base_url}/video_to_video", data=iter([b"x" * 600] * 3), headers=HEADERS, timeout=10
        )
        assert chunked.status_code == 413


def test_delete_stops_a_task_or_is_not_offered(box, clip):
    task_id = create(box, clip).json()["id"]
    address = f"{box.base_url}/tasks/{task_id}"
    assert requests.delete(address, headers=HEADERS, timeout=10).status_code == 204
    assert poll(box, task_id).json()["code"] == "task_not_exist"
    with serve(Options(cancel_status=405, **QUICK)) as other:
        task_id = create(other, clip).json()["id"]
        refused = requests.delete(f"{other.base_url}/tasks/{task_id}", headers=HEADERS, timeout=10)
        assert refused.status_code == 405
        assert poll(other, task_id).status_code == 200


def test_uploads_and_the_organization_are_offered_as_told():
    asked = {"filename": "clip.mp4", "type": "ephemeral"}
    for given, uploads, organization in (
        ({}, 404, 200),
        ({"uploads": True, "organization": False}, 200, 404),
    ):
        with serve(Options(**QUICK, **given)) as box:
            placed = requests.post(f"{box.base_url}/uploads", json=asked, headers=HEADERS, timeout=10)
            told = requests.get(f"{box.base_url}/organization", headers=HEADERS, timeout=10)
            assert (placed.status_code, told.status_code) == (uploads, organization)
    assert set(placed.json()) == {"uploadUrl", "fields", "runwayUri"}


def test_an_upload_that_breaks_the_form_or_its_policy_is_refused(clip):
    asked = {"filename": "clip.mp4", "type": "ephemeral"}
    with serve(Options(uploads=True, **QUICK)) as box:
        placed = requests.post(f"{box.base_url}/uploads", json=asked, headers=HEADERS, timeout=10).json()
        address, fields, file = placed["uploadUrl"], placed["fields"], {"file": ("clip.mp4", clip)}
        assert (
            requests.post(address, data={**fields, "policy": "x"}, files=file, timeout=10).status_code == 403
        )
        assert requests.post(address, data=fields, files={"file": b"tiny"}, timeout=10).status_code == 400
        assert create(box, clip, videoUri=placed["runwayUri"]).status_code == 400
        assert requests.post(address, data=fields, files=file, timeout=10).status_code == 204
        assert create(box, clip, videoUri=placed["runwayUri"]).status_code == 200
        assert set(box.ledger.creates_by_clip()) == {hashlib.sha256(clip).hexdigest()}


def test_a_rendering_under_way_does_not_delay_the_end(tmp_path):
    long = tmp_path / "long.mp4"
    render.sample(long, seconds=5, width=1280, height=720)
    with serve(Options()) as box:
        assert create(box, long.read_bytes()).status_code == 200
        leaving = time.monotonic()
    assert time.monotonic() - leaving < patient(1)


def test_a_wrong_path_is_a_redirect_at_the_gateway_and_a_404_at_the_official_door(box):
    wrong = requests.get(f"{box.base_url}/nothing", headers=HEADERS, timeout=10, allow_redirects=False)
    assert (wrong.status_code, wrong.headers["Content-Type"]) == (301, "text/html; charset=UTF-8")
    assert requests.get(f"{box.origin}/v1/nothing", headers=HEADERS, timeout=10).status_code == 404


def test_a_source_behind_an_address_is_fetched_strictly(clip):
    class Files(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/moved.mp4":
                self.send_response(302)
                self.send_header("Location", "/clip.mp4")
                self.end_headers()
                return
            self.send_response(200)
            kind = "application/octet-stream" if self.path == "/untyped.mp4" else "video/mp4"
            self.send_header("Content-Type", kind)
            if self.path != "/unmeasured.mp4":
                self.send_header("Content-Length", str(len(clip)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(clip)

        do_HEAD = do_GET  # noqa: N815  # the library chose the name

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as files, serve(Options(**QUICK)) as box:
        threading.Thread(target=files.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{files.server_port}"
        assert create(box, clip, videoUri=f"{base}/clip.mp4").status_code == 200
        assert box.ledger.creates[0].sha256 == hashlib.sha256(clip).hexdigest()
        for name in ("moved", "untyped", "unmeasured"):
            assert create(box, clip, videoUri=f"{base}/{name}.mp4").status_code == 400, name
        files.shutdown()


def test_result_addresses_are_fresh_each_time_and_expire(clip):
    with serve(Options(url_seconds=0.3, **QUICK)) as box:
        task_id = create(box, clip).json()["id"]
        first, second = (done(box, task_id)["output"][0] for _ in range(2))
        assert first != second
        assert requests.get(first, timeout=10).status_code == 200
        assert requests.get(first[:-1] + "x", timeout=10).status_code == 403
        while requests.get(first, timeout=10).status_code == 200:
            threading.Event().wait(0.02)
        assert requests.get(done(box, task_id)["output"][0], timeout=10).status_code == 200


def test_results_can_be_resumed(box, clip):
    url = result_url(box, clip)
    whole = requests.get(url, timeout=10)
    etag, size = whole.headers["ETag"], len(whole.content)
    head = requests.head(url, timeout=10)
    assert (head.status_code, head.headers["Content-Length"], head.content) == (200, str(size), b"")
    rest = requests.get(url, headers={"Range": "bytes=100-", "If-Range": etag}, timeout=10)
    assert (rest.status_code, rest.headers["Content-Range"]) == (206, f"bytes 100-{size - 1}/{size}")
    assert rest.content == whole.content[100:]
    assert requests.get(url, headers={"Range": "bytes=-5"}, timeout=10).content == whole.content[-5:]
    assert (
        requests.get(url, headers={"Range": "bytes=0-9", "If-Range": '"old"'}, timeout=10).status_code == 200
    )
    assert requests.get(url, headers={"Range": f"bytes={size}-"}, timeout=10).status_code == 416


def test_results_can_have_a_host_of_their_own_and_the_log_tells_who_brought_the_key(clip):
    with serve(Options(separate_results=True, **QUICK)) as box:
        url = result_url(box, clip)
        assert not url.startswith(box.origin)
        assert requests.get(url, timeout=10).status_code == 200
        requests.get(url, headers=HEADERS, timeout=10)
        assert box.ledger.wait(lambda ledger: len([one for one in ledger.requests if one.at_results]) == 2)
        assert [one.has_key for one in box.ledger.requests if one.at_results] == [False, True]
        host = url.split("/_results/")[0]
        assert requests.get(f"{host}/runwayml/v1/tasks/x", headers=HEADERS, timeout=10).status_code == 403


def test_connections_are_kept_and_pipelined_requests_are_answered_in_order(box):
    host, port = box.origin.removeprefix("http://").split(":")
    head = f"Host: {host}\r\nAuthorization: Bearer k\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as link:
        link.sendall(
            f"GET /runwayml/v1/tasks/one HTTP/1.1\r\n{head}GET /runwayml/v1/tasks/two HTTP/1.1\r\n{head}"
            f"GET / HTTP/1.1\r\nConnection: close\r\n{head}".encode()
        )
        answer = b""
        while piece := link.recv(65536):
            answer += piece
    assert answer.count(b"HTTP/1.1 400") == 2
    assert answer.count(b"HTTP/1.1 200") == 1
    assert box.ledger.wait(lambda ledger: len(ledger.requests) == 3)
    assert len({one.connection for one in box.ledger.requests}) == 1


def test_what_is_no_http_is_answered_400_and_harms_nobody(box):
    host, port = box.origin.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as link:
        link.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert link.recv(100).startswith(b"HTTP/1.1 400")
    assert requests.get(box.origin, timeout=10).status_code == 200


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("create:drop-before-body", 0),
        ("create:drop-in-body:bytes=100", 0),
        ("create:drop", 0),
        ("create:drop:how=close", 0),
        ("create:drop-after", 1),
        ("create:drop-after:how=close", 1),
        ("create:drop-in-answer:bytes=5", 1),
    ],
)
def test_a_dropped_create_is_made_or_not_as_told(box, clip, text, made):
    box.misbehave(text + ":times=1")
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        create(box, clip)
    assert len(box.ledger.creates) == made
    assert box.ledger.wait(lambda ledger: len(ledger.requests) == 1)
    assert box.ledger.requests[0].misbehaviour == text.split(":bytes")[0].split(":how")[0]
    assert create(box, clip).status_code == 200


@pytest.mark.parametrize(
    ("text", "status", "made"),
    [
        ("500", 500, 0),
        ("500-after", 500, 1),
        ("503-after:shape=html", 503, 1),
        ("524-after:shape=empty", 524, 1),
        ("402:shape=gateway:code=x", 402, 0),
        ("html", 200, 0),
        ("html-after", 200, 1),
        ("no-id", 200, 0),
        ("no-id-after", 200, 1),
        ("nothing-after", 200, 1),
        ("garbage-after", 200, 1),
        ("deep-after", 200, 1),
        ("huge-after:bytes=3000000", 200, 1),
        ("redirect", 307, 0),
        ("redirect-after:status=308", 308, 1),
        ("compat-answer", 200, 1),
    ],
)
def test_a_create_is_answered_wrongly_and_made_or_not_as_told(box, clip, text, status, made):
    box.misbehave(f"create:{text}")
    answer = requests.post(
        f"{box.base_url}/video_to_video",
        json=body_of(clip),
        headers=HEADERS,
        timeout=10,
        allow_redirects=False,
    )
    assert answer.status_code == status
    assert len(box.ledger.creates) == made


def test_429_comes_with_whatever_is_asked_for(box, clip):
    for value in ("5", "-1", "1000000000", "soon", ""):
        box.misbehave(f"create:429:times=1:retry_after={value}:shape=empty")
        answer = create(box, clip)
        assert (answer.status_code, answer.headers["Retry-After"], answer.content) == (429, value, b"")
    box.misbehave("create:429:times=1", "create:429:times=1:retry_after=date+30")
    assert "Retry-After" not in create(box, clip).headers
    assert create(box, clip).headers["Retry-After"].endswith("GMT")


def test_a_slow_create_is_made_before_its_answer_comes(box, clip):
    box.misbehave("create:slow:seconds=20:times=1")
    with pytest.raises(requests.ReadTimeout):
        requests.post(f"{box.base_url}/video_to_video", json=body_of(clip), headers=HEADERS, timeout=0.5)
    assert len(box.ledger.creates) == 1


def test_a_misbehaviour_can_choose_its_task_by_the_prompt(box, clip):
    box.misbehave("create:500:prompt=snow", "poll:503:prompt=rain")
    assert create(box, clip, promptText="deep snow").status_code == 500
    assert poll(box, create(box, clip, promptText="warm rain").json()["id"]).status_code == 503
    assert poll(box, create(box, clip).json()["id"]).status_code == 200


@pytest.mark.parametrize("style", [Style.BARE, Style.WRAPPED])
def test_polls_say_what_they_are_told_to(clip, style):
    with serve(Options(style=style, **QUICK)) as box:
        task_id = create(box, clip).json()["id"]

        def told(text):
            box.misbehave(f"poll:{text}:times=1")
            answer = poll(box, task_id)
            return answer, answer.json().get("data", answer.json()) if answer.ok else None

        assert told("not-exist")[0].status_code == 400
        assert told("status:word=Rendering")[1]["status"] == "Rendering"
        assert told("wrong-id")[1].get("task_id", told("wrong-id")[1].get("id")) != task_id
        assert told("progress:value=5%25")[1]["progress"] == "5%"
        assert "output" not in str(told("no-url")[1])
        assert told("502")[0].status_code == 502
        assert done(box, task_id)


@pytest.mark.parametrize("on", ["poll", "task"])
def test_a_failure_lasts_and_names_its_code(box, clip, on):
    box.misbehave(f"{on}:failure:code=SAFETY.INPUT.TEXT:times=1")
    task_id = create(box, clip).json()["id"]
    if on == "poll":
        with serve(Options(render=Render.CANNED, render_seconds=60)) as slow:
            slow.misbehave("poll:failure:code=SAFETY.INPUT.TEXT:times=1")
            slow_id = create(slow, clip).json()["id"]
            answers = [done(slow, slow_id) for _ in range(2)]
    else:
        answers = [done(box, task_id) for _ in range(2)]
    assert [(one["status"], one["failureCode"]) for one in answers] == [("FAILED", "SAFETY.INPUT.TEXT")] * 2
    assert "moderation" in answers[0]["failure"]


def test_tasks_can_be_cancelled_stuck_or_never_seen(box, clip):
    box.misbehave("task:cancelled:times=1", "task:stuck:times=1", "task:invisible:times=1")
    ids = [create(box, clip).json()["id"] for _ in range(3)]
    assert poll(box, ids[0]).json()["status"] == "CANCELLED"
    assert poll(box, ids[1]).json()["status"] == "RUNNING"
    assert poll(box, ids[2]).json()["code"] == "task_not_exist"


def test_outputs_can_be_several_none_twice_the_same_or_of_another_kind(box, clip, tmp_path):
    box.misbehave("task:outputs:count=3:times=1", "task:outputs:count=0:times=1", "task:same-twice:times=1")
    several, none, twice = (done(box, create(box, clip).json()["id"])["output"] for _ in range(3))
    assert (len(several), len(none), len(twice)) == (3, 0, 2)
    assert len(set(several)) == 3
    assert len(set(twice)) == 1
    assert requests.get(several[2], timeout=10).status_code == 200
    for kind in ("mov", "webm", "zip"):
        box.misbehave(f"task:content:kind={kind}:times=1")
        url = result_url(box, clip)
        assert f".{kind}?" in url
        path = tmp_path / f"result.{kind}"
        path.write_bytes(requests.get(url, timeout=10).content)
        if kind == "zip":
            assert zipfile.ZipFile(path).namelist()
        else:
            assert render.probe(path).width == 320


def test_downloads_break_in_every_way(box, clip):
    url = result_url(box, clip)
    whole = requests.get(url, timeout=10).content

    def told(text, headers=None, **more):
        box.misbehave(f"download:{text}:times=1")
        return requests.get(url, headers=headers, timeout=5, **more)

    for text in ("cut:bytes=100", "cut:bytes=100:how=close", "wrong-length", "stall:seconds=0"):
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            told(text)
    short = told("cut-close:bytes=100")
    assert (len(short.content), short.headers.get("Content-Length")) == (100, None)
    assert told("no-length").content == whole
    assert told("wrong-length:delta=-5").content == whole[:-5]
    assert told("html").content.startswith(b"<!doctype html>")
    assert told("nothing").content == b""
    assert told("403").status_code == 403
    assert told("403").text.startswith("<?xml")
    assert told("etag-changed").headers["ETag"] != told("etag-changed").headers["ETag"]
    assert told("weak-etag").headers["ETag"].startswith("W/")
    ranged = {"Range": "bytes=100-199"}
    assert told("wrong-offset", ranged).headers["Content-Range"].startswith("bytes 93-")
    assert told("ignore-range", ranged).status_code == 200
    assert len(told("oversize:factor=3").content) == 3 * len(whole)
    bomb = told("gzip-bomb:bytes=1000000", {"Accept-Encoding": "identity"}, stream=True)
    assert bomb.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(bomb.raw.read(decode_content=False)) == bytes(1_000_000)
    assert requests.get(url, timeout=5).content == whole


def test_a_drip_keeps_its_rate(box, clip):
    url = result_url(box, clip)
    box.misbehave("download:drip:rate=200")
    started = time.monotonic()
    with requests.get(url, stream=True, timeout=5) as answer:
        assert len(answer.raw.read(60)) == 60
    assert time.monotonic() - started > 0.1


def test_downloads_are_sent_elsewhere(box, clip):
    url = result_url(box, clip)
    box.misbehave(
        *(f"download:redirect:to={to}:times=1" for to in ("self", "loop", "private", "ftp%3A//x/y"))
    )
    places = [requests.get(url, allow_redirects=False, timeout=5).headers["Location"] for _ in range(4)]
    assert places[0] == url.removeprefix(box.origin)
    assert "&hop=" in places[1]
    assert places[2].startswith("http://169.254.169.254/")
    assert places[3] == "ftp://x/y"


def test_misbehaviours_are_added_listed_and_cleared_over_http(box, clip):
    address = f"{box.origin}/_sandbox/misbehave"
    added = requests.post(address, json=["create:500", {"on": "poll", "what": "html"}], timeout=10)
    assert added.status_code == 204
    assert create(box, clip).status_code == 500
    assert requests.get(address, timeout=10).json()[0] == {
        "on": "create",
        "what": "500",
        "seen": 1,
        "done": 1,
    }
    wrong = requests.post(address, json="create:nonsense", timeout=10)
    assert (wrong.status_code, "nonsense" in wrong.json()["error"]) == (400, True)
    assert requests.delete(address, timeout=10).status_code == 204
    assert create(box, clip).status_code == 200


def test_the_command_line_entry_serves_until_it_is_told_to_stop_and_leaves_nothing_behind(tmp_path):
    program = (
        "from runway_sandbox import Options, run;"
        "run(Options(), ready=lambda base_url: print(base_url, flush=True))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        base_url = process.stdout.readline().strip()
        assert requests.get(f"{base_url}/tasks/x", headers=HEADERS, timeout=10).status_code == 400
        assert list(tmp_path.iterdir())
        process.send_signal(signal.SIGTERM)
        assert process.wait(patient(10)) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_an_oserror(box):
    port = int(box.origin.rpartition(":")[2])
    with pytest.raises(OSError, match="address already in use"), serve(Options(port=port, **QUICK)):
        pass
