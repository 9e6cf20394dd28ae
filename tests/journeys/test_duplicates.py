"""The same clip and request again: held, run, or served with the first result."""

import tomllib

from journeys.bay import make_clip

WINTER = 'prompt = "deep winter"\n'


def drop_twice(bay, sidecar=WINTER):
    data = make_clip(bay.template, "one.mp4")
    bay.drop("one.mp4", sidecar, data)
    bay.until_retired()
    bay.drop("two.mp4", sidecar, data)


def test_a_duplicate_is_held_with_a_pointer_and_runs_once_it_is_approved(bay):
    bay.is_checked = False  # the same bytes lie there twice, as they should
    bay.start()
    drop_twice(bay)
    bay.until(lambda: any(job["held"] == "duplicate" for job in bay.told("jobs")))
    held, first = bay.told("jobs")
    assert first["id"] in held["reason"]
    assert "delivered" in held["reason"]
    assert bay.paid == 1
    assert bay.call("approve", held["id"], "--yes").returncode == 0
    bay.until_retired(2)
    assert bay.paid == 2


def test_a_failed_clip_moved_back_as_its_note_says_runs_again_and_the_note_goes(bay):
    bay.is_checked = False  # its sidecar and clip were moved by hand
    bay.box.misbehave("task:failure:times=1")
    bay.start()
    bay.drop("day/a.mp4", WINTER)
    note = bay.inbox / "_failed/day/a.mp4.error.toml"
    bay.until(note.exists)
    bay.until_retired()
    advice = tomllib.loads(note.read_text())["what_to_do"]
    assert "move the clip and its sidecar from `_failed` back into the inbox" in advice
    if "write `again = true` into its sidecar" in advice:  # the provider said that it was paid for
        sidecar = bay.inbox / "_failed/day/a.toml"
        sidecar.write_text(f"again = true\n{sidecar.read_text()}")
    for name in ("a.toml", "a.mp4"):
        (bay.inbox / "_failed/day" / name).rename(bay.inbox / "day" / name)
    bay.until((bay.outbox / "day/a.mp4").exists)
    bay.until_retired(2)
    assert not note.exists()
    assert bay.paid == 2


def test_a_source_with_its_provenance_repeats_with_again_and_is_held_without(bay):
    bay.is_checked = False
    bay.start()
    data = make_clip(bay.template, "a.mp4")
    bay.drop("a.mp4", WINTER, data)
    bay.until_retired()
    provenance = (bay.outbox / "a.mp4.toml").read_text()
    assert "ratio = " in provenance, "chosen, as the sidecar names none"
    (bay.inbox / "b.mp4.toml").write_text(provenance)
    bay.drop("b.mp4", None, data)
    bay.until(lambda: any(job["held"] == "duplicate" for job in bay.told("jobs")))
    (bay.inbox / "a.mp4.toml").write_text(f"again = true\n{provenance}")
    (bay.inbox / "_done/a.mp4").rename(bay.inbox / "a.mp4")
    bay.until_retired(2)
    assert bay.paid == 2
    assert (bay.outbox / "a_v002.mp4").exists()
    seeds = {job["request"]["seed"] for job in bay.told("jobs")}
    assert len(seeds) == 1, "the very request, its drawn seed included"


def test_again_in_defaults_of_many_is_a_problem(bay):
    bay.start()
    bay.write("_defaults.toml", "again = true\n")
    bay.drop("a.mp4", WINTER)
    note = bay.inbox / "a.mp4.problem.txt"
    bay.until(note.exists)
    assert "belongs in the sidecar of a clip" in note.read_text()
    (bay.inbox / "_defaults.toml").unlink()
    bay.until_retired()


def test_two_that_are_dropped_at_once_are_paid_once(bay):
    bay.is_checked = False
    data = make_clip(bay.template, "one.mp4")
    for name in ("one.mp4", "two.mp4", "three.mp4"):
        bay.drop(name, WINTER, data)
    assert bay.run_until_idle() == 0
    assert sorted(bay.jobs().values()) == ["delivered", "queued", "queued"]
    assert bay.paid == 1


def test_another_seed_or_reference_is_another_request(bay):
    bay.is_checked = False
    data = make_clip(bay.template, "one.mp4")
    bay.drop("one.mp4", WINTER + "seed = 1\n", data)
    bay.drop("two.mp4", WINTER + "seed = 2\n", data)
    assert bay.run_until_idle() == 0
    assert bay.paid == 2


def test_the_first_result_is_delivered_again_where_the_operator_chose_so(bay):
    bay.is_checked = False
    bay.configure(keys='duplicates = "reuse"')
    bay.start()
    drop_twice(bay)
    bay.until_retired(2)
    assert bay.paid == 1
    assert (bay.outbox / "two.mp4").read_bytes() == (bay.outbox / "one.mp4").read_bytes()
    second, first = bay.told("jobs")
    told = tomllib.loads((bay.outbox / "two.mp4.toml").read_text())["result"]
    assert (told["reused_from"], told["paid"]) == (first["id"], "no")
    assert (second["paid"], second["reused_from"]) == ("no", first["id"])


def test_a_first_result_that_was_taken_away_is_not_reused(bay):
    bay.is_checked = False
    bay.configure(keys='duplicates = "reuse"')
    bay.start()
    data = make_clip(bay.template, "one.mp4")
    bay.drop("one.mp4", WINTER, data)
    bay.until_retired()
    (bay.outbox / "one.mp4").rename(bay.home / "taken.mp4")
    bay.drop("two.mp4", WINTER, data)
    bay.until(lambda: any(job["held"] == "duplicate" for job in bay.told("jobs")))
    assert "not in the outbox any more" in bay.told("jobs")[0]["reason"]
    assert bay.paid == 1
