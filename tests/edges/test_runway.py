"""The provider over real sockets: paid once, no key to strangers [FAULTS F12 to F15, F18 to F20]."""

import base64
import gzip
import io
import json
import logging
import socket
import time
import tracemalloc

import pytest

from clipspool.jobs.account import Balance
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.provider.protocol import (
    Call,
    Created,
    Download,
    DownloadCut,
    Inline,
    NothingSent,
    Refused,
    TaskStatus,
    Unclear,
)
from clipspool.provider.runway import Patience, Runway
from clipspool.provider.runway.body import open_body
from clipspool.system.http.client import Wire
from patience import patient
from stub import Stub, always, answer, certificate, says

KEY = "key_canary0123456789"
QUICK = Patience(
    connect_seconds=0.3,
    read_seconds=0.3,
    submit_seconds_max=0.8,
    upload_bytes_per_second_min=1e9,
    early_answer_seconds=0.3,
    download_seconds_max=5,
    download_bytes_per_second_min=1000,
    drip_seconds=0.4,
)
CALL = Call("video_to_video", {"model": "gen4_aleph", "promptText": "snow", "seed": 0})
MADE = answer(200, {"id": "task-1"})


@pytest.fixture
def runway():
    made = []

    def make(base, **options):
        base = base.url if isinstance(base, Stub) else base
        made.append(Runway(f"{base}/v1", lambda: KEY, **{"patience": QUICK} | options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def inline(data, **more):
    return Inline(**{"open": lambda: io.BytesIO(data), "size": len(data), "content_type": "video/mp4"} | more)


def clip_call(source):
    return Call("video_to_video", {"model": "m", "videoUri": source})


class Gate:
    def __init__(self, opens=True, waits=0):
        self.opens, self.waits, self.asked = opens, waits, 0

    def __call__(self, is_usable):
        self.asked += 1
        time.sleep(self.waits)
        return self.opens and is_usable()


def test_a_paid_request_is_sent_as_the_api_wants_it(runway):
    data = bytes(range(256)) * 1201
    body = {
        "model": "m",
        "seed": 0,
        "ratio": None,
        "promptText": "Schnee \U0001f600",
        "videoUri": inline(data),
        "references": [{"type": "image", "uri": inline(b"img", content_type="image/png"), "tag": None}],
    }
    with Stub(says(MADE)) as stub:
        assert runway(stub).submit(Call("video_to_video", body), Gate()) == Created("task-1")
    (asked,) = stub.asked
    assert (asked.method, asked.path) == ("POST", "/v1/video_to_video")
    assert asked.headers == {
        "host": f"127.0.0.1:{stub.port}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "clipspool",
        "x-runway-version": "2024-11-06",
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "content-length": str(len(asked.body)),
    }
    assert json.loads(asked.body) == {
        "model": "m",
        "seed": 0,
        "promptText": "Schnee \U0001f600",
        "videoUri": "data:video/mp4;base64," + base64.b64encode(data).decode(),
        "references": [{"type": "image", "uri": "data:image/png;base64,aW1n"}],
    }


def test_each_paid_request_has_a_connection_of_its_own(runway):
    with Stub(always(MADE)) as stub:
        one = runway(stub)
        for _ in range(3):
            assert one.submit(CALL, Gate()) == Created("task-1")
        assert stub.connections == 3


def test_the_gate_is_asked_once_connected_and_before_any_byte(runway):
    seen = []

    def script(line):
        line.sock.settimeout(0.3)
        try:
            seen.append(line.sock.recv(1))
        except TimeoutError:
            seen.append("nothing")

    with Stub(script) as stub:
        gate = Gate(opens=False, waits=0.4)
        heard = runway(stub).submit(CALL, gate)
        assert isinstance(heard, NothingSent)
        assert gate.asked == 1
    assert seen == ["nothing"]


def test_a_gate_that_raises_sends_nothing(runway):
    def gate(_is_usable):
        raise RuntimeError("stop")

    with Stub(says(MADE)) as stub:
        with pytest.raises(RuntimeError):
            runway(stub).submit(CALL, gate)
        assert stub.asked == []


class ShortSocket(socket.socket):
    """Takes so many bytes of a request, and then the line is cut."""

    takes = 0

    def send(self, data, *flags):
        if not self.takes:
            raise BrokenPipeError
        count = super().send(bytes(data)[: self.takes], *flags)
        self.takes = 0
        return count


@pytest.mark.parametrize("takes", [0, 1, 17, 120, 299])
def test_a_line_cut_after_the_first_byte_leaves_doubt_and_before_it_none(runway, monkeypatch, takes):
    whole = Wire.connected

    def short(self, target, seconds):
        sock = ShortSocket(fileno=whole(self, target, seconds).detach())
        sock.takes = takes
        return sock

    with Stub(lambda line: line.hold()) as stub:
        one = runway(stub)
        monkeypatch.setattr(Wire, "connected", short)
        heard = one.submit(CALL, Gate())
    if takes:
        assert isinstance(heard, Unclear)
        assert heard.evidence["bytes_written"] == takes
    else:
        assert isinstance(heard, NothingSent)


def test_a_refusal_is_judged_without_the_words_that_the_request_itself_put_there(runway):
    prompt = "the man is out of credits"
    said = answer(400, {"error": f'promptText "{prompt}" is too dark'})
    with Stub(says(said)) as stub:
        heard = runway(stub).submit(Call("video_to_video", {"promptText": prompt}), Gate())
    assert isinstance(heard, Refused)
    assert (heard.fault.of, heard.fault.code) == (FaultOf.CLIP, "REQUEST.INVALID")
    assert prompt in heard.fault.message


def refused_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_what_cannot_be_reached_is_not_sent_and_the_gate_not_asked(runway, tmp_path):
    gate = Gate()
    context, cert = certificate(tmp_path)
    with (
        Stub(lambda line: line.hold(), tls=context, raw_tls=True) as stalled,
        Stub(says(), tls=context) as stranger,
    ):
        for heard, code in [
            (runway(refused_port()).submit(CALL, gate), "NETWORK.REFUSED"),
            (runway(stalled, ca_file=cert).submit(CALL, gate), "NETWORK.TIMEOUT"),
            (runway(stranger, patience=Patience()).submit(CALL, gate), "NETWORK.TLS"),
            (runway("https://no-such-host.invalid", patience=Patience()).submit(CALL, gate), "NETWORK.DNS"),
        ]:
            assert isinstance(heard, NothingSent)
            assert (heard.fault.of, heard.fault.code) == (FaultOf.MOMENT, code)
    assert gate.asked == 0


def test_a_server_that_leaves_while_the_gate_is_shut_was_sent_nothing(runway, tmp_path):
    context, cert = certificate(tmp_path)
    with Stub(says()) as plain, Stub(says(), tls=context) as secure:
        for one in (runway(plain), runway(secure, ca_file=cert)):
            assert isinstance(one.submit(CALL, Gate(waits=0.1)), NothingSent)


def drop_after(count):
    def script(line):
        line.read(count)
        line.reset()

    return script


def cut_answer(line):
    line.read_request()
    line.send(MADE[:-3])


def silent(line):
    line.read_request()
    line.hold()


def whole_then_reset(line):
    line.read_request()
    line.reset()


def drip(line):
    line.read_request()
    for letter in MADE:
        line.send(bytes([letter]))
        time.sleep(0.05)


def no_http(line):
    line.read_request()
    line.send(b"SSH-2.0-hello\r\n")


@pytest.mark.parametrize(
    "script",
    [
        drop_after(1),
        drop_after(400),
        drop_after(100_000),
        whole_then_reset,
        says(b""),
        cut_answer,
        silent,
        drip,
        no_http,
        says(b"HTTP/1.1 200 OK\r\n"),
        says(answer(400, b"{", Content_Length="50")),
        says(answer(200, b"", Transfer_Encoding="chunked", Content_Length=None) + b'5\r\n{"id'),
        says(answer(200, b"x" * (1 << 21))),
    ],
    ids=lambda script: script.__qualname__.partition(".")[0],
)  # fmt: skip
@pytest.mark.parametrize("is_secure", [False, True])
def test_once_bytes_have_left_a_lost_answer_is_doubt(runway, tmp_path, script, is_secure):
    context, cert = certificate(tmp_path) if is_secure else (None, None)
    with Stub(script, tls=context) as stub:
        begun = time.monotonic()
        heard = runway(stub, ca_file=cert).submit(clip_call(inline(b"x" * 3_000_000)), Gate())
        assert time.monotonic() - begun < patient(3)
        assert isinstance(heard, Unclear)
        assert 0 < heard.evidence["bytes_written"] <= heard.evidence["bytes_total"]
        assert heard.evidence["bytes_total"] > 4_000_000
        assert heard.evidence["error"]
        assert heard.evidence["sent_at"].endswith("+00:00")
        assert KEY not in repr(heard)
        assert stub.connections == 1


@pytest.mark.parametrize(
    "torso",
    [
        answer(200, b'{"id":"task-1"}', Content_Length="99"),
        answer(200, b'f\r\n{"id":"task-1"}\r\n', Transfer_Encoding="chunked", Content_Length=None),
    ],
)
def test_a_task_that_was_named_whole_is_followed_though_the_answer_breaks_off_behind_it(runway, torso):
    with Stub(says(torso)) as stub:
        assert runway(stub).submit(CALL, Gate()) == Created("task-1")


@pytest.mark.parametrize("end", ["reset", "hold"])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_nor_does_it_matter_how_the_answer_breaks_off(runway, end, is_chunked):
    size = (
        {"Transfer_Encoding": "chunked", "Content_Length": None} if is_chunked else {"Content_Length": "99"}
    )
    body = b'f\r\n{"id":"task-1"}\r\n' if is_chunked else b'{"id":"task-1"}'

    def script(line):
        line.read_request()
        line.send(answer(200, body, **size))
        getattr(line, end)()

    with Stub(script) as stub:
        assert runway(stub).submit(CALL, Gate()) == Created("task-1")


@pytest.mark.parametrize("body", [b'{"id":"task-1', b'{"error":"no","id":"task-1"'])
def test_what_came_of_an_answer_that_breaks_off_is_kept_as_evidence(runway, body):
    for status in (200, 400):
        with Stub(says(answer(status, body, Content_Length="99"))) as stub:
            heard = runway(stub).submit(CALL, Gate())
        assert isinstance(heard, Unclear)
        assert (heard.evidence["http_status"], heard.evidence["answer"]) == (status, body.decode())


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"


def test_interim_answers_are_passed_over(runway):
    def script(line):
        for _ in range(2):
            line.read_request()
            line.send(HINTS + answer(200, {"id": "task-1", "status": "RUNNING"}))
        line.hold()

    with Stub(script) as stub:
        one = runway(stub)
        assert one.submit(CALL, Gate()) == Created("task-1")
        for _ in range(2):
            assert one.look("task-1").status is TaskStatus.RUNNING
        assert stub.connections == 2
    with Stub(says(HINTS + answer(200, b"film"))) as stub:
        assert b"".join(runway(stub).download(stub.url, 0, "").chunks) == b"film"


def test_an_interim_answer_alone_is_doubt(runway):
    with Stub(says(HINTS)) as stub:
        assert isinstance(runway(stub).submit(CALL, Gate()), Unclear)


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504, 524])
def test_an_unclear_answer_is_kept_as_evidence(runway, status):
    with Stub(always(answer(status, b"<html>sorry</html>"))) as stub:
        heard = runway(stub).submit(CALL, Gate())
        assert isinstance(heard, Unclear)
        assert heard.evidence["http_status"] == status
        assert heard.evidence["answer"] == "<html>sorry</html>"
        assert heard.evidence["bytes_written"] == heard.evidence["bytes_total"]
        assert stub.connections == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_never_followed(runway, status):
    with Stub(always(MADE)) as elsewhere, Stub(always(answer(status, b"", Location=elsewhere.url))) as stub:
        heard = runway(stub).submit(CALL, Gate())
        assert isinstance(heard, Unclear)
        assert len(stub.asked) == 1
        assert elsewhere.connections == 0


