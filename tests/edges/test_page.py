"""The page over real HTTP: what it shows, whom it lets in, and what attackers get."""

import html
import http.client
import io
import json
import os
import re
import shutil
import socket
import stat
import threading
import time
import zipfile
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import pytest
from structlog.testing import capture_logs

from clipspool.jobs.messages import ProviderUnblocked
from clipspool.jobs.model import Error, Held, Paid, State
from clipspool.jobs.outputs import FOLDER
from clipspool.jobs.path_map import Places
from clipspool.jobs.records import Life, Peer
from clipspool.jobs.working import Working
from clipspool.scheduler.commands import NotDone
from clipspool.spool.workfolder import folder_of
from clipspool.system.atomic import OURS
from clipspool.web import cache
from clipspool.web import connections as callers
from clipspool.web import event_stream as changes
from clipspool.web.context import AccessRules, Right, Token
from clipspool.web.event_stream import REST_SECONDS
from clipspool.web.listen import CannotListen, PageSocket
from fakes import NOON, RESULT, a_clip, a_job, a_request, a_task
from films import film
from pages import BEARER, FILM, FORM, PRIVATE, SAME, TOKEN, Stage, clip_doors, followed
from patience import patient

ODD = "caf\udce9/sh\udcf6t.mp4"
SCRIPT = "<script>alert('x')</script>"


@pytest.fixture
def web(stage):
    with stage.open() as client:
        yield client


# --- who may come in ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "evil.test",
        "localhost.evil.test",
        "127.0.0.1.evil.test",
        "evil.test:80",
        "",
        "10.0.0.1",
        "[::1",
        "a@b@c",
    ],
)
def test_a_name_that_is_not_ours_gets_nothing(stage, web, host):
    stage.add()
    answer = web.get("/", Host=host)
    assert answer.status in {400, 421}
    assert b"shot" not in answer.body


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:9999", "127.0.0.1:8765", "[::1]:8765", "LocalHost."]
)
def test_this_machine_by_any_port_is_served_so_that_tunnels_work(web, host):
    assert web.get("/", Host=host).status == 200


@pytest.mark.parametrize("act", ["retry", "cancel", "attach", "approve", "pause", "resume"])
def test_asking_with_get_changes_nothing(stage, web, act):
    stage.add(state=State.IN_DOUBT, held=Held.IN_DOUBT, paid=Paid.UNKNOWN)
    for path in (f"/jobs/clip1/{act}?yes=1", f"/inboxes/bay/{act}", f"/inboxes/all/{act}", "/logout"):
        for method in ("GET", "HEAD"):
            assert web(method, path, BEARER).status < 500
    assert stage.commands == []


def test_nothing_is_changed_without_the_token(stage, web):
    stage.add()
    assert web.post("/jobs/clip1/cancel", SAME).status == 401
    assert web.post("/jobs/clip1/cancel", {"Authorization": "Bearer wrong-token-of-length"}).status == 401
    assert web.post("/jobs/clip1/cancel", SAME | {"Authorization": f"Basic {TOKEN}"}).status == 401
    assert web.post(f"/jobs/clip1/cancel?token={TOKEN}", SAME, token=TOKEN).status == 401
    assert web.post("/jobs/clip1/cancel", SAME | {"Cookie": "clipspool_0123456789ab=guess"}).status == 401
    assert stage.commands == []


def test_with_the_token_a_command_is_given_as_the_command_line_would(stage, web):
    stage.add()
    stage.answer = lambda _do, arguments: [{"id": i, "done": True} for i in arguments.get("ids", ["clip1"])]
    assert web.post("/jobs/clip1/cancel").to == "/jobs/clip1"
    web.post("/jobs/clip1/retry")
    web.post("/jobs/clip1/approve")
    web.post("/jobs/clip1/attach", task_id=" task-9 ")
    web.post("/inboxes/bay/pause")
    web.post("/inboxes/all/resume")
    assert [(do, {k: v for k, v in given.items() if k != "by"}) for do, given in stage.commands] == [
        ("cancel", {"ids": ["clip1"]}),
        ("retry", {"ids": ["clip1"]}),
        ("approve", {"ids": ["clip1"]}),
        ("attach", {"job_id": "clip1", "task_id": "task-9"}),
        ("pause", {"inbox": "bay"}),
        ("resume", {"inbox": None}),
    ]


def test_a_command_that_is_not_known_is_not_given(stage, web):
    stage.add()
    assert web.post("/jobs/clip1/recover").status == 404
    assert web.post("/inboxes/bay/status").status == 404
    assert stage.commands == []


EDITOR, GUEST = "the-token-of-an-editor", "the-token-of-a-guest-"
SEVERAL = (
    Token(TOKEN),
    Token(EDITOR, "edit", frozenset({Right.LOOK, Right.ADD})),
    Token(GUEST, "guest", frozenset({Right.LOOK})),
)


@pytest.mark.parametrize("token", [EDITOR, GUEST])
def test_a_token_decides_nothing_without_the_right_to(stage, token):
    stage.add(state=State.IN_DOUBT, held=Held.IN_DOUBT, paid=Paid.UNKNOWN)
    with stage.open(AccessRules(SEVERAL, is_near=False, must_log_in=True)) as web:
        session = web.post("/login", SAME, token=token).getheader("Set-Cookie").partition(";")[0]
        for who in ({"Authorization": f"Bearer {token}"}, SAME | {"Cookie": session}):
            page = web("GET", "/", who)
            assert page.status == 200
            assert "/jobs/clip1/retry" not in page.text
            answers = [
                web.post(f"/jobs/clip1/{act}", who) for act in ("retry", "cancel", "attach", "approve")
            ]
            answers += [web.post("/inboxes/bay/pause", who), web.post("/all/retry", who, ids="clip1")]
            assert {answer.status for answer in answers} == {403}
            assert answers[0].text == "This token does not have the right `decide`.\n"
    assert stage.commands == []


def test_what_a_token_with_a_name_decides_is_recorded_with_its_name(stage):
    stage.add()
    tokens = (Token(TOKEN), Token(EDITOR, "night"))
    with stage.open(AccessRules(tokens)) as web:
        web.post("/jobs/clip1/cancel", {"Authorization": f"Bearer {EDITOR}"})
        session = web.post("/login", SAME, token=EDITOR).getheader("Set-Cookie").partition(";")[0]
        web.post("/jobs/clip1/retry", SAME | {"Cookie": session})
        web.post("/jobs/clip1/approve")
    names = [arguments["by"] for _, arguments in stage.commands]
    assert names == ["the page (night)", "the page (night)", "the page"]


def test_a_token_without_the_right_to_look_sees_nothing_where_looking_needs_one(stage):
    stage.deliver()
    adder = Token(EDITOR, "script", frozenset({Right.ADD}))
    with stage.open(AccessRules((adder,), is_near=False, must_log_in=True), metrics=lambda: b"x 1\n") as web:
        for path in ("/", "/jobs", "/jobs/clip1", "/jobs/clip1/source", "/events", "/metrics", "/nothing"):
            answer = web("GET", path, {"Authorization": f"Bearer {EDITOR}"})
            assert answer.status in {403, 404}
            assert "shot" not in answer.text


def test_every_address_says_which_right_it_needs(stage):
    with stage.open(AccessRules(SEVERAL)):
        routes = stage.page.routes
    free = {route.path for route in routes if not hasattr(getattr(route, "endpoint", None), "right")}
    assert free == {"/login", "/logout", "/static", "/healthz"} & {route.path for route in routes}


