"""What the sandbox refuses, what its misbehaviours mean, and how its tasks live: all without I/O."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runway_sandbox.misbehave import WHATS, Deck, Misbehaviour, from_json, parse
from runway_sandbox.tasks import Failure, Output, Status, Table, Task
from runway_sandbox.validation import Create, check_create

GOOD = {"model": "gen4_aleph", "videoUri": "data:video/mp4;base64,AAAA", "promptText": "winter"}
ALEPH2 = {"model": "aleph2", "videoUri": "https://example.com/clip.mp4"}


def issues(**changes):
    answer = check_create({**GOOD, **changes})
    return [] if isinstance(answer, Create) else [(issue.code, *issue.path) for issue in answer]


def test_a_good_body_passes_and_seed_zero_is_a_seed():
    create = check_create({**GOOD, "seed": 0})
    assert create == Create("gen4_aleph", GOOD["videoUri"], "winter", 0, "mp4")


def test_unknown_keys_are_refused_and_named():
    (issue,) = check_create({**GOOD, "promt": "x", "fps": 24})
    assert issue.as_json() == {
        "code": "unrecognized_keys",
        "path": [],
        "message": 'Unrecognized keys: "promt", "fps"',
        "keys": ["promt", "fps"],
    }


def test_null_is_not_the_same_as_left_out():
    assert issues(seed=None) == [("invalid_type", "seed")]
    assert issues(ratio=None) == [("invalid_value", "ratio")]
    assert issues(references=None) == [("invalid_type", "references")]


def test_the_prompt_is_measured_in_utf_16_units():
    assert issues(promptText="x" * 1000) == []
    assert issues(promptText="\N{SNOWMAN}" * 1000) == []
    assert issues(promptText="\N{VIDEO CAMERA}" * 500) == []
    assert issues(promptText="\N{VIDEO CAMERA}" * 500 + "x") == [("too_big", "promptText")]
    assert issues(promptText="") == [("too_small", "promptText")]
    assert issues(promptText=5) == [("invalid_type", "promptText")]


def test_a_missing_prompt_is_refused_for_gen4_aleph_alone():
    answer = check_create({"model": "gen4_aleph", "videoUri": GOOD["videoUri"]})
    assert [(issue.code, issue.path) for issue in answer] == [("invalid_type", ("promptText",))]
    assert isinstance(check_create(ALEPH2), Create)


@pytest.mark.parametrize(
    ("seed", "code"),
    [(-1, "too_small"), (4_294_967_296, "too_big"), (1.5, "invalid_type"), (True, "invalid_type")],
)
def test_a_seed_out_of_range_is_refused(seed, code):
    assert issues(seed=seed) == [(code, "seed")]


@given(st.integers(0, 4_294_967_295))
def test_every_seed_in_range_passes(seed):
    assert issues(seed=seed) == []


def test_ratios_come_with_a_colon_and_from_the_list():
    assert issues(ratio="1280:720") == []
    assert issues(ratio="1280x720") == [("invalid_value", "ratio")]
    assert issues(ratio="1920:1080") == [("invalid_value", "ratio")]


def test_at_most_one_reference_and_only_an_image():
    image = {"type": "image", "uri": "https://example.com/a.png"}
    assert issues(references=[image]) == []
    assert issues(references=[]) == []
    assert issues(references=[image, image]) == [("too_big", "references")]
    assert issues(references=[{**image, "type": "video"}]) == [("invalid_value", "references", 0, "type")]
    assert issues(references=[{**image, "tag": "x"}]) == [("unrecognized_keys", "references", 0)]
    assert issues(references=[{"type": "image"}]) == [("invalid_type", "references", 0, "uri")]


def test_the_moderation_threshold_is_auto_or_low():
    assert issues(contentModeration={"publicFigureThreshold": "low"}) == []
    assert issues(contentModeration={"publicFigureThreshold": "high"}) == [
        ("invalid_value", "contentModeration", "publicFigureThreshold")
    ]
    assert issues(contentModeration={"x": 1}) == [("unrecognized_keys", "contentModeration")]


@pytest.mark.parametrize(
    "uri",
    [
        "data:application/octet-stream;base64,AAAA",
        "data:video/avi;base64,AAAA",
        "data:video/mp4,AAAA",
        "data:;base64,AAAA",
        "http://example.com/a.mp4",
        "https://93.184.216.34/a.mp4",
        "https://[2606:2800::1]/a.mp4",
        "ftp://example.com/a.mp4",
        "file:///etc/passwd",
        "https://exa mple.com/a.mp4",
        "https://example.com:99999999/a.mp4",
        "https://example.com/" + "a" * 2048,
        "clip.mp4",
        "",
    ],
)
def test_sources_that_the_api_does_not_read_are_refused(uri):
    assert issues(videoUri=uri) == [("custom", "videoUri")]


def test_the_limit_of_a_data_uri_counts_the_encoded_string():
    uri = "data:video/mp4;base64,".ljust(5 * 1024 * 1024, "A")
    assert isinstance(check_create({**GOOD, "videoUri": uri}), Create)
    (issue,) = check_create({**GOOD, "videoUri": uri + "A"})
    assert "5242881 bytes encoded, at most 5242880" in issue.message


def test_aleph2_takes_keyframes_and_no_references():
    frame = {"seconds": 1, "uri": "https://example.com/a.png"}
    good = {**ALEPH2, "keyframes": [frame] * 5, "targetAspectRatio": "21:9"}
    assert isinstance(check_create(good), Create)
    for wrong in (
        {"keyframes": [frame] * 6},
        {"keyframes": [{**frame, "at": 0.5}]},
        {"keyframes": [frame, {**frame, "range": {"startSeconds": 0, "endSeconds": 2}}]},
        {"references": []},
        {"proresProfile": "422"},
        {"outputFormat": "avi"},
    ):
        assert not isinstance(check_create({**ALEPH2, **wrong}), Create), wrong


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON_VALUES = st.recursive(
    SCALARS,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3),
    max_leaves=5,
)


@settings(max_examples=40)
@given(JSON_VALUES)
def test_no_value_in_any_field_makes_the_check_raise(value):
    for body in (GOOD, ALEPH2):
        for name in (
            "videoUri",
            "promptText",
            "seed",
            "ratio",
            "references",
            "keyframes",
            "contentModeration",
        ):
            check_create({**body, name: value})


def test_a_misbehaviour_is_read_from_its_text():
    assert parse("create:500-after:times=2") == Misbehaviour("create", "500-after", times=2)
    assert parse("create:429:retry_after=date+30:every=3") == Misbehaviour(
        "create", "429", retry_after="date+30", every=3
    )
    assert parse("poll:failure:code=SAFETY.INPUT.TEXT:prompt=a%3Ab") == Misbehaviour(
        "poll", "failure", code="SAFETY.INPUT.TEXT", prompt="a:b"
    )
    assert parse("download:stall:bytes=10:seconds=0.5") == Misbehaviour(
        "download", "stall", bytes=10, seconds=0.5
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("create", "operation:what"),
        ("creat:500", "did you mean 'create'?"),
        ("create:dropp", "did you mean 'drop'?"),
        ("create:299", "create knows no '299'"),
        ("task:500", "task knows no '500'"),
        ("create:500:time=2", "did you mean 'times'?"),
        ("create:500:times=two", "'two' is no good value for times"),
        ("create:500:times=0", "times must be at least 1"),
        ("create:500:rate=5", "create:500 takes no rate"),
        ("create:500:shape=xml", "shape must be one of runway"),
        ("poll:status:probability=2", "probability must be 0 to 1"),
        ("download:content:kind=mov", "download knows no 'content'"),
    ],
)
def test_a_wrong_text_is_refused_with_a_sentence(text, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        parse(text)


def test_a_misbehaviour_also_comes_as_json():
    assert from_json({"on": "poll", "what": "status", "word": "NAPPING"}) == parse("poll:status:word=NAPPING")
    with pytest.raises(TypeError):
        from_json(5)


@pytest.mark.parametrize(("on", "what"), [(on, what) for on, whats in WHATS.items() for what in whats])
def test_every_misbehaviour_has_a_text(on, what):
    assert parse(f"{on}:{what}") == Misbehaviour(on, what)


def test_misbehaviours_come_in_their_order_each_as_often_as_it_says():
    deck = Deck()
    deck.add(parse("create:500:times=2"), parse("create:429:times=1"), parse("poll:html"))
    drawn = [deck.draw("create") for _ in range(4)]
    assert [one.what if one else None for one in drawn] == ["500", "500", "429", None]


def test_every_skip_and_prompt_choose_the_requests():
    deck = Deck()
    deck.add(parse("create:500:every=3:skip=1"))
    assert [deck.draw("create") is not None for _ in range(7)] == [
        False,
        False,
        False,
        True,
        False,
        False,
        True,
    ]
    deck.clear()
    deck.add(parse("create:500:prompt=snow"))
    assert deck.draw("create") is None
    assert deck.draw("create", "deep winter") is None
    assert deck.draw("create", "deep snow") is not None


def test_chance_repeats_itself_with_the_same_seed():
    def draws(seed):
        deck = Deck(seed)
        deck.add(parse("poll:500:probability=0.3"))
        return [deck.draw("poll") is not None for _ in range(200)]

    assert draws(1) == draws(1) != draws(2)
    assert 30 < sum(draws(1)) < 90


def table(on_removed=lambda _task: None, **changes):
    settings = {"concurrency": None, "pending_seconds": 0.0, "render_seconds": 10.0, "tasks_max": 100}
    return Table(**{**settings, **changes}, on_removed=on_removed)


def task(name, at=0.0, **changes):
    facts = {
        "owner": "k",
        "model": "gen4_aleph",
        "prompt": "",
        "is_wrapped": False,
        "credits": 1,
        "clip": None,
    }
    return Task(id=name, created_at=at, **facts, **changes)


def rendered(tasks, one, now, path):
    tasks.rendered(one, (Output(path, "a.mp4", "video/mp4"),), now)


def test_a_task_is_pending_then_runs_with_progress_then_succeeds(tmp_path):
    tasks, one = table(pending_seconds=2.0), task("a")
    tasks.add(one)
    assert (tasks.advance(1.0), tasks.shown(one)) == ([], Status.PENDING)
    assert tasks.advance(2.0) == [one]
    assert tasks.next_due() == 12.0
    rendered(tasks, one, 3.0, tmp_path)
    tasks.advance(7.0)
    assert (one.status, tasks.progress(one, 7.0)) == (Status.RUNNING, 0.5)
    tasks.advance(12.0)
    assert (one.status, one.ended_at, tasks.progress(one, 12.0)) == (Status.SUCCEEDED, 12.0, 1.0)


def test_a_task_waits_for_a_rendering_that_takes_longer_than_promised(tmp_path):
    tasks, one = table(), task("a")
    tasks.add(one)
    tasks.advance(0.0)
    tasks.advance(15.0)
    assert (one.status, tasks.progress(one, 15.0)) == (Status.RUNNING, 0.99)
    rendered(tasks, one, 16.0, tmp_path)
    assert one.status is Status.SUCCEEDED


def test_tasks_beyond_the_concurrency_are_throttled_and_start_in_order(tmp_path):
    tasks, all_of_them = table(concurrency=1), [task("a"), task("b"), task("c")]
    for one in all_of_them:
        tasks.add(one)
    assert tasks.advance(0.0) == all_of_them[:1]
    assert [tasks.shown(one) for one in all_of_them] == [Status.RUNNING, Status.THROTTLED, Status.THROTTLED]
    rendered(tasks, all_of_them[0], 1.0, tmp_path)
    assert tasks.advance(10.0) == all_of_them[1:2]
    tasks.remove("b")
    assert tasks.advance(11.0) == all_of_them[2:]


def test_a_doomed_task_fails_when_its_time_has_come_and_a_stuck_one_never_ends():
    tasks, doomed, stuck = (
        table(),
        task("a", coming_failure=Failure("INTERNAL", "x")),
        task("b", is_stuck=True),
    )
    tasks.add(doomed)
    tasks.add(stuck)
    tasks.advance(0.0)
    tasks.rendered(doomed, (), 0.0)
    tasks.rendered(stuck, (), 0.0)
    tasks.advance(1e6)
    assert (doomed.status, doomed.failure) == (Status.FAILED, Failure("INTERNAL", "x"))
    assert stuck.status is Status.RUNNING


def test_ended_tasks_beyond_the_limit_are_forgotten_oldest_first(tmp_path):
    gone = []
    tasks = table(lambda one: gone.append(one.id), tasks_max=2, render_seconds=0.0)
    for name in "abcd":
        tasks.add(task(name))
        for started in tasks.advance(0.0):
            rendered(tasks, started, 0.0, tmp_path)
    assert gone == ["a", "b"]
    assert tasks.get("a") is None
    assert tasks.get("d") is not None


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from(["add", "remove", "fail", "wait"]), st.integers(0, 9)), max_size=60)
)
def test_no_more_tasks_run_than_may_whatever_happens(steps):
    tasks, alive, now = table(concurrency=2, tasks_max=3), {}, 0.0
    for number, (step, choice) in enumerate(steps):
        now += 1.0
        picked = list(alive.values())[choice % len(alive)] if alive else None
        if step == "add":
            alive[str(number)] = one = task(str(number), now)
            tasks.add(one)
        elif step == "remove" and picked is not None:
            tasks.remove(picked.id)
            del alive[picked.id]
        elif step == "fail" and picked is not None and not picked.status.is_terminal:
            tasks.fail(picked, Failure(None, "x"), now)
        else:
            now += 10.0
        for started in tasks.advance(now):
            tasks.rendered(started, (), now)
        running = [one for one in alive.values() if one.status is Status.RUNNING]
        waiting = [one for one in alive.values() if one.status is Status.PENDING]
        assert len(running) <= 2
        assert len(running) == 2 or not waiting
