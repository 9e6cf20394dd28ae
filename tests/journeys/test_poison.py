"""A clip that kills the daemon is set aside, and the others go on."""

import time

import pytest

from clipspool.spool import workfolder as work

KILLER = """\
import os, sys
from clipspool.stages import prepare
real = prepare._read
def read(file, clip, stopping):
    if "killer" in clip.path:
        os.kill(os.getpid(), 9)
    return real(file, clip, stopping)
prepare._read = read
"""


@pytest.mark.slow
def test_a_clip_that_kills_the_daemon_is_set_aside_and_the_rest_goes_on(bay):
    site = bay.home / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(KILLER)
    for name in ("one.mp4", "killer.mp4", "two.mp4"):
        bay.drop(name)
    codes = [bay.run_until_idle(PYTHONPATH=str(site)) for _ in range(4)]
    assert codes == [-9, -9, -9, 0]
    held = {job["clip"]: job["held"] for job in bay.told("jobs")}
    assert held == {"one.mp4": None, "killer.mp4": "poison", "two.mp4": None}
    assert sorted(bay.jobs().values()) == ["delivered", "delivered", "queued"]
    assert list(bay.inbox.glob(f"{work.WORK}/*/clip.mp4"))
    killer = next(job["id"] for job in bay.told("jobs") if job["held"])
    assert bay.call("approve", killer, "--yes").returncode == 0
    assert bay.run_until_idle() == 0
    assert set(bay.jobs().values()) == {"delivered"}


KILLS_INTAKE = """\
import os
from clipspool.intake import examine
real = examine.Examination._inspect
def inspect(self, pairing, now):
    if "killer" in pairing.clip:
        os.kill(os.getpid(), 9)
    return real(self, pairing, now)
examine.Examination._inspect = inspect
"""
KILLS_RETIRING = """\
import os
from clipspool.stages import runner as workshop
real = workshop.retire
def retire(clip, *others, **more):
    if "killer" in clip.path:
        os.kill(os.getpid(), 9)
    return real(clip, *others, **more)
workshop.retire = retire
"""


def with_killer(bay, text):
    site = bay.home / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(text)
    for name in ("one.mp4", "killer.mp4", "two.mp4"):
        bay.drop(name)
    return str(site)


def until_alive(bay, site):
    """Start again and again, as systemd does; gives how often it died."""
    codes = []
    while not codes or codes[-1] != 0:
        codes.append(bay.run_until_idle(PYTHONPATH=site))
        assert len(codes) < 8
    assert set(codes[:-1]) == {-9}
    return len(codes) - 1


@pytest.mark.slow
def test_a_clip_that_kills_the_daemon_while_it_is_judged_gets_a_note_and_the_rest_goes_on(bay):
    site = with_killer(bay, KILLS_INTAKE)
    assert until_alive(bay, site) == 3
    assert list(bay.jobs().values()) == ["delivered"] * 2
    note = (bay.inbox / "killer.mp4.problem.txt").read_text()
    assert "clipspool itself died 3 times" in note
    bay.start(PYTHONPATH=site)
    time.sleep(1.0)
    assert bay.daemon.poll() is None
    assert bay.stop() == 0
    bay.drop("killer.mp4", sidecar='prompt = "mended"\n')
    assert bay.run_until_idle() == 0
    assert list(bay.jobs().values()) == ["delivered"] * 3
    assert not (bay.inbox / "killer.mp4.problem.txt").exists()


def test_resume_has_it_judged_once_more_as_it_is(bay):
    until_alive(bay, with_killer(bay, KILLS_INTAKE))
    bay.start()
    bay.until_retired(2)
    assert bay.call("resume", "--yes").returncode == 0
    bay.until_retired(3)


def test_a_clip_that_kills_the_daemon_as_it_retires_stays_in_work_and_the_rest_goes_on(bay):
    bay.is_checked = False  # its results are there, and its source stays in its work folder
    site = with_killer(bay, KILLS_RETIRING)
    assert until_alive(bay, site) >= 3
    assert list(bay.jobs().values()) == ["delivered"] * 3
    assert [n for n in bay.lying() if n.endswith(".mp4")] == ["_done/one.mp4", "_done/two.mp4"]
    assert bay.paid == 3
    assert "clipspool itself died" in str(bay.events("retire_failed"))
    bay.start()
    assert bay.call("resume", "--yes").returncode == 0
    bay.until_retired(3)
    assert (bay.inbox / "_done" / "killer.mp4").exists()
