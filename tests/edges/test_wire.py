"""Connections over real sockets: who is reached, how long it may take, what left."""

import gzip
import ipaddress
import socket
import time
from contextlib import suppress

import pytest

from clipspool.system.http.asking import Asker
from clipspool.system.http.client import Wire
from clipspool.system.http.faults import WireTrouble, wire_fault
from clipspool.system.http.free import FreeAdapter
from clipspool.system.http.guard import AddressGuard, Forbidden, Unreachable, guard_for, is_public
from clipspool.system.http.pace import ExchangePace, TimeLimits, TooSlow
from clipspool.system.http.reply import decoded, read_whole
from patience import patient
from stub import Stub, always, answer, certificate, says

QUICK = TimeLimits(connect_seconds=0.3, silence_seconds=0.3, total_seconds=0.6)
HOME = AddressGuard(allows_loopback=True)
ABROAD = AddressGuard(allows_loopback=False)


def witness(stub, wire=None, path="/"):
    wire = wire or Wire(HOME)
    return wire.witness(HOME.target(stub.url + path), QUICK)


@pytest.mark.parametrize(
    ("address", "is_reached"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1", True),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::808:808", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.100.100.200", False),
        ("169.254.169.254", False),
        ("168.63.129.16", False),
        ("192.0.0.192", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("::127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b:1::1", False),
        ("2002:7f00:1::1", False),
        ("2001:0:1::1", False),
        ("fd00:ec2::254", False),
        ("fe80::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("2001:db8::1", False),
    ],
)
def test_only_public_addresses_are_public(address, is_reached):
    assert is_public(ipaddress.ip_address(address)) is is_reached


@pytest.mark.parametrize(
    "url",
    [
        "http://cdn.example/a",
        "ftp://cdn.example/a",
        "file:///etc/passwd",
        "//cdn.example/a",
        "cdn.example/a",
        "https:///a",
        "https://user@cdn.example/a",
        "https://user:secret@cdn.example/a",
        "https://@cdn.example/a",
        "https://cdn.example\\@evil.example/a",
        "https://cdn.example/a\nHost: x",
        "https://cdn.example/a b",
        "https://[::1/a",
        "https://cdn.example:99999/a",
        "https://cdn.example/" + "x" * 9000,
        "",
    ],
)
def test_an_address_of_another_form_is_refused(url):
    with pytest.raises(Forbidden):
        ABROAD.target(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/a",
        "https://2130706433/a",
        "https://0x7f.1/a",
        "https://0/a",
        "https://localhost/a",
        "https://[::1]/a",
        "https://[::ffff:127.0.0.1]/a",
        "https://[fe80::1%25lo]/a",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/a",
    ],
)
def test_a_private_host_is_not_reached_whatever_its_spelling(url):
    with pytest.raises((Forbidden, Unreachable)):
        ABROAD.look_up(ABROAD.target(url), 1)


def test_loopback_is_reached_only_when_the_api_itself_lives_there():
    for base in ("http://127.0.0.1:1/v1", "http://localhost/v1", "http://[::1]:8/v1", "https://127.0.0.2/v1"):
        assert guard_for(base).allows_loopback
    assert not guard_for("https://api.cometapi.com/runwayml/v1").allows_loopback
    assert HOME.admits("127.0.0.1", "http")
    assert not HOME.admits("10.0.0.1", "http")
    assert not HOME.admits("8.8.8.8", "http")
    assert HOME.admits("8.8.8.8", "https")


@pytest.mark.parametrize(
    "base",
    [
        "http://api.example/v1",
        "https://k@api.example/v1",
        "ftp://x/v1",
        "api.example",
        "https://a.example/v1?x=1",
    ],
)
def test_an_address_unfit_for_an_api_is_a_mistake_of_the_operator(base):
    with pytest.raises(ValueError, match="base_url"):
        guard_for(base)


def test_a_connection_is_made_before_anything_is_written():
    with Stub(lambda line: line.hold()) as stub:
        line = witness(stub)
        line.connect()
        assert line.bytes_written == 0
        assert line.is_silent()
        line.close()


def test_the_witness_counts_what_left():
    with Stub(always(answer(200, b"ok"))) as stub:
        line = witness(stub)
        line.connect()
        line.putrequest("GET", "/")
        line.endheaders()
        assert line.bytes_written == line.head_bytes > 20
        assert line.answer(ExchangePace(QUICK)).read() == b"ok"
        line.close()


def test_a_server_that_left_before_it_was_asked_is_noticed():
    with Stub(says()) as stub:
        line = witness(stub)
        line.connect()
        time.sleep(0.05)
        assert not line.is_silent()
        line.close()


def test_a_witness_never_connects_again_by_itself():
    with Stub(always(answer())) as stub:
        line = witness(stub)
        with pytest.raises(WireTrouble):
            line.send(b"x")
        assert stub.connections == 0


def test_a_refused_port_says_so():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable) as caught:
        Wire(HOME).connected(HOME.target(f"http://127.0.0.1:{port}/"), 0.3)
    assert caught.value.code == "NETWORK.REFUSED"


def test_a_black_hole_ends_at_the_connect_deadline():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(3):
            fillers.append(socket.socket())
            fillers[-1].setblocking(False)
            fillers[-1].connect_ex(listener.getsockname())
        begun = time.monotonic()
        with pytest.raises(Unreachable) as caught:
            Wire(HOME).connected(HOME.target(f"http://127.0.0.1:{listener.getsockname()[1]}/"), 0.3)
        assert caught.value.code == "NETWORK.TIMEOUT"
        assert time.monotonic() - begun < patient(1)
        for filler in fillers:
            filler.close()