NEEDS = {
    Right.LOOK: """
        GET / /jobs /jobs/{job} /jobs/{job}/versions /jobs/{job}/versions/compare /jobs/{job}/again
        GET /jobs/{job}/{act}
        GET /jobs/{job}/compare/{number:int} /jobs/{job}/poster/{number:int} /jobs/{job}/source
        GET /jobs/{job}/result/{number:int} /all/{act} /inboxes/{inbox}/{act} /add /inbox/{inbox}
        GET /inbox/{inbox}/presets/{name} /events /metrics
        GET /api/v1/status /api/v1/jobs /api/v1/jobs/{job} /api/v1/events /api/v1/models /api/v1/presets
        GET /api/v1/jobs/{job}/results/{number}
        GET /api/v1/openapi.json""",
    Right.ADD: """
        POST /jobs/{job}/again /jobs/{job}/choose /inbox/{inbox}/mend
        POST /api/v1/jobs/{job}/again /api/v1/jobs/{job}/choose /api/v1/clips /api/v1/uploads
        POST /api/v1/uploads/{upload}/quote
        GET /api/v1/balance /api/v1/clips/{clip} /api/v1/uploads/{upload} /api/v1/sidecar
        PUT /api/v1/uploads/{upload} /api/v1/sidecar
        DELETE /api/v1/uploads/{upload}""",
    Right.DECIDE: """
        POST /jobs/{job}/{act} /all/{act} /inboxes/{inbox}/{act}
        POST /api/v1/jobs/{job}/retry /api/v1/jobs/{job}/cancel /api/v1/jobs/{job}/approve
        POST /api/v1/jobs/{job}/attach""",
    None: "GET /login POST /login /logout GET /healthz",
}


def addresses(table):
    """Read `METHOD path path …` into pairs."""
    method = ""
    for word in table.split():
        if word.startswith("/"):
            yield method, word
        else:
            method = word


def test_every_address_is_open_to_its_right_alone(stage):
    stage.add()
    needed = {one: right for right, table in NEEDS.items() for one in addresses(table)}
    rights = {None: None} | {
        right: Token(f"token-of-{right}-{'x' * 9}", right, frozenset({right})) for right in Right
    }
    access = AccessRules(tuple(filter(None, rights.values())), is_near=False, must_log_in=True)
    how = {"metrics": lambda: b"", "health": lambda: (True, {}), "clips": clip_doors(stage)}
    filled = {
        "job": "clip1",
        "number:int": "1",
        "number": "1",
        "act": "pause",
        "inbox": "bay",
        "name": "x",
        "clip": "0" * 32,
    }
    with stage.open(access, **how) as web:
        routed = {
            (method, route.path)
            for route in stage.page.routes
            for method in (getattr(route, "methods", None) or set()) - {"HEAD"}
        }
        assert routed == set(needed)
        for (method, route), wanted in needed.items():
            if wanted is None:
                continue
            path = re.sub(r"{([^}]+)}", lambda found: filled.get(found[1], "0" * 32), route)
            for right, token in rights.items():
                is_open = wanted is right
                if is_open and route.endswith("/events"):  # would never end
                    continue
                headers = {"Authorization": f"Bearer {token.secret}"} if token else {}
                headers |= SAME | {"Content-Length": "0"} | ({} if "/api/" in path else FORM)
                status = web(method, path, headers).status
                refusal = 401 if token is None else 403
                assert (status == refusal) is not is_open, (method, route, right, status)
    assert {do for do, _ in stage.commands} <= {
        "pause",
        "again",
        "choose",
        "retry",
        "cancel",
        "approve",
        "presets",
    }


def test_what_the_daemon_refuses_is_said(stage, web):
    stage.add()

    def refuse(_do, _arguments):
        raise NotDone("it is <b>delivered</b> already")

    stage.answer = refuse
    answer = web.post("/jobs/clip1/cancel")
    assert answer.status == 409
    assert "it is &lt;b&gt;delivered&lt;/b&gt; already" in answer.text
    stage.answer = lambda _do, _arguments: [{"id": "clip1", "done": False, "why": "there is no such job"}]
    assert "there is no such job" in web.post("/jobs/clip1/cancel").text


def test_logging_in_gives_a_session_that_only_this_site_can_use_until_it_is_ended(stage, web):
    stage.add()
    answer = web.post("/login", SAME, token=TOKEN)
    cookie = answer.getheader("Set-Cookie")
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in cookie.split(";")}
    assert TOKEN not in cookie
    session = {"Cookie": cookie.partition(";")[0]}
    assert web.post("/jobs/clip1/cancel", SAME | session).status == 303
    assert web.post("/logout", SAME | session).status == 303
    refused = web.post("/jobs/clip1/cancel", SAME | session)
    assert (refused.status, refused.text[:40]) == (401, "Not done: you are not logged in (any more). "[:40])
    assert web.post("/logout", SAME | session).to == "/", "nothing is to be ended any more"
    session = {"Cookie": web.log_in()}
    stage.now += 13 * 3600
    assert web.post("/jobs/clip1/cancel", SAME | session).status == 401
    assert len(stage.commands) == 1


