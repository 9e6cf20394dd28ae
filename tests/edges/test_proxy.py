"""The way to the provider through an HTTP proxy, over real sockets."""

import base64
import select
import socket

import pytest

from clipspool.app.settings import load
from clipspool.app.shipping import ways_of
from clipspool.cli.check.services import look_at_transports
from clipspool.cli.check.setup import look_at_proxy
from clipspool.provider.transport import SecretNames
from clipspool.system.http.client import Wire
from clipspool.system.http.faults import wire_fault
from clipspool.system.http.free import FreeAdapter
from clipspool.system.http.guard import AddressGuard, Forbidden, Unreachable
from clipspool.system.http.pace import TimeLimits
from clipspool.system.http.proxy import Proxy
from stub import Stub, always, answer, certificate

QUICK = TimeLimits(connect_seconds=1.0, silence_seconds=1.0, total_seconds=3.0)
HOME = AddressGuard(allows_loopback=True)
ABROAD = AddressGuard(allows_loopback=False)


def passes_on(line):
    """Do what a proxy does: connect, say so, and carry bytes both ways."""
    host, _, port = line.read_head().path.rpartition(":")
    with socket.create_connection((host, int(port))) as far:
        line.send(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
        ends = {line.sock: far, far: line.sock}
        while True:
            ready, _, _ = select.select(list(ends), [], [], 0.1)
            if not ready and line.ended.is_set():
                return
            for end in ready:
                data = end.recv(65536)
                if not data:
                    return
                ends[end].sendall(data)


def says_head(head):
    def script(line):
        line.read_head()
        line.send(head)

    return script


def wire_through(proxy, login="", guard=HOME, ca_file=None):
    return Wire(guard, ca_file, Proxy.at(proxy.url, login))


def test_a_request_passes_the_proxy_inside_its_own_tls(tmp_path):
    context, cert = certificate(tmp_path)
    with Stub(passes_on) as proxy, Stub(always(answer(200, {"id": "t1"})), tls=context) as api:
        adapter = FreeAdapter(wire_through(proxy, "studio:secret", ca_file=cert), QUICK)
        assert adapter.call("GET", f"{api.url}/v1/tasks/t1", {}).json() == {"id": "t1"}
        adapter.close()
        (asked,) = proxy.asked
        assert (asked.method, asked.path) == ("CONNECT", f"localhost:{api.port}")
        assert asked.headers["proxy-authorization"] == f"Basic {base64.b64encode(b'studio:secret').decode()}"
        assert [one.path for one in api.asked] == ["/v1/tasks/t1"]
        assert "proxy-authorization" not in api.asked[0].headers


@pytest.mark.parametrize(
    ("head", "code", "says"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            "NETWORK.PROXY",
            "check proxy and proxy_login",
        ),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "NETWORK.PROXY", "403 Forbidden"),
        (b"HTTP/1.1 301 Moved\r\nLocation: http://elsewhere/\r\n\r\n", "NETWORK.PROXY", "301"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "NETWORK.PROXY", "does not answer as an HTTP proxy does"),
        (b"HTTP/1.1 20", "NETWORK.PROXY", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, "NETWORK.PROXY", "the proxy"),
    ],
)
def test_what_a_proxy_refuses_was_not_sent(head, code, says):
    with Stub(says_head(head)) as proxy:
        witness = wire_through(proxy).witness(HOME.target("https://localhost:9/v1"), QUICK)
        with pytest.raises(Unreachable) as caught:
            witness.connect()
        assert witness.bytes_written == 0
        fault = wire_fault(caught.value)
        assert (fault.code, says in fault.message) == (code, True), fault.message


def test_a_proxy_that_falls_silent_ends_at_the_connect_deadline():
    with Stub(lambda line: line.hold()) as proxy:
        witness = wire_through(proxy).witness(HOME.target("https://localhost:9/v1"), QUICK)
        with pytest.raises(Unreachable) as caught:
            witness.connect()
        assert caught.value.code == "NETWORK.TIMEOUT"


@pytest.mark.parametrize("private", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "localhost", "[::1]"])
def test_a_private_address_is_not_reached_through_the_proxy_either(private):
    with Stub(passes_on) as proxy:
        witness = wire_through(proxy, guard=ABROAD).witness(ABROAD.target(f"https://{private}/x.mp4"), QUICK)
        with pytest.raises(Forbidden):
            witness.connect()
        assert proxy.connections == 0


