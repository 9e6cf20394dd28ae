"""The service as its README says, under a real systemd: installed, used, broken in every way, and removed.

The tests tell one story, in this order, in one container.
"""

import json
import re
import time

import pytest

from ground.debian import REPOSITORY
from ground.service.container import booted, environment, is_possible
from runway_sandbox.render import sample

pytestmark = pytest.mark.skipif(not is_possible(), reason="a container needs root and Linux")
CONFIG = "/etc/clipspool/config.toml"
ORDERS = ("status", "status --json", "jobs", "jobs --json", "pause", "resume")


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    with booted(tmp_path_factory.mktemp("service")) as container:
        yield container


@pytest.fixture(scope="module")
def lines():
    section = (REPOSITORY / "README.md").read_text().partition("### As a service\n")[2].partition("\n## ")[0]
    found = [line.strip() for line in section.splitlines() if line.startswith("    ")]
    assert 0 < len(found) <= 6
    return found


def main_pid(box):
    return int(box.ok("systemctl show -p MainPID --value clipspool"))


def status(box, **options):
    return json.loads(box.ok("clipspool status --json", **options))


def edit(box, old, new):
    text = box.ok(f"cat {CONFIG}")
    assert old in text
    (box.root / CONFIG[1:]).write_text(text.replace(old, new))


def drop(box, name, inbox="bay-1"):
    template = box.root / "srv/template.mp4"
    if not template.exists():
        sample(template, seconds=1, width=320, height=180)
    # Each clip has bytes of its own, or it would be a duplicate.
    part = f".{name}.part"
    own = f"printf '\\0\\0\\0\\110free{name:64}' >> {part}"
    sidecar = f"echo 'prompt = \"winter\"' > {name}.toml"
    box.ok(
        f"cd /srv/clips/{inbox} && cp /srv/template.mp4 {part} && {own} && {sidecar} && mv {part} {name}.mp4"
    )


def delivered(box, name, seconds=90):
    path = box.root / f"srv/clips/bay-1-results/{name}.mp4"
    box.until(path.exists, seconds, f"{name} is delivered")
    box.until((box.root / f"srv/clips/bay-1/_done/{name}.mp4").exists, 30, f"{name} is put away")


def paid(box):
    ledger = box.root / "root/paid.jsonl"
    return len(ledger.read_text().splitlines()) if ledger.exists() else 0


def test_the_readmes_lines_start_it_as_they_stand(box, lines):
    assert box.run("command -v clipspool").code != 0
    for line in lines:
        done = box.run(f"cd /root/clipspool && {line}", seconds=600, **environment())
        assert done.code == 0, f"{line}\n{done}"
    assert box.ok("systemctl is-active clipspool").strip() == "active"
    assert box.ok("systemctl is-enabled clipspool").strip() == "enabled"
    assert box.ok("stat -c %U:%G /srv/clips/bay-1").strip() == "clipspool:clipspool"
    named = box.ok("systemctl show -p Documentation --value clipspool").strip()
    assert (box.root / named.removeprefix("file:///").removeprefix("file:/")).is_file()


def test_run_again_it_changes_nothing(box):
    before = main_pid(box)
    assert "nothing was changed" in box.ok("clipspool service install --yes")
    assert main_pid(box) == before


def test_a_good_configuration_is_taken_up_by_a_reload(box):
    box.ok("systemd-run -q --unit=stand-in clipspool sandbox --render canned --ledger /root/paid.jsonl")
    before = main_pid(box)
    edit(box, "https://api.cometapi.com", "http://127.0.0.1:8787")
    edit(box, "[budget]", "poll_seconds_min = 0.5\npoll_seconds_max = 1\n\n[budget]")
    assert box.run("systemctl reload clipspool").code == 0
    assert main_pid(box) == before


def test_a_clip_comes_out_as_the_services_user(box):
    drop(box, "one")
    delivered(box, "one")
    assert box.ok("stat -c %U /srv/clips/bay-1-results/one.mp4").strip() == "clipspool"
    assert paid(box) == 1


