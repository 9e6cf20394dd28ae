"""The slips of an editor who knows no TOML: each gets its line, what is wrong, and what to write."""

import time
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipspool.intake.notes import sentence, text_of
from clipspool.intake.sidecar.examples import EXAMPLES, is_right, right_line
from clipspool.intake.sidecar.keys import KEYS, SUB_KEYS
from clipspool.intake.sidecar.parse import parse
from clipspool.intake.sidecar.quote_marks import straighten
from patience import patient

DIGITS = "write a number as digits only, without a unit, spaces or marks between thousands"


@pytest.fixture(autouse=True, scope="module")
def _in_utc():
    """Times without a zone are this machine's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def problems(text):
    return parse(text.encode(), "shot.toml").problems


SLIPS = [
    ('prompt = "\u200b\u2060"', 1, "is empty", 'prompt = "Make it winter"'),
    ('prompt = "\u2800 \u3164"', 1, "is empty", 'prompt = "Make it winter"'),
    ('prompt = ["snow", "at dusk"]', 1, "has to be a text", 'prompt = "snow, at dusk"'),
    ('prompt = "x"\nduration = 5', 2, "did you mean `length_seconds`", "length_seconds = 5"),
    ("Make it winter", 1, "needs its key", 'prompt = "Make it winter"'),
    ("Make it winter\nwith snow\n", 1, "needs its key", 'prompt = "Make it winter with snow"'),
    ("Note: make it snow", 1, "needs its key", 'prompt = "Note: make it snow"'),
    ('prompt: "x"', 1, "put = after the key, not a colon", 'prompt = "x"'),
    ("Prompt: Make it winter", 1, "put = after the key, not a colon", 'prompt = "Make it winter"'),
    ("prompt: |\n  Make it\n  winter", 1, "put = after the key, not a colon", 'prompt = "Make it winter"'),
    ('prompt := "x"', 1, "put = after the key, not a colon", 'prompt = "x"'),
    ('prompt => "x"', 1, "one = is enough", 'prompt = "x"'),
    ('prompt == "x"', 1, "one = is enough", 'prompt = "x"'),
    ('prompt "x"', 1, "the = is missing", 'prompt = "x"'),
    ("seed 42", 1, "the = is missing", "seed = 42"),
    ("prompt = Make it winter", 1, "put quotes around", 'prompt = "Make it winter"'),
    ("# Shot 10\n\nprompt = 🎬 snow", 3, "put quotes around", 'prompt = "🎬 snow"'),
    ("prompt\t=\tMake it winter", 1, "put quotes around", 'prompt = "Make it winter"'),
    ("prompt = it's winter", 1, "put quotes around", 'prompt = "it\'s winter"'),
    ('prompt = Make it "winter"', 1, "put quotes around", "prompt = 'Make it \"winter\"'"),
    ("prompt = `x`", 1, "straight quotes", 'prompt = "x"'),
    ("prompt = «\u00a0x\u00a0»", 1, "straight quotes", 'prompt = "x"'),
    ("prompt = «x»", 1, "straight quotes", 'prompt = "x"'),
    ('prompt = "say "no""', 1, 'a " inside the text ends it', "prompt = 'say \"no\"'"),
    ('prompt = "it\'s "cold""', 1, 'write \\" inside', 'prompt = "it\'s \\"cold\\""'),
    ("prompt = 'it's winter'", 1, "a ' inside the text ends it", 'prompt = "it\'s winter"'),
    ('prompt = "Make it winter', 1, 'closing " is missing', 'prompt = "Make it winter"'),
    ('prompt = "Make it winter\nseed = 42', 1, 'closing " is missing', 'prompt = "Make it winter"'),
    ("prompt = 'Make it winter", 1, "closing ' is missing", 'prompt = "Make it winter"'),
    ("prompt = “Make it winter", 1, 'closing " is missing', 'prompt = "Make it winter"'),
    ('prompt = """Make it\nwinter\nseed = 1', 1, 'closing """ is missing', 'prompt = "Make it"'),
    ('prompt = "Make it\nwinter"', 1, "must be on one line", 'prompt = "Make it winter"'),
    ("prompt = “Make it\nwinter”\nseed = 1", 1, "must be on one line", 'prompt = "Make it winter"'),
    ("prompt =\nMake it winter", 1, "on the same line", 'prompt = "Make it winter"'),
    ("seed =", 1, "has no value", "seed = 42"),
    ('prompt = "x";', 1, "remove the `;`", 'prompt = "x"'),
    ('prompt = "x",\nmodel = "m"', 1, "remove the `,`", 'prompt = "x"'),
    ("seed = 42;", 1, "remove the `;`", "seed = 42"),
    ('prompt = "x" // cold', 1, "a comment begins with #", 'prompt = "x"  # cold'),
    ('// cold\nprompt = "x"', 1, "a comment begins with #", "# cold"),
    ('prompt = "x"\n; cold', 2, "a comment begins with #", "# cold"),
    ('---\nprompt = "x"', 1, "delete it", ""),
    ("ratio = 1280:720", 1, "put quotes around", 'ratio = "1280:720"'),
    ("ratio = 1280x720", 1, "put quotes around", 'ratio = "1280:720"'),
    ("not_before = 2026-12-01 22:00", 1, "seconds and its zone", "not_before = 2026-12-01T22:00:00Z"),
    ("not_before = 2026-12-01 22:00:00", 1, "zone is missing", "not_before = 2026-12-01T22:00:00Z"),
    ("not_before = 01.12.2026, 10 pm", 1, "seconds and its zone", "not_before = 2026-12-01T22:00:00Z"),
    ("not_before = 2026-12-01T22:00+0100", 1, "its zone", "not_before = 2026-12-01T22:00:00+01:00"),
    ('not_before = "2026-12-01 22:00"', 1, "without quotes", "not_before = 2026-12-01T22:00:00Z"),
    ("not_before = 2026-13-01T22:00:00Z", 1, "no such date", "not_before = 2026-12-01T22:00:00Z"),
    ("seed = 1\nseed = 2", 2, "appears twice, on lines 1 and 2", ""),
    ("[extra]\na = 1\n[extra]\nb = 1", 3, "appears twice, on lines 1 and 3", ""),
    ('prompt = "x"\n[[variant]]\nseed = 1\nseed = 2', 4, "appears twice, on lines 3 and 4", ""),
    ("keep_untouched = True", 1, "true or false", "keep_untouched = true"),
    ("keep_untouched = yes", 1, "true or false", "keep_untouched = true"),
    ("keep_untouched = off", 1, "true or false", "keep_untouched = false"),
    ('keep_untouched = "true"', 1, "true or false", "keep_untouched = true"),
    ('prompt\u00a0= "x"', 1, "no-break space (U+00A0)", 'prompt = "x"'),
    ('prompt = "x"\u3000', 1, "wide space (U+3000)", 'prompt = "x"'),
    ('\u200bprompt = "x"', 1, "zero-width space (U+200B)", 'prompt = "x"'),
    ('prompt = "a\x0bb"', 1, "soft line break (U+000B)", 'prompt = "a b"'),
    ("seed = 42s", 1, "digits only", "seed = 42"),
    ("seed = 1.000", 1, "a whole number", "seed = 1000"),
    ("seed = 1,000,000", 1, "digits only", "seed = 1000000"),
    ("seed = 007", 1, "digits only", "seed = 7"),
    ('seed = "42"', 1, "without quotes", "seed = 42"),
    ("seed = null", 1, "delete the line", ""),
    ("start_seconds = 1,5", 1, "digits only", "start_seconds = 1.5"),
    ('start_seconds = "00:01:05"', 1, "without quotes", "start_seconds = 65"),
    ("references = winter.png", 1, "square brackets", 'references = ["winter.png"]'),
    ('references = "winter.png"', 1, "has to be a list", 'references = ["winter.png"]'),
    ('references = "a.png", "b.png"', 1, "square brackets", 'references = ["a.png", "b.png"]'),
    ("references = [a.png, b b.png]", 1, "square brackets", 'references = ["a.png", "b b.png"]'),
    ('references = ["a.png" "b.png"]', 1, "square brackets", 'references = ["a.png", "b.png"]'),
    ('references = ["a.png"\nseed = 1', 1, "square brackets", 'references = ["a.png"]'),
    ('references = ["refs\\look.jpg"]', 1, "a backslash", 'references = ["refs/look.jpg"]'),
    ('prompt = "a \\ud83c\\udfac b"', 1, "the sign itself", 'prompt = "a \N{CLAPPER BOARD} b"'),
    ('references = ["refs\\new.jpg"]', 1, "a backslash", 'references = ["refs/new.jpg"]'),
    ("references:\n- winter.png\n- b.png", 1, "square brackets", 'references = ["winter.png", "b.png"]'),
    ("- prompt: x", 1, "begins with its key", 'prompt = "x"'),
    ("prompt = &quot;x&quot;", 1, "web pages", 'prompt = "x"'),
    ('prompt = "Tom &amp; Jerry"', 1, "web pages", 'prompt = "Tom & Jerry"'),
    ("seed = 1\n<b>Make it winter</b>", 2, "web page", 'prompt = "Make it winter"'),
    ('Prompt = "x"', 1, "did you mean `prompt`", 'prompt = "x"'),
    ('long clips = "trim"', 1, "the key is `long_clips`", 'long_clips = "trim"'),
    ('long-clips = "trim"', 1, "did you mean `long_clips`", 'long_clips = "trim"'),
    ('set prompt = "x"', 1, "the key is `prompt`", 'prompt = "x"'),
    ('prompt = "x"\n[[variant]\nseed = 1', 2, "double square brackets", "[[variant]]"),
    ('prompt = "x"\n((variant))\nseed = 1', 2, "double square brackets", "[[variant]]"),
    ('prompt = "x"\n[variant]\nseed = 1', 2, "double brackets", "[[variant]]"),
    ('prompt = "x"\n[[variants]]\nseed = 1', 2, "did you mean `variant`", "[[variant]]"),
    ('[clip]\nprompt = "x"', 1, "delete the line `[clip]`", ""),
    ('{"prompt": "x", "seed": 42}', 1, "JSON", 'prompt = "x"\nseed = 42'),
    ('{\n  "prompt": "x",\n  "seed": 42,\n}', 1, "JSON", 'prompt = "x"\nseed = 42'),
    ('prompt = "x" seed = 42', 1, "a line of its own", 'prompt = "x"\nseed = 42'),
    ('prompt = "x", seed = 42', 1, "a line of its own", 'prompt = "x"\nseed = 42'),
    ('prompt = "x" + "y"', 1, "without +", 'prompt = "xy"'),
    ('prompt = f"x"', 1, "before the opening quote", 'prompt = "x"'),
    ('prompt = "x"\nand snow', 2, "inside its quotes", 'prompt = "x and snow"'),
    ("extra = {a = 1,\n  b = 2}", 1, "on one line", "extra = {a = 1, b = 2}"),
    ("content_moderation = low", 1, "is a table", '[content_moderation]\npublic_figure_threshold = "low"'),
    ('prompt = "x"\rseed = 1\r', 1, "old Macs", ""),
    ("Model, walking through snow", 1, "needs its key", 'prompt = "Model, walking through snow"'),
    ("Style: noir", 1, "needs its key", 'prompt = "Style: noir"'),
    ("Prompt\nMake it winter", 1, "the = is missing", 'prompt = "Make it winter"'),
    ("prompt = Make it winter.\nMore snow.", 1, "on one line", 'prompt = "Make it winter. More snow."'),
    ('prompt = "He said \\"hi\\" and left', 1, 'closing " is missing', "prompt = 'He said \"hi\" and left'"),
    ("prompt = “x”, seed = 42", 1, "a line of its own", 'prompt = "x"\nseed = 42'),
    ('prompt="x"&seed=42', 1, "a line of its own", 'prompt = "x"\nseed = 42'),
    ('prompt = "x"\n[variant 1]\nseed = 1', 2, "double square brackets", "[[variant]]"),
    ('prompt = "x"\n[[variant]] seed = 1', 2, "a line of its own", "[[variant]]\nseed = 1"),
    ('prompt = ["Make it winter"]', 1, "a text in quotes", 'prompt = "Make it winter"'),
    ('ratio = "16:9","9:16"', 1, "only one value", 'ratio = "16:9"'),
    ('prompt&nbsp;=&nbsp;"x"', 1, "write = between", 'prompt = "x"'),
    ('prompt \uff1d "x"', 1, "write = between", 'prompt = "x"'),
    ("seed;42", 1, "write = between", "seed = 42"),
    ('1. prompt = "x"', 1, "in front of it", 'prompt = "x"'),
    ('--prompt "x"', 1, "the = is missing", 'prompt = "x"'),
    ('= "x"', 1, "the key in front", 'prompt = "x"'),
    ('```toml\nprompt = "x"', 1, "delete it", ""),
    ("duration = 5,5", 1, "digits only", "length_seconds = 5.5"),
    ("text = make it winter", 1, "put quotes around the text", 'prompt = "make it winter"'),
    ('prompt = "say \\"no\\" &amp; go"', 1, "write the sign itself", "prompt = 'say \"no\" & go'"),
    ('prompt = "snow\\u0007fall"', 1, "control character U+0007", 'prompt = "snowfall"'),
    ('prompt = "\\u200b"', 1, "is empty", 'prompt = "Make it winter"'),
    ('refs = ["a.png"]', 1, "did you mean `references`", 'references = ["a.png"]'),
    ("\ufeffprompt = Make it winter\r\nseed = 1\r\n", 1, "put quotes", 'prompt = "Make it winter"'),
]


@pytest.mark.parametrize(("text", "line", "words", "right"), SLIPS)
def test_a_slip_is_told_with_its_line_in_plain_words_and_with_what_to_write(text, line, words, right):
    (problem,) = problems(text)
    assert (problem.line, problem.right) == (line, right)
    assert words in problem.message
    assert "TOML" not in problem.message
    assert len(problem.message) < 150
    assert not problems(right), "what is shown as right is not accepted"


def follow(text):
    """Do what the first problem says, as an editor would: write what it shows, or delete the line."""
    problem = problems(text)[0]
    if "save it with line ends" in problem.message:
        return text.replace("\r", "\n")
    lines = text.replace("\r\n", "\n").split("\n")
    right = problem.right.split("\n") if problem.right else []
    if "JSON" in problem.message:
        return problem.right
    lines[problem.line - 1 : problem.line] = right
    return "\n".join(lines)


def test_a_number_of_a_key_of_ones_own_may_have_no_comma():
    (problem,) = problems("[extra]\nstrength = 0,5")
    assert (problem.message, problem.right) == ("write a number with a point, not a comma", "strength = 0.5")


@pytest.mark.parametrize("text", [text for text, *_ in SLIPS])
def test_whoever_does_what_the_notes_say_ends_with_a_sidecar_that_is_accepted(text):
    for _ in range(6):
        if not problems(text):
            break
        text = follow(text)
    assert not problems(text)


@pytest.mark.parametrize(
    ("text", "line", "words", "right"),
    [
        ('prompt = "x"\n[matrix]\nseed = "1-3"', 3, "has to be a list of values", "seed = [1, 2, 3]"),
        ('prompt = "x"\n[matrix]\nseed = []', 3, "has to be a list of values", "seed = [1, 2, 3]"),
        ('prompt = "x"\n[matrix]\nseed = 7', 3, "has to be a list of values", "seed = [7]"),
        ('prompt = "x"\n[matrix]\nseeds = [1, 2]', 3, "did you mean `seed`", "seed = [1, 2]"),
        ('[matrix]\nprompt = "snow"', 2, "has to be a list of values", 'prompt = ["snow"]'),
    ],
)
def test_a_slip_in_a_matrix_is_told_with_a_list_to_write(text, line, words, right):
    (problem,) = problems(text)
    assert (problem.line, problem.right) == (line, right)
    assert words in problem.message
    assert not problems(f'prompt = "x"\n[matrix]\n{right}'), "what is shown as right is not accepted"


def test_a_note_does_not_advise_what_was_written_already():
    (problem,) = parse(b"[matrix]\nseed = [1]\n", "_defaults.toml", is_own=False).problems
    assert (problem.text, problem.right) == ("[matrix]", "")


def test_the_line_is_shown_as_it_was_written_and_shortened():
    (problem,) = problems("prompt = " + "“a”, " * 100 + "b")
    assert problem.text.startswith("prompt = “a”, “a”")
    assert len(problem.text) <= 90
    assert problem.text.endswith("…")


def test_several_slips_are_told_together_but_not_without_end():
    assert [p.line for p in problems('prompt: "x"\nmodel = "m"\nseed: 42\nratio = 1280:720')] == [1, 3, 4]
    assert len(problems("seed: 1\n" * 40)) == 5


def test_a_signed_address_is_never_shown():
    (problem,) = problems('references = ["https://example.com/a.png?X-Amz-Signature=CANARY"')
    assert "CANARY" not in repr(problem)


def test_a_slip_in_defaults_names_that_file():
    (problem,) = parse(b"seed = 42s", "day1/_defaults.toml", is_own=False).problems
    assert (problem.file, problem.line, problem.right) == ("day1/_defaults.toml", 1, "seed = 42")


def test_the_note_reads_as_an_editor_would_have_it():
    text = "# shot 10\nprompt = Make it winter\nseed = 42s\n"
    assert text_of("shot.mp4", problems(text)).splitlines() == [
        "clipspool cannot take shot.mp4 yet:",
        "",
        "  - shot.toml, line 2: put quotes around the text",
        "      you wrote:  prompt = Make it winter",
        '      write:      prompt = "Make it winter"',
        f"  - shot.toml, line 3: {DIGITS}",
        "      you wrote:  seed = 42s",
        "      write:      seed = 42",
        "",
        "Fix this and save; it is checked again automatically, and this note goes.",
    ]


def test_a_note_shows_several_lines_to_write_below_each_other():
    (problem,) = problems('prompt = "x" seed = 42')
    assert text_of("a.mp4", [problem]).splitlines()[4:6] == [
        '      write:      prompt = "x"',
        "                  seed = 42",
    ]


def test_in_one_line_a_problem_says_what_to_write_as_well():
    (problem,) = problems("seed = 42s\n")
    assert sentence(problem).endswith("; write: seed = 42")
    (problem,) = problems('promt = "x"')
    assert sentence(problem) == (
        'shot.toml, line 1: unknown key `promt`, did you mean `prompt`? write: prompt = "x"'
    )


# --- curly quotes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("prompt = “x”", {"prompt": "x"}),
        ("prompt = „x“", {"prompt": "x"}),
        ("prompt = ”x”", {"prompt": "x"}),
        ('prompt = “x"', {"prompt": "x"}),
        ('prompt = "x”', {"prompt": "x"}),
        ("prompt = \u2018it\u2019s winter\u2019", {"prompt": "it\u2019s winter"}),
        ("prompt = “say “no””", {"prompt": "say “no”"}),
        ("prompt = “turn to “snow” # 5”", {"prompt": "turn to “snow” # 5"}),
        ("prompt = “x” # he said “y”", {"prompt": "x"}),
        ("references = [“a.png”, “b, c.png”]", {"references": ["a.png", "b, c.png"]}),
        (
            "references = [\n“a.png”,\n“b.png”\n]\nprompt = “x”",
            {"references": ["a.png", "b.png"], "prompt": "x"},
        ),
        ("prompt = “““\nsay “no”\n”””\nseed = 1", {"prompt": "say “no”\n", "seed": 1}),
        ("“prompt” = “x”", {"prompt": "x"}),
    ],
)
def test_curly_quotes_around_a_text_are_taken_as_straight_ones(text, keys):
    layer = parse(text.encode(), "shot.toml")
    assert not layer.problems
    assert layer.keys == keys


@pytest.mark.parametrize("prompt", ["say “no”", "it\u2019s “winter” \u2018now\u2019", "”", "„a“ and «b»"])
def test_curly_quotes_inside_straight_ones_stay_as_they_are_whatever_stands_beside(prompt):
    text = f'prompt = "{prompt}"\nmodel = “m”\n'
    assert parse(text.encode(), "shot.toml").keys == {"prompt": prompt, "model": "m"}


@pytest.mark.parametrize("text", ['prompt = "turn to “snow”', 'prompt = “say "no"”', "prompt = “a” “b”"])
def test_where_a_text_ends_is_never_guessed(text):
    assert problems(text)


@given(st.text(alphabet="prompt=\"'“”„\u2018\u2019[]#,\n x\\", max_size=60))
def test_straightening_changes_curly_quotes_alone_and_nothing_that_is_toml_already(text):
    straight = straighten(text)
    assert len(straight) == len(text)
    assert all(new == old or old in "“”„\u2018\u2019" for old, new in zip(text, straight, strict=True))
    try:
        keys = tomllib.loads(text)
    except ValueError:
        return
    layer = parse(text.encode(), "shot.toml")
    assert layer.problems or layer.keys == keys


@pytest.mark.parametrize(
    ("written", "right"),
    [
        ("2026-12-01 22:00", "2026-12-01T22:00:00+01:00"),
        ("01.07.2026, 10 pm", "2026-07-01T22:00:00+02:00"),
        ("2026-12-01 22:00Z", "2026-12-01T22:00:00Z"),
        ("2026-12-01 22:00 UTC", "2026-12-01T22:00:00Z"),
        ("2026-12-01T22:00-0800", "2026-12-01T22:00:00-08:00"),
    ],
)
def test_a_time_without_a_zone_is_taken_for_that_of_the_clock_on_the_wall(monkeypatch, written, right):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        found = right_line("not_before", written)
    time.tzset()
    assert found == f"not_before = {right}"


# --- what must hold for any text ------------------------------------------------------------------------

_KEYS = ["prompt", "seed", "references", "not_before", "[[variant]]"]
_SIGNS = [" = ", ": ", '"', "'", "“", "”", '"""', "[", "]", "{", "}", ",", ";", "//", "#", "- ", "\\"]
_WORDS = st.sampled_from([*_KEYS, *_SIGNS, "\n", "\r", "42", "s", "true", "a.png", "\u00a0", "é"])


