"""Unpacks a result that is an archive of numbered pictures into a folder, which is delivered as one.

Nothing that was paid for may be lost by it: an archive that holds anything else stays as it came.
"""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Final

from clipspool.jobs.events import Fetched, PartlyFetched
from clipspool.jobs.model import Clip, Held, Job, Result
from clipspool.jobs.outputs import FOLDER, ZIP
from clipspool.jobs.sequence import PICTURES_MAX, pictures_of, sequence_of
from clipspool.jobs.sequence import Sequence as Pictures
from clipspool.jobs.text import text
from clipspool.jobs.working import ReportWork, Working
from clipspool.media.decoder import Decoder
from clipspool.media.facts import MediaFault
from clipspool.media.stills import Unfit, survey
from clipspool.media.timeline import Bars
from clipspool.spool.root import Root
from clipspool.spool.sources import digest, pictures_in, stamp
from clipspool.spool.watchfolder import Folders
from clipspool.spool.workfolder import folder_of, made_name
from clipspool.stages.payload import bars_sent, length_sent, part_sent, read_sent
from clipspool.system.atomic import CHUNK, Rel, join, split_suffix, sync_and_close, sync_folder, write_all
from clipspool.system.failpoint import reach

_SPARE_BYTES: Final = 64 << 20
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED: Final = 1
_AT_ONCE: Final = 16
"""Pictures that are open at the same time, and cropped by one call."""
_NAME_BYTES_MAX: Final = 200
_DAMAGED = (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, NotImplementedError, ValueError)


def unpack(
    job: Job,
    clip: Clip,
    folders: Folders,
    fetched: Fetched,
    decoder: Decoder,
    *,
    attempt: str,
    stopping: Callable[[], bool],
    report: ReportWork,
) -> Fetched | PartlyFetched:
    """Unpack each fetched archive of pictures; after a crash it may be called again. Raises OSError."""
    results: list[Result] = []
    for result in fetched.results:
        if result.suffix != ZIP or result.finished or result.is_untouched:
            results.append(result)
            continue
        _, _, number = result.file.removesuffix(ZIP).rpartition("-")
        rel = join(folder_of(clip.id), made_name(job, attempt, f"-{number}.pictures"))
        try:
            made = _Unpacking(job, clip, folders, decoder, result, rel, stopping, report).run()
        except _NoRoom as trouble:
            if job.cancel_by:  # it is to end now, not once there is room
                results.append(replace(result, finished=(f"the archive is left as it came: {trouble}",)))
                continue
            return PartlyFetched(fetched.results, str(trouble), fetched.missing, held=Held.DISK)
        except _Stopped:
            return PartlyFetched(fetched.results, "the daemon stops", fetched.missing, is_fault=False)
        results.append(made)
        if job.request.keep_untouched and made.is_folder:
            results.append(replace(result, is_untouched=True))
    return replace(fetched, results=tuple(results))


Member = tuple[str, zipfile.ZipInfo]


class _NoRoom(Exception):
    pass


class _Stopped(Exception):
    pass


class _StaysAsItCame(Exception):
    """Why an archive is not unpacked, in words."""


class _StaysWhole(Exception):
    """Why the black bars are not cut off, in words."""


