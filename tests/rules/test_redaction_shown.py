"""What is shown of people's own words: no secret and no signed address, and the rest as they wrote it."""

import ast
import json
import re
import tomllib

import pytest

from clipspool.cli.output import print_json
from clipspool.intake.sidecar.keys import problems_in
from clipspool.jobs.conditions import Conditions
from clipspool.jobs.model import Clip, Error, Job, Reference, Request, Result, State, Task
from clipspool.jobs.records import HistoryEntry
from clipspool.reporting.status import entry_json, evidence_lines, job_json
from clipspool.stages.provenance import as_sent, error_note, provenance
from clipspool.system.redaction import readable, redact, redact_value, redact_words
from repository import PACKAGE, parsed

C = "CANARY"
SIGNED = [
    f"https://files.example.com/x.png;jsessionid={C}",
    f"https://files.example.com/x.png%3Fsig%3D{C}",
    f"https://bucket.s3.example.com/x.png?X-Amz-Algorithm=AWS4&X-Amz-Signature={C}",
    f"https://acc.blob.core.windows.net/c/x.png?sv=2024&se=2026-01-01&sig={C}",
    f"https://d1.cloudfront.net/x.png?Expires=1&Signature={C}&Key-Pair-Id=K",
    f"https://storage.googleapis.com/b/x.png?X-Goog-Signature={C}",
    f"https://cdn.example.com/x.png?token={C}",
    f"https://user:{C}@cdn.example.com/x.png",
    f"https://cdn.example.com/x.png#access_token={C}",
]
CREDENTIALS = [
    f"Authorization: Bearer {C}",
    f"authorization = {C}",
    f"X-Api-Key: {C}",
    f"x-amz-security-token={C}",
    f"token={C}",
    f"sig={C}",
    f"api_key={C}",
    f"Bearer {C}1234",
    "Basic " + "Q0FOQVJZ" * 3,
    f"sk-{C}{C}1234",
]


@pytest.mark.parametrize("text", [*SIGNED, *CREDENTIALS])
def test_no_secret_of_any_spelling_stands_in_words_that_are_shown(text):
    for shown in (redact_words(f"as in {text} , please"), str(redact_value({"x": [{"y": text}]}))):
        assert C not in shown
        assert "Q0FOQVJZ" not in shown


@pytest.mark.parametrize(
    "prompt",
    [
        "The secret: a garden in the snow, 50% darker",
        "Turn the bearer of the ring into ice; basic lighting",
        "What if it rained? a=b, ratio 16:9 @ dusk",
        "password: swordfish, says the sign on the wall",
        "A key=moment, as on https://example.com/moods/winter",
    ],
)
def test_a_prompt_that_holds_no_secret_is_shown_as_it_was_written(prompt):
    assert redact_words(prompt) == prompt
    assert as_sent(Request(prompt, "m", 1))["prompt"] == prompt


@pytest.mark.parametrize(
    "key",
    [
        "apiKey",
        "api_key",
        "accessToken",
        "webhook-secret",
        "X-Amz-Signature",
        "sig",
        "password",
        "AWSSecretKey",
    ],
)
def test_what_stands_under_the_name_of_a_secret_is_hidden_whatever_it_looks_like(key):
    assert redact_value({"a": {key: C}, "max_tokens": 5, "keyframes": ["x"]}) == {
        "a": {key: "[redacted]"},
        "max_tokens": 5,
        "keyframes": ["x"],
    }


def loaded(signed):
    """Return a job that holds a signed address wherever a text can stand."""
    request = Request(
        f"winter as in {signed}", "gen4_aleph", 1,
        references=(Reference(uri=signed),),
        content_moderation={"x": signed},
        extra={"callback": signed, "deep": [{"url": signed}], "api_key": C},
    )  # fmt: skip
    task = Task(1, "https://api.example.com/v1#ab12", 0.0, "t", evidence={"answer": signed, "error": signed})
    return Job(
        "j", "c", "bay", "", request, 0.0,
        state=State.FAILED, reason=signed, task=task, path="a.mp4",
        error=Error("X", f"said {signed}", f"see {signed}"),
    )  # fmt: skip