@given(st.lists(_WORDS, max_size=25).map("".join))
def test_any_text_gets_its_settings_as_toml_has_them_or_a_problem(text):
    layer = parse(text.encode(), "shot.toml")
    for problem in layer.problems:
        assert problem.message
        assert "\n" not in problem.message + problem.text
        assert problem.line is None or 1 <= problem.line <= text.count("\n") + text.count("\r") + 1
        sentence(problem)
    if not layer.problems:
        keys = tomllib.loads(straighten(text.replace("\r\n", "\n")))
        assert layer.keys == {key: value for key, value in keys.items() if key not in {"variant", "result"}}


@given(st.sampled_from(sorted(EXAMPLES)), st.text(max_size=40) | st.lists(_WORDS, max_size=8).map("".join))
def test_a_right_line_is_always_accepted(key, raw):
    name, _, value = right_line(key, raw).partition(" = ")
    assert name == key
    assert is_right(key, value)


@pytest.mark.parametrize(
    "text",
    [
        "[" + " " * 65_000 + "x!",
        " " * 65_000 + "x",
        "prompt = " + " " * 60_000 + "x",
        "prompt = " + '"' * 60_000,
        "prompt = " + "“" * 20_000,
        ("prompt = " + "“ " * 950 + "\n") * 15,
        ('prompt = "x" ' + ", " * 700 + "\n") * 40,
        "[" * 65_000,
        "a\n" * 32_000,
        'seed = "' + "1 " * 30_000 + '"',
    ],
)
def test_a_text_made_to_be_slow_is_told_of_in_no_time(text):
    begun = time.process_time()
    assert problems(text)
    assert time.process_time() - begun < patient(1.0)


def test_every_key_that_holds_no_table_has_an_example():
    assert {*KEYS, *SUB_KEYS} - {*EXAMPLES} == {"content_moderation", "extra", "keyframe"}