@pytest.mark.parametrize("is_secure", [False, True])
@pytest.mark.parametrize(
    ("early", "code"),
    [(answer(413, b""), "REQUEST.TOO_LARGE"), (answer(401, {"error": KEY}), "ACCOUNT.KEY_REFUSED")],
)
def test_a_clear_refusal_before_the_body_ended_counts(runway, tmp_path, early, code, is_secure):
    context, cert = certificate(tmp_path) if is_secure else (None, None)

    def script(line):
        line.read_head()
        line.send(early)
        time.sleep(0.1)
        line.sock.close()

    with Stub(script, tls=context) as stub:
        heard = runway(stub, ca_file=cert).submit(clip_call(inline(b"x" * 8_000_000)), Gate())
        assert isinstance(heard, Refused)
        assert heard.fault.code == code
        assert KEY not in repr(heard)


def test_a_server_that_answers_and_reads_no_further_is_heard(runway):
    def script(line):
        line.read_head()
        line.send(answer(401, b""))
        line.hold()

    with Stub(script) as stub:
        heard = runway(stub).submit(clip_call(inline(b"x" * 12_000_000)), Gate())
        assert isinstance(heard, Refused)


def test_an_early_answer_that_is_no_clear_refusal_is_doubt(runway):
    def script(line):
        line.read_head()
        line.send(answer(503, b""))
        line.sock.close()

    with Stub(script) as stub:
        heard = runway(stub).submit(clip_call(inline(b"x" * 8_000_000)), Gate())
        assert isinstance(heard, Unclear)
        assert heard.evidence["bytes_written"] < heard.evidence["bytes_total"]