@pytest.mark.parametrize(
    ("to", "where"),
    [
        ("/jobs/clip1", "/jobs/clip1"),
        ("/inbox/B%C3%BCro-1?mend=day%2Fa+b.mp4", "/inbox/B%C3%BCro-1?mend=day%2Fa+b.mp4"),
        ("", "/"),
        ("/?//evil.test", "/?//evil.test"),
        ("//evil.test/", "/"),
        ("/\\evil.test", "/"),
        ("https://evil.test/", "/"),
        ("/a\r\nSet-Cookie: a=b", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_after_the_log_in_it_goes_on_where_it_was_and_never_elsewhere(web, to, where):
    assert web.post("/login", SAME, token=TOKEN, to=to).to == where
    assert f'name="to" value="{where}"' in web.get(f"/login?{urlencode({'to': to})}").text


def test_a_slash_too_many_leads_to_the_page_and_never_to_another_host_or_out_of_tls(stage, web):
    stage.add()
    for asked, to in (
        ("/jobs/?q=a%20b", "/jobs?q=a%20b"),
        ("/jobs/clip1//", "/jobs/clip1"),
        ("/login/", "/login"),
    ):
        answer = web.get(asked)
        assert (answer.status, answer.to) == (307, to)
    for asked in ("//evil.test/", "//jobs/", "/nothing/", "/jobs/clip1/nothing/at/all/", "/static/"):
        assert web.get(asked).status == 404, asked
    assert web.post("/jobs/clip1/cancel/").status == 404
    assert stage.commands == []


def test_one_whose_session_ended_comes_back_to_the_very_list_that_was_asked_for(stage):
    beyond = AccessRules((Token(TOKEN),), must_log_in=True)
    with stage.open(beyond) as web:
        for asked in ("/jobs?state=failed&q=a%20b", "/inbox/B%C3%BCro", "/jobs/clip1"):
            login = web.get(asked, Accept="text/html").to
            found = re.search('name="to" value="([^"]*)"', web.get(login).text)[1]
            to = html.unescape(found)
            assert web.post("/login", SAME, token=TOKEN, to=to).to == asked


def test_one_who_comes_by_a_link_of_another_site_goes_on_without_a_second_log_in(stage):
    with stage.open(AccessRules((Token(TOKEN),), must_log_in=True)) as web:
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        to = web("GET", "/inbox/bay?mend=a%20b", link | {"Accept": "text/html"}).to
        assert '<a href="./inbox/bay?mend=a%20b">go on</a>' in web("GET", to, link).text
        assert "go on" not in web("GET", to, SAME).text


def test_an_inbox_named_all_is_paused_alone(stage, web):
    web.post("/inboxes/*/pause")
    web.post("/inboxes/all/pause")
    assert "all inboxes" in web.get("/inboxes/*/pause").text
    state = stage.state

    def with_all():
        (status, conditions) = state().result()
        future = Future()
        future.set_result(({**status, "inboxes": [{**status["inboxes"][0], "name": "all"}]}, conditions))
        return future

    stage.state = with_all
    stage.commands.clear()
    with stage.open() as other:
        assert "the inbox all" in other.get("/inboxes/all/pause").text
        other.post("/inboxes/all/resume")
        other.post("/inboxes/*/resume")
    assert stage.commands == [("resume", {"inbox": "all"}), ("resume", {"inbox": None})]


def test_two_daemons_on_one_machine_do_not_end_each_others_sessions(web, tmp_path):
    (tmp_path / "other").mkdir()
    other = Stage(tmp_path / "other")
    with other.open() as second:
        cookies = [web.log_in(), second.log_in()]
        assert len({cookie.partition("=")[0] for cookie in cookies}) == 2
        both = SAME | {"Cookie": "; ".join(cookies)}
        assert web.post("/logout", both).status == 303
        assert web.post("/jobs/clip1/cancel", both).status == 401
        assert second.post("/jobs/clip1/cancel", both).status == 303
    other.journal.close()


def test_behind_tls_the_cookie_is_for_tls_only(web):
    host = "localhost"
    answer = web.post("/login", {"Host": host, "Origin": f"https://{host}"}, token=TOKEN)
    assert "Secure" in answer.getheader("Set-Cookie")


def test_one_who_guesses_is_asked_to_wait_and_locks_nobody_out(stage, web):
    with capture_logs() as logged:
        answers = [web.post("/login", SAME, token=f"wrong-token-number-{i}").status for i in range(12)]
        assert answers == [401] * 9 + [429] * 3
        stage.now += 11
        assert web.post("/jobs/clip1/cancel", {"Authorization": "Bearer wrong-token-of-length"}).status == 429
    assert web.post("/login", SAME, token=TOKEN).status == 303
    assert web.get("/", **BEARER).status == 200
    assert [(one["event"], one["tries"], one["caller"]) for one in logged] == [
        ("login_refused", 1, "127.0.0.1"),
        ("login_refused", 12, "127.0.0.1"),
    ]
    assert stage.wrong_tokens == 13


def test_the_log_in_of_a_web_server_in_front_is_not_taken_for_a_token(stage, web):
    for theirs in ("Basic dTpw", "Digest username=u", "Negotiate YII=", "nonsense", ""):
        for path in ("/", "/healthz", "/static/page.css"):
            assert web.get(path, Authorization=theirs).status in {200, 404}, theirs
    session = SAME | {"Cookie": web.log_in(), "Authorization": "Basic dTpw"}
    stage.add()
    assert web.post("/jobs/clip1/cancel", session).status == 303
    assert stage.wrong_tokens == 0


@pytest.mark.parametrize("theirs", ['odd="a b', "ü=1", "[x]=y", "=", 'json={"a":"b;c"}', "a b=c"])
def test_a_cookie_of_another_program_does_not_end_the_session(stage, web, theirs):
    stage.add()
    session = SAME | {"Cookie": f"{theirs}; {web.log_in()}".encode().decode("latin-1")}
    assert web.post("/jobs/clip1/cancel", session).status == 303


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "file://localhost"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    ],
)
def test_a_form_of_another_site_changes_nothing_even_with_the_session(stage, web, headers):
    stage.add()
    session = {"Cookie": web.log_in(), "Host": "localhost"}
    assert web.post("/jobs/clip1/cancel", session | headers).status == 403
    assert web.post("/login", {"Host": "localhost"} | headers, token=TOKEN).status == 403
    assert stage.commands == []
    assert web.post("/jobs/clip1/cancel", session | {"Origin": "http://localhost"}).status == 303


def test_other_bodies_and_methods_are_refused(stage, web):
    stage.add()
    asked = "/jobs/clip1/cancel"
    assert web("POST", asked, BEARER | {"Content-Type": "application/json"}, b"{}").status == 415
    assert web("POST", asked, BEARER | {"Content-Type": "text/plain"}, b"a=b").status == 415
    assert web("POST", asked, BEARER | FORM, b"a=" + b"x" * 20_000).status == 413
    assert web("POST", asked, BEARER | FORM | {"Content-Length": "-1"}).status in {400, 413}
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert web(method, asked, BEARER).status == 405
    assert stage.commands == []


def test_a_form_of_two_lengths_brings_no_second_request_with_it(stage, web):
    approve = b"POST /jobs/clip1/approve HTTP/1.1\r\nHost: localhost\r\n"
    head = approve + f"Authorization: Bearer {TOKEN}\r\nContent-Type: {FORM['Content-Type']}\r\n".encode()
    both = head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    with connect(web.address, both + head + b"Content-Length: 0\r\n\r\n") as line:
        answers = b"".join(iter(lambda: line.recv(65_536), b""))
    assert answers.startswith(b"HTTP/1.1 411 ")
    assert answers.count(b"HTTP/1.1 ") == 1
    assert not stage.commands


def test_without_a_token_set_nothing_can_be_changed_by_anybody(stage):
    stage.add(state=State.IN_DOUBT, held=Held.IN_DOUBT)
    with stage.open(AccessRules()) as web:
        for headers in (SAME, {"Authorization": "Bearer "}, {"Authorization": "Bearer None"}):
            assert web.post("/jobs/clip1/retry", headers).status in {401, 403}
            assert web.post("/login", SAME | headers, token="").status in {401, 403}
        page = web.get("/").text
        assert "/jobs/clip1/retry" not in page
        assert "CLIPSPOOL_WEB__TOKEN" in page
    assert stage.commands == []


@pytest.mark.parametrize(
    "path", ["/jobs/clip1/source", "/jobs/clip1/result/1", "/events", "/static/page.js", "/"]
)
def test_another_site_can_embed_nothing_but_may_link_to_it(stage, web, path):
    stage.deliver()
    for mode, dest in (("no-cors", "image"), ("no-cors", "video"), ("cors", "empty"), ("navigate", "iframe")):
        headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
        assert web("GET", path, headers).status == 403
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert web("HEAD" if path == "/events" else "GET", path, link).status in {200, 405}


def test_beyond_this_machine_strangers_see_nothing_but_the_log_in(stage):
    stage.deliver()
    access = AccessRules((Token(TOKEN),), is_near=False, must_log_in=True, hosts=("clips.example.com",))
    facts = {"inboxes": {"bay": {"why": "/mnt/bay is not the inbox it was"}}}
    with stage.open(access, health=lambda: {"ok": False, **facts}, metrics=lambda: b"x 1\n") as web:
        for path in ("/", "/jobs", "/jobs/clip1", "/jobs/clip1/source", "/jobs/clip1/result/1", "/events"):
            assert web.get(path).status == 401
        assert web.get("/jobs/clip1", Accept="text/html").to == "/login?to=/jobs/clip1"
        assert web.get("/metrics").status == 401
        assert web("GET", "/metrics", BEARER).status == 200
        for path in ("/login", "/static/icon.svg", "/healthz", "/static/nothing", "/login/x"):
            answer = web.get(path)
            assert b"bay" not in answer.body
            assert b"shot" not in answer.body
        assert json.loads(web.get("/healthz").body) == {"ok": False}
        assert json.loads(web("GET", "/healthz", BEARER).body) == {"ok": False, **facts}
        session = {"Cookie": web.log_in()}
        assert web("GET", "/jobs/clip1", session).status == 200
        assert web("GET", "/", session | {"Host": "clips.example.com"}).status == 200
        assert web("GET", "/", session | {"Host": "10.1.2.3:8765"}).status == 200
        assert web("GET", "/", session | {"Host": "other.example.com"}).status == 421


def test_every_answer_carries_the_rules_that_keep_script_out(stage, web):
    stage.deliver()
    paths = ["/", "/jobs", "/jobs/clip1", "/jobs/clip1/source", "/static/page.js", "/nothing", "/login"]
    answers = [web.get(path) for path in paths] + [web.get("/", Host="evil.test"), web("PUT", "/", {})]
    for answer in answers:
        policy = answer.getheader("Content-Security-Policy")
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        assert answer.getheader("X-Frame-Options") == "DENY"
        assert answer.getheader("Cross-Origin-Resource-Policy") == "same-origin"
        assert answer.getheader("Cache-Control")
        assert answer.getheader("Server") is None


# --- what comes from others ------------------------------------------------------------------------------


def test_script_in_names_prompts_and_messages_stays_text(stage, web):
    evil = f"\"'`{SCRIPT}`<img src=x onerror=alert(1)>"
    error = Error(evil, evil, evil)
    stage.add(
        "bad1",
        path=f"{SCRIPT.replace('/', '')}.mp4",
        request=a_request(prompt=evil),
        state=State.FAILED,
        error=error,
    )
    stage.add(
        "bad2", state=State.IN_DOUBT, held=Held.IN_DOUBT, reason=evil, task=a_task(evidence={evil: evil})
    )
    stage.deliver("bad3", name="<b onclick=x>.mp4", variant='_"><i>', request=a_request(prompt=evil))
    stage.waiting = [{"path": evil, "reason": evil, "since": "2026-01-01T00:00:00Z", "problem": True}]
    paths = ["/", "/jobs", f"/jobs?{urlencode({'q': evil})}", f"/jobs?{urlencode({'inbox': evil})}"]
    paths += ["/jobs/bad1", "/jobs/bad2", "/jobs/bad3", "/jobs/bad3/compare/1", "/jobs/bad2/retry"]
    for path in paths:
        answer = web("GET", path, BEARER)
        assert answer.status == 200, path
        assert answer.text.count(SCRIPT) == 0
        seen = Tags()
        seen.feed(answer.text)
        assert [followed(path, one) for one in seen.scripts] == ["/static/page.js"]
        assert not seen.names & {"iframe", "object", "embed", "base"}
        assert not {name for name in seen.attributes if name.startswith("on") or name == "style"}
        assert set(seen.links) <= {"", "#main", "#spend"}


class Tags(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self):
        super().__init__()
        self.names, self.attributes, self.scripts, self.links = set(), set(), [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.names.add(tag)
        self.attributes.update(given)
        if tag == "script":
            self.scripts.append(given.get("src"))
        self.links += [
            url
            for name in ("src", "href", "action")
            if not (url := given.get(name) or "").startswith(("./", "../"))
        ]


def test_marks_that_turn_the_direction_of_text_are_shown_escaped(stage, web):
    stage.add(path="shot\u202e4pm.exe.mp4", request=a_request(prompt="a\u202eb\u0000c"))
    for path in ("/jobs", "/jobs/clip1"):
        text = web.get(path).text
        assert "\u202e" not in text
        assert "\\u202e" in text


def test_names_that_are_not_utf8_are_shown_escaped_and_their_films_are_served(stage, web):
    stage.deliver(name="caf\udce9.mp4", path=ODD)
    for path in ("/", "/jobs", "/jobs/clip1"):
        answer = web.get(path)
        assert answer.status == 200
        answer.body.decode()
        assert "caf\\xe9/sh\\xf6t.mp4" in answer.text
    assert web.get("/jobs/clip1/source").body == FILM
    assert web.get("/jobs/clip1/result/1").body == FILM[::-1]


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/../../etc/passwd/source",
        "/jobs/..%2f..%2fetc%2fpasswd/source",
        "/jobs/%2e%2e/source",
        "/jobs/clip1%00/source",
        "/jobs/clip1/result/..%2f..%2fprivate%2ffilm.mp4",
        "/jobs/clip1/result/-1",
        "/jobs/clip1/result/0",
        "/jobs/clip1/result/2",
        "/jobs/clip1/result/99999999999999999999",
        "/jobs/clip1/poster/../../journal.db",
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/static//etc/passwd",
        "//etc/passwd",
        "/static/%00",
        "/jobs/%ff%fe",
        "/jobs/" + "a" * 5000,
    ],
)
def test_no_address_leads_out_of_the_known_folders(stage, web, path):
    stage.deliver()
    answer = web.get(path)
    assert answer.status in {400, 404}, answer.text[:200]
    for secret in (b"root:", PRIVATE, b"import", b"SQLite"):
        assert secret not in answer.body


