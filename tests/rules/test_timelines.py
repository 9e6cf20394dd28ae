"""Timelines of four programs: what is read of them, and that linking changes nothing else."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from clipspool.intake.sidecar.parse import layer_of
from clipspool.intake.timeline_cuts import placed
from clipspool.media import timelines
from clipspool.media.facts import Probe
from clipspool.media.plan import Bounds, Conform, Refuse, plan
from clipspool.media.timelines import Cut, Link, NoTimeline, OtherXml
from clipspool.media.timelines.model import frames_of_timecode, mark_of
from clipspool.stages.relink import file_url

HOME = Path(__file__).parents[1] / "timelines"
SHAPES = ("resolve.edl", "premiere.xml", "finalcut.fcpxml", "cut.otio")


def suffix_of(shape):
    return Path(shape).suffix


def read(shape, *changes):
    """Read a shape in which texts are replaced."""
    data = (HOME / shape).read_bytes()
    for old, new in changes:
        assert old.encode() in data
        data = data.replace(old.encode(), new.encode())
    return timelines.read(data, suffix_of(shape)), data


def link(**changes):
    facts = {
        "name": "A001_C003.mov",
        "url": "file:///Z:/results/A001_C003.mov",
        "start": Fraction(13, 25),
        "seconds": Fraction(49, 25),
        "fps": Fraction(25),
        "width": 1280,
        "height": 720,
        "timecode": "01:00:00:13",
        "has_timecode": True,
    }
    return Link(**(facts | changes))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_marked_clip_is_read_with_its_prompt_its_media_and_what_it_shows(shape):
    cut = read(shape)[0][0]
    assert (cut.number, cut.mark, cut.refusal) == (1, "Deep winter at dusk", "")
    assert any("A001_C003" in name for name in cut.media)
    if cut.timecodes is None:
        assert (cut.start - cut.origin, cut.seconds) == (1, 1)
    else:
        assert cut.timecodes == ("01:00:01:00", "01:00:02:00")


@pytest.mark.parametrize("shape", SHAPES)
def test_linking_nothing_changes_nothing_that_a_program_reads(shape):
    cuts, data = read(shape)
    assert timelines.read(timelines.relink(data, suffix_of(shape), {}), suffix_of(shape)) == cuts


ON = '"enabled": true,\n                        "markers": [{'
REMAP = (
    "<filter><effect><effectid>timeremap</effectid><parameter><parameterid>speed</parameterid><value>{}</value>"
    "</parameter><parameter><parameterid>reverse</parameterid><value>{}</value></parameter><parameter>"
    "<parameterid>variablespeed</parameterid><value>{}</value></parameter></effect></filter><logginginfo>"
)
WARP = '"effects": [{"OTIO_SCHEMA": "LinearTimeWarp.1", "time_scalar": 2.0}], "enabled": true,\n'
LOC = "* LOC: 01:00:00:10"


@pytest.mark.parametrize(
    ("shape", "old", "new", "why"),
    [
        ("premiere.xml", "<enabled>TRUE</enabled>", "<enabled>FALSE</enabled>", "it is switched off"),
        ("premiere.xml", "<end>25</end>", "<end>75</end>", "its speed is changed"),
        ("premiere.xml", "<out>50</out>", "<out>x</out>", "its in and out cannot be read"),
        ("premiere.xml", "<alphatype>", "<stillframe>TRUE</stillframe><alphatype>", "its speed is changed"),
        ("finalcut.fcpxml", "<adjust-transform", "<timeMap/><adjust-transform", "its speed is changed"),
        ("finalcut.fcpxml", 'duration="1s" format', 'duration="1s" enabled="0" format', "it is switched off"),
        ("finalcut.fcpxml", '<asset-clip ref="r2"', '<asset-clip ref="r77"', "it is a compound"),
        ("cut.otio", ON, ON.replace("true", "false"), "it is switched off"),
        ("cut.otio", '"effects": [], "enabled": true,\n', WARP, "its speed is changed"),
        ("resolve.edl", LOC, f"M2   A001C003       050.0    01:00:01:00\n{LOC}", "its speed is changed"),
        (
            "resolve.edl",
            "002  A001C004 V     C       ",
            "002  A001C004 V     D    012",
            "it has a transition",
        ),
    ],
)
def test_what_cannot_be_linked_says_why(shape, old, new, why):
    assert why in read(shape, (old, new))[0][0].refusal


@pytest.mark.parametrize(
    ("speed", "frame", "is_retimed"),
    [
        ("025.0", 0, False),
        ("025.0   ", 24, False),
        ("023.976", 0, False),
        ("029.9", 29, False),
        ("050.0", 30, False),
        ("030", 29, False),
        ("050.0", 10, True),  # twice as fast, in an EDL with 25 frames a second
        ("024.0", 24, True),  # it has more frames a second
        ("024.9", 0, True),
        ("-25.0", 0, True),
        ("000.0", 0, True),
        ("fast", 0, True),
    ],
)
def test_an_edl_names_a_normal_speed_too(speed, frame, is_retimed):
    motion = f"M2   A001C003       {speed}                01:00:01:00\n{LOC}"
    other = ("01:00:03:00 01:00:04:00 01:00:02:00", f"01:00:03:{frame:02} 01:00:04:{frame:02} 01:00:02:00")
    cut = read("resolve.edl", (LOC, motion), other)[0][0]
    assert cut.refusal == ("its speed is changed" if is_retimed else "")


def test_a_speed_is_not_normal_where_other_frames_are_taken_than_shown():
    motion = f"M2   A001C003       025.0                01:00:01:00\n{LOC}"
    shown = ("01:00:02:00 01:00:00:00 01:00:01:00", "01:00:02:00 01:00:00:00 01:00:02:00")
    assert read("resolve.edl", (LOC, motion), shown)[0][0].refusal == "its speed is changed"


@pytest.mark.parametrize(
    ("texts", "mark"),
    [
        ([], None),
        ([""], ""),
        (["Marker 1"], ""),
        (["  deep\n winter "], "deep winter"),
        (["Marker 2", "fog", "snow", "fog"], "fog"),
    ],
)
def test_the_first_text_of_a_clips_marks_counts_and_a_markers_own_name_is_none(texts, mark):
    assert mark_of(texts) == mark


def test_a_marker_beyond_what_a_clip_shows_is_another_clips():
    assert read("premiere.xml", ("<in>30</in><out>-1</out>", "<in>90</in><out>-1</out>"))[0][0].mark is None
    assert read("finalcut.fcpxml", ('start="90040/25s"', 'start="3603s"'))[0][0].mark is None
    assert read("cut.otio", ('"value": 90030.0', '"value": 90099.0'))[0][0].mark is None


def on_the_ruler(data, at, text):
    """Move the mark of an OTIO's first clip to its ruler."""
    body = json.loads(data)
    track = body["tracks"]["children"][0]
    (marker,) = track["children"][0]["markers"]
    track["children"][0]["markers"] = []
    marker["marked_range"]["start_time"]["value"] = at
    body["tracks"]["markers"] = [marker | {"comment": text, "metadata": {}}]
    return json.dumps(body).encode()


