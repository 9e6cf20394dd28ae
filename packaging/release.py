"""Writes constraints.txt, a bill of materials (CycloneDX) and SHA256SUMS beside what `make release` built."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import staging

_LIBRARY = re.compile(r"\./opt/clipspool/lib/[^/]+/site-packages/([^/]+)-([^/]+)\.dist-info/METADATA")
_PACKAGE = re.compile(
    r"^Package: (\S+)$.*?^Architecture: (\S+)$.*?^Version: (\S+)$", re.MULTILINE | re.DOTALL
)


def main() -> None:
    """Write the three beside the packages of a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dist", type=Path)
    dist = parser.parse_args().dist
    shutil.copy(staging.ROOT / "constraints.txt", dist / "constraints.txt")
    (package,), (image,) = dist.glob("*.deb"), dist.glob("*.oci.tar")
    bill = json.loads(_libraries(package))
    bill["metadata"]["component"]["version"] = staging.version()
    bill["components"] += [*_optional_libraries(), *_debian_packages(image)]
    text = json.dumps(bill, indent=1, sort_keys=True) + "\n"
    (dist / f"clipspool-{staging.version()}.cdx.json").write_text(text, "utf-8")
    sums = dist / "SHA256SUMS"
    sums.unlink(missing_ok=True)
    files = sorted(file for file in dist.iterdir() if file.is_file() and not file.name.startswith("."))
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    sums.write_text("".join(lines), "utf-8")


def _libraries(package: Path) -> bytes:
    """Return the bill of the Python libraries that the Debian package brings."""
    unpack = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], capture_output=True, check=True)
    names = subprocess.run(["tar", "-t"], input=unpack.stdout, capture_output=True, check=True).stdout
    found = sorted(set(_LIBRARY.findall(names.decode())))
    wanted = "".join(f"{name}=={version}\n" for name, version in found if name != "clipspool")
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--short-PURLs", "--output-reproducible"]
    command += ["--pyproject", str(staging.ROOT / "pyproject.toml"), "-"]
    return subprocess.run(command, input=wanted.encode(), capture_output=True, check=True).stdout


def _optional_libraries() -> list[dict[str, str]]:
    """Name what the extras bring that the Debian package and the image leave out."""
    project = tomllib.loads((staging.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    left_out = sorted(extras.keys() - set(staging.EXTRAS.split(",")))
    base = _versions(project["dependencies"])
    found = {
        name: (extra, version) for extra in left_out for name, version in _versions(extras[extra]).items()
    }
    return [
        {
            "type": "library",
            "bom-ref": f"extra-{extra}-{name}",
            "name": name,
            "version": version,
            "scope": "optional",
            "description": f"only with the extra `{extra}`",
            "purl": f"pkg:pypi/{name}@{version}",
        }
        for name, (extra, version) in sorted(found.items())
        if name not in base
    ]


def _versions(requirements: list[str]) -> dict[str, str]:
    """Return the libraries that requirements bring, by name, in the versions of constraints.txt."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    command += ["--report", "-", "--only-binary", ":all:", "-c", str(staging.ROOT / "constraints.txt")]
    report = subprocess.run([*command, *requirements], capture_output=True, check=True).stdout
    named = [one["metadata"] for one in json.loads(report)["install"]]
    return {one["name"].lower().replace("_", "-"): one["version"] for one in named}


def _debian_packages(image: Path) -> list[dict[str, str]]:
    """Name the Debian packages in the image, as its own dpkg lists them."""
    with tarfile.open(image) as archive:
        (manifest,) = json.loads(_read(archive, "manifest.json"))
        layer = archive.extractfile(manifest["Layers"][0])
        with tarfile.open(fileobj=layer, mode="r:gz") as tar:
            status = _read(tar, "./var/lib/dpkg/status").decode()
    found = [_PACKAGE.search(paragraph) for paragraph in status.split("\n\n")]
    return [
        {
            "type": "library",
            "bom-ref": f"deb-{one[1]}",
            "name": one[1],
            "version": one[3],
            "purl": f"pkg:deb/debian/{one[1]}@{one[3]}?arch={one[2]}",
        }
        for one in found
        if one
    ]


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise LookupError(f"there is no {name}")
    return file.read()


if __name__ == "__main__":
    main()
