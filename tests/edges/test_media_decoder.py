"""The decoding process with real clips: what is in them, what is wrong with them, that it survives."""

import io
import math
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zipfile
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest

from clipspool.media import confine
from clipspool.media.boxes import Complete, completeness
from clipspool.media.decoder import SECONDS_MAX, Decoder
from clipspool.media.facts import MediaError, MediaFault, Probe
from clipspool.media.process import wait_for
from clipspool.media.reading import foreign_errors
from clipspool.media.timing import rate_of
from media_clips import ffprobe, run
from patience import patient


@pytest.fixture
def given(tmp_path):
    """Write bytes as a clip and give its open file."""
    opened = []

    def write(data):
        path = tmp_path / f"clip-{len(opened)}.mp4"
        path.write_bytes(data)
        opened.append(path.open("rb"))
        return opened[-1].fileno()

    yield write
    for file in opened:
        file.close()


def verified(decoder, path):
    with path.open("rb") as file:
        return decoder.verify(file.fileno())


def process_of(decoder):
    return decoder._children[0]._process


@pytest.mark.parametrize(
    ("name", "codec", "seconds", "depth"),
    [
        ("plain.mp4", "h264", 1.0, 8),
        ("index_in_front.mp4", "h264", 1.0, 8),
        ("fragments.mp4", "h264", 1.0, 8),
        ("prores.mov", "prores", 1.5015, 10),
        ("hevc10.mkv", "hevc", 1.0, 10),
        ("vp9.webm", "vp9", 1.0, 8),
        ("live.webm", "vp8", 1.0, 8),
        ("av1.mp4", "av1", 1.0, 8),
    ],
)
def test_every_kind_of_clip_is_verified_and_seen_as_ffprobe_sees_it(
    decoder, clips, name, codec, seconds, depth
):
    path = clips(name)
    probe = verified(decoder, path)
    assert isinstance(probe, Probe), probe
    seen = ffprobe(path, "stream=width,height,avg_frame_rate,pix_fmt")
    assert (probe.video_codec, probe.bit_depth, probe.container) == (codec, depth, path.suffix[1:])
    assert (str(probe.width), str(probe.height)) == (seen["width"], seen["height"])
    assert (probe.fps, probe.pixel_format) == (seen["avg_frame_rate"], seen["pix_fmt"])
    assert probe.seconds == pytest.approx(seconds, abs=0.02)
    assert probe.size_bytes == path.stat().st_size
    assert Probe.from_dict(probe.to_dict()) == probe


def test_the_length_is_that_of_the_pictures_where_the_file_names_only_the_end_of_all(decoder, clips):
    assert verified(decoder, clips("later.mkv")).seconds == pytest.approx(1.0, abs=0.002)
    assert verified(decoder, clips("live.webm")).seconds == pytest.approx(1.0, abs=0.002)


def test_the_length_reaches_to_the_end_of_the_last_picture_where_the_rate_varies(decoder, clips):
    path = clips("varying.mp4")
    times = run(["ffprobe", "-v", "error", "-show_entries", "packet=pts_time", "-of", "csv=p=0", str(path)])
    last = max(float(line.strip(",")) for line in times.split())
    assert verified(decoder, path).seconds == pytest.approx(last + 1 / 30, abs=0.001)


def test_sound_timecode_rotation_and_uneven_pictures_are_seen(decoder, clips):
    prores = verified(decoder, clips("prores.mov"))
    assert (prores.audio.codec, prores.audio.rate, prores.timecode) == ("pcm_s24le", 48000, "01:02:03:04")
    rotated = verified(decoder, clips("rotated.mp4"))
    assert (rotated.rotation, rotated.width, rotated.height) == (90, 180, 320)
    assert rotated.noticed is None
    assert verified(decoder, clips("varying.mp4")).variable_frame_rate is True
    assert verified(decoder, clips("plain.mp4")).variable_frame_rate is False
    assert verified(decoder, clips("anamorphic.mp4")).width == 341
    assert verified(decoder, clips("interlaced.mp4")).interlaced
    assert verified(decoder, clips("pq.mp4")).is_hdr
    assert verified(decoder, clips("hlg.mov")).transfer == "arib-std-b67"