@pytest.mark.parametrize(("at", "which"), [(10, 1), (25, 2), (90025, 2), (990, None)])
def test_a_marker_on_the_ruler_marks_the_clip_below_it_where_no_clip_has_one(at, which):
    data = (HOME / "cut.otio").read_bytes()
    cuts = timelines.read(on_the_ruler(data, at, "fog"), ".otio")
    assert {cut.number: cut.mark for cut in cuts if cut.mark} == ({which: "fog"} if which else {})
    premiere = (
        (
            "<marker><comment>Deep winter at dusk</comment><name>AI</name><in>30</in><out>-1</out></marker>",
            "",
        ),
        (
            "<comment></comment><name>note to self</name><in>10</in>",
            f"<comment>fog</comment><name>AI</name><in>{at % 90000}</in>",
        ),
    )
    assert {cut.number: cut.mark for cut in read("premiere.xml", *premiere)[0] if cut.mark} == (
        {which: "fog"} if which else {}
    )
    # What has only a name is a note, and beside a clip's own mark it is about something else.
    assert all(cut.mark is None for cut in read("premiere.xml", premiere[0])[0])
    assert [cut.mark for cut in read("premiere.xml", premiere[1])[0]][1] is None


@pytest.mark.parametrize(
    ("said", "is_retimed"),
    [
        (("100", "FALSE", "0"), False),
        (("100.0000", "FALSE", "FALSE"), False),
        (("100", "TRUE", "0"), True),
        (("100", "FALSE", "1"), True),
        (("-100", "FALSE", "0"), True),
        (("50", "FALSE", "0"), True),
    ],
)
def test_premiere_says_in_three_ways_that_a_clips_speed_is_changed(said, is_retimed):
    cut = read("premiere.xml", ("<logginginfo>", REMAP.format(*said)))[0][0]
    assert cut.refusal == ("its speed is changed" if is_retimed else "")


