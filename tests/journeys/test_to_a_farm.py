"""From daemons with a journal each to a farm: what each had under way goes on, paid once."""

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
