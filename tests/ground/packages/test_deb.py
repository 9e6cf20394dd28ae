"""The Debian package on a clean Debian with systemd: installed, used, upgraded, removed, purged."""

import json
import shutil
import subprocess

import pytest

from ground.debian import need
from ground.packages.building import built
from ground.service.container import booted, is_possible
from runway_sandbox.render import sample

pytestmark = pytest.mark.skipif(not is_possible(), reason="a container needs root and Linux")
QUIET = "DEBIAN_FRONTEND=noninteractive"
JOURNAL = "var/lib/clipspool/journal.sqlite3"


@pytest.fixture(scope="module")
def package():
    (file,) = built("release").glob("*.deb")
    return file


@pytest.fixture(scope="module")
def box(tmp_path_factory, package):
    with booted(tmp_path_factory.mktemp("deb")) as container:
        # Only what the package brings may serve.
        shutil.rmtree(container.root / "wheels")
        shutil.rmtree(container.root / "root/clipspool")
        shutil.copy(package, container.root / "root/first.deb")
        yield container


def state(box, *properties):
    return [
        box.ok(f"systemctl show -p {one} --value clipspool").strip()
        for one in ("ActiveState", "UnitFileState", *properties)
    ]


def delivered(box):
    return json.loads(box.ok("clipspool status --json"))["jobs"].get("delivered", 0)


def drop(box, name):
    if not (clip := box.root / "srv/template.mp4").exists():
        sample(clip, seconds=1, width=320, height=180)
    # Each clip has bytes of its own, or it would be a duplicate.
    own = f"printf '\\0\\0\\0\\110free{name:64}' >> .{name}.part"
    box.ok(
        f"cd /srv/clips/bay-1 && cp /srv/template.mp4 .{name}.part && {own} && "
        f"echo 'prompt = \"winter\"' > {name}.toml && mv .{name}.part {name}.mp4"
    )
    result = box.root / f"srv/clips/bay-1-results/{name}.mp4"
    box.until(result.exists, 90, f"{name} is delivered")


def test_lintian_finds_no_errors(package):
    need(lintian="lintian")
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error", package],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_folder_made_by_hand_is_not_mixed_with_the_package(box):
    box.ok("mkdir /opt/clipspool && touch /opt/clipspool/pyvenv.cfg")
    done = box.run(f"{QUIET} dpkg -i /root/first.deb")
    assert done.code != 0
    assert "/opt/clipspool was made by hand" in done.err
    box.ok("rm -r /opt/clipspool")


def test_a_taken_user_id_is_refused_and_another_one_can_be_named(box):
    box.ok("useradd --system --uid 860 other")
    done = box.run(f"{QUIET} dpkg -i /root/first.deb")
    assert done.code != 0
    assert "the id 860 belongs to other" in done.err
    box.ok("echo clipspool clipspool/uid string 870 | debconf-set-selections")
    box.ok(f"{QUIET} dpkg --configure clipspool")
    assert box.ok("id -u clipspool").strip() == "870"
    box.ok(f"{QUIET} dpkg --purge clipspool")
    assert box.run("id clipspool").code != 0
    box.ok("userdel other")


def test_installed_it_starts_nothing(box):
    said = box.run(f"{QUIET} dpkg -i /root/first.deb")
    assert said.code == 0, said
    assert "clipspool service install" in said.err
    assert state(box) == ["inactive", "disabled"]
    assert box.ok("id -u clipspool").strip() == "860"
    assert box.ok("clipspool --version").startswith("clipspool")
    # psycopg brings libpq itself, which wants nothing that a small Debian lacks.
    assert int(
        box.ok("/opt/clipspool/bin/python -c 'import procrastinate, psycopg; print(psycopg.pq.version())'")
    )
    assert not (box.root / JOURNAL).exists()


