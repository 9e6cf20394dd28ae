"""A release is built twice, in two places and at two times, and has the same bytes."""

import hashlib
import json
import shutil
import subprocess

import pytest

from ground.debian import cache
from ground.packages.building import built, make
from ground.service.container import is_possible

pytestmark = pytest.mark.skipif(not is_possible(), reason="the image is made by root, on Linux")
KINDS = (".whl", ".tar.gz", ".deb", ".oci.tar", ".cdx.json", "constraints.txt", "SHA256SUMS")


@pytest.fixture(scope="module")
def release():
    return built("release")


def test_it_has_every_kind_once_and_the_checksums_are_right(release):
    names = sorted(file.name for file in release.iterdir())
    assert [kind for kind in KINDS if sum(name.endswith(kind) for name in names) != 1] == []
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=release, check=True)


def test_the_bill_of_materials_names_libraries_and_debian_packages(release):
    (file,) = release.glob("*.cdx.json")
    bill = json.loads(file.read_text())
    assert bill["bomFormat"] == "CycloneDX"
    found = {one.get("purl", "").partition("@")[0] for one in bill["components"]}
    assert {"pkg:pypi/av", "pkg:pypi/requests", "pkg:deb/debian/libc6"} <= found
    assert bill["metadata"]["component"]["name"] == "clipspool"
    optional = {one["purl"].partition("@")[0] for one in bill["components"] if one.get("scope") == "optional"}
    assert {"pkg:pypi/c2pa-python", "pkg:pypi/cryptography"} <= optional
    assert not {"pkg:pypi/requests", "pkg:pypi/obstore"} & optional


def test_built_again_elsewhere_it_has_the_same_bytes(release):
    folder = cache() / "built-again"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        # The working tree may have changed since.
        shutil.copytree(
            release.parent / "sources", folder / "another/place", symlinks=True, copy_function=shutil.copy
        )
        make(folder / "another/place", "release", folder / "dist")
        differ = [
            file.name
            for file in release.iterdir()
            if hashlib.sha256(file.read_bytes()).digest()
            != hashlib.sha256((folder / "dist" / file.name).read_bytes()).digest()
        ]
        assert differ == []
    finally:
        shutil.rmtree(folder)