def test_a_link_in_the_place_of_a_film_is_not_followed(stage, web):
    stage.deliver()
    work = stage.home / "bay" / folder_of("clip1")
    for there in (work / "clip.mp4", stage.home / "results/shot.mp4"):
        there.unlink()
        there.symlink_to(stage.home / "private/film.mp4")
    assert web.get("/jobs/clip1/source").status == 404
    assert web.get("/jobs/clip1/result/1").status == 404
    work.joinpath("clip.mp4").unlink()
    os.mkfifo(work / "clip.mp4")
    assert web.get("/jobs/clip1/source").status == 404


def test_a_folder_of_pictures_is_downloaded_as_a_zip_of_them(stage, web):
    folder = stage.home / "results/shot"
    folder.mkdir()
    for number in range(3):
        (folder / f"f.{number:04}.png").write_bytes(FILM + bytes([number]))
    (folder / "notes.txt").write_bytes(b"not of the film")
    results = (replace(RESULT, name="shot", suffix=FOLDER),)
    stage.add(state=State.DELIVERED, results=results, paid=Paid.YES, task=a_task())
    assert "Download as ZIP" in web("GET", "/jobs/clip1", BEARER).text
    answer = web("GET", "/jobs/clip1/result/1?download=1", BEARER)
    assert answer.headers["content-disposition"].endswith("shot.zip")
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found == {f"shot/f.{number:04}.png": FILM + bytes([number]) for number in range(3)}
    shutil.rmtree(folder)
    assert web("GET", "/jobs/clip1/result/1", BEARER).status == 404


def test_a_folder_that_is_a_link_is_not_entered(stage, web):
    stage.deliver()
    work = stage.home / "bay" / folder_of("clip1")
    work.rename(stage.home / "private/work")
    work.symlink_to(stage.home / "private/work")
    assert web.get("/jobs/clip1/source").status == 404


def test_a_result_whose_name_leads_away_is_not_served(stage, web):
    for number, name in enumerate(("../private/film.mp4", "/etc/passwd", "a/../../private/film.mp4")):
        results = (replace(RESULT, name=name),)
        stage.add(f"bad{number}", state=State.DELIVERED, results=results)
        assert web.get(f"/jobs/bad{number}/result/1").status == 404


# --- media ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "status", "begin", "end"),
    [
        ("bytes=0-", 206, 0, None),
        ("bytes=0-0", 206, 0, 1),
        ("bytes=100-199", 206, 100, 200),
        ("bytes=10000-99999", 206, 10_000, None),
        ("bytes=-16", 206, -16, None),
        ("bytes=-999999", 206, 0, None),
        ("bytes=5-1", 200, 0, None),
        ("bytes=0-1,5-6", 200, 0, None),
        ("lines=1-2", 200, 0, None),
        ("bytes=x", 200, 0, None),
    ],
)
def test_a_player_gets_the_part_of_a_film_that_it_asks_for(stage, web, wanted, status, begin, end):
    stage.add()
    answer = web.get("/jobs/clip1/source", Range=wanted)
    assert (answer.status, answer.body) == (status, FILM[begin:end])
    if status == 206:
        first = begin % len(FILM)
        last = first + len(answer.body) - 1
        assert answer.getheader("Content-Range") == f"bytes {first}-{last}/{len(FILM)}"


def test_a_part_that_is_not_there_is_refused(stage, web):
    stage.add()
    for wanted in (f"bytes={len(FILM)}-", "bytes=-0"):
        answer = web.get("/jobs/clip1/source", Range=wanted)
        assert (answer.status, answer.getheader("Content-Range")) == (416, f"bytes */{len(FILM)}")


def test_a_film_that_changed_is_sent_whole_and_one_that_did_not_is_not_sent_again(stage, web):
    stage.add()
    first = web.get("/jobs/clip1/source")
    tag = first.getheader("ETag")
    assert first.getheader("Content-Type") == "video/mp4"
    assert web.get("/jobs/clip1/source", If_None_Match=tag).status == 304
    assert web.get("/jobs/clip1/source", Range="bytes=0-9", If_Range=tag).status == 206
    answer = web.get("/jobs/clip1/source", Range="bytes=0-9", If_Range='"other"')
    assert (answer.status, answer.body) == (200, FILM)
    head = web("HEAD", "/jobs/clip1/source", {})
    assert (head.status, head.getheader("Content-Length"), head.body) == (200, str(len(FILM)), b"")


def test_posters_are_served_from_the_inbox(stage, web):
    stage.deliver()
    answer = web.get("/jobs/clip1/poster/1")
    assert (answer.status, answer.getheader("Content-Type")) == (200, "image/svg+xml")
    posters = stage.home / "bay" / OURS / "posters"
    posters.mkdir(parents=True)
    (posters / "clip1.jpg").write_bytes(b"\xff\xd8 a picture")
    (posters / "clip1-2.jpg").write_bytes(b"\xff\xd8 another")
    assert web.get("/jobs/clip1/poster/1").body == b"\xff\xd8 a picture"
    assert web.get("/jobs/clip1/poster/2").body == b"\xff\xd8 another"
    assert web.get("/jobs/clip1/poster/1").getheader("Content-Type") == "image/jpeg"


# --- what it shows --------------------------------------------------------------------------------------


