"""Makes what is sent fit its model and transport: a clip as a smaller H.264, an image as a smaller image."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from io import FileIO
from typing import Any, TypeVar

from clipspool.jobs.events import Failed, Postponed, StageFailed
from clipspool.jobs.model import Clip, Error, Job, Reference, Request
from clipspool.jobs.working import ReportWork, Working
from clipspool.media.decoder import Decoder
from clipspool.media.facts import ClipPart, MediaFault, Picture, Probe
from clipspool.media.plan import AsIs, Bounds, Conform, Refuse, plan
from clipspool.provider.transport import Choice, Parcel, Way, choose
from clipspool.spool.root import Root
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import folder_of, made_name
from clipspool.stages.payload import SentFile
from clipspool.system.atomic import Rel, join, name_of, sha256_of, split_suffix

IMAGE_SIDE_MAX = 8000
IMAGE_SIDE_GOOD = 4096
"""What an image is scaled to when it does not fit as it is."""
IMAGE_ASPECTS = (0.5, 2.0)
"""Width divided by height [PROVIDER 2.4]."""

CONTENT_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}
_RETRYABLE = frozenset({"MEDIA.TIMEOUT", "MEDIA.CRASHED"})

Trouble = Failed | StageFailed | Postponed
T = TypeVar("T")


def content_type_of(suffix: str) -> str:
    """Return the content type that the provider gets for a file; video/mp4 for an unknown suffix."""
    return CONTENT_TYPES.get(suffix, "video/mp4")


def type_of_clip(clip: Clip) -> str:
    """Return a clip's content type by its probe, else by its name."""
    return type_by(clip.media, clip.source)


def type_by(media: Mapping[str, Any], name: str) -> str:
    """Return a video's content type by its media facts, else by its name."""
    container = media.get("container")
    return content_type_of(f".{container}" if container else split_suffix(name)[1].lower())


def choose_for(
    request: Request,
    probe: Probe,
    limits: Bounds,
    ways: Sequence[Way],
    content_type: str,
    part: ClipPart | None = None,
) -> Choice[Conform]:
    """Choose the transport for a clip, and what has to be made of it so that it fits model and transport.

    `part` is the part of it that is sent, where it is split.
    """
    # What is to be split comes with its part; what cannot be is refused where it is too long.
    long_clips = "refuse" if request.long_clips == "split" else request.long_clips

    def judge(room: int) -> AsIs | Conform | Refuse:
        return plan(
            probe,
            limits,
            room,
            long_clips=long_clips,
            start_seconds=request.start_seconds,
            length_seconds=request.length_seconds,
            part=part,
        )

    return choose(ways, content_type, judge)


def media_trouble(fault: MediaFault, what: str = "") -> Trouble:
    """Return the event for a decoder's fault: a full disk or a stop is not the clip's fault."""
    if fault.code == "MEDIA.STOPPED":
        return Postponed("the daemon stops", 0.0)
    if fault.code == "MEDIA.NO_SPACE":
        return StageFailed("INBOX.FULL", fault.message)
    message = f"{what}{fault.message}"
    return Failed(Error(fault.code, message, fault.what_to_do, retryable=fault.code in _RETRYABLE))


@dataclass(frozen=True, slots=True)
class Scale:
    """An image has to be scaled."""

    bytes_max: int
    side_max: int = IMAGE_SIDE_GOOD


class NotMade(Exception):
    """The decoder could not fill a file; carries its fault."""

    def __init__(self, fault: MediaFault) -> None:
        super().__init__()
        self.fault = fault


def make_file(
    root: Root, rel: Rel, make: Callable[[FileIO], T | MediaFault]
) -> tuple[T, str, os.stat_result] | MediaFault:
    """Fill a file that gets its name once it is whole and durable; with its SHA-256. Raises OSError."""

    def filled(file: FileIO) -> tuple[T, str, os.stat_result]:
        made = make(file)
        if isinstance(made, MediaFault):
            raise NotMade(made)
        file.seek(0)
        return made, sha256_of(file), os.fstat(file.fileno())

    try:
        with root.filling(rel, part=f"{name_of(rel)}.part") as file:
            return filled(file)
    except NotMade as trouble:
        return trouble.fault


