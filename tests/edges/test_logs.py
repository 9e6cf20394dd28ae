"""What leaves through the log: every line whole, harmless and without secrets, whatever goes in."""

import base64
import html
import importlib
import io
import json
import logging
import os
import re
import subprocess
import sys
import time
import warnings
from difflib import SequenceMatcher
from urllib.parse import quote

import pytest
import structlog

from clipspool.system import logs
from clipspool.system.redaction import HIDDEN, redact, register_secret

SPELLED = b"k3y/5ecret+fo?<r>~the~test"
CANARY = "canary/5up3r+s3cr3t="
SIGNED = "https://cdn.example/out.mp4?X-Amz-Signature=5igned&X-Amz-Credential=me"


@pytest.fixture
def written():
    """Configure JSON into memory; calling it gives the lines so far."""
    stream = io.StringIO()
    logs.configure(format="json", level="debug", secrets=[CANARY], stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def log():
    return structlog.get_logger()


class Hostile:
    def __repr__(self):
        raise RuntimeError(CANARY)


class Talkative:
    def __repr__(self):
        return f"<Client Authorization: Bearer {CANARY}>"


def test_a_line_has_time_level_event_and_facts(written):
    log().bind(inbox="bay-1").info("job_moved", job="k3", **{"from": "queued", "to": "submitting"})
    (line,) = written()
    assert line.pop("time").endswith("Z")
    expected = {"level": "info", "event": "job_moved", "inbox": "bay-1", "job": "k3"}
    assert line == {**expected, "from": "queued", "to": "submitting"}


def test_a_level_below_the_threshold_is_not_written(written):
    logs.configure(format="json", level="warning", stream=io.StringIO())
    logger = log()
    logger.info("unseen")
    stream = io.StringIO()
    logs.configure(format="json", level="info", stream=stream)
    logger.info("seen, through a logger made before the reload")
    assert "seen, through" in stream.getvalue()
    assert written() == []


def plant():
    """Put the canary everywhere that somebody may log it."""
    logger = log()
    logger.info("plain", value=CANARY, event_=f"x {CANARY} y")
    event = f"in the event {CANARY}"
    logger.info(event)
    logger.info("nested", h={"Authorization": f"Bearer {CANARY}", "deep": [{"a": (CANARY, {CANARY})}]})
    logger.info("as a key", **{CANARY: 1})
    logger.info("quoted", url="https://q.example/user/quota?key=canary%2F5up3r%2Bs3cr3t%3D")
    logger.info("an object", client=Talkative(), b=CANARY.encode(), e=ValueError(CANARY))
    logger.info("as json", body=json.dumps({"x": CANARY, "nested": json.dumps({"api_key": CANARY})}))
    logger.bind(token=CANARY).info("bound")
    logging.getLogger("urllib3").warning("Header %s", {"Authorization": f"Bearer {CANARY}"})
    logging.getLogger("other").error("broken %d", CANARY)
    warnings.warn(f"about {CANARY}", stacklevel=1)
    try:
        local = CANARY
        raise ConnectionError("x") from ValueError(f"url: /v1?key={local}")  # noqa: TRY301
    except ConnectionError:
        logger.exception("failed")
        logging.getLogger("other").exception("failed too")
    with structlog.contextvars.bound_contextvars(api_key=CANARY):
        logger.warning("in context")


@pytest.mark.parametrize("form", ["json", "console"])
def test_the_canary_turns_up_nowhere(form):
    stream = io.StringIO()
    logs.configure(format=form, level="debug", secrets=[CANARY], stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        plant()
    text = stream.getvalue()
    for needle in ("5up3r", "s3cr3t"):
        assert needle not in text
    assert text.count("\n") >= 14
    assert "log_line_lost" not in text


@pytest.mark.parametrize(
    ("text", "hidden", "kept"),
    [
        (f"GET {SIGNED} failed", "5igned", "https://cdn.example/out.mp4?[removed] failed"),
        (
            "Max retries exceeded with url: /a/b?X-Amz-Signature=5igned (Caused",
            "5igned",
            "/a/b?[removed] (Caused",
        ),
        ("https://user:5igned@host/x", "5igned", "https://[redacted]@host/x"),
        ("https://host/x#access_token=5igned", "5igned", "https://host/x#[removed]"),
        ("Authorization: Bearer abc.5igned-x", "5igned", "Authorization: "),
        ("Authorization: 5ignedabc", "5igned", "Authorization: [redacted]"),
        ("{'authorization': 'Basic 5ignedabc'}", "5igned", "{'authorization': '"),
        ('{"api_key": "5igned"}', "5igned", '{"api_key": "[redacted]'),
        ("api_key=5igned next", "5igned", "api_key=[redacted] next"),
        ("key_5igned0123456789abcdef", "5igned", "[redacted]"),
        ("sk-5igned0123456789abcdef", "5igned", "[redacted]"),
        ('"videoUri": "data:video/mp4;base64,AAAA5igned=="', "5igned", "data:video/mp4;base64,["),
        ("Set-Cookie: sid=5igned; Path=/", "sid=5igned", "Set-Cookie: [redacted]; Path=/"),
    ],
)
def test_a_secret_that_nobody_registered_is_known_by_its_form(text, hidden, kept):
    assert hidden not in redact(text)
    assert kept in redact(text)


@pytest.mark.parametrize(
    "spelled",
    [
        *(base64.b64encode(before + SPELLED + b":x").decode() for before in (b"", b"u:", b"ab:", b"abc:")),
        base64.urlsafe_b64encode(b"user:" + SPELLED).decode(),
        SPELLED.hex(),
        SPELLED.hex().upper(),
        quote(SPELLED),
        quote(SPELLED, safe=""),
        re.sub("%..", lambda found: found[0].lower(), quote(SPELLED, safe="")),
        html.escape(SPELLED.decode()),
        json.dumps(SPELLED.decode()).replace("/", r"\/"),
        "".join(f"%{byte:02x}" for byte in SPELLED),
        quote(SPELLED, safe="").replace("%2F", "%2f", 1),
        quote(quote(SPELLED, safe="")),
        "".join(f"\\u{byte:04X}" for byte in SPELLED),
        "".join(f"\\\\x{byte:02x}" for byte in SPELLED),
        "".join(f"&#{byte};" for byte in SPELLED),
        "".join(f"&#x{byte:X};" for byte in SPELLED),
        SPELLED.hex(":"),
        SPELLED.decode().encode("utf-16-le").decode("latin-1"),
        SPELLED.decode().encode("utf-16").decode("utf-8", "replace"),
        json.dumps(SPELLED.decode().encode("utf-16-be").decode("latin-1")),
        " ".join(SPELLED.decode()),
        base64.b64encode(SPELLED.decode().encode("utf-16-le")).decode(),
    ],
)
def test_a_secret_is_taken_out_however_it_is_spelled(spelled):
    register_secret(SPELLED.decode())
    assert HIDDEN in redact(f"they said {spelled} was refused")
    assert longest_common(redact(f"they said {spelled} was refused"), spelled) < 8


def longest_common(one, other):
    found = SequenceMatcher(None, one, other, autojunk=False).find_longest_match()
    return found.size


@pytest.mark.parametrize(
    "text",
    [
        "folder/shot010.mp4",
        "credits=75 job=k3m9 to=running",
        "what is that? I see no = sign",
        "2026-12-01T22:00:00Z",
        "monkey_business and keyframes: 5",
        "https://api.cometapi.com/runwayml/v1/tasks/17f20503-6c24-4c16-946b-35dbbce2af2f",
        "task 17f20503-6c24-4c16-946b-35dbbce2af2f basic idea",
    ],
)
def test_harmless_text_stays_as_it_is(text):
    assert redact(text) == text


def test_a_short_value_is_no_secret():
    register_secret("abc")
    assert redact("abc def") == "abc def"


def test_nothing_a_value_holds_can_forge_a_line_or_steer_a_terminal():
    stream = io.StringIO()
    nasty = 'x\n{"event": "forged"}\r\x1b[2J\x9b31m\u2028\u202e\udcff\0'
    for form in ("json", "console"):
        logs.configure(format=form, stream=stream)
        log().info("shot", clip=nasty, **{nasty: nasty, "list": [nasty, {nasty: nasty}]})
        log().info(nasty)
        try:
            raise ValueError(nasty)  # noqa: TRY301
        except ValueError:
            log().exception("failed")
    text = stream.getvalue()
    text.encode()
    for line in text.split("\n"):
        assert line.isprintable()
        assert not line.startswith(('{"event": "forged"', "forged"))
    starts = {line[:2] for line in text.splitlines() if not line.startswith(("{", "20"))}
    assert starts == {"  "}


def test_a_stream_that_cannot_spell_a_name_gets_escapes():
    raw = io.BytesIO()
    logs.configure(format="console", stream=io.TextIOWrapper(raw, "ascii"))
    log().info("shot", clip="ümläut\udcff")
    assert b"clip=\\xfcml\\xe4ut\\udcff" in raw.getvalue()


def test_logging_never_raises(written):
    deep = []
    for _ in range(5000):
        deep = [deep]
    loop = {}
    loop["self"] = loop
    for value in (
        Hostile(),
        deep,
        loop,
        10**5000,
        float("nan"),
        b"\xff",
        object,
        {1: 2, None: 3},
        "x" * 10**6,
    ):
        log().info("odd", value=value)
    logging.getLogger("x").error("%s", Hostile())
    logging.getLogger("x").error("too few %s %s", *["one"])
    log().info("still here")
    assert written()[-1]["event"] == "still here"
    assert all(len(json.dumps(line)) < 40_000 for line in written())


def test_a_stream_that_breaks_is_borne():
    closed = io.StringIO()
    closed.close()
    logs.configure(format="json", stream=closed)
    log().info("nobody hears")
    with open("/dev/full", "w") as full:  # noqa: PTH123
        logs.configure(format="json", stream=full)
        log().info("no room")
        try:
            full.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


def test_the_standard_library_goes_the_same_way(written):
    logging.getLogger("some.library").warning("hello %s", "you")
    logging.getLogger("urllib3.connectionpool").info("chatter")
    lines = written()
    assert [(line["event"], line["logger"], line["level"]) for line in lines] == [
        ("hello you", "some.library", "warning")
    ]


def test_a_pool_of_connections_does_not_report_an_outage_a_second_time(written):
    pytest.importorskip("procrastinate")
    importlib.import_module("clipspool.farm.queue")
    logging.getLogger("psycopg.pool").warning("error connecting in %r: %s", "pool-1", "connection refused")
    assert written() == []


def test_an_exception_nobody_caught_is_a_line_without_local_variables():
    code = (
        "import threading\nfrom clipspool.system import logs\nlogs.configure(format='json', secrets=['%s'])\n"
        "def work():\n    inner = '5up3r-local'\n    raise RuntimeError('%s')\n"
        "thread = threading.Thread(target=work); thread.start(); thread.join()\nwork()\n"
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code % (CANARY, CANARY)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["uncaught_exception", "uncaught_exception"]
    assert "RuntimeError: [redacted]" in lines[0]["exception"]
    assert CANARY not in done.stderr


def test_auto_is_json_in_a_pipe_and_the_journal_gets_priorities(tmp_path):
    code = (
        "import structlog\nfrom clipspool.system import logs\nlogs.configure()\n"
        "structlog.get_logger().warning('a')\nstructlog.get_logger().info('b')\n"
    )
    piped = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [json.loads(line)["event"] for line in piped.stderr.splitlines()] == ["a", "b"]
    with (tmp_path / "journal").open("w") as file:
        here = os.fstat(file.fileno())
        env = {**os.environ, "JOURNAL_STREAM": f"{here.st_dev}:{here.st_ino}"}
        subprocess.run([sys.executable, "-c", code], stderr=file, env=env, check=True)
    assert [line[:4] for line in (tmp_path / "journal").read_text().splitlines()] == ["<4>{", "<6>{"]


def test_a_line_is_cheap(written):
    # 22 us measured on two cores; the bound leaves room for a busy machine.
    logger = log().bind(inbox="bay-1")
    times = []
    for _ in range(30):
        begun = time.thread_time()
        for _ in range(50):
            logger.info("job_moved", job="k3m9abcdefgh", clip="folder/shot010.mp4", to="running", attempt=1)
        times.append((time.thread_time() - begun) / 50)
    assert min(times) < 100e-6
    assert len(written()) == 1500
