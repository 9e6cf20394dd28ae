"""What the installation writes and tries, as far as it needs no systemd."""

import errno
import os
import pwd
from pathlib import Path

import pytest

from clipspool.app.settings import load
from clipspool.cli.installing import standing
from clipspool.cli.installing.steps import (
    _not_mounted,
    _refuse_relative_folders,
    drop_in_text,
    left_out,
    unit_text,
)
from clipspool.cli.installing.user import account, to_make, trouble_in, trouble_reading
from clipspool.cli.installing.wish import CannotInstall, Wish
from clipspool.system.units import Unit, handed_over, state_of

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
MAIN, INSTANCE = Path("/etc/clipspool/config.toml"), Path("/etc/clipspool/bay-1.toml")


def settings_of(tmp_path, keys="", inbox="/srv/in", outbox="/srv/out"):
    file = tmp_path / "config.toml"
    file.write_text(f'{keys}\n[[inbox]]\npath = "{inbox}"\noutbox = "{outbox}"\n')
    return load(file, {"STATE_DIRECTORY": "/var/lib/clipspool"}, needs="none")


def test_a_configuration_has_a_unit_a_state_folder_and_a_key_of_its_own():
    assert (Wish(MAIN).unit, Wish(INSTANCE).unit) == ("clipspool", "clipspool@bay-1")
    assert Wish(INSTANCE).unit_file == Path("/etc/systemd/system/clipspool@.service")
    assert Wish(INSTANCE).drop_in == Path("/etc/systemd/system/clipspool@bay-1.service.d/folders.conf")
    assert Wish(INSTANCE).credential("web_token") == Path("/etc/clipspool/bay-1.web_token")
    assert state_of(INSTANCE) == Path("/var/lib/clipspool-bay-1")


def test_the_unit_calls_the_program_where_it_is_with_its_configuration():
    text = unit_text(Wish(Path("/srv/my clips/c.toml")), Path("/opt/a b/bin/clipspool"))
    for line in (
        'ExecStart="/opt/a b/bin/clipspool" run --config "/srv/my clips/c.toml"',
        'ExecReload="/opt/a b/bin/clipspool" service reload --config "/srv/my clips/c.toml"',
    ):
        assert f"\n{line}\n" in text
    template = unit_text(Wish(INSTANCE), Path("/opt/clipspool/bin/clipspool"))
    assert "run --config /etc/clipspool/%i.toml\n" in template
    for line in text.splitlines():
        if line.startswith("Documentation=file:"):
            assert Path(line.removeprefix("Documentation=file:")).is_file()


def test_another_user_and_a_key_from_a_file_stand_in_the_drop_in(tmp_path):
    key = tmp_path / "key"
    key.write_text("sk-of-some-length")
    settings = settings_of(tmp_path, f'[provider]\napi_key_file = "{key}"')
    text = drop_in_text(Wish(MAIN, "films"), settings, "films")
    assert "[Service]\nUser=films\nGroup=films\nLoadCredential=\n" in text
    plain = drop_in_text(Wish(MAIN), settings_of(tmp_path), "clipspool")
    assert "User=" not in plain
    assert "LoadCredential" not in plain


def test_a_token_by_name_without_its_secret_is_named_with_the_place_for_it(tmp_path):
    page = '[web]\nlisten = "127.0.0.1:8765"\n[web.tokens.edit]\nrights = ["look"]'
    first, last = left_out(Wish(INSTANCE), settings_of(tmp_path, page))
    assert "`web.tokens.edit` has no token" in first
    assert "/etc/clipspool/bay-1.web_token_NAME" in last
    assert list(left_out(Wish(INSTANCE), settings_of(tmp_path))) == []


def test_relative_folders_of_a_configuration_in_etc_are_refused_with_the_fix(tmp_path):
    settings = settings_of(tmp_path, inbox="/etc/clipspool/bay-1")
    with pytest.raises(CannotInstall, match="Write the whole path, such as /srv/clips/bay-1"):
        _refuse_relative_folders(Wish(MAIN), settings)
    _refuse_relative_folders(Wish(MAIN), settings_of(tmp_path))


