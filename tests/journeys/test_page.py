"""The page in a real browser: it keeps itself up to date, resolves what waits, and plays films in step."""

import hashlib
import time

import pytest
from selenium.webdriver.common.keys import Keys

from journeys.bay import make_clip
from journeys.browser import DESK, PHONE, Browser, needs_chromium
from journeys.test_notes import picture
from runway_sandbox import Render
from runway_sandbox.render import sample
from stub import Stub, answer

pytestmark = needs_chromium
TOKEN = "a-token-of-some-length"
LONG = "a-very-long-name-without-any-space-in-it-" * 3 + ".mp4"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    one = Browser(tmp_path_factory.mktemp("chromium"))
    yield one
    one.close()


@pytest.fixture
def fresh(browser):
    """Yield the browser with no session of an earlier test; afterwards it has nothing to complain of."""
    browser.driver.delete_all_cookies()
    browser.look_like(DESK)
    browser.said()
    yield browser
    browser.go("about:blank")
    assert browser.said() == []


def serve(bay, **how):
    """Start the daemon with its page, and say where that is."""
    bay.secrets.append(TOKEN)
    bay.configure(top='[web]\nlisten = "127.0.0.1:0"\n[budget]\ncredits_per_day = 1000.0\n', **how)
    bay.start(CLIPSPOOL_WEB__TOKEN=TOKEN)
    return bay.events("page_served")[-1]["at"]


def log_in(browser, home):
    browser.go(f"{home}login")
    browser.press(TOKEN, Keys.ENTER)  # the field has the focus
    browser.until(lambda: "Log out" in browser.text("header"), what="logged in")


def test_what_happens_appears_by_itself_and_ends_with_the_result_beside_its_source(bay, fresh):
    home = serve(bay)
    fresh.go(home)
    fresh.run("window.isTheSame = true; document.querySelector('#find').value = 'half a wor'")
    fresh.until(lambda: fresh.text("#live") == "live", what="it listens")
    bay.drop("day/shot.mp4")
    fresh.until(lambda: "day/shot.mp4" in fresh.text("#done"), what="the result is shown")
    drawn = "return document.querySelector('#done img')?.naturalWidth > 32"
    fresh.until(lambda: fresh.run(drawn), what="its picture is drawn")
    fresh.until(lambda: "1\ndelivered" in fresh.text("#tiles"), what="it is counted")
    assert fresh.run("return window.isTheSame && document.querySelector('#find').value") == "half a wor"
    fresh.one("#done a").click()
    fresh.until(lambda: fresh.find("#history"), what="the job's page")
    assert "deep winter" in fresh.text("#request")
    assert "the provider accepted it as task" in fresh.text("#history")


def test_a_job_in_doubt_is_resolved_after_a_word_about_its_cost(bay, fresh):
    bay.box.misbehave("create:500-after:times=1")
    bay.consents = 1
    home = serve(bay)
    bay.drop()
    bay.until_states("in_doubt")
    fresh.go(home)
    assert "Log in to resolve these here" in fresh.text("#held")
    assert not fresh.find("#held .acts a")
    log_in(fresh, home)
    fresh.one("#held .name").click()
    fresh.until(lambda: "answer: HTTP 500" in fresh.text("#task"), what="the evidence")
    fresh.go(home)
    next(one for one in fresh.find("#held .acts a") if one.text.startswith("Retry")).click()
    fresh.until(lambda: "may have been charged already" in fresh.text("#confirm"), what="it asks")
    assert bay.paid == 1
    fresh.one("#confirm button").click()
    bay.until_states("delivered")
    fresh.until(lambda: "delivered" in fresh.text(".head"), what="the page of the job follows")
    assert bay.paid == 2


