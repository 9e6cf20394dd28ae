"""Notes to editors on a real disk: they appear, change and go away, and harm nothing else."""

import ctypes
import errno
import os
import shutil
import struct
from contextlib import contextmanager

import pytest

from clipspool.intake.notes import Notes, note_name, sentence, text_of
from clipspool.jobs.model import Problem
from clipspool.spool.root import Root
from clipspool.system.atomic import name_of
from inboxes import CLIP, SIDECAR, Bench


@pytest.fixture
def bench(tmp_path):
    one = Bench(tmp_path / "bay")
    yield one
    one.inbox.stop()


def test_a_note_says_what_where_and_what_to_do():
    text = text_of(
        "shot.mp4",
        [Problem("unknown key `promt`, did you mean `prompt`?", key="promt", line=3, file="shot.toml")],
    )
    assert text.splitlines() == [
        "clipspool cannot take shot.mp4 yet:",
        "",
        "  - shot.toml, line 3: unknown key `promt`, did you mean `prompt`?",
        "",
        "Fix this and save; it is checked again automatically, and this note goes.",
    ]


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (Problem("it is empty"), "it is empty"),
        (Problem("is larger than 64 KiB", file="a.toml"), "a.toml is larger than 64 KiB"),
        (Problem("is missing", key="prompt", file="a.toml"), "a.toml: `prompt` is missing"),
        (Problem("is wrong", key="seed", line=2, file="x\n.toml"), "x\\n.toml, line 2: `seed` is wrong"),
    ],
)
def test_a_problem_is_one_line(problem, said):
    assert sentence(problem) == said


def test_a_note_for_the_longest_name_has_a_name_that_fits_and_is_its_own():
    names = [
        "ü" * 125 + "a.mp4",
        "ü" * 125 + "b.mp4",
        "x" * 251 + ".mp4",
        os.fsdecode(b"\xff" * 251 + b".mp4"),
    ]
    notes = [note_name(name) for name in names]
    assert len(set(notes)) == len(names)
    assert all(len(os.fsencode(note)) <= 255 and note.endswith(".problem.txt") for note in notes)
    notes[0].encode()


def test_a_note_is_written_only_when_what_it_says_changes(tmp_path):
    notes = Notes(Root(tmp_path), "bay")
    note = tmp_path / "a.mp4.problem.txt"
    notes.put("a.mp4", [Problem("one")])
    first = note.stat().st_ino
    notes.put("a.mp4", [Problem("one")])
    Notes(Root(tmp_path), "bay").put("a.mp4", [Problem("one")])
    assert note.stat().st_ino == first
    notes.put("a.mp4", [Problem("two")])
    assert "two" in note.read_text()


def test_a_clip_with_the_longest_name_gets_its_note_and_loses_it(bench):
    name = "n" * 251 + ".mp4"
    bench.drop(name, sidecar=None)
    bench.settle()
    bench.look(60.0)
    (note,) = [path for path in bench.path.iterdir() if path.name.endswith(".problem.txt")]
    assert "it has no sidecar yet" in note.read_text()
    bench.write("n" * 250 + ".toml", SIDECAR)
    (bench.path / name).rename(bench.path / ("n" * 250 + ".mp4"))
    bench.settle()
    assert bench.paths == ["n" * 250 + ".mp4"]
    assert bench.lying() == []


def test_a_clip_waits_a_minute_for_its_sidecar_before_there_is_a_note_and_goes_on_by_itself(bench):
    bench.drop("a.mp4", sidecar=None)
    bench.look()
    bench.look(59.9)
    assert bench.note("a.mp4") is None
    bench.look(0.1)
    assert "put `a.txt` or `a.toml` or `a.mp4.toml` beside it" in bench.note("a.mp4")
    assert "\n        a.txt\n" in bench.note("a.mp4")
    assert bench.waiting()["a.mp4"].problem
    bench.write("a.toml", SIDECAR)
    bench.settle()
    assert bench.paths == ["a.mp4"]
    assert bench.lying() == []


