"""What a clip looks like once it has been made to fit a byte limit, measured with ffmpeg."""

import gc
import os
import re
import shutil
import subprocess
from contextlib import closing

import pytest

from clipspool.media.decoder import Decoder
from clipspool.media.facts import Conformed
from clipspool.media.plan import Bounds, Conform, plan
from media_clips import run

LOSSLESS = ["-c:v", "libx264", "-qp", "1", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
YUV444 = ["-pix_fmt", "yuv444p", "-c:v", "ffv1"]
TEST_PICTURE = "testsrc=1920x1080:r=30:d=10"
GRAPHICS = "mandelbrot=s=1280x720:r=25,trim=duration=6,drawgrid=w=40:h=40:t=1:c=white@0.5"
NOISE = "testsrc2=854x480:r=30:d=8,noise=alls=12:allf=t"


def made_of(folder, recipe):
    path = folder / "source.mkv"
    run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", recipe, *LOSSLESS, str(path)])
    return path


def fitted_to(decoder, path, bytes_max):
    target = path.with_name("fitted.mp4")
    with path.open("rb") as source, target.open("w+b") as destination:
        probe = decoder.probe(source.fileno())
        planned = plan(probe, Bounds(), bytes_max)
        assert isinstance(planned, Conform)
        found = decoder.conform(source.fileno(), destination.fileno(), planned)
    assert isinstance(found, Conformed), found
    assert target.stat().st_size <= bytes_max
    return probe, planned, found, target


def decibels(path, source, probe):
    graph = f"[0:v]scale={probe.width}:{probe.height}:flags=bicubic[a];[a][1:v]psnr"
    command = ["ffmpeg", "-nostdin", "-i", str(path), "-i", str(source), "-filter_complex", graph]
    ended = subprocess.run([*command, "-f", "null", "-"], check=True, capture_output=True, text=True)
    return float(re.search(r"y:([0-9.]+)", ended.stderr)[1])


def two_passes(source, size, probe, bytes_wanted):
    """Code a clip with ffmpeg in two passes and give what came of it."""
    target = source.with_name("two.mp4")
    rate = int((bytes_wanted - 10_000) * 8 / probe.seconds)
    for number in ("1", "2"):
        log = ["-pass", number, "-passlogfile", str(source.with_name("two"))]
        options = ["-vf", f"scale={size[0]}:{size[1]}:flags=bicubic", "-pix_fmt", "yuv420p", *log]
        command = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-i", str(source), *options]
        run([*command, "-c:v", "libx264", "-preset", "fast", "-b:v", str(rate), str(target)])
    return target


def test_graphics_with_few_bytes_a_pixel_keep_their_size(decoder, tmp_path):
    path = made_of(tmp_path, "testsrc=960x540:r=10:d=2")
    probe, planned, found, _ = fitted_to(decoder, path, 45_000)
    assert planned.smaller_width, "a smaller size was tried"
    assert (found.facts.width, found.facts.height) == (probe.width, probe.height)
    assert not any("pixels to fit" in change for change in found.changes)


def test_the_byte_limit_is_used_up_where_it_binds(decoder, tmp_path):
    path = made_of(tmp_path, "testsrc2=480x270:r=25:d=2,noise=alls=20:allf=t")
    _, _, found, target = fitted_to(decoder, path, 200_000)
    assert target.stat().st_size >= 0.97 * 200_000, found.attempts


def test_pictures_that_smaller_ones_would_show_better_are_made_smaller_and_it_is_said(decoder, tmp_path):
    path = made_of(tmp_path, "mandelbrot=s=640x360:r=25,trim=duration=1")
    _, _, found, _ = fitted_to(decoder, path, 16_000)
    assert found.facts.width < 640
    assert any("pixels to fit (coarser ones of 640x360" in change for change in found.changes)


def test_a_clip_with_an_odd_side_loses_a_column_and_stays_sharp(decoder, tmp_path):
    path = tmp_path / "odd.mkv"
    run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=323x181:r=25:d=1", *YUV444, str(path)])
    probe, _, found, target = fitted_to(decoder, path, 900_000)
    assert (found.facts.width, found.facts.height) == (322, 180)
    graph = "[1:v]crop=322:180:0:0,format=yuv420p[b];[0:v][b]psnr"
    command = ["ffmpeg", "-nostdin", "-i", str(target), "-i", str(path), "-filter_complex", graph]
    ended = subprocess.run([*command, "-f", "null", "-"], check=True, capture_output=True, text=True)
    assert float(re.search(r"y:([0-9.]+)", ended.stderr)[1]) > 45, probe


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "bytes_max"),
    [(TEST_PICTURE, 1_275_000), (GRAPHICS, 700_000), (GRAPHICS, 300_000), (NOISE, 600_000)],
)
def test_no_clip_looks_worse_than_two_passes_of_ffmpeg_at_either_size(decoder, tmp_path, recipe, bytes_max):
    path = made_of(tmp_path, recipe)
    probe, planned, _, target = fitted_to(decoder, path, bytes_max)
    sizes = [(probe.width, probe.height), (planned.smaller_width, planned.smaller_height)]
    ours, used = decibels(target, path, probe), target.stat().st_size
    for size in sizes if planned.smaller_width else sizes[:1]:
        other = two_passes(path, size, probe, used)
        assert ours >= decibels(other, path, probe) - 0.3, (size, used, other.stat().st_size)


