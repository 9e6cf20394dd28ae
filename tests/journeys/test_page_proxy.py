"""The page in a real browser behind a proxy that serves it beneath a path of a site."""

import http.client
import threading
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from journeys.browser import Browser, needs_chromium
from journeys.test_page import chosen, log_in, serve

pytestmark = needs_chromium
UNDER = "/tools/clipspool"


@pytest.fixture
def browser(tmp_path):
    one = Browser(tmp_path / "chromium")
    yield one
    one.close()


class Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self):
        if not self.path.startswith(f"{UNDER}/"):
            self.server.astray.append(self.path)
            self.send_error(404)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.fails.get(self.command):
            self.send_error(self.server.fails[self.command].pop())
            return
        with closing(http.client.HTTPConnection(self.server.behind, timeout=30)) as behind:
            behind.request(self.command, self.path.removeprefix(UNDER), body, dict(self.headers))
            self.pass_on(behind.getresponse())

    def pass_on(self, answer):
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):  # the browser has left, or the daemon
            while data := answer.read1():
                self.wfile.write(data)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_):
        pass


@contextmanager
def proxied(behind):
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        server.daemon_threads = True
        server.behind, server.astray, server.fails = urlsplit(behind).netloc, [], {}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server, f"http://127.0.0.1:{server.server_port}{UNDER}/"
        server.shutdown()


def test_beneath_a_path_a_clip_is_sent_although_the_proxy_reaches_nobody_for_a_moment(bay, browser, tmp_path):
    with proxied(serve(bay)) as (server, home):
        log_in(browser, home)
        browser.go(f"{home}inbox/bay")
        server.fails["PUT"] = [502, 504]
        browser.one("#clips").send_keys(chosen(tmp_path, bay, "shot.mp4"))
        browser.one("textarea[name=prompt]").send_keys("winter")
        browser.until(
            lambda: browser.run("return !document.getElementById('put').disabled"), what="its price"
        )
        browser.one("#put").click()
        browser.go(home)
        browser.until(lambda: browser.text("#live") == "live", what="it listens")
        browser.until(lambda: "shot.mp4" in browser.text("#done"), what="its result is shown")
        browser.one("#done a").click()
        browser.until(lambda: browser.run("return document.querySelector('.shot img').naturalWidth > 32"))
        browser.one("form[action$=logout] button").click()
        browser.until(lambda: "Log in" in browser.text("header"), what="logged out")
        assert browser.run("return location.pathname") == f"{UNDER}/"
        assert server.astray == ["/favicon.ico"] * len(server.astray)
        assert server.fails == {"PUT": []}
