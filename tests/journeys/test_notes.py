"""Problem notes: they appear, change with the problem, and go away once it is mended."""

import struct
import zlib


def picture(side=640):
    """Make a grey PNG."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes([128]) * side) * side)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def note_of(bay, name="shot.mp4"):
    path = bay.inbox / f"{name}.problem.txt"
    return path.read_text() if path.exists() else ""


def test_a_misspelt_key_gets_a_note_that_changes_and_goes_away_once_mended(bay):
    bay.start()
    bay.drop("shot.mp4", 'seed = 1\npromt = "winter"\n')
    first = bay.until(lambda: note_of(bay) or note_of(bay, "shot.toml"), what="a note appears")
    assert "promt" in first
    assert "`prompt`" in first
    assert "2" in first
    bay.write("shot.toml", 'prompt = "winter"\nseed = "5"\n')
    second = bay.until(lambda: (n := note_of(bay) or note_of(bay, "shot.toml")) != first and n)
    assert "seed" in second
    bay.write("shot.toml", 'prompt = "winter"\nseed = 5\n')
    bay.until_retired()
    assert not [name for name in bay.lying() if name.endswith(".problem.txt")]


def test_a_model_that_does_not_exist_is_a_problem_before_anything_is_spent(bay):
    bay.start()
    bay.drop("shot.mp4", 'prompt = "winter"\nmodel = "gen9"\n')
    bay.until(lambda: "gen9" in note_of(bay) + note_of(bay, "shot.toml"), what="a note appears")
    waiting = bay.told("status")["inboxes"][0]["waiting"]
    assert [w for w in waiting if w["path"].startswith("shot")]
    assert bay.paid == 0


def test_text_named_like_a_clip_gets_a_note_and_a_real_clip_in_its_place_goes_on(bay):
    bay.start()
    path = bay.inbox / "shot.mp4"
    bay.write("shot.toml", 'prompt = "winter"\n')
    path.write_text("this is no video at all\n" * 50)
    bay.until(lambda: note_of(bay), what="a note appears")
    path.unlink()
    bay.drop("shot.mp4")
    bay.until_retired()
    assert note_of(bay) == ""


def test_an_optional_sidecar_lets_the_folders_defaults_serve(bay):
    bay.configure(keys='sidecar = "optional"')
    bay.write("_defaults.toml", 'prompt = "all of them"\n')
    bay.start()
    bay.drop("shot.mp4", None)
    bay.until_retired(seconds=25)
    assert bay.box.ledger.creates[0].prompt == "all of them"


def test_whoever_writes_what_the_note_shows_gets_the_clip_on_its_way(bay):
    bay.start()
    bay.drop("shot.mp4", "Make it deep winter\nseed = 42s\n")
    note = bay.until(lambda: note_of(bay), what="a note appears")
    right = [line.partition("write:")[2].strip() for line in note.splitlines() if "write:" in line]
    assert right == ['prompt = "Make it deep winter"', "seed = 42"]
    bay.write("shot.toml", "\n".join(right))
    bay.until_retired()
    assert (bay.box.ledger.creates[0].prompt, note_of(bay)) == ("Make it deep winter", "")


def test_an_image_named_as_an_editors_machine_knows_it_is_sent_and_a_result_has_a_name_that_it_opens(bay):
    bay.configure(top=f"[path_map]\n'{bay.inbox}' = 'Z:\\bay'\n'{bay.outbox}' = 'Z:\\results'")
    bay.start()
    (bay.inbox / "refs").mkdir()
    (bay.inbox / "refs/look.png").write_bytes(picture())
    bay.drop("CON.mp4", "prompt = 'winter'\nreferences = ['z:\\bay\\refs\\look.png']\n")
    bay.until_retired()
    assert [name for name in bay.results() if "CON" in name] == ["CON_.mp4", "CON_.mp4.toml"]