@pytest.mark.parametrize(("out", "is_retimed"), [(85, False), (86, False), (100, True), (55, True)])
def test_a_clip_of_another_rate_than_its_sequence_is_not_taken_for_retimed(out, is_retimed):
    own = "<rate><timebase>60</timebase><ntsc>TRUE</ntsc></rate>\n\t\t\t\t\t\t<start>0</start>"
    place = "<rate><timebase>25</timebase><ntsc>FALSE</ntsc></rate>\n\t\t\t\t\t\t<start>0</start>"
    times = "<end>25</end><in>25</in><out>50</out>", f"<end>25</end><in>25</in><out>{out}</out>"
    cut = read("premiere.xml", (place, own), times)[0][0]
    assert cut.refusal == ("its speed is changed" if is_retimed else "")
    assert cut.start == Fraction(25 * 1001, 60_000)


def test_the_times_of_a_subclip_count_from_where_it_begins_in_its_media():
    end = "<end>25</end><in>25</in><out>50</out>"
    info = "<subclipinfo><startoffset>40</startoffset><endoffset>9</endoffset></subclipinfo>"
    cuts, data = read("premiere.xml", (end, end + info))
    assert (cuts[0].start - cuts[0].origin, cuts[0].seconds) == (Fraction(65, 25), 1)
    # The result begins 12 frames before the cut.
    made = timelines.relink(data, ".xml", {1: link(start=Fraction(13, 25))}).decode()
    assert "<in>12</in><out>37</out>" in made
    assert made.count("<subclipinfo>") == 1  # that of the sound, which keeps its file


def test_notes_count_where_there_is_no_marker():
    note = "<lognote></lognote>", "<lognote>rain</lognote>"
    marker = (
        "<marker><comment>Deep winter at dusk</comment><name>AI</name><in>30</in><out>-1</out></marker>",
        "",
    )
    assert read("premiere.xml", note, marker)[0][0].mark == "rain"
    unnamed = "Deep winter at dusk", ""
    noted = '<adjust-transform scale="1.1 1.1"/>', "<note>rain</note>"
    assert read("finalcut.fcpxml", noted)[0][0].mark == "Deep winter at dusk"
    assert read("finalcut.fcpxml", noted, unnamed)[0][0].mark == "rain"
    commented = '{"Link Group ID": 1}', '{"Comment": "rain"}'
    assert read("cut.otio", commented)[0][0].mark == "Deep winter at dusk"
    assert read("cut.otio", commented, unnamed)[0][0].mark == "rain"


@pytest.mark.parametrize(
    ("timecode", "fps", "frames"),
    [
        ("01:00:00:00", Fraction(25), 90_000),
        ("00:01:00;02", Fraction(30000, 1001), 1800),
        ("01:00:00;00", Fraction(30000, 1001), 107_892),
        ("01:00:00:00", Fraction(24000, 1001), 86_400),
        ("00:00:00:30", Fraction(25), None),
        ("1:2", Fraction(25), None),
    ],
)
def test_a_timecode_is_counted_in_frames_dropped_ones_left_out(timecode, fps, frames):
    assert frames_of_timecode(timecode, fps) == frames


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><xmeml>&b;</xmeml>'
FILE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><fcpxml>&a;</fcpxml>'