def test_it_brings_manual_pages_completions_an_example_and_documentation(box):
    for file in (
        *(f"usr/share/man/{page}.gz" for page in ("man1/clipspool.1", "man5/clipspool.toml.5")),
        "usr/share/bash-completion/completions/clipspool",
        "usr/share/zsh/vendor-completions/_clipspool",
        "usr/share/fish/vendor_completions.d/clipspool.fish",
        "etc/clipspool/config.toml.example",
        "opt/clipspool/share/doc/clipspool/README.md",
    ):
        assert (box.root / file).stat().st_size > 0, file
    found = box.ok(
        "bash -c '. /usr/share/bash-completion/completions/clipspool; "
        "COMP_WORDS=(clipspool st); COMP_CWORD=1; "
        '_clipspool_completion clipspool st clipspool; echo "${COMPREPLY[@]}"\''
    )
    assert "status" in found


def test_configured_it_delivers_a_clip_as_its_user(box):
    box.ok("systemd-run -q --unit=stand-in clipspool sandbox --render canned")
    box.ok("clipspool init /srv/clips && install -D -m 644 /srv/clips/config.toml /etc/clipspool/config.toml")
    config = box.root / "etc/clipspool/config.toml"
    text = config.read_text().replace("https://api.cometapi.com", "http://127.0.0.1:8787")
    config.write_text(text.replace("[budget]", "poll_seconds_min = 0.5\npoll_seconds_max = 1\n\n[budget]"))
    box.ok("umask 077 && echo sandbox-key > /etc/clipspool/provider_api_key")
    box.ok("clipspool service install --yes")
    assert state(box) == ["active", "enabled"]
    drop(box, "one")
    assert box.ok("stat -c %u /srv/clips/bay-1-results/one.mp4").strip() == "860"
    box.until(lambda: delivered(box) == 1)


def test_an_upgrade_keeps_journal_and_configuration_and_starts_the_new_version(box):
    _, _, before = state(box, "MainPID")
    config = (box.root / "etc/clipspool/config.toml").read_bytes()
    box.ok("dpkg-deb -R /root/first.deb /root/next && sed -i 's/^Version: /&9/' /root/next/DEBIAN/control")
    box.ok("dpkg-deb --root-owner-group -Zgzip -z1 -b /root/next /root/next.deb && rm -r /root/next")
    box.ok(f"{QUIET} dpkg -i /root/next.deb")
    active, enabled, after = state(box, "MainPID")
    assert (active, enabled) == ("active", "enabled")
    assert before != after
    assert (box.root / "etc/clipspool/config.toml").read_bytes() == config
    assert delivered(box) == 1
    drop(box, "two")


def test_removed_it_stops_and_keeps_journal_and_configuration_and_installed_again_it_goes_on(box):
    box.ok(f"{QUIET} dpkg --remove clipspool")
    assert state(box)[0] == "inactive"
    assert not (box.root / "opt/clipspool").exists()
    assert (box.root / JOURNAL).exists()
    assert (box.root / "etc/clipspool/config.toml").exists()
    box.ok(f"{QUIET} dpkg -i /root/first.deb")
    assert state(box)[0] == "active"
    assert delivered(box) == 2


def test_purged_it_leaves_nothing_but_clips(box):
    box.ok("mkdir -p /var/lib/clipspool-b/bay && cp /srv/template.mp4 /var/lib/clipspool-b/bay/")
    (box.root / "etc/clipspool/b.toml").write_text("")
    done = box.run(f"{QUIET} dpkg --purge clipspool")
    assert done.code == 0, done
    for gone in ("opt/clipspool", "var/lib/clipspool", "etc/clipspool", "usr/bin/clipspool"):
        assert not (box.root / gone).exists(), gone
    assert box.ok("find /etc /usr/lib /lib -path '*clipspool*'") == ""
    assert box.run("id clipspool").code != 0
    kept = (
        "srv/clips/bay-1-results/one.mp4",
        "srv/clips/bay-1/_done/one.mp4",
        "var/lib/clipspool-b/bay/template.mp4",
    )
    for clip in kept:
        assert (box.root / clip).exists(), clip
    assert "/var/lib/clipspool-b is kept" in done.err
