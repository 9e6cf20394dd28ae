"""Lays out what the Debian package and the image share: /opt/clipspool, whole, for Debian's own Python.

Nothing here depends on where, when or by which Python it is built: the same sources give the same bytes.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DEBIAN_PYTHON = {"12": "3.11", "13": "3.13"}
"""The Python of each Debian that a package is made for."""
DEBIAN_SUITE = {"12": "bookworm", "13": "trixie"}
DEBIAN_GLIBC = {"12": 36, "13": 41}
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
EXTRAS = "bucket,farm,notify"
"""A package's folder is not for pip, so the extras come with it."""
PLACE = "opt/clipspool"


def version() -> str:
    """Return clipspool's version as its source has it."""
    text = (ROOT / "daemon/clipspool/__init__.py").read_text("utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if found is None:
        raise LookupError("daemon/clipspool/__init__.py names no version")
    return found[1]


def epoch() -> int:
    """Return the time that every file of a package gets; raises KeyError where SOURCE_DATE_EPOCH is unset."""
    return int(os.environ["SOURCE_DATE_EPOCH"])


def architecture() -> str:
    """Return Debian's name for this machine."""
    command = ["dpkg", "--print-architecture"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def environment(root: Path, debian: str, wheels: Path) -> None:
    """Install clipspool's wheel and all that it needs into ROOT/opt/clipspool.

    pip chooses for the Python of that Debian, whichever runs it; only wheels are taken, nothing is built.
    """
    python = DEBIAN_PYTHON[debian]
    place = root / PLACE
    library = place / f"lib/python{python}/site-packages"
    library.mkdir(parents=True)
    machine = MACHINES[architecture()]
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(DEBIAN_GLIBC[debian], 16, -1)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(library)]
    command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
    command += [word for name in (*platforms, f"manylinux2014_{machine}") for word in ("--platform", name)]
    command += ["--constraint", str(ROOT / "constraints.txt"), "--find-links", str(wheels)]
    subprocess.run([*command, f"clipspool[{EXTRAS}]=={version()}"], check=True)
    shutil.rmtree(library / "bin")
    (library / "share").rename(place / "share")
    _thin(library)
    (place / "bin").mkdir()
    (place / "bin/python").symlink_to(f"/usr/bin/python{python}")
    script = place / "bin/clipspool"
    script.write_text(
        f"#!/{PLACE}/bin/python\n"
        "import sys\n\nfrom clipspool.__main__ import main\n\n"
        'if __name__ == "__main__":\n    sys.exit(main())\n'
    )
    script.chmod(0o755)
    (place / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {python}\n"
    )


def _thin(library: Path) -> None:
    """Remove what only compilers, type checkers and pip read; pip's notes name folders of this machine."""
    for record in library.glob("*.dist-info"):
        for name in ("RECORD", "REQUESTED", "INSTALLER", "direct_url.json"):
            (record / name).unlink(missing_ok=True)
    for kind in ("pxd", "pyi", "pyx", "c", "h", "cpp"):
        for file in library.rglob(f"*.{kind}"):
            file.unlink()
    # Symbols for debuggers are a tenth of the whole.
    objects = [file for file in sorted(library.rglob("*.so*")) if file.read_bytes()[:4] == b"\x7fELF"]
    subprocess.run(["strip", "--strip-unneeded", *map(str, objects)], check=True)


def completions() -> dict[str, str]:
    """Return the script for each shell, made by click; the shells' own folders want these names."""
    from click.shell_completion import BashComplete, FishComplete, ZshComplete

    from clipspool.cli import clipspool

    class Bash(BashComplete):
        @staticmethod
        def _check_version() -> None:
            """Leave out a look at this machine's bash, which may be missing: the script is for others."""

    kinds = {
        "usr/share/bash-completion/completions/clipspool": Bash,
        "usr/share/zsh/vendor-completions/_clipspool": ZshComplete,
        "usr/share/fish/vendor_completions.d/clipspool.fish": FishComplete,
    }
    return {
        path: kind(clipspool, {}, "clipspool", "_CLIPSPOOL_COMPLETE").source() + "\n"
        for path, kind in kinds.items()
    }


def settle(root: Path) -> None:
    """Give every file beneath a folder the same time, and rights that do not depend on who built it."""
    for path in [root, *sorted(root.rglob("*"))]:
        if not path.is_symlink():
            is_open = path.is_dir() or (path.stat().st_mode & 0o100 and ".so" not in path.suffixes)
            path.chmod(0o755 if is_open else 0o644)
        os.utime(path, (epoch(), epoch()), follow_symlinks=False)


def packed(data: bytes, level: int = 9) -> bytes:
    """Compress for `man` and for layers, without a time or name inside."""
    stream = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0, compresslevel=level) as file:
        file.write(data)
    return stream.getvalue()


def archive(root: Path, file: Path) -> None:
    """Write what lies in a folder into a tar file: sorted, owned by root, of one time."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = epoch()
        return member

    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(root.rglob("*")):
            tar.add(path, str(path.relative_to(root)), recursive=False, filter=plain)
