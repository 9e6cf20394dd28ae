"""Clips to drop: small real MP4s of any wanted size, each of its own content, dropped as an editor would."""

import functools
import os
import random
import struct
import tempfile
import time
from pathlib import Path

from runway_sandbox.render import sample


@functools.cache
def _film():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        sample(path, seconds=1.0, width=640, height=360)
        return path.read_bytes()


@functools.cache
def _filling(size):
    return random.Random(1).randbytes(size)


def clip_bytes(name, size):
    """Return a 1 s film of exactly `size` bytes; a `free` box at its end holds the name and random bytes."""
    film = _film()
    room = size - len(film) - 8
    if room < len(name):
        raise ValueError(f"a clip has at least {len(film) + 8 + len(name)} bytes, not {size}")
    return film + struct.pack(">I4s", room + 8, b"free") + name.encode() + _filling(room - len(name))


def write_film(path, size):
    """Write a film of any size, also gigabytes, a block at a time."""
    film, block = _film(), _filling(1 << 20)
    rest = size - len(film) - 16
    with path.open("wb") as file:
        file.write(film + struct.pack(">I4sQ", 1, b"free", rest + 16))
        while rest > 0:
            file.write(block[:rest])
            rest -= len(block)
    return path


def make(folder, count, size, first=0):
    """Make clips outside the inbox, on the same file system; give them in order."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number in range(first, first + count):
        path = folder / f"clip{number:05}.mp4"
        path.write_bytes(clip_bytes(path.name, size))
        path.with_suffix(".toml").write_text(f'prompt = "deep winter {number}"\n')
        made.append(path)
    return made


def drop(clips, inbox):
    """Move clips into an inbox, each after its sidecar; say when each came, by number (Unix seconds)."""
    dropped = {}
    for path in clips:
        os.rename(path.with_suffix(".toml"), inbox / f"{path.stem}.toml")  # noqa: PTH104  (it takes no time)
        os.rename(path, inbox / path.name)  # noqa: PTH104
        dropped[number_of(path.stem)] = time.time()
    return dropped


def number_of(text):
    """Return the number in a clip's name or at the end of its prompt."""
    return int("".join(letter for letter in text if letter.isdecimal()))
