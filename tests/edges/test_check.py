"""`clipspool check` against real folders, good and bad."""

import os
import shutil
import socket
import stat
import subprocess
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import postgres
from clipspool.app.settings import load
from clipspool.cli.check import Finding, is_fit, look
from clipspool.cli.check.folders import abilities_of, in_time
from clipspool.cli.check.services import look_at_database
from clipspool.cli.check.setup import look_at_journal, look_at_process
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.journal import Address, Journal
from clipspool.journal.server import Condition
from clipspool.system import mounts
from disks import REFUSALS, Disk
from repository import EXAMPLE

CANARY = "canary-5up3r-s3cr3t"


@dataclass
class Account:
    """A provider that answers one question."""

    answer: Any
    asked: list[str] = field(default_factory=list)

    def ask_account(self):
        self.asked.append("account")
        return self.answer


@pytest.fixture
def settings(tmp_path):
    """Write a configuration and make its folders unless told otherwise."""

    def make(more="", *, folders=True, **env):
        (tmp_path / "config.toml").write_text(f'[[inbox]]\npath = "in"\noutbox = "out"\n{more}')
        for name in ("in", "out") if folders else ():
            (tmp_path / name).mkdir(exist_ok=True)
        return load(tmp_path / "config.toml", {"HOME": str(tmp_path), **env})

    return make


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def worst(findings, what=""):
    """Return the findings that are not ok."""
    return [f for f in findings if f.level != "ok" and f.what.startswith(what) and f.what != "user"]


def test_a_farm_without_a_database_is_told_of(settings):
    found = worst(look(settings('[farm]\nnode = "a"\n')), "farm")
    assert [(one.level, "works alone" in one.why) for one in found] == [("warn", True)]


def test_all_is_well(settings, tmp_path):
    account = Account({"balance": 12.5, "nested": {"key": CANARY}})
    found = list(look(settings(CLIPSPOOL_PROVIDER__API_KEY=CANARY), account))
    assert worst([f for f in found if "GB are free" not in f.why]) == []
    assert is_fit([f for f in found if "GB are free" not in f.why])
    assert found[-1] == Finding("ok", "provider", "balance 12.5")
    assert account.asked == ["account"]
    assert CANARY not in repr(found)
    assert list((tmp_path / "in").iterdir()) == list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_is_not_the_one_the_journal_knows_is_bad(settings, tmp_path):
    here = settings()
    here.journal.path.parent.mkdir(parents=True, exist_ok=True)
    with closing(Journal.open(here.journal.path)) as journal, journal.turn():
        journal.set_fact("folders", {"inbox:in": "a" * 16, "outbox:in": "b" * 16})
    (tmp_path / "out").rmdir()
    inbox, outbox = worst(look(here), "inbox in") + worst(look(here), "outbox of in")
    assert inbox.level == outbox.level == "bad"
    assert inbox.why == f"{tmp_path / 'in'} is not the inbox it was: it has no .clipspool/inbox.toml"
    assert outbox.why == f"{tmp_path / 'out'} is missing, and was there before"
    assert "clipspool resume in" in inbox.what_to_do
    assert "clipspool resume in" in outbox.what_to_do
    assert names_in(tmp_path / "in") == []