def test_source_and_result_play_in_step(open_bays, fresh, tmp_path):
    sample(tmp_path / "clip.mp4", seconds=3.0, width=320, height=180)
    with open_bays(render=Render.REAL) as bay:
        home = serve(bay)
        bay.drop("film.mp4", data=(tmp_path / "clip.mp4").read_bytes())
        bay.until_retired()
        (job_id,) = bay.jobs()
        fresh.go(f"{home}jobs/{job_id}/compare/1")
        both = (
            "const [a, b] = ['source', 'result'].map((id) => document.getElementById(id));"
            "return [a.currentTime, b.currentTime, a.readyState, b.readyState, a.paused, b.paused]"
        )
        fresh.until(lambda: min(fresh.run(both)[2:4]) == 4, what="both are loaded")
        assert fresh.run(both)[:2] == [0, 0]
        fresh.press(Keys.SPACE)
        for _ in range(6):
            at = fresh.run(both)[1]
            fresh.until(lambda at=at: fresh.run(both)[1] != at, what="it plays")
            source, result = fresh.run(both)[:2]
            assert abs(source - result) < 0.25
        fresh.press(Keys.SPACE)
        fresh.until(lambda: fresh.run(both)[4:] == [True, True], what="it pauses")
        fresh.run(
            "const s = document.querySelector('#seek'); s.value = 0.5; s.dispatchEvent(new Event('input'))"
        )
        fresh.until(lambda: fresh.run(both)[:2] == pytest.approx([1.5, 1.5], abs=0.05), what="it seeks")
        fresh.press(Keys.ARROW_RIGHT)
        fresh.until(lambda: fresh.run(both)[0] == pytest.approx(1.5 + 1 / 24, abs=0.02), what="a frame on")
        assert bay.stop() == 0


@pytest.mark.slow
def test_an_inbox_is_paused_and_resumed_with_the_keyboard_alone(bay, fresh):
    home = serve(bay)
    log_in(fresh, home)
    for act, state in (("Pause", "paused"), ("Resume", "watching")):
        fresh.go(home)
        focused = fresh.tab_to(f"{act} bay")
        assert fresh.run("return getComputedStyle(arguments[0]).outlineStyle", focused) != "none"
        fresh.press(Keys.ENTER)
        fresh.until(lambda: fresh.find("#confirm"), what="it asks")
        fresh.tab_to(act)
        fresh.press(Keys.ENTER)
        fresh.until(lambda state=state: state in fresh.text("#inboxes"), what=state)
    assert bay.told("status")["inboxes"][0]["state"] == "watching"


def test_script_in_a_name_or_a_prompt_does_nothing(bay, fresh):
    evil = "<img src=x onerror=window.isEvil=1><script>window.isEvil=1</script>"
    home = serve(bay)
    bay.drop("<img src=x onerror=window.isEvil=1>.mp4", f"prompt = '{evil}'\n")
    bay.drop("<svg onload=isEvil=1>.mp4", f'{evil} = "no key"\n')
    bay.until_retired()
    (job_id,) = bay.jobs()
    bay.until(lambda: bay.told("status")["inboxes"][0]["waiting"], what="the other is noted")
    for path in (
        "",
        "jobs",
        "jobs?q=%3Cimg",
        f"jobs/{job_id}",
        f"jobs/{job_id}/compare/1",
        "jobs?inbox=%3Csvg%3E",
    ):
        fresh.go(home + path)
        fresh.run("return new Promise((done) => setTimeout(done, 100))")
        assert fresh.run("return window.isEvil") is None
        assert fresh.find("img[src=x], main svg:not(.plot, .legend svg), main script") == []
    assert "<img src=x" in fresh.go(f"{home}jobs/{job_id}").text("h1")


def chosen(tmp_path, bay, *names):
    """Write clips of an editor's machine, and return what a file dialog would."""
    paths = []
    for name in names:
        path = tmp_path / name
        path.write_bytes(make_clip(bay.template, name))
        bay.dropped[hashlib.sha256(path.read_bytes()).hexdigest()] = name
        paths.append(str(path))
    return "\n".join(paths)