@pytest.mark.parametrize("is_running", [True, False])
@pytest.mark.parametrize("user", [None, "clipspool", "op"])
def test_every_command_finds_the_services_journal(box, user, is_running):
    box.run("id op || useradd -m -G clipspool op")
    box.ok(f"systemctl {'start' if is_running else 'stop'} clipspool")
    told = status(box, user=user)
    assert told["daemon"]["running"] is is_running
    assert told["jobs"]["delivered"] == 1
    (job,) = box.ok("clipspool jobs --json", user=user).splitlines()
    job = json.loads(job)["id"]
    for order in (f"show {job}", f"logs {job}", *ORDERS):
        # Who may only look at a journal cannot change it alone; the daemon takes orders from its group.
        may = is_running or user != "op" or order not in {"pause", "resume"}
        done = box.run(f"clipspool {order}", user=user)
        assert done.code == (0 if may else 1), f"{order}\n{done}"
        assert "Traceback" not in done.err
        if not may:
            assert "run this as its owner, clipspool" in done.err
        elif order == "pause":
            assert ("takes effect when it starts" in done.out) is not is_running
    assert box.run("find / -xdev -name 'journal.sqlite3' -not -path '/proc/*'").out.split() == [
        "/var/lib/clipspool/journal.sqlite3"
    ]


@pytest.mark.parametrize("env", [{}, {"HOME": "/root"}, {"HOME": ""}])
def test_a_stranger_gets_one_sentence(box, env):
    box.run("id stranger || useradd -m stranger")
    box.ok("systemctl start clipspool")
    for order in ORDERS:
        done = box.run(f"clipspool {order}", user="stranger", **env)
        assert done.code == 1, done
        assert "may not use the journal /var/lib/clipspool" in done.err
        assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize("user", [None, "clipspool"])
def test_check_finds_nothing_wrong_as_root_and_as_the_services_user(box, user):
    box.ok("systemctl start clipspool")
    done = box.run("clipspool check --offline", user=user)
    assert done.code == 0, done
    assert "BAD" not in done.out
    assert "/var/lib/clipspool/journal.sqlite3" in done.out


def test_a_journal_that_root_recovers_is_the_services_and_its_clips_go_on(box):
    box.ok("systemctl start clipspool && clipspool pause")
    drop(box, "waiting")
    box.until(lambda: status(box)["jobs"]["queued"] == 1, 30, "it is accepted")
    box.ok("systemctl stop clipspool && mkdir /root/lost && mv /var/lib/clipspool/journal* /root/lost/")
    done = box.run("clipspool jobs")
    assert done.code == 1
    assert "There is no journal at /var/lib/clipspool/journal.sqlite3 yet" in done.err
    assert box.ok("ls -A /var/lib/clipspool") == ""
    box.ok("clipspool recover --yes")
    assert box.ok("stat -c %U /var/lib/clipspool/journal.sqlite3").strip() == "clipspool"
    box.ok("systemctl start clipspool")
    delivered(box, "waiting")
    assert paid(box) == 2


def test_a_pause_by_root_is_heard_and_a_start_later_too(box):
    box.ok("systemctl start clipspool && clipspool pause")
    assert "paused: bay-1" in box.until(
        lambda: (text := box.ok("systemctl show -p StatusText clipspool")) and "paused" in text and text,
        20,
        "STATUS= tells of the pause",
    )
    before = paid(box)
    drop(box, "two")
    box.until(lambda: status(box)["jobs"]["queued"] == 1, 30, "it is accepted")
    time.sleep(2)
    assert paid(box) == before
    box.ok("systemctl stop clipspool && clipspool resume && systemctl start clipspool")
    delivered(box, "two")
    assert paid(box) == before + 1


def test_a_second_daemon_is_refused(box):
    for user in (None, "clipspool"):
        done = box.run("clipspool run", user=user, CLIPSPOOL_PROVIDER__API_KEY="sk-other")
        assert done.code == 1
        assert re.search(r"is served already, by process \d+ of user clipspool on \S+, since 20", done.err)
        assert len(done.err.strip().splitlines()) == 1


def test_root_does_not_take_the_services_place(box):
    box.ok("systemctl stop clipspool")
    done = box.run("clipspool run", CLIPSPOOL_PROVIDER__API_KEY="sk-other")
    assert done.code == 1
    assert "Start it with `systemctl start clipspool`." in done.err
    box.ok("systemctl start clipspool")


