"""What a sidecar may say, and what is said of one that it may not."""

from datetime import UTC, datetime

import pytest
import tomli_w
from hypothesis import example, given
from hypothesis import strategies as st

from clipspool.intake.sidecar.layers import drafts, located
from clipspool.intake.sidecar.lines import line_of
from clipspool.intake.sidecar.parse import BYTES_MAX, layer_of, parse
from clipspool.intake.sidecar.references import trouble_with
from clipspool.jobs import nouns
from clipspool.jobs.model import Problem, Reference, Request
from clipspool.stages.provenance import as_sent


def read(text, **options):
    return parse(text.encode() if isinstance(text, str) else text, "day1/shot.toml", **options)


def only(text, **options):
    (problem,) = read(text, **options).problems
    assert problem.file == "day1/shot.toml"
    return problem


def ask(text, *defaults):
    layers = [layer_of({"model": "gen4_aleph"}, "the configuration"), *defaults]
    made, problems = drafts(layers, read(text))
    assert not problems, problems
    return made


# --- what is fine ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "a\udcfcb"},
        {"prompt": "\ud800"},
        {"prompt": "x", "extra": {"a": ["\ud800"]}},
        {"prompt": "x", "extra": {"\ud800": 1}},
    ],
)
def test_a_text_that_is_no_unicode_is_a_problem(body):
    (problem,) = layer_of(body, "a.edl").problems
    assert "is not UTF-8 (shown as \ufffd)" in problem.message
    assert str(problem).isascii() or "\ufffd" in problem.message
    (problem.message + problem.key).encode()


def test_every_key_arrives_in_the_request():
    (draft,) = ask(
        """
        prompt = "Turn the street\\n\\tinto winter"
        model = "aleph2"
        seed = 42
        ratio = "1280:720"
        references = ["winter.png", "https://example.com/a.png?x=1"]
        priority = -5
        not_before = 2026-12-01T23:00:00+01:00
        [content_moderation]
        public_figure_threshold = "low"
        [extra]
        strength = 0.5
        list = [1, {a = true}]
        """
    )
    image = Reference(name="day1/winter.png", file="ref-0.png")
    request = draft.request(7, {draft.references[0]: image})
    assert (request.prompt, request.model, request.seed) == ("Turn the street\n\tinto winter", "aleph2", 42)
    assert (request.ratio, request.priority) == ("1280:720", -5)
    assert request.references == (image, Reference(uri="https://example.com/a.png?x=1"))
    assert request.not_before == datetime(2026, 12, 1, 22, tzinfo=UTC).timestamp()
    assert request.content_moderation == {"public_figure_threshold": "low"}
    assert request.extra == {"strength": 0.5, "list": [1, {"a": True}]}


def test_a_seed_left_out_is_the_one_that_was_drawn():
    (draft,) = ask('prompt = "x"')
    assert draft.request(1234, {}).seed == 1234
    assert ask('prompt = "x"\nseed = 0')[0].request(1234, {}).seed == 0


@pytest.mark.parametrize("prefix", [b"\xef\xbb\xbf", b"", b"# comment\r\n"])
def test_a_byte_order_mark_and_windows_line_ends_are_fine(prefix):
    assert read(prefix + b'prompt = "x"\r\nseed = 1\r\n').keys == {"prompt": "x", "seed": 1}


def test_a_provenance_file_is_a_sidecar_again():
    (draft,) = ask('prompt = "x"\nseed = 5\n[extra]\na = 1')
    request = draft.request(0, {})
    again = read(tomli_w.dumps(as_sent(request) | {"result": {"task": "t", "promt": 1}}))
    assert not again.problems
    assert drafts([], again)[0][0].request(99, {}) == request


# --- layers and variants --------------------------------------------------------------------------------


def test_later_layers_win_and_tables_are_laid_over_key_by_key():
    above = layer_of({"prompt": "a", "seed": 1, "extra": {"x": 1, "y": {"p": 1}}}, "configuration")
    below = parse(b"seed = 2\n[extra]\ny.q = 2\n", "_defaults.toml", is_own=False)
    (draft,) = ask("[extra]\nz = 3", above, below)
    assert (draft.keys["prompt"], draft.keys["seed"]) == ("a", 2)
    assert draft.keys["extra"] == {"x": 1, "y": {"p": 1, "q": 2}, "z": 3}