def test_a_sidecar_without_its_clip_gets_a_note_that_goes_when_the_clip_comes(bench):
    bench.write("a.toml", SIDECAR)
    bench.look()
    bench.look(60.0)
    assert "no clip named `a` yet" in bench.note("a.toml")
    bench.drop("a.mp4", sidecar=None)
    bench.settle()
    assert bench.paths == ["a.mp4"]
    assert bench.lying() == []


def test_a_note_of_an_earlier_run_goes_when_its_clip_is_gone_or_mended(bench):
    bench.drop("gone.mp4", sidecar="nonsense")
    bench.drop("mended.mp4", sidecar="nonsense")
    bench.drop("same.mp4", sidecar="nonsense")
    bench.settle()
    kept = (bench.path / "same.mp4.problem.txt").stat().st_ino
    bench.inbox.stop()
    (bench.path / "gone.mp4").unlink()
    (bench.path / "gone.mp4.toml").unlink()
    bench.write("mended.mp4.toml", SIDECAR)
    bench.begin()
    bench.settle()
    assert bench.paths == ["mended.mp4"]
    assert bench.lying() == ["same.mp4", "same.mp4.problem.txt", "same.mp4.toml"]
    assert (bench.path / "same.mp4.problem.txt").stat().st_ino == kept


def test_a_file_of_somebody_elses_with_such_a_name_is_left_alone(bench):
    bench.write("thesis.problem.txt", "my own notes")
    bench.settle()
    bench.look(100.0)
    assert bench.note("thesis") == "my own notes"


@pytest.mark.parametrize("kind", ["file", "large", "link", "fifo"])
def test_what_is_not_our_note_is_not_written_over_nor_removed_though_a_clip_beside_it_is_wrong(bench, kind):
    theirs = bench.path / "a.mp4.problem.txt"
    if kind == "link":
        theirs.symlink_to("elsewhere")
    elif kind == "fifo":
        os.mkfifo(theirs)
    else:
        theirs.write_text("my own words\n" * (1 if kind == "file" else 40_000))
    before = theirs.lstat()
    bench.drop("a.mp4", sidecar="nonsense")
    bench.settle()
    assert bench.waiting()["a.mp4"].problem
    bench.write("a.mp4.toml", SIDECAR)
    bench.settle()
    assert bench.paths == ["a.mp4"]
    after = theirs.lstat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_note_that_its_editor_wrote_over_is_theirs(bench):
    bench.drop("a.mp4", sidecar="nonsense")
    bench.settle()
    bench.write("a.mp4.problem.txt", "what I have to ask them tomorrow")
    bench.write("a.mp4.toml", SIDECAR)
    bench.settle()
    assert bench.paths == ["a.mp4"]
    assert bench.note("a.mp4") == "what I have to ask them tomorrow"


def test_a_note_that_cannot_be_written_is_no_harm(bench):
    (bench.path / "a.mp4.problem.txt").mkdir()
    bench.drop("a.mp4", sidecar="nonsense")
    bench.drop("b.mp4")
    bench.settle()
    assert bench.paths == ["b.mp4"]
    assert bench.waiting()["a.mp4"].problem


def test_a_note_shows_names_that_would_deceive_as_they_are(bench):
    bench.drop("evil\u202egpj\n\x1b[31m.mp4", sidecar="nonsense")
    bench.settle()
    (note,) = [path for path in bench.path.iterdir() if path.name.endswith(".problem.txt")]
    text = note.read_text()
    assert "evil\\u202egpj\\n\\x1b[31m.mp4" in text
    assert text.isascii()


def test_many_problems_make_a_short_note(bench):
    bench.drop("a.mp4", sidecar="".join(f"key{n} = 1\n" for n in range(1000)))
    bench.settle()
    assert len(bench.note("a.mp4").splitlines()) <= 30