@pytest.mark.parametrize(
    ("data", "suffix", "why"),
    [
        (BOMB, ".xml", "declares entities"),
        (FILE, ".fcpxml", "declares entities"),
        ("<xmeml>" + "<a>" * 300, ".xml", "nested too deep"),
        ("<xmeml><sequence>", ".xml", "no whole XML"),
        ("<note>hello</note>", ".xml", "neither FCP XML"),
        ("<xmeml/>", ".xml", "no sequence"),
        ("[" * 100_000, ".otio", "no whole JSON"),
        ("[" * 300 + "]" * 300, ".otio", "nested too deep"),
        ('{"OTIO_SCHEMA": "Clip.2"}', ".otio", "no timeline"),
        ('{"OTIO_SCHEMA": "Timeline.1", "tracks": 5}', ".otio", "no clip"),
        ("TITLE: x\n", ".edl", "no event"),
        ("", ".edl", "no event"),
        ("x" * (timelines.BYTES_MAX + 1), ".edl", "larger than 16 MB"),
    ],
)
def test_what_is_no_timeline_or_would_harm_is_refused_in_words(data, suffix, why):
    with pytest.raises(NoTimeline, match=why):
        timelines.read(data.encode(), suffix)


@pytest.mark.parametrize("encoding", ["shift_jis", "Unicode"])
def test_an_xml_whose_encoding_is_not_read_says_so(encoding):
    data = (HOME / "premiere.xml").read_bytes().replace(b"UTF-8", encoding.encode())
    with pytest.raises(NoTimeline, match="export it as UTF-8"):
        timelines.read(data, ".xml")


def test_a_number_of_a_million_digits_is_no_time():
    (cut, *_), _ = read("cut.otio", ('"value": 90025.0', '"value": "1e99999999"'))
    assert cut.refusal == "what it shows of its media cannot be read"


def test_an_xml_in_utf_16_is_read_as_well():
    (cuts, data) = read("premiere.xml")
    wide = data.decode().replace('encoding="UTF-8"', 'encoding="UTF-16"').encode("utf-16")
    assert timelines.read(wide, ".xml") == cuts


def test_an_edl_in_utf_16_goes_there_and_back():
    cuts, data = read("resolve.edl")
    wide = data.decode().encode("utf-16")
    assert timelines.read(wide, ".edl") == cuts
    made = timelines.relink(wide, ".edl", {2: link(name="new.mov")})
    assert made.startswith(b"\xff\xfe")
    assert made.decode("utf-16") == timelines.relink(data, ".edl", {2: link(name="new.mov")}).decode()
    first = b"\xef\xbb\xbf" + data.partition(b"\n\n")[2]
    assert timelines.read(first, ".edl") == cuts
    assert timelines.relink(first, ".edl", {}) == first


@pytest.mark.parametrize(
    "line",
    [
        "* LOC: 01:00:00:10 RED     fog at dusk",
        "* LOC: 01:00:00:10 fog at dusk",
        "* LOC: fog at dusk",
        " * LOC: 01:00:00:10 ORANGE fog at dusk",
        "*loc: 01:00:00:10 RED fog at dusk",
    ],
)
def test_a_locator_may_be_written_by_hand(line):
    assert (
        read("resolve.edl", ("* LOC: 01:00:00:10 RED     Deep winter at dusk", line))[0][0].mark
        == "fog at dusk"
    )


def test_an_event_that_cannot_be_read_gives_its_marks_to_no_other():
    reel = "003  A001C003 V", "003  A001 C003 V"
    assert [cut.mark for cut in read("resolve.edl", reel)[0]][:3] == [
        "Deep winter at dusk",
        "rain at night",
        "fog",
    ]
    with pytest.raises(NoTimeline, match=r"line 12 is an event that cannot be read: `003           V     C"):
        read("resolve.edl", ("003  A001C003 V", "003           V"))
    key = "003  A001C003 V     C  ", "003  A001C003 V     K B 012"
    assert read("resolve.edl", key)[0][2].refusal.startswith("it has a transition")


def place(times, timecode, fps="25/1", seconds=20.0):
    """Return the first frame and the number of frames of a cut in its media, or what is wrong with it."""
    facts = {"container": "mov", "size_bytes": 9, "seconds": seconds, "fps": fps, "timecode": timecode}
    cut = Cut(number=1, name="a", media=("a.mov",), timecodes=times, mark="x")
    wrong, tries = placed(
        "cut.edl", "a.mov", [cut], facts, [layer_of({"handle_frames": 0}, "d", is_own=True)]
    )
    if wrong:
        return wrong[0]
    (planned,) = tries[0][0]
    return planned.first, planned.frames, planned.has_timecode


