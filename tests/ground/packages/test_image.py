"""The container image, unpacked by umoci and run by crun: a clip is delivered as PUID, and SIGTERM drains."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from ground.debian import need
from ground.packages.building import built
from ground.service.container import is_possible
from runway_sandbox.render import sample

pytestmark = pytest.mark.skipif(not is_possible(), reason="the image is made and run by root, on Linux")
PUID, PGID = 1234, 1235
# crun knows no mixture of both versions of control groups, and none is needed here: it is shown none.
CRUN = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /sys/fs/cgroup && exec crun "$@"', "crun"]
MEGABYTES_MAX = 250


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    need(umoci="umoci", crun="crun")
    (file,) = built("release").glob("*.oci.tar")
    folder = tmp_path_factory.mktemp("image")
    with tarfile.open(file) as archive:
        archive.extractall(folder / "layout", filter="data")
    index = json.loads((folder / "layout/index.json").read_text())
    tag = index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"]
    unpack = ["umoci", "unpack", "--image", f"{folder / 'layout'}:{tag}", folder / "bundle"]
    subprocess.run(unpack, check=True, capture_output=True)
    return folder / "bundle"


@pytest.fixture
def provider(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.prefix) / "bin/clipspool", "sandbox", "--render", "canned", "--port", str(port)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    yield f"http://127.0.0.1:{port}/runwayml/v1"
    process.terminate()
    process.wait(20)


@pytest.fixture
def mounts(tmp_path, provider):
    folders = {name: tmp_path / name for name in ("config", "state", "clips")}
    for folder in folders.values():
        folder.mkdir()
    for name in ("in", "out"):
        (folders["clips"] / name).mkdir()
        os.chown(folders["clips"] / name, PUID, PGID)
    (folders["config"] / "config.toml").write_text(
        f'[provider]\nbase_url = "{provider}"\npoll_seconds_min = 0.5\npoll_seconds_max = 1\n'
        '[[inbox]]\npath = "/clips/in"\noutbox = "/clips/out"\nsettle_seconds = 0.5\n'
    )
    return folders


def start(bundle, mounts, name, *arguments, **env):
    """Run the image as a container daemon would: read-only, of few rights, with its own environment."""
    spec = json.loads((bundle / "config.json").read_text())
    process = spec["process"]
    process |= {"terminal": False, "args": [*process["args"][:1], *(arguments or process["args"][1:])]}
    process["env"] += [f"{key}={value}" for key, value in env.items()]
    rights = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_SETUID", "CAP_SETGID"]
    process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), rights)
    spec["root"]["readonly"] = True
    spec["mounts"] = [one for one in spec["mounts"] if one["type"] != "cgroup"]
    spec["mounts"] += [
        {"destination": f"/{at}", "type": "bind", "source": str(path), "options": ["rbind", "rw"]}
        for at, path in mounts.items()
    ]
    spec["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    # The provider's stand-in listens on this machine's loopback.
    kinds = ("network", "user", "cgroup")
    spec["linux"]["namespaces"] = [one for one in spec["linux"]["namespaces"] if one["type"] not in kinds]
    spec["linux"].pop("resources", None)
    own = mounts["state"].parent / f"bundle-{name}"
    own.mkdir()
    spec["root"]["path"] = str(bundle / "rootfs")
    (own / "config.json").write_text(json.dumps(spec))
    command = [*CRUN, "--cgroup-manager=disabled", "run", "--bundle", own, name]
    with (own / "log").open("w") as log:
        return subprocess.Popen(command, stdout=log, stderr=log), own / "log"


def inside(name, *command):
    done = subprocess.run([*CRUN, "exec", name, *command], capture_output=True, text=True, check=False)
    return done.returncode


def until(is_so, log, seconds=120):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.3)


def test_it_is_small(bundle):
    used = subprocess.run(["du", "-sm", bundle / "rootfs"], capture_output=True, text=True, check=True).stdout
    assert int(used.split()[0]) <= MEGABYTES_MAX


def test_a_clip_is_delivered_as_the_named_user_and_sigterm_drains(bundle, mounts):
    name = f"clipspool-test-{os.getpid()}"
    env = {"PUID": PUID, "PGID": PGID, "UMASK": "027", "CLIPSPOOL_PROVIDER__API_KEY": "sandbox"}
    process, log = start(bundle, mounts, name, **env)
    try:
        until(lambda: inside(name, "clipspool-health") == 0, log)
        clip = mounts["clips"] / "in/.one.part"
        sample(clip, seconds=1, width=320, height=180)
        (mounts["clips"] / "in/one.toml").write_text('prompt = "winter"\n')
        for file in (clip, mounts["clips"] / "in/one.toml"):
            os.chown(file, PUID, PGID)
        clip.rename(clip.with_name("one.mp4"))
        result = mounts["clips"] / "out/one.mp4"
        until(result.exists, log)
        found = result.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (PUID, PGID, 0o640)
        journal = mounts["state"] / "journal.sqlite3"
        assert journal.stat().st_uid == PUID
        subprocess.run([*CRUN, "kill", name, "TERM"], check=True)
        assert process.wait(90) == 0, log.read_text()
    finally:
        if process.poll() is None:
            subprocess.run([*CRUN, "delete", "--force", name], check=False)
            process.send_signal(signal.SIGKILL)


def test_it_does_not_run_as_root(bundle, mounts):
    process, log = start(bundle, mounts, f"clipspool-root-{os.getpid()}", PUID="0")
    assert process.wait(60) == 78
    assert "must not be 0" in log.read_text()


@pytest.mark.parametrize("name", ["compose.nas.yaml", "compose.farm.yaml"])
def test_a_compose_file_names_what_the_image_has(bundle, name):
    text = (Path(__file__).parents[3] / "packaging" / name).read_text()
    for folder in ("config", "state", "clips"):
        assert f":/{folder}" in text
        assert (bundle / "rootfs" / folder).is_dir()
    assert (bundle / "rootfs/usr/local/bin/clipspool-health").stat().st_mode & 0o111
    assert shutil.which("clipspool-health", path=str(bundle / "rootfs/usr/local/bin"))