def test_an_editor_sends_clips_after_seeing_their_price_and_mends_what_waits(bay, fresh, tmp_path):
    home = serve(bay)
    log_in(fresh, home)
    fresh.find("nav a")[2].click()
    fresh.until(lambda: fresh.find("#send"), what="the inbox's page")
    fresh.one("#clips").send_keys(chosen(tmp_path, bay, "one.mp4", "two.mp4"))
    fresh.until(lambda: "Write what should" in fresh.text("#total"), what="it says what is missing")
    assert fresh.text("#chosen").count("waits for the prompt") == 2
    assert not fresh.find("#chosen .problem")
    assert not any(bay.inbox.glob("*.mp4"))
    fresh.one("textarea[name=prompt]").send_keys('"deep" winter')
    fresh.one("input[name=folder]").send_keys("day/night")
    fresh.until(lambda: "2 clips, about 30 credits in all" in fresh.text("#total"), what="the price of both")
    assert bay.paid == 0
    fresh.one("#put").click()
    fresh.until(lambda: "2 clips lie in the inbox" in fresh.text("#total"), what="they lie there")
    fresh.until(lambda: fresh.text("#done").count("day/night/") == 2, what="both are delivered")
    assert {path.name for path in (bay.outbox / "day/night").glob("*.mp4")} == {"one.mp4", "two.mp4"}
    fresh.one("#clips").send_keys(str(tmp_path / "one.mp4"))
    fresh.until(lambda: "1 clip, about" in fresh.text("#total"), what="it may be sent once more, changed")
    fresh.one("#chosen li:not(.done) button").click()
    session = fresh.driver.get_cookies()
    fresh.driver.delete_all_cookies()
    fresh.one("#clips").send_keys(str(tmp_path / "two.mp4"))
    fresh.until(lambda: "session has ended" in fresh.text("#chosen .problem"), what="why it is not sent")
    assert "401" in str(fresh.said())
    for cookie in session:
        fresh.driver.add_cookie(cookie)
    fresh.one("#clips").send_keys(str(tmp_path / "two.mp4"))
    fresh.until(lambda: "1 clip, about" in fresh.text("#total"), what="it is chosen again, and goes on")
    fresh.one("#chosen li:not(.done) button").click()
    bay.drop("typo.mp4", 'promt = "winter"\n')
    fresh.until(lambda: "did you mean" in fresh.text("#waiting"), what="the mistake is shown")
    fresh.one("#waiting .button").click()
    fresh.until(lambda: fresh.find("#mend textarea"), what="the sidecar is shown in place")
    fresh.run("document.querySelector('#mend textarea').value = 'prompt = \"winter\"\\n'")
    fresh.one("#mend button").click()
    fresh.until(lambda: "typo.mp4" in fresh.text("#done"), what="it is delivered without more ado")


@pytest.mark.slow
def test_dropped_folders_keyframes_and_a_matrix_are_priced_and_sent_as_one(bay, fresh, tmp_path):
    folder = tmp_path / "day 2" / "scene"
    folder.mkdir(parents=True)
    sample(folder / "shot.mp4", seconds=2.0, width=848, height=480)
    bay.dropped[hashlib.sha256((folder / "shot.mp4").read_bytes()).hexdigest()] = "shot.mp4"
    (folder / "notes.txt").write_text("for later")
    (tmp_path / "dusk.png").write_bytes(picture())
    (tmp_path / "dawn.png").write_bytes(picture())
    home = serve(bay)
    log_in(fresh, home)
    fresh.go(f"{home}inbox/bay")
    fresh.drag_in("#drop", tmp_path / "day 2")
    fresh.until(lambda: "day 2/scene/shot.mp4" in fresh.text("#chosen"), what="the folder's clip")
    fresh.until(lambda: "1 other file was left out" in fresh.text("#left-out"), what="it says the rest")
    fresh.run("document.querySelector('#send details').open = true")
    fresh.one("select[name=model] option[value=aleph2]").click()
    assert not fresh.one("#drop-images").is_displayed()
    fresh.one("select[name=target_aspect] option[value='16:9']").click()
    fresh.one("select[name=finish] option[value=as_is]").click()
    fresh.one("select[name=long_clips] option[value=split]").click()
    useless = ("select[name=finish_codec]", "input[name=start_seconds]")
    assert not any(fresh.one(one).is_displayed() for one in useless)
    fresh.one("select[name=long_clips] option[value=trim]").click()
    fresh.one("select[name=finish] option[value=timeline]").click()
    assert all(fresh.one(one).is_displayed() for one in useless)
    fresh.one("select[name=finish_codec] option[value=prores]").click()
    fresh.one("input[name=seed]").send_keys("1, 2")
    fresh.one("input[name=per_line]").click()
    fresh.one("textarea[name=prompt]").send_keys("at dusk", Keys.ENTER, "at dawn")
    fresh.drag_in("#drop-keyframes", tmp_path / "dusk.png", tmp_path / "dawn.png")
    fresh.until(lambda: len(fresh.find("#keyframes li")) == 2, what="both keyframes")
    fresh.until(lambda: "4 results" in fresh.text("#chosen"), what="all combinations are counted")
    fresh.until(lambda: "about 224 credits in all" in fresh.text("#total"), what="the price of all")
    fresh.keep_picture("send")
    bay.consents = 4
    fresh.one("#put").click()
    bay.until(lambda: len(bay.jobs()) == 4, what="all are accepted")
    requests = [job["request"] for job in bay.told("jobs")]
    assert {(one["prompt"], one["seed"]) for one in requests} == {
        (prompt, seed) for prompt in ("at dusk", "at dawn") for seed in (1, 2)
    }
    assert {(one["target_aspect"], one["finish_codec"]) for one in requests} == {("16:9", "prores")}
    assert requests[0]["keyframe"] == [
        {"at": "first", "image": "day 2/scene/dusk.png"},
        {"at": "last", "image": "day 2/scene/dawn.png"},
    ]
    assert {job["clip"] for job in bay.told("jobs")} == {"day 2/scene/shot.mp4"}
    bay.until_retired()


