"""The page beneath a path of a site, behind a proxy that takes the path off: no link leads out of it."""

import html
import re
from dataclasses import replace

import pytest

from clipspool.jobs.model import Error, Held, State
from clipspool.web.context import AccessRules, Token
from fakes import RESULT, a_clip, a_job, a_request, a_task
from pages import BEARER, FORM, SAME, TOKEN, clip_doors, followed

UNDER = "/tools/clipspool"
LINK = re.compile(r'\b(?:href|src|action|formaction|data-picture)="([^"#]+)')
QUIET = {"/logout", "/events"}


@pytest.fixture
def proxied(stage):
    """Ask for an address of the site; the proxy takes its own part off, and knows no other."""
    with stage.open(clips=clip_doors(stage)) as web:

        def ask(method, address, headers=BEARER, **fields):
            assert address.startswith(f"{UNDER}/"), address
            return web(method, address.removeprefix(UNDER), headers, **fields)

        yield ask


def fill(stage):
    stage.deliver("done1", "Büro 1.mp4", path="Büro/Ä b.mp4")
    with stage.journal.turn():
        result = replace(RESULT, name="Büro 1.mp4")
        again = a_job("done2", path="Büro/Ä b.mp4", version=2, state=State.DELIVERED, results=(result,))
        stage.journal.accept(a_clip("done2", path="Büro/Ä b.mp4"), [replace(again, clip_id="done1")])
    for number in range(60):
        stage.add(f"held{number}", path=f"{number}.mp4", held=Held.BUDGET, credits_estimated=9.0)
    asked = a_request(timeline="t1", timeline_name="cut.edl", timeline_credits=30.0)
    stage.add("cut1", path="c.mp4", held=Held.BUDGET, request=asked)
    stage.add("bad1", path="d.mp4", state=State.FAILED, error=Error("CLIP.X", "no", "mend it"))
    stage.add("bad2", path="e.mp4", state=State.FAILED, error=Error("CLIP.X", "no", "mend it"))
    stage.add("doubt1", path="f.mp4", state=State.IN_DOUBT, held=Held.IN_DOUBT, task=a_task())
    (stage.home / "bay/g.mp4").write_bytes(b"film")
    stage.waiting = [{"path": "g.mp4", "reason": "odd", "since": "2026-01-01T00:00:00Z", "problem": True}]


def test_no_link_of_any_page_leads_out_of_the_path_that_a_proxy_serves_it_beneath(stage, proxied):
    fill(stage)
    begin = [f"{UNDER}{path}" for path in ("/", "/jobs/?q=", "/no/such/page/here", "/login", "/jobs/done1//")]
    found, left = set(begin), list(begin)
    while left:
        address = left.pop()
        answer = proxied("GET", address)
        if address not in begin and not address.endswith(("/mend", "/choose")):  # these are posted to
            assert answer.status in {200, 303, 307, 409}, address
        if answer.status in {303, 307}:
            links = [answer.getheader("Location")]
        else:
            is_page = answer.getheader("Content-Type", "").startswith("text/html")
            links = [html.unescape(link) for link in LINK.findall(answer.text)] if is_page else []
        for link in links:
            to = followed(address, link)
            assert to.startswith(f"{UNDER}/"), (address, link)
            if to not in found and to.removeprefix(UNDER) not in QUIET:
                found.add(to)
                left.append(to)
    ways = {re.sub("(done|held|bad|cut|doubt)[0-9]+", "ID", to.partition("?")[0]) for to in found}
    for way in ("static/send.js", "jobs/ID/source", "jobs/ID/versions/compare", "inbox/bay", "all/approve"):
        assert f"{UNDER}/{way}" in ways


def test_the_session_is_the_pages_alone_and_not_of_others_on_its_host(stage):
    with stage.open(AccessRules((Token(TOKEN),), must_log_in=True)) as web:
        asked = web.get("/jobs?q=a%20b", Accept="text/html")
        assert (
            followed(f"{UNDER}/jobs", asked.getheader("Location")) == f"{UNDER}/login?to=/jobs%3Fq%3Da%2520b"
        )
        answer = web.post("/login", SAME, token=TOKEN, to="/jobs?q=a%20b")
        assert followed(f"{UNDER}/login", answer.getheader("Location")) == f"{UNDER}/jobs?q=a%20b"
        cookie = answer.getheader("Set-Cookie")
        assert "path=" not in cookie.lower()  # a browser takes the folder of the log-in: UNDER
        session = {"Cookie": cookie.partition(";")[0]}
        out = web("POST", "/logout", FORM | SAME | session)
        assert followed(f"{UNDER}/logout", out.getheader("Location")) == f"{UNDER}/"
        gone = out.getheader("Set-Cookie")
        assert gone.startswith(session["Cookie"].partition("=")[0])
        assert "max-age=0" in gone.lower()
        assert "path=" not in gone.lower()
