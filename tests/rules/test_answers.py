"""What each known answer of the API means [PROVIDER 1.2 to 1.6, 2.6, 2.7, 2.9]."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.text import is_task_id
from clipspool.provider.protocol import Created, Refused, TaskLook, TaskStatus, Unclear
from clipspool.provider.runway.answers import read_create, read_task
from clipspool.provider.runway.failures import failure_fault
from clipspool.system.redaction import redact_line

NOW = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)
ID = "0d2f0f4e-6f4b-4c66-9a0f-3f1d9f6f2f11"
PAGE = b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>"
NO_CHANNEL = "No available channel for model m under group default (distributor)"
MASKED = "请求上游地址失败"


def create(status, body=b"", **headers):
    return read_create(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode(), NOW)


def look(body, status=200, task_id=ID, **headers):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_task(status, headers, body, task_id, NOW)


def wrapped(status, **more):
    return {"code": "success", "message": "", "data": {"task_id": ID, "status": status, **more}}


def error(code, message="no"):
    return {"code": code, "message": message, "data": None}


@pytest.mark.parametrize(
    "body",
    [
        {"id": ID},
        {"task_id": ID},
        {"taskId": ID},
        {"code": 200, "message": "", "msg": "success", "data": {"task_id": ID}},
        {"code": 200, "data": {"task_id": ID}, "exec_time": 3},
        {"code": "success", "data": {"id": ID}},
        {"code": "success", "message": "", "data": ID},
        {"id": 17, "data": {"id": ID}},
        {"id": "", "task_id": ID, "error": None},
        {"task_id": ID, "id": "another"},
    ],
)
def test_a_task_id_is_found_wherever_gateways_put_it(body):
    assert create(200, body) == Created(ID)
    assert create(201, body) == Created(ID)


def test_a_created_task_tells_what_it_may_cost():
    assert create(200, {"id": ID, "estimatedCost": {"credits": 75}}) == Created(ID, 75.0)
    assert create(200, {"id": ID, "estimatedCost": {"credits": -1}}) == Created(ID, None)
    assert create(200, {"id": ID, "estimatedCost": {"credits": True}}) == Created(ID, None)


@pytest.mark.parametrize("task_id", ["task_" + "x" * 32, "a/../../b", "ü", "17", "x" * 200])
def test_an_id_need_not_be_a_uuid(task_id):
    assert create(200, {"id": task_id}) == Created(task_id)


@pytest.mark.parametrize(
    "task_id",
    ["", " ", ".", "..", "x" * 201, "a\nb", "a\x00b", "a\u202eb", "\ud800", 17, None, True, ["x"], {}],
)
def test_an_id_that_cannot_name_a_task_leaves_doubt(task_id):
    assert not is_task_id(task_id)
    assert isinstance(create(200, {"id": task_id}), Unclear)


CLIP, MOMENT, ACCOUNT, MODEL = FaultOf.CLIP, FaultOf.MOMENT, FaultOf.ACCOUNT, FaultOf.MODEL


@pytest.mark.parametrize(
    ("status", "body", "of", "code"),
    [
        # 1.6: the six shapes
        (
            400,
            {"error": {"message": "bad ratio", "type": "comet_api_error", "code": "invalid_request"}},
            CLIP,
            "REQUEST.INVALID",
        ),
        (400, {"error": {"message": "bad ratio", "code": ""}}, CLIP, "REQUEST.INVALID"),
        (400, error("invalid_request"), CLIP, "REQUEST.INVALID"),
        (
            400,
            {"error": "Validation of body failed", "issues": [{"path": ["ratio"], "message": "no"}]},
            CLIP,
            "REQUEST.INVALID",
        ),
        (400, error("fail_to_fetch_task", '{"error":"Invalid asset"}'), CLIP, "REQUEST.INVALID"),
        (400, {"code": 400, "msg": "prompt missing"}, CLIP, "REQUEST.INVALID"),
        (404, PAGE, ACCOUNT, "PROVIDER.WRONG_ADDRESS"),
        *((n, PAGE, ACCOUNT, "PROVIDER.NOT_TAKEN") for n in (411, 414, 415, 417, 421, 426, 428, 431)),
        (404, {"error": {"message": "Invalid URL (POST /x)"}}, ACCOUNT, "PROVIDER.WRONG_ADDRESS"),
        (405, PAGE, ACCOUNT, "PROVIDER.WRONG_ADDRESS"),
        (429, b"", MOMENT, "PROVIDER.BUSY"),
        # 1.6: the table
        (400, b"", CLIP, "REQUEST.INVALID"),
        (422, {"error": "no"}, CLIP, "REQUEST.INVALID"),
        (401, {"error": "The API key is invalid"}, ACCOUNT, "ACCOUNT.KEY_REFUSED"),
        (401, b"", ACCOUNT, "ACCOUNT.KEY_REFUSED"),
        (402, b"", ACCOUNT, "ACCOUNT.NO_CREDITS"),
        (403, {"error": "blocked"}, ACCOUNT, "ACCOUNT.FORBIDDEN"),
        (403, PAGE, ACCOUNT, "ACCOUNT.FORBIDDEN"),
        (403, error("quota_not_enough"), ACCOUNT, "ACCOUNT.NO_CREDITS"),
        (403, error("insufficient_user_quota", MASKED), ACCOUNT, "ACCOUNT.NO_CREDITS"),
        (
            403,
            {"error": {"message": "x", "code": "pre_consume_token_quota_failed"}},
            ACCOUNT,
            "ACCOUNT.NO_CREDITS",
        ),
        (500, error("insufficient_user_quota"), ACCOUNT, "ACCOUNT.NO_CREDITS"),
        (413, error("read_request_body_failed"), CLIP, "REQUEST.TOO_LARGE"),
        (413, PAGE, CLIP, "REQUEST.TOO_LARGE"),
        (429, error("x", "当前分组上游负载已饱和"), MOMENT, "PROVIDER.BUSY"),
        (500, {"error": {"message": "bad", "code": "invalid_request"}}, CLIP, "REQUEST.INVALID"),
        (503, {"error": {"message": "x", "code": "model_not_found"}}, MODEL, "MODEL.NOT_ROUTED"),
        (503, {"error": {"message": NO_CHANNEL}}, MODEL, "MODEL.NOT_ROUTED"),
        # 2.3 and 2.7: the official API
        (400, {"error": "You do not have enough credits to run this task."}, ACCOUNT, "ACCOUNT.NO_CREDITS"),
        (403, {"error": "Model variant gen4_aleph is not available"}, CLIP, "MODEL.NOT_AVAILABLE"),
        (429, {"error": "You have reached your daily generation limit"}, ACCOUNT, "ACCOUNT.DAILY_QUOTA"),
        (400, {"error": "Your prompt did not pass moderation"}, CLIP, "SAFETY.INPUT"),
        (403, {"error": "Refused: SAFETY.INPUT.TEXT"}, CLIP, "SAFETY.INPUT.TEXT"),
    ],
)
def test_a_clear_refusal_says_whose_trouble_it_is(status, body, of, code):
    heard = create(status, body)
    assert isinstance(heard, Refused)
    assert (heard.fault.of, heard.fault.code) == (of, code)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *[
            (status, b"")
            for status in (100, 103, 200, 204, 206, 303, 304, 408, 409, 425, 451, 499, 600, 999, 0)
        ],
        *[(status, PAGE) for status in (200, 500, 502, 503, 504, 520, 524)],
        *[(status, {"error": "busy"}) for status in (408, 409, 500, 502, 503, 504, 524)],
        (200, {}),
        (200, []),
        (200, {"code": 500, "msg": "failed", "data": None}),
        (200, {"error": "You do not have enough credits"}),
        (200, b'{"id": "' + ID.encode()),
        (500, error("insert_task_failed")),
        (400, error("insert_task_failed")),
        (500, error("do_request_failed")),
        (500, error("get_channel_failed")),
        (502, error("fail_to_fetch_task", "{}")),
        (500, {"error": "prompt was 'not enough credits, daily quota, (distributor)'"}),
        (409, {"task_id": ID}),
        (400, {"error": "already", "data": {"task_id": ID}}),
        (302, {"task_id": ID}),
        (301, b""),
        (302, PAGE),
        (307, b""),
        (308, b""),
    ],
)
def test_whatever_is_no_clear_refusal_leaves_doubt(status, body):
    heard = create(status, body)
    assert isinstance(heard, Unclear)
    assert heard.evidence["http_status"] == status
    assert len(heard.evidence["answer"]) <= 500


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":"a","id":"b"}',
        b"[" * 100_000,
        b'{"id":"a","x":' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        b'{"id":"' + b"x" * (1 << 20) + b'"}',
        b'{"n":' + b"9" * 5000 + b"}",
        b'{"id":"\xff\xfe"}',
        b"\xff\xfe",
    ],
)
def test_json_that_cannot_be_trusted_leaves_doubt(body):
    assert isinstance(create(200, body), Unclear)


def test_json_that_is_only_odd_is_read():
    assert create(200, b'\xef\xbb\xbf{"id":"a","n":NaN,"id":"a"}') == Created("a")


def test_a_refusal_names_the_keys_that_are_wrong():
    issue = {
        "code": "unrecognized_keys",
        "path": ["references", 0],
        "message": "Unrecognized key",
        "keys": ["tag"],
    }
    heard = create(400, {"error": "Validation of body failed", "issues": [issue]})
    assert "references.0: Unrecognized key (tag)" in heard.fault.message
    assert heard.fault.what_to_do


def test_a_masked_reason_is_explained_in_english():
    assert "the gateway hides" in create(400, error("x", MASKED)).fault.message
    assert "saturated" in create(429, error("x", "上游负载已饱和")).fault.message


def test_what_is_shown_holds_no_secret():
    body = {
        "error": "GET https://cdn.example/a.mp4?sig=SECRET1 with Bearer SECRET2xyz key=SECRET3 "
        "data:video/mp4;base64,SECRET4"
    }
    shown = repr(create(400, body)) + repr(create(500, body))
    assert "SECRET" not in shown
    assert "cdn.example/a.mp4" in shown
    assert redact_line("a\x1b[31m\nb\u202ec") == "a [31m b c"
    assert len(redact_line("x" * 100_000)) == 500


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("1000000000", 86400.0),
        ("5, 5", 5.0),
        (" 12 ; x", 12.0),
        ("3s", 3.0),
        ("+7", 7.0),
        ("-5", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("Tue, 01 Sep 2026 12:01:00 GMT", 60.0),
        ("Tue, 01 Sep 2026 11:00:00 GMT", 0.0),
        ("Fri, 99 Foo 2026 11:00:00 GMT", None),
    ],
)
def test_a_pause_the_server_asks_for_is_kept_within_reason(asked, seconds):
    assert create(429, b"", **{"Retry-After": asked}).fault.retry_after_seconds == seconds


def test_a_pause_may_be_given_in_milliseconds():
    assert create(429, b"", **{"retry-after-ms": "1500"}).fault.retry_after_seconds == 1.5
    assert create(429, b"", **{"retry-after-ms": "soon"}).fault.retry_after_seconds is None


def test_a_pause_given_as_a_date_is_measured_by_the_servers_own_clock():
    headers = {"retry-after": "Tue, 01 Sep 2020 12:01:00 GMT", "date": "Tue, 01 Sep 2020 12:00:00 GMT"}
    assert create(429, b"", **headers).fault.retry_after_seconds == 60.0


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("NOT_START SUBMITTED QUEUED PENDING THROTTLED queued Throttled", TaskStatus.QUEUED),
        ("IN_PROGRESS RUNNING PROCESSING in_progress", TaskStatus.RUNNING),
        ("SUCCESS SUCCEEDED SUCCEED COMPLETED succeeded completed", TaskStatus.SUCCEEDED),
        ("FAILURE FAILED ERROR failed error", TaskStatus.FAILED),
        ("CANCELLED CANCELED CANCEL cancelled", TaskStatus.CANCELLED),
        ("UNKNOWN REVIEWING 3 unknown ✓", TaskStatus.UNKNOWN),
        ("task_not_exist TASK_NOT_EXIST", TaskStatus.MISSING),
    ],
)
def test_every_status_word_is_read_in_both_shapes(words, status):
    for word in words.split():
        assert look({"id": ID, "status": word}).status is status
        assert look({"id": ID, "status": f" {word} "}).status is status
        assert look(wrapped(word)).status is status


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, error("task_not_exist", "task_not_exist")),
        (400, error("", "task_not_exist")),
        (200, error("task_not_exist")),
        (200, {"status": "task_not_exist"}),
        (500, {"error": {"message": "task_not_exist", "code": ""}}),
        (500, error("fail_to_fetch_task", '{"error":"task_not_exist"}')),
        (404, {"error": "Not found"}),
        (404, b""),
    ],
)
def test_a_task_that_is_not_there_yet_is_missing_at_any_status(status, body):
    assert look(body, status).status is TaskStatus.MISSING


def test_the_outer_status_beats_the_inner_one():
    raw = {"id": "raw", "status": "IN_PROGRESS"}
    assert look(wrapped("FAILURE", fail_reason="timeout", data=raw)).status is TaskStatus.FAILED
    assert (
        look(wrapped("IN_PROGRESS", data={"id": "raw", "status": "SUCCEEDED"})).status is TaskStatus.RUNNING
    )
    assert look(wrapped("UNKNOWN", data=raw)).status is TaskStatus.RUNNING


def test_an_envelopes_own_status_is_no_tasks():
    assert look({"status": "success", "data": {"id": ID, "status": "RUNNING"}}).status is TaskStatus.RUNNING
    assert (
        look({"code": 200, "msg": "success", "data": {"id": ID, "status": "FAILED"}}).status
        is TaskStatus.FAILED
    )


@pytest.mark.parametrize("word", ["FAILED", "error", "CANCELLED"])
def test_an_answer_that_names_no_task_ends_none(word):
    for body in ({"status": word, "message": "try again"}, {"code": 500, "data": {"status": word}}):
        assert isinstance(look(body), Fault)
    assert not isinstance(look({"id": 7, "status": word}, task_id="7"), Fault)
    assert isinstance(look({"id": 7, "status": word}, task_id="8"), Fault)


@pytest.mark.parametrize("shown", [ID.upper(), f" {ID} ", ID.title()])
def test_a_task_may_be_shown_with_its_id_in_other_letter_case_or_with_spaces(shown):
    ended = {"id": shown, "status": "SUCCEEDED", "output": ["https://x/1"]}
    assert look(ended).outputs == ("https://x/1",)
    assert look(ended, task_id=f" {ID}").outputs == ("https://x/1",)
    assert look({"id": f"{ID}0", "status": "SUCCEEDED"}).code == "PROVIDER.OTHER_TASK"


@pytest.mark.parametrize(
    ("output", "found"),
    [
        ([["https://x/1"], ["https://x/2"]], ("https://x/1", "https://x/2")),
        ({"video": {"url": "https://x/1"}}, ("https://x/1",)),
        ({"thumbnail": "https://x/p", "videoUrl": "https://x/1"}, ("https://x/1", "https://x/p")),
        ([{"type": "video", "uri": "https://x/1", "page": "https://x/p"}], ("https://x/1",)),
        ({"files": [{"name": "a.mp4", "href": "https://x/1"}]}, ("https://x/1",)),
        ([[[[[["https://x/deep"]]]]]], ()),
    ],
)
def test_result_addresses_are_found_in_lists_and_objects(output, found):
    assert look({"id": ID, "status": "SUCCEEDED", "output": output}).outputs == found
    assert look(wrapped("SUCCESS", data={"id": "raw", "output": output})).outputs == found


def test_result_addresses_are_looked_for_in_order():
    raw = {"id": "raw", "status": "SUCCEEDED", "output": ["https://a/1", "https://a/2", "https://a/1"]}
    full = wrapped("SUCCESS", data=raw, result_url="https://b", fail_reason="https://c", url="https://d")
    assert look(full).outputs == ("https://a/1", "https://a/2")
    for key, url in (("result_url", "https://b"), ("fail_reason", "https://c"), ("url", "https://d")):
        raw.pop("output", None)
        assert look(full).outputs == (url,)
        del full["data"][key]
    assert look(full) == TaskLook(TaskStatus.SUCCEEDED, "SUCCESS")
    assert look({"id": ID, "status": "SUCCEEDED", "output": ["HTTPS://x/1"]}).outputs == ("HTTPS://x/1",)
    assert look({"id": ID, "status": "SUCCEEDED", "output": "https://x/1"}).outputs == ("https://x/1",)


def test_a_failure_text_is_no_address_and_an_unfinished_task_has_none():
    assert look(wrapped("SUCCESS", result_url="task failed", fail_reason="no")).outputs == ()
    assert look(wrapped("FAILURE", result_url="https://x", data={"output": ["https://x"]})).outputs == ()
    assert look(wrapped("IN_PROGRESS", progress="100%", result_url="https://x")).outputs == ()
    odd = [
        "file:///etc/passwd",
        "javascript:x",
        "https://a b",
        "https://a\nb",
        "https://" + "x" * 9000,
        7,
        None,
        {},
    ]
    assert look({"id": ID, "status": "SUCCEEDED", "output": odd}).outputs == ()
    assert (
        len(look({"id": ID, "status": "SUCCEEDED", "output": [f"https://x/{n}" for n in range(999)]}).outputs)
        == 100
    )


@pytest.mark.parametrize(
    ("progress", "fraction"),
    [
        ("30%", 0.3), ("0%", 0.0), ("100%", 1.0), ("250%", 1.0), (" 12.5 % ", 0.125), (0.3, 0.3), (45, 0.45),
        (1, 1.0), (0, 0.0), ("0.42", 0.42), ("45", 0.45), (900, 1.0), (-3, 0.0), ("half", None), ("", None),
        (None, None), (True, None), ([1], None), (10**400, None), ("9" * 5000, None),
    ],
)  # fmt: skip
def test_progress_comes_as_percent_fraction_or_figure(progress, fraction):
    assert look({"id": ID, "status": "RUNNING", "progress": progress}).progress == fraction


def test_the_finer_progress_of_the_raw_task_is_preferred():
    assert look(wrapped("IN_PROGRESS", progress="30%", data={"progress": 0.42})).progress == 0.42


def test_numbers_that_are_none_do_no_harm():
    assert look(b'{"status":"RUNNING","progress":NaN,"cost":{"credits":Infinity}}').progress is None
    assert look(b'{"status":"RUNNING","progress":1e999}').progress is None


def test_what_a_task_cost_is_told_apart_from_what_it_may_cost():
    costs = {"estimatedCost": {"credits": 75}, "cost": {"credits": 60}}
    assert look({"id": ID, "status": "RUNNING", **costs}).credits == 75
    assert look({"id": ID, "status": "FAILED", **costs}).credits == 60
    assert look(wrapped("SUCCESS", data=costs)).credits == 60
    assert look({"id": ID, "status": "SUCCEEDED", "cost": 4}).credits is None
    assert look({"id": ID, "status": "SUCCEEDED", "cost": {"credits": 1e308}}).credits is None


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        ({"error": {"message": "A face", "code": "SAFETY.INPUT.TEXT"}}, "SAFETY.INPUT.TEXT", "A face"),
        (
            {"failure": {"reason": "A face", "failureCode": "SAFETY.INPUT.TEXT"}},
            "SAFETY.INPUT.TEXT",
            "A face",
        ),
        ({"failure": ["A face", {"msg": "a logo"}]}, "FAILURE.UNEXPLAINED", "A face; a logo"),
        ({"failureCode": ["INTERNAL.BAD_OUTPUT.01"], "error": "x"}, "INTERNAL.BAD_OUTPUT.01", "x"),
        ({"error": {"code": "task_failed", "message": "SAFETY.INPUT.TEXT: no"}}, "SAFETY.INPUT.TEXT", "no"),
        ({"error": {"code": "task_failed", "message": "no"}}, "TASK_FAILED", "no"),
        ({"error": {"code": 7}, "failure": {}, "fail_reason": [None, 3]}, "FAILURE.UNEXPLAINED", "no reason"),
    ],
)
def test_why_a_task_failed_is_read_from_objects_and_lists(said, code, words):
    for body in ({"id": ID, "status": "FAILED", **said}, wrapped("FAILURE", data={"id": "raw", **said})):
        failure = look(body).failure
        assert failure.code == code
        assert words in failure.message


def test_the_failure_code_is_read_from_the_raw_task_first():
    raw = {"id": "raw", "status": "FAILED", "failure": "Moderated", "failureCode": "SAFETY.INPUT.TEXT"}
    failure = look(wrapped("FAILURE", fail_reason="task failed", data=raw)).failure
    assert (failure.of, failure.code) == (CLIP, "SAFETY.INPUT.TEXT")
    assert "Moderated" in failure.message
    assert (
        look(wrapped("FAILURE", fail_reason="code: INTERNAL.BAD_OUTPUT.01")).failure.code
        == "INTERNAL.BAD_OUTPUT.01"
    )
    assert look(wrapped("FAILURE", fail_reason="task failed")).failure.code == "FAILURE.UNEXPLAINED"


@pytest.mark.parametrize(
    ("code", "of"),
    [
        ("SAFETY.INPUT.TEXT", CLIP),
        ("SAFETY.INPUT.IMAGE", CLIP),
        ("SAFETY.OUTPUT.VIDEO", CLIP),
        ("safety.output", CLIP),
        ("INPUT_PREPROCESSING.SAFETY.TEXT", CLIP),
        ("INPUT_PREPROCESSING.SAFETY.IMAGE", CLIP),
        ("THIRD_PARTY.SAFETY", CLIP),
        ("INTERNAL.SAFETY.X", CLIP),
        ("ASSET.INVALID", CLIP),
        ("INTERNAL.BAD_OUTPUT.01", CLIP),
        ("INTERNAL.BAD_OUTPUT.CODE01", CLIP),
        ("INPUT_PREPROCESSING.INTERNAL", MOMENT),
        ("THIRD_PARTY.UNAVAILABLE", MOMENT),
        ("INTERNAL", MOMENT),
        ("INTERNAL.SOMETHING_NEW", MOMENT),
        ("INTERNALS", CLIP),
        ("BRAND.NEW", CLIP),
        ("", CLIP),
    ],
)
def test_a_failure_code_is_matched_by_its_dotted_prefix(code, of):
    fault = failure_fault(code, "")
    assert fault.of is of
    assert fault.what_to_do
    if "SAFETY" in code.upper():
        assert "Do not send it again unchanged" in fault.what_to_do


@pytest.mark.parametrize(
    ("status", "body", "of"),
    [
        (401, b"", ACCOUNT),
        (403, b"", ACCOUNT),
        (403, error("insufficient_user_quota"), ACCOUNT),
        (301, b"", ACCOUNT),
        (404, PAGE, ACCOUNT),
        (404, b"404 page not found", ACCOUNT),
        (429, b"", MOMENT),
        (400, error("get_task_failed"), MOMENT),
        (500, error("get_task_failed"), MOMENT),
        (502, PAGE, MOMENT),
        (200, PAGE, MOMENT),
        (200, b"", MOMENT),
        (200, [], MOMENT),
        (200, {}, MOMENT),
        (200, {"code": 500, "msg": "no"}, MOMENT),
        (200, {"error": "try later"}, MOMENT),
        (200, {"id": "another", "status": "FAILED"}, MOMENT),
        (200, b'{"status":"FAILED","status":"RUNNING"}', MOMENT),
    ],
)
def test_a_look_that_went_wrong_says_nothing_about_the_task(status, body, of):
    heard = look(body, status)
    assert isinstance(heard, Fault)
    assert heard.of is of


def test_an_empty_success_leaves_the_task_open():
    assert look({"code": "success", "data": None}) == TaskLook(TaskStatus.UNKNOWN, "")


def test_an_inner_id_may_be_the_one_asked_for():
    assert look(wrapped("QUEUED") | {"id": 7}, task_id=ID).status is TaskStatus.QUEUED
    inner = {"code": "success", "data": {"task_id": "task_x", "status": "SUCCESS", "data": {"id": ID}}}
    assert look(inner).status is TaskStatus.SUCCEEDED


KEYS = ["id", "task_id", "data", "status", "code", "message", "error", "output", "progress", "cost", "issues"]
WORDS = st.text() | st.sampled_from(["SUCCESS", "FAILED", ID, "https://a.example/b"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(KEYS) | st.text(max_size=5),
            inner,
            max_size=6,
        )
    ),
    max_leaves=15,
)
BODIES = st.binary(max_size=200) | JSON.map(lambda tree: json.dumps(tree).encode())


@given(st.integers(0, 999), BODIES, st.text())
def test_no_answer_at_all_raises_or_invents_a_task(status, body, retry_after):
    headers = {"Retry-After": retry_after, "Date": retry_after}
    made = read_create(status, headers, body, NOW)
    if isinstance(made, Created):
        assert 200 <= status <= 299
        assert is_task_id(made.task_id)
        assert json.dumps(made.task_id).encode()[1:-1] in body or made.task_id.encode() in body
    seen = read_task(status, headers, body, ID, NOW)
    if isinstance(seen, TaskLook):
        assert seen.progress is None or 0 <= seen.progress <= 1
        assert seen.status is TaskStatus.SUCCEEDED or not seen.outputs
        assert (seen.failure is not None) is (seen.status is TaskStatus.FAILED)
    if status >= 300 and isinstance(seen, TaskLook):
        assert seen.status is TaskStatus.MISSING