@pytest.mark.slow
def test_a_large_clip_goes_on_after_a_lost_connection_and_a_closed_page(bay, browser, tmp_path):
    browser.driver.delete_all_cookies()
    home = serve(bay)
    log_in(browser, home)
    browser.go(f"{home}inbox/bay")
    film, size = tmp_path / "long.mp4", 120 << 20
    film.write_bytes(make_clip(bay.template, "long") + size.to_bytes(4, "big") + b"free" + bytes(size - 8))
    watched = """
        const put = XMLHttpRequest.prototype.send; window.pieces = [];
        XMLHttpRequest.prototype.send = function (body) {
          window.pieces.push(body.size);
          if (window.pieces.length === 3) setTimeout(() => this.abort(), 5);
          return put.call(this, body);
        };"""
    browser.run(watched)
    browser.one("#clips").send_keys(str(film))
    browser.until(lambda: len(browser.run("return window.pieces")) > 4, what="it goes on after the loss")
    browser.go(f"{home}inbox/bay")
    browser.run(watched)
    browser.one("#clips").send_keys(str(film))
    browser.one("textarea[name=prompt]").send_keys("winter")
    ready = "return !document.getElementById('put').disabled"
    browser.until(lambda: browser.run(ready), 60, what="all of it is there")
    assert sum(browser.run("return window.pieces")) < film.stat().st_size - (12 << 20), "it began again"
    browser.one("#chosen .link").click()
    browser.until(lambda: not any(bay.inbox.glob(".*.upload")), what="it is given up")
    browser.go("about:blank")
    browser.said()


def test_a_clip_is_run_again_compared_and_chosen(bay, fresh):
    bay.consents = 1
    home = serve(bay)
    bay.drop("shot.mp4")
    bay.until_retired()
    (job_id,) = bay.jobs()
    log_in(fresh, home)
    fresh.go(f"{home}jobs/{job_id}")
    next(one for one in fresh.find(".acts a") if "again" in one.text).click()
    fresh.until(lambda: fresh.find("#again"), what="the form")
    fresh.run("document.querySelector('textarea').value = 'bright summer'")
    fresh.one("#again .main").click()
    fresh.until(
        lambda: "This will be version 2. It may cost about 15" in fresh.text("#price"), what="the price"
    )
    assert bay.paid == 1
    fresh.one("#again .main").click()
    fresh.until(lambda: "delivered" in fresh.text(".head"), what="the second version")
    assert bay.paid == 2
    next(one for one in fresh.find(".acts a") if "Versions" in one.text).click()
    fresh.until(lambda: fresh.text("#pick").count("Version ") == 2, what="both stand side by side")
    assert "bright summer" in fresh.text("#pick")
    for box in fresh.find("input[name=pick]"):
        box.click()
    fresh.keep_picture("versions")
    fresh.find("#pick > .line .button")[0].click()
    loaded = "return [...document.querySelectorAll('video')].map((one) => one.readyState)"
    fresh.until(lambda: fresh.run(loaded) == [4, 4], what="both are loaded")
    fresh.go(f"{home}jobs/{job_id}/versions")
    fresh.find(".sheet .button")[1].click()
    fresh.until(lambda: fresh.find(".is-chosen"), what="it is chosen")
    assert [path.name for path in (bay.outbox / "_chosen").glob("*.mp4")] == ["shot_v002.mp4"]
    assert fresh.barriers() == []