def test_root_is_sent_to_the_services_user_only_where_there_is_a_service(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (found,) = look_at_process()
    assert found.what_to_do == "run the check as the user that will run the daemon"


def test_the_example_is_accepted_offline(tmp_path):
    shutil.copy(EXAMPLE, tmp_path / "config.toml")
    found = list(look(load(tmp_path / "config.toml", {"HOME": str(tmp_path)})))
    assert is_fit(found)
    assert [f.why.rpartition("/")[2] for f in worst(found) if "box" in f.what] == [
        "bay-1 does not exist yet",
        "bay-1-results does not exist yet",
    ]


def test_a_missing_key_is_bad_only_when_the_provider_is_asked(settings):
    assert [f.level for f in look(settings()) if f.what == "API key"] == ["warn"]
    (found,) = [f for f in look(settings(), Account({})) if f.what == "API key"]
    assert found.level == "bad"
    assert "CLIPSPOOL_PROVIDER__API_KEY" in found.what_to_do


def test_a_fault_of_the_account_is_passed_on(settings):
    fault = Fault(FaultOf.ACCOUNT, "ACCOUNT.KEY_REFUSED", "the key was refused", "look at the key")
    found = list(look(settings(), Account(fault)))[-1]
    assert found == Finding("bad", "provider", "the key was refused (ACCOUNT.KEY_REFUSED)", "look at the key")


def test_a_key_file_that_others_may_read_is_said(settings, tmp_path):
    (tmp_path / "key").write_text(CANARY)
    (tmp_path / "key").chmod(0o644)
    more = '[provider]\napi_key_file = "key"\nca_file = "none.pem"\n'
    found = {f.what: f for f in worst(look(settings(more)))}
    assert "chmod 600" in found["provider.api_key_file"].what_to_do
    assert found["provider.ca_file"].level == "bad"
    (tmp_path / "key").chmod(0o600)
    assert "provider.api_key_file" not in {f.what for f in worst(look(settings(more)))}


def test_a_folder_that_is_missing_or_none_is_said(settings, tmp_path):
    config = settings(folders=False)
    (tmp_path / "out").write_text("a file")
    found = {f.what: f for f in worst(look(config))}
    assert found["inbox in"].level == "warn"
    assert "does not exist yet" in found["inbox in"].why
    assert (found["outbox of in"].level, found["outbox of in"].why) == (
        "bad",
        f"{tmp_path}/out is not a folder",
    )
    gone = config.model_copy(
        update={"inbox": (config.inbox[0].model_copy(update={"path": tmp_path / "a/b"}),)}
    )
    assert [f.level for f in worst(look(gone), "inbox")] == ["bad"]


def test_a_probe_leaves_a_folder_of_ours_as_it_was(settings, tmp_path):
    config = settings()
    ours = tmp_path / "in/.clipspool"
    ours.mkdir()
    (ours / "inbox.toml").write_text("id = 'x'")
    assert worst(look(config), "inbox") == []
    assert names_in(ours) == ["inbox.toml"]


def test_a_link_in_the_place_of_our_folder_is_not_followed(settings, tmp_path):
    config = settings()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in/.clipspool").symlink_to(tmp_path / "elsewhere")
    assert [f.level for f in worst(look(config), "inbox")] == ["bad"]
    assert names_in(tmp_path / "elsewhere") == []


@pytest.fixture
def mounted():
    """Mount a tmpfs, as far as this machine lets us."""
    mounts = []

    def mount(folder, options):
        command = ["mount", "-t", "tmpfs", "-o", options, "clipspool-test", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting takes root")
        mounts.append(str(folder))

    yield mount
    for folder in mounts:
        subprocess.run(["umount", folder], check=True)


def test_a_read_only_folder_and_a_full_one_are_said(settings, tmp_path, mounted):
    config = settings()
    mounted(tmp_path / "in", "ro")
    mounted(tmp_path / "out", "size=1m,nr_inodes=20")
    found = [(f.what, f.level, f.why) for f in worst(look(config))]
    assert ("inbox in", "bad", f"{tmp_path}/in cannot be used: Read-only file system") in found
    assert ("outbox of in", "bad", "0.0 GB are free") in found
    assert any("more files can be created" in why for _, _, why in found)


def test_each_folder_on_another_file_system_is_tried_and_what_is_copied_is_said(settings, tmp_path, mounted):
    config = settings()
    before = names_in(tmp_path / "in")
    for name in ("card/a", "card", "_done", "out"):
        where = tmp_path / name if name == "out" else tmp_path / "in" / name
        where.mkdir(parents=True, exist_ok=True)
    for name in ("in/card/a", "in/_done", "out"):
        mounted(tmp_path / name, "size=1m")
    found = [f.why for f in look(config) if f.what in {"inbox in", "outbox of in"} and "copied" in f.why]
    rename = "compared and removed (rename: invalid cross-device link)"
    assert found == [
        f"sources are copied into {tmp_path}/in/_done, {rename}",
        f"clips are copied from {tmp_path}/in/card/a, {rename}",
        f"results are copied into {tmp_path}/out, {rename}",
    ]
    assert [names_in(tmp_path / name) for name in ("in/card/a", "in/_done", "out")] == [[], [], []]
    assert set(names_in(tmp_path / "in")) == {*before, "_done", "card"}


@pytest.mark.parametrize("refused", REFUSALS)
def test_a_rename_that_is_refused_with_whatever_error_is_said_and_no_fault(settings, tmp_path, refused):
    config = settings()
    with Disk(0, refused).in_place():
        found = [f for f in look(config) if f.what in {"inbox in", "outbox of in"} and "copied" in f.why]
    assert [f.level for f in found] == ["ok", "ok"]
    assert all(os.strerror(refused).lower() in f.why for f in found)
    assert names_in(tmp_path / "out") == []


def test_a_folder_in_which_nothing_can_be_moved_is_said_with_the_calls(settings, tmp_path, mounted):
    config = settings()
    (tmp_path / "in/card").mkdir()
    mounted(tmp_path / "in/card", "size=1m")
    subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "in/card")], check=True)
    (found,) = worst(look(config), "inbox in")
    assert (found.level, found.why) == ("bad", f"{tmp_path}/in/card cannot be used: Read-only file system")


