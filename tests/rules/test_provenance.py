"""The papers that go with a clip."""

import tomllib
from dataclasses import replace

import pytest

from clipspool.intake.sidecar import parse as sidecar
from clipspool.jobs.model import Error, Paid, Reference, State
from clipspool.stages.provenance import as_sent, error_note, is_ours, provenance
from fakes import NOON, PROFILE, RESULT, a_clip, a_job, a_request, a_task

FULL = a_request(
    prompt='a "quoted"\nprompt, ünïcode \U0001f40d',
    ratio="1280:720",
    references=(Reference("https://images.test/w.png"), Reference(name="day/winter.png", file="ref-1.png")),
    content_moderation={"public_figure_threshold": "low"},
    extra={"deep": {"list": [1, 2.5, True]}},
    priority=7,
)
JOB = a_job(
    "clip1-v2",
    variant="_v2",
    request=FULL,
    state=State.FETCHED,
    task=a_task(2, credits=14.0),
    credits_estimated=15.0,
)


def paper(job=JOB, clip=None, name="day/shot_v2.mp4"):
    clip = clip or a_clip(sha256="cd" * 32)
    return provenance(job, clip, replace(RESULT, name=""), name, NOON + 90)


def test_a_provenance_is_a_valid_sidecar_for_doing_it_again():
    layer = sidecar.parse(paper(), "day/shot.toml")
    assert layer.problems == ()
    assert layer.keys == as_sent(FULL)
    assert layer.keys["references"] == ["https://images.test/w.png", "day/winter.png"]
    assert (layer.keys["seed"], layer.keys["prompt"]) == (42, FULL.prompt)


def test_a_provenance_says_where_a_result_comes_from():
    facts = tomllib.loads(paper().decode())["result"]
    assert facts["name"] == "day/shot_v2.mp4"
    assert (facts["size"], facts["sha256"]) == (RESULT.size, RESULT.sha256)
    assert (facts["source"], facts["source_size"], facts["source_sha256"]) == ("day/shot.mp4", 9, "cd" * 32)
    assert (facts["task"], facts["provider"], facts["attempts"]) == ("task-2", PROFILE, 2)
    assert (facts["credits"], facts["credits_estimated"], facts["variant"]) == (14.0, 15.0, "v2")
    assert facts["finished_at"].timestamp() == NOON + 90
    assert facts["accepted_at"].tzinfo is not None


def test_credits_that_nobody_told_are_left_out():
    job = replace(JOB, task=a_task(), credits_estimated=None)
    assert not {"credits", "credits_estimated"} & set(tomllib.loads(paper(job).decode())["result"])


def test_names_that_are_not_utf8_are_written_escaped():
    clip = a_clip(path="caf\udce9/sh\udcf6t.mp4")
    facts = tomllib.loads(paper(clip=clip, name="caf\udce9/sh\udcf6t.mp4").decode())["result"]
    assert facts["source"] == facts["name"] == "caf\\xe9/sh\\xf6t.mp4"


def test_a_provenance_is_known_again_by_its_job_and_its_result():
    body = tomllib.loads(paper().decode())
    assert is_ours(body, JOB, RESULT)
    assert not is_ours(body, a_job("other"), RESULT)
    assert not is_ours(body, JOB, replace(RESULT, sha256="ef" * 32))
    assert not is_ours({"prompt": "a plain sidecar"}, JOB, RESULT)
    assert not is_ours({"result": "no table"}, JOB, RESULT)


# --- why a source failed --------------------------------------------------------------------------------

MODERATED = Error("SAFETY.INPUT", "it was moderated", "Change the prompt.", paid=Paid.YES)
FAILED = a_job(state=State.FAILED, error=MODERATED, task=a_task(), paid=Paid.YES)


def test_an_error_note_says_what_happened_what_to_do_and_what_it_cost():
    assert tomllib.loads(error_note(a_clip(), [FAILED]).decode()) == {
        "clip": "day/shot.mp4",
        "code": "SAFETY.INPUT",
        "message": "it was moderated",
        "what_to_do": "Change the prompt.",
        "retryable": False,
        "task_id": "task-1",
        "paid": "yes",
    }


def test_a_clip_with_several_jobs_tells_of_each():
    delivered = a_job("clip1-v1", state=State.DELIVERED, task=a_task(), paid=Paid.YES)
    doubtful = a_job(
        "clip1-v2",
        state=State.CANCELLED,
        error=Error("CANCELLED", "by ann", paid=Paid.UNKNOWN),
        task=a_task(task_id=None),
        paid=Paid.UNKNOWN,
    )
    note = tomllib.loads(error_note(a_clip(), [delivered, doubtful]).decode())
    assert (note["code"], note["task_id"], note["paid"]) == ("CANCELLED", "", "yes")
    assert [(job["id"], job["state"]) for job in note["job"]] == [
        ("clip1-v1", "delivered"),
        ("clip1-v2", "cancelled"),
    ]
    assert note["job"][1]["paid"] == "unknown"


@pytest.mark.parametrize(("paid", "worst"), [("no", "unknown"), ("yes", "yes")])
def test_the_worst_that_is_known_about_money_stands_first(paid, worst):
    other = replace(FAILED, id="clip1-v2", paid=Paid.UNKNOWN)
    note = tomllib.loads(error_note(a_clip(), [replace(FAILED, paid=Paid(paid)), other]).decode())
    assert note["paid"] == worst


def test_an_error_note_is_written_whatever_the_clips_name_and_the_providers_words():
    odd = replace(FAILED, error=replace(MODERATED, message="caf\udce9.mp4 is \ud800 gone"))
    note = tomllib.loads(
        error_note(a_clip(path="caf\udce9.mp4"), [odd, replace(odd, id="clip1-v2")]).decode()
    )
    assert note["clip"] == "caf\\xe9.mp4"
    assert "gone" in note["message"]