def test_many_held_jobs_are_approved_with_one_decision(bay, fresh):
    bay.secrets.append(TOKEN)
    bay.configure(top='[web]\nlisten = "127.0.0.1:0"\n[budget]\ncredits_per_job_max = 1.0\n')
    bay.start(CLIPSPOOL_WEB__TOKEN=TOKEN)
    home = bay.events("page_served")[-1]["at"]
    for number in range(4):
        bay.drop(f"dear{number}.mp4")
    bay.until(lambda: [job["held"] for job in bay.told("jobs")] == ["budget"] * 4, what="all are held")
    log_in(fresh, home)
    fresh.go(f"{home}jobs?state=held")
    fresh.one("input.all").click()
    fresh.find("input[name=ids]")[0].click()
    assert "the 3 chosen" in fresh.text("#picked")
    fresh.one("button[formaction='./all/approve']").click()
    fresh.until(
        lambda: "3 jobs will be sent and charged: about 45 credits" in fresh.text("#confirm"), what="it asks"
    )
    fresh.one("#confirm button").click()
    bay.until(
        lambda: sorted(job["state"] for job in bay.told("jobs")) == ["delivered"] * 3 + ["queued"],
        what="3 run",
    )
    assert bay.paid == 3


def test_a_table_is_sorted_by_its_headings(pages, browser):
    home, _ = pages
    browser.go(f"{home}jobs")
    names = "return [...document.querySelectorAll('tbody .clip a:not(.thumb)')].map((one) => one.textContent)"
    shown = browser.run(names)
    for order, is_down in (("ascending", False), ("descending", True)):
        browser.one("th .sort").click()
        browser.until(lambda order=order: browser.find(f"th[aria-sort={order}]"), what="it is sorted")
        assert browser.run(names) == sorted(shown, key=str.lower, reverse=is_down)


EVIL = """<!doctype html><body><form method=post action="{home}jobs/{job}/cancel" target=frame>
<input name=a></form><iframe name=frame></iframe><iframe src="{home}"></iframe>
<img src="{home}jobs/{job}/poster/1"><video src="{home}jobs/{job}/source"></video>
<script src="{home}static/page.js"></script><script>
const seen = window.seen = {{}};
document.images[0].onload = () => seen.image = 1;
document.querySelector("video").onloadedmetadata = () => seen.video = 1;
new EventSource("{home}events", {{withCredentials: true}}).onopen = () => seen.events = 1;
const post = {{method: "POST", mode: "no-cors", credentials: "include"}};
post.headers = {{"Content-Type": "application/x-www-form-urlencoded"}};
Promise.allSettled([
  fetch("{home}jobs/{job}/cancel", {{...post, body: "a=b"}}),
  fetch("{home}inboxes/all/pause", {{...post, body: "a=b"}}),
  fetch("{home}", {{credentials: "include"}}).then(() => seen.page = 1),
]).then(() => {{ document.forms[0].submit(); setTimeout(() => seen.done = 1, 1000); }});
</script>"""


def test_a_page_of_another_port_of_this_machine_can_do_and_see_nothing(bay, browser):
    home = serve(bay)
    bay.drop("later.mp4", 'prompt = "winter"\nnot_before = 2040-01-01T00:00:00Z\n')
    bay.until_states("queued")
    (job_id,) = bay.jobs()
    log_in(browser, home)
    evil = EVIL.format(home=home, job=job_id).encode()
    with Stub(
        lambda line: (line.read_request(), line.send(answer(200, evil, Content_Type="text/html")))
    ) as stub:
        browser.go(stub.url)
        browser.until(lambda: browser.run("return window.seen?.done"), what="it has tried all")
        assert browser.run("return window.seen") == {"done": 1}
    assert bay.told("jobs")[0]["state"] == "queued"
    assert bay.told("status")["inboxes"][0]["state"] == "watching"
    browser.go(f"{home}jobs/{job_id}/cancel").one("#confirm button").click()  # the session itself is good
    bay.until_states("cancelled")
    browser.go("about:blank")
    browser.said()


