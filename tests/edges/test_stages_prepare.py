"""What is made ready before anything is spent, on a real disk with the real decoder."""

import os
from dataclasses import replace

import pytest

from clipspool.jobs.events import Changed, Failed, Prepared, StageFailed
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.jobs.model import Clip, Error, Job, Reference, Request, State
from clipspool.provider.catalog import Catalog
from clipspool.provider.protocol import Created, Inline
from clipspool.provider.transport import Depot, SecretNames
from clipspool.provider.transport.folder import ServedFolder
from clipspool.provider.transport.way import InRequest, PutLater
from clipspool.spool import workfolder as work
from clipspool.spool.claims import claim
from clipspool.spool.recovery import survey
from clipspool.spool.root import Root
from clipspool.spool.send_marks import SendMarks
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import Manifest
from clipspool.stages.payload import read_sent
from clipspool.stages.prepare import PrepareTools, prepare
from clipspool.stages.retire import retire, sweep
from clipspool.stages.submit import SubmitTools, submit
from fakes import always
from media_clips import clip as media_clip

SMALL = Catalog.load({"gen4_aleph": {"side_pixels_max": 160}})


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


class Place:
    """A clip that was accepted, and what prepare and submit work with."""

    def __init__(self, home, decoder, source, images=(), catalog=SMALL):
        (home / "in").mkdir()
        (home / "served").mkdir()
        (home / "out").mkdir()
        root = Root(home / "in")
        self.bay = Folders("bay", root, Root(home / "out"))
        self.send_marks = SendMarks(home / "journal.leaving")
        references = []
        for number, image in enumerate(images):
            (home / "in" / image.name).write_bytes(image.read_bytes())
            references.append(Reference(name=image.name, file=f"ref-{number}{image.suffix}"))
        (home / "in" / source.name).write_bytes(source.read_bytes())
        here = (home / "in" / source.name).stat()
        name = f"clip{source.suffix}"
        self.clip = Clip("clip1", "bay", source.name, None, name, here.st_size, here.st_mtime_ns, 0.0)
        request = Request("winter", "gen4_aleph", 1, references=tuple(references))
        self.job = Job("clip1", "clip1", "bay", "", request, 0.0)
        claim(root, Manifest(self.clip, (self.job,)), [(r.name, r.file) for r in references])
        self.work = home / "in" / ".clipspool" / "work" / "clip1"
        self.served, self.seconds = home / "served", 1000.0
        self.decoder, self.catalog = decoder, catalog
        self.ways = [InRequest(5_000_000)]
        self.asked, self.reports = [], []

    @property
    def depot(self):
        return Depot(self.ways, lambda: self.seconds)

    def serve(self):
        names = SecretNames(b"n" * 32)
        self.ways = [ServedFolder.at(Root(self.served), "https://m.example.com", 9_000_000, names)]

    def prepare(self, attempt="a1"):
        limits = lambda request: self.catalog.limits(request.model)  # noqa: E731
        tools = PrepareTools(
            self.decoder,
            self.depot,
            limits,
            self.catalog.credits,
            lambda: self.seconds,
            report=self.reports.append,
        )
        done = prepare(self.job, self.clip, self.bay, tools, attempt=attempt)
        if isinstance(done, Prepared):
            self.job = replace(self.job, prepared_by=done.attempt)
            fields = {"sha256": done.sha256, "size": done.size, "mtime_ns": done.mtime_ns}
            self.clip = type(self.clip)(**{**{k: getattr(self.clip, k) for k in Clip.__slots__}, **fields})
        return done

    @property
    def profile(self):
        return "https://api#key"

    def submit(self, call=None, gate=None):
        """Be the provider where asked with a call; otherwise run the stage."""
        if call is not None:
            self.asked.append(call)
            return Created("task-1") if gate(lambda: True) else None
        compose = lambda _request, source, references: ("v", {"source": source, "more": list(references)})  # noqa: E731
        tools = SubmitTools(self, self.depot, compose, self.send_marks, always)
        return submit(self.job, self.clip, self.bay, tools, lambda: True)


@pytest.fixture
def place(tmp_path, decoder, clips):
    return lambda name, *images, **more: Place(
        tmp_path, decoder, media_clip(clips, name), [media_clip(clips, image) for image in images], **more
    )


def test_a_clip_that_fits_is_sent_as_it_is_and_leaves_no_paper(place):
    one = place("plain.mp4", catalog=Catalog.load())
    done = one.prepare()
    assert (done.changes, done.sent_sha256, done.way) == ((), "", "")
    assert read_sent(one.bay.inbox, one.clip, one.job) is None
    one.submit()
    source = one.asked[0].body["source"]
    assert isinstance(source, Inline)
    with source.open() as file:
        assert file.read() == (one.work / "clip.mp4").read_bytes()


