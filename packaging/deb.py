"""Builds the Debian package beside the wheel that it is made from: `python packaging/deb.py dist`."""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import staging

HERE = Path(__file__).parent / "deb"
_md5 = functools.partial(hashlib.md5, usedforsecurity=False)  # dpkg's own checksum
SCRIPTS = ("config", "preinst", "postinst", "prerm", "postrm")


def main() -> None:
    """Build the package for one Debian."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dist", type=Path)
    parser.add_argument("--debian", choices=staging.DEBIAN_PYTHON, default="12")
    parser.add_argument("--version", default=staging.version(), help="Another version, to try an upgrade.")
    asked = parser.parse_args()
    print(build(asked.dist, asked.debian, f"{asked.version}+deb{asked.debian}"))


def build(dist: Path, debian: str, version: str) -> Path:
    """Lay the package out and have dpkg-deb pack it; returns the file."""
    with tempfile.TemporaryDirectory(prefix="clipspool-deb-") as place:
        root = Path(place) / "root"
        root.mkdir()
        staging.environment(root, debian, dist)
        _share(root, debian)
        (root / "DEBIAN").mkdir()
        for name in (*SCRIPTS, "templates"):
            shutil.copy(HERE / name, root / "DEBIAN" / name)
        for name in SCRIPTS:
            (root / "DEBIAN" / name).chmod(0o755)
        # Only what an administrator is meant to edit.
        (root / "DEBIAN/conffiles").write_text("/etc/clipspool/config.toml.example\n")
        _control(root, debian, version)
        staging.settle(root)
        file = dist / f"clipspool_{version}_{staging.architecture()}.deb"
        # xz takes eight times as long for a quarter less, and cuts its data by the number of cores.
        pack = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z6", "--build", str(root)]
        subprocess.run([*pack, str(file)], check=True, stdout=subprocess.DEVNULL)
    return file


def _share(root: Path, debian: str) -> None:
    """Put what the rest of the system reads where it looks for it."""
    texts: dict[str, bytes] = {name: text.encode() for name, text in staging.completions().items()}
    for page in sorted((root / staging.PLACE / "share/man").glob("man*/*")):
        texts[f"usr/share/man/{page.parent.name}/{page.name}.gz"] = staging.packed(page.read_bytes())
    texts["etc/clipspool/config.toml.example"] = (staging.ROOT / "config.example.toml").read_bytes()
    changes = (staging.ROOT / "CHANGELOG.md").read_bytes()
    texts["usr/share/doc/clipspool/changelog.gz"] = staging.packed(changes)
    texts["usr/share/doc/clipspool/copyright"] = (HERE / "copyright").read_bytes()
    texts["usr/share/lintian/overrides/clipspool"] = (HERE / "lintian-overrides").read_bytes()
    # From Debian 13 on /lib is only a link, and a package may have no files below it.
    units = "lib/systemd/system" if debian == "12" else "usr/lib/systemd/system"
    for unit in ("clipspool.service", "clipspool@.service"):
        unit_file = staging.ROOT / "daemon/clipspool/systemd" / unit
        texts[f"{units}/{unit}"] = unit_file.read_bytes()
    for name, data in texts.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    (root / "usr/bin").mkdir()
    (root / "usr/bin/clipspool").symlink_to(f"/{staging.PLACE}/bin/clipspool")


def _control(root: Path, debian: str, version: str) -> None:
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    files = [path for path in files if root / "DEBIAN" not in path.parents]
    words = {
        "VERSION": version,
        "MAINTAINER": os.environ.get("DEBMAINTAINER", "The clipspool project <clipspool@localhost>"),
        "ARCHITECTURE": staging.architecture(),
        "PYTHON": staging.DEBIAN_PYTHON[debian],
        "SIZE": str(sum(-(-file.stat().st_size // 1024) for file in files)),
    }
    text = (HERE / "control").read_text("utf-8")
    for name, value in words.items():
        text = text.replace(f"@{name}@", value)
    (root / "DEBIAN/control").write_text(text)
    sums = [f"{_md5(file.read_bytes()).hexdigest()}  {file.relative_to(root)}\n" for file in sorted(files)]
    (root / "DEBIAN/md5sums").write_text("".join(sums))


if __name__ == "__main__":
    main()