@pytest.fixture(scope="module")
def pages(tmp_path_factory, template):
    """Serve a page with something of everything, and the addresses worth a look."""
    from journeys.bay import open_bay  # noqa: PLC0415

    home = tmp_path_factory.mktemp("pages")
    with open_bay(home, template) as bay:
        bay.box.misbehave("create:500-after:prompt=doubt")
        bay.box.misbehave("create:400:prompt=refuse")
        at = serve(bay)
        bay.drop("day/shot.mp4")
        bay.drop(LONG, f'prompt = "{"winter " * 60}"\n')
        bay.drop("doubt.mp4", 'prompt = "doubt"\n')
        bay.drop("refuse.mp4", 'prompt = "refuse"\n')
        bay.drop("typo.mp4", 'promt = "winter"\n')
        bay.drop("later.mp4", 'prompt = "winter"\nnot_before = 2040-01-01T00:00:00Z\n')
        bay.until_states("delivered", "delivered", "in_doubt", "failed", "queued", seconds=40)
        bay.until(lambda: bay.told("status")["inboxes"][0]["waiting"], what="a problem is noted")
        ids = {row["path"].decode(): row["id"] for row in bay.query("SELECT path, id FROM clips")}
        paths = {
            "overview": "",
            "jobs": "jobs",
            "nothing": "jobs?q=nothing",
            "delivered": f"jobs/{ids['day/shot.mp4']}",
            "long": f"jobs/{ids[LONG]}",
            "doubt": f"jobs/{ids['doubt.mp4']}",
            "failed": f"jobs/{ids['refuse.mp4']}",
            "retry": f"jobs/{ids['doubt.mp4']}/retry",
            "attach": f"jobs/{ids['doubt.mp4']}/attach",
            "compare": f"jobs/{ids[LONG]}/compare/1",
            "missing": "jobs/nothing",
            "inbox": "inbox/bay",
            "mend": "inbox/bay?mend=typo.mp4",
            "login": "login",
        }
        yield at, paths
        assert bay.stop() == 0


@pytest.mark.parametrize(
    ("size", "dark"),
    [
        pytest.param(DESK, False, id="desk-light"),
        pytest.param(PHONE, True, id="phone-dark"),
        pytest.param(DESK, True, id="desk-dark", marks=pytest.mark.slow),
        pytest.param(PHONE, False, id="phone-light", marks=pytest.mark.slow),
    ],
)
def test_every_page_fits_and_stands_in_nobodys_way(pages, browser, size, dark):
    home, paths = pages
    browser.driver.delete_all_cookies()
    browser.look_like(size, dark=dark)
    for name, path in paths.items():
        if name == "overview":
            log_in(browser, home)
        if name == "login":
            browser.driver.delete_all_cookies()
        browser.go(home + path)
        browser.keep_picture(f"{name}-{'phone' if size == PHONE else 'desk'}-{'dark' if dark else 'light'}")
        # A page that is too wide makes the window of a phone wider, so that it would fit itself.
        assert browser.run("return document.documentElement.scrollWidth") <= size[0], name
        if dark == (size == PHONE):  # between them both sizes and both schemes, at half the price
            assert browser.barriers() == [], name
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in ground[4:-1].split(",")) < 200) == dark


def test_a_page_whose_session_has_ended_says_that_it_is_not_live_any_more(bay, browser):
    bay.secrets.append(TOKEN)
    bay.configure(
        top='[web]\nlisten = "127.0.0.1:0"\nhosts = ["clips.example"]\n'
    )  # looking needs the log-in
    bay.start(CLIPSPOOL_WEB__TOKEN=TOKEN)
    home = bay.events("page_served")[-1]["at"]
    browser.driver.delete_all_cookies()
    log_in(browser, home)
    browser.until(lambda: browser.text("#live") == "live", what="it listens")
    form = (
        "{method: 'POST', redirect: 'manual', headers: {'Content-Type': 'application/x-www-form-urlencoded'}}"
    )
    browser.run(f"fetch('logout', {form})")  # as from another window
    bay.drop("new.mp4")
    browser.until(lambda: "stopped" in browser.text("#live"), what="it says so")
    bay.until_retired()
    time.sleep(2)
    assert "stopped" in browser.text("#live")
    browser.go("about:blank")
    browser.said()


@pytest.mark.slow
def test_a_page_says_that_it_lost_the_daemon_and_goes_on_when_it_is_back(bay, browser):
    home = serve(bay)
    browser.go(home)
    browser.until(lambda: browser.text("#live") == "live", what="it listens")
    bay.stop()
    browser.until(lambda: "Live updates stopped" in browser.text("#live"), what="it says so")
    bay.configure(top=f'[web]\nlisten = "{home.removeprefix("http://").rstrip("/")}"\n')
    bay.start()
    bay.drop("new.mp4")
    browser.until(lambda: "new.mp4" in browser.text(), 40, "it shows what is new")
    browser.until(lambda: browser.text("#live") == "live", what="it listens again")
    bay.until_retired()
    browser.go("about:blank")
    browser.said()