def test_a_note_tells_no_address_of_a_reference(bench):
    bench.drop("a.mp4", sidecar=SIDECAR + 'references = ["http://example.com/x.png?signature=topsecret"]\n')
    bench.settle()
    assert "topsecret" not in bench.note("a.mp4")


@contextmanager
def as_others():
    """Let this thread be one that file modes apply to, root or not."""
    libc = ctypes.CDLL(None)
    header = struct.pack("Ii", 0x20080522, 0)
    had = ctypes.create_string_buffer(24)
    libc.capget(header, had)
    words = struct.unpack("6I", had.raw)
    libc.capset(header, struct.pack("6I", 0, *words[1:3], 0, *words[4:]))
    try:
        yield
    finally:
        libc.capset(header, had)


@pytest.mark.parametrize(("name", "what"), [("a.mp4", "it"), ("a.mp4.toml", "sidecar"), ("w.png", "image")])
def test_a_note_names_the_very_file_that_cannot_be_read(bench, name, what):
    bench.write("w.png", b"png")
    bench.drop("a.mp4", sidecar=SIDECAR + 'references = ["w.png"]\n')
    bench.drop("b.mp4")
    (bench.path / name).chmod(0)
    with as_others():
        bench.settle()
        assert bench.paths == ["b.mp4"]
        spelled = "  - it" if what == "it" else f"{what} `{name}`"
        assert f"{spelled} cannot be read or moved: permission denied" in bench.note("a.mp4")
        (bench.path / name).chmod(0o644)
        bench.settle()
    assert bench.paths == ["b.mp4", "a.mp4"]
    assert bench.note("a.mp4") is None


def test_a_folder_of_which_only_the_names_can_be_read_is_said_and_read_once_it_is_mended(bench):
    """As `chmod -R 644` leaves it."""
    bench.drop("day/a.mp4")
    (bench.path / "day").chmod(0o644)
    with as_others():
        bench.settle()
        assert "cannot be opened: Permission denied" in bench.waiting()["day"].reason
        assert "cannot be opened: Permission denied" in bench.note("day")
        (bench.path / "day").chmod(0o755)
        bench.settle()
        bench.settle()
    assert bench.paths == ["day/a.mp4"]
    assert "day" not in bench.waiting()
    assert bench.note("day") is None


def test_a_clip_that_cannot_be_read_says_so_and_is_tried_again(bench, monkeypatch):
    real = Root.open

    def refuse(self, rel):
        if rel == "a.mp4":
            raise PermissionError(13, "Permission denied")
        return real(self, rel)

    monkeypatch.setattr(Root, "open", refuse)
    bench.drop("a.mp4", data=CLIP)
    bench.drop("b.mp4")
    bench.settle()
    assert bench.paths == ["b.mp4"]
    assert "permission denied" in bench.note("a.mp4")
    monkeypatch.setattr(Root, "open", real)
    bench.look(30.0)
    assert bench.paths == ["b.mp4", "a.mp4"]