def test_a_clip_that_cannot_be_read_is_not_sent(runway):
    def gone():
        raise FileNotFoundError(2, "No such file or directory", "/secret/place")

    class Broken(io.BytesIO):
        def read(self, *_):
            raise OSError(5, "Input/output error")

    with Stub(always(MADE)) as stub:
        one, gate = runway(stub), Gate()
        for source, code in [
            (inline(b"abc", open=gone), "FILE.UNREADABLE"),
            (inline(b"abc", open=lambda: Broken(b"abc")), "FILE.UNREADABLE"),
            (inline(b"abc", size=4), "FILE.CHANGED"),
            (inline(b"abc", size=2), "FILE.CHANGED"),
        ]:
            heard = one.submit(clip_call(source), gate)
            assert isinstance(heard, NothingSent)
            assert heard.fault.code == code
            assert "secret" not in repr(heard)
        assert (gate.asked, stub.connections) == (0, 0)


def test_a_clip_that_fails_midway_is_cut_off_and_in_doubt(runway):
    class Fading(io.BytesIO):
        def read(self, count=-1):
            if self.tell() > 1_000_000:
                raise OSError(116, "Stale file handle")
            return super().read(count)

    data = b"x" * 3_000_000
    with Stub(always(MADE)) as stub:
        heard = runway(stub).submit(clip_call(inline(data, open=lambda: Fading(data))), Gate())
        assert isinstance(heard, Unclear)
        assert "Stale" in heard.evidence["error"]
        assert 0 < heard.evidence["bytes_written"] < heard.evidence["bytes_total"]


