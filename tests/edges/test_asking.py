"""Small questions over kept connections: polls, balances, cancellations."""

import time

import pytest

from clipspool.system.http.asking import Asker
from clipspool.system.http.client import Wire
from clipspool.system.http.faults import WireTrouble, wire_fault
from clipspool.system.http.guard import AddressGuard
from clipspool.system.http.pace import TimeLimits
from patience import patient
from stub import Stub, always, answer, certificate, says

QUICK = TimeLimits(connect_seconds=2.0, silence_seconds=2.0, total_seconds=4.0)
HOME = AddressGuard(allows_loopback=True)


@pytest.fixture
def asker():
    one = Asker(Wire(HOME), QUICK)
    yield one
    one.close()


def ask(asker, stub, method="GET", headers=None):
    return asker.exchange(method, f"{stub.url}/a?b=c", headers or {})


def test_questions_share_a_connection_and_send_nothing_of_their_own(asker):
    with Stub(always(answer(200, b"ok", X_Y="z"))) as stub:
        for _ in range(3):
            status, headers, body = ask(asker, stub, headers={"Accept": "application/json"})
            assert (status, headers["x-y"], body) == (200, "z", b"ok")
        assert stub.connections == 1
        assert set(stub.asked[0].headers) == {"host", "accept"}
        assert stub.asked[0].path == "/a?b=c"


def test_a_request_to_change_something_has_a_length(asker):
    with Stub(always(answer(200, b"{}"))) as stub:
        ask(asker, stub, "DELETE")
        assert stub.asked[0].headers["content-length"] == "0"


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_connection_that_the_server_closed_meanwhile_is_not_used_again(tmp_path, is_secure):
    context, cert = certificate(tmp_path) if is_secure else (None, None)
    with Stub(says(answer(200, b"one")), always(answer(200, b"two")), tls=context) as stub:
        asker = Asker(Wire(HOME, cert), QUICK)
        assert ask(asker, stub)[2] == b"one"
        time.sleep(0.1)  # until its end is here
        assert [ask(asker, stub)[2] for _ in range(2)] == [b"two", b"two"]
        assert stub.connections == 2
        asker.close()


def one_answer_and_no_second(line):
    line.read_request()
    line.send(answer(200, b"one"))
    line.read_request()


def test_what_only_reads_is_sent_again_where_the_server_closes_a_kept_connection_at_that_moment(asker):
    with Stub(one_answer_and_no_second, always(answer(200, b"two"))) as stub:
        assert [ask(asker, stub)[2] for _ in range(3)] == [b"one", b"two", b"two"]
        assert stub.connections == 2


def test_what_changes_something_is_never_sent_again(asker):
    with Stub(one_answer_and_no_second, always(answer(200, b"two"))) as stub:
        ask(asker, stub)
        with pytest.raises(ConnectionError):
            ask(asker, stub, "DELETE")
        assert stub.connections == 1


def test_a_new_connection_that_the_server_closes_is_trouble(asker):
    with Stub(says(b""), always(answer(200, b"two"))) as stub:
        with pytest.raises(WireTrouble):
            ask(asker, stub)
        assert stub.connections == 1


def test_a_connection_that_the_server_will_close_is_not_kept(asker):
    with Stub(says(answer(200, b"one", Connection="close")), always(answer(200, b"two"))) as stub:
        assert [ask(asker, stub)[2] for _ in range(2)] == [b"one", b"two"]
        assert stub.connections == 2


@pytest.mark.parametrize(
    "data",
    [
        answer(200, b"half", Content_Length="8"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n",
        answer(200, b"x" * 2_000_000),
        b"no HTTP\r\n\r\n",
    ],
)
def test_an_answer_that_is_not_whole_is_trouble_and_its_connection_is_closed(asker, data):
    with Stub(says(data), always(answer(200, b"ok"))) as stub:
        with pytest.raises(WireTrouble) as caught:
            ask(asker, stub)
        assert ("longer than" in wire_fault(caught.value).message) == (len(data) > 1_000_000)
        assert ask(asker, stub)[2] == b"ok"
        assert stub.connections == 2


def test_an_answer_that_drips_ends_at_its_deadline():
    def drips(line):
        line.read_request()
        for letter in answer(200, b"x" * 200):
            line.send(bytes([letter]))
            time.sleep(0.05)

    asker = Asker(Wire(HOME), TimeLimits(connect_seconds=2.0, silence_seconds=0.3, total_seconds=0.6))
    with Stub(drips) as stub:
        begun = time.monotonic()
        with pytest.raises(WireTrouble) as caught:
            ask(asker, stub)
        assert time.monotonic() - begun < patient(1.5)
        assert "altogether" in wire_fault(caught.value).message
