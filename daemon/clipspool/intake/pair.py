"""Pairs clips with sidecars, and decides what a file waits for; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from clipspool.intake.advice import did_you_mean, example_for, in_a_row, near_miss, what_would_serve
from clipspool.intake.kinds import Sort, is_conflict_copy, sort_of, stem, suffix_of
from clipspool.intake.names import TOML, TXT, Kind
from clipspool.intake.near import folded, meant_as_settings
from clipspool.intake.types import Rules
from clipspool.jobs.model import Problem
from clipspool.system.atomic import join
from clipspool.system.redaction import readable

STILL_CHANGING = "it is still changing"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a group, as last seen."""

    name: str
    kind: Kind
    since: float = 0.0
    """Monotonic seconds: since when it is unchanged."""
    is_settled: bool = True
    size: int = 1
    """In bytes; 1 for a link or device."""
    is_regular: bool = True
    awaits: str | None = None
    """The clip that a temporary file announces."""

    @property
    def is_empty(self) -> bool:
        """Whether it has no content, or none yet."""
        return self.size == 0


@dataclass(frozen=True, slots=True)
class Matched:
    """A settled clip with its settled sidecar or prompt; with neither, the folder's defaults are used."""

    clip: str
    sidecar: str | None
    overlooked: str | None = None
    """A second sidecar, which is not used."""
    prompt: str | None = None
    """A `.txt` with the prompt."""
    is_folder: bool = False
    """Whether the clip is a folder of numbered pictures; whether that has settled is judged later."""

    @property
    def files(self) -> tuple[str, ...]:
        """The companions, and the clip itself if it is a file."""
        return self.companions if self.is_folder else (self.clip, *self.companions)

    @property
    def companions(self) -> tuple[str, ...]:
        """Files that are accepted together with the clip."""
        return tuple(name for name in (self.sidecar, self.prompt) if name is not None)


@dataclass(frozen=True, slots=True)
class Waits:
    """A file that stays where it is for now."""

    name: str
    reason: str
    is_problem: bool = False
    """Whether its editor must act."""
    look_at: float = inf
    """Monotonic seconds at which it must be judged again if nothing changes before."""
    proceeds: bool = False
    """Whether it will be accepted then without anybody's action."""
    needs_others: bool = False
    """Whether it depends on files of other names too, and is judged again at each rescan."""
    advice: str = ""
    """What to do, at length, for the note: lines of text."""
    found: tuple[Problem, ...] = ()
    """Mistakes in the clip or its sidecar."""
    is_well: bool = False
    """Whether nothing is wrong with it: a note of an earlier run beside it is out of date."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Contents of its note; none if it only waits."""
        described = Problem("\n".join(filter(None, (self.reason, self.advice))), is_passing=self.proceeds)
        return self.found or ((described,) if self.is_problem else ())

    @classmethod
    def until(cls, name: str, reason: str, due: float, now: float, **more: Any) -> Waits:
        """Return a wait that becomes a problem at `due`; `more` are other fields."""
        return cls(name, reason, now >= due, inf if now >= due else due, **more)


Similar = Callable[[Kind, bool], Sequence[str]]
"""Returns lone sidecars, or lone clips, with similar names; with typos too if the flag is set."""


def pair(
    entries: Sequence[Entry],
    *,
    now: float,
    rules: Rules,
    defaults_serve: bool,
    similar: Similar = lambda _kind, _with_typos: (),
    are_pictures: Callable[[str], bool] = lambda _name: False,
) -> list[Matched | Waits]:
    """Judge the files of one base name; each clip and each sidecar left over gets one answer.

    A folder of pictures is a clip only with a sidecar or prompt of its very name, beside no clip of that
    name: defaults never serve it, as it may hold references.

    `now` is monotonic seconds; `defaults_serve` means that the defaults hold a prompt, `are_pictures` that a
    folder of that name beside them holds the pictures of a film.
    """
    table = _Table(entries, now, rules, defaults_serve, similar, are_pictures)
    answers: list[Matched | Waits] = [table.judge_clip(clip) for clip in table.clips]
    if (pictures := table.judge_pictures()) is not None:
        return [pictures]
    answers += [table.judge_orphan(sidecar) for sidecar in table.sidecars.unmatched]
    return answers