def test_each_variant_overrides_keys_and_gives_a_job():
    made = ask('prompt = "x"\nseed = 1\n[[variant]]\nseed = 2\n[[variant]]\nprompt = "y"\n[[variant]]\n')
    assert [d.variant for d in made] == ["_v1", "_v2", "_v3"]
    assert [(d.keys["prompt"], d.keys["seed"]) for d in made] == [("x", 2), ("y", 1), ("x", 1)]


def test_a_reference_is_sought_beside_the_file_that_names_it_and_then_from_the_root():
    defaults = parse(b'references = ["b.png"]', "look/_defaults.toml", is_own=False)
    (draft,) = ask('prompt = "x"', defaults)
    assert draft.references[0].paths() == ("look/b.png", "b.png")


def test_a_missing_prompt_or_model_is_a_problem_that_names_the_key():
    made, problems = drafts([], read("seed = 1"))
    assert made == ()
    assert [p.key for p in problems] == ["prompt", "model"]
    assert all(p.message.startswith("is missing") for p in problems)


def test_a_mistake_in_defaults_is_named_with_that_file():
    wrong = parse(b"promt = 1", "_defaults.toml", is_own=False)
    _, problems = drafts([wrong], read('prompt = "x"'))
    assert [(p.file, p.line) for p in problems] == [("_defaults.toml", 1)]


def test_variants_belong_to_one_clip_only():
    (problem,) = parse(b"[[variant]]\nseed = 1", "_defaults.toml", is_own=False).problems
    assert "not in the defaults" in problem.message


def test_a_problem_of_the_catalogue_gets_its_file_and_line():
    own = read('prompt = "x"\n[[variant]]\nratio = "1:1"\n')
    base = parse(b'\nmodel = "m"', "_defaults.toml", is_own=False)
    found = located(Problem("is not one of", key="ratio"), [base, own], "_v1")
    assert (found.key, found.file, found.line) == ("variant.1.ratio", "day1/shot.toml", 3)
    found = located(Problem("is unknown", key="model"), [base, own], "_v1")
    assert (found.file, found.line) == ("_defaults.toml", 2)


# --- what is not fine -----------------------------------------------------------------------------------


def test_an_unknown_key_is_told_with_the_one_that_was_meant_and_its_line():
    problem = only('# my shot\n\npromt = "x"')
    assert problem.message == "unknown key `promt`, did you mean `prompt`?"
    assert (problem.key, problem.line) == ("promt", 3)


def test_the_line_is_found_behind_texts_of_several_lines_and_in_tables():
    text = 'prompt = """\nseed = "no"\n"""\n[content_moderation]\npublic_figure_treshold = "low"\n'
    problem = only(text)
    assert (problem.key, problem.line) == ("content_moderation.public_figure_treshold", 5)
    assert "did you mean `public_figure_threshold`?" in problem.message


def slips_of(text):
    layer = parse(text.encode(), "a.toml")
    assert layer.problems == ()
    made, problems = drafts([layer_of({"model": "gen4_aleph"}, "")], layer)
    assert bool(made) != bool(problems)
    return [(one.line, one.message) for one in problems]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('prompt = "x"\n[[variant]]\nseed = 1\n[[variant]]\nseed = 2\n[[variant]]\nseed = 1\n', 6),
        ('prompt = "x"\n[matrix]\nseed = [1, 2, 1]\n', 2),
        ('prompt = "x"\nseed = 1\n[[variant]]\npriority = 1\n[[variant]]\npriority = 1\n', 5),
        ('prompt = "x"\n[[variant]]\nprompt = "y"\n[[variant]]\nprompt = "y"\n', None),
    ],
)
def test_equal_variants_are_a_slip_that_would_be_paid_for_unless_each_draws_its_seed(text, line):
    assert [found for found, _ in slips_of(text)] == ([] if line is None else [line])


@pytest.mark.parametrize(
    ("more", "is_slip"),
    [("", True), ('long_clips = "trim"', False), ("length_seconds = 1", False), ("[result]", False)],
)
def test_a_start_that_nothing_uses_is_a_slip(more, is_slip):
    assert bool(slips_of(f'prompt = "x"\nstart_seconds = 1\n{more}\n')) == is_slip


def test_the_line_of_a_value_in_a_list_is_that_of_the_list():
    text = '[extra]\nseed = 1\nkeyframes = [{seconds = 0, uri = "winter.png"}]\n'
    assert line_of(text, "extra.keyframes[0].uri") == 3


