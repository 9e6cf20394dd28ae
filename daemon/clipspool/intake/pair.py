"""Which clip goes with which sidecar, and what a file waits for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from clipspool.intake.foreign import is_conflict_copy
from clipspool.intake.names import TOML, Kind, composed, readable, stem
from clipspool.naming import NAME_BYTES_MAX

STILL_CHANGING = "it is still changing"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of those that belong together by name, as last seen."""

    name: str
    kind: Kind
    since: float = 0.0
    """Monotonic seconds: since when its stamp stands."""
    is_settled: bool = True
    size: int = 1
    """In bytes; 1 for what is no regular file."""
    is_regular: bool = True
    awaits: str | None = None
    """The clip that a temporary file announces."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in it, or not yet."""
        return self.size == 0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may be missing."""

    sidecar_required: bool = True
    sidecar_wait_seconds: float = 60.0
    """After this, what a file waits for is a problem for its editor."""
    optional_wait_seconds: float = 10.0
    """After this, the folder's defaults serve where a sidecar is optional."""


@dataclass(frozen=True, slots=True)
class Matched:
    """A clip that has settled, with its settled sidecar, or None where defaults serve."""

    clip: str
    sidecar: str | None
    overlooked: str | None = None
    """A second sidecar that does not count."""


@dataclass(frozen=True, slots=True)
class Waits:
    """A file that stays where it is, for now."""

    name: str
    reason: str
    is_problem: bool = False
    """Its editor has to do something about it."""
    look_at: float = inf
    """Monotonic seconds at which this has to be judged again if nothing changes before."""
    goes_on: bool = False
    """Whether it goes on then by itself, without anybody's doing."""
    is_stuck: bool = False
    """Whether it hangs on files of other names too, and is judged anew at each rescan."""


def pair(
    entries: Sequence[Entry], *, now: float, patience: Patience, defaults_serve: bool
) -> list[Matched | Waits]:
    """Judge the files of one base name; each clip and each sidecar left over gives one answer.

    `now` is monotonic seconds; `defaults_serve` says that the defaults hold a prompt.
    """
    table = _Table(entries, now, patience, defaults_serve)
    answers: list[Matched | Waits] = [table.judge_clip(clip) for clip in table.clips]
    spoken_for = {table.sidecar_of(clip) for clip in table.clips}
    answers += [
        table.judge_orphan(s) for s in table.sidecars if s not in spoken_for and s not in table.shared
    ]
    return answers