def probed(one):
    with (one.work / "clip.mp4").open("rb") as file:
        return one.decoder.probe(file.fileno()).to_dict()


def test_a_clip_that_grew_after_it_was_taken_is_looked_into_again_before_it_is_priced(place, clips):
    """A recorder that paused and went on: what it holds, and so what it costs, is not what was accepted."""
    one = place("plain.mp4", catalog=Catalog.load())
    one.clip = replace(one.clip, sha256="of the shorter", media=probed(one))
    assert one.prepare().credits_estimated == pytest.approx(15.0)
    (one.work / "clip.mp4").write_bytes(media_clip(clips, "two_seconds.mp4").read_bytes())
    done = one.prepare()
    assert done.credits_estimated == pytest.approx(30.0)
    assert done.media["seconds"] == pytest.approx(2.0)
    assert done.sha256 != "of the shorter"


def test_a_clip_that_was_cut_after_it_was_taken_is_not_sent(place):
    one = place("plain.mp4", catalog=Catalog.load())
    whole = (one.work / "clip.mp4").read_bytes()
    (one.work / "clip.mp4").write_bytes(whole[: len(whole) // 2])
    done = one.prepare()
    assert isinstance(done, Failed)
    assert (done.error.code, done.error.what_to_do[:6]) == ("MEDIA.INCOMPLETE", "Export")


@pytest.mark.parametrize("by", ["link", "folder", "fifo"])
def test_what_was_exchanged_for_no_file_at_the_instant_it_was_taken_fails_and_is_put_away(
    place, tmp_path, by
):
    one = place("plain.mp4")
    clip = one.work / "clip.mp4"
    precious = clip.rename(tmp_path / "precious.mp4")
    {"link": lambda: clip.symlink_to(precious), "folder": clip.mkdir, "fifo": lambda: os.mkfifo(clip)}[by]()
    done = one.prepare()
    assert isinstance(done, Failed)
    assert done.error.code == "CLIP.NOT_A_FILE"
    retired = retire(one.clip, [replace(one.job, state=State.FAILED, error=done.error)], one.bay, always)
    assert retired.lies_at == "_failed/plain.mp4"
    assert precious.is_file()


def test_a_clip_that_does_not_fit_is_made_to_once(place):
    one = place("plain.mp4")
    done = one.prepare()
    assert done.sent_sha256 != done.sha256
    assert any("160x90" in change for change in done.changes)
    made = (one.work / "clip1.a1.sent.mp4").stat()
    assert one.prepare("b2") == replace(done, attempt="b2")
    assert not (one.work / "clip1.b2.sent.mp4").exists()
    one.submit()
    assert one.asked[0].body["source"].size == made.st_size == done.sent_size


@pytest.mark.parametrize("is_damaged", [True, False])
def test_a_clip_whose_record_of_what_is_sent_is_lost_is_prepared_again_and_not_sent_as_it_came(
    place, is_damaged
):
    """It may be longer than what was cut of it, and so dearer than what was approved."""
    one = place("plain.mp4")
    one.prepare()
    (record,) = one.work.glob("*.sent.toml")
    if is_damaged:
        record.write_bytes(b"\0" * 200)
    else:
        record.unlink()
    assert isinstance(one.submit(), Changed)
    assert one.asked == []
    one.prepare("a2")
    one.submit()
    assert len(one.asked) == 1


def test_what_was_made_and_then_harmed_is_made_again(place):
    one = place("plain.mp4")
    one.prepare()
    made = one.work / "clip1.a1.sent.mp4"
    made.write_bytes(b"half")
    (one.work / "clip1.a1.sent.mp4.part").write_bytes(b"left by a crash")
    assert isinstance(one.submit(), Changed)
    assert one.asked == []
    assert one.prepare().sent_size == made.stat().st_size  # a coder may need some bytes more than before
    assert not (one.work / "clip1.a1.sent.mp4.part").exists()


def test_what_a_machine_made_that_was_given_up_is_neither_sent_nor_in_its_heirs_way(place):
    """It thaws when its heir's attempt is in the journal, and writes all of its files once more."""
    one = place("plain.mp4")
    accepted, clip = one.job, one.clip
    done = one.prepare("b2")
    heir = (one.work / "clip1.b2.sent.mp4").read_bytes()
    prepared = one.job
    one.job, one.clip = accepted, clip
    one.prepare("a1")
    (one.work / "clip1.a1.sent.mp4").write_bytes(b"half of a film")
    one.job = prepared
    assert read_sent(one.bay.inbox, one.clip, one.job).source.file == "clip1.b2.sent.mp4"
    one.submit()
    with one.asked[0].body["source"].open() as file:
        assert file.read() == heir
    assert len(heir) == done.sent_size


def test_a_journal_that_is_lost_finds_again_which_attempts_files_were_sent(place):
    one = place("plain.mp4")
    one.prepare("b2")
    one.submit()
    (found,) = survey("bay", one.bay.inbox, "another journal", set()).foreign
    (job,) = found.jobs
    assert job.task.task_id == "task-1"
    assert read_sent(one.bay.inbox, one.clip, job) == read_sent(one.bay.inbox, one.clip, one.job)
    ledger = one.work / "ledger.jsonl"
    ledger.write_text(ledger.read_text().replace('"b2"', '"../../clip2/x"'))
    (found,) = survey("bay", one.bay.inbox, "another journal", set()).foreign
    assert found.jobs[0].prepared_by == ""


def test_what_another_machine_made_for_an_upload_is_uploaded_by_the_one_that_submits(place):
    """Only who uploaded a file knows its address, so the film alone is made there, and made once."""
    one = place("plain.mp4")
    one.serve()
    (served,) = one.ways
    one.ways = [PutLater(served)]
    done = one.prepare("a1")
    assert (done.way, list(one.served.iterdir())) == ("public_url", [])
    one.ways = [served]
    again = one.submit()
    assert isinstance(again, Changed)
    assert again.is_settled
    assert one.prepare("b2") == replace(done, attempt="b2")
    assert not (one.work / "clip1.b2.sent.mp4").exists()
    one.submit()
    assert one.asked[0].body["source"].startswith("https://m.example.com/")


def test_an_upload_says_how_far_it_has_come(place):
    one = place("plain.mp4", catalog=Catalog.load())
    one.serve()
    assert one.prepare().way == "public_url"
    shares = [report.share for report in one.reports if report.doing == "uploading the clip"]
    assert (shares[0], shares[-1]) == (None, 1.0)


def test_what_is_put_up_is_put_up_again_when_it_got_old_or_lost(place):
    one = place("plain.mp4", catalog=Catalog.load())
    one.serve()
    assert one.prepare().way == "public_url"
    one.seconds += 21 * 3600
    again = one.submit()
    assert isinstance(again, Changed)
    assert again.is_settled
    one.prepare()
    for path in one.served.iterdir():
        path.unlink()
    assert isinstance(one.submit(), Changed)
    one.prepare()
    one.submit()
    assert one.asked[0].body["source"].startswith("https://m.example.com/clipspool-clip1-clip1-clip-")


def test_a_place_that_takes_nothing_costs_a_pause_and_no_money(place):
    one = place("plain.mp4", catalog=Catalog.load())

    class Full(InRequest):
        def put(self, _parcel):
            return Fault(FaultOf.MOMENT, "TRANSPORT.BUCKET", "the bucket takes no file", "Look at it.")

    one.ways = [Full(5_000_000)]
    assert one.prepare() == StageFailed("TRANSPORT.BUCKET", "the bucket takes no file. Look at it.", None)


def test_a_reference_image_too_large_is_scaled(place):
    one = place("plain.mp4", "photo.jpg", catalog=Catalog.load())
    one.ways = [InRequest(60_000)]
    done = one.prepare()
    assert any("reference image 1 scaled to" in change for change in done.changes)
    one.submit()
    (image,) = one.asked[0].body["more"]
    assert image.content_type == "image/jpeg"
    assert image.size <= 45_000


def fails(one):
    """Let the clip retire to _failed, and its work folder go."""
    failed = replace(one.job, state=State.FAILED, error=Error("INTERNAL", "it broke"))
    one.clip = retire(one.clip, [failed], one.bay, always)
    sweep(one.clip, one.bay)
    assert not one.work.exists()


def test_a_clip_that_failed_is_run_again_with_its_images_whatever_became_of_them(place, tmp_path):
    one = place("plain.mp4", "photo.jpg", catalog=Catalog.load())
    before = one.prepare()
    (tmp_path / "in" / "photo.jpg").unlink()
    for _ in range(2):
        fails(one)
        assert one.prepare() == before
    assert (one.work / "ref-0.jpg").exists()
    assert list((tmp_path / "in" / ".clipspool" / "references").iterdir()) == []


def test_images_of_a_clip_that_failed_are_kept_though_a_crash_came_before_the_sweep(place):
    one = place("plain.mp4", "photo.jpg", catalog=Catalog.load())
    before = one.prepare()
    failed = replace(one.job, state=State.FAILED, error=Error("X", "it failed"))
    one.clip = retire(one.clip, [failed], one.bay, always)
    one.bay.inbox.replace(f"{work.WORK}/clip1/{work.MANIFEST}", Manifest(one.clip, (one.job,), "j").to_toml())
    survey("bay", one.bay.inbox, "j", set())
    assert not one.work.exists()
    assert one.prepare() == before


def test_a_folder_that_goes_while_a_clip_is_brought_back_costs_a_pause_and_no_clip(place, monkeypatch):
    one = place("plain.mp4")
    fails(one)

    def gone(*_arguments):
        raise FileNotFoundError(2, "No such file or directory")

    with monkeypatch.context() as patch:
        patch.setattr("clipspool.stages.prepare.bring_back", gone)
        assert isinstance(one.prepare(), StageFailed)
    assert isinstance(one.prepare(), Prepared)


@pytest.mark.parametrize("is_known", [True, False])
def test_another_clip_that_lies_where_a_failed_one_lay_is_neither_sent_nor_lost(place, clips, is_known):
    """An editor replaced it in `_failed`; the order to run the old job again did not mean that one."""
    one = place("plain.mp4", catalog=Catalog.load())
    if is_known:
        one.prepare()
    fails(one)
    lies_at = one.bay.inbox.path / one.clip.lies_at
    other = media_clip(clips, "two_seconds.mp4").read_bytes()
    lies_at.write_bytes(other)
    for _ in range(2):  # also where a crash came right after it was brought back
        done = one.prepare()
        assert (type(done), done.error.code) == (Failed, "CLIP.CHANGED")
        assert "bytes then" in done.error.message
    fails(one)
    assert (one.bay.inbox.path / one.clip.lies_at).read_bytes() == other
    (one.bay.inbox.path / one.clip.lies_at).write_bytes(media_clip(clips, "plain.mp4").read_bytes())
    os.utime(one.bay.inbox.path / one.clip.lies_at, ns=(one.clip.mtime_ns, one.clip.mtime_ns))
    assert isinstance(one.prepare(), Prepared), "put back, it runs"


@pytest.mark.parametrize(("is_known", "later_ns"), [(True, 10**12), (False, 10**9)])
def test_the_same_clip_with_another_date_is_run_again(place, is_known, later_ns):
    """A copy to another file system rounds dates, and a restored one may have a new date."""
    one = place("plain.mp4", catalog=Catalog.load())
    if is_known:
        one.prepare()
    fails(one)
    at_ns = one.clip.mtime_ns + later_ns
    os.utime(one.bay.inbox.path / one.clip.lies_at, ns=(at_ns, at_ns))
    assert isinstance(one.prepare(), Prepared)


def test_a_clip_of_equal_length_that_nobody_had_read_is_told_by_its_date(place):
    one = place("plain.mp4", catalog=Catalog.load())
    fails(one)
    at_ns = one.clip.mtime_ns + 10**10
    os.utime(one.bay.inbox.path / one.clip.lies_at, ns=(at_ns, at_ns))
    done = one.prepare()
    assert (done.error.code, "bytes" in done.error.message) == ("CLIP.CHANGED", False)


def test_the_images_of_old_failures_are_forgotten_and_that_is_said_clearly(place, monkeypatch):
    monkeypatch.setattr(work, "KEPT_MAX", 1)
    one = place("plain.mp4", "photo.jpg", catalog=Catalog.load())
    one.prepare()
    fails(one)
    one.bay.inbox.create(f"{work.REFERENCES}/clip2/ref-0.jpg", b"a newer one")
    later = replace(one.clip, id="clip3")
    one.bay.inbox.create(f"{work.WORK}/clip3/ref-0.jpg", b"the newest")
    sweep(later, one.bay)
    assert one.bay.inbox.names(work.REFERENCES) == ["clip3"]
    done = one.prepare()
    assert isinstance(done, Failed)
    assert done.error.code == "REFERENCE.MISSING"
    assert "photo.jpg" in done.error.message


def test_a_reference_that_is_no_image_fails_the_job_in_plain_words(place):
    one = place("plain.mp4", "photo.jpg")
    (one.work / "ref-0.jpg").write_bytes(b"not an image")
    done = one.prepare()
    assert isinstance(done, Failed)
    assert "photo.jpg" in done.error.message