def test_a_turn_that_is_no_quarter_is_noticed(decoder, clips, tmp_path):
    data = bytearray(clips("plain.mp4").read_bytes())
    across, down = (round(part(math.radians(37)) * 65536) for part in (math.cos, math.sin))
    struct.pack_into(">5i", data, data.index(b"tkhd") + 44, across, down, 0, -down, across)
    path = tmp_path / "tilted.mp4"
    path.write_bytes(data)
    seen = verified(decoder, path)
    assert (seen.rotation, seen.noticed) == (
        0,
        "it is marked as turned by 37 degrees, and only quarter turns are applied",
    )


@pytest.mark.parametrize(
    "name", ["plain.mp4", "index_in_front.mp4", "fragments.mp4", "prores.mov", "vp9.webm"]
)
def test_a_clip_cut_at_any_byte_is_not_whole(clips, name):
    data = clips(name).read_bytes()
    cuts = {*range(min(len(data), 3000)), *range(0, len(data), 997), *range(len(data) - 200, len(data))}
    whole = {cut for cut in cuts if isinstance(completeness(io.BytesIO(data[:cut]), cut), Complete)}
    fragment_ends = {at for at in whole if data[at + 4 : at + 8] in {b"moof", b"mfra"}}
    assert whole == fragment_ends


def test_a_cut_or_overwritten_clip_is_a_fault_in_plain_words(decoder, clips, given):
    data = clips("index_in_front.mp4").read_bytes()
    cut = decoder.verify(given(data[:-500]))
    assert cut.code == "MEDIA.INCOMPLETE"
    assert "copied" not in cut.message
    begin = data.index(b"mdat") + 4
    spoiled = decoder.verify(given(data[:begin] + b"\xff" * (len(data) - begin)))
    assert spoiled.code in {"MEDIA.UNREADABLE", "MEDIA.INCOMPLETE"}
    assert spoiled.message
    assert spoiled.what_to_do
    no_index = data.replace(b"stco", b"free")
    assert isinstance(decoder.verify(given(no_index)), MediaFault)


def test_a_clip_whose_last_pictures_are_nothing_but_zeros_is_not_whole(decoder, clips, given):
    data = clips("index_in_front.mp4").read_bytes()
    blank = data[: -len(data) // 4] + bytes(len(data) // 4)
    assert isinstance(completeness(io.BytesIO(blank), len(blank)), Complete)
    for seen in (decoder.verify(given(blank)), decoder.probe(given(blank))):
        assert (seen.code, "nothing but zeros" in seen.message) == ("MEDIA.INCOMPLETE", True)


@pytest.mark.parametrize(("announced", "is_whole"), [(b"00:00:03", False), (b"00:00:01", True)])
def test_pictures_of_a_webm_that_end_long_before_they_say_are_damaged(
    decoder, clips, given, announced, is_whole
):
    """A download that went on at the wrong byte has all of its parts, and what it has cannot be read on."""
    data = clips("vp9.webm").read_bytes()
    assert b"00:00:01" in data
    seen = decoder.probe(given(data.replace(b"00:00:01", announced)))
    assert isinstance(seen, MediaFault) != is_whole
    if not is_whole:
        assert seen.code == "MEDIA.INCOMPLETE"
        assert "of 3.01 s of pictures that it announces, 1.01 s can be read" in seen.message


@pytest.mark.parametrize("name", ["black_r210.mov", "black_r10k.mov", "black_avrp.mov", "black_raw.mov"])
def test_a_clip_that_nothing_compresses_may_end_in_black(decoder, clips, name):
    assert not clips(name).read_bytes()[-16:].strip(b"\0")
    with clips(name).open("rb") as file:
        assert isinstance(decoder.probe(file.fileno()), Probe)
        assert isinstance(decoder.verify(file.fileno()), Probe)


@pytest.mark.parametrize("ending", ["ts", "mpg"])
def test_recordings_that_were_joined_by_their_bytes_are_refused(decoder, tmp_path, ending):
    path = tmp_path / f"joined.{ending}"
    source = "testsrc2=size=64x48:rate=25:duration=1"
    run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "mpeg2video", str(path)])
    assert verified(decoder, path).seconds == pytest.approx(1.0, abs=0.05)
    path.write_bytes(path.read_bytes() * 2)
    joined = verified(decoder, path)
    assert isinstance(joined, MediaFault)
    assert joined.code == "MEDIA.UNSUPPORTED"
    assert "its clock starts over" in joined.message