@dataclass(frozen=True, slots=True)
class Workbench:
    """Makes files in a job's work folder, each whole under its name or not there; one that fits is kept."""

    folders: Folders
    clip: Clip
    job: Job
    attempt: str
    decoder: Decoder
    report: ReportWork

    def conformed(
        self, source: FileIO, sha256: str, choice: Choice[Conform], known: SentFile | None
    ) -> SentFile | Trouble:
        """Make a clip fit as planned. Raises OSError."""
        conform = choice.verdict
        if not isinstance(conform, Conform):
            raise TypeError(f"nothing is to be made for {choice.verdict}")
        made = conform.to_dict()
        if (kept := self._kept(known, sha256, made)) is not None:
            return kept

        def make(target: FileIO) -> tuple[str, ...] | MediaFault:
            done = self.decoder.conform(source.fileno(), target.fileno(), conform, on_share=self._told)
            return done if isinstance(done, MediaFault) else done.changes

        room = conform.bytes_max
        return self._make(".sent.mp4", "video/mp4", choice.way, (sha256, made, room), make)

    def _told(self, run: int, share: float) -> None:
        # How many runs it takes to meet a byte limit shows only at the end.
        self.report(Working("converting the clip" + (f", run {run}" if run > 1 else ""), share))

    def image(
        self, number: int, reference: Reference, ways: Sequence[Way], known: SentFile | None
    ) -> SentFile | Trouble:
        """Prepare a reference image: as it is, or scaled. Raises OSError."""
        try:
            opened = self.folders.inbox.open(join(folder_of(self.clip.id), reference.file))
        except FileNotFoundError:
            message = f"clipspool's copy of the reference image {reference.name} is gone"
            what_to_do = "Put the image into the inbox, at the path that the sidecar names."
            return Failed(Error("REFERENCE.MISSING", message, what_to_do))
        with opened as file:
            here = os.fstat(file.fileno())
            facts = self.decoder.image_facts(file.fileno())
            what = f"the reference image {reference.name}: "
            if isinstance(facts, MediaFault):
                return media_trouble(facts, what)
            if (error := _aspect_error(facts, what)) is not None:
                return Failed(error)
            sha256 = sha256_of(file)
            content_type = content_type_of(split_suffix(reference.file)[1].lower())
            choice = choose(ways, content_type, partial(_judge_image, facts, here.st_size))
            match choice.verdict:
                case Scale() as scale:
                    made = asdict(scale)
                    kept = self._kept(known, sha256, made)
                    return kept or self._scaled(number, file, choice.way, (sha256, made, scale.bytes_max))
                case _:
                    stamp = (here.st_size, here.st_mtime_ns)
                    return SentFile(reference.file, *stamp, sha256, content_type, choice.way)

    def _scaled(
        self, number: int, file: FileIO, way: str, origin: tuple[str, dict[str, Any], int | None]
    ) -> SentFile | Trouble:
        content_type = "image/jpeg"

        def make(target: FileIO) -> tuple[str, ...] | MediaFault:
            nonlocal content_type
            side, room = IMAGE_SIDE_GOOD, origin[2] or 0
            done = self.decoder.scale_image(
                file.fileno(), target.fileno(), width_max=side, height_max=side, bytes_max=room
            )
            if isinstance(done, MediaFault):
                return done
            content_type = f"image/{done.format}"
            return (f"reference image {number + 1} scaled to {done.width}x{done.height}",)

        made = self._make(f".sent-{number}.image", content_type, way, origin, make)
        return replace(made, content_type=content_type) if isinstance(made, SentFile) else made

    def _make(
        self,
        rest: str,
        content_type: str,
        way: str,
        origin: tuple[str, dict[str, Any], int | None],
        make: Callable[[FileIO], tuple[str, ...] | MediaFault],
    ) -> SentFile | Trouble:
        """Fill a new file; it gets its name once it is whole, durable and within its bytes."""
        of, plan, room = origin

        def fitting(file: FileIO) -> tuple[str, ...] | MediaFault:
            changes = make(file)
            size = os.fstat(file.fileno()).st_size
            if room is None or size <= room or isinstance(changes, MediaFault):
                return changes
            message = f"it became {size} bytes, and {room} is the most"
            return MediaFault("MEDIA.CANNOT_FIT", message, "Drop a shorter clip.")

        name = made_name(self.job, self.attempt, rest)
        made = make_file(self.folders.inbox, join(folder_of(self.clip.id), name), fitting)
        if isinstance(made, MediaFault):
            return media_trouble(made)
        changes, sha256, here = made
        stamp = (here.st_size, here.st_mtime_ns)
        return SentFile(name, *stamp, sha256, content_type, way, 0.0, plan, of, changes)

    def _kept(self, known: SentFile | None, sha256: str, made: dict[str, Any]) -> SentFile | None:
        """Return what was made before by the same plan from the same file, if it is unchanged."""
        if known is None or known.of != sha256 or _plain(known.made) != _plain(made):
            return None
        return known if is_unchanged(self.folders, self.clip, known) else None


def parcel_of(folders: Folders, clip: Clip, job: Job, number: int | None, file: SentFile) -> Parcel:
    """Return a file of a job as the transport takes it; `number` counts references, None is the clip."""
    suffix = next((s for s, t in CONTENT_TYPES.items() if t == file.content_type), ".mp4")
    name = f"{job.id}-{'clip' if number is None else f'ref{number}'}"
    opened = partial(open_same, folders, clip, file)
    return Parcel(clip.id, name, opened, file.size, file.sha256, file.content_type, suffix)


class ClipChanged(OSError):
    """What would be sent is not what was hashed."""


def open_same(folders: Folders, clip: Clip, file: SentFile) -> FileIO:
    """Open a file if it still is the one that was hashed; raises ClipChanged, OSError."""
    opened = folders.inbox.open(join(folder_of(clip.id), file.file))
    here = os.fstat(opened.fileno())
    if (here.st_size, here.st_mtime_ns) != (file.size, file.mtime_ns):
        opened.close()
        raise ClipChanged(f"{file.file} of {clip.path} changed after it was read")
    return opened


def is_unchanged(folders: Folders, clip: Clip, file: SentFile) -> bool:
    """Whether a file still is the one that was hashed. Raises OSError."""
    try:
        open_same(folders, clip, file).close()
    except (ClipChanged, FileNotFoundError):
        return False
    return True


def _judge_image(facts: Picture, size: int, room: int) -> AsIs | Scale:
    is_small = size <= room and max(facts.width, facts.height) <= IMAGE_SIDE_MAX
    return AsIs() if is_small else Scale(room)


def _aspect_error(facts: Picture, what: str) -> Error | None:
    aspect = facts.width / max(facts.height, 1)
    if IMAGE_ASPECTS[0] <= aspect <= IMAGE_ASPECTS[1]:
        return None
    message = f"{what}it is {facts.width}x{facts.height}; width divided by height has to be 0.5 to 2"
    return Error("REFERENCE.ASPECT", message, "Crop the image.")


def _plain(made: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in made.items()}
