"""What an operator removes, copies and puts back, with the real command."""

import pytest


@pytest.mark.parametrize("is_running", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_prune_shows_what_is_due_asks_and_removes_it_with_a_daemon_and_without(bay, is_running):
    bay.configure(top="[retention]\ndone_days = 0\njournal_days = 0\n")
    bay.start()
    bay.drop("day/shot.mp4")
    bay.until_retired()
    if not is_running:
        assert bay.stop() == 0
    shown = bay.call("prune", "--dry-run").stdout
    assert "bay: 2 files in _done (" in shown
    assert "the history of 1 clip would be removed." in shown
    refused = bay.call("prune")
    assert refused.returncode == 1
    assert "Remove all this for good?" in refused.stderr
    assert (bay.inbox / "_done/day/shot.mp4").exists()
    done = bay.told("prune", "--yes")
    assert done["inboxes"][0]["done"]["files"] == 2
    assert not (bay.inbox / "_done/day").exists()
    assert bay.job()["state"] == "delivered"
    assert "nothing is due" in bay.call("prune", "--dry-run").stdout
    bay.is_checked = False  # the source is gone, as it was ordered