def companion_of(clip: str, beside: Sequence[Entry]) -> str | None:
    """Return the sidecar of a clip, else its prompt; None without one, or where it may be another clip's."""
    clips = [one for one in beside if one.kind is Kind.CLIP]
    own = next(one for one in clips if one.name == clip)
    for kind, suffix in ((Kind.SIDECAR, TOML), (Kind.PROMPT, TXT)):
        known = _Companions(clips, [one for one in beside if one.kind is kind], suffix)
        if (found := known.of(own)) is not None and found not in known.shared:
            return found.name
    return None


class _Companions:
    """The sidecars, or the prompts, of one group, each with the clip that it is for.

    `shot.mp4.toml` is for `shot.mp4` alone, `shot.toml` for the only clip with that stem. If one clip and one
    file are left over, they match even if their names differ in letter case or in how accents are encoded.
    """

    def __init__(self, clips: Sequence[Entry], files: Sequence[Entry], suffix: str) -> None:
        by_target: dict[str, Entry] = {}
        for file in files:
            by_target.setdefault(file.name[: -len(suffix)], file)
        names = {clip.name for clip in clips}
        self._by_stem = {target: file for target, file in by_target.items() if target not in names}
        claimants = Counter(stem(name) for name in names - by_target.keys())
        self.shared = {file for target, file in self._by_stem.items() if claimants[target] > 1}
        files_of = {name: by_target.get(name) or self._by_stem.get(stem(name)) for name in names}
        self._of = {name: file for name, file in files_of.items() if file is not None}
        clips_left = names - self._of.keys()
        files_left = [file for file in files if file not in self._of.values()]
        if len(clips_left) == len(files_left) == 1:
            name, file = min(clips_left), files_left[0]
            if folded(file.name[: -len(suffix)]) in {folded(name), folded(stem(name))}:
                self._of[name] = file
        matched = self.shared | set(self._of.values())
        self.unmatched = [file for file in files if file not in matched]
        """Files without a clip."""

    def of(self, clip: Entry) -> Entry | None:
        """Return the file for a clip."""
        return self._of.get(clip.name)

    def overlooked(self, clip: Entry) -> Entry | None:
        """Return the file named after the stem of a clip that also has one with its full name."""
        other = self._by_stem.get(stem(clip.name))
        return other if other != self.of(clip) else None