def test_a_reload_of_a_broken_file_fails_and_the_old_one_stays(box):
    good = box.ok(f"cat {CONFIG}")
    before = main_pid(box)
    for broken in ("nonsense = 1\n", "[provider\n", '[journal]\npath = "/srv/other.sqlite3"\n'):
        (box.root / CONFIG[1:]).write_text(good + broken)
        done = box.run("systemctl reload clipspool")
        assert done.code != 0, broken
    assert main_pid(box) == before
    assert "reload_refused" in box.ok("journalctl -u clipspool -n 20 -o cat --no-pager")
    (box.root / CONFIG[1:]).write_text(good)
    assert box.run("systemctl reload clipspool").code == 0
    drop(box, "three")
    delivered(box, "three")


def test_a_taken_port_stops_no_work_and_the_page_comes_once_it_is_free(box):
    good = box.ok(f"cat {CONFIG}")
    (box.root / CONFIG[1:]).write_text(good + '\n[web]\nlisten = "127.0.0.1:8765"\n')
    box.ok("systemd-run -q --unit=squatter python3 -m http.server 8765 --bind 127.0.0.1")
    box.until(lambda: "python3" in box.run("clipspool check --offline").out, 20, "check sees who has it")
    box.ok("systemctl restart clipspool")
    drop(box, "four")
    delivered(box, "four")
    assert "page cannot listen" in box.until(
        lambda: (text := box.ok("systemctl show -p StatusText clipspool")) and "page" in text and text,
        20,
        "STATUS= tells of the port",
    )
    assert status(box)["daemon"]["troubles"]
    box.ok("systemctl stop squatter")
    box.until(lambda: not status(box)["daemon"]["troubles"], 30, "the page is served")
    assert "served on 127.0.0.1:8765, by process" in box.ok("clipspool check --offline | cat")
    (box.root / CONFIG[1:]).write_text(good)
    box.ok("systemctl restart clipspool")


def test_an_inbox_that_is_away_is_told_of(box):
    box.ok("chmod 0 /srv/clips/bay-1")
    text = box.until(
        lambda: (text := box.ok("systemctl show -p StatusText clipspool")) and "offline" in text and text,
        90,
        "STATUS= tells of the inbox",
    )
    assert "inbox bay-1 offline" in text
    box.ok("chmod 2775 /srv/clips/bay-1")
    box.until(lambda: "offline" not in box.ok("systemctl show -p StatusText clipspool"), 90, "it comes back")


def test_the_decoder_may_write_what_two_passes_share_and_nothing_else(box):
    (box.root / "srv/trial.py").write_text(
        "from clipspool.media import confine, pool\n"
        "scratch = pool.scratch_folder(None)\nfolder = scratch.name\n"
        "print(folder, confine.forbid_files_and_network(folder))\n"
        "open(f'{folder}/stats', 'w').close()\n"
        "try:\n    open('/dev/shm/other', 'w')\n"
        "except OSError as error:\n    print('elsewhere', error.strerror, flush=True)\n"
    )
    unit = (REPOSITORY / "systemd/clipspool.service").read_text()
    for old, new in (
        (r"ExecStart=.*", "ExecStart=/opt/clipspool/bin/python /srv/trial.py"),
        (r"Type=.*|WatchdogSec=.*|ExecReload=.*|Restart=.*", ""),
        (r"(State|Runtime)Directory=.*", ""),
    ):
        unit = re.sub(rf"^(?:{old})$", new, unit, flags=re.MULTILINE)
    (box.root / "etc/systemd/system/trial.service").write_text(f"{unit}[Service]\nType=oneshot\n")
    done = box.run("systemctl daemon-reload && systemctl start trial; journalctl -u trial -o cat --no-pager")
    assert re.search(r"^/dev/shm/clipspool-decoder-\w+ True$", done.out, re.MULTILINE), done
    assert "elsewhere Permission denied" in done.out
    box.ok("rm /etc/systemd/system/trial.service /srv/trial.py && systemctl daemon-reload")


