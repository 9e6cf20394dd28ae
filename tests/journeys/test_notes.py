"""Problem notes: they appear, change with the problem, and go away once it is mended."""


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
