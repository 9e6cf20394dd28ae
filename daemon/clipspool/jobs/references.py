"""The images that guide a request: references, and keyframes with their place in time."""

from __future__ import annotations

from dataclasses import dataclass

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
