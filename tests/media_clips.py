"""Real clips of many kinds, made by Debian's ffmpeg when a test first asks for them."""

import os
import subprocess

PICTURE = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=24:d=1"]
TONE = ["-f", "lavfi", "-i", "sine=f=440:r=48000:d=1"]
H264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-preset", "veryfast"]
H265 = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"]
HDR = (
    "format=yuv444p,setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=limited,"
    "zscale=transfer=linear:npl=203,format=gbrpf32le,"
    "zscale=primaries=2020:transfer={}:matrix=2020_ncl:range=limited:npl=203,format=yuv420p10le"
)

RECIPES = {
    "plain.mp4": [*PICTURE, *H264],
    "index_in_front.mp4": [*PICTURE, *H264, "-movflags", "faststart"],
    "fragments.mp4": [*PICTURE, *TONE, *H264, "-g", "8", "-movflags", "frag_keyframe+empty_moov"],
    "two_seconds.mp4": ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=24:d=2", *H264],
    "sound.mp4": [*PICTURE, *TONE, *H264, "-c:a", "aac"],
    **{
        f"small_{seconds}_seconds.mp4": [
            *["-f", "lavfi", "-i", f"testsrc2=s=160x90:r=24:d={seconds}"],
            *["-f", "lavfi", "-i", f"sine=r=48000:d={seconds}", *H264, "-c:a", "aac"],
        ]
        for seconds in (4, 40)
    },
    "sound_only.mp4": [*TONE, "-c:a", "aac"],
    "prores.mov": [
        *[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=320x180:r=24000/1001:d=1.5",
            "-f",
            "lavfi",
            "-i",
            "sine=r=48000:d=1.5",
        ],
        *["-c:v", "prores_ks", "-profile:v", "2", "-c:a", "pcm_s24le", "-timecode", "01:02:03:04"],
    ],
    **{
        f"black_{codec}.mov": [
            *["-f", "lavfi", "-i", "testsrc2=s=160x90:r=24:d=0.5,format=rgb24,fade=t=out:st=0.2:d=0.2"],
            *["-c:v", codec.replace("raw", "rawvideo"), "-movflags", "faststart"],
        ]
        for codec in ("r210", "r10k", "avrp", "raw")
    },
    "hevc10.mkv": [*PICTURE, *TONE, *H265, "-pix_fmt", "yuv420p10le", "-c:a", "libopus"],
    "vp9.webm": [*PICTURE, *TONE, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"],
    "live.webm": [*PICTURE, "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-live", "1"],
    "av1.mp4": [*PICTURE, "-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime"],
    "varying.mp4": [
        *[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=320x180:r=30:d=2,select='lt(n,20)+not(mod(n,3))'",
            "-vsync",
            "vfr",
        ],
        *H264,
    ],
    "anamorphic.mp4": [*PICTURE, "-vf", "setsar=16/15", *H264],
    "tracks.mov": [
        *[
            *PICTURE,
            *TONE,
            "-f",
            "lavfi",
            "-i",
            "sine=f=600:r=48000:d=1.4",
            "-map",
            "0",
            "-map",
            "1",
            "-map",
            "2",
        ],
        *[
            "-c:v",
            "prores",
            "-profile:v",
            "0",
            "-c:a",
            "pcm_s24le",
            "-timecode",
            "00:00:59;20",
            "-r",
            "30000/1001",
        ],
        *["-metadata:s:a:1", "language=fra"],
    ],
    "flac.mkv": [*PICTURE, *TONE, *H264, "-c:a", "flac"],
    "later.mkv": [*PICTURE, "-f", "lavfi", "-i", "sine=r=48000:d=1.6", *H264, "-c:a", "aac"],
    **{
        f"{matrix}.mp4": [
            *[*PICTURE, "-vf", f"scale=out_color_matrix={matrix}:out_range=tv", *H264, "-crf", "10"],
            *["-color_range", "tv", "-colorspace", f"{matrix}{nc}", "-color_primaries", matrix],
        ]
        for matrix, nc in (("bt709", ""), ("bt2020", "nc"))
    },
    "wide.mp4": ["-f", "lavfi", "-i", "testsrc2=s=480x180:r=24:d=0.5", *H264],
    "fast.mp4": ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=60000/1001:d=1", *H264],
    "interlaced.mp4": [*PICTURE, "-vf", "tinterlace=interleave_top", *H264, "-flags", "+ilme+ildct"],
    "noise.mp4": [*PICTURE, "-vf", "noise=alls=60:allf=t", *H264, "-crf", "12"],
    "long_noise.mp4": [
        *["-f", "lavfi", "-i", "testsrc2=s=640x360:r=24:d=4", "-vf", "noise=alls=60:allf=t", *H264],
        *["-preset", "ultrafast"],
    ],
    "pq.mp4": [
        *[*PICTURE, "-vf", HDR.format("smpte2084"), *H265, "-color_primaries", "bt2020"],
        *["-color_trc", "smpte2084", "-colorspace", "bt2020nc"],
    ],
    "hlg.mov": [
        *[*PICTURE, "-vf", HDR.format("arib-std-b67"), *H265, "-color_primaries", "bt2020"],
        *["-color_trc", "arib-std-b67", "-colorspace", "bt2020nc"],
    ],
    "huge.mov": [
        "-f",
        "lavfi",
        "-i",
        "color=s=8192x8192:r=1:d=1,format=yuvj444p",
        "-c:v",
        "mjpeg",
        "-q:v",
        "31",
    ],
    "full_hd.mov": [
        *["-f", "lavfi", "-i", "testsrc2=s=1920x1080:r=25:d=3", "-c:v", "prores", "-profile:v", "0"],
    ],
    "eight_k.mp4": [
        *["-f", "lavfi", "-i", "testsrc2=s=7680x4320:r=25:d=0.4", "-c:v", "libx264", "-pix_fmt", "yuv420p"],
        *["-preset", "ultrafast"],
    ],
    "xdcam.mxf": [
        *["-f", "lavfi", "-i", "testsrc2=s=720x576:r=50:d=1,tinterlace=interleave_top", *TONE],
        *[
            "-c:v",
            "mpeg2video",
            "-pix_fmt",
            "yuv422p",
            "-b:v",
            "20M",
            "-flags",
            "+ildct+ilme",
            "-c:a",
            "pcm_s16le",
        ],
        *["-ar", "48000", "-timecode", "10:00:00:00"],
    ],
    "dnx.mxf": [
        *["-f", "lavfi", "-i", "testsrc2=s=1280x720:r=25:d=0.4", "-c:v", "dnxhd", "-profile:v", "dnxhr_lb"],
        *["-pix_fmt", "yuv422p"],
    ],
    "motion.avi": [
        *PICTURE,
        *TONE,
        "-c:v",
        "mjpeg",
        "-q:v",
        "3",
        "-pix_fmt",
        "yuvj420p",
        "-c:a",
        "pcm_s16le",
    ],
    "h264.avi": [*PICTURE, *TONE, *H264, "-bf", "2", "-c:a", "mp3"],
    "camera.ts": [*PICTURE, *TONE, *H264, "-c:a", "aac", "-f", "mpegts"],
    "camera.mts": [*PICTURE, *TONE, *H264, "-c:a", "ac3", "-f", "mpegts", "-mpegts_m2ts_mode", "1"],
    "dvd.mpg": [*PICTURE, *TONE, "-c:v", "mpeg2video", "-b:v", "4M", "-c:a", "mp2", "-r", "25"],
    "moving.gif": ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=10:d=1"],
    "photo.jpg": ["-f", "lavfi", "-i", "testsrc2=s=1600x900:d=1:r=1", "-frames:v", "1"],
    "glass.png": ["-f", "lavfi", "-i", "testsrc2=s=400x600:d=1:r=1,format=rgba,colorchannelmixer=aa=0.5"],
    "photo.webp": ["-f", "lavfi", "-i", "testsrc2=s=640x480:d=1:r=1", "-frames:v", "1", "-c:v", "libwebp"],
}


def clip(folder, name):
    """Return the path of a clip, made once a folder; of workers that make it at once each has it whole."""
    path = folder / name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if name == "rotated.mp4":
            arguments = ["-i", str(clip(folder, "plain.mp4")), "-c", "copy", "-metadata:s:v", "rotate=270"]
        else:
            arguments = RECIPES[name]
        part = folder / f"making-{os.getpid()}-{name}"
        frames = ["-frames:v", "1"] if name == "glass.png" else []
        run(["ffmpeg", "-v", "error", "-nostdin", "-y", *arguments, *frames, str(part)])
        part.rename(path)
    return path


def run(command):
    """Run a tool and give what it printed."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def ffprobe(path, entries, select="v:0"):
    """Return the named entries of one stream as ffprobe sees them."""
    shape = ["-select_streams", select, "-show_entries", entries, "-of", "default=noprint_wrappers=1"]
    printed = run(["ffprobe", "-v", "error", *shape, str(path)])
    return dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