def test_a_job_in_doubt_shows_its_evidence_and_what_each_way_out_may_cost(stage, web):
    evidence = {"bytes_written": 755_928, "http_status": 500}
    stage.add(
        state=State.IN_DOUBT,
        held=Held.IN_DOUBT,
        paid=Paid.UNKNOWN,
        reason="HTTP 500",
        credits_estimated=45.0,
        task=a_task(task_id=None, evidence=evidence),
    )
    page = web("GET", "/jobs/clip1", BEARER).text
    for words in ("755928", "http_status", "/jobs/clip1/attach", "/jobs/clip1/retry", "/jobs/clip1/cancel"):
        assert words in page
    asked = web("GET", "/jobs/clip1/retry", BEARER).text
    assert "about 45 credits" in asked
    assert "may have been charged already" in asked
    assert "is lost" in web("GET", "/jobs/clip1/cancel", BEARER).text
    assert 'name="task_id"' in web("GET", "/jobs/clip1/attach", BEARER).text
    assert "there is nothing to approve" in web("GET", "/jobs/clip1/approve", BEARER).text


@pytest.mark.parametrize(("fps", "frame"), [("30/1", 'data-frame="0.0333'), ("", 'data-frame=""')])
def test_the_player_steps_by_the_frames_of_the_result(stage, web, fps, frame):
    results = (replace(RESULT, name="shot.mp4", fps=fps),)
    stage.add(state=State.DELIVERED, results=results, paid=Paid.YES, task=a_task())
    assert frame in web("GET", "/jobs/clip1/compare/1", BEARER).text


def test_where_some_of_several_jobs_are_refused_the_page_says_how_many_were_done(stage, web):
    stage.answer = lambda _do, _given: [
        {"id": "dear0", "done": True},
        *({"id": name, "done": False, "why": "it is not held. See its page."} for name in ("dear1", "dear2")),
    ]
    said = web.post("/all/approve", ids="dear0,dear1,dear2").text
    assert "Done for 1 of 3 jobs. Not done for the others: it is not held. See its page.<" in said
    stage.answer = lambda _do, _given: [{"id": "dear1", "done": False, "why": "it is delivered"}]
    assert "Not done: it is delivered.<" in web.post("/all/approve", ids="dear1").text


def test_several_jobs_are_approved_at_once_after_their_price_was_said_and_doubts_are_not_among_them(
    stage, web
):
    for number in range(3):
        stage.add(f"dear{number}", held=Held.BUDGET, credits_estimated=150.0)
    stage.add("doubt1", state=State.IN_DOUBT, held=Held.IN_DOUBT, paid=Paid.UNKNOWN)
    assert "/all/approve?ids=dear2,dear1,dear0" in web("GET", "/", BEARER).text
    asked = web("GET", "/all/approve?ids=dear0,dear2,doubt1,dear0,unknown", BEARER).text
    assert "2 jobs will be sent and charged: about 300 credits" in asked
    assert 'value="dear0,dear2"' in asked
    assert "The account has" not in asked, "the provider does not tell"
    assert web("GET", "/all/retry?ids=doubt1", BEARER).status == 409
    assert "Tick the boxes" in web("GET", "/all/retry?", BEARER).text  # as the form asks without one
    assert stage.commands == []
    assert web.post("/all/approve", ids="dear0,dear2").status == 303
    assert stage.commands == [("approve", {"ids": ["dear0", "dear2"], "by": "the page"})]
    stage.add("short1", state=State.FETCHED, held=Held.RESULT, credits_estimated=500.0, paid=Paid.YES)
    stage.balance = {"amount": 300.0, "unit": "credits"}
    with stage.open() as other:
        asked = other("GET", "/all/approve?ids=dear0,dear2,short1", BEARER).text
        assert "1 will be delivered as downloaded, at no cost." in asked
        assert "2 jobs will be sent and charged: about 300 credits" in asked
        assert "The account has 300 credits." in asked
    for path, ids in (
        ("/all/attach", "dear0"),
        ("/all/retry", ""),
        ("/all/retry", "a,../b"),
        ("/all/pause", "a"),
    ):
        assert web.post(path, ids=ids).status == 404
    assert web.post("/all/approve", SAME, ids="dear0").status == 401


def test_all_that_is_held_for_its_price_is_approved_by_one_decision_and_doubts_come_first(stage, web):
    for number in range(30):
        inbox = "bay" if number % 3 else "hall"
        stage.add(f"dear{number:02}", held=Held.BUDGET, credits_estimated=10.0, inbox=inbox)
    stage.add("bad1", held=Held.POISON)
    stage.add("a-doubt", state=State.IN_DOUBT, held=Held.IN_DOUBT, paid=Paid.UNKNOWN)
    overview = web("GET", "/", BEARER).text
    assert 'id="held-a-doubt"' in overview, "it is older than the twelve newest"
    assert '<a class="button soft" href="./all/approve?kind=budget">Approve all 30</a>' in overview
    asked = web("GET", "/all/approve?kind=budget", BEARER).text
    assert "30 jobs will be sent and charged: about 300 credits" in asked
    ids = re.search(r'name="ids" value="([^"]+)"', asked)[1]
    assert ("bad1" in ids, "a-doubt" in ids) == (False, False)
    assert "10 jobs will be sent" in web("GET", "/all/approve?kind=budget&inbox=hall", BEARER).text
    for path in ("approve?kind=poison", "cancel?kind=budget", "retry?kind=budget", "approve?kind="):
        assert web("GET", f"/all/{path}", BEARER).status == 404, path
    assert web("GET", "/all/approve?kind=duplicate", BEARER).status == 409
    assert web.post("/all/approve", ids=ids + "".join(f",{'x' * 60}{n}" for n in range(1000))).status == 303
    assert len(stage.commands[0][1]["ids"]) == 1030


def test_a_timelines_jobs_are_one_group_with_its_price_and_one_approval(stage, web):
    for number in range(3):
        asked = a_request(timeline="t1", timeline_name="day/cut.edl", timeline_credits=30.0)
        stage.add(f"cut{number}", held=Held.BUDGET, credits_estimated=10.0, request=asked)
    stage.add("alone", held=Held.BUDGET, credits_estimated=10.0)
    overview = web("GET", "/", BEARER).text
    assert overview.count("about 30 credits for the whole timeline") == 1
    assert overview.index("day/cut.edl") < overview.index('id="held-cut0"')
    asked = web("GET", re.search(r'href="\.(/all/approve\?timeline=[^"]+)"', overview)[1], BEARER).text
    assert "3 jobs will be sent and charged: about 30 credits" in asked
    assert sorted(re.search(r'name="ids" value="([^"]+)"', asked)[1].split(",")) == ["cut0", "cut1", "cut2"]
    assert web("GET", "/all/cancel?timeline=t1", BEARER).status == 404


def test_failed_jobs_are_retried_together_when_all_is_said(stage, web):
    error = Error("INTERNAL", "it broke", retryable=True, paid=Paid.YES)
    for number in range(2):
        stage.add(f"bad{number}", state=State.FAILED, error=error, paid=Paid.YES, credits_estimated=None)
    assert "/all/retry?ids=bad1,bad0" in web("GET", "/jobs?state=failed", BEARER).text
    asked = web("GET", "/all/retry?ids=bad1,bad0", BEARER).text
    assert "the cost is unknown" in asked
    assert "2 of them may have been charged already" in asked
    assert "/all/retry" not in web.get("/jobs?state=failed").text


def test_what_was_dropped_and_why_it_waits_is_shown(stage, web):
    stage.waiting = [
        {
            "path": "typo.mp4",
            "reason": "unknown key `promt`",
            "since": "2027-01-15T11:00:00Z",
            "problem": True,
        }
    ]
    page = web.get("/").text
    assert "typo.mp4" in page
    assert "unknown key <code>promt</code>" in page


def test_of_many_files_that_wait_those_with_a_problem_are_shown(stage):
    since = {"reason": "it is still written to", "since": "2027-01-15T11:00:00Z"}
    stage.waiting = [{"path": f"{number}.mp4", "problem": False, **since} for number in range(300)]
    stage.waiting.append({"path": "typo.mp4", "problem": True, **since})
    with stage.open(clips=clip_doors(stage)) as web:
        for path in ("/", "/inbox/bay"):
            assert "typo.mp4" in web.get(path).text


def test_time_left_is_the_median_of_this_models_tasks(stage, web, monkeypatch):
    monkeypatch.setattr(cache, "FRESH_SECONDS", 0.0)
    with stage.journal.turn():
        for number, seconds in enumerate((60, 100, 900)):
            job = a_job(f"old{number}", state=State.DELIVERED, task=a_task())
            stage.journal.accept(a_clip(job.clip_id), [job])
            stage.journal._add_event(NOON + seconds, job.clip_id, job.id, "task_succeeded", None, None, {})
    stage.add(state=State.RUNNING, task=a_task(), progress=0.25)
    stage.now = NOON + 40
    page = web.get("/jobs/clip1").text
    assert "about 60 s left" in page
    assert "median of 3 tasks" in page
    assert 'value="25"' in page
    stage.now = NOON + 400
    assert "5 min over the usual 2 min" in web.get("/jobs/clip1").text


