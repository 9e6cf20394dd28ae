"""From daemons with a journal each to a farm, and back: what each had under way goes on, paid once."""

import pytest

from journeys.bay import beside, journal_id, make_silent
from journeys.nodes import begin, move_to_postgres, node


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["stopped", "killed"])
def test_a_farm_takes_over_what_single_daemons_had_under_way_by_import_and_recover(open_bays, ends):
    with open_bays(render_seconds=3600.0) as bay:
        bay.is_checked = False
        one, two = bay, beside(bay)
        for each in (one, two):
            each.configure(provider="running_max = 2")
            each.start()
            each.drop(f"{each.config.stem}.mp4")
            each.until(lambda each=each: list(each.jobs().values()) == ["running"])
            assert each.stop() == 0
        theirs = journal_id(two)
        if ends == "killed":  # on a machine that nobody has heard of since
            two.start()
            two.daemon.kill()
            two.daemon.wait()
            make_silent(two, theirs)
        sqlite = one.journal
        move_to_postgres(bay)
        a, b = (node(bay, name, top="") for name in ("a", "b"))
        a.journal = sqlite
        a.configure(top='[farm]\nnode = "a"\nlease_seconds = 5.0\n')
        assert a.call("farm", "import").returncode == 0
        try:
            begin(a, "leads")
            begin(b, "follows")
            (peer,) = a.told("status")["inboxes"][0]["peers"]
            assert (peer["journal"], peer["clips"]) == (theirs, 1)
            taken = b.call("recover", "--from", theirs, "--yes")
            assert "1 clip taken over" in taken.stdout, taken
            bay.until_states("running", "running")
            assert bay.paid == 2
        finally:
            for each in (a, b):
                assert each.stop() == 0


@pytest.mark.slow
def test_back_from_a_farm_to_daemons_with_a_journal_each_as_the_documentation_says(bay):
    move_to_postgres(bay)
    bay.is_checked = False
    one, two = node(bay, "one", top=""), node(bay, "two", top="")
    begin(one, "started")
    begin(two, "follows")
    bay.drop("done.mp4")
    bay.until_retired(1, 30)
    assert one.call("pause").returncode == 0
    bay.drop("waits.mp4")
    bay.until(lambda: len(bay.jobs()) == 2, 30, "it is accepted")
    assert two.stop() == 0
    assert one.stop() == 0
    assert one.run_until_idle() == 0
    for daemon in (one, two):
        daemon.database = None
        daemon.configure()
        assert daemon.call("run").returncode != 0, "the line at the journal's place leads to the database"
        assert len(daemon.journal.read_text().splitlines()) == 1
        daemon.journal.unlink()
        begin(daemon, "started")
    assert one.call("recover", "--yes").returncode == 0
    bay.until((bay.outbox / "waits.mp4").exists, 30, "what was queued is delivered")
    bay.drop("new.mp4")
    bay.until((bay.outbox / "new.mp4").exists, 30, "a new clip is delivered")
    assert bay.paid == 3
    assert (one.stop(), two.stop()) == (0, 0)