def test_a_folder_whose_mount_is_away_is_not_made_on_the_disk_below(tmp_path):
    table = tmp_path / "fstab"
    table.write_text(f"# comment\nnas:/x {tmp_path}/with\\040space nfs defaults 0 0\nother / ext4 x 0 1\n")
    assert _not_mounted(tmp_path / "with space/bay", table) == tmp_path / "with space"
    assert _not_mounted(tmp_path / "elsewhere", table) is None
    table.write_text("proc /proc proc defaults 0 0\n")
    assert _not_mounted(Path("/proc/x"), table) is None


def test_a_user_who_is_there_is_taken_and_ids_that_are_taken_are_refused():
    me = pwd.getpwuid(os.getuid()).pw_name
    assert to_make(Wish(MAIN, me)) is None
    assert account("no-such-user-here") is None
    with pytest.raises(CannotInstall, match="is that of the user"):
        to_make(Wish(MAIN, "no-such-user-here", os.getuid()))
    with pytest.raises(CannotInstall, match="has the id"):
        to_make(Wish(MAIN, me, 54_321))
    command = to_make(Wish(MAIN, "no-such-user-here", 54_321))
    assert command[:4] == ["useradd", "--system", "--uid", "54321"]


@as_root
def test_what_a_user_may_do_is_tried_as_that_user(open_path):
    nobody = account("nobody")
    closed = open_path / "closed"
    closed.mkdir(mode=0o755)
    (closed / "file").write_text("x")
    (closed / "file").chmod(0o600)
    assert trouble_in(closed, nobody) == errno.EACCES
    assert trouble_reading(closed / "file", nobody) == errno.EACCES
    closed.chmod(0o777)
    (closed / "file").chmod(0o604)
    assert trouble_in(closed, nobody) == trouble_reading(closed / "file", nobody) == 0
    assert trouble_in(open_path / "nowhere", nobody) == errno.ENOENT
    assert list(closed.iterdir()) == [closed / "file"]


def test_secrets_that_systemd_hands_over_stand_in_for_the_environments(monkeypatch, tmp_path):
    monkeypatch.setattr("clipspool.system.units.CONFIGURATIONS", tmp_path)
    (tmp_path / "provider_api_key").write_text("sk-1\n")
    (tmp_path / "web_token").write_text("token-of-some-length")
    (tmp_path / "web_token_edit").write_text("token-of-an-editor")
    (tmp_path / "journal_password").write_text("of-the-database")
    config = tmp_path / "config.toml"
    assert handed_over(config, {}) == {
        "CLIPSPOOL_PROVIDER__API_KEY": "sk-1",
        "CLIPSPOOL_WEB__TOKEN": "token-of-some-length",
        "CLIPSPOOL_WEB__TOKENS__EDIT__TOKEN": "token-of-an-editor",
        "CLIPSPOOL_JOURNAL__PASSWORD": "of-the-database",
    }
    assert "CLIPSPOOL_WEB__TOKEN" not in handed_over(config, {"CLIPSPOOL_WEB__TOKEN": "mine"})


@pytest.mark.parametrize(
    ("config", "command"),
    [
        (MAIN, "clipspool service install"),
        (Path("/srv/my clips/c.toml"), "clipspool service install -c '/srv/my clips/c.toml'"),
    ],
)
def test_without_a_service_one_line_says_what_to_type_for_this_very_configuration(
    monkeypatch, config, command
):
    monkeypatch.setattr(standing, "unit_of", lambda _config: None)
    monkeypatch.setattr(standing, "serving", lambda _config: None)
    runs, lines = standing.standing(Wish(config), [], f"{config}: cannot be read")
    assert (runs, lines) == (False, [f"No service is installed for {config}: `{command}` installs it."])


def test_what_keeps_a_service_from_running_is_said_with_what_to_type(monkeypatch):
    failed = "ActiveState=failed\nSubState=failed\nResult=exit-code\nExecMainStatus=226\n"
    unit = Unit("clipspool@bay-1.service", Path("/x"), INSTANCE, "films")
    monkeypatch.setattr(standing, "unit_of", lambda _config: unit)
    monkeypatch.setattr(standing, "serving", lambda _config: None)
    monkeypatch.setattr(standing, "asked", lambda *_words: failed)
    runs, lines = standing.standing(Wish(INSTANCE), [], "a key is unknown")
    todo = "`clipspool service install -c /etc/clipspool/bay-1.toml --user films` creates it"
    assert not runs
    assert lines[0].endswith(f"(exit-code, exit code 226); a folder that it needs does not exist: {todo}.")
    assert lines[-1] == "a key is unknown"