def test_a_daemon_that_does_not_answer_leaves_the_page_with_what_it_last_knew(stage, web, monkeypatch):
    monkeypatch.setattr(cache, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(cache, "ANSWER_SECONDS", 0.3)
    stage.add()
    assert "running" in web.get("/").text
    stage.is_busy = True
    answer = web.get("/")
    assert answer.status == 200
    assert "the daemon is slow to answer" in answer.text


def test_metrics_and_health_are_there_when_they_are_given(stage):
    with stage.open(metrics=lambda: b"clipspool_up 1\n", health=lambda: {"ok": False, "why": "late"}) as web:
        answer = web.get("/metrics")
        assert (answer.status, answer.body) == (200, b"clipspool_up 1\n")
        assert answer.getheader("Content-Type").startswith("text/plain; version=0.0.4")
        answer = web.get("/healthz")
        assert (answer.status, json.loads(answer.body)) == (503, {"ok": False, "why": "late"})
    with stage.open() as web:
        assert web.get("/metrics").status == web.get("/healthz").status == 404


# --- news -----------------------------------------------------------------------------------------------


def listen(address):
    line = socket.create_connection(address, timeout=10)
    line.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    stream = line.makefile("rb")
    until(stream, b"event: change")
    return line, stream


def until(stream, words):
    for line in stream:
        if words in line:
            return
    raise AssertionError(f"the stream ended before {words}")


def test_news_reaches_open_pages_and_a_thousand_at_once_are_few(stage, web):
    line, stream = listen(web.address)
    before, begun = stage.page.changes.version, time.monotonic()
    for _ in range(1000):
        stage.page.listener(ProviderUnblocked())
        time.sleep(0.001)
    until(stream, b"event: change")
    assert 1 <= stage.page.changes.version - before <= 2 + (time.monotonic() - begun) / REST_SECONDS
    stream.close()
    line.close()


def test_what_no_news_tells_reaches_open_pages_too(stage, web, monkeypatch):
    monkeypatch.setattr(changes, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(cache, "FRESH_SECONDS", 0.0)
    stage.page.listener(ProviderUnblocked())  # the old pause ends
    line, stream = listen(web.address)
    stage.waiting = [{"path": "new.mp4", "reason": "no sidecar", "since": "2027-01-15T11:00:00Z"}]
    until(stream, b"event: change")
    stage.waiting = []
    until(stream, b"event: change")
    stream.close()
    line.close()


def test_the_end_of_the_daemon_ends_open_streams_at_once(stage):
    with stage.open() as web:
        line, stream = listen(web.address)
    assert not [one for one in threading.enumerate() if one.name == "page"]
    stream.close()
    line.close()


# --- strangers who hold the line ------------------------------------------------------------------------


HALF_A_FORM = b"""POST /login HTTP/1.1\r
Host: localhost\r
Sec-Fetch-Site: same-origin\r
Content-Type: application/x-www-form-urlencoded\r
Content-Length: 9\r
\r
token"""


def hangs_up(line):
    line.settimeout(20)
    try:
        return line.recv(1) == b""
    except ConnectionError:
        return True


def connect(address, words=b""):
    line = socket.create_connection(address, timeout=10)
    line.sendall(words)
    return line


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"GET /login HTTP/1.1\r\nHost: localhost\r\nX: ",
        HALF_A_FORM,
    ],
    ids=["silence", "half a head", "half a form"],
)
def test_one_who_does_not_get_to_the_point_is_hung_up_on_and_open_pages_are_not(
    stage, web, monkeypatch, words
):
    monkeypatch.setattr(callers, "ASK_SECONDS", 0.3)
    open_page, stream = listen(web.address)
    with connect(web.address, words) as line:
        assert hangs_up(line)
    stage.page.listener(ProviderUnblocked())
    until(stream, b"event: change")
    stream.close()
    open_page.close()


def drip(line):
    for _ in range(200):
        line.sendall(b"A")
        time.sleep(0.05)


def test_one_who_drips_behind_an_answer_is_hung_up_on_too(web, monkeypatch):
    monkeypatch.setattr(callers, "ASK_SECONDS", 0.5)
    with connect(web.address, b"GET /static/page.css HTTP/1.1\r\nHost: localhost\r\n\r\n") as line:
        assert line.recv(12) == b"HTTP/1.1 200"
        with pytest.raises(ConnectionError):
            drip(line)


def test_one_who_never_reads_is_hung_up_on_and_a_slow_reader_is_not(stage, web, monkeypatch):
    monkeypatch.setattr(callers, "UNREAD_SECONDS", 2.0)
    asked = b"GET /static/page.css HTTP/1.1\r\nHost: localhost\r\n\r\n"
    open_now = stage.page._server.server_state.connections
    end = time.monotonic() + patient(20)
    with connect(web.address) as slow, connect(web.address) as silent, ThreadPoolExecutor() as senders:
        for line in (slow, silent):
            senders.submit(send_all, line, asked * 5000)  # far more than the system keeps for a reader
        assert slow.recv(1)
        while len(open_now) > 1:
            assert time.monotonic() < end, "it is kept for one who does not read"
            assert slow.recv(1 << 19), "a slow one is not"
            time.sleep(0.1)
        slow.close()
        silent.close()


def send_all(line, data):
    with suppress(OSError):
        line.sendall(data)


@pytest.mark.parametrize(
    "words",
    [
        b"no request\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n",
    ],
    ids=["noise", "two hosts", "upgrade"],
)
def test_what_strangers_send_fills_no_log(web, caplog, words):
    with connect(web.address, words) as line:
        assert line.recv(8) == b"HTTP/1.1"
        while line.recv(65_536):
            pass
    assert not caplog.records


def test_any_number_of_strangers_leaves_the_daemon_its_descriptors(web, monkeypatch):
    monkeypatch.setattr(callers, "callers_max", lambda: 40)
    before = len(list(Path("/proc/self/fd").iterdir()))
    lines = [connect(web.address) for _ in range(200)]
    try:
        refused = [line for line in lines[-100:] if hangs_up(line)]
        assert len(refused) == 100
        assert len(list(Path("/proc/self/fd").iterdir())) - before - len(lines) <= 100
    finally:
        for line in lines:
            line.close()


# --- the door -------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_said_in_one_sentence(web):
    host, port = web.address
    with pytest.raises(
        CannotListen, match=rf"^The page cannot listen on {host}:{port} \(`web.listen`\): another"
    ):
        PageSocket(f"{host}:{port}")
    with pytest.raises(CannotListen, match="no such address"):
        PageSocket("192.0.2.1:0")


def test_a_unix_socket_is_for_user_and_group_and_goes_with_the_daemon(stage):
    path = stage.home / "web.sock"
    with stage.open(listen=f"unix:{path}"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(path))
            line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert line.makefile("rb").readline().startswith(b"HTTP/1.1 200")
        with pytest.raises(CannotListen, match="another program"):
            PageSocket(f"unix:{path}")
    assert not path.exists()


def test_a_socket_left_by_a_crash_is_replaced_and_nothing_else_is(stage):
    path = stage.home / "web.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    PageSocket(f"unix:{path}").close()
    path.write_text("precious")
    with pytest.raises(CannotListen, match="no socket"):
        PageSocket(f"unix:{path}")
    assert path.read_text() == "precious"
    with pytest.raises(CannotListen, match="folder does not exist"):
        PageSocket(f"unix:{stage.home}/nowhere/web.sock")


def test_clips_that_a_dead_machine_left_stand_first_with_what_to_type(stage, web):
    stage.peers = [Peer("bay", "aa01", "<b>edit-9</b>", Life.ENDED, 29, NOON - 60)]
    page = web.get("/").text
    assert "29 accepted clips" in page
    assert "clipspool recover --from aa01" in page
    assert "<b>edit-9" not in page
    assert page.index("recover --from") < page.index('id="tiles"')


# --- the editors' page ----------------------------------------------------------------------------------