def test_a_folder_that_hangs_does_not_hang_the_check(tmp_path):
    os.mkfifo(tmp_path / "server")

    def stat_a_hung_nas():
        (tmp_path / "server").read_bytes()  # waits until somebody writes
        return []

    (found,) = in_time("inbox in", stat_a_hung_nas, 0.05)
    (tmp_path / "server").write_bytes(b"back again")
    assert found == Finding(
        "bad", "inbox in", "does not answer within 0.05 s", "check the mount and its server"
    )


def test_a_journal_that_cannot_be_one_is_said(settings, tmp_path):
    (tmp_path / "j").mkdir()
    more = '[journal]\npath = "j/journal.sqlite3"\n'
    assert worst([f for f in look(settings(more)) if f.what == "journal" and "free" not in f.why]) == []
    assert names_in(tmp_path / "j") == []
    (tmp_path / "j/journal.sqlite3").write_text("a shopping list, and quite long")
    (found,) = [f for f in worst(look(settings(more)), "journal") if "free" not in f.why]
    assert (found.level, "some other file" in found.why) == ("bad", True)
    (tmp_path / "j/journal.sqlite3").unlink()
    (tmp_path / "j/journal.sqlite3").mkdir()
    (found,) = [f for f in worst(look(settings(more)), "journal") if "free" not in f.why]
    assert "is not a file" in found.why


def test_a_journal_on_a_network_file_system_is_refused():
    (nas,) = mounts.parse(b"1 1 0:1 / / rw - nfs4 nas:/vol rw")
    (found,) = look_at_journal(Path("/srv/journal.sqlite3"), lambda _path: nas)
    assert found.level == "bad"
    assert "network file system (nfs4)" in found.why


def test_a_journal_in_postgresql_is_asked_what_it_does_for_durability(settings, tmp_path):
    """The tests' own server does not sync."""
    server = postgres.shared()
    server.schema("checked")
    more = f'[journal]\npath = "j/journal.sqlite3"\nurl = "{server.url("checked")}"\n'
    found = [one for one in look(settings(more)) if one.what == "journal"]
    assert [one.level for one in found] == ["ok", "bad", "bad", "warn"]
    assert "its tables are created at the first run" in found[0].why
    assert "a paid request may be forgotten, and paid again" in found[1].why
    assert [one.what_to_do for one in found[1:]] == [
        "set fsync = on",
        "set full_page_writes = on",
        "set synchronous_commit = on",
    ]
    with server.connect("checked") as beside:
        beside.execute("CREATE TABLE journal_schema AS SELECT '9999' AS number")
        beside.execute("CREATE ROLE reader LOGIN")
        beside.execute("GRANT USAGE ON SCHEMA checked TO reader")
        beside.execute("GRANT SELECT ON journal_schema TO reader")
    of_reader = more.replace("clipspool@", "reader@")
    newer, reads = [one for one in look(settings(of_reader)) if one.what == "journal"][1:3]
    assert (newer.level, "belongs to a newer clipspool" in newer.why) == ("bad", True)
    assert (reads.level, reads.what_to_do) == ("bad", "make the user the owner of the database")
    with server.connect() as beside:
        beside.execute("DROP SCHEMA checked CASCADE")
        beside.execute("DROP ROLE reader")
    Journal.open(tmp_path / "j/journal.sqlite3").close()
    (state,) = worst(look(settings(more)), "this machine's state")
    assert "is a journal of SQLite: copy it with `clipspool farm import`" in state.why


def test_replicas_that_are_not_waited_for_are_told(monkeypatch):
    on = dict.fromkeys(("fsync", "full_page_writes", "synchronous_commit"), "on")
    told = Condition("15.1", {**on, "synchronous_standby_names": ""}, 2, "0002")
    monkeypatch.setattr("clipspool.journal.server.condition_of", lambda _address: told)
    fine, replicas = look_at_database(Address("postgresql://db/farm"))
    assert (fine.level, fine.why) == ("ok", "postgresql://db/farm, PostgreSQL 15.1")
    assert replicas.level == "warn"
    assert "2 replicas and no synchronous standby" in replicas.why


