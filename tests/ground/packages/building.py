"""Builds what is tried: each kind once for a state of the sources, and kept."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from ground.debian import REPOSITORY, alone, cache, need

EPOCH = "1767225600"
"""The time that every file gets, so that a rebuild can be compared."""


def sources(folder):
    """Copy the working tree, changes included, to another place; the files get new times."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, check=True).stdout
    for name in filter(None, names.decode().split("\0")):
        path = REPOSITORY / name
        if path.is_symlink() or path.exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / name, follow_symlinks=False)
    return folder


def make(folder, target, dist):
    """Run a target of the Makefile in a copy of the sources, with this environment's programs."""
    venv = Path(sys.prefix)
    # The copy's files are newer than the environment, which must not be installed again from them.
    old = [word for name in ("run", "dev", "release") for word in ("-o", str(venv / name))]
    command = ["make", "--silent", *old, f"DIST={dist}", f"VENV={venv}", target]
    env = os.environ | {"SOURCE_DATE_EPOCH": EPOCH, "PYTHONPATH": str(folder / "daemon")}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"make {target}\n{done.stdout}\n{done.stderr}"


def built(target):
    """Return the folder that a target leaves, kept beside the sources that it was built from."""
    kept = cache() / f"built-{target}-{_key()}"
    with alone(f"built-{target}"):
        if not kept.exists():
            for older in cache().glob(f"built-{target}-*"):
                shutil.rmtree(older)
            if target == "release":
                need(mmdebstrap="mmdebstrap", strip="binutils")
            work = cache() / f"building-{target}"
            shutil.rmtree(work, ignore_errors=True)
            make(sources(work / "sources"), target, work / "dist")
            work.rename(kept)
    return kept / "dist"


def built_wheel():
    return built("wheel")


def simple_index(folder, found):
    """Lay packages out as an index does: a folder for each name, with a page of links."""
    for file in (file for place in found for file in place.iterdir() if file.suffix in {".whl", ".gz"}):
        name = file.name.split("-")[0].lower().replace("_", "-").replace(".", "-")
        (folder / name).mkdir(exist_ok=True)
        (folder / name / file.name).symlink_to(file)
    for name in folder.iterdir():
        links = "".join(f'<a href="{file.name}">{file.name}</a>\n' for file in sorted(name.iterdir()))
        (name / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")
    return folder


def _key():
    """Name the state of what goes into a package."""
    digest = hashlib.sha256()
    places = ("daemon", "docs", "packaging", "systemd")
    names = (
        "pyproject.toml",
        "constraints.txt",
        "Makefile",
        "config.example.toml",
        "README.md",
        "CHANGELOG.md",
    )
    files = [
        file
        for place in places
        for file in (REPOSITORY / place).rglob("*")
        if "__pycache__" not in file.parts
    ]
    for file in sorted([*files, *(REPOSITORY / name for name in names)]):
        if file.is_file():
            digest.update(str(file.relative_to(REPOSITORY)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]