def test_an_unknown_host_is_no_connection():
    with pytest.raises(Unreachable) as caught:
        Wire(ABROAD).connected(ABROAD.target("https://no-such-host.invalid/"), 5)
    assert caught.value.code == "NETWORK.DNS"


def test_tls_is_verified_against_the_given_authority(tmp_path):
    context, cert = certificate(tmp_path)
    with Stub(always(answer(200, b"ok")), tls=context) as stub:
        line = witness(stub, Wire(HOME, cert))
        line.connect()
        assert line.is_silent()
        line.putrequest("GET", "/")
        line.endheaders()
        assert line.answer(ExchangePace(QUICK)).read() == b"ok"
        line.close()


def test_a_certificate_nobody_vouches_for_is_no_connection(tmp_path):
    context, _ = certificate(tmp_path)
    with Stub(always(answer()), tls=context) as stub:
        with pytest.raises(Unreachable) as caught:
            witness(stub).connect()
        assert caught.value.code == "NETWORK.TLS"
        assert stub.asked == []


def test_a_certificate_for_another_host_is_no_connection(tmp_path):
    context, cert = certificate(tmp_path, "elsewhere.example")
    with Stub(always(answer()), tls=context) as stub, pytest.raises(Unreachable):
        witness(stub, Wire(HOME, cert)).connect()


def test_a_stalled_tls_handshake_ends_at_the_connect_deadline(tmp_path):
    context, cert = certificate(tmp_path)
    with Stub(lambda line: line.hold(), tls=context, raw_tls=True) as stub:
        begun = time.monotonic()
        with pytest.raises(Unreachable) as caught:
            witness(stub, Wire(HOME, cert)).connect()
        assert caught.value.code == "NETWORK.TIMEOUT"
        assert time.monotonic() - begun < patient(1)


def test_free_calls_keep_their_connection():
    with Stub(always(answer(200, b"ok"))) as stub:
        adapter = FreeAdapter(Wire(HOME), QUICK)
        for _ in range(3):
            assert read_whole(adapter.call("GET", stub.url + "/a", {"Accept": "*/*"}).raw.read) == b"ok"
        adapter.close()
        assert stub.connections == 1
        assert set(stub.asked[0].headers) == {"host", "accept", "accept-encoding", "user-agent"}


def test_an_asker_keeps_a_connection_only_when_it_read_an_answer_to_its_end():
    asker = Asker(Wire(HOME), QUICK)
    with Stub(half_then_whole) as stub:
        begun = asker.call("GET", stub.url, {})
        assert begun.body.read1(5) == b"first"
        begun.close()
        for _ in range(2):
            assert asker.exchange("GET", stub.url, {})[2] == b"first, second"
        assert stub.connections == 2
    asker.close()


def half_then_whole(line):
    """Send half of each answer, and the rest where the next request may come in between."""
    with suppress(OSError):
        while True:
            line.read_request()
            line.send(answer(200, b"first, second")[:-8])
            time.sleep(0.05)
            line.send(b", second")


def test_a_small_answer_that_ends_early_is_none():
    asker = Asker(Wire(HOME), QUICK)
    with Stub(lambda line: (line.read_request(), line.send(answer(200, b"{}", Content_Length="9")))) as stub:
        with pytest.raises(WireTrouble) as caught:
            asker.exchange("GET", stub.url, {})
        assert wire_fault(caught.value).message == "the answer ended early"
    asker.close()


def test_an_environment_full_of_proxies_and_passwords_changes_nothing(tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login spy password spy\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Stub(always(answer(200, b"ok"))) as stub:
        adapter = FreeAdapter(Wire(HOME), QUICK)
        assert read_whole(adapter.call("GET", stub.url, {}).raw.read) == b"ok"
        adapter.close()
        assert "authorization" not in stub.asked[0].headers


def drips(line):
    line.read_request()
    for letter in answer(200, b"x" * 50):
        line.send(bytes([letter]))
        time.sleep(0.05)


def test_an_answer_that_drips_ends_at_its_deadline():
    with Stub(drips) as stub:
        adapter = FreeAdapter(Wire(HOME), QUICK)
        begun = time.monotonic()
        with pytest.raises(WireTrouble) as caught:
            adapter.call("GET", stub.url, {})
        assert time.monotonic() - begun < patient(1.2)
        assert "altogether" in wire_fault(caught.value).message
        adapter.close()


def test_an_answer_without_end_is_read_to_its_limit_only():
    def floods(line):
        line.read_request()
        line.send(answer(200, b"", Content_Length=None))
        while True:
            line.send(b"x" * 65536)

    with Stub(floods) as stub:
        adapter = FreeAdapter(Wire(HOME), QUICK)
        response = adapter.call("GET", stub.url, {})
        with pytest.raises(WireTrouble):
            read_whole(response.raw.read, 1 << 20)
        response.close()
        adapter.close()


def test_a_drip_is_told_by_its_rate():
    pace = ExchangePace(TimeLimits(bytes_per_second_min=1000, window_seconds=2))
    pace.count_wait(4000, 1.0)
    pace.count_wait(0, 1.5)
    with pytest.raises(TooSlow):
        pace.count_wait(1000, 2.0)


def test_a_bomb_is_unpacked_to_the_limit_only():
    assert decoded(gzip.compress(b"x" * 10_000_000), "gzip", 1000) == b"x" * 1000
    assert decoded(b"no gzip", "gzip") == b"no gzip"
    assert decoded(b"{}", "") == b"{}"


def test_trouble_is_told_without_the_address():
    adapter = FreeAdapter(Wire(HOME), QUICK)
    with Stub(lambda line: line.reset()) as stub:
        with pytest.raises(WireTrouble) as caught:
            adapter.call("GET", stub.url + "/x?key=SECRET", {})
        assert "SECRET" not in repr(wire_fault(caught.value))
    adapter.close()