def test_a_clip_that_grows_while_it_is_sent_is_never_completed(runway):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    with Stub(always(MADE)) as stub:
        for data, size in ((b"x" * 500_001, 500_000), (b"x" * 500_000, 500_001)):
            heard = runway(stub).submit(clip_call(inline(data, open=lambda: Pipe(data), size=size)), Gate())  # noqa: B023
            assert isinstance(heard, Unclear)
        assert all(len(asked.body) < int(asked.headers["content-length"]) for asked in stub.asked)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), time.gmtime, {1}])
def test_a_request_that_json_has_no_word_for_is_not_sent(runway, value):
    with Stub(always(MADE)) as stub:
        heard = runway(stub).submit(Call("x", {"extra": value}), Gate())
        assert isinstance(heard, NothingSent)
        assert heard.fault.of is FaultOf.CLIP
        assert stub.connections == 0


@pytest.mark.parametrize("key", ["", "  ", "two words", "bell\x07", "schlüssel", "a\r\nb: c"])
def test_a_key_that_is_none_stops_everything_but_raises_nothing(key):
    with Stub(always(MADE)) as stub:
        one = Runway(f"{stub.url}/v1", lambda: key, patience=QUICK)
        assert one.submit(CALL, Gate()).fault.of is FaultOf.ACCOUNT
        assert one.look("x").of is FaultOf.ACCOUNT
        assert one.ask_account().of is FaultOf.ACCOUNT
        assert one.profile.endswith("#no-key")
        assert stub.connections == 0


@pytest.mark.parametrize("said", [{"note": "for sesame77sesame"}, {"error": "sesame77sesame is no key"}])
@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_key_in_no_usual_form_is_taken_out_of_an_answer_that_repeats_it(status, said):
    with Stub(always(answer(status, said))) as stub:
        one = Runway(f"{stub.url}/v1", lambda: "sesame77sesame", patience=QUICK)
        heard = one.submit(CALL, Gate())
        assert "sesame" not in repr(heard)
        assert "sesame" not in repr(one.look("x"))
        one.close()


def test_a_changed_key_is_used_at_once_and_changes_the_profile():
    keys = [KEY]
    with Stub(always(MADE)) as stub:
        one = Runway(f"{stub.url}/v1", lambda: keys[0], patience=QUICK)
        before = one.profile
        one.submit(CALL, Gate())
        keys[0] = "key_other"
        one.submit(CALL, Gate())
        assert [asked.headers["authorization"] for asked in stub.asked] == [
            f"Bearer {KEY}",
            "Bearer key_other",
        ]
        assert one.profile != before
        assert KEY not in before


def test_memory_does_not_grow_with_the_clip(runway, tmp_path):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"\x00" * 12_000_000)
    source = Inline(lambda: clip.open("rb"), 12_000_000, "video/mp4")

    def swallow(line):
        left = int(line.read_head().headers["content-length"])
        while left:
            left -= len(line.sock.recv(65536))
        line.send(MADE)

    with Stub(swallow) as stub:
        one = runway(stub, patience=Patience())
        tracemalloc.start()
        assert one.submit(clip_call(source), Gate()) == Created("task-1")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 3_000_000


def test_a_piece_of_a_clip_is_in_memory_once_while_it_is_sent(tmp_path):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(bytes(1_200_000))
    source = Inline(lambda: clip.open("rb"), 1_200_000, "video/mp4")
    tracemalloc.start()
    with open_body({"promptText": "deep winter", "videoUri": source}) as body:
        beside = [tracemalloc.get_traced_memory()[0] - len(piece) for piece in body]
    tracemalloc.stop()
    assert len(beside) > 4
    assert max(beside) < 100_000


def test_looks_keep_one_connection_and_escape_the_id(runway):
    with Stub(always(answer(200, {"status": "RUNNING", "progress": 0.5}))) as stub:
        one = runway(stub)
        for _ in range(3):
            assert one.look("a/../../b?c#d e").progress == 0.5
        assert stub.connections == 1
        assert {asked.path for asked in stub.asked} == {"/v1/tasks/a%2F..%2F..%2Fb%3Fc%23d%20e"}


@pytest.mark.parametrize("script", [whole_then_reset, silent, drip, cut_answer, no_http, drop_after(1)])
def test_whatever_goes_wrong_in_a_look_is_a_fault_of_the_moment(runway, script):
    with Stub(script) as stub:
        heard = runway(stub).look("x")
        assert isinstance(heard, Fault)
        assert heard.of is FaultOf.MOMENT
    assert runway(refused_port()).look("x").code == "NETWORK.REFUSED"