@pytest.mark.parametrize("separator", [":", ";"])
@pytest.mark.parametrize(("start", "first"), [("01:00:00;00", 300), ("01:00:00:00", 300)])
def test_frames_are_counted_as_the_media_counts_them_however_an_edl_writes_its_times(separator, start, first):
    times = f"01:00:10{separator}00", f"01:00:11{separator}00"
    assert place(times, start, "30000/1001") == (first, 30, True)


@pytest.mark.parametrize(
    ("times", "found"),
    [
        (("23:59:55:00", "23:59:56:00"), (125, 25, True)),
        (("23:59:59:00", "00:00:01:00"), (225, 50, True)),
        (("00:00:05:00", "00:00:06:00"), (375, 25, True)),
        (("00:00:10:00", "00:00:11:00"), (250, 25, False)),  # counted from its first frame
    ],
)
def test_a_recording_over_midnight_is_found_behind_it(times, found):
    assert place(times, "23:59:50:00") == found


def test_of_media_whose_timecode_cannot_be_read_another_kind_of_timeline_is_asked_for():
    said = place(("14:00:00:00", "14:00:01:00"), None)
    assert "and no timecode that can be read here; export FCP XML, FCPXML or OTIO" in said
    assert place(("14:00:00:00", "14:00:01:00"), "01:00:00:00").endswith("is it the right file?")


def test_a_cut_that_ends_before_it_begins_is_no_recording_over_midnight():
    assert "it ends where it begins, or before that" in place(("01:00:02:00", "01:00:01:00"), "01:00:00:00")


def test_only_an_xml_of_another_kind_shows_no_clips_for_certain():
    for data, suffix, kind in ((b"<a/>", ".xml", OtherXml), (b"<a/>", ".fcpxml", NoTimeline)):
        with pytest.raises(NoTimeline) as caught:
            timelines.read(data, suffix)
        assert type(caught.value) is kind


def test_an_edl_is_changed_in_its_names_alone_and_without_timecode_in_its_times():
    data = (HOME / "resolve.edl").read_bytes()
    plain = link(name="A001_C004.mp4", start=Fraction(0), has_timecode=False)
    made = timelines.relink(data, ".edl", {1: link(), 2: plain})
    changed = [(a, b) for a, b in zip(data.splitlines(), made.splitlines(), strict=True) if a != b]
    assert changed == [(b"* FROM CLIP NAME: A001_C004.mov", b"* FROM CLIP NAME: A001_C004.mp4")]
    moved = timelines.relink(data, ".edl", {2: link(start=Fraction(4, 25), has_timecode=False)}).decode()
    assert "V     C        00:00:00:01 00:00:01:01 01:00:01:00 01:00:02:00" in moved


def test_an_event_without_a_name_gets_one():
    _, data = read("resolve.edl", ("* FROM CLIP NAME: A001_C003.mov\n* LOC", "* LOC"))
    made = timelines.relink(data, ".edl", {1: link()}).decode()
    assert "01:00:01:00\n* FROM CLIP NAME: A001_C003.mov\n* LOC: 01:00:00:10" in made


def test_premieres_file_is_described_again_where_the_sound_needs_it():
    data = (HOME / "premiere.xml").read_bytes()
    made = timelines.relink(data, ".xml", {1: link()}).decode()
    assert made.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE xmeml>')
    assert made.count('<file id="file-1">') == 1
    assert made.index('<file id="clipspool-1">') < made.index('<file id="file-1">')
    assert "<in>12</in><out>37</out>" in made
    assert "pproTicksIn" not in made
    assert timelines.read(made.encode(), ".xml")[0].mark == "Deep winter at dusk"