def test_the_line_of_a_variant_is_its_own():
    problem = only('prompt = "x"\n[[variant]]\nseed = 1\n[[variant]]\nseed = "2"\n')
    assert (problem.key, problem.line) == ("variant.2.seed", 5)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('seed = "5"', 'the text "5"'),
        ("seed = true", "`true`"),
        ("seed = 1.0", "the number 1.0"),
        ("seed = -1", "out of that range"),
        ("seed = 4294967296", "out of that range"),
        ("seed = 0x" + "f" * 5000, "out of that range"),
        ("seed = inf", "inf"),
        ("seed = nan", "nan"),
        ("priority = 101", "out of that range"),
        ("priority = false", "`false`"),
        ("prompt = 5", "the number 5"),
        ('prompt = ""', "is empty"),
        ('prompt = " \\n"', "is empty"),
        ('prompt = "a\\u0007b"', "U+0007"),
        ('prompt = "\\u009b31m"', "U+009B"),
        ("model = []", "an empty list"),
        ('model = ""', "1 to 200"),
        ('ratio = "16x9"', "two numbers"),
        ("ratio = 1.5", "two numbers"),
        ('references = "a.png"', "a list"),
        ("references = [1]", "texts in quotes"),
        (f"references = {['a.png'] * 11}", "10 is the most"),
        ("not_before = 2026-12-01T22:00:00", "zone is missing"),
        ("not_before = 2026-12-01", "only a date"),
        ('not_before = "2026-12-01T22:00:00Z"', "without quotes"),
        ("not_before = 22:00:00", "a date or time"),
        ("not_before = 9999-12-31T23:59:59-23:59", "beyond the calendar"),
        ("not_before = 0001-01-01T00:00:00+23:59", "beyond the calendar"),
        ("extra = 1", "a table"),
        ("extra.a = nan", "finite"),
        ("extra.a = 2026-12-01", "in quotes"),
        ("extra.a = [[" + "[" * 20 + "]]" + "]" * 20, "deep"),
        ("result = 1", "a table"),
        ("variant = 1", "double brackets"),
        ("[variant]\nseed = 1", "double brackets"),
        ("content_moderation = true", "a table"),
        ('[content_moderation]\npublic_figure_threshold = "high"', '"auto" or "low"'),
        ("prompt.a.b.c = 1", "a table"),
        ("[[variant]]\n" * 101, "100 is the most"),
    ],
)
def test_a_wrong_value_is_told_with_what_would_be_right(text, word):
    problem = only(text)
    assert word in problem.message
    assert problem.line is not None


def test_a_prompt_is_measured_as_utf_16_counts():
    assert not read('prompt = "' + "\U0001f3ac" * 500 + '"').problems
    assert "1,002 characters" in only('prompt = "' + "\U0001f3ac" * 501 + '"').message


@pytest.mark.parametrize(
    ("data", "word", "line"),
    [
        ('prompt = "x"'.encode("utf-16-le"), "UTF-16", None),
        (b'prompt = "x"\nmodel = "caf\xe9"', "not saved as UTF-8", 2),
        (b'a = "x"\n\0', "NUL", 2),
        (b"a" * (BYTES_MAX + 1), "64 KiB", None),
        (b"prompt = winter", "put quotes around", 1),
        (b'seed = 1\nseed = 2\nprompt = "x"', "appears twice", 2),
        (b'prompt = "x', "is missing", 1),
        (b"seed = " + b"9" * 4301, "too large", 1),
        (b"a = " + b"[" * 2000, "too deep", None),
        (b"not_before = 2026-13-45T00:00:00Z", "no such date", 1),
        (b".".join([b"a"] * 30000) + b" = 1", "dots", None),
        (b"\xff\xfe\xff\xff\xff", "UTF-16", None),
        (b"\x7fELF\x02\x01\x01", "program", None),
    ],
)
def test_a_file_that_cannot_be_read_is_told_in_plain_words(data, word, line):
    problem = only(data)
    assert word in problem.message
    assert line is None or problem.line == line