def test_a_compressed_answer_is_read_although_none_was_asked_for(runway):
    body = gzip.compress(json.dumps({"status": "SUCCEEDED", "output": ["https://a.example/x"]}).encode())
    with Stub(always(answer(200, body, Content_Encoding="gzip"))) as stub:
        assert runway(stub).look("x").status is TaskStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (answer(204, b"", Content_Length=None), None),
        (answer(200, {}), None),
        (answer(404, {"error": "Not found"}), "PROVIDER.NO_CANCEL"),
        (answer(400, {"code": "task_not_exist"}), "PROVIDER.NO_CANCEL"),
        (answer(200, {"code": "task_not_exist"}), "PROVIDER.NO_CANCEL"),
        (answer(404, b"<html>no</html>"), "PROVIDER.NO_CANCEL"),
        (answer(404, {"error": {"message": "Invalid URL (DELETE /x)"}}), "PROVIDER.NO_CANCEL"),
        (answer(405, {"error": "no"}), "PROVIDER.NO_CANCEL"),
        (answer(200, b"<html>welcome</html>"), "PROVIDER.NO_CANCEL"),
        (answer(501, b""), "PROVIDER.NO_CANCEL"),
        (answer(301, b"", Location="/"), "PROVIDER.NO_CANCEL"),
        (answer(401, b""), "ACCOUNT.KEY_REFUSED"),
        (answer(429, b""), "PROVIDER.BUSY"),
        (answer(503, b""), "HTTP.503"),
    ],
)
def test_cancelling_tells_whether_the_provider_can(runway, given, code):
    with Stub(says(given)) as stub:
        heard = runway(stub).cancel("x")
        assert (heard and heard.code) == code
        assert stub.asked[0].method == "DELETE"


def test_the_account_tells_its_credits_where_it_has_a_call_for_that(runway):
    with Stub(always(answer(200, {"creditBalance": 900, "tier": {"maxMonthlyCreditSpend": 1000}}))) as stub:
        told = runway(stub).ask_account()
        assert told == {"key": "accepted", "credits": 900.0, "limits": {"maxMonthlyCreditSpend": 1000}}
        assert [asked.path for asked in stub.asked] == ["/v1/organization"]


@pytest.mark.parametrize(
    ("given", "balance"),
    [
        (answer(200, {"creditBalance": 900}), Balance(900.0, "credits")),
        (answer(200, {"creditBalance": "many"}), None),
        (answer(404, b"<html>"), None),
        (answer(401, {"error": "bad key"}), None),
        (answer(502, b""), None),
    ],
)
def test_the_balance_is_one_question_and_never_a_fault(runway, given, balance):
    with Stub(always(given)) as stub:
        assert runway(stub).ask_balance() == balance
        assert [asked.path for asked in stub.asked] == ["/v1/organization"]


@pytest.mark.parametrize(
    ("probe", "told"),
    [
        (answer(400, {"code": "task_not_exist", "message": "task_not_exist"}), "accepted"),
        (answer(404, {"error": "no such task"}), "accepted"),
        (answer(401, {"error": "bad key"}), "ACCOUNT.KEY_REFUSED"),
        (answer(404, b"<html>"), "PROVIDER.WRONG_ADDRESS"),
        (answer(301, b"", Location="/x"), "PROVIDER.WRONG_ADDRESS"),
        (answer(502, b""), "HTTP.502"),
    ],
)
def test_a_look_at_no_task_tells_a_good_key_from_a_bad_one(runway, probe, told):
    with Stub(says(answer(404, b"<html>"), probe)) as stub:
        heard = runway(stub).ask_account()
        assert (heard.code if isinstance(heard, Fault) else heard["key"]) == told


MOVIE = bytes(range(256)) * 4000
TAG = '"v1"'


def fetched(download):
    got = []
    try:
        got.extend(download.chunks)
    except DownloadCut as cut:
        return b"".join(got), str(cut)
    pytest.fail("the download was not cut")


def test_a_result_comes_whole_with_its_size_and_tag(runway):
    with Stub(always(answer(200, MOVIE, ETag=TAG))) as stub:
        download = runway(stub).download(stub.url + "/out.mp4?sig=1", 0, "")
        assert (download.offset, download.size, download.etag) == (0, len(MOVIE), TAG)
        assert b"".join(download.chunks) == MOVIE
        assert stub.asked[0].path == "/out.mp4?sig=1"
        assert stub.asked[0].headers["accept-encoding"] == "identity"
        assert "range" not in stub.asked[0].headers


def test_the_key_goes_to_the_apis_own_host_only(runway):
    with (
        Stub(always(answer(200, b"x"))) as other,
        Stub(says(answer(302, b"", Location=other.url + "/y"))) as api,
    ):
        one = runway(api)
        assert isinstance(one.download(api.url + "/content", 0, ""), Download)
        assert isinstance(one.download(other.url + "/z", 0, ""), Download)
        assert api.asked[0].headers["authorization"] == f"Bearer {KEY}"
        assert [asked.headers.get("authorization") for asked in other.asked] == [None, None]
        assert all("x-runway-version" not in asked.headers for asked in other.asked)