def test_a_name_that_only_the_proxy_can_resolve_is_left_to_it():
    with Stub(says_head(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")) as proxy:
        witness = wire_through(proxy, guard=ABROAD).witness(ABROAD.target("https://api.invalid/v1"), QUICK)
        with pytest.raises(Unreachable, match="502 Bad Gateway"):
            witness.connect()
        assert proxy.asked[0].path == "api.invalid:443"


def test_a_provider_on_this_machine_is_reached_without_the_proxy():
    with Stub(passes_on) as proxy, Stub(always(answer(200, {"id": "t1"}))) as api:
        adapter = FreeAdapter(wire_through(proxy), QUICK)
        assert adapter.call("GET", f"{api.url}/v1/tasks/t1", {}).json() == {"id": "t1"}
        adapter.close()
        assert proxy.connections == 0


@pytest.mark.parametrize(
    "wrong",
    [
        "https://proxy:3128",
        "proxy:3128",
        "socks5://proxy",
        "http://user:pw@proxy:3128",
        "http://",
        "http://p/x",
    ],
)
def test_an_address_that_is_no_http_proxy_is_refused(wrong):
    with pytest.raises(ValueError, match="HTTP proxy"):
        Proxy.at(wrong)


def settings_with(tmp_path, provider):
    (tmp_path / "in").mkdir()
    file = tmp_path / "config.toml"
    file.write_text(f'[provider]\n{provider}\n[[inbox]]\npath = "in"\noutbox = "out"\n')
    return load(file, {"HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("provider", "env", "is_said"),
    [
        ("", {"HTTPS_PROXY": "http://proxy:3128"}, True),
        ("", {"all_proxy": "http://proxy:3128"}, True),
        ("", {}, False),
        ('proxy = "http://proxy:3128"', {"HTTPS_PROXY": "http://proxy:3128"}, False),
    ],
)
def test_check_says_that_a_proxy_of_the_environment_is_not_used(tmp_path, provider, env, is_said):
    found = list(look_at_proxy(settings_with(tmp_path, provider), env))
    assert [one.what for one in found] == (["proxy"] if is_said else [])


def test_the_proxys_login_is_read_from_its_file_and_kept_from_the_logs(tmp_path):
    (tmp_path / "login").write_text("studio:canary\n")
    settings = settings_with(tmp_path, 'proxy = "http://proxy:3128"\nproxy_login_file = "login"')
    assert settings.secrets == ["studio:canary"]
    assert "canary" not in repr(settings)


def test_what_goes_to_a_bucket_logs_in_at_the_proxy_too(tmp_path):
    (tmp_path / "login").write_text("studio:c@nary/1\n")
    with Stub(always(answer(404, {}))) as proxy:
        named = f'proxy = "{proxy.url}"\nproxy_login_file = "login"\n'
        named += '[transport]\nmode = "bucket"\n[transport.bucket]\nname = "clips"\nendpoint = "http://127.0.0.1:9"\n'
        settings = settings_with(tmp_path, named)
        (way,) = ways_of(settings, SecretNames(b"x" * 32))
        fault = way.remove("clip")
        assert proxy.asked[0].headers["proxy-authorization"] == (
            f"Basic {base64.b64encode(b'studio:c@nary/1').decode()}"
        )
    assert "nary" not in f"{way!r} {fault}"


def test_check_reads_through_the_proxy_what_it_put_where_the_provider_reads(tmp_path):
    (tmp_path / "served").mkdir()
    with Stub(says_head(b"HTTP/1.1 403 Forbidden\r\n\r\n")) as proxy:
        named = f'proxy = "{proxy.url}"\n[transport]\nmode = "public_url"\n[transport.public_url]\n'
        named += 'folder = "served"\nurl = "https://media.example.invalid/clips"\n'
        (found,) = look_at_transports(settings_with(tmp_path, named))
        assert [one.path for one in proxy.asked] == ["media.example.invalid:443"]
    assert (found.level, "media.example.invalid cannot be read" in found.why) == ("bad", True)
