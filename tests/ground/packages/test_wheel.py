"""The wheel and the sdist, installed by name from an index into an empty environment, as a stranger would."""

import os
import subprocess
import sys
import tarfile
import zipfile

import pytest

from ground.debian import REPOSITORY
from ground.packages.building import built_wheel, simple_index
from ground.service.container import wheels


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return simple_index(tmp_path_factory.mktemp("index"), [built_wheel(), wheels()])


def bare(index, **more):
    """Return an environment in which only the local index is asked, and no other clipspool is seen."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    offline = {"PIP_INDEX_URL": index.as_uri(), "UV_DEFAULT_INDEX": index.as_uri(), "UV_OFFLINE": "0"}
    return keep | offline | {"PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1"} | more


def run(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_pip_installs_it_by_name_with_manual_pages_and_documentation(index, tmp_path, kind):
    place = tmp_path / "venv"
    run(sys.executable, "-m", "venv", place)
    chosen = ["--no-binary", "clipspool"] if kind == "sdist" else ["--only-binary", ":all:"]
    constraints = REPOSITORY / "constraints.txt"
    run(place / "bin/pip", "install", *chosen, "-c", constraints, "clipspool", env=bare(index), cwd=tmp_path)
    assert run(place / "bin/clipspool", "--version", cwd=tmp_path).startswith("clipspool")
    run(place / "bin/clipspool", "init", tmp_path / "clips", cwd=tmp_path)
    for page in ("man1/clipspool.1", "man5/clipspool.toml.5", "man5/clipspool-sidecar.5"):
        assert (place / "share/man" / page).read_text().startswith(".TH")
    assert (place / "share/doc/clipspool/docs/install.md").is_file()
    assert (place / "share/doc/clipspool/systemd/grafana-dashboard.json").is_file()


def test_with_its_extra_farm_it_speaks_to_a_postgresql(index, tmp_path):
    place = tmp_path / "venv"
    run(sys.executable, "-m", "venv", place)
    config = tmp_path / "config.toml"
    config.write_text(
        f'[journal]\npath = "{tmp_path}/j"\nurl = "postgresql://127.0.0.1:1/none"\n'
        f'[[inbox]]\npath = "{tmp_path}/in"\noutbox = "{tmp_path}/out"\n'
    )

    def check(extra):
        constraints = REPOSITORY / "constraints.txt"
        run(
            place / "bin/pip",
            "install",
            "-c",
            constraints,
            f"clipspool{extra}",
            env=bare(index),
            cwd=tmp_path,
        )
        command = [place / "bin/clipspool", "check", "--offline", "-c", config]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        return done.stdout + done.stderr

    assert "pip install 'clipspool[farm]'" in check("")
    assert "Connection refused" in check("[farm]")


def test_uv_installs_it_as_a_tool_and_the_demo_delivers(index, tmp_path):
    uv = [sys.executable, "-m", "uv"]
    home = {
        "UV_TOOL_DIR": tmp_path / "tools",
        "UV_TOOL_BIN_DIR": tmp_path / "bin",
        "UV_CACHE_DIR": tmp_path / "c",
    }
    env = bare(index, **{name: str(path) for name, path in home.items()})
    run(*uv, "tool", "install", "--python", sys.executable, "clipspool", env=env, cwd=tmp_path)
    assert "delivered" in run(tmp_path / "bin/clipspool", "demo", env=env, cwd=tmp_path)


def test_neither_names_a_folder_of_this_machine_and_the_sdist_has_all_that_builds_it():
    folder = built_wheel()
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as file:
        assert [name for name in file.namelist() if str(REPOSITORY).encode() in file.read(name)] == []
    with tarfile.open(sdist) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"packaging/hatch_build.py", "constraints.txt", "Makefile", "build/man/clipspool.1"} <= names