def test_a_result_is_resumed_with_a_strong_tag(runway):
    part = answer(206, MOVIE[1000:], Content_Range=f"bytes 1000-{len(MOVIE) - 1}/{len(MOVIE)}", ETag=TAG)
    with Stub(always(part)) as stub:
        download = runway(stub).download(stub.url, 1000, TAG)
        assert (download.offset, download.size, download.etag) == (1000, len(MOVIE), TAG)
        assert b"".join(download.chunks) == MOVIE[1000:]
        assert (stub.asked[0].headers["range"], stub.asked[0].headers["if-range"]) == ("bytes=1000-", TAG)


@pytest.mark.parametrize("etag", ["", 'W/"v1"', "v1", '"a\r\nb"'])
def test_without_a_strong_tag_a_result_is_begun_anew(runway, etag):
    with Stub(always(answer(200, MOVIE, ETag='W/"v1"'))) as stub:
        download = runway(stub).download(stub.url, 1000, etag)
        assert (download.offset, download.etag) == (0, "")
        assert "range" not in stub.asked[0].headers


@pytest.mark.parametrize(
    "resumed",
    [
        answer(206, MOVIE[999:], Content_Range=f"bytes 999-{len(MOVIE) - 1}/{len(MOVIE)}", ETag=TAG),
        answer(206, MOVIE[1000:], Content_Range=f"bytes 1000-{len(MOVIE) - 1}/*", ETag=TAG),
        answer(206, MOVIE[1000:2000], Content_Range=f"bytes 1000-1999/{len(MOVIE)}", ETag=TAG),
        answer(206, MOVIE[1000:], Content_Range=f"bytes 1000-{len(MOVIE)}/{len(MOVIE) + 1}", ETag=TAG),
        answer(206, MOVIE[1000:], Content_Range=f"bytes 1000-{len(MOVIE) - 1}/{len(MOVIE)}", ETag='"v2"'),
        answer(206, MOVIE[1000:], ETag=TAG),
        answer(206, MOVIE[1000:], Content_Type="multipart/byteranges; boundary=x", ETag=TAG),
        answer(416, b"", Content_Range=f"bytes */{len(MOVIE)}"),
    ],
)
def test_a_part_that_does_not_fit_begins_anew(runway, resumed):
    with Stub(says(resumed), always(answer(200, MOVIE, ETag=TAG))) as stub:
        download = runway(stub).download(stub.url, 1000, TAG)
        assert download.offset == 0
        assert b"".join(download.chunks) == MOVIE
        assert "range" not in stub.asked[-1].headers


def in_chunks(begin, last, size=None, **headers):
    size = size or len(MOVIE)
    body = MOVIE[begin : last + 1]
    head = answer(
        206,
        b"",
        Content_Range=f"bytes {begin}-{last}/{size}",
        Content_Length=None,
        Transfer_Encoding="chunked",
        **headers,
    )
    return head + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize("begin", [0, 999, 1001])
def test_a_part_without_a_length_that_begins_elsewhere_begins_anew(runway, begin):
    whole = always(answer(200, MOVIE, ETag=TAG))
    with Stub(says(in_chunks(begin, len(MOVIE) - 1, ETag=TAG)), whole) as stub:
        download = runway(stub).download(stub.url, 1000, TAG)
        assert (download.offset, b"".join(download.chunks)) == (0, MOVIE)


def test_a_part_without_a_length_is_added_where_it_fits(runway):
    with Stub(always(in_chunks(1000, len(MOVIE) - 1))) as stub:
        download = runway(stub).download(stub.url, 1000, TAG)
        # Without a tag of its own it is a part of the file that was asked for, and can be resumed as that.
        assert (download.offset, download.size, download.etag) == (1000, len(MOVIE), TAG)
        assert b"".join(download.chunks) == MOVIE[1000:]
    with Stub(always(in_chunks(1000, len(MOVIE) - 2))) as stub:
        assert isinstance(runway(stub).download(stub.url, 1000, TAG), Fault)


@pytest.mark.parametrize("etag", [TAG, ""])
def test_a_whole_result_that_is_called_a_part_is_taken(runway, etag):
    whole = answer(206, MOVIE, Content_Range=f"bytes 0-{len(MOVIE) - 1}/{len(MOVIE)}", ETag=etag)
    with Stub(always(whole)) as stub:
        download = runway(stub).download(stub.url, 0, "")
        assert (download.offset, download.size, download.etag) == (0, len(MOVIE), etag)
        assert b"".join(download.chunks) == MOVIE


@pytest.mark.parametrize("span", ["bytes 0-999/{0}", "bytes 1-{1}/{0}", "bytes 0-{1}/*", ""])
def test_a_part_that_nobody_asked_for_is_no_result(runway, span):
    part = answer(206, MOVIE[:1000], Content_Range=span.format(len(MOVIE), len(MOVIE) - 1))
    with Stub(always(part)) as stub:
        assert runway(stub).download(stub.url, 0, "").code == "RESULT.REFUSED"


