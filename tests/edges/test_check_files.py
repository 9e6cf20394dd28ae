"""`clipspool check FILE`: what would be sent of it, at what price, and what is wrong with it."""

import pytest

from clipspool.app.settings import load
from clipspool.cli.check.files import FileChecker, lines, total
from numbered import fill
from runway_sandbox.render import sample

CONFIG = """
[budget]
credits_per_clip_max = 100.0

[presets.winter]
prompt = "the house's winter"

[[inbox]]
path = "{home}/bay"
outbox = "{home}/results"

[[inbox]]
path = "{home}/open"
outbox = "{home}/open-results"
sidecar = "optional"
defaults = {{ prompt = "of this inbox" }}
"""


DEAR = "the 2 jobs of this clip would cost about 120 credits in all, and a clip may cost 100"


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    sample(path, seconds=3.5, width=160, height=90)
    return path.read_bytes()


@pytest.fixture
def home(tmp_path):
    for name in ("bay", "open"):
        (tmp_path / name).mkdir()
    (tmp_path / "config.toml").write_text(CONFIG.format(home=tmp_path))
    return tmp_path


@pytest.fixture
def check(home):
    settings = load(home / "config.toml", {"CLIPSPOOL_JOURNAL__PATH": str(home / "j.sqlite3")})
    checkers = []

    def check(name, text=None, inbox=None):
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        known = next((one for one in settings.inbox if one.name == inbox), None)
        checkers.append(FileChecker(settings, known))
        return checkers[-1].check(path)

    yield check
    for one in checkers:
        one.close()


def test_a_clip_with_its_sidecar_is_priced_with_all_its_results(home, check, film):
    (home / "bay/shot.toml").write_text('preset = "winter"\n[matrix]\nseed = [1, 2]\n')
    found = check("bay/shot.mp4", film)
    assert list(lines(found)) == [
        "shot.mp4, 3.5 s, 160x90",
        "  v1: about 60 credits; model gen4_aleph, seed 1, ratio 1280:720, preset winter",
        '      "the house\'s winter"',
        "  v2: about 60 credits; model gen4_aleph, seed 2, ratio 1280:720, preset winter",
        '      "the house\'s winter"',
        "  2 results, about 120 credits in total",
        f"  it would be held until somebody approves it: {DEAR}",
    ]
    its_sidecar = check("bay/shot.toml")
    shown = its_sidecar.to_dict()
    assert (shown["clip"], shown["credits_estimated"]) == ("shot.mp4", 120.0)
    assert total([found, its_sidecar]) == "", "`check bay/*` names both, and it is one clip"
    check("open/shot.toml", 'prompt = "x"')
    more = [found, its_sidecar, check("open/shot.mp4", film)]
    assert total(more) == "2 clips, 3 results: about 180 credits in total"
    assert (home / "bay").stat().st_nlink == 2, "nothing was made there"


def test_a_sidecar_without_its_clip_is_judged_but_not_priced(check):
    found = check("bay/shot.toml", 'prompt = "x"\n')
    assert list(lines(found)) == [
        "no clip lies beside it yet",
        "  price by its clip's length; model gen4_aleph, seed drawn at random",
        '      "x"',
    ]
    assert "seed" not in found.to_dict()["jobs"][0]["request"]


def test_a_text_file_is_the_prompt_below_a_sidecar(home, check):
    (home / "bay/shot.toml").write_text("seed = 4\n")
    (job,) = check("bay/shot.txt", "in my own words").quote.jobs
    assert (job.request.prompt, job.request.seed) == ("in my own words", 4)


def test_of_two_clips_of_one_name_each_is_checked_with_its_own_sidecar(home, check, film):
    for name in ("shot.mp4", "shot.mov"):
        (home / f"bay/{name}.toml").write_text(f'prompt = "of {name}"\n')
        (home / "bay" / name).write_bytes(film)
    for name in ("shot.mp4", "shot.mov", "shot.mp4.toml", "shot.mov.toml"):
        found = check(f"bay/{name}")
        assert found.clip == name.removesuffix(".toml")
        assert [job.request.prompt for job in found.quote.jobs] == [f"of {found.clip}"]


def test_a_sidecar_that_could_be_for_two_clips_is_a_problem_as_it_is_to_the_daemon(home, check, film):
    (home / "bay/shot.toml").write_text('prompt = "of which?"\n')
    for name in ("shot.mp4", "shot.mov"):
        (home / "bay" / name).write_bytes(film)
    for name in ("shot.mp4", "shot.mov", "shot.toml"):
        assert "could belong to more than one clip" in next(lines(check(f"bay/{name}")))


def test_an_empty_sidecar_is_a_problem(home, check, film):
    (home / "bay/shot.toml").touch()
    said = next(lines(check("bay/shot.mp4", film)))
    assert said == "`shot.mp4`: its sidecar `shot.toml` is empty (0 bytes)"