def test_hooks_are_confined_and_a_token_of_a_name_comes_as_a_credential(box):
    good = box.ok(f"cat {CONFIG}")
    (box.root / "srv/hook.sh").write_text(
        "cat > /srv/clips/bay-1-results/told.json; touch /etc/mine; ls /home | wc -l; id -un\n"
    )
    hooks = '\n[hooks]\nafter_delivery = ["/bin/sh", "/srv/hook.sh"]\n'
    (box.root / CONFIG[1:]).write_text(f'{good}{hooks}[web]\nlisten = "127.0.0.1:8766"\n[web.tokens.op]\n')
    done = box.run("clipspool check --offline")
    assert done.code != 0
    assert "web_token_op" in done.out + done.err
    box.ok("umask 077 && echo a-token-of-some-length > /etc/clipspool/web_token_op")
    box.ok("clipspool service install --yes && systemctl restart clipspool")
    drop(box, "hooked")
    delivered(box, "hooked")
    assert json.loads(box.ok("cat /srv/clips/bay-1-results/told.json"))["hook"] == "after_delivery"
    job = json.loads(box.ok("cat /srv/clips/bay-1-results/told.json"))["id"]
    told = box.until(
        lambda: (
            (text := box.ok(f"clipspool logs {job}", user="op")) and "Read-only file system" in text and text
        ),
        20,
        "the hook's words are in the history",
    )
    assert "0 clipspool" in told
    pause = (
        "import sys, urllib.request as u\n"
        "r = u.Request('http://127.0.0.1:8766/api/v1/jobs', headers={'Authorization': sys.argv[1]})\n"
        "print(u.urlopen(r).status)\n"
    )
    (box.root / "srv/ask.py").write_text(pause)
    assert box.ok("python3 /srv/ask.py 'Bearer a-token-of-some-length'").strip() == "200"
    assert "HTTP Error 401" in box.run("python3 /srv/ask.py 'Bearer another-token-of-length'").err
    (box.root / CONFIG[1:]).write_text(good)
    box.ok("rm /etc/clipspool/web_token_op && clipspool service install --yes && systemctl restart clipspool")


def test_the_services_group_backs_up_looks_at_what_is_due_and_runs_a_clip_again(box):
    good = box.ok(f"cat {CONFIG}")
    (box.root / CONFIG[1:]).write_text(good + "\n[retention]\ndone_days = 30\n")
    box.ok("systemctl reload clipspool")
    jobs = box.ok("clipspool jobs --json").splitlines()
    (job,) = [one["id"] for one in map(json.loads, jobs) if "two.mp4" in json.dumps(one)]
    for user in (None, "clipspool", "op"):
        place = f"$(mktemp -d)/journal-{user}.sqlite3"
        assert "checked" in box.ok(f"clipspool backup {place}", user=user)
        assert "nothing is due" in box.ok("clipspool prune --dry-run", user=user)
        assert "nothing is due" in box.ok("clipspool prune --yes", user=user)
    before = paid(box)
    box.ok(f"clipspool again {job} --set seed=7 --yes", user="op")
    box.until((box.root / "srv/clips/bay-1-results/two_v002.mp4").exists, 90, "the next version is delivered")
    assert paid(box) == before + 1
    (box.root / CONFIG[1:]).write_text(good)
    box.ok("systemctl reload clipspool")


def test_a_daemon_that_is_killed_or_hangs_is_started_again_and_pays_nothing_twice(box):
    before = paid(box)
    quick = box.root / "etc/systemd/system/clipspool.service.d/quick.conf"
    quick.write_text("[Service]\nWatchdogSec=8\nRestartSec=1\n")
    box.ok("systemctl daemon-reload && systemctl restart clipspool")
    for number, name in ((9, "five"), (19, "six")):
        old = main_pid(box)
        drop(box, name)
        box.ok(f"kill -{number} {old}")
        box.until(lambda old=old: main_pid(box) not in {0, old}, 60, f"it is started again after {number}")
        delivered(box, name)
    assert paid(box) == before + 2
    quick.unlink()
    box.ok("systemctl daemon-reload && systemctl restart clipspool")


def test_it_is_started_again_however_often_its_journals_disk_was_full(box):
    quick = box.root / "etc/systemd/system/clipspool.service.d/quick.conf"
    quick.write_text("[Service]\nRestartSec=100ms\n")
    box.ok("systemctl daemon-reload && systemctl stop clipspool")
    box.ok("mount -t tmpfs -o size=64k none /var/lib/clipspool")
    box.ok("head -c 64k /dev/zero > /var/lib/clipspool/full")
    box.ok("systemctl start --no-block clipspool")
    starts = "systemctl show -p NRestarts --value clipspool"
    box.until(lambda: int(box.ok(starts)) > 12, 120, "it was started more than ten times")
    box.ok("umount -l /var/lib/clipspool")
    box.until(lambda: main_pid(box) and status(box)["daemon"]["running"], 60, "it runs once there is room")
    quick.unlink()
    box.ok("systemctl daemon-reload && systemctl restart clipspool")


