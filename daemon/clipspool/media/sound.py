"""Copies the sound of a clip to another, every track of it: unchanged, as PCM, or as AAC."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, assert_never, cast

import av
import av.error
import av.filter

from clipspool.media.facts import EXPORT_AGAIN, MediaError
from clipspool.media.plan import AUDIO_BITS_PER_SECOND
from clipspool.media.reading import audio_streams, foreign_errors, video_stream
from clipspool.media.timing import READ_WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    import av.audio
    import av.container
    from av.audio.codeccontext import AudioCodecContext

    from clipspool.media.timeline import Sound

    Packet = av.Packet[Any]

SAMPLES_PER_SECOND = 48_000
AAC_FRAME_SAMPLES = 1024
FINISH_BITS_PER_CHANNEL = 96_000
APART_SECONDS_MAX = 10
BACK_SECONDS = 2
COARSE_SECONDS = Fraction(1, 500)
"""A unit of time as long as this would put a part's sound off its pictures."""
GAP_SECONDS_MIN = 0.02
"""A gap this long in coded sound is filled, so that what follows stays with its pictures; times of
milliseconds, and of streams, are off by less."""
SMALL_SAMPLES = frozenset({"u8", "u8p", "s16", "s16p"})
KEPT_NAMES = ("language", "title", "handler_name")


@dataclass(frozen=True, slots=True)
class SoundPart:
    """The wanted part: seconds from the clip's first picture on; None: to the end of the sound."""

    start_seconds: float
    seconds: float | None


def for_model(
    source: av.container.InputContainer, target: av.container.OutputContainer, part: SoundPart
) -> Iterator[Packet]:
    """Code the first track as AAC, mono or stereo at 48 kHz, the wanted part exact to the sample."""
    stream = next(iter(audio_streams(source)), None)
    if stream is None:
        raise MediaError("MEDIA.UNREADABLE", "its sound cannot be read", EXPORT_AGAIN)
    layout = "mono" if stream.codec_context.channels == 1 else "stereo"
    coded = target.add_stream("aac", rate=SAMPLES_PER_SECOND, layout=layout, bit_rate=AUDIO_BITS_PER_SECOND)
    begin = picture_origin(source) + Fraction(part.start_seconds)
    return _packets(source, {stream.index: _Coded(stream, coded, begin, part, layout)}, begin, part)


def for_timeline(
    source: av.container.InputContainer,
    target: av.container.OutputContainer,
    sounds: Sequence[Sound],
    part: SoundPart,
) -> Iterator[Packet]:
    """Yield the packets of every track, timed from the part's start; the target's streams are added at once.

    `sounds` says how each track that can be decoded is copied, in the order of the file.
    """
    begin = picture_origin(source) + Fraction(part.start_seconds)
    tracks: dict[int, _Copied | _Coded] = {}
    made: av.audio.AudioStream
    for stream, sound in zip(audio_streams(source), sounds, strict=False):
        match sound:
            case "copy":
                made = target.add_stream_from_template(stream)
                tracks[stream.index] = _Copied(stream, made, begin, part)
            case "pcm" | "aac":
                context = stream.codec_context
                layout = _layout_of(context)
                if sound == "aac":
                    bits = FINISH_BITS_PER_CHANNEL * context.channels
                    made = target.add_stream("aac", rate=SAMPLES_PER_SECOND, layout=layout, bit_rate=bits)
                elif context.format.name in SMALL_SAMPLES:  # PyAV's types want the codec's name spelled out
                    made = target.add_stream("pcm_s16le", rate=context.sample_rate, layout=layout)
                else:
                    made = target.add_stream("pcm_s24le", rate=context.sample_rate, layout=layout)
                tracks[stream.index] = _Coded(stream, made, begin, part, layout)
            case never:
                assert_never(never)
        made.metadata.update({name: stream.metadata[name] for name in KEPT_NAMES if name in stream.metadata})
    return _packets(source, tracks, begin, part)


def _layout_of(context: AudioCodecContext) -> str:
    """Return the order of a track's channels; the usual one of their number where the file names none."""
    name = context.layout.name
    return av.AudioLayout(f"{context.channels}c").name if name.endswith(" channels") else name


def picture_origin(source: av.container.InputContainer) -> Fraction:
    """Return the time of a clip's first picture in seconds, from which its sound is timed."""
    stream = video_stream(source)
    if stream.start_time is not None and stream.time_base is not None:
        return stream.start_time * stream.time_base
    return Fraction(0)


def seconds_before_pictures(source: av.container.InputContainer) -> Fraction:
    """Return how long a clip's sound is heard before its first picture is shown."""
    begins = [
        stream.start_time * stream.time_base
        for stream in audio_streams(source)
        if stream.start_time is not None and stream.time_base is not None
    ]
    return max(Fraction(0), picture_origin(source) - min(begins)) if begins else Fraction(0)


