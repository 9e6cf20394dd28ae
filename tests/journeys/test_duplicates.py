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