def test_a_file_elsewhere_is_judged_by_the_inbox_that_is_named(check):
    (job,) = check("desk/shot.toml", "seed = 1\n", inbox="open").quote.jobs
    assert job.request.prompt == "of this inbox"
    said = list(lines(check("desk/shot.toml")))
    assert "`prompt` is missing" in said[0]
    assert said[-1] == "  by the settings of the inbox bay: the file lies in no inbox"
    assert "settings of the inbox" not in "".join(lines(check("bay/shot.toml", 'prompt = "x"\n')))


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("bay/a.toml", 'promt = "x"\n', "a.toml, line 1: unknown key `promt`, did you mean `prompt`?"),
        ("bay/a.toml", 'prompt = "x"\npreset = "wintr"\n', "did you mean `winter`?"),
        ("bay/a.toml", 'prompt = "x"\nreferences = ["no.png"]\n', "`no.png`, which is not in the inbox"),
        ("bay/_presets/own.toml", "seed = -1\n", "_presets/own.toml, line 1: `seed` has to be"),
        ("bay/_presets/own.toml", 'preset = "winter"\n', "a preset cannot be made of another"),
        ("bay/_presets/own.toml.txt", "seed = 1\n", "rename it to `_presets/own.toml`"),
        ("bay/_presets/more/own.toml", "seed = 1\n", "rename it to `_presets/own.toml`"),
        ("bay/day/_defaults.toml", "again = true\n", "belongs in the sidecar of a clip"),
        ("bay/_default.toml", "seed = 1\n", "rename it to `_defaults.toml`"),
        ("bay/a.toml.txt", 'prompt = "x"\n', "rename it to `a.toml`"),
        ("bay/a.mp4", "no film", "`a.mp4`: it has no sidecar yet, and this inbox requires one"),
        ("open/a.mp4", "no film", "it is"),
        ("bay/a.xyz", "what", "this kind of file (.xyz) is unknown and not used. Accepted as clips: .avi,"),
        ("bay/a.braw", "what", "it is camera raw (.braw)"),
        ("bay/_a.mp4", "film", "it is passed over: its name begins with"),
        ("bay/a.mp4.part", "film", "it is taken for a file that is still on its way"),
        ("bay/a.toml.part", "x", "it is taken for a file that is still on its way"),
        ("bay/a.png", "image", "which a sidecar may name in `references`"),
        ("bay/none.mp4", None, "there is no such file"),
        ("bay", None, "name the clips in it"),
    ],
)
def test_what_is_wrong_is_told_as_intake_would(check, name, text, why):
    found = check(name, text)
    assert found.quote.problems
    assert why in "\n".join(lines(found))


@pytest.mark.parametrize("name", ["bay/_presets/own.toml", "bay/day/_defaults.toml", "bay/_prompt.txt"])
def test_settings_for_many_clips_are_judged_by_themselves(check, name):
    text = "a plain prompt" if name.endswith(".txt") else "seed = 1\n"
    assert list(lines(check(name, text))) == ["it can be used for the clips that it is meant for"]


def test_a_clip_beside_which_a_partner_lies_is_not_whole(check, film):
    check("bay/a.toml", 'prompt = "x"')
    check("bay/a.mp4.aria2", "x")
    assert "`a.mp4.aria2` is beside it" in next(lines(check("bay/a.mp4", film)))


def test_a_link_is_never_followed(home, check):
    (home / "bay/a.toml").symlink_to("/etc/passwd")
    assert "it is a link" in next(lines(check("bay/a.toml")))


def test_a_folder_of_pictures_is_priced_at_its_rate_and_what_is_wrong_with_it_is_said(home, check):
    fill(home / "bay/seq", range(1001, 1049), width=160, height=90)
    assert "a folder of pictures needs `seq.toml` or `seq.txt` beside it" in next(
        iter(lines(check("bay/seq")))
    )
    (home / "bay/seq.txt").write_text("deep winter")
    found = list(lines(check("bay/seq")))
    assert found[0] == "seq, 2 s, 160x90"
    assert found[1].startswith("  about 30 credits; model gen4_aleph")
    made = "made of 48 numbered pictures (PNG), `shot.1001.png` to `shot.1048.png`, at 24 frames a second"
    assert f"      made to fit: {made}, since no `frames_per_second` was given" in found
    (home / "bay/seq.toml").write_text("frames_per_second = 12")
    assert next(iter(lines(check("bay/seq")))) == "seq, 4 s, 160x90"
    (home / "bay/seq/shot.1007.png").unlink()
    assert "picture 1007 is missing" in next(iter(lines(check("bay/seq"))))
    (home / "bay/seq/notes.pdf").write_bytes(b"x")
    assert "in it is `notes.pdf`" in next(iter(lines(check("bay/seq"))))