def waits(path):
    return {"path": path, "reason": "no prompt", "since": "2027-01-15T12:00:00Z", "problem": True}


def test_an_inbox_has_a_page_of_its_own_without_what_only_operators_decide(stage):
    stage.deliver("done1", path="day/done.mp4")
    stage.add("doubt1", path="doubt.mp4", state=State.IN_DOUBT, held=Held.IN_DOUBT, paid=Paid.UNKNOWN)
    stage.waiting = [waits("raw.braw"), *(waits(f"bad{number}.mp4") for number in range(40))]
    with stage.open(clips=clip_doors(stage)) as web:
        page = web("GET", "/inbox/bay", BEARER).text
        assert "bad39.mp4" in page
        assert page.count('#mend"') == 40, "a file that is no clip has no sidecar to mend"
        assert "The operator checks whether it was accepted." in page
        assert "/jobs/doubt1/retry" not in page
        assert "credits today" not in page
        assert 'href="../jobs/done1"' in page
        assert 'id="send"' not in web.get("/inbox/bay").text
        assert web.get("/inbox/nowhere").status == 404
        assert web("GET", "/add", BEARER).to == "/inbox/bay"
        overview = web("GET", "/", BEARER).text
        assert ">and 37 more</a>" in overview
        assert "bad4.mp4" not in overview


def mend(web, who=BEARER, **fields):
    return web("POST", "/inbox/bay/mend", FORM | who, urlencode(fields).encode())


def test_presets_are_offered_with_their_sample_pictures(stage):
    (stage.home / "bay/_presets").mkdir()
    (stage.home / "bay/_presets/winter.png").write_bytes(b"a picture")
    (stage.home / "bay/_presets/evil.png").symlink_to(stage.home / "private/film.mp4")
    names = ("winter", "evil", "plain", "broken")
    presets = [{"name": name, "picture": f"_presets/{name}.png", "problem": ""} for name in names]
    presets[2]["picture"], presets[3]["problem"] = None, "unknown key"
    stage.answer = lambda _do, _given: presets
    with stage.open(clips=clip_doors(stage)) as web:
        page = web("GET", "/inbox/bay", BEARER).text
        assert re.findall(r"<option(?: data-picture=\"[^\"]+\")?>(\w+)</option>", page) == [
            "winter",
            "evil",
            "plain",
        ]
        answer = web.get("/inbox/bay/presets/winter")
        assert (answer.status, answer.getheader("Content-Type"), answer.body) == (
            200,
            "image/png",
            b"a picture",
        )
        for name in ("evil", "plain", "nothing", "..%2f..%2fprivate%2ffilm.mp4"):
            assert web.get(f"/inbox/bay/presets/{name}").status == 404


def test_a_sidecar_is_mended_by_a_plain_form(stage):
    sidecar = stage.home / "bay/shot.toml"
    sidecar.write_text('promt = "winter <b>"\n')
    (stage.home / "bay/shot.mp4").write_bytes(film())
    stage.waiting = [waits("shot.mp4")]
    with stage.open(clips=clip_doors(stage)) as web:
        shown = web("GET", "/inbox/bay?mend=shot.mp4", BEARER).text
        assert "promt = &#34;winter &lt;b&gt;&#34;" in shown
        (version,) = re.findall(r'name="version" value="(\w+)"', shown)
        fields = {"path": "shot.mp4", "version": version}
        wrong = mend(web, **fields, text="pompt = 1")
        assert wrong.status == 409
        assert "It is not saved: shot.toml" in html.unescape(wrong.text)
        assert ">pompt = 1</textarea>" in wrong.text
        saved = mend(web, **fields, text='prompt = "winter"\r\n')
        assert saved.to.startswith("/inbox/bay?saved=shot.mp4")
        assert sidecar.read_text() == 'prompt = "winter"\n'
        assert "changed meanwhile" in mend(web, **fields, text='prompt = "x"').text
        assert mend(web, SAME, **fields, text="x").status == 401
        assert mend(web, path="../private/film.mp4", version="", text="x").status == 409
    assert (stage.home / "private/film.mp4").read_bytes() == PRIVATE


# --- versions -------------------------------------------------------------------------------------------


def test_a_clip_is_run_again_changed_once_its_price_was_seen(stage):
    stage.deliver(request=a_request(prompt="deep winter", seed=7))
    quoted = {"id": "clip1", "done": True, "version": 2, "credits_estimated": 60.0}

    def answer(do, given):
        return [] if do == "presets" else [quoted | {"new": None if given["dry_run"] else "clip1"}]

    stage.answer = answer
    with stage.open(clips=clip_doors(stage)) as web:
        form = web("GET", "/jobs/clip1/again", BEARER).text
        assert ">deep winter</textarea>" in form
        asked = web.post("/jobs/clip1/again", prompt="summer", seed="")
        assert "This will be version 2. It may cost about 60 credits." in asked.text
        assert 'name="version" value="2"' in asked.text
        assert "would be held" not in asked.text
        quoted |= {"held": "budget", "reason": "a job may cost `50`"}
        asked = web.post("/jobs/clip1/again", prompt="summer", seed="")
        assert "It would be held: a job may cost <code>50</code>." in asked.text
        assert ">summer</textarea>" in asked.text
        web.post("/jobs/clip1/again", prompt="summer", seed="9", model="aleph2", sure="1", version="2")
        orders = [given for do, given in stage.commands if do == "again"]
        assert [(one["dry_run"], one["set"], one["prompt"]) for one in orders] == [
            *[(True, {"seed": None}, "summer")] * 2,
            (False, {"seed": 9, "model": "aleph2", "ratio": None}, "summer"),
        ]
        assert [one.get("versions") for one in orders] == [None, None, {"clip1": 2}]
        stage.answer = lambda do, _given: (
            [] if do == "presets" else [{"id": "clip1", "done": False, "why": "no <b>"}]
        )
        refused = web.post("/jobs/clip1/again", prompt="summer", sure="1")
        assert (refused.status, "no &lt;b&gt;" in refused.text) == (409, True)


def test_versions_stand_side_by_side_and_one_is_chosen(stage):
    stage.deliver(request=a_request(prompt="deep winter", seed=7))
    stage.answer = lambda _do, _given: [{"id": "clip1", "done": True}]
    with stage.open(clips=clip_doors(stage)) as web:
        sheet = web("GET", "/jobs/clip1/versions", BEARER).text
        assert "deep winter" in sheet
        assert "seed 7" in sheet
        assert web.post("/jobs/clip1/choose").to == "/jobs/clip1/versions"
        web.post("/jobs/clip1/choose", undo="1")
        assert [given["undo"] for do, given in stage.commands if do == "choose"] == [False, True]
        assert "Choose two versions" in web.get("/jobs/clip1/versions/compare?pick=clip1").text
        first = stage.journal.job("clip1")
        second = replace(first, id="clip1-r2", version=2, variant="v1")
        held = replace(
            first, id="clip1-r3", version=3, state=State.QUEUED, held=Held.BUDGET, reason="too dear"
        )
        with stage.journal.turn():
            for one in (second, held):
                stage.journal.add_job(one)
        assert "too dear" in web("GET", "/jobs/clip1/versions?fresh", BEARER).text
        beside = web.get("/jobs/clip1/versions/compare?pick=clip1&pick=clip1-r2").text
        stage.deliver("other1", name="other.mp4")
        of_another = web.get("/jobs/clip1/versions/compare?pick=clip1&pick=other1")
        assert of_another.status == 409, "versions of one clip alone are compared"
        assert ("Sound of version 2 v1" in beside, "Sound of the result" in beside) == (True, False)
        assert web.get("/jobs/nothing/versions").status == 404


# --- an operator with many jobs -------------------------------------------------------------------------


def test_each_open_job_is_counted_in_one_tile_alone(stage, web):
    stage.add("queued1")
    stage.add("dear1", held=Held.BUDGET)
    stage.add("doubt1", state=State.IN_DOUBT, held=Held.IN_DOUBT, paid=Paid.UNKNOWN)
    stage.add("run1", state=State.RUNNING, task=a_task())
    stage.add("lost1", state=State.RUNNING, held=Held.LOST, task=a_task())
    stage.add("failed1", state=State.FAILED, error=Error("X.Y", "it was refused", "Change the prompt."))
    page = web.get("/").text
    tiles = re.findall(r'class="tile( hot)?"><b>(\d+)(?:<small> / (\d+)</small>)?</b><span>([\w ]+)<', page)
    assert [(label, count) for _, count, _, label in tiles[:5]] == [
        ("need you", "3"), ("failed in a day", "1"), ("queued", "1"), ("under way", "1"), ("delivered", "0"),
    ]  # fmt: skip
    assert [label for hot, _, _, label in tiles if hot] == ["need you", "failed in a day"]
    assert page.index("it was refused") < page.index('id="inboxes"')


