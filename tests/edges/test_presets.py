"""Presets: sidecar keys by a name, from the configuration and from the inbox itself."""

import pytest

from clipspool.app.again import keys_of
from clipspool.intake.sidecar.presets import listed
from inboxes import Bench

CONFIGURED = {"Winter": {"prompt": "the house's winter", "seed": 1}, "plain": {"prompt": "nothing much"}}


@pytest.fixture
def bay(tmp_path):
    def bay(**rules):
        return Bench(tmp_path / "bay", **{"layers": {"own": {"model": "m"}}, "presets": CONFIGURED, **rules})

    return bay


def request_of(bay):
    (accepted,) = bay.accepted
    (job,) = accepted.jobs
    return job.request


def test_a_preset_of_the_configuration_is_below_the_sidecar_and_above_the_folders_defaults(bay):
    b = bay()
    b.write("_defaults.toml", 'prompt = "the folder\'s"\nseed = 5\npriority = 3\n')
    b.drop("a.mp4", sidecar='preset = "winter"\nseed = 2\n')
    b.settle()
    b.look(3.0)
    request = request_of(b)
    assert (request.prompt, request.seed, request.priority) == ("the house's winter", 2, 3)
    assert request.preset == "winter"
    assert "preset" not in keys_of(request)


def test_a_preset_in_the_inbox_wins_once_it_has_settled(bay):
    b = bay()
    b.write("_presets/winter.toml", 'prompt = "ours"\n')
    b.drop("a.mp4", sidecar='preset = "WINTER"\n')
    b.settle()
    assert b.accepted == []
    assert "`_presets/winter.toml` is still changing" in b.waiting()["a.mp4"].reason
    b.look(3.0)
    assert request_of(b).prompt == "ours"


def test_a_folders_preset_serves_clips_without_a_sidecar(bay):
    b = bay(sidecar_required=False)
    b.write("day/_defaults.toml", 'preset = "plain"\n')
    b.drop("day/a.mp4", sidecar=None)
    b.settle()
    b.look(10.0)
    assert request_of(b).prompt == "nothing much"


def test_a_text_file_with_the_prompt_wins_over_the_preset(bay):
    b = bay()
    b.write("_defaults.toml", 'preset = "winter"\n')
    b.write("a.txt", "my own words")
    b.drop("a.mp4", sidecar=None)
    b.settle()
    assert (request_of(b).prompt, request_of(b).seed) == ("my own words", 1)


def test_a_clip_with_an_unknown_preset_waits_until_there_is_one(bay):
    b = bay()
    b.drop("a.mp4", sidecar='prompt = "x"\npreset = "wintr"\n')
    b.settle()
    note = b.note("a.mp4")
    assert "line 2: `preset` names the unknown preset `wintr`, did you mean `Winter`?" in note
    b.write("_presets/wintr.toml", "seed = 9\n")
    b.look(1.0)
    b.look(3.0)
    b.look(3.0)
    assert request_of(b).seed == 9


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('promt = "x"\n', "_presets/own.toml, line 1: unknown key `promt`, did you mean `prompt`?"),
        ('preset = "plain"\n', "_presets/own.toml names a preset"),
        ("again = true\n", "belongs in the sidecar of a clip"),
        ("[[variant]]\nseed = 1\n", "belongs in the sidecar of a clip"),
        ("seed = 1\n", "`prompt` is missing"),
    ],
)
def test_a_mistake_in_a_preset_is_told_at_each_clip_that_asks_for_it_until_it_is_mended(bay, text, why):
    b = bay()
    b.write("_presets/own.toml", text)
    b.drop("a.mp4", sidecar='preset = "own"\n')
    b.settle()
    b.look(3.0)
    assert why in b.note("a.mp4")
    b.write("_presets/own.toml", 'prompt = "mended"\n')
    for _ in range(3):
        b.look(3.0)
    assert request_of(b).prompt == "mended"


def test_the_image_of_a_preset_lies_beside_it(bay):
    b = bay()
    b.write("_presets/own.toml", 'prompt = "x"\nreferences = ["look.png"]\n')
    b.write("_presets/look.png", "a picture")
    b.drop("a.mp4", sidecar='preset = "own"\n')
    b.settle()
    for _ in range(4):
        b.look(3.0)
    (reference,) = request_of(b).references
    assert reference.name == "_presets/look.png"
    (accepted,) = b.accepted
    copy = f".clipspool/work/{accepted.clip.id}/{reference.file}"
    assert (b.path / copy).read_text() == "a picture"


def test_a_sample_picture_and_a_mistake_are_listed_with_their_preset(bay):
    b = bay()
    b.write("_presets/winter.toml", "not_before = 2026-12-01T22:00:00Z\n")
    b.write("_presets/WINTER.jpg", "a picture")
    b.write("_presets/broken.toml", "seed = 1.5\n")
    b.write("_presets/.hidden.toml", "")
    broken, plain, winter = (preset.to_dict() for preset in listed(b.root, CONFIGURED))
    assert "`seed` has to be a whole number" in broken["problem"]
    assert (plain["from"], plain["picture"], plain["keys"]) == (
        *("configuration", None, {"prompt": "nothing much"}),
    )
    assert winter == {
        "name": "winter",
        "keys": {"not_before": "2026-12-01T22:00:00+00:00"},
        "from": "inbox",
        "picture": "_presets/WINTER.jpg",
        "problem": "",
    }


@pytest.mark.parametrize("name", ["dusk.toml.txt", "Dusk.txt", "dusk", "dusk.json"])
def test_a_preset_under_a_name_that_is_not_read_is_named(bay, name):
    b = bay()
    (b.path / "_presets").mkdir()
    (b.path / "_presets" / name).write_text('prompt = "x"')
    b.drop("a.mp4", sidecar='preset = "dusk"\n')
    b.settle()
    assert b.accepted == []
    assert f"`_presets/{name}` is not read under that name: rename it to `dusk.toml`" in b.note("a.mp4")


def test_a_preset_of_the_configuration_is_not_taken_where_a_file_was_meant_to_replace_it(bay):
    b = bay()
    (b.path / "_presets").mkdir()
    (b.path / "_presets/winter.toml.txt").write_text('prompt = "x"')
    b.drop("a.mp4", sidecar='preset = "winter"\n')
    b.settle()
    assert b.accepted == []
    (b.path / "_presets/winter.toml.txt").rename(b.path / "_presets/winter.txt")
    b.look(60.0)
    assert b.paths == ["a.mp4"], "a plain text may describe it"


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside.toml"])
def test_a_preset_that_is_a_link_is_never_read(bay, target, tmp_path):
    (tmp_path / "outside.toml").write_text('prompt = "secret"\n')
    b = bay()
    (b.path / "_presets").mkdir()
    (b.path / "_presets/own.toml").symlink_to(target)
    b.drop("a.mp4", sidecar='preset = "own"\n')
    b.settle()
    b.look(60.0)
    assert b.accepted == []
    (one,) = (preset for preset in listed(b.root, {}) if preset.name == "own")
    assert one.layer.problems[0].message == "is a link or device instead of a file"
