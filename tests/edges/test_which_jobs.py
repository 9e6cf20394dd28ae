"""Which jobs an operator means by the name of a folder or a timeline, as typed on another system."""

from contextlib import closing
from unicodedata import normalize

import pytest

from clipspool.cli.which_jobs import held_in, of_timelines
from clipspool.jobs.model import Held
from fakes import a_clip, a_job, a_request


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("typed", ["NFC", "NFD"])
def test_a_folder_and_a_timeline_are_meant_however_their_accents_are_encoded(driver, stored, typed):
    folder, cut = normalize(stored, "Büro"), normalize(stored, "tag/schnitt_für_März.edl")
    with closing(driver.open()) as journal:
        with journal.turn():
            for name, path, timeline in (("a", f"{folder}/1.mp4", ""), ("b", "tag/2.mp4", cut)):
                request = a_request(timeline_name=timeline)
                job = a_job(name, path=path, held=Held.BUDGET, request=request)
                journal.accept(a_clip(job.clip_id, path=path), [job])
        asked = normalize(typed, "Büro")
        assert [job.id for job in held_in(journal, "bay", f"{asked}/")] == ["a"]
        assert held_in(journal, "bay", "B") == []
        names = [normalize(typed, "schnitt_für_März.edl"), "b"]
        meant, jobs = of_timelines(journal, names)
        assert (meant, [job.id for job in jobs]) == (names[:1], ["b"])
