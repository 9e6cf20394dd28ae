"""A clip that kills the daemon is set aside, and the others go on."""

from clipspool import work

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
