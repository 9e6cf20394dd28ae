"""`_status.txt`, kept by the real daemon."""

import signal

import pytest


@pytest.mark.slow
def test_an_editor_reads_in_the_folder_how_the_clips_fare(bay):
    bay.box.misbehave("task:failure:times=1")
    bay.configure(keys="status_file = true", top=f"[path_map]\n'{bay.home}' = 'Z:\\spool'")
    status = bay.inbox / "_status.txt"

    def says(*words):
        text = status.read_text() if status.exists() else ""
        return all(word in text for word in words)

    bay.start()
    bay.drop("bad.mp4", 'promt = "deep winter"\n')
    bay.until(lambda: says("NEEDS YOU (1)", "did you mean `prompt`?"), what="the mistake is told")
    assert says("Results appear in Z:\\spool\\results")
    bay.drop("fails.mp4")
    bay.until(lambda: says("FAILED (1 in 3 days)", "_failed/fails.mp4"), what="the failure is told")
    bay.write("bad.toml", 'prompt = "deep winter"\n')
    bay.until(lambda: says("DELIVERED (1 in 3 days)") and not says("NEEDS YOU"), what="the result is told")
    assert bay.stop() == 0
    assert says("clipspool is stopped")
    assert not bay.events("status_file_not_written")


def test_a_run_that_ends_by_itself_leaves_its_outcome(bay):
    bay.configure(keys="status_file = true")
    bay.drop("shot.mp4")
    assert bay.run_until_idle() == 0
    text = (bay.inbox / "_status.txt").read_text()
    assert "clipspool is stopped" in text
    assert "DELIVERED (1 in 3 days)" in text


def test_turned_off_while_it_runs_the_file_goes_and_turned_on_it_comes(bay):
    bay.start()
    status = bay.inbox / "_status.txt"
    for keys in ("status_file = true", "", "status_file = true"):
        bay.configure(keys=keys)
        bay.daemon.send_signal(signal.SIGHUP)
        bay.until(lambda: status.exists() is bool(keys), what=f"{keys or 'turned off'}")  # noqa: B023
    assert bay.stop() == 0
