"""Whose fault an answer is: by status, codes and fields, never by words that a request itself put there."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipspool.jobs.faults import FaultOf
from clipspool.provider.protocol import Created, Refused, Unclear
from clipspool.provider.runway.answers import read_create, read_task
from clipspool.system.http.own_words import Own, without

NOW = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)
ID = "0d2f0f4e-6f4b-4c66-9a0f-3f1d9f6f2f11"
CLIP, MOMENT, ACCOUNT, MODEL = FaultOf.CLIP, FaultOf.MOMENT, FaultOf.ACCOUNT, FaultOf.MODEL
NO_CREDITS = "You do not have enough credits to run this task."

LOADED = [
    "the man is out of credits",
    "not enough credits for the safety vest",
    "insufficient user quota, quota exceeded",
    "quota_not_enough pre_consume_token_quota_failed insufficient_user_quota",
    "a daily walk, 24 hours, the generation limit per day",
    "no available channel for group default and model snow (distributor)",
    "the model is not found, the model on the catwalk is not available",
    "a safety vest in a moderated debate about content policy",
    "SAFETY.INPUT.TEXT painted on a wall, INTERNAL.BAD_OUTPUT too",
    "insert_task_failed do_request_failed task_not_exist",
    "invalid url (POST /x) no route 404 page not found, cannot GET /home",
    "余额不足 额度不足 无可用渠道 的街道",
    "a sign that says \"you are out of quota\", and one that says 'daily limit'",
    "NOT ENOUGH BALANCE\nout of quota\tand insufficient funds",
]


def body_of(prompt, **more):
    return {
        "model": "gen4_aleph",
        "promptText": prompt,
        "videoUri": "https://a.example/x.mp4",
        "seed": 7,
        **more,
    }


def create(status, body, prompt="deep winter", headers=None, **more):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_create(status, headers or {}, data, NOW, Own(body_of(prompt, **more)))


def kind_of(heard):
    if isinstance(heard, Refused):
        return heard.fault.of, heard.fault.code
    return type(heard).__name__


QUOTES = [
    lambda text: text,
    lambda text: f'"{text}"',
    lambda text: f"'{text}'",
    lambda text: f"\u201c{text}\u201d",
    lambda text: f"`{text}`",
    json.dumps,
    lambda text: json.dumps(json.dumps(text)),
    lambda text: json.dumps(text, ensure_ascii=True)[1:-1],
    str.upper,
    str.casefold,
    lambda text: " ".join(text.split()),
    lambda text: f'"{text[: len(text) * 2 // 3]}\u2026"',
    lambda text: f"{text[: len(text) * 3 // 4]}...",
    lambda text: f"\u2026{text[len(text) // 3 :]}",
    lambda text: text.replace('"', "&quot;").replace("'", "&#39;"),
    lambda text: text.replace("_", "\\_"),
]
TEMPLATES = [
    lambda said: {"error": f"promptText {said} is too dark"},
    lambda said: {"error": f"The text {said} is too dark for this clip"},
    lambda said: {"error": {"message": f"promptText {said} is bad", "code": "invalid_request"}},
    lambda said: {"error": {"message": f"{said}: no", "type": "comet_api_error", "param": "", "code": ""}},
    lambda said: {
        "code": "fail_to_fetch_task",
        "message": json.dumps({"error": f"bad: {said}"}),
        "data": None,
    },
    lambda said: {"code": 400, "msg": f"the prompt {said} cannot be used"},
    lambda said: {
        "error": "Validation of body failed",
        "issues": [{"code": "custom", "path": ["promptText"], "message": f"not {said}"}],
    },
]


@settings(deadline=None)
@given(
    st.sampled_from(LOADED),
    st.sampled_from(QUOTES),
    st.sampled_from(TEMPLATES),
    st.sampled_from([400, 403, 404, 408, 409, 413, 415, 422, 429, 500, 502, 503, 504]),
)
def test_the_class_of_an_answer_does_not_depend_on_the_prompt_quoted_in_it(prompt, quoted, template, status):
    plain = "a snowy street at dusk, in the style of an old film"
    usual = create(status, template(quoted(plain)), plain)
    assert kind_of(create(status, template(quoted(prompt)), prompt)) == kind_of(usual)


@settings(deadline=None)
@given(st.sampled_from(LOADED), st.sampled_from(LOADED), st.sampled_from(QUOTES))
def test_nor_on_any_other_string_of_the_request(prompt, value, quoted):
    said = {"error": f"the value {quoted(value)} is not allowed here"}
    assert kind_of(create(400, said, prompt, negativePrompt=value)) == (CLIP, "REQUEST.INVALID")
    assert kind_of(create(400, said, prompt, deep=[{"note": value}])) == (CLIP, "REQUEST.INVALID")


def test_an_address_is_cut_out_whole_or_by_its_file_name():
    references = [{"type": "image", "uri": "https://cdn.example/out%20of%20credits/safety_vest.png"}]
    for said in (
        "https://cdn.example/out%20of%20credits/safety_vest.png",
        "safety_vest.png",
        "out of credits",
    ):
        heard = create(400, {"error": f"cannot fetch: {said}"}, references=references)
        assert kind_of(heard) == (CLIP, "REQUEST.INVALID")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (
            400,
            {
                "error": "Validation of body failed",
                "issues": [{"path": [], "message": 'Unrecognized key: "contentModeration"'}],
            },
        ),
        (
            400,
            {
                "error": "Validation of body failed",
                "issues": [{"code": "unrecognized_keys", "keys": ["contentModeration"], "path": []}],
            },
        ),
        (400, {"error": 'Unrecognized key: "contentModeration"'}),
        (400, {"error": "contentModeration.publicFigureThreshold is wrong"}),
        (422, {"error": {"message": "moderation is no known key", "param": "moderation", "code": ""}}),
        (400, {"error": {"message": "promptText is invalid: a safety vest", "code": "invalid_request"}}),
        (422, {"detail": [{"loc": ["body", "promptText"], "msg": "safety?", "type": "value_error"}]}),
        (403, {"error": "Invalid input: moderation expected object, received string"}),
        (413, {"error": {"message": "content_moderation too long", "param": "contentModeration"}}),
    ],
)
def test_a_validation_error_is_never_moderation(status, body):
    heard = create(status, body)
    assert isinstance(heard, Refused)
    assert heard.fault.of is CLIP
    assert heard.fault.code.startswith("REQUEST.")


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"error": {"message": "x", "code": "content_policy_violation"}}, "SAFETY.INPUT"),
        (400, {"error": {"message": "x", "code": "SAFETY.INPUT.TEXT"}}, "SAFETY.INPUT.TEXT"),
        (
            400,
            {"error": {"message": "x", "type": "invalid_request_error", "code": "moderation_blocked"}},
            "SAFETY.INPUT",
        ),
        (400, {"error": "Your content was flagged by our content moderation system."}, "SAFETY.INPUT"),
    ],
)
def test_real_moderation_is_still_told_as_such(status, body, code):
    assert kind_of(create(status, body, "a safety vest")) == (CLIP, code)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 410, 413, 415, 422, 431])
def test_a_4xx_that_names_a_field_is_the_clips_whatever_else_it_says(status):
    words = "not enough credits, daily quota, no available channel (distributor), invalid url (POST"
    for body in (
        {"error": words, "issues": [{"path": ["references", 0, "uri"], "message": words}]},
        {"error": {"message": words, "param": "promptText", "code": ""}},
        {"error": {"message": words, "code": "invalid_request"}},
        {
            "code": "fail_to_fetch_task",
            "message": json.dumps({"error": words, "issues": [{"path": ["seed"]}]}),
        },
    ):
        heard = create(status, body)
        assert isinstance(heard, Refused)
        assert heard.fault.of is CLIP, body


@pytest.mark.parametrize(
    "prompt", ["snow", "credits", "you do have credits to run", "end credits roll", *LOADED]
)
def test_trouble_of_the_account_stays_the_accounts_whatever_the_prompt(prompt):
    assert kind_of(create(400, {"error": NO_CREDITS}, prompt)) == (ACCOUNT, "ACCOUNT.NO_CREDITS")
    nested = {"code": "fail_to_fetch_task", "message": f"upstream 400: {json.dumps({'error': NO_CREDITS})}"}
    assert kind_of(create(400, nested, prompt)) == (ACCOUNT, "ACCOUNT.NO_CREDITS")
    assert kind_of(create(402, {}, prompt)) == (ACCOUNT, "ACCOUNT.NO_CREDITS")
    assert kind_of(create(403, {"code": "quota_not_enough", "message": "x"}, prompt)) == (
        ACCOUNT,
        "ACCOUNT.NO_CREDITS",
    )
    gone = {"error": "Model variant gen4_aleph is not available"}
    assert kind_of(create(403, gone, prompt)) == (CLIP, "MODEL.NOT_AVAILABLE")
    routed = {
        "error": {"message": "No available channel for model gen4_aleph under group default (distributor)"}
    }
    if "no available channel" not in prompt:
        assert kind_of(create(503, routed, prompt)) == (MODEL, "MODEL.NOT_ROUTED")


@pytest.mark.parametrize("status", [408, 409])
@pytest.mark.parametrize(
    "said", [NO_CREDITS, "no available channel (distributor)", "out of quota", "invalid api key", "bad ratio"]
)
def test_a_timeout_or_conflict_stays_in_doubt_whatever_it_says(status, said):
    assert isinstance(create(status, {"error": said}), Unclear)
    assert isinstance(create(status, {"error": {"message": said, "code": "invalid_request"}}), Unclear)


@pytest.mark.parametrize("status", [400, 403, 422, 429, 500, 503])
@pytest.mark.parametrize("code", ["insert_task_failed", "do_request_failed"])
def test_a_code_given_after_the_upstream_may_have_taken_the_task_leaves_doubt(status, code):
    for body in (
        {"code": code, "message": NO_CREDITS, "data": None},
        {"error": {"message": "bad", "code": code, "param": "ratio"}},
        {"error": f"{code}: the upstream"},
    ):
        assert isinstance(create(status, body), Unclear), body


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"code": "insert_task_failed", "message": "x", "data": {"task_id": ID}}),
        (200, {"id": ID, "error": "You do not have enough credits"}),
        (200, {"id": ID, "status": "FAILED"}),
        (200, {"code": 500, "msg": "failed", "data": {"task_id": ID}}),
        (200, {"code": "500", "data": {"id": ID}}),
        (200, {"code": -1, "data": {"id": ID}}),
        (200, {"id": ID, "errors": [{"message": "no channel"}]}),
        (200, {"code": "success", "data": {"task_id": ID, "fail_reason": "the upstream refused it"}}),
        (200, {"code": "success", "data": {"task_id": ID, "status": "FAILURE", "fail_reason": "timeout"}}),
        (201, {"success": False, "id": ID}),
        (200, {"code": "success", "data": {"task_id": ID, "data": {"status": "ERROR"}}}),
        (400, {"id": ID, "error": "no"}),
        (400, {"error": "no", "details": {"nested": {"taskId": ID}}}),
        (403, {"code": "quota_not_enough", "data": {"task_id": ID}}),
        (429, {"task_id": ID}),
    ],
)
def test_an_answer_whose_parts_deny_each_other_is_in_doubt_and_offers_its_id(status, body):
    heard = create(status, body)
    assert isinstance(heard, Unclear)
    assert heard.evidence["maybe_task_ids"] == [ID]
    assert heard.evidence["answer"]


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (200, {"result": {"taskId": ID}}, {}),
        (200, {"task": {"id": ID}}, {}),
        (200, {"data": [{"id": ID}]}, {}),
        (200, {"message": json.dumps({"output": {"task_id": ID}})}, {}),
        (200, {"message": f"task {ID} was queued (request id: 1d2f0f4e-6f4b-4c66-9a0f-3f1d9f6f2f11)"}, {}),
        (200, b'{"id": "' + ID.encode() + b'", "status": "PEND', {}),
        (202, b"", {"location": f"https://api.example/v1/tasks/{ID}?x=1"}),
        (504, {"error": f"timeout while waiting for {ID}"}, {}),
    ],
)
def test_an_id_at_an_unusual_place_is_offered(status, body, headers):
    heard = create(status, body, headers=headers)
    assert isinstance(heard, Unclear)
    assert heard.evidence["maybe_task_ids"][0] == ID


def test_neither_a_request_id_nor_an_id_of_our_own_is_offered():
    for body in (
        {"error": {"message": f"busy (request id: {ID})", "code": "x"}},
        {"request_id": ID},
        {"error": {"id": ID}},
        {"message": "req_0d2f0f4e"},
    ):
        assert "maybe_task_ids" not in create(504, body).evidence
    assert "maybe_task_ids" not in create(504, {"error": f"bad {ID}"}, prompt=ID).evidence


def test_a_success_with_friendly_words_beside_its_id_is_a_success():
    for body in (
        {"id": ID, "code": "accepted", "message": "queued"},
        {"id": ID, "status": "PENDING", "failure": None, "error": ""},
        {"code": 0, "message": "ok", "data": {"task_id": ID, "fail_reason": ""}},
        {"code": "success", "data": {"task_id": ID, "status": "SUBMITTED", "data": {"status": "PENDING"}}},
    ):
        assert create(200, body) == Created(ID)


@settings(deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_cutting_never_raises_and_a_text_that_says_nothing_of_ours_stays(own, text):
    without(Own({"promptText": own, "extra": {own: text}}), text)
    kept, is_named = without(Own({"promptText": "deep winter"}), "You have no right to use this model")
    assert kept == "You have no right to use this model"
    assert not is_named


def test_a_long_prompt_of_one_word_is_cut_in_good_time():
    prompt = "credits " * 120
    assert kind_of(create(400, {"error": f"bad: {prompt}"}, prompt.strip())) == (CLIP, "REQUEST.INVALID")


@pytest.mark.parametrize(
    ("more", "charged", "credits_"),
    [
        ({}, None, None),
        ({"cost": {"credits": 0}}, 0.0, 0.0),
        ({"cost": {"credits": 75}}, 75.0, 75.0),
        ({"estimatedCost": {"credits": 75}}, None, None),
        ({"point": "320", "refund": "0"}, 320.0, None),
        ({"point": 320, "refund": 320}, 0.0, None),
        ({"point": "320"}, None, None),
        ({"cost": {"credits": "75"}, "refund": "x"}, None, None),
    ],
)
@pytest.mark.parametrize("status", ["FAILED", "SUCCEEDED", "CANCELLED"])
def test_only_a_cost_or_a_refund_says_what_an_ended_task_was_charged(more, charged, credits_, status):
    body = json.dumps({"id": ID, "status": status, **more}).encode()
    seen = read_task(200, {}, body, ID, NOW)
    assert (seen.charged, seen.credits) == (charged, credits_)
    running = json.dumps({"id": ID, "status": "RUNNING", **more}).encode()
    assert read_task(200, {}, running, ID, NOW).charged is None


@pytest.mark.parametrize(
    ("status", "body", "headers", "is_shedding"),
    [
        (503, {"error": "The service is overloaded"}, {"retry-after": "3"}, True),
        (502, {"error": {"message": "Bad gateway", "code": ""}}, {"retry-after": "3"}, True),
        (503, {"error": "The service is overloaded"}, {}, False),
        (503, b"<html><body>503</body></html>", {"retry-after": "3"}, False),
        (503, b"", {"retry-after": "3"}, False),
        (500, {"error": "no"}, {"retry-after": "3"}, False),
        (504, {"error": "no"}, {"retry-after": "3"}, False),
        (524, {"error": "no"}, {"retry-after": "3"}, False),
        (503, {"error": "no", "result": {"task": {"id": ID}}}, {"retry-after": "3"}, False),
        (503, {"code": "do_request_failed", "message": "no"}, {"retry-after": "3"}, False),
        (408, {"error": "no"}, {"retry-after": "3"}, False),
    ],
)
def test_a_refusal_of_load_stays_in_doubt_and_is_only_marked_as_one(status, body, headers, is_shedding):
    heard = create(status, body, headers=headers)
    assert isinstance(heard, Unclear)
    assert heard.evidence.get("is_shedding", False) is is_shedding