class _Table:
    def __init__(
        self,
        entries: Sequence[Entry],
        now: float,
        rules: Rules,
        defaults_serve: bool,
        similar: Similar,
        are_pictures: Callable[[str], bool],
    ) -> None:
        ordered = sorted(entries, key=lambda entry: (not entry.name.endswith((TOML, TXT)), entry.name))
        of = {kind: [entry for entry in ordered if entry.kind is kind] for kind in Kind}
        self.clips = of[Kind.CLIP]
        self.sidecars = _Companions(self.clips, of[Kind.SIDECAR], TOML)
        self._prompts = _Companions(self.clips, of[Kind.PROMPT], TXT)
        self._temporaries = of[Kind.TEMPORARY]
        self._folders = of[Kind.FOLDER]
        self._coming = of[Kind.COMING]
        self._near = [*of[Kind.NEAR], *self.sidecars.unmatched, *self._prompts.unmatched]
        others = (*of[Kind.OTHER], *of[Kind.IMAGE])
        self._others = [entry for entry in others if sort_of(entry.name) is not Sort.SILENT]
        self._now = now
        self._rules = rules
        self._defaults_hold_prompt = defaults_serve
        self._defaults_serve = defaults_serve and not rules.sidecar_required
        self._similar, self._are_pictures = similar, are_pictures

    def judge_clip(self, clip: Entry) -> Matched | Waits:
        if not clip.is_regular:
            return _problem(clip, "it is not a file but a link or a device; put the file itself here")
        if clip.is_empty:
            return self._wait(clip, "it is empty (0 bytes); if it is not being copied, copy it here again")
        if not clip.is_settled:
            return Waits(clip.name, STILL_CHANGING)
        if trouble := self._not_whole_by_name(clip):
            return trouble
        sidecar, prompt = self.sidecars.of(clip), self._prompts.of(clip)
        if sidecar is None and prompt is None:
            return self._without_sidecar(clip)
        for companion in (sidecar, prompt):
            if companion is not None and (trouble := self._trouble_with(companion, clip)):
                return trouble
        overlooked = self.sidecars.overlooked(clip) or self._prompts.overlooked(clip)
        return Matched(clip.name, _name(sidecar), _name(overlooked), _name(prompt))

    def _not_whole_by_name(self, clip: Entry) -> Waits | None:
        """Return why a clip is incomplete by its own name, or by a control file beside it."""
        partners = (t for t in self._temporaries if folded(t.awaits or "") == folded(clip.name))
        if partner := next(partners, None):
            return self._wait(
                clip,
                f"`{readable(partner.name)}` is beside it, so it is still being copied or downloaded; "
                "wait, or remove that file if you know that the clip is complete",
            )
        if is_conflict_copy(stem(clip.name)):
            return _problem(
                clip,
                "a sync tool gave it this name because there were two versions of one file; "
                "to use it, rename it and its sidecar; otherwise remove it",
            )
        return None

    def _trouble_with(self, companion: Entry, clip: Entry) -> Waits | None:
        """Return why a sidecar or a prompt cannot be read, if so."""
        name = readable(companion.name)
        if companion in self.sidecars.shared or companion in self._prompts.shared:
            right = readable(clip.name) + (TXT if companion.kind is Kind.PROMPT else TOML)
            return _problem(
                clip, f"`{name}` could belong to more than one clip; name it `{right}` if it is for this one"
            )
        if not companion.is_regular:
            return _problem(clip, f"its sidecar `{name}` is not a file but a link, folder or device")
        if companion.is_empty:
            return self._wait(companion, f"its sidecar `{name}` is empty (0 bytes)", clip.name)
        return None if companion.is_settled else Waits(clip.name, f"its sidecar `{name}` is still changing")

    def _without_sidecar(self, clip: Entry) -> Matched | Waits:
        # Where defaults serve, the wrong request would be paid for.
        if near := self._nearly_its_sidecar(clip):
            return self._wait(clip, f"it has no sidecar yet; {near}", needs_others=True)
        if self._defaults_serve:
            due = clip.since + self._rules.optional_wait_seconds
            if self._now >= due:
                return Matched(clip.name, None)
            soon = "it has no sidecar yet; the defaults will be used soon"
            return Waits(clip.name, soon, look_at=due, proceeds=True)
        reason = "it has no sidecar, and the defaults have no prompt"
        if self._rules.sidecar_required:
            # The folder's prompt does not serve: the sidecar may still be on its way, and say something else.
            though = ", and this inbox requires one for each clip" if self._defaults_hold_prompt else ""
            reason = f"it has no sidecar yet{though}"
        reason += f"; {what_would_serve(clip.name)}"
        return self._wait(clip, reason, advice=example_for(clip.name))

    def _nearly_its_sidecar(self, clip: Entry) -> str:
        """Return advice on a file that may be meant as a clip's sidecar, or become it; empty for none."""
        for coming in self._coming:
            return f"`{readable(coming.name)}` shows that one is being copied or written; if not, remove it"
        documents = [e for e in self._others if sort_of(e.name) in {Sort.DOCUMENT, Sort.SETTINGS}]
        names = [entry.name for entry in (*self._near, *documents)]
        names = names or [*self._similar(Kind.SIDECAR, self._is_due(clip) and not self._defaults_serve)]
        return did_you_mean(names[0], clip.name) if names else ""

    def judge_pictures(self) -> Matched | Waits | None:
        """Pair a folder of pictures with the sidecar and the prompt of its name; None where there is none."""
        is_film = any(sort_of(e.name) in {Sort.FILM, Sort.RAW, Sort.UNKNOWN} for e in self._others)
        if self.clips or self._temporaries or is_film:
            return None
        sidecar, prompt = (
            {entry.name[: -len(suffix)]: entry for entry in files}
            for files, suffix in ((self.sidecars.unmatched, TOML), (self._prompts.unmatched, TXT))
        )
        targets = {*sidecar, *prompt}
        named = [folder.name for folder in self._folders if folder.name in targets]
        if not named and len(self._folders) == 1 and len(targets) == 1:  # but for letter case, or accents
            named = [f.name for f in self._folders if {folded(f.name)} == {folded(name) for name in targets}]
        name = next(filter(self._are_pictures, named), None)
        if name is None:
            return None
        target = name if name in targets else min(targets)
        own = (sidecar.get(target), prompt.get(target))
        for companion in own:
            if companion is not None and (trouble := self._trouble_with(companion, Entry(name, Kind.FOLDER))):
                return trouble
        return Matched(name, _name(own[0]), prompt=_name(own[1]), is_folder=True)

    def judge_orphan(self, sidecar: Entry) -> Waits:
        target = sidecar.name[: -len(TOML)]
        for temporary in self._temporaries:
            awaited = temporary.awaits or ""
            if folded(target) in {folded(awaited), folded(stem(awaited))}:
                return Waits(sidecar.name, f"its clip is still being copied (`{readable(temporary.name)}`)")
        if self._others:
            found = self._others[0].name
            kind = readable(suffix_of(found)) or "a name without a suffix"
            return self._wait(
                sidecar,
                f"no matching clip: found `{readable(found)}`; {kind} is not accepted. "
                f"Accepted are {in_a_row(sorted(self._rules.extensions))}: convert it to one of these",
            )
        if right := meant_as_settings(sidecar.name):
            return self._wait(sidecar, near_miss(sidecar.name, right))
        reason = f"no matching clip: no clip named `{readable(target)}` yet"
        clips = [clip.name for clip in self.clips if self.sidecars.of(clip) is None]
        if clips := clips or [*self._similar(Kind.CLIP, self._is_due(sidecar))]:
            right = f"{readable(stem(clips[0]))}{TOML}"
            reason += f"; did you mean `{readable(clips[0])}`? Then rename this file to `{right}`"
        else:
            reason += "; put the clip beside it, or give this file the name of its clip"
        return self._wait(sidecar, reason, needs_others=bool(clips))

    def _is_due(self, entry: Entry) -> bool:
        return self._now >= entry.since + self._rules.sidecar_wait_seconds

    def _wait(self, entry: Entry, reason: str, name: str = "", **more: Any) -> Waits:
        """Return a wait that becomes a problem after `sidecar_wait_seconds`."""
        due = entry.since + self._rules.sidecar_wait_seconds
        return Waits.until(name or entry.name, reason, due, self._now, **more)


def _problem(clip: Entry, reason: str) -> Waits:
    return Waits(clip.name, reason, is_problem=True)


def _name(entry: Entry | None) -> str | None:
    return None if entry is None else entry.name


def after_a_bug(folder: str, entries: Sequence[Entry]) -> dict[str, Waits]:
    """Return what editors are told of files that a mistake of ours kept from being judged."""
    reason = "clipspool made a mistake with it, so nothing is sent; the log has the details (judging_broken)"
    paths = [join(folder, entry.name) for entry in entries if entry.kind in {Kind.CLIP, Kind.TIMELINE}]
    return {path: Waits(path, reason, is_problem=True) for path in paths}
