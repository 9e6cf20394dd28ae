"""Builds the container image as an OCI archive, without a container daemon: `python packaging/image.py dist`.

mmdebstrap makes the file system from Debian's packages, as root; `docker load` and `podman load` take it.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import staging

HERE = Path(__file__).parent / "image"
# What PyAV's libraries want of the system is libstdc++ and zlib.
PACKAGES = (
    *("ca-certificates", "libpython{0}-stdlib", "libstdc++6", "python{0}-minimal", "tzdata", "usr-is-merged"),
    "zlib1g",
)
UNUSED = ("doc", "man", "info", "locale", "bash-completion", "lintian", "bug")
ENVIRONMENT = {
    "PATH": "/opt/clipspool/bin:/usr/local/bin:/usr/bin:/bin",
    "HOME": "/state",
    "LANG": "C.UTF-8",
    "STATE_DIRECTORY": "/state",
    "CLIPSPOOL_CONFIG": "/config/config.toml",
    "PYTHONDONTWRITEBYTECODE": "1",
}
# What nothing in the image reads: zones with leap seconds, and a second copy of all; languages that highlight
# code; translations of a library's own log, which is written in English here.
UNREAD = ("usr/share/zoneinfo/posix", "usr/share/zoneinfo/right", "usr/lib/python{0}/pydoc_data")
UNREAD_OF_LIBRARIES = ("apprise/i18n/*/LC_MESSAGES", "pygments/lexers/[a-z]*.py")
READ = {"pygments/lexers/python.py"}
PURGE = (
    "dpkg --purge --force-depends $(dpkg-query -W -f "
    r'"\${Package} " usrmerge perl "perl-modules*" "libperl5*" "lib*-perl" 2> /dev/null)'
)
COMPILE = "python -m compileall -q --invalidation-mode unchecked-hash /opt/clipspool/lib"


def main() -> None:
    """Build the image for this machine's architecture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dist", type=Path)
    parser.add_argument("--debian", choices=staging.DEBIAN_PYTHON, default="12")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clipspool-image-") as place:
        layer = _file_system(Path(place), asked.dist, asked.debian)
        file = asked.dist / f"clipspool-{staging.version()}-{staging.architecture()}.oci.tar"
        _pack(layer, file)
    print(file)


def _file_system(place: Path, dist: Path, debian: str) -> bytes:
    """Make Debian with clipspool in it; returns the tar file."""
    python = staging.DEBIAN_PYTHON[debian]
    root = place / "root"
    for folder in ("usr/local/bin", "config", "state", "clips"):
        (root / folder).mkdir(parents=True)
    staging.environment(root, debian, dist)
    library = root / staging.PLACE / f"lib/python{python}/site-packages"
    for unread in [path for pattern in UNREAD_OF_LIBRARIES for path in sorted(library.glob(pattern))]:
        if str(unread.relative_to(library)) not in READ:
            shutil.rmtree(unread) if unread.is_dir() else unread.unlink()
    for script in ("clipspool-entry", "clipspool-health"):
        shutil.copy(HERE / script, root / "usr/local/bin" / script)
        (root / "usr/local/bin" / script).chmod(0o755)
    staging.settle(root)
    ours = place / "ours.tar"
    staging.archive(root, ours)
    # Sets have no order of their own: a fixed seed gives the compiled modules the same bytes each time.
    inside = f"PYTHONHASHSEED=0 /opt/clipspool/bin/{COMPILE}"
    hooks = [
        # Only usrmerge, whose work is done, wants more of Perl than its base: 55 MB.
        f"""chroot "$1" sh -c '{PURGE}'""",
        f'tar -C "$1" -xf {ours}',
        f'chroot "$1" sh -c "{inside}"',
        'rm -rf "$1"/etc/apt/sources.list "$1"/var/cache/ldconfig "$1"/var/log/*',
        # Perl and debconf's modules, which serve only while packages are configured: 9 MB.
        """chroot "$1" dpkg --purge --force-depends --force-remove-essential perl-base""",
        'rm -rf "$1"/usr/share/perl5',
        "rm -rf " + " ".join(f'"$1"/{name}'.format(python) for name in UNREAD),
        'echo "clipspool:x:860:860::/state:/usr/sbin/nologin" >> "$1/etc/passwd"',
        'echo "clipspool:x:860:" >> "$1/etc/group"',
    ]
    unused = [f"/usr/share/{name}/*" for name in UNUSED] + ["/usr/lib/*/gconv/*"]
    command = ["mmdebstrap", "--quiet", "--variant=essential", "--mode=root", "--format=tar"]
    command += [f"--include={','.join(PACKAGES).format(python)}"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in unused]
    command += [f"--customize-hook={hook}" for hook in hooks]
    layer = place / "layer.tar"
    command += [staging.DEBIAN_SUITE[debian], str(layer)]
    if mirror := os.environ.get("DEBIAN_MIRROR"):
        command.append(mirror)
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return layer.read_bytes()


def _pack(layer: bytes, file: Path) -> None:
    """Write the archive: an OCI layout, with the index that older Dockers read beside it."""
    packed = staging.packed(layer, level=6)
    created = datetime.fromtimestamp(staging.epoch(), UTC).isoformat().replace("+00:00", "Z")
    name = f"clipspool:{staging.version()}"
    config = {
        "created": created,
        "architecture": staging.architecture(),
        "os": "linux",
        "config": {
            "Env": [f"{key}={value}" for key, value in ENVIRONMENT.items()],
            "Entrypoint": ["/usr/local/bin/clipspool-entry"],
            "Cmd": ["run"],
            "WorkingDir": "/state",
            "StopSignal": "SIGTERM",
            "Labels": {"org.opencontainers.image.version": staging.version()},
        },
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        "history": [{"created": created, "created_by": "packaging/image.py"}],
    }
    blobs: dict[str, bytes] = {}

    def kept(kind: str, data: bytes) -> dict[str, Any]:
        blobs[f"blobs/{_digest(data).replace(':', '/')}"] = data
        media = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media, "digest": _digest(data), "size": len(data)}

    layers = [kept("layer.v1.tar+gzip", packed)]
    described = kept("config.v1+json", _json(config))
    manifest = {"schemaVersion": 2, "config": described, "layers": layers}
    manifest["mediaType"] = "application/vnd.oci.image.manifest.v1+json"
    entry = kept("manifest.v1+json", _json(manifest))
    entry["annotations"] = {
        "org.opencontainers.image.ref.name": staging.version(),
        "io.containerd.image.name": name,
    }
    paths = [f"blobs/{one['digest'].replace(':', '/')}" for one in (described, *layers)]
    older = [{"Config": paths[0], "RepoTags": [name], "Layers": paths[1:]}]
    members = blobs | {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json({"schemaVersion": 2, "manifests": [entry]}),
        "manifest.json": _json(older),
    }
    with tarfile.open(file, "w", format=tarfile.USTAR_FORMAT) as tar:
        for path, data in sorted(members.items()):
            member = tarfile.TarInfo(path)
            member.size, member.mtime = len(data), staging.epoch()
            tar.addfile(member, io.BytesIO(data))


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


if __name__ == "__main__":
    main()