def test_what_is_missing_is_named_and_mended_by_installing_again(box):
    box.ok("systemctl stop clipspool && mv /srv/clips/bay-1-results /srv/kept")
    assert "226/NAMESPACE" in box.run("clipspool check --systemd").err
    assert "/srv/clips/bay-1-results does not exist" in box.run("clipspool service status").out
    box.ok("mv /etc/clipspool/provider_api_key /root/key")
    done = box.run("clipspool service install --yes")
    assert "has no API key yet and was not started" in done.out
    assert box.run("systemctl is-active clipspool").out.strip() == "inactive"
    assert "nothing was changed" not in box.ok("clipspool service install --yes --key-file /root/key")
    assert box.ok("stat -c '%a %U' /etc/clipspool/provider_api_key").strip() == "600 root"
    assert box.ok("systemctl is-active clipspool").strip() == "active"
    box.ok(
        "systemctl stop clipspool && rm -r /srv/clips/bay-1-results && mv /srv/kept /srv/clips/bay-1-results"
    )
    box.ok("systemctl start clipspool")


def test_a_second_configuration_gets_a_unit_a_journal_and_a_user_of_its_own(box):
    config = '[provider]\nbase_url = "http://127.0.0.1:8787/runwayml/v1"\npoll_seconds_min = 0.5\n'
    config += '[[inbox]]\nname = "b"\npath = "/srv/b"\noutbox = "/srv/b-results"\n'
    (box.root / "etc/clipspool/b.toml").write_text(config)
    box.ok("echo sk-b > /root/key-b")
    order = "clipspool service install -c /etc/clipspool/b.toml --user films --uid 861 --yes"
    box.ok(f"{order} --key-file /root/key-b")
    assert "nothing was changed" in box.ok(order)
    assert box.ok("id -u films").strip() == "861"
    assert box.ok("systemctl show -p User --value clipspool@b").strip() == "films"
    assert json.loads(box.ok("clipspool status -c /etc/clipspool/b.toml --json"))["inboxes"][0]["name"] == "b"
    assert box.ok("stat -c %U /var/lib/clipspool-b/journal.sqlite3").strip() == "films"
    assert status(box)["inboxes"][0]["name"] == "bay-1"
    box.ok("systemctl reload clipspool@b")
    box.ok("clipspool service remove -c /etc/clipspool/b.toml --user films --purge --yes")
    assert box.run("id films").code != 0
    assert not (box.root / "etc/systemd/system/clipspool@.service").exists()
    assert box.run("ls /var/lib/clipspool-b").code != 0
    assert box.ok("systemctl is-active clipspool").strip() == "active"


@pytest.mark.parametrize(
    ("order", "told"),
    [
        ("--uid 1", "is that of the user"),
        ("--user clipspool --uid 4321", "has the id"),
        ("-c /etc/clipspool/relative.toml", "which lies in /etc"),
        ("-c /etc/clipspool/nowhere.toml", "There is no /etc/clipspool/nowhere.toml"),
        ("-c /srv/clips/config.toml", "gets a unit of its own"),
    ],
)
def test_what_cannot_be_installed_is_refused_in_a_sentence(box, order, told):
    text = '[[inbox]]\nname = "r"\npath = "bay-1"\noutbox = "bay-1-results"\n'
    (box.root / "etc/clipspool/relative.toml").write_text(text)
    user = "" if "--user" in order or "-c" in order else "--user new "
    done = box.run(f"clipspool service install --yes {user}{order}")
    assert done.code == 1, done
    assert told in done.err
    assert "Traceback" not in done.err
    assert box.run("id new").code != 0


def test_removed_it_leaves_clips_configuration_and_journal(box):
    box.ok("clipspool service remove --yes")
    assert box.run("systemctl is-active clipspool").out.strip() != "active"
    assert box.run("ls /etc/systemd/system/clipspool.service").code != 0
    for kept in ("/var/lib/clipspool/journal.sqlite3", CONFIG, "/srv/clips/bay-1-results/one.mp4"):
        assert (box.root / kept[1:]).exists()
    assert "nothing was changed" in box.ok("clipspool service remove --yes")
    assert box.run("clipspool service status").code == 1
    assert status(box)["jobs"]["delivered"] >= 6
    box.ok("clipspool service remove --purge --yes")
    assert not (box.root / "var/lib/clipspool").exists()
    assert (box.root / "srv/clips/bay-1-results/one.mp4").exists()
    assert box.run("id clipspool").code != 0