def test_a_whole_result_instead_of_a_part_counts_from_its_beginning(runway):
    with Stub(always(answer(200, MOVIE, ETag='"v2"'))) as stub:
        download = runway(stub).download(stub.url, 1000, TAG)
        assert (download.offset, download.etag) == (0, '"v2"')
        assert len(stub.asked) == 1


def cut_short(line):
    line.read_request()
    line.send(answer(200, MOVIE[:700_000], Content_Length=str(len(MOVIE)), ETag=TAG))


def cut_chunk(line):
    line.read_request()
    head = answer(200, b"", Content_Length=None, Transfer_Encoding="chunked")
    line.send(head + b"aae60\r\n" + MOVIE[:700_000] + b"\r\n1000\r\nx")


def stalls(line):
    line.read_request()
    line.send(answer(200, MOVIE[:700_000], Content_Length=str(len(MOVIE))))
    line.hold()


def resets(line):
    line.read_request()
    line.send(answer(200, MOVIE[:700_000], Content_Length=str(len(MOVIE))))
    time.sleep(0.2)
    line.reset()


def drips_on(line):
    line.read_request()
    line.send(answer(200, MOVIE[:100], Content_Length=str(len(MOVIE))))
    for _ in range(100):
        line.send(b"x")
        time.sleep(0.03)


@pytest.mark.parametrize(
    ("script", "kept", "why"),
    [
        (cut_short, 700_000, "early"),
        (cut_chunk, 700_000, "early"),
        (stalls, 700_000, "stopped answering"),
        (resets, 700_000, "cut"),
        (drips_on, 100, "slower"),
    ],
    ids=["short", "chunk", "stall", "reset", "drip"],
)
def test_a_result_that_ends_too_early_is_cut_and_what_came_is_kept(runway, script, kept, why):
    with Stub(script) as stub:
        download = runway(stub).download(stub.url, 0, "")
        got, said = fetched(download)
        assert got[:kept] == MOVIE[:kept]
        assert why in said


def test_a_result_without_a_length_leaves_its_size_open(runway):
    with Stub(says(answer(200, MOVIE, Content_Length=None))) as stub:
        download = runway(stub).download(stub.url, 0, "")
        assert download.size is None
        assert b"".join(download.chunks) == MOVIE


def test_a_result_that_comes_compressed_unasked_is_unpacked(runway):
    with Stub(always(answer(200, gzip.compress(MOVIE), Content_Encoding="gzip", ETag=TAG))) as stub:
        download = runway(stub).download(stub.url, 0, "")
        assert (download.size, download.etag) == (None, "")
        assert b"".join(download.chunks) == MOVIE
        assert stub.asked[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "value", ["", " ", "identity", "Identity", "identity, identity", " , IDENTITY ,", "none"]
)
def test_a_result_that_says_in_any_form_that_it_is_plain_is_plain(runway, value):
    with Stub(always(answer(200, MOVIE, Content_Encoding=value, ETag=TAG))) as stub:
        got = runway(stub).download(f"{stub.url}/a.mp4", 0, "")
        assert isinstance(got, Download)
        assert b"".join(got.chunks) == MOVIE
        assert got.size == len(MOVIE)


@pytest.mark.parametrize("value", ["GZIP", "x-gzip", "identity, gzip", "gzip,identity"])
def test_a_packed_result_is_unpacked_however_its_header_spells_it(runway, value):
    with Stub(always(answer(200, gzip.compress(MOVIE), Content_Encoding=value))) as stub:
        got = runway(stub).download(f"{stub.url}/a.mp4", 0, "")
        assert b"".join(got.chunks) == MOVIE


@pytest.mark.parametrize("value", ["br", "gzip, gzip", "zstd, identity"])
def test_a_result_packed_in_a_way_that_was_not_asked_for_is_refused_by_name(runway, value):
    with Stub(always(answer(200, MOVIE, Content_Encoding=value))) as stub:
        heard = runway(stub).download(f"{stub.url}/a.mp4", 0, "")
    assert (heard.code, value.split(",")[0] in heard.message) == ("RESULT.ENCODED", True)


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (200, {"id": "task-1"}, {"Content_Length": "{n}, {n}"}),
        (
            200,
            {"id": "task-1"},
            {"Content_Length": "{n},{n},{n}", "Content_Type": "Application/JSON; Charset=UTF-8"},
        ),
        (200, {"id": "task-1"}, {"Content_Encoding": "Identity, identity"}),
        (200, {"id": "task-1"}, {"Content_Encoding": "", "Content_Type": "text/plain"}),
    ],
)
def test_a_paid_answer_is_read_whatever_the_grammar_of_its_headers(runway, status, body, headers):
    length = str(len(json.dumps(body)))
    told = {name: value.format(n=length) for name, value in headers.items()}

    def script(line):
        line.read_request()
        line.send(answer(status, body, **told))
        line.hold()

    with Stub(script) as stub:
        begun = time.monotonic()
        assert runway(stub).submit(CALL, Gate()) == Created("task-1")
        assert time.monotonic() - begun < patient(2), "it does not wait for the server to close"