def test_the_rate_of_a_film_is_its_own(check, film):
    found = check("bay/shot.toml", 'prompt = "x"\nframes_per_second = 25\n')
    assert not found.quote.problems, "nothing is known of its clip"
    check("bay/shot.mp4", film)
    assert "is for folders of numbered pictures" in next(iter(lines(check("bay/shot.toml"))))


EDL = """TITLE: cut
FCM: NON-DROP FRAME

001  A001C003 V     C        00:00:01:00 00:00:02:00 01:00:00:00 01:00:01:00
* FROM CLIP NAME: A001_C003.mp4
* COMMENT: fog

002  A001C004 V     C        00:00:02:00 00:00:03:00 01:00:01:00 01:00:03:00
M2   A001C004       012.0                00:00:02:00
* FROM CLIP NAME: A001_C003.mp4
* COMMENT: slow rain
"""


def test_a_clip_is_judged_with_the_timeline_that_shows_it_as_when_it_is_accepted(check, film):
    check("open/day/cut.edl", EDL)
    shown = check("open/day/cards/A001_C003.mp4", film)
    assert shown.source == check("open/day/cut.edl").source
    assert [(job.variant, job.credits) for job in shown.quote.jobs] == [("A001_C003", 30.0)]
    other = check("open/day/other.mp4", film)
    assert [job.credits for job in other.quote.jobs] == [60.0], "it is not shown"
    (found,) = lines(check("open/day/cards/A001_C003.toml", 'prompt = "x"'))
    assert "the timeline `cut.edl` shows it, and it has a sidecar of its own: remove one of the two" in found


def test_files_that_are_too_long_get_a_sentence(home, check, film):
    long = 'prompt = "x"\n' + "#" * 70_000
    (found,) = lines(check("bay/shot.toml", long))
    assert "is larger than 64 KiB" in found
    check("bay/cut.edl", EDL)
    check("bay/A001_C003.mp4", film)
    (found,) = lines(check("bay/cut.edl.toml", long))
    assert "is larger than 64 KiB" in found
    fill(home / "bay/seq")
    (found,) = lines(check("bay/seq.toml", long))
    assert "is larger than 64 KiB" in found
    assert check("bay/seq.toml", 'prompt = "x"').source == home / "bay/seq", "it is the folder's"


@pytest.mark.parametrize(
    ("name", "todo"), [("cut.edl", "correct or remove"), ("reel.aaf", "export it as OTIO")]
)
def test_a_clip_without_a_sidecar_waits_for_a_timeline_that_cannot_be_read(check, film, name, todo):
    check(f"open/{name}", b"\0no timeline")
    (found,) = lines(check("open/day/shot.mp4", film))
    assert f"the timeline `{name}` cannot be read, and may show it: {todo}" in found
    check("open/day/shot.toml", 'prompt = "x"')
    assert check("open/day/shot.mp4").quote.jobs


def test_a_timeline_is_priced_by_its_marked_clips_with_their_handles(home, check, film):
    (found,) = lines(check("bay/day/cut.edl", EDL))
    assert "neither in its folder nor below it: `A001_C003.mp4`" in found
    (home / "bay/day/cards").mkdir()
    (home / "bay/day/cards/A001_C003.mp4").write_bytes(film)
    checked = check("bay/day/cut.edl")
    assert [(job.variant, job.request.length_seconds, job.credits) for job in checked.quote.jobs] == [
        ("A001_C003", 2.0, 30.0)
    ]
    first, price, prompt, *more = lines(checked)
    assert (first, prompt) == ("cut.edl", '      "fog"')
    assert price.startswith("  A001_C003: about 30 credits; model gen4_aleph")
    assert any("clip 2 `A001_C003.mp4`: its speed is changed" in line for line in more)
    (home / "bay/day/cut.toml").write_text('model = "aleph3"\nhandle_frames = 0\n')
    assert "line 1: `model` names the unknown model `aleph3`" in next(iter(lines(check("bay/day/cut.edl"))))
    (home / "bay/day/cut.toml").write_text("handle_frames = 0\n")
    assert check("bay/day/cut.edl").quote.jobs[0].request.length_seconds == 1.0
    own = check("bay/day/cut.toml")
    assert (own.clip, own.quote.jobs[0].request.length_seconds) == ("cut.edl", 1.0), "it is the timeline's"
    (home / "bay/_presets").mkdir()
    (home / "bay/_presets/tight.toml").write_text("handle_frames = 3\n")
    (home / "bay/day/cut.toml").write_text('preset = "tight"\n')
    assert check("bay/day/cut.edl").quote.jobs[0].request.length_seconds == 1.25
    (found,) = lines(check("bay/day/cut.edl", EDL.replace("fog", "f" * 1001)))
    assert "clip 1 `A001_C003.mp4`: its prompt is too long: 1,001 characters, at most 1,000" in found
    (found,) = lines(check("bay/day/cut.edl", EDL.replace("* COMMENT", "* X")))
    assert "no clip in it is marked" in found