class _Unpacking:
    def __init__(
        self,
        job: Job,
        clip: Clip,
        folders: Folders,
        decoder: Decoder,
        result: Result,
        rel: Rel,
        stopping: Callable[[], bool],
        report: ReportWork,
    ) -> None:
        self.clip, self.decoder, self.result, self.rel = clip, decoder, result, rel
        self.root: Root = folders.inbox
        self.sent = read_sent(folders.inbox, clip, job)
        self.stopping, self.report = stopping, report
        self.held = 0
        self.bars = bars_sent(self.sent)
        self.kept = (0, 0)
        self.left_bars = ""

    def run(self) -> Result:
        """Return the folder that was made of an archive, or the archive with the reason why it stays one."""
        self.root.discard(self.rel)
        try:
            try:
                names, kind = self._unpacked()
            except _StaysWhole as why:
                self.root.discard(self.rel)
                self.bars, self.left_bars = None, str(why)
                names, kind = self._unpacked()
        except (_StaysAsItCame, *_DAMAGED) as why:
            self.root.discard(self.rel)
            said = str(why) if isinstance(why, _StaysAsItCame) else "it cannot be unpacked"
            return replace(self.result, finished=(f"the archive is left as it came: {text(said)}",))
        except BaseException:
            self.root.discard(self.rel)
            raise
        reach("unpacked")
        return self._folder(names, kind)

    def _unpacked(self) -> tuple[Sequence[str], str]:
        """Write the pictures into their folder, each whole and of one size; return their names and kind."""
        with (
            self.root.open(join(folder_of(self.clip.id), self.result.file)) as file,
            zipfile.ZipFile(file) as archive,
        ):
            members = self._own(_pictures_in(archive))
            names = self._names([name for name, _ in members])
            sequence = _sequence(names)
            if self.bars and sequence.kind != "png":
                raise _StaysWhole(f"{sequence.kind.upper()} is not cropped, only PNG")
            self._write(archive, [entry for _, entry in members], names)
        found = survey(sequence, pictures_in(self.root, self.rel))
        if isinstance(found, Unfit):
            raise _StaysAsItCame(found.reason)
        return names, sequence.kind

    def _own(self, members: Sequence[Member]) -> Sequence[Member]:
        """Leave out what shows the last picture held, where each picture that was sent came back."""
        length = length_sent(self.clip, self.sent)
        _, seconds = part_sent(self.sent)
        if length is None or not length.fps or seconds is None or len(members) != length.frames:
            return members
        self.held = max(0, len(members) - max(1, round(seconds * Fraction(length.fps))))
        return members[: len(members) - self.held]

    def _folder(self, names: Sequence[str], kind: str) -> Result:
        length = length_sent(self.clip, self.sent)
        said = [
            f"unpacked into {len(names):,} numbered pictures ({kind.upper()}), `{names[0]}` to `{names[-1]}`"
        ]
        if self.held:
            said.append(f"{self.held:,} pictures left out that show the last one held")
        if self.left_bars:
            said.append(f"black bars that were added before sending are left in it: {text(self.left_bars)}")
        elif self.bars:
            said.append("black bars cut off again ({}x{} pixels are left)".format(*self.kept))
        noticed = self.result.noticed
        if length and length.frames and length.frames != len(names) + self.held:
            noticed = (*noticed, f"{len(names):,} pictures came, and {length.frames:,} were sent")
        fps = length.fps if length else ""
        return replace(
            self.result,
            file=self.rel.rpartition("/")[2],
            suffix=FOLDER,
            size=stamp(self.root, self.rel)[0],
            sha256=digest(self.root, self.rel, self.stopping),
            finished=tuple(said),
            frames=len(names),
            seconds=float(len(names) / Fraction(fps)) if fps else None,
            fps=fps,
            noticed=noticed,
        )

    def _names(self, came: Sequence[str]) -> list[str]:
        """Return the pictures' names: those of the clip's own pictures where it is a folder of as many."""
        if not self.clip.is_pictures:
            return list(came)
        own = pictures_of(self.root.names(join(folder_of(self.clip.id), self.clip.source)))
        if len(own) != len(came):
            return list(came)
        return [split_suffix(name)[0] + split_suffix(new)[1] for name, new in zip(own, came, strict=True)]

    def _write(
        self, archive: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo], names: Sequence[str]
    ) -> None:
        whole = sum(entry.file_size for entry in entries)
        if whole > self.root.space() - _SPARE_BYTES:
            raise _NoRoom(f"{self.root.path} has no room for the {whole:,} bytes of a result's pictures")
        pictures = list(zip(entries, names, strict=True))
        with self.root.folder(self.rel, make=True) as folder:
            for at in range(0, len(pictures), _AT_ONCE):
                with ExitStack() as stack:
                    files = []
                    for entry, name in pictures[at : at + _AT_ONCE]:
                        files.append(stack.enter_context(self.root.create_in(name, folder, to_read=True)))
                        with archive.open(entry) as member:
                            while chunk := member.read(CHUNK):
                                write_all(files[-1], chunk)
                    if self.bars:
                        self._crop([file.fileno() for file in files], self.bars)
                    for file in files:
                        sync_and_close(file)
                if self.stopping():
                    raise _Stopped
                self.report(Working("unpacking the result", at / len(pictures)))
            sync_folder(folder)

    def _crop(self, files: Sequence[int], bars: Bars) -> None:
        """Cut the black bars off some pictures, in their place; raises _StaysWhole, _NoRoom and _Stopped."""
        first = self.decoder.still(files[0], "png")
        if isinstance(first, MediaFault):
            raise _fault(first)
        whole = first.width, first.height
        self.kept = self.kept if any(self.kept) else bars.kept_of(first)
        if not any(self.kept):
            raise _StaysWhole("the result has another shape than what was sent")
        done = self.decoder.crop_stills(files, whole, self.kept)
        if isinstance(done, MediaFault):
            raise _fault(done)


def _fault(fault: MediaFault) -> Exception:
    match fault.code:
        case "MEDIA.STOPPED":
            return _Stopped()
        case "MEDIA.NO_SPACE":
            return _NoRoom(fault.message)
        case _:
            return _StaysWhole(fault.message)


def _pictures_in(archive: zipfile.ZipFile) -> list[tuple[str, zipfile.ZipInfo]]:
    """Return the pictures of an archive, in order, by their bare names; raises _StaysAsItCame.

    What a name in it says of folders is never followed: it may lead anywhere.
    """
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if entry.is_dir() or path.name.startswith(".") or "__MACOSX" in path.parts:
            continue
        is_link = stat.S_ISLNK(entry.external_attr >> 16)
        if is_link or entry.flag_bits & _ENCRYPTED or entry.compress_type not in _METHODS:
            raise _StaysAsItCame(f"`{path.name}` in it is encrypted, a link, or packed in a rare way")
        if not pictures_of([path.name]) or len(os.fsencode(path.name)) > _NAME_BYTES_MAX:
            raise _StaysAsItCame(f"`{path.name}` in it is no numbered picture")
        if path.name in found:
            raise _StaysAsItCame(f"two pictures in it are named `{path.name}`")
        found[path.name] = entry
    if not 0 < len(found) <= PICTURES_MAX:
        raise _StaysAsItCame(f"it holds {len(found):,} pictures")
    return [(name, found[name]) for name in _sequence(found).names]


def _sequence(names: Collection[str]) -> Pictures:
    found = sequence_of(names)
    if isinstance(found, str):
        raise _StaysAsItCame(found)
    return found