@pytest.mark.parametrize(
    "entry",
    [
        "../a.png",
        "a/../../b.png",
        "..\\a.png",
        "a\\..\\..\\b.png",
        "Z:\\bay\\..\\b.png",
        "%2e%2e/a.png",
        "a%2f..%2f..%2fb.png",
        "file:///Z:/bay/../a.png",
        "file:///Z:/bay/%2e%2e/a.png",
        "Z:a.png",
        ".\\a.png",
        "_done\\a.png",
        "a//b.png",
        "./a.png",
        "a.gif",
        "a",
        "",
        ".clipspool/work/x.png",
        "_done/a.png",
        "a\x00.png",
        "a\n.png",
        "x" * 5000 + ".png",
        "http://example.com/a.png",
        "ftp://example.com/a.png",
        "data:image/png;base64,AA==",
        "https://",
        "https://user:pw@example.com/a.png",
        "https://localhost/a.png",
        "https://127.0.0.1/a.png",
        "https://10.1.2.3/a.png",
        "https://169.254.169.254/a.png",
        "https://[::1]/a.png",
        "https://[::ffff:10.0.0.1]/a.png",
        "https://2130706433/a.png",
        "https://0x7f.1/a.png",
        "https://nas/a.png",
        "https://nas.local/a.png",
        "https://example.com:99999/a.png",
        "https://exa mple.com/a.png",
        "https://example.com/a\u00a0b.png",
        "a\u202egnp.png",
        "a\u2028b.png",
        "a\x07.png",
        "https://example.com/" + "a" * 3000,
    ],
)
def test_a_reference_that_leads_elsewhere_is_refused(entry):
    assert trouble_with(entry)


@pytest.mark.parametrize(
    "entry",
    [
        "a.png",
        "looks/winter day.JPG",
        "zürich.webp",
        "Screenshot 2026-12-01 at 5.03.46\u202fPM.png",
        "\U0001f468\u200d\U0001f469.png",
        "a.jpeg",
        "https://example.com/a",
        "https://8.8.8.8/a.png",
    ],
)
def test_a_reference_inside_the_inbox_or_on_a_public_host_is_fine(entry):
    assert trouble_with(entry) is None


@given(st.binary(max_size=400))
@example(b"\xef\xbb\xbf\xff")
@example(b'a = {a = {}, "b.c" = 1}')
@example(b'"\\u0000" = 1')
@example(b"'a.b'.c = 1\n[x.'y.z']\nq=1")
def test_no_bytes_ever_raise(data):
    layer = parse(data, "x.toml")
    assert layer.problems or isinstance(layer.keys, dict)


@given(st.text(alphabet="prompt sed=[]{}.\"\n'#1aT:-_variantx", max_size=120))
def test_no_text_that_looks_like_toml_ever_raises(text):
    layer = parse(text.encode(), "x.toml")
    drafts([layer_of({"model": "m"}, "c")], layer)


# --- a matrix of values, and presets --------------------------------------------------------------------


def test_a_matrix_gives_a_draft_for_each_combination_the_last_key_changing_first():
    made = ask('prompt = "x"\n[matrix]\nseed = [1, 2]\nratio = ["1280:720", "720:1280"]\n')
    assert [(d.variant, d.keys["seed"], d.keys["ratio"]) for d in made] == [
        ("_v1", 1, "1280:720"),
        ("_v2", 1, "720:1280"),
        ("_v3", 2, "1280:720"),
        ("_v4", 2, "720:1280"),
    ]


def test_each_variant_is_combined_with_the_whole_matrix():
    made = ask('[[variant]]\nprompt = "a"\n[[variant]]\nprompt = "b"\n[matrix]\nseed = [1, 2]\n')
    assert [(d.keys["prompt"], d.keys["seed"]) for d in made] == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


@pytest.mark.parametrize(
    ("matrix", "why"),
    [
        ("seed = 1", "has to be a list of values, as in [1, 2, 3]; it is the number 1"),
        ("seed = []", "has to be a list of values"),
        ("seed = [1, -2]", "has to be a whole number from 0 to"),
        ("sed = [1]", "unknown key `sed`, did you mean `seed`?"),
        ("extra = [1]", "unknown key `extra`"),
    ],
)
def test_a_mistake_in_a_matrix_is_told_with_its_line(matrix, why):
    problem = only(f'prompt = "x"\n[matrix]\n{matrix}\n')
    assert why in problem.message
    assert problem.line == 3


def test_a_matrix_of_too_many_results_says_how_many_it_makes():
    seeds, priorities = list(range(20)), list(range(6))
    problem = only(f'prompt = "x"\n[matrix]\nseed = {seeds}\npriority = {priorities}\n')
    assert problem.message == "makes 20 x 6 = 120 results of one clip; 100 is the most"
    assert problem.key == "matrix"


def test_a_matrix_has_no_place_in_defaults():
    (problem,) = parse(b"[matrix]\nseed = [1]\n", "_defaults.toml", is_own=False).problems
    assert "belongs in the sidecar of a clip" in problem.message


def test_a_problem_of_a_combination_is_found_in_the_matrix():
    layer = read('prompt = "x"\n[matrix]\nseed = [1, 2]\nratio = ["1280:720", "1:1"]\n')
    found = located(Problem("is not accepted", key="ratio"), [layer], "_v2")
    assert (found.line, found.text) == (4, 'ratio = ["1280:720", "1:1"]')