@pytest.mark.parametrize("signed", SIGNED)
def test_no_surface_that_is_built_of_a_job_shows_a_signed_address(signed):
    job = loaded(signed)
    clip = Clip("c", "bay", "a.mp4", None, "clip.mp4", 1, 1, 0.0)
    result = Result("f", ".mp4", 1, "00", finished=("none",))
    entry = HistoryEntry(
        0.0, "j", "approved", None, None, {"by": "me", "why": f"see {signed}", "profile": "https://a/v1#ab"}
    )
    shown = [
        str(job_json(job, Conditions(0.0))),
        provenance(job, clip, result, "a.mp4", 0.0).decode(),
        error_note(clip, [job]).decode(),
        str(entry_json(entry)),
        str(evidence_lines(None, job.task.evidence, job.id)),
        readable(f"a note about {signed}"),
    ]
    for text in shown:
        assert C not in text
    assert "https://a/v1#ab" in str(entry_json(entry)), "which account it was is no secret"


def test_a_provenance_with_a_signed_address_is_not_sent_again_without_it():
    request = loaded(SIGNED[0]).request
    keys = tomllib.loads(
        provenance(
            Job("j", "c", "bay", "", request, 0.0),
            Clip("c", "bay", "a.mp4", None, "c", 1, 1, 0.0),
            Result("f", ".mp4", 1, ""),
            "a",
            0.0,
        ).decode()
    )
    del keys["result"]
    found = dict(problems_in(keys))
    assert "write it again" in found["references"]
    assert "write it again" in found["extra.callback"]
    assert "write it again" in found["extra.api_key"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Incorrect API_KEY: Bearer CANARY1234.", "Incorrect API_KEY: [redacted]"),
        ("its api_key=CANARY1234] was refused", "its api_key=[redacted] was refused"),
        ("token: https://x.example/a?sig=CANARY", "token: [redacted]"),
        ("authorization: [redacted], again", "authorization: [redacted], again"),
    ],
)
def test_what_is_taken_out_leaves_no_bracket_behind_also_where_it_is_taken_out_again(text, shown):
    assert redact(text) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "text", [*SIGNED, *CREDENTIALS, "the label says token=", "as on https://shop.example/?id=7"]
)
@pytest.mark.parametrize("around", ['a sign reads "{}" in red', "{}\\", "{}\n\u00fc and more", "'{}'"])
def test_what_a_command_prints_as_json_is_json_whatever_is_taken_out_of_it(text, around, capsys):
    words = around.format(text)
    print_json({"request": {"prompt": words}, "history": [words], "attempts": 1, "error": None})
    line = capsys.readouterr().out
    shown = redact_words(words)
    assert json.loads(line) == {
        "request": {"prompt": shown},
        "history": [shown],
        "attempts": 1,
        "error": None,
    }
    assert C not in line
    assert line.isascii()


SUSPECT = re.compile(r"(?i)\"[^\"\n]*(token|secret|passw(?:or)?d|signature|cookie|key|authorization)`?: ")
"""What the rules look for: a module without it need not be parsed."""


def sentences_of(tree):
    """Yield the texts of a module, with `X` for what is filled in; without its docstrings."""
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.JoinedStr(values=parts):
                yield "".join(part.value if isinstance(part, ast.Constant) else "X" for part in parts)
            case ast.Constant(value=str(text)) if id(node) not in said:
                yield text


def test_no_sentence_of_ours_loses_a_word_to_the_rules_about_secrets():
    # Headers and patterns, and an answer to a request, which no log repeats.
    others = {"redaction.py", "values.py", "proxy.py", "security.py", "operations.py"}
    modules = [path for path in PACKAGE.rglob("*.py") if path.name not in others]
    speaking = [path for path in modules if SUSPECT.search(path.read_text())]
    sentences = {text for path in speaking for text in sentences_of(parsed(path)) if " " in text}
    assert {text for text in sentences if redact(text) != text} == set()