def test_several_chosen_jobs_are_decided_at_once(stage):
    for number in range(3):
        stage.add(f"dear{number}", held=Held.BUDGET, credits_estimated=150.0)
    stage.answer = lambda _do, given: [{"id": one, "done": True} for one in given["ids"]]
    stage.balance = {"amount": 250.0, "unit": "credits"}
    with stage.open() as web:
        page = web("GET", "/jobs", BEARER).text
        assert page.count('type="checkbox" name="ids"') == 3
        assert 'type="checkbox" name="ids"' not in web.get("/jobs").text
        asked = web("GET", "/all/approve?ids=dear0&ids=dear2", BEARER)
        assert "2 jobs will be sent and charged: about 300 credits." in asked.text
        assert "The account has 250 credits, which is less than that." in asked.text
        web.post("/all/approve", ids="dear0,dear2")
    assert stage.commands == [("approve", {"ids": ["dear0", "dear2"], "by": "the page"})]


def test_jobs_are_grouped_by_folder(stage, web):
    for number, path in enumerate(("b/1.mp4", "a/2.mp4", "b/3.mp4", "4.mp4")):
        stage.add(f"clip{number}", path=path)
    page = web.get("/jobs?group=folder").text
    headings = re.findall(r'scope="colgroup">([^<]+) <span class="count">(\d)', page)
    assert headings == [("top of the inbox", "1"), ("a", "1"), ("b", "2")]


def test_the_whole_list_is_sorted_by_a_column_page_by_page_without_any_script(stage, web):
    for number in range(60):
        stage.add(f"clip{number:02}", path=f"{number * 7 % 60:02}.mp4", credits_estimated=float(number % 5))

    def names(page):
        return re.findall(r"<a href=\"./jobs/clip\d\d\">([^<]+)</a>", page)

    page = web.get("/jobs").text
    assert 'aria-sort="descending"><a class="sort" href="./jobs?sort=accepted">Accepted' in page
    (to,) = re.findall(r'href="([^"]+)">Clip</a>', page)
    page = web.get(followed("/jobs", to)).text
    assert names(page) == [f"{number:02}.mp4" for number in range(50)]
    assert 'aria-sort="ascending"><a class="sort" href="./jobs?sort=clip&amp;order=down">Clip' in page
    (to,) = re.findall(r'href="([^"]+)" rel="next"', page)
    page = web.get(followed("/jobs", to.replace("&amp;", "&"))).text
    assert names(page) == [f"{number:02}.mp4" for number in range(50, 60)]
    assert 'href="./jobs?sort=clip" rel="prev">Back' in page
    assert names(web.get("/jobs?sort=credits&order=down").text)[:2] == ["53.mp4", "18.mp4"]
    assert len(names(web.get("/jobs?sort=clip&q=1.mp4").text)) == 6
    assert names(web.get("/jobs?sort=accepted").text)[0] == "00.mp4"
    for wrong in ("sort=prompt", "sort=clip&skip=-1", "sort=clip&skip=x", "sort=clip&skip=99999999"):
        assert web.get(f"/jobs?{wrong}").status == 400


def test_work_on_a_clip_shows_how_far_it_has_come(stage, web):
    stage.add(state=State.RENDERED, task=a_task(), progress=1.0)
    before = stage.page._views.fingerprint()
    stage.working = {"clip1": Working("downloading the result", 0.4)}
    time.sleep(cache.FRESH_SECONDS)  # what is known is asked for again
    assert stage.page._views.fingerprint() != before
    for path in ("/jobs", "/jobs/clip1", "/"):
        page = web.get(path).text
        assert "downloading the result, 40%" in page
        assert '<progress value="40" max="100"' in page
    assert json.loads(web.get("/api/v1/jobs/clip1").text)["progress"] == 0.4


def test_an_upright_film_has_an_upright_picture_whatever_ratio_was_asked_for(stage, web):
    for number, is_tall in enumerate((True, False)):
        result = replace(RESULT, name=f"{number}.mp4", is_tall=is_tall)
        stage.add(f"clip{number}", state=State.DELIVERED, results=(result,), task=a_task())
    page = web.get("/").text
    assert re.findall(r'<li id="done-(clip\d)"( class="tall")?>', page) == [
        ("clip1", ""),
        ("clip0", ' class="tall"'),
    ]
    assert 'width="360" height="320"' in web.get("/jobs/clip0").text
    assert 'width="640" height="180"' in web.get("/jobs/clip1").text


def test_what_waits_for_a_person_is_sorted_and_grouped_too(stage, web):
    for number, held in enumerate((Held.BUDGET, None, Held.DUPLICATE)):
        stage.add(f"clip{number}", path=f"day{number}/{9 - number}.mp4", held=held)
    page = web.get("/jobs?state=held&sort=clip").text
    assert re.findall(r">(day\d)/", page) == ["day0", "day2"]
    page = web.get("/jobs?state=held&group=folder").text
    assert re.findall(r'scope="colgroup">([^<]+)</th>', page) == ["day0", "day2"]


def test_what_waits_for_a_person_is_found_by_a_name_that_another_system_wrote(stage, web):
    stage.add(path="E\u0301LAN.mp4", held=Held.BUDGET)
    assert "LAN.mp4" in web.get(f"/jobs?{urlencode({'state': 'held', 'q': 'élan'})}").text
    assert "LAN.mp4" not in web.get("/jobs?state=held&q=elan").text


def test_a_result_is_downloaded_under_its_name_and_found_by_its_path(stage, tmp_path):
    stage.bay = replace(stage.bay, places=Places({str(tmp_path / "results"): "Z:\\out"}))
    stage.deliver(name="shöt.mp4")
    with stage.open() as web:
        answer = web.get("/jobs/clip1/result/1?download=1")
        assert answer.getheader("Content-Disposition") == "attachment; filename*=UTF-8''sh%C3%B6t.mp4"
        assert web.get("/jobs/clip1/result/1").getheader("Content-Disposition") == "inline"
        assert "Z:\\out\\shöt.mp4" in web.get("/jobs/clip1").text


def test_a_result_that_is_higher_than_wide_has_room(stage, web):
    stage.deliver(request=a_request(ratio="720:1280"))
    assert '<li id="done-clip1" class="tall">' in web.get("/").text


@pytest.mark.slow
def test_ten_thousand_wrong_tokens_lock_nobody_out_and_open_nothing(stage):
    stage.add()

    def guess(first):
        line, found = http.client.HTTPConnection(*web.address, timeout=20), Counter()
        for number in range(first, first + 250):
            wrong = {"Authorization": f"Bearer wrong-{number:012}"}
            line.request("POST", "/api/v1/jobs/clip1/retry", headers=wrong)
            answer = line.getresponse()
            answer.read()
            found[answer.status] += 1
        line.close()
        return found

    with stage.open(AccessRules(SEVERAL)) as web, capture_logs() as logged:
        with ThreadPoolExecutor(40) as guessers:
            answers = sum(guessers.map(guess, range(0, 10_000, 250)), Counter())
        assert set(answers) == {401, 429}
        assert answers[429] > 9_900
        assert web("GET", "/api/v1/jobs", {"Authorization": f"Bearer {GUEST}"}).status == 200
    assert stage.wrong_tokens == 10_000
    assert len(logged) < 60
    assert stage.commands == []


def test_an_order_that_is_not_answered_in_time_is_not_said_to_be_refused(stage, web):
    """The scheduler may carry it out yet: who reads `Not done` and orders again may pay twice."""

    def late(_do, _given):
        raise TimeoutError

    stage.add()
    stage.answer = late
    for path, form in (("/all/cancel", {"ids": "clip1"}), ("/jobs/clip1/cancel", {})):
        answer = web.post(path, **form)
        assert answer.status == 503, path
        assert "it may still do it, so look before you send this again" in answer.text
        assert "Not done" not in answer.text