@pytest.mark.parametrize(
    ("packed", "why"),
    [
        (gzip.compress(MOVIE)[:-9], "early"),
        (gzip.compress(MOVIE)[:-8] + b"\0" * 8, "damaged"),
        (MOVIE, "damaged"),
        (gzip.compress(bytes(40 << 20)), "far too much"),
    ],
    ids=["short", "checksum", "not packed", "bomb"],
)
def test_what_does_not_unpack_to_a_whole_result_is_cut(runway, packed, why):
    with Stub(says(answer(200, packed, Content_Encoding="gzip", Content_Length=None))) as stub:
        got, said = fetched(runway(stub).download(stub.url, 0, ""))
        assert why in said
        assert len(got) <= 17 << 20


def test_a_result_larger_than_results_may_be_is_not_taken(runway):
    small = Patience(result_bytes_max=1000)
    with Stub(says(answer(200, MOVIE)), says(answer(200, MOVIE, Content_Length=None))) as stub:
        one = runway(stub, patience=small)
        assert one.download(stub.url, 0, "").code == "RESULT.TOO_LARGE"
        got, said = fetched(one.download(stub.url, 0, ""))
        assert "larger" in said
        assert len(got) <= 1000
    with Stub(says(in_chunks(600, 1300, size=1301)), says(in_chunks(600, 1300, size=900))) as stub:
        one = runway(stub, patience=small)
        assert one.download(stub.url, 600, TAG).code == "RESULT.TOO_LARGE"


def test_the_rest_of_a_result_is_cut_where_the_whole_grows_too_large(runway):
    longer = in_chunks(600, 1999, size=900).replace(b"bytes 600-1999/", b"bytes 600-899/")
    with Stub(says(longer)) as stub:
        got, said = fetched(
            runway(stub, patience=Patience(result_bytes_max=1000)).download(stub.url, 600, TAG)
        )
        assert "larger" in said
        assert len(got) <= 400


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (answer(403, b""), "RESULT.EXPIRED"),
        (answer(404, b""), "RESULT.EXPIRED"),
        (answer(410, b""), "RESULT.EXPIRED"),
        (answer(400, b""), "RESULT.REFUSED"),
        (answer(503, b""), "RESULT.REFUSED"),
        (answer(204, b"", Content_Length=None), "RESULT.REFUSED"),
        (answer(206, b"x", Content_Range="bytes 0-0/2"), "RESULT.REFUSED"),
        (answer(200, MOVIE, Content_Encoding="br"), "RESULT.ENCODED"),
        (answer(302, b"", Location="/again"), "RESULT.REDIRECTS"),
        (answer(302, b"", Location="http://10.0.0.1/x"), "RESULT.FORBIDDEN_ADDRESS"),
        (answer(302, b"", Location="file:///etc/passwd"), "RESULT.FORBIDDEN_ADDRESS"),
        (answer(302, b"", Location="https://u:p@a.example/x"), "RESULT.FORBIDDEN_ADDRESS"),
        (answer(200, b"x", Content_Length="1, 2"), "NETWORK.BROKEN"),
    ],
)
def test_a_result_that_is_not_given_says_why(runway, given, code):
    with Stub(always(given)) as stub:
        heard = runway(stub).download(stub.url + "/x?sig=SECRET", 0, "")
        assert isinstance(heard, Fault)
        assert heard.code == code
        assert "SECRET" not in repr(heard)
        assert len(stub.asked) <= 6


@pytest.mark.parametrize(
    "url", ["", "nonsense", "https://", "https://a b/", "http://[::1", "https://x" * 2000]
)
def test_an_address_that_is_none_is_a_fault(runway, url):
    assert runway("http://127.0.0.1:9").download(url, 0, "").code == "RESULT.FORBIDDEN_ADDRESS"


def test_a_public_api_opens_no_way_to_loopback(runway):
    with Stub(always(answer(200, b"x"))) as stub:
        one = runway("https://api.example")
        for url in (stub.url, f"https://127.0.0.1:{stub.port}/", f"https://2130706433:{stub.port}/"):
            assert one.download(url, 0, "").code == "RESULT.FORBIDDEN_ADDRESS"
        assert stub.connections == 0


def test_no_log_at_any_level_holds_the_key_or_a_signed_address(runway, caplog):
    caplog.set_level(logging.DEBUG)
    with Stub(says(MADE), always(answer(200, MOVIE, Broken_Header="x", ETag=TAG))) as stub:
        one = runway(stub)
        one.submit(CALL, Gate())
        one.look("x")
        b"".join(one.download(stub.url + "/x?sig=SECRET", 0, "").chunks)
    assert "SECRET" not in caplog.text
    assert KEY not in caplog.text


def test_leaving_a_download_closes_its_connection(runway):
    with Stub(always(answer(200, MOVIE * 8))) as stub:
        download = runway(stub).download(stub.url, 0, "")
        next(download.chunks)
        download.chunks.close()
        unread = runway(stub).download(stub.url, 0, "")
        unread.chunks.close()