def test_an_fcpxml_of_resolve_or_of_an_older_final_cut_names_its_media_in_the_asset():
    rep = '<media-rep kind="original-media" sig="4F1A" src="file:///Volumes/Media/A001_C003.mov"/>'
    asset = '<asset id="r2" ', '<asset id="r2" src="file:///Volumes/Media/A%201.mov" '
    cuts, data = read("finalcut.fcpxml", (rep, ""), asset)
    assert cuts[0].media[0] == "file:///Volumes/Media/A%201.mov"
    made = timelines.relink(data, ".fcpxml", {1: link(start=Fraction(90013, 25))}).decode()
    assert '<asset id="clipspool-1" name="A001_C003.mov" start="90013/25s" duration="49/25s"' in made
    assert 'src="file:///Z:/results/A001_C003.mov"' in made
    assert 'src="file:///Volumes/Media/A%201.mov"' in made  # the media stays for others


def test_a_result_is_progressive_in_square_pixels_whatever_its_media_was():
    video = 'width="640" height="360"', 'width="640" fieldOrder="lower first" paspH="64" paspV="45"'
    asset = 'hasVideo="1" format="r1" has', 'hasVideo="1" colorSpaceOverride="9-18-9" format="r1" has'
    made = timelines.relink(read("finalcut.fcpxml", video, asset)[1], ".fcpxml", {1: link()}).decode()
    assert '<format id="clipspool-format-1" frameDuration="1/25s" width="1280" height="720" />' in made
    (described,) = (one for one in made.split("<") if one.startswith('asset id="clipspool-'))
    assert "colorSpaceOverride" not in described

    shape = "<pixelaspectratio>{}</pixelaspectratio><anamorphic>{}</anamorphic>"
    shape += "<fielddominance>{}</fielddominance>"
    size = "<height>360</height></samplecharacteristics></video>"
    dv = size.replace("</samp", shape.format("PAL-601", "TRUE", "lower") + "</samp")
    made = timelines.relink(read("premiere.xml", (size, dv))[1], ".xml", {1: link()}).decode()
    assert "<height>720</height>" + shape.format("square", "FALSE", "none") in made


CLIP = '<asset-clip ref="r2" offset="3600s" name="A001_C003" start="3601s" duration="1s" format="r1"'


def test_a_film_within_a_clip_is_linked_and_keeps_its_place_in_the_clips_time():
    film = '<video ref="r2" offset="0s" duration="6s"/></clip>'
    inner = f'<clip name="A" start="1s" duration="1s" format="r1">{film}'
    cuts, data = read("finalcut.fcpxml", (CLIP, inner + CLIP))
    assert (cuts[0].start, cuts[0].seconds, cuts[0].origin, cuts[0].refusal) == (3601, 1, 3600, "")
    made = timelines.relink(data, ".fcpxml", {1: link(start=Fraction(90013, 25))})
    assert b'<video ref="clipspool-1" offset="13/25s" duration="49/25s" start="90013/25s"' in made
    again = timelines.read(made, ".fcpxml")[0]
    assert (again.start, again.seconds, again.origin) == (3601, 1, Fraction(90013, 25))
    (both, *_), _ = read(
        "finalcut.fcpxml", (CLIP, inner.replace("</clip>", '<video ref="r3"/></clip>') + CLIP)
    )
    assert "compound" in both.refusal


@pytest.mark.parametrize(("scaled", "why"), [('scaleEnabled="0" ', ""), ("", "its speed is changed")])
def test_media_of_another_rate_is_linked_where_its_speed_is_not_changed(scaled, why):
    rate = f'<conform-rate {scaled}srcFrameRate="24"/><adjust-transform'
    assert read("finalcut.fcpxml", ("<adjust-transform", rate))[0][0].refusal == why


def test_of_an_audition_the_take_that_is_shown_counts():
    takes = '<audition><!-- the pick --><asset-clip ref="r3" name="pick" start="1s" duration="1s"/>'
    other = '<asset-clip ref="r3" name="other" start="2s" duration="1s"/></audition>'
    cuts, _ = read("finalcut.fcpxml", (CLIP, takes + other + CLIP))
    assert [cut.name for cut in cuts] == ["pick", "A001_C003", "A001_C004"]


def test_a_transition_asks_for_handles():
    cuts = read("cut.otio")[0]
    assert (cuts[0].after, cuts[1].before) == (Fraction(5, 25), Fraction(5, 25))
    spine = '<transition name="Cross Dissolve" offset="90020/25s" duration="10/25s"/><asset-clip ref="r3"'
    cuts = read("finalcut.fcpxml", ('<asset-clip ref="r3"', spine))[0]
    assert (cuts[0].after, cuts[1].before) == (Fraction(5, 25), Fraction(5, 25))