def test_a_clip_without_pictures_is_a_fault(decoder, clips):
    assert verified(decoder, clips("sound_only.mp4")).code == "MEDIA.NO_VIDEO"


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        yield server


def assert_nobody_came(server):
    with pytest.raises(TimeoutError):
        server.accept()


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:{port}/x.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile 'http://127.0.0.1:{port}/x.mp4'\n",
        '<?xml version="1.0"?><MPD><BaseURL>http://127.0.0.1:{port}/</BaseURL></MPD>',
    ],
)
def test_a_manifest_named_like_a_clip_fetches_nothing(decoder, given, listener, text):
    found = decoder.verify(given(text.format(port=listener.getsockname()[1]).encode()))
    assert found.code == "MEDIA.UNREADABLE"
    assert_nobody_came(listener)


@pytest.mark.parametrize("kind_of_reference", [b"url ", b"alis"])
def test_a_clip_whose_pictures_lie_elsewhere_is_not_followed_there(
    decoder, clips, given, listener, kind_of_reference
):
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/secret\0".encode()
    own = struct.pack(">I4sI", 12, b"url ", 1)
    other = struct.pack(">I4sI", 12 + len(address), kind_of_reference, 0) + address
    data = clips("plain.mp4").read_bytes()
    assert data.rfind(b"mdat") < data.index(own)  # nothing behind what grows is pointed at
    at = data.index(own)
    grown = bytearray(data[:at] + other + data[at + len(own) :])
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        size_at = data.index(kind) - 4
        struct.pack_into(">I", grown, size_at, struct.unpack_from(">I", data, size_at)[0] + len(address))
    assert "another file" in decoder.verify(given(bytes(grown))).message
    assert_nobody_came(listener)


def test_a_sparse_terabyte_takes_no_time(decoder, tmp_path):
    path = tmp_path / "sparse.mp4"
    with path.open("w+b") as file:
        file.write(b"\0\0\0\x18ftypisom\0\0\2\0isomiso2\0\0\0\1mdat" + (1 << 40).to_bytes(8, "big"))
        file.truncate((1 << 40) + 24)
        begun = time.monotonic()
        assert decoder.verify(file.fileno()).code == "MEDIA.INCOMPLETE"
        assert time.monotonic() - begun < patient(2)


@pytest.mark.parametrize("error", [OverflowError, ZeroDivisionError, IndexError])
def test_what_pyav_raises_for_absurd_numbers_in_a_file_is_the_files_fault(error):
    with pytest.raises(MediaError, match="copying the sound failed"), foreign_errors("copying the sound"):
        raise error


def test_a_clip_of_hundreds_of_streams_is_refused(decoder, clips, tmp_path):
    path = tmp_path / "many.mkv"
    maps = ["-map", "0:v"] * 200
    run(["ffmpeg", "-v", "error", "-i", str(clips("plain.mp4")), *maps, "-c", "copy", "-t", "0.1", str(path)])
    assert verified(decoder, path).code == "MEDIA.TOO_LARGE"


def test_pictures_beyond_the_memory_limit_are_a_fault_and_the_next_clip_is_read(clips):
    small = Decoder(memory_bytes_max=300 << 20)
    found = verified(small, clips("huge.mov"))
    assert isinstance(found, MediaFault)
    assert found.code in {"MEDIA.TOO_LARGE", "MEDIA.CRASHED", "MEDIA.UNREADABLE"}
    assert isinstance(verified(small, clips("plain.mp4")), Probe)
    small.close()


