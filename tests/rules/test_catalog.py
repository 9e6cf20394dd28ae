"""What models take, the body that is sent, and what it costs."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from clipspool.jobs.model import Reference, Request
from clipspool.jobs.naming import units
from clipspool.provider.catalog import BadModel, Catalog
from clipspool.provider.protocol import Inline
from clipspool.provider.transport.way import InRequest
from clipspool.stages.quoting import Quoting

CATALOG = Catalog.load()


def request(**fields):
    return Request(**{"prompt": "Deep winter", "model": "gen4_aleph", "seed": 42, **fields})


def keys_of(problems):
    return [problem.key for problem in problems]


def test_the_body_holds_what_is_set_and_nothing_else():
    assert CATALOG.body(request(), "https://x.example/a.mp4") == {
        "model": "gen4_aleph",
        "videoUri": "https://x.example/a.mp4",
        "promptText": "Deep winter",
        "seed": 42,
        "ratio": "1280:720",
        "references": [],
        "contentModeration": {"publicFigureThreshold": "auto"},
    }
    assert CATALOG.body(request(model="aleph2"), "https://x.example/a.mp4") == {
        "model": "aleph2",
        "videoUri": "https://x.example/a.mp4",
        "promptText": "Deep winter",
        "seed": 42,
    }


def test_another_gateway_can_want_less():
    lean = Catalog.load({"gen4_aleph": {"always": []}})
    assert set(lean.body(request(), "https://x.example/a.mp4")) == {"model", "videoUri", "promptText", "seed"}
    assert lean.completed(request(), {"width": 640, "height": 360}) == request()
    fewer = Catalog.load({"gen4_aleph": {"fields": ["seed"]}})
    assert set(fewer.body(request(), "https://x.example/a.mp4")) == {
        "model",
        "videoUri",
        "promptText",
        "seed",
    }


@pytest.mark.parametrize(
    ("width", "height", "ratio"),
    [
        (640, 360, "1280:720"),
        (1920, 1080, "1280:720"),
        (1080, 1920, "720:1280"),
        (640, 480, "640:480"),
        (1440, 1080, "1104:832"),
        (1000, 1000, "960:960"),
        (2048, 858, "1584:672"),
        (1080, 1350, "832:1104"),
        (1, 9000, "720:1280"),
        (None, None, "1280:720"),
        (0, 0, "1280:720"),
    ],
)
def test_where_no_ratio_is_named_the_models_nearest_to_the_clips_shape_is_sent(width, height, ratio):
    done = CATALOG.completed(request(), {"width": width, "height": height})
    assert (done.ratio, done.ratio_is_chosen) == (ratio, True)
    named = request(ratio="960:960")
    assert CATALOG.completed(named, {"width": width, "height": height}) == named
    any_ratio = Catalog.load({"m": {"fields": ["ratio"], "always": ["ratio"]}})
    assert any_ratio.completed(request(model="m"), {"width": 1998, "height": 1080}).ratio == "1998:1080"


def test_a_retired_model_is_told_with_its_successor():
    told = CATALOG.retirement("gen4_aleph")
    assert told == "gen4_aleph left its vendor's own interface on 2026-06-10; its successor is aleph2"
    assert CATALOG.retirement("aleph2") == CATALOG.retirement("nobody") == ""
    assert Catalog.load({"gen4_aleph": {"retired_since": ""}}).retirement("gen4_aleph") == ""


@pytest.mark.parametrize(
    ("extra", "key"),
    [
        ({"keyframes": [{"seconds": 0, "uri": "winter.png"}]}, "extra.keyframes[0].uri"),
        (
            {"keyframes": [{"uri": "https://a.example/x.png"}, {"uri": "http://a.example/x"}]},
            "extra.keyframes[1].uri",
        ),
        ({"imageUri": "look"}, "extra.imageUri"),
        ({"image_url": "file:///etc/passwd"}, "extra.image_url"),
        ({"look": {"image": "refs/winter.PNG"}}, "extra.look.image"),
        ({"lut": "/mnt/nas/look.cube"}, "extra.lut"),
        ({"lut": "Z:\\bay\\look"}, "extra.lut"),
        ({"styles": ["../look"]}, "extra.styles[0]"),
        ({"uris": ["https://a.example/x.png", ""]}, "extra.uris[1]"),
    ],
)
def test_a_local_file_never_goes_to_the_api_through_extra(extra, key):
    (problem,) = CATALOG.problems(request(model="aleph2", extra=extra))
    assert problem.key == key
    assert "https://" in problem.message


@pytest.mark.parametrize(
    "extra",
    [
        {"keyframes": [{"seconds": 0, "uri": "https://a.example/winter.png?x=1"}]},
        {"keyframes": [{"seconds": 0, "uri": "data:image/png;base64,aW1n"}]},
        {"image": {"uri": "runway://x"}},
        {"outputFormat": "prores", "proresProfile": "422 HQ", "targetAspectRatio": "16:9"},
        {"negativePrompt": "no file like look.png"},
        {"security": "high", "duration": 5, "ok": True},
        {"references": []},
    ],
)
def test_extra_carries_what_the_model_has_no_key_for(extra):
    assert CATALOG.problems(request(model="aleph2", extra=extra)) == []


def test_an_empty_list_of_references_in_extra_is_told_to_be_left_out():
    (problem,) = CATALOG.problems(request(extra={"references": []}))
    assert problem.message.endswith(
        "leave it out: where a model requires the list, an empty one is sent anyway"
    )


def test_the_body_holds_everything_in_the_forms_of_the_api():
    clip = Inline(open=lambda: None, size=10, content_type="video/mp4")
    full = request(
        seed=0,
        ratio="1280:720",
        references=(Reference(name="winter.png"),),
        content_moderation={"public_figure_threshold": "low"},
        extra={"newKnob": {"deep": [1, 2.5, "x", True]}},
    )
    body = CATALOG.body(full, clip, ["https://x.example/w.png"])
    assert CATALOG.problems(full) == []
    assert body == {
        "newKnob": {"deep": [1, 2.5, "x", True]},
        "model": "gen4_aleph",
        "videoUri": clip,
        "promptText": "Deep winter",
        "seed": 0,
        "ratio": "1280:720",
        "references": [{"type": "image", "uri": "https://x.example/w.png"}],
        "contentModeration": {"publicFigureThreshold": "low"},
    }
    assert body["videoUri"] is clip


def test_another_model_can_name_its_source_otherwise():
    catalog = Catalog.load({"seedance2": {"source_field": "promptVideo", "fields": []}})
    assert catalog.body(request(model="seedance2"), "https://x.example/a.mp4") == {
        "model": "seedance2",
        "promptVideo": "https://x.example/a.mp4",
        "promptText": "Deep winter",
    }


def test_an_unknown_model_is_answered_with_the_one_meant_and_all_known():
    (problem,) = CATALOG.problems(request(model="gen4_alef"))
    assert problem.key == "model"
    assert "did you mean `gen4_aleph`?" in problem.message
    assert "aleph2" in problem.message


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        ("1280x720", "with a colon: `1280:720`"),
        ("1280 : 720", "with a colon: `1280:720`"),
        ("1920:1080", "is not accepted"),
        ("1920x1080", "takes 1280:720"),
        ("wide", "takes 1280:720"),
        ("0:0", "takes 1280:720"),
        ("1280:720\n", "with a colon"),
    ],
)
def test_a_ratio_has_to_be_one_of_the_models_own_with_a_colon(ratio, words):
    (problem,) = CATALOG.problems(request(ratio=ratio))
    assert problem.key == "ratio"
    assert words in problem.message


@pytest.mark.parametrize(("ratio", "right"), [("9:16", "720:1280"), ("1280x720", "1280:720")])
def test_a_ratio_that_is_not_accepted_is_answered_with_the_line_to_write(ratio, right):
    (problem,) = CATALOG.problems(request(ratio=ratio))
    assert problem.right == f'ratio = "{right}"'


def test_a_model_without_a_list_of_ratios_takes_any():
    assert CATALOG.problems(request(model="aleph2", ratio="21:9")) == []
    assert keys_of(CATALOG.problems(request(model="aleph2", ratio="21x9"))) == ["ratio"]


def test_references_are_limited_by_the_model():
    two = (Reference(name="a.png"), Reference(name="b.png"))
    assert "at most 1, here are 2" in CATALOG.problems(request(references=two))[0].message
    assert "no reference images" in CATALOG.problems(request(model="aleph2", references=two[:1]))[0].message


def test_a_prompt_is_counted_in_utf16_units():
    assert units("a😀") == 3
    assert CATALOG.problems(request(prompt="😀" * 500)) == []
    (problem,) = CATALOG.problems(request(prompt="😀" * 500 + "!"))
    assert problem.key == "prompt"
    assert "1001" in problem.message
    assert keys_of(CATALOG.problems(request(prompt=" \n"))) == ["prompt"]


@pytest.mark.parametrize(
    ("extra", "key"),
    [
        ({"videoUri": "https://evil.example"}, "extra.videoUri"),
        ({"model": "dear"}, "extra.model"),
        ({"promptText": "x"}, "extra.promptText"),
        ({"seed": 1}, "extra.seed"),
        ({"ratio": "1:1"}, "extra.ratio"),
        ({"references": []}, "extra.references"),
        ({"contentModeration": {}}, "extra.contentModeration"),
        ({"when": datetime(2026, 1, 1, tzinfo=UTC)}, "extra.when"),
        ({"size": math.inf}, "extra.size"),
        ({"deep": [{"a": [math.nan]}]}, "extra.deep"),
    ],
)
def test_extra_neither_shadows_a_key_of_ours_nor_holds_what_json_has_not(extra, key):
    assert keys_of(CATALOG.problems(request(extra=extra))) == [key]


def test_moderation_is_auto_or_low():
    assert CATALOG.problems(request(content_moderation={"public_figure_threshold": "auto"})) == []
    found = CATALOG.problems(request(content_moderation={"public_figure_threshold": "off", "x": 1}))
    assert keys_of(found) == ["content_moderation.x", "content_moderation.public_figure_threshold"]


@pytest.mark.parametrize(
    ("model", "seconds", "credits_"),
    [
        ("gen4_aleph", 5.0, 75.0),
        ("gen4_aleph", 4.1, 75.0),
        ("gen4_aleph", 4.02, 60.0),  # a frame's length is forgiven
        ("gen4_aleph", 12.0, 75.0),  # only its beginning is read
        ("gen4_aleph", 0.02, 15.0),
        ("aleph2", 29.9, 840.0),  # 812 were measured: never below what it will be
        ("aleph2", 1.0, 56.0),  # the floor
        ("aleph2", None, None),
        ("aleph2", math.nan, None),
        ("aleph2", -1.0, None),
        ("nobody", 5.0, None),
    ],
)
def test_the_price_is_by_the_started_second(model, seconds, credits_):
    assert CATALOG.credits(request(model=model), seconds) == credits_


def test_another_output_than_mp4_is_dearer():
    assert CATALOG.credits(request(model="aleph2", extra={"outputFormat": "prores"}), 10) == 680.0


def test_a_model_without_a_price_has_no_estimate():
    assert Catalog.load({"new": {}}).credits(request(model="new"), 5) is None


def test_single_keys_of_a_model_can_be_changed():
    catalog = Catalog.load({"gen4_aleph": {"credits_per_second": 12}})
    assert catalog.credits(request(), 5) == 60.0
    assert catalog.models["gen4_aleph"].references_max == 1
    assert CATALOG.credits(request(), 5) == 75.0


@pytest.mark.parametrize(
    ("table", "loc", "words"),
    [
        ({"credits_per_secnd": 1}, ("m", "credits_per_secnd"), "not permitted"),
        ({"credits_per_second": -1}, ("m", "credits_per_second"), "greater than or equal to 0"),
        ({"credits_per_second": True}, ("m", "credits_per_second"), "must be a number"),
        ({"endpoint": "../admin"}, ("m", "endpoint"), "match"),
        ({"fields": ["sed"]}, ("m", "fields", 0), "should be"),
        ({"seconds_min": 9, "seconds_max": 3}, ("m",), "has `seconds_min` above"),
        ({"ratios": ["16x9"]}, ("m", "ratios", 0), "match"),
        (3, ("m",), "must be a table"),
    ],
)
def test_a_wrong_table_is_refused_by_its_key(table, loc, words):
    with pytest.raises(BadModel) as refused:
        Catalog.load({"m": table})
    assert refused.value.loc == loc
    assert words in refused.value.message


def test_what_is_wrong_with_a_key_reads_on_from_its_name():
    two = (Reference(uri="https://a.example/1.png"), Reference(uri="https://a.example/2.png"))
    wrong = [
        request(model="gen9"),
        request(prompt=" "),
        request(prompt="x" * 1001),
        *(request(ratio=ratio) for ratio in ("1280x720", "wide", "16:9")),
        request(references=two),
        request(content_moderation={"public_figure_threshold": "off", "x": 1}),
        request(extra={"seed": 1}),
    ]
    said = [problem.message.split()[0] for one in wrong for problem in CATALOG.problems(one)]
    assert len(said) == len(wrong) + 1
    assert set(said) <= {"names", "is", "has", "does", "must", "unknown", "cannot"}


def test_keyframes_aspect_and_format_go_out_in_the_forms_of_the_api():
    images = (
        Reference(name="a.png", file="ref-0.png", at="first"),
        Reference(uri="https://a.example/b.png", at="1.5"),
        Reference(name="c.png", file="ref-1.png", at="last"),
    )
    asked = request(model="aleph2", references=images, target_aspect="21:9", output_format="prores")
    assert CATALOG.problems(asked) == []
    body = CATALOG.body(asked, "https://a.example/clip.mp4", ["A", "B", "C"])
    assert body["keyframes"] == [
        {"seconds": 0.0, "uri": "A"},
        {"seconds": 1.5, "uri": "B"},
        {"at": 1.0, "uri": "C"},
    ]
    assert (body["targetAspectRatio"], body["outputFormat"]) == ("21:9", "prores")
    assert "references" not in body
    assert CATALOG.credits(asked, 10) == 680.0


@pytest.mark.parametrize(
    ("keys", "key", "words"),
    [
        (
            {"references": (Reference(uri="https://a.example/b.png", at="first"),) * 6},
            "keyframe",
            "at most 5",
        ),
        ({"target_aspect": "5:4"}, "target_aspect", "it takes 16:9"),
        ({"output_format": "gif"}, "output_format", "png_sequence"),
    ],
)
def test_what_a_model_cannot_make_of_a_result_is_said_by_its_key(keys, key, words):
    (problem,) = CATALOG.problems(request(model="aleph2", **keys))
    assert problem.key == key
    assert words in problem.message
    (other,) = CATALOG.problems(request(**keys))
    assert other.key == key


def test_a_bare_file_among_the_keyframes_of_extra_is_told_the_key_for_it():
    (problem,) = CATALOG.problems(request(model="aleph2", extra={"keyframes": [{"uri": "winter.png"}]}))
    assert "[[keyframe]]" in problem.message


def test_a_keyframe_behind_the_end_of_what_is_sent_is_told_of():
    late = request(model="aleph2", references=(Reference(uri="https://a.example/b.png", at="9.0"),))
    media = {
        "container": "mp4",
        "size_bytes": 1000,
        "seconds": 4.0,
        "width": 1280,
        "height": 720,
        "fps": "24/1",
    }
    media |= {"video_codec": "h264", "pixel_format": "yuv420p", "bit_depth": 8}
    way = InRequest(5_000_000)
    (problem,) = Quoting(CATALOG, [way]).check(late, media)
    assert (problem.key, problem.message) == ("keyframe", "is at 9 s, and 4 s of the clip are sent")
    early = replace(late, references=(replace(late.references[0], at="3.9"),))
    assert Quoting(CATALOG, [way]).check(early, media) == []