def test_an_old_otio_keeps_its_schema():
    data = (HOME / "cut.otio").read_bytes()
    body = json.loads(timelines.relink(data, ".otio", {2: link(start=Fraction(0))}))
    clip = body["tracks"]["children"][0]["children"][2]
    assert clip["OTIO_SCHEMA"] == "Clip.1"
    assert clip["media_reference"]["target_url"] == "file:///Z:/results/A001_C003.mov"
    assert clip["media_reference"]["available_range"]["duration"]["value"] == 49


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("Z:\\results\\A 1.mov", "file:///Z:/results/A%201.mov"),
        ("\\\\nas\\results\\ä.mov", "file://nas/results/%C3%A4.mov"),
        ("/Volumes/results/a.mov", "file:///Volumes/results/a.mov"),
        ("smb://nas/results/a.mov", "smb://nas/results/a.mov"),
    ],
)
def test_a_result_has_the_address_by_which_editors_know_it(path, url):
    assert file_url(path) == url


# --- a part of a clip -------------------------------------------------------------------------------------

PROBE = Probe(container="mp4", size_bytes=9, seconds=6.0, frames=150, fps="25/1", width=640, height=360)


def part(start, length, **limits):
    return plan(PROBE, Bounds(**limits), None, start_seconds=start, length_seconds=length)


def test_a_part_is_cut_to_the_frame_also_of_a_clip_that_the_model_takes_whole():
    made = part(0.519, 1.961, seconds_max=10.0)
    assert isinstance(made, Conform)
    assert (made.start_seconds, made.seconds, made.own_seconds) == (0.52, 1.96, None)
    assert part(4.0, 2.0, seconds_max=10.0).seconds == 2.0


@pytest.mark.parametrize(("start", "length"), [(0.0, 5.2), (5.0, 1.1), (-1.0, 1.0), (1.0, 0.03)])
def test_a_part_that_is_not_there_or_longer_than_the_model_takes_is_refused(start, length):
    assert isinstance(part(start, length, seconds_max=5.0), Refuse)


def test_what_follows_a_short_part_is_sent_too_and_cut_off_again():
    made = part(1.0, 0.4, seconds_min=2.0, seconds_max=5.0)
    assert (made.start_seconds, made.seconds, made.own_seconds) == (1.0, 2.0, 0.4)


@pytest.mark.parametrize(
    ("wrapped", "name"),
    [
        ("* FROM CLIP NAME: A001_\r\n     C003.mov", "A001_C003.mov"),
        ("* FROM CLIP NAME: A001\r\n     C003.mov", "A001 C003.mov"),
        ("* FROM CLIP NAME:\r\n* A001_C003.mov", "A001_C003.mov"),
    ],
)
def test_a_comment_of_an_edl_may_go_on_in_the_next_line(wrapped, name):
    edl = (
        "001  A001C003 V     C        01:00:01:00 01:00:02:00 01:00:00:00 01:00:01:00\r\n"
        f"{wrapped}\r\n* LOC: 01:00:00:10 RED     Deep winter\r\n"
        "                           at dusk\r\n* SHOT: 12\r\n"
    )
    (cut,) = timelines.read(edl.encode(), ".edl")
    assert name in cut.media
    assert cut.mark == "Deep winter at dusk"
    made = timelines.relink(edl.encode(), ".edl", {1: link(name="result.mov")}).decode()
    assert made == edl.replace(wrapped, "* FROM CLIP NAME: result.mov")


def test_what_has_a_key_of_its_own_is_no_rest_of_the_comment_before_it():
    edl = (
        "001  A001C003 V     C        01:00:01:00 01:00:02:00 01:00:00:00 01:00:01:00\n"
        "* FROM CLIP NAME:\n* ASC_SAT 0.9\n* COMMENT:\n* EFFECT NAME: blur\n"
        "* FROM CLIP: a.mov\n  M2   A001C003  012.5  01:00:01:00\n"
    )
    (cut,) = timelines.read(edl.encode(), ".edl")
    assert (cut.media, cut.mark) == (("a.mov", "A001C003"), "")
    assert cut.refusal == "its speed is changed"
