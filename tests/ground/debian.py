"""Installs what a ground tier needs, and makes Debian root folders that are kept from one run to the next.

Everything that is slow to make lies in `$CLIPSPOOL_GROUND_CACHE`, else in ~/.cache/clipspool-ground.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SUITE = "bookworm"


def cache():
    """Return the folder for what is kept; it is made where it is missing."""
    named = os.environ.get("CLIPSPOOL_GROUND_CACHE")
    folder = Path(named) if named else Path.home() / ".cache/clipspool-ground"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def alone(name):
    """Keep other runs from making the same thing at the same time."""
    with (cache() / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def need(**packages):
    """See that programs are there, `program=package`; root on Debian gets the missing ones installed."""
    missing = [package for program, package in packages.items() if not find(program.replace("_", "-"))]
    if missing:
        env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], env=env, check=True)
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        subprocess.run(install, env=env, check=True, stdout=subprocess.DEVNULL)


def find(program):
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def mirror():
    """Return the address that this machine's apt takes Debian from."""
    sources = [
        *Path("/etc/apt/sources.list.d").glob("*.sources"),
        *Path("/etc/apt/sources.list.d").glob("*.list"),
    ]
    for file in [Path("/etc/apt/sources.list"), *sorted(sources)]:
        text = file.read_text() if file.exists() else ""
        for paragraph in text.split("\n\n"):
            suites = re.search(r"^Suites:(.*)$", paragraph, re.MULTILINE)
            found = re.search(r"^URIs:\s*(\S+)", paragraph, re.MULTILINE)
            if suites and found and SUITE in suites[1].split():
                return found[1]
        if found := re.search(rf"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+{SUITE}\s", text, re.MULTILINE):
            return found[1]
    raise LookupError(f"apt's sources name no mirror of Debian {SUITE}")


def root_folder(name, packages):
    """Return a Debian root folder with these packages besides the minimal ones; made once, then kept.

    It is not to be changed: start from a copy or an overlay.
    """
    key = hashlib.sha256(" ".join([SUITE, *sorted(packages)]).encode()).hexdigest()[:12]
    root = cache() / f"{name}-{key}"
    with alone(name):
        if not root.exists():
            need(debootstrap="debootstrap")
            part = root.with_name(f"{root.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            include = ["--include=" + ",".join(packages)] if packages else []
            make = ["debootstrap", "--variant=minbase", *include, SUITE, str(part), mirror()]
            with (cache() / f"{root.name}.log").open("w") as log:
                subprocess.run(make, check=True, stdout=log, stderr=log)
            part.rename(root)
    return root