def test_the_folder_of_the_passes_may_go_while_the_process_runs_and_goes_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr("clipspool.media.pool.MEMORY", str(tmp_path))
    old = tmp_path / "clipspool-decoder-killed"
    old.mkdir()
    os.utime(old, (1, 1))
    decoder = Decoder()
    path = made_of(tmp_path, "testsrc2=160x90:r=25:d=1,noise=alls=20:allf=t")
    fitted_to(decoder, path, 40_000)
    (folder,) = tmp_path.glob("clipspool-decoder-*")
    assert folder != old, "what a killed daemon left is removed"
    assert {file.name: file.stat().st_size for file in folder.iterdir()} == {"stats": 0, "stats.mbtree": 0}
    shutil.rmtree(folder)
    fitted_to(decoder, path, 40_000)
    decoder.close()
    assert not list(tmp_path.glob("clipspool-decoder-*"))


def test_a_process_that_begins_again_has_a_folder_again_where_the_former_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr("clipspool.media.pool.MEMORY", str(tmp_path))
    path = made_of(tmp_path, "testsrc2=160x90:r=25:d=1,noise=alls=20:allf=t")
    with closing(Decoder(idle_seconds=0.1)) as decoder:
        for _ in range(2):
            fitted_to(decoder, path, 40_000)
            (folder,) = tmp_path.glob("clipspool-decoder-*")
            decoder._children[0]._process.wait(10)
            shutil.rmtree(folder)
            gc.collect()


@pytest.mark.parametrize(
    ("recipe", "bytes_max"),
    [("testsrc2=480x270:r=25:d=2,noise=alls=20:allf=t", 100_000), ("color=black:1280x720:r=25:d=1", 800_000)],
)
def test_a_clip_is_made_to_fit_also_where_the_folder_of_the_passes_is_full(
    tmp_path, monkeypatch, recipe, bytes_max
):
    monkeypatch.setattr("clipspool.media.pool.MEMORY", str(tmp_path))
    path = made_of(tmp_path, recipe)
    shared = Decoder()
    try:
        with path.open("rb") as source:
            shared.probe(source.fileno())
        (folder,) = tmp_path.glob("clipspool-decoder-*")
        (folder / "stats.temp").mkdir()  # x264 cannot make its file there, as on a full disk
        fitted_to(shared, path, bytes_max)
    finally:
        shared.close()