def test_a_note_of_an_earlier_run_goes_though_the_clip_is_held_back(tmp_path):
    b = Bench(tmp_path / "bay", hold_seconds=600.0)
    b.drop("a.mp4", sidecar="promt = 1")
    b.settle()
    assert b.note("a.mp4") is not None
    b.inbox.stop()
    b.write("a.mp4.toml", SIDECAR)
    b.begin()
    b.settle()
    assert b.paths == []
    assert b.note("a.mp4") is None
    b.inbox.stop()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_no_half_written_note_and_costs_none_that_is_there(tmp_path, code, monkeypatch):
    notes = Notes(Root(tmp_path), "bay")
    notes.put("a.mp4", [Problem("one")])

    def full(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("clipspool.spool.root.write_all", full)
    monkeypatch.setattr("clipspool.intake.notes.write_all", full)
    notes.put("a.mp4", [Problem("two")])
    notes.put("b.mp4", [Problem("one")])
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4.problem.txt"]
    assert "one" in (tmp_path / "a.mp4.problem.txt").read_text()


def test_a_note_that_somebody_removes_is_back_after_the_next_rescan(bench):
    """Tools that mirror a folder remove what its source does not have."""
    bench.drop("day/a.mp4", sidecar="nonsense")
    bench.write("day/a.R3D", b"raw")
    bench.settle()
    bench.look(60.0)
    said = {name: bench.note(name) for name in ("day/a.mp4", "day/a.R3D")}
    assert all(said.values())
    for _ in range(2):
        for name in said:
            (bench.path / f"{name}.problem.txt").unlink()
        bench.look(30.0)
        bench.look(30.0)
        assert {name: bench.note(name) for name in said} == said
    bench.write("day/a.mp4.toml", SIDECAR)
    bench.settle()
    bench.look(30.0)
    assert bench.lying() == ["day/a.R3D", "day/a.R3D.problem.txt"]


def test_a_folder_that_went_with_its_notes_is_not_made_again_for_them(bench, monkeypatch):
    bench.drop("day/a.mp4", sidecar="nonsense")
    bench.settle()
    shutil.rmtree(bench.path / "day")
    # So busy that what waits there is not judged again for a while.
    monkeypatch.setattr("clipspool.intake.inbox._BATCH_SECONDS", -1.0)
    for _ in range(3):
        bench.look(30.0)
    assert not (bench.path / "day").exists()


def test_a_note_that_could_not_be_written_is_once_its_name_is_free(bench):
    (bench.path / "a.mp4.problem.txt").mkdir()
    bench.drop("a.mp4", sidecar="nonsense")
    bench.settle()
    bench.look(30.0)
    (bench.path / "a.mp4.problem.txt").rmdir()
    bench.look(30.0)
    bench.look(30.0)
    assert bench.note("a.mp4")


def test_a_note_that_found_the_disk_full_is_written_once_there_is_room(bench, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("clipspool.spool.root.write_all", full)
        bench.drop("a.mp4", sidecar='promt = "x"\n')
        bench.settle()
        bench.look(60.0)
        assert bench.note("a.mp4") is None
    bench.look(60.0)
    bench.look(60.0)
    assert "unknown key `promt`" in bench.note("a.mp4")


def test_a_note_under_its_final_name_is_not_left_cut_short(tmp_path, monkeypatch):
    """Where no rename works a note is written so; one that breaks off would not be known as ours."""

    def cut(file, data):
        file.write(data[:10])
        raise OSError(errno.EIO, "Input/output error")

    def no_rename(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Root, "replace", no_rename)
    monkeypatch.setattr("clipspool.intake.notes.write_all", cut)
    Notes(Root(tmp_path), "bay").put("a.mp4", [Problem("one")])
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def short_names(monkeypatch):
    """Names as the encrypted folders of some NAS allow them."""

    def refusing(call):
        def called(path, *args, **more):
            if isinstance(path, str) and len(os.fsencode(name_of(path))) > 143:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
            return call(path, *args, **more)

        return called

    for name in ("stat", "open", "mkdir"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))


@pytest.mark.usefixtures("short_names")
def test_where_names_are_shorter_a_clip_is_accepted_and_has_its_note_all_the_same(bench):
    good, bad = "g" * 136 + ".mp4", "b" * 136 + ".mp4"
    bench.drop(good, sidecar=None)
    bench.write("g" * 136 + ".toml", SIDECAR)
    bench.drop(bad, sidecar=None)
    bench.write("b" * 136 + ".txt", "seed = 5")
    bench.settle()
    bench.look(30.0)
    assert bench.paths == [good]
    assert bench.inbox.state == "watching"
    assert "is a setting" in bench.note(note_name(bad).removesuffix(".problem.txt"))
    assert len(list((bench.path / ".clipspool/work").iterdir())) == 1
