"""The effective request of a job and its images: what a sidecar asked for, frozen at acceptance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

LongClips = Literal["refuse", "trim", "split"]
"""What happens with a clip that is longer than its model takes."""
Duplicates = Literal["hold", "run", "reuse"]
"""What happens with a clip that asks for what was asked for already."""
Finish = Literal["as_is", "timeline"]
"""Whether a result is delivered as the provider made it, or made to fit its source's place in a timeline."""
FinishCodec = Literal["", "prores", "dnxhr"]
FinishTiming = Literal["frames", "time"]
"""How a result is placed that has its source's frames under another rate: frame by frame, or by its time."""
FinishSize = Literal["result", "source"]
"""Whose dimensions a result has that is made ready for the timeline."""
KEYFRAME_WORDS = frozenset({"first", "last"})


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference image or keyframe: an https address, or a file copied into the work folder."""

    uri: str = ""
    """The address, or empty where `file` is set."""
    name: str = ""
    """The path inside the inbox as the sidecar gave it."""
    file: str = ""
    """The copy's path inside the clip's work folder."""
    at: str = ""
    """Where a keyframe guides the result: `first`, `last`, or seconds; empty for a reference image."""

    def to_dict(self) -> dict[str, str]:
        """Return the fields that are set."""
        fields = (("uri", self.uri), ("name", self.name), ("file", self.file), ("at", self.at))
        return {k: v for k, v in fields if v}

    @property
    def position(self) -> str | float:
        """Where a keyframe guides the result, as a sidecar has it: `first`, `last`, or seconds."""
        return self.at if self.at in KEYFRAME_WORDS else float(self.at)


@dataclass(frozen=True, slots=True)
class Request:
    """The effective request of one job, frozen at acceptance."""

    prompt: str
    model: str
    seed: int
    ratio: str | None = None
    references: tuple[Reference, ...] = ()
    content_moderation: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    priority: int = 0
    not_before: float | None = None
    """Unix seconds: sent no earlier."""
    long_clips: LongClips = "refuse"
    start_seconds: float = 0.0
    """Where the part begins that is sent of a clip cut to length."""
    length_seconds: float | None = None
    """Of a part of any clip; None: as much as the model takes."""
    overlap_frames: int = 12
    """With `long_clips = "split"`: how many frames two parts share where no scene changes between them."""
    keep_parts: bool = False
    """With `long_clips = "split"`: the result of each part is delivered too."""
    finish: Finish = "as_is"
    finish_size: FinishSize = "result"
    finish_codec: FinishCodec = ""
    finish_timing: FinishTiming = "frames"
    keep_untouched: bool = False
    """With `finish = "timeline"`: the provider's own file is delivered too."""
    target_aspect: str = ""
    """The shape that the result shall have, as `16:9`; empty: the clip's."""
    frames_per_second: float = 0.0
    """How many pictures of a folder are shown a second; 0 for a film, which has its own rate."""
    output_format: str = ""
    """What the provider makes: `mp4`, `prores`, …; empty: what the model usually makes."""
    seed_is_drawn: bool = False
    """Nobody asked for this seed: any other serves as well."""
    ratio_is_chosen: bool = False  # nobody asked for it: it is the model's nearest to the clip's shape
    again: bool = False
    """The editor wants the same request once more, and pays for it."""
    preset: str = ""
    """The preset that it was made with; its keys are among the others."""
    instead_of: str = ""  # the model that was asked for, where a fallback is used
    timeline: str = ""
    """The id of the one that the clip came with, and that its result is linked into."""
    timeline_name: str = ""
    """Where that timeline was dropped, relative to the inbox."""
    timeline_credits: float | None = None
    """What all jobs of that timeline were to cost together."""
    was_put_back: bool = False
    """It failed before, and somebody moved it from `_failed` back into the inbox."""

    def to_dict(self) -> dict[str, Any]:
        """Return a form that JSON and TOML hold, without what has its default."""
        body: dict[str, Any] = {"prompt": self.prompt, "model": self.model, "seed": self.seed}
        body |= self._set(_USUAL)
        if self.references:
            body["references"] = [r.to_dict() for r in self.references]
        return body

    def media_keys(self) -> dict[str, Any]:
        """Return the sidecar keys about the pictures themselves, without defaults."""
        return self._set(
            (
                *("long_clips", "start_seconds", "length_seconds", "finish", "finish_size", "keep_untouched"),
                *("target_aspect", "output_format", "finish_codec", "finish_timing", "frames_per_second"),
                *("overlap_frames", "keep_parts"),
            )
        )

    def _set(self, names: Iterable[str]) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(self, name)) != _USUAL[name]}


_USUAL = {name: getattr(Request("", "", 0), name) for name in list(Request.__dataclass_fields__)[3:]}
"""What each key has where nothing was asked for; prompt, model and seed always are."""