def _packets(
    source: av.container.InputContainer, tracks: dict[int, _Copied | _Coded], begin: Fraction, part: SoundPart
) -> Iterator[Packet]:
    """Read all tracks at once, in the order of the file, until each has what it needs."""
    streams = [track.stream for track in tracks.values()]
    open_tracks = dict(tracks)
    late = None if part.seconds is None else begin + Fraction(part.seconds) + APART_SECONDS_MAX
    with foreign_errors("copying the sound"):
        # Sound may lie before its pictures in the file, and in a stream the place of a time is a guess.
        back = APART_SECONDS_MAX if source.format.name in READ_WHOLE else BACK_SECONDS
        if part.start_seconds > back:
            source.seek(int((begin - back) * av.time_base))
        for packet in source.demux(streams):
            track = open_tracks.get(packet.stream_index)
            if packet.pts is None or packet.dts is None or packet.size == 0:
                continue
            if late is not None and packet.pts * packet.time_base > late:
                break  # do not search a long file to its end for a track that has nothing there
            if track is not None and track.end is not None and packet.pts >= track.end:
                del open_tracks[packet.stream_index]
                if not open_tracks:
                    break
            elif track is not None:
                yield from track.add(packet)
        for track in tracks.values():
            yield from track.rest()


class _Copied:
    """A track whose packets are copied unchanged."""

    def __init__(
        self, stream: av.audio.AudioStream, made: av.audio.AudioStream, begin: Fraction, part: SoundPart
    ) -> None:
        self.stream = stream
        self._made = made
        base = stream.time_base or Fraction(1, SAMPLES_PER_SECOND)
        # An AVI counts compressed sound in packets: a part may begin in the middle of one.
        self._times = 1 if base < COARSE_SECONDS else ceil(base * SAMPLES_PER_SECOND)
        self._base = base / self._times
        self._begin = round(begin / self._base)
        self._step = ceil(1 / (self._base * SAMPLES_PER_SECOND))
        self._earliest = -(1 << 62)  # any time at first: sound may begin before the pictures
        self._is_cut = part.start_seconds > 0
        self._packet = round(Fraction(stream.codec_context.frame_size, stream.rate or 1) / self._base)
        self.end = None if part.seconds is None else round((begin + Fraction(part.seconds)) / base)

    def add(self, packet: Packet) -> Iterator[Packet]:
        if packet.pts is None or packet.dts is None:
            return
        if self._is_cut and (packet.pts + (packet.duration or 0)) * self._times <= self._begin:
            return
        # Fragments, and streams that were received twice, may name one time twice; no container takes that.
        packet.dts = max(packet.dts * self._times - self._begin, self._earliest)
        packet.pts = max(packet.pts * self._times - self._begin, packet.dts)
        self._earliest = packet.dts + self._step
        packet.duration = (packet.duration or 0) * self._times
        if self._packet and packet.pts + self._packet < 0 <= packet.pts + packet.duration:
            # A pause follows, up to the first picture: players skip as many samples, and lose later ones.
            packet.pts = packet.dts = -self._packet
            packet.duration = self._packet
        packet.time_base = self._base
        packet.stream = self._made
        yield packet

    def rest(self) -> Iterator[Packet]:
        return iter(())


class _Coded:
    """A track that is coded again, the wanted part exact to the sample."""

    def __init__(
        self,
        stream: av.audio.AudioStream,
        made: av.audio.AudioStream,
        begin: Fraction,
        part: SoundPart,
        layout: str,
    ) -> None:
        self.stream = stream
        self._made = made
        base = stream.time_base or Fraction(1, SAMPLES_PER_SECOND)
        self.end = None if part.seconds is None else round((begin + Fraction(part.seconds)) / base) + 1
        start = f"{float(begin):.6f}"
        length = "" if part.seconds is None else f":duration={part.seconds:.6f}"
        self._chain = (
            ("asettb", "1/sr"),  # an AVI counts packets, which is too coarse for the rest
            ("atrim", f"start={start}{length}"),
            ("asetpts", f"PTS-({start}/TB)"),
            ("aresample", f"{made.rate}:async=1:min_hard_comp={GAP_SECONDS_MIN}:first_pts=0"),
            ("aformat", f"sample_fmts={made.format.name}:channel_layouts={layout}"),
            ("abuffersink", ""),
        )
        self._graph: av.filter.Graph | None = None
        self._kind: tuple[str, str, int] | None = None
        self._alike: av.AudioResampler | None = None
        """Makes samples that have changed their kind like the first ones."""

    def _push(self, frame: av.AudioFrame) -> None:
        # By the samples themselves: what the file says of them may be wrong, as in an HDV transport stream.
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if self._graph is None or self._kind is None:
            self._graph, self._kind = av.filter.Graph(), kind
            form, layout, rate = kind
            entry = self._graph.add_abuffer(
                format=form, layout=layout, sample_rate=rate, time_base=frame.time_base
            )
            rest = [self._graph.add(name, arguments) for name, arguments in self._chain]
            self._graph.link_nodes(entry, *rest).configure()
            self._graph.set_audio_frame_size(AAC_FRAME_SAMPLES)
        if kind == self._kind:
            self._graph.push(frame)
            return
        self._alike = self._alike or av.AudioResampler(*self._kind)
        for made in self._alike.resample(frame):
            self._graph.push(made)

    def add(self, packet: Packet) -> Iterator[Packet]:
        with suppress(av.error.InvalidDataError):
            for frame in self.stream.decode(packet):
                self._push(frame)
        yield from self._coded()

    def rest(self) -> Iterator[Packet]:
        with suppress(av.error.EOFError, av.error.InvalidDataError):
            for frame in self.stream.decode(None):
                self._push(frame)
        if self._graph is None:
            return
        self._graph.push(None)
        yield from self._coded()
        yield from self._made.encode(None)

    def _coded(self) -> Iterator[Packet]:
        with suppress(av.error.BlockingIOError, av.error.EOFError):
            while self._graph is not None:
                yield from self._made.encode(cast("av.AudioFrame", self._graph.pull()))