def test_a_variant_may_name_a_preset_of_its_own_and_an_empty_name_none():
    presets = {"warm": {"seed": 1}, "cold": {"seed": 2}}
    text = (
        'preset = "warm"\nprompt = "x"\n[[variant]]\n[[variant]]\npreset = "cold"\n[[variant]]\npreset = ""\n'
    )
    made, problems = drafts(
        [layer_of({"model": "m"}, "c")], read(text), find=lambda name: layer_of(presets[name], name)
    )
    assert problems == ()
    assert [draft.keys.get("seed") for draft in made] == [1, 2, None]


@pytest.mark.parametrize("name", ['"../x"', '"a/b"', '".hidden"', "3", '"_x"'])
def test_a_preset_is_named_without_folder_and_suffix(name):
    assert "preset" in only(f'prompt = "x"\npreset = {name}\n').key


KEYFRAMES = b"""
prompt = "winter"
model = "aleph2"
target_aspect = "21:9"
[[keyframe]]
at = "first"
image = "look.png"
[[keyframe]]
at = 1.5
image = "https://example.com/b.png"
"""


def test_keyframes_are_images_with_a_time_and_a_provenance_asks_for_them_again():
    (draft,) = drafts([], parse(KEYFRAMES, "day/a.toml"))[0]
    first, second = draft.references
    assert (first.paths(), first.at, second.at) == (("day/look.png", "look.png"), "first", "1.5")
    request = draft.request(7, {first: Reference(name="day/look.png", file="ref-0.png")})
    assert request.references == (
        Reference(name="day/look.png", file="ref-0.png", at="first"),
        Reference(uri="https://example.com/b.png", at="1.5"),
    )
    assert nouns.read(Request, request.to_dict()) == request
    again = as_sent(request)
    assert again["keyframe"] == [
        {"at": "first", "image": "day/look.png"},
        {"at": 1.5, "image": "https://example.com/b.png"},
    ]
    assert "references" not in again
    assert parse(tomli_w.dumps(again).encode(), "a.toml").problems == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[keyframe]\nat = 1\nimage = "a.png"', "double brackets"),
        ('[[keyframe]]\nimage = "a.png"', "has no `at`"),
        ('[[keyframe]]\nat = "middle"\nimage = "a.png"', '"first", "last" or seconds'),
        ('[[keyframe]]\nat = -1\nimage = "a.png"', '"first", "last" or seconds'),
        ('[[keyframe]]\nat = 1\nimage = "../a.png"', "plain path inside the inbox"),
        ('[[keyframe]]\nat = 1\nimage = "a.png"\nrange = 3', "unknown key `range`"),
    ],
)
def test_a_wrong_keyframe_is_told_of(text, words):
    (problem,) = parse(f'prompt = "x"\n{text}\n'.encode(), "a.toml").problems
    assert words in problem.message


@pytest.mark.parametrize(
    "line", ['finish_codec = "prores"', 'finish_size = "source"', 'finish_timing = "time"']
)
def test_what_is_asked_of_a_finished_film_is_a_problem_where_none_is_made(line):
    def slips(text, **above):
        return drafts(
            [layer_of({"model": "m", **above}, "[defaults]")],
            parse(f'prompt = "x"\n{text}\n'.encode(), "a.toml"),
        )[1]

    (problem,) = slips(line)
    assert problem.message.startswith('changes nothing without `finish = "timeline"`')
    assert (problem.file, problem.line, problem.text) == ("a.toml", 2, line)
    assert not slips(line + '\nfinish = "timeline"')
    assert not slips(line, finish="timeline")
    assert not slips(line + '\n[result]\nname = "a.mp4"'), "a provenance names all that was in force"


def test_an_overlap_without_parts_and_handles_without_a_timeline_are_problems():
    def slips(text):
        own = parse(f'prompt = "x"\n{text}\n'.encode(), "a.toml")
        return drafts([layer_of({"model": "m"}, "[defaults]")], own)[1]

    (problem,) = slips("overlap_frames = 12")
    assert (problem.key, problem.line) == ("overlap_frames", 2)
    assert 'without `long_clips = "split"`' in problem.message
    assert not slips('overlap_frames = 12\nlong_clips = "split"')
    (problem,) = slips("handle_frames = 12")
    assert "only in that of a timeline" in problem.message
    assert not slips('overlap_frames = 12\nhandle_frames = 12\n[result]\nname = "a.mp4"')