@pytest.mark.parametrize("name", ["plain.mp4", "vp9.webm", "prores.mov"])
def test_clips_with_damaged_bytes_never_end_the_calls(decoder, clips, given, name):
    data = clips(name).read_bytes()
    for seed in range(12):
        spoiled = bytearray(data)
        for at in range(seed * 7, len(data), max(1, len(data) // 40)):
            spoiled[at] ^= 0x5A + seed
        assert isinstance(decoder.verify(given(bytes(spoiled))), Probe | MediaFault)
    assert isinstance(verified(decoder, clips("plain.mp4")), Probe)


def test_an_archive_is_verified_by_its_checksums(decoder, given):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("frame-1.png", os.urandom(5000))
    data = memory.getvalue()
    assert decoder.verify(given(data)) == Probe(container="zip", size_bytes=len(data))
    spoiled = bytearray(data)
    spoiled[2000] ^= 0xFF
    assert decoder.verify(given(bytes(spoiled))).code == "MEDIA.UNREADABLE"
    assert decoder.verify(given(data[:-30])).code == "MEDIA.INCOMPLETE"


def test_a_crash_is_a_fault_of_that_call_only_and_the_process_is_begun_anew(clips):
    decoder = Decoder()
    ended = threading.Event()

    def kill_again_and_again():
        while not ended.is_set():
            if process := process_of(decoder):
                process.send_signal(signal.SIGSEGV)
            time.sleep(0.002)

    killer = threading.Thread(target=kill_again_and_again)
    killer.start()
    found = verified(decoder, clips("plain.mp4"))
    ended.set()
    killer.join()
    assert found.code == "MEDIA.CRASHED"
    assert isinstance(verified(decoder, clips("plain.mp4")), Probe)
    process_of(decoder).kill()  # while it is idle: no file is to blame, and none is blamed
    assert isinstance(verified(decoder, clips("plain.mp4")), Probe)
    decoder.close()


def test_a_call_that_takes_too_long_is_ended(clips, tmp_path, monkeypatch):
    decoder = Decoder()
    assert isinstance(verified(decoder, clips("plain.mp4")), Probe)
    with (tmp_path / "long.mp4").open("w+b") as file:
        monkeypatch.setitem(SECONDS_MAX, "sample", 0.3)
        begun = time.monotonic()
        found = decoder.sample(file.fileno(), seconds=60, width=1920, height=1080, fps=60)
        assert found.code == "MEDIA.TIMEOUT"
        assert time.monotonic() - begun < patient(2)
    assert isinstance(verified(decoder, clips("plain.mp4")), Probe)
    decoder.close()


def test_the_process_ends_when_idle_and_is_begun_again_when_needed(clips):
    decoder = Decoder(idle_seconds=0.1)
    assert isinstance(verified(decoder, clips("plain.mp4")), Probe)
    assert process_of(decoder).wait(5) == 0
    assert isinstance(verified(decoder, clips("plain.mp4")), Probe)
    decoder.close()


def test_a_process_can_be_begun_before_it_is_needed_and_knows_no_secret(clips, monkeypatch):
    monkeypatch.setenv("CLIPSPOOL_PROVIDER__API_KEY", "key_secret")
    decoder = Decoder()
    decoder.warm()
    process = process_of(decoder)
    assert isinstance(verified(decoder, clips("plain.mp4")), Probe)
    assert process_of(decoder) is process
    assert b"key_secret" not in Path(f"/proc/{process.pid}/environ").read_bytes()
    decoder.close()


@pytest.mark.slow
def test_many_calls_leave_no_memory_behind(tmp_path):
    decoder = Decoder()
    path = tmp_path / "clip.mp4"
    with path.open("w+b") as file, (tmp_path / "poster.jpg").open("w+b") as poster:
        decoder.sample(file.fileno())

        def private_bytes():
            lines = Path(f"/proc/{process_of(decoder).pid}/smaps_rollup").read_text().splitlines()
            return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024

        def look():
            decoder.probe(file.fileno())
            decoder.poster(file.fileno(), file.fileno(), poster.fileno())

        for _ in range(10):
            look()
        before = private_bytes()
        for _ in range(80):
            look()
        assert private_bytes() - before < 10_000_000
    decoder.close()


def test_calls_from_many_threads_are_all_answered(clips):
    decoder = Decoder(children=2)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(verified(decoder, clips("plain.mp4")))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(isinstance(each, Probe) for each in found)
    decoder.close()


def test_a_look_never_waits_for_the_end_of_what_takes_long(clips, tmp_path):
    decoder = Decoder(children=2)
    with (tmp_path / "long.mp4").open("w+b") as file:
        arguments = {"seconds": 60, "width": 1920, "height": 1080, "fps": 60}
        long = [
            threading.Thread(target=decoder.sample, args=[file.fileno()], kwargs=arguments) for _ in range(3)
        ]
        for thread in long:
            thread.start()
        assert isinstance(verified(decoder, clips("plain.mp4")), Probe)
        assert all(thread.is_alive() for thread in long)
        decoder.close()
        for thread in long:
            thread.join()


def test_looks_one_after_the_other_begin_one_process_alone(clips):
    decoder = Decoder(children=3)
    for _ in range(4):
        assert isinstance(verified(decoder, clips("plain.mp4")), Probe)
    assert [child.is_running for child in decoder._children].count(True) == 1
    decoder.close()


def test_closing_ends_a_call_under_way_and_the_process(clips, tmp_path):
    decoder = Decoder()
    with (tmp_path / "long.mp4").open("w+b") as file:
        threading.Timer(0.5, decoder.close).start()
        found = decoder.sample(file.fileno(), seconds=60, width=1920, height=1080, fps=60)
    assert found.code == "MEDIA.STOPPED"
    assert verified(decoder, clips("plain.mp4")).code == "MEDIA.STOPPED"


DAEMON_THAT_IS_KILLED = """
import os, sys, tempfile, threading, time
from clipspool.media.decoder import Decoder
decoder = Decoder()
file = tempfile.TemporaryFile()
arguments = {"seconds": 60, "width": 1920, "height": 1080, "fps": 60}
threading.Thread(target=decoder.sample, args=[file.fileno()], kwargs=arguments).start()
while not (process := decoder._children[0]._process):
    time.sleep(0.01)
print(process.pid, flush=True)
time.sleep(0.5)
os.kill(os.getpid(), 9)
"""


def test_a_process_that_cannot_be_killed_is_left_behind(monkeypatch):
    monkeypatch.setattr("clipspool.media.process._KILLED_SECONDS", 0.05)
    with subprocess.Popen(["sleep", "60"]) as process:
        monkeypatch.setattr(process, "kill", lambda: None)  # as one that waits for a file server which hangs
        assert wait_for(process, 0.05) == -signal.SIGKILL
        process.terminate()


def test_the_process_does_not_outlive_a_killed_daemon():
    killed = subprocess.run(
        [sys.executable, "-c", DAEMON_THAT_IS_KILLED], capture_output=True, text=True, check=False
    )
    status = Path(f"/proc/{int(killed.stdout)}/status")
    until = time.monotonic() + 5
    while status.exists() and "Z (zombie)" not in status.read_text():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_the_daemon_itself_never_loads_the_decoder():
    modules = "clipspool.media.decoder, clipspool.media.plan, clipspool.media.timeline"
    assert (
        run([sys.executable, "-c", f"import sys, {modules}; print('av' in sys.modules)"]).strip() == "False"
    )


CONFINED = """
import os, socket
from clipspool.media import confine
confine.forbid_files_and_network()
for attempt in (lambda: open("/etc/passwd"), socket.socket, lambda: os.execv("/bin/true", ["true"])):
    try:
        attempt()
    except PermissionError:
        print("refused")
"""


def test_the_process_can_open_no_file_no_socket_and_no_program():
    assert run([sys.executable, "-c", CONFINED]).split() == ["refused"] * 3


def test_the_process_loads_no_library_for_hashes_or_the_wire():
    tell = "import sys, clipspool.media.child; print({'hashlib', 'ssl', 'tempfile'} & set(sys.modules))"
    assert run([sys.executable, "-c", tell]).strip() == "set()"  # OpenSSL alone is 4 MB of each process


MEDDLING = """
import os, resource, signal, sys, threading
from clipspool.media import confine
confine.forbid_files_and_network()
path, daemon = sys.argv[1], os.getppid()
for attempt in (
    lambda: os.chmod(path, 0o666),
    lambda: os.chown(path, -1, -1),
    lambda: os.utime(path, (1, 1)),
    lambda: os.setxattr(path, "user.x", b"x"),
    lambda: os.removexattr(path, "user.x"),
    lambda: os.fork(),
    lambda: os.kill(daemon, 0),
    lambda: signal.pidfd_send_signal(os.pidfd_open(daemon), 0),
    lambda: os.setpriority(os.PRIO_PROCESS, daemon, 19),
    lambda: resource.prlimit(daemon, resource.RLIMIT_NOFILE),
):
    try:
        attempt()
    except PermissionError:
        print("refused")
resource.setrlimit(resource.RLIMIT_CPU, (100, 100))
thread = threading.Thread(target=print, args=("a thread",))
thread.start()
thread.join()
sys.stdout.flush()
os.abort()
"""


def test_the_process_can_change_no_files_rights_and_no_other_process(tmp_path):
    path = tmp_path / "api_key"
    path.touch(0o600)
    ended = subprocess.run(
        [sys.executable, "-c", MEDDLING, str(path)], capture_output=True, text=True, check=False
    )
    assert ended.stdout.splitlines() == ["refused"] * 10 + ["a thread"]
    assert ended.returncode == -signal.SIGABRT
    assert path.stat().st_mode & 0o777 == 0o600


SCRATCH = """
import os, sys
from clipspool.media import confine
scratch, other = sys.argv[1:]
print(confine.forbid_files_and_network(scratch))
os.rename(open(f"{scratch}/a", "wb").name, f"{scratch}/b")
for attempt in (
    lambda: open(other),
    lambda: open(f"{other}.new", "wb"),
    lambda: os.rename(f"{scratch}/b", f"{other}.new"),
    lambda: open("/proc/self/mem", "rb"),
):
    try:
        attempt()
    except OSError:
        print("refused")
"""


def test_the_process_opens_files_in_its_own_folder_only(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "clip").touch()
    printed = run([sys.executable, "-c", SCRATCH, str(tmp_path / "scratch"), str(tmp_path / "clip")]).split()
    if printed[:1] == ["False"]:
        pytest.skip("this kernel has no Landlock")
    assert printed == ["True", *["refused"] * 4]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["b", "clip", "scratch"]


def numbers_in(header):
    """Read the kernel's own list: `#define __NR_read 0`, of the 64-bit names where a call has two."""
    if not header.exists():
        pytest.skip(f"no {header} here")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())
    return {name.removeprefix("3264_"): int(number) for name, number in found}


@pytest.mark.parametrize(
    ("place", "header"), [(0, "x86_64-linux-gnu/asm/unistd_64.h"), (1, "asm-generic/unistd.h")]
)
def test_each_call_that_the_filter_allows_has_the_number_of_the_kernels_headers(place, header):
    known = numbers_in(Path("/usr/include") / header)
    every = confine.NUMBERS | confine.SCRATCH_NUMBERS
    ours = {name: numbers[place] for name, numbers in every.items() if numbers[place] is not None}
    aliases = {"newfstatat": "fstatat"}
    assert ours == {name: known.get(name, known.get(aliases.get(name))) for name in ours}


@pytest.mark.parametrize("machine", confine.ARCHITECTURES)
def test_a_filter_can_be_made_for_every_machine_that_has_numbers(machine):
    program = confine._filter(machine, 1)
    assert len(program) < 4096
    jumps = [(at, skips) for at, (step, *skips, _) in enumerate(program) if step != confine.BPF_RETURN]
    assert all(at + 1 + skip < len(program) for at, skips in jumps for skip in skips)


def test_a_sample_is_a_real_clip(decoder, tmp_path):
    path = tmp_path / "sample.mp4"
    with path.open("w+b") as file:
        made = decoder.sample(file.fileno(), seconds=1, width=320, height=180, fps=24)
    assert made.frames == 24
    assert ffprobe(path, "stream=nb_frames,codec_name") == {"codec_name": "h264", "nb_frames": "24"}
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("guessed", [Fraction(90_000), Fraction(0), Fraction(-25), Fraction(1_000_001, 1000)])
def test_a_rate_that_no_film_has_is_not_believed(guessed):
    source = SimpleNamespace(format=SimpleNamespace(name="avi"))
    stream = SimpleNamespace(
        average_rate=Fraction(25), base_rate=Fraction(25), guessed_rate=guessed, index_entries=(), frames=0
    )
    assert rate_of(source, stream) == (Fraction(25), False)
    stream.average_rate = guessed
    assert rate_of(source, stream)[0] is None