def test_a_server_that_does_not_answer_is_bad():
    (found,) = look_at_database(Address("postgresql:///farm?host=/nowhere"))
    assert found.level == "bad"
    assert "does not answer" in found.why


def test_a_clock_before_our_time_is_said():
    assert next(iter(look_at_process(now=lambda: 0.0))).what == "clock"


def test_a_fallback_that_nobody_knows_is_said(settings):
    more = '[models.gen4_aleph]\nfallback = ["alef2", "aleph2"]\n'
    (found,) = worst(look(settings(more)), "[models.gen4_aleph] fallback")
    assert (found.level, "'alef2'" in found.why) == ("bad", True)


def test_a_default_model_that_nobody_knows_is_said(settings):
    (found,) = worst(look(settings('[defaults]\nmodel = "gen5"\n')), "[defaults]")
    assert found.level == "bad"
    assert "gen4_aleph" in found.what_to_do


def test_presets_that_nobody_can_ask_for_are_said(settings):
    named = '[presets."a/b"]\nseed = 1\n[presets.""]\nseed = 2\n[presets.snow]\nseed = 3\n'
    slash, empty, case = worst(look(settings(named + "[presets.Snow]\nseed = 4\n")), "[presets")
    assert (slash.what, slash.level, slash.why) == (
        "[presets.a/b]",
        "warn",
        "no sidecar can ask for a preset of that name",
    )
    assert empty.why == slash.why
    assert (case.what, "takes the place of [presets.snow]" in case.why) == ("[presets.Snow]", True)
    assert worst(look(settings("[presets.snow]\nseed = 3\n")), "[presets") == []


@pytest.mark.parametrize(
    ("lines", "is_told"),
    [
        ('ignore = ["*"]', True),
        ('ignore = ["*.mp4", "*.mov"]\nextensions = [".mp4", ".mov"]', True),
        ('ignore = ["*.mp4"]', False),
        ('ignore = ["shot*", "*_proxy.*"]', False),
        ("", False),
    ],
)
def test_an_inbox_that_ignores_every_clip_is_said(settings, lines, is_told):
    found = [one.why for one in worst(look(settings(lines)), "inbox") if "leaves out every clip" in one.why]
    assert len(found) == is_told


def test_a_model_that_is_retired_is_said_with_its_successor_and_another_is_not(settings):
    (found,) = [one for one in look(settings("")) if one.what == "model"]
    assert (found.level, "left its vendor's own interface on 2026-06-10" in found.why) == ("ok", True)
    assert "successor is aleph2" in found.why
    assert [one for one in look(settings('[defaults]\nmodel = "aleph2"\n')) if one.what == "model"] == []


def test_a_bug_in_a_check_is_not_swallowed():
    def crash():
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        in_time("inbox in", crash)


def test_the_probe_needs_no_rights_beyond_the_folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    folder.chmod(0o770)
    found = abilities_of(folder)
    assert found.links
    assert stat.S_IMODE(folder.stat().st_mode) == 0o770


def test_the_page_is_looked_at_where_there_is_one(settings, tmp_path):
    def said(web="", **env):
        return {f.what: f for f in look(settings(web, **env)) if "page" in f.what or "web" in f.what}

    assert said() == {}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    found = said(f'[web]\nlisten = "127.0.0.1:{port}"\n')
    assert "everyone on this machine can view it" in found["page"].why
    assert "CLIPSPOOL_WEB__TOKEN" in found["page's token"].what_to_do
    (tmp_path / "token").write_text("a-token-of-some-length")
    (tmp_path / "token").chmod(0o644)
    found = said(f'[web]\nlisten = "0.0.0.0:{port}"\ntoken_file = "token"\n')
    assert "log-in required" in found["page"].why
    assert found["web.token_file"].what_to_do == f"chmod 600 {tmp_path / 'token'}"
    (tmp_path / "token").chmod(0o600)
    assert set(said('[web]\nlisten = "[::1]:1"\ntoken_file = "token"\n')) == {"page"}
    assert said(f'[web]\nlisten = "unix:{tmp_path}/no/s"\n')["page"].why.endswith("/no does not exist")