class _Table:
    def __init__(
        self, entries: Sequence[Entry], now: float, patience: Patience, defaults_serve: bool
    ) -> None:
        ordered = sorted(entries, key=lambda entry: (not entry.name.endswith(TOML), entry.name))
        self.clips = [entry for entry in ordered if entry.kind is Kind.CLIP]
        self.sidecars = [entry for entry in ordered if entry.kind is Kind.SIDECAR]
        self.temporaries = [entry for entry in ordered if entry.kind is Kind.TEMPORARY]
        self._now = now
        self._patience = patience
        self._defaults_serve = defaults_serve
        self._by_target: dict[str, Entry] = {}
        for sidecar in self.sidecars:
            self._by_target.setdefault(sidecar.name[: -len(TOML)], sidecar)
        claimants: dict[str, int] = {}
        for clip in self.clips:
            if clip.name not in self._by_target:
                claimants[stem(clip.name)] = claimants.get(stem(clip.name), 0) + 1
        own = {clip.name for clip in self.clips}
        self._by_stem = {target: s for target, s in self._by_target.items() if target not in own}
        self.shared = {s for target, s in self._by_stem.items() if claimants.get(target, 0) > 1}
        self._respelled = self._find_respelled()

    def _find_respelled(self) -> dict[str, Entry]:
        """Give the last clip left the last sidecar left, where its name is only spelled otherwise."""
        left = [clip for clip in self.clips if self._spelled_like(clip) is None]
        spoken_for = {self._spelled_like(clip) for clip in self.clips}
        free = [sidecar for sidecar in self.sidecars if sidecar not in spoken_for]
        if len(left) != 1 or len(free) != 1:
            return {}
        names = {composed(left[0].name), composed(stem(left[0].name))}
        return {left[0].name: free[0]} if composed(free[0].name[: -len(TOML)]) in names else {}

    def sidecar_of(self, clip: Entry) -> Entry | None:
        return self._spelled_like(clip) or self._respelled.get(clip.name)

    def _spelled_like(self, clip: Entry) -> Entry | None:
        return self._by_target.get(clip.name) or self._by_stem.get(stem(clip.name))

    def judge_clip(self, clip: Entry) -> Matched | Waits:
        if not clip.is_regular:
            return Waits(
                clip.name,
                "it is not a file but a link or a device; put the file itself here",
                is_problem=True,
            )
        if clip.is_empty:
            return self._wait(clip, "it is empty (0 bytes)")
        if not clip.is_settled:
            return Waits(clip.name, STILL_CHANGING)
        if trouble := self._not_whole_by_name(clip):
            return trouble
        sidecar = self.sidecar_of(clip)
        if sidecar is None:
            return self._without_sidecar(clip)
        if sidecar in self.shared:
            return Waits(
                clip.name,
                f"`{readable(sidecar.name)}` could belong to more than one clip; "
                f"name it `{readable(clip.name)}{TOML}` if it is for this one",
                is_problem=True,
            )
        if not sidecar.is_regular:
            return Waits(
                clip.name,
                f"its sidecar `{readable(sidecar.name)}` is not a file but a link, folder or device",
                is_problem=True,
            )
        if sidecar.is_empty:
            return self._wait(
                sidecar, f"its sidecar `{readable(sidecar.name)}` is empty (0 bytes)", clip.name
            )
        if not sidecar.is_settled:
            return Waits(clip.name, f"its sidecar `{readable(sidecar.name)}` is still changing")
        overlooked = self._by_stem.get(stem(clip.name))
        return Matched(
            clip.name, sidecar.name, overlooked.name if overlooked and overlooked != sidecar else None
        )

    def _not_whole_by_name(self, clip: Entry) -> Waits | None:
        """Give what its own name, or a partner's beside it, says against a clip."""
        partners = (t for t in self.temporaries if composed(t.awaits or "") == composed(clip.name))
        if partner := next(partners, None):
            return self._wait(
                clip,
                f"`{readable(partner.name)}` lies beside it, so the program that copies or downloads it "
                "is not done; let it go on, or remove that file if you know that the clip is whole",
            )
        if is_conflict_copy(stem(clip.name)):
            return Waits(
                clip.name,
                "a synchronising tool gave it this name because there were two versions of one file; "
                "if it is meant, give it, and its sidecar, a name of its own; else remove it",
                is_problem=True,
            )
        return None

    def _without_sidecar(self, clip: Entry) -> Matched | Waits:
        right = _what_would_serve(clip.name)
        if self._patience.sidecar_required:
            return self._wait(clip, f"it has no sidecar yet; {right}")
        if not self._defaults_serve:
            return self._wait(clip, f"it has no sidecar, and no defaults hold a prompt; {right}")
        due = clip.since + self._patience.optional_wait_seconds
        if self._now >= due:
            return Matched(clip.name, None)
        return Waits(clip.name, "it has no sidecar yet; the defaults serve soon", look_at=due, goes_on=True)

    def judge_orphan(self, sidecar: Entry) -> Waits:
        target = sidecar.name[: -len(TOML)]
        if temporary := next(
            (t for t in self.temporaries if t.awaits and target in {t.awaits, stem(t.awaits)}), None
        ):
            return Waits(sidecar.name, f"its clip is still being copied (`{readable(temporary.name)}`)")
        return self._wait(sidecar, f"no clip named `{readable(target)}` has come for it")

    def _wait(self, entry: Entry, reason: str, name: str | None = None) -> Waits:
        """Wait in silence at first; after a time it is a problem."""
        due = entry.since + self._patience.sidecar_wait_seconds
        is_due = self._now >= due
        return Waits(name or entry.name, reason, is_problem=is_due, look_at=inf if is_due else due)


def _what_would_serve(clip: str) -> str:
    names = [name + TOML for name in (clip, stem(clip)) if _can_be_named(name + TOML)]
    if not names:
        return "its name is too long for a sidecar beside it; shorten it"
    return f"put {' or '.join(f'`{readable(name)}`' for name in names)} beside it"


def _can_be_named(name: str) -> bool:
    return len(name.encode(errors="surrogateescape")) <= NAME_BYTES_MAX
