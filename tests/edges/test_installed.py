"""What unit files say of the configurations that they serve."""

import shutil
from pathlib import Path

import pytest

from clipspool.cli import which_journal
from clipspool.cli.group import Context
from clipspool.system.units import Unit, instance_of, state_of, unit_of
from repository import SYSTEMD


@pytest.fixture
def units(tmp_path):
    folder = tmp_path / "system"
    folder.mkdir()
    for name in ("clipspool.service", "clipspool@.service"):
        shutil.copy(SYSTEMD / name, folder)
    return folder


@pytest.mark.parametrize(
    ("config", "name", "journal"),
    [
        ("/etc/clipspool/config.toml", "clipspool.service", "/var/lib/clipspool/journal.sqlite3"),
        ("/etc/clipspool/bay-1.toml", "clipspool@bay-1.service", "/var/lib/clipspool-bay-1/journal.sqlite3"),
    ],
)
def test_our_units_say_where_the_journal_of_a_configuration_is(units, config, name, journal):
    unit = unit_of(Path(config), (units,))
    assert (unit.name, unit.user, unit.journal) == (name, "clipspool", Path(journal))
    assert state_of(Path(config)) == Path(journal).parent


@pytest.mark.parametrize("config", ["/etc/clipspool/a/b.toml", "/srv/config.toml", "/etc/clipspool/x.txt"])
def test_another_file_is_nobodys(units, config):
    assert unit_of(Path(config), (units,)) is None
    assert instance_of(Path(config)) is None


def test_the_drop_in_of_an_instance_is_read_for_that_instance_alone(units):
    drop_in = units / "clipspool@bay-1.service.d/folders.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nUser=ann\nLoadCredential=web_token:/etc/clipspool/bay-1.web_token\n")
    one, other = (unit_of(Path(f"/etc/clipspool/bay-{number}.toml"), (units,)) for number in (1, 2))
    assert (one.user, other.user) == ("ann", "clipspool")
    assert one.credentials["web_token"] == Path("/etc/clipspool/bay-1.web_token")
    assert set(other.credentials) == {"provider_api_key"}


def test_a_unit_written_by_hand_and_its_drop_ins_are_read(tmp_path):
    (tmp_path / "video.service").write_text(
        "[Service]\nUser=nobody\nEnvironment=CLIPSPOOL_CONFIG=/srv/v.toml 'A=b c'\n"
        "ExecStart=/usr/bin/python3 -m clipspool \\\n  run\nStateDirectory=video other\n"
    )
    unit = unit_of(Path("/srv/v.toml"), (tmp_path,))
    assert (unit.name, unit.user) == ("video.service", "nobody")
    assert unit.journal == Path("/var/lib/video/journal.sqlite3")
    (tmp_path / "video.service.d").mkdir()
    (tmp_path / "video.service.d" / "local.conf").write_text(
        "[Service]\nUser=ed\nEnvironment=CLIPSPOOL_JOURNAL__PATH=/data/j.sqlite3\n"
    )
    unit = unit_of(Path("/srv/v.toml"), (tmp_path,))
    assert (unit.user, unit.journal) == ("ed", Path("/data/j.sqlite3"))


@pytest.mark.parametrize("line", ["run -c {}", "run --config {}", "-c {} run", "run --config={}"])
def test_each_way_to_name_a_configuration_is_known(tmp_path, line):
    text = f"[Service]\nExecStart=/opt/clipspool/bin/clipspool {line.format('/srv/x.toml')}\n"
    (tmp_path / "one.service").write_text(text)
    assert unit_of(Path("/srv/x.toml"), (tmp_path,)).name == "one.service"
    assert unit_of(Path("/srv/y.toml"), (tmp_path,)) is None


def test_other_services_and_unreadable_files_are_passed_over(tmp_path):
    (tmp_path / "a.service").write_text("[Service]\nExecStart=/usr/bin/other run -c /srv/x.toml\n")
    (tmp_path / "b.service").write_bytes(b"\xff\xfe[Service]\nExecStart=clipspool run 'unbalanced\n")
    (tmp_path / "c.service").symlink_to("/nowhere")
    (tmp_path / "d.service").mkdir()
    assert unit_of(Path("/srv/x.toml"), (tmp_path, tmp_path / "nowhere")) is None


def test_a_command_takes_the_database_s_password_from_the_credential_of_the_service(tmp_path, monkeypatch):
    config, credential = tmp_path / "config.toml", tmp_path / "journal_password"
    config.write_text(
        f'[journal]\nurl = "postgresql:///farm"\npath = "{tmp_path}/j"\n'
        '[[inbox]]\npath = "in"\noutbox = "out"\n'
    )
    unit = Unit("clipspool.service", config, config, credentials={"journal_password": credential})
    monkeypatch.setattr(which_journal, "unit_of", lambda file: unit if file == config else None)

    def given():
        return Context(str(config)).settings("none").journal.place.password

    assert given() is None, "who may not read it may have a file of passwords"
    credential.write_text("opensesame\n")
    assert given() == "opensesame"
    monkeypatch.setenv("CLIPSPOOL_JOURNAL__PASSWORD", "mine")
    assert given() == "mine"
