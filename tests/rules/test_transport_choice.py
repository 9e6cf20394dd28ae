"""Which way a clip takes, and what is asked about its pictures."""

from dataclasses import replace

import pytest

from clipspool.jobs.model import Request, Result
from clipspool.jobs.nouns import read
from clipspool.journal.database import to_json
from clipspool.journal.rows import _read_outputs
from clipspool.media.facts import Audio, Probe
from clipspool.media.plan import AsIs, Conform, Refuse
from clipspool.provider.catalog import BadModel, Catalog
from clipspool.provider.protocol import encoded_length
from clipspool.provider.transport import Parcel, SecretNames
from clipspool.provider.transport.way import InRequest
from clipspool.stages.fit import choose_for, content_type_of
from clipspool.stages.payload import Sent, SentFile, part_sent

CATALOG = Catalog.load()
REQUEST = Request("winter", "gen4_aleph", 1)
CLIP = Probe(
    container="mp4",
    size_bytes=2_000_000,
    video_codec="h264",
    width=1280,
    height=720,
    coded_width=1280,
    coded_height=720,
    fps="24/1",
    variable_frame_rate=False,
    seconds=4.0,
    frames=96,
    pixel_format="yuv420p",
    bit_depth=8,
)
MASTER = replace(
    CLIP, container="mov", video_codec="prores", size_bytes=60_000_000, audio=Audio("pcm_s16le", 2, 48000)
)


class Way:
    """A way with room for so many bytes."""

    def __init__(self, name, bytes_max):
        self.name, self.bytes_max = name, bytes_max

    def room(self, _content_type):
        return self.bytes_max


INLINE, BUCKET, UPLOAD = InRequest(5_000_000), Way("bucket", 32_000_000), Way("upload", 200_000_000)


def choose(clip, *ways, **keys):
    request = replace(REQUEST, **keys)
    return choose_for(
        request, clip, CATALOG.limits(request.model), ways, content_type_of(f".{clip.container}")
    )


def test_a_clip_that_fits_goes_into_the_request_as_it_is():
    choice = choose(CLIP, INLINE, BUCKET, UPLOAD)
    assert (choice.way, choice.verdict) == ("inline", AsIs())


def test_a_clip_too_large_for_the_request_takes_the_first_way_that_carries_it_as_it_is():
    choice = choose(replace(CLIP, size_bytes=20_000_000), INLINE, BUCKET, UPLOAD)
    assert (choice.way, choice.verdict) == ("bucket", AsIs())
    choice = choose(MASTER, INLINE, BUCKET, UPLOAD)
    assert (choice.way, choice.verdict) == ("upload", AsIs())


def test_with_nothing_but_a_key_a_large_clip_is_made_to_fit_the_request():
    choice = choose(MASTER, INLINE)
    assert choice.way == "inline"
    assert isinstance(choice.verdict, Conform)
    assert encoded_length(choice.verdict.bytes_max, "video/mp4") <= 5_000_000


def test_what_has_to_be_made_anyway_takes_the_roomiest_way():
    choice = choose(replace(MASTER, rotation=90), INLINE, BUCKET, UPLOAD)
    assert choice.way == "upload"
    assert isinstance(choice.verdict, Conform)


def test_a_long_clip_is_refused_with_its_length_and_the_models_unless_it_may_be_cut():
    long = replace(MASTER, seconds=12.0, frames=288)
    refused = choose(long, INLINE, BUCKET).verdict
    assert isinstance(refused, Refuse)
    assert "12 s" in refused.reason
    assert "5 s" in refused.reason
    cut = choose(long, INLINE, BUCKET, long_clips="trim", start_seconds=3.0).verdict
    assert (cut.start_seconds, cut.seconds) == (3.0, 5.0)


@pytest.mark.parametrize("size", [3_749_979, 3_749_980, 3_749_981, 3_749_984])
@pytest.mark.parametrize("content_type", ["video/mp4", "video/quicktime", "video/x-matroska"])
def test_the_room_in_a_request_is_counted_once_encoded(size, content_type):
    fits = encoded_length(size, content_type) <= 5_000_000
    assert (INLINE.room(content_type) >= size) == fits or size % 3


def test_a_models_limits_come_from_the_catalogue_and_can_be_changed():
    aleph2 = CATALOG.limits("aleph2")
    assert (aleph2.seconds_min, aleph2.seconds_max, aleph2.fps_max) == (2.0, 30.0, 30.0)
    assert (aleph2.width_min, aleph2.height_max, aleph2.audio_used) == (480, 1920, False)
    changed = Catalog.load({"aleph2": {"uses_audio": True, "containers": ["mp4"], "seconds_max": 10.0}})
    limits = changed.limits("aleph2")
    assert (limits.audio_used, limits.containers, limits.seconds_max) == (True, {"mp4"}, 10.0)
    with pytest.raises(BadModel):
        Catalog.load({"aleph2": {"containers": ["avi"]}})


def test_an_aspect_that_is_not_known_to_be_refused_is_not_refused():
    assert choose(replace(CLIP, width=1920, height=804), INLINE).verdict == AsIs()


def test_a_request_of_before_still_loads_and_a_full_one_comes_back():
    assert read(Request, {"prompt": "x", "model": "m", "seed": 1}) == Request("x", "m", 1)
    full = replace(
        REQUEST,
        long_clips="trim",
        start_seconds=2.5,
        finish="timeline",
        finish_size="source",
        keep_untouched=True,
    )
    assert read(Request, full.to_dict()) == full
    assert REQUEST.media_keys() == {}


def test_a_result_of_before_still_loads():
    kept = to_json([{"file": "a", "suffix": ".mp4", "size": 1, "sha256": "x", "name": b"n".hex()}])
    assert _read_outputs(kept)["results"] == (Result("a", ".mp4", 1, "x", "n"),)


def test_names_are_the_same_each_time_and_tell_nothing_without_the_secret():
    parcel = Parcel("clip", "job-clip", open, 1, "aa", "video/mp4", ".mp4")
    names = SecretNames(b"s" * 32)
    assert names.of(parcel) == names.of(parcel)
    assert names.of(parcel).startswith("job-clip-")
    assert names.of(parcel).endswith(".mp4")
    assert len(names.of(parcel)) == len("job-clip-.mp4") + 32
    assert names.of(parcel) != names.of(replace(parcel, sha256="bb")) != SecretNames(b"t" * 32).of(parcel)


def test_the_part_that_was_sent_is_the_whole_unless_it_was_cut():
    whole = SentFile("clip.mp4", 1, 1, "x", "video/mp4", "bucket")
    assert part_sent(None) == part_sent(Sent(whole)) == (0.0, None)
    assert part_sent(Sent(replace(whole, made={"start_seconds": 1.0, "seconds": 5.0}))) == (1.0, 5.0)
