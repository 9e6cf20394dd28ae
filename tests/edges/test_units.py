"""The units and the drop-in, judged by systemd's own tools."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from clipspool.app.settings import load
from clipspool.app.settings.web import WebSettings
from clipspool.cli.check.dropin import quoted, systemd_drop_in
from patience import patient
from repository import SYSTEMD

UNITS = ("clipspool.service", "clipspool@.service")
ODD = (
    "plain",
    "with space",
    'q"uote',
    "a'b",
    "per%cent",
    "back\\slash",
    "$HOME",
    "übung",
    "semi;colon#x",
    "a:b",
)

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here"
)


def analyze(*arguments, **options):
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=patient(60),
        **options,
    )


def installed(unit, folder):
    """Copy a unit as if its program were there: verify looks for the file."""
    text = (SYSTEMD / unit).read_text()
    program = folder / "clipspool"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    name = unit.replace("@.", "@bay-1.")
    (folder / name).write_text(text.replace("/opt/clipspool/bin/clipspool", str(program)))
    return folder / name


@needs_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_has_nothing_to_say_about_a_unit(unit, tmp_path):
    done = analyze("verify", "--man=no", installed(unit, tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_hardened(unit):
    done = analyze("security", "--offline=true", "--no-pager", SYSTEMD / unit)
    exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)[1])
    assert exposure <= 1.5


def test_the_template_differs_from_the_unit_in_its_instance_only():
    def settings_of(unit):
        lines = (SYSTEMD / unit).read_text().splitlines()
        return [line for line in lines if line and not line.startswith("#")]

    single, template = (settings_of(unit) for unit in UNITS)
    differing = [(a, b) for a, b in zip(single, template, strict=True) if a != b]
    assert [a.partition("=")[0] for a, _ in differing] == [
        "Description", "ExecStart", "ExecReload", "StateDirectory", "RuntimeDirectory", "LoadCredential",
    ]  # fmt: skip
    assert all("%i" in b for _, b in differing)


def test_the_unit_keeps_what_the_contract_says():
    text = (SYSTEMD / "clipspool.service").read_text()
    for line in (
        "Type=notify", "NotifyAccess=main", "Restart=on-failure", "RestartPreventExitStatus=78",
        "StartLimitIntervalSec=0",
        "TimeoutStopSec=90", "User=clipspool", "Group=clipspool", "StateDirectory=clipspool",
        "RuntimeDirectory=clipspool", "RuntimeDirectoryPreserve=restart",
        "LoadCredential=provider_api_key:/etc/clipspool/provider_api_key",
        "SystemCallFilter=landlock_create_ruleset landlock_add_rule landlock_restrict_self",
    ):  # fmt: skip
        assert f"\n{line}\n" in text


def configured(tmp_path, inboxes, journal="/var/lib/clipspool/journal.sqlite3"):
    def literal(path):
        return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'

    text = f"[journal]\npath = {literal(journal)}\n"
    for number, path in enumerate(inboxes):
        outbox = literal(path + "-results")
        text += f'[[inbox]]\nname = "i{number}"\npath = {literal(path)}\noutbox = {outbox}\n'
    (tmp_path / "config.toml").write_text(text)
    return load(tmp_path / "config.toml", {})


@needs_systemd
def test_systemd_reads_every_path_of_the_drop_in_as_it_is(tmp_path):
    paths = [f"/srv/{name}" for name in ODD]
    drop_in = systemd_drop_in(configured(tmp_path, [*paths, "/home/ed it:or/bay"]))
    units = tmp_path / "units"
    units.mkdir()
    unit = installed("clipspool.service", units)
    folder = unit.with_name(unit.name + ".d")
    folder.mkdir()
    (folder / "folders.conf").write_text(drop_in)
    done = analyze("verify", "--man=no", unit, env={"SYSTEMD_LOG_LEVEL": "debug", "PATH": "/usr/bin:/bin"})
    seen = done.stdout
    for path in paths:
        assert f"RequiresMountsFor: {path} (origin-file)" in seen
        assert f"RequiresMountsFor: {path}-results (origin-file)" in seen
    (writable,) = re.findall(r"ReadWritePaths: (.*)", seen)
    both = [each for path in [*paths, "/home/ed it:or/bay"] for each in (path, path + "-results")]
    assert writable == " ".join(both)
    assert "BindPaths: /home/ed it:or/bay:/home/ed it:or/bay:rbind" in seen
    assert "ProtectHome: tmpfs" in seen


def test_a_journal_elsewhere_and_temporary_folders_are_let_in(tmp_path):
    drop_in = systemd_drop_in(configured(tmp_path, ["/tmp/bay"], journal="/data/clipspool/j.sqlite3"))
    assert 'ReadWritePaths="/data/clipspool"\n' in drop_in
    assert "PrivateTmp=no" in drop_in
    assert "ProtectHome" not in drop_in


def test_the_page_gets_its_token_and_the_folder_of_its_socket(tmp_path):
    settings = configured(tmp_path, ["/srv/bay"])

    def drop_in(**web):
        return systemd_drop_in(settings.model_copy(update={"web": WebSettings(**web)}))

    token = "a-token-of-some-length"
    ours = drop_in(listen="unix:/run/clipspool/web.sock", token=token)
    assert "LoadCredential=web_token:/etc/clipspool/web_token\n" in ours
    assert "RuntimeDirectory=clipspool\n" in ours
    assert token not in ours
    assert 'ReadWritePaths="/run/other"\n' in drop_in(listen="unix:/run/other/web.sock")
    op = {"token": f"{token}-2", "token_file": "/home/op/t"}
    named = drop_in(tokens={"edit": {"token": token}, "op": op})
    assert "LoadCredential=web_token_edit:/etc/clipspool/web_token_edit\n" in named
    assert "web_token_op" not in named
    assert 'BindReadOnlyPaths="/home/op/t"' in named
    plain = drop_in(listen="127.0.0.1:8765", token=token, token_file="/home/op/token")
    assert "LoadCredential" not in plain
    assert 'BindReadOnlyPaths="/home/op/token"' in plain


STATE = {"STATE_DIRECTORY": "/var/lib/clipspool"}
INBOX = '[[inbox]]\npath = "/srv/bay"\noutbox = "/srv/bay-results"\n'


def test_the_password_of_the_journal_comes_as_a_credential(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(f'{INBOX}[journal]\nurl = "postgresql://clipspool@db.example/clipspool"\n')
    drop_in = systemd_drop_in(load(config, STATE | {"CLIPSPOOL_JOURNAL__PASSWORD": "of-the-database"}))
    assert "LoadCredential=journal_password:/etc/clipspool/journal_password\n" in drop_in
    assert "of-the-database" not in drop_in
    assert "LoadCredential" not in systemd_drop_in(load(config, STATE))


@pytest.mark.parametrize(("mode", "is_let"), [("2775", True), ("0775", False)])
def test_a_service_whose_folders_pass_their_group_on_may_set_that_bit(tmp_path, mode, is_let):
    config = tmp_path / "config.toml"
    config.write_text(f'{INBOX}folder_mode = "{mode}"\n')
    assert ("RestrictSUIDSGID=no\n" in systemd_drop_in(load(config, STATE))) == is_let


def test_hooks_that_lie_in_a_home_are_let_in(tmp_path, monkeypatch):
    monkeypatch.setattr("clipspool.cli.check.dropin._HOMES", (tmp_path,))
    monkeypatch.setattr("clipspool.cli.check.dropin._TEMPORARY", ())
    (tmp_path / "check.py").touch()
    config = tmp_path / "config.toml"
    config.write_text(f'{INBOX}[hooks]\nbefore_submit = ["/usr/bin/python3", "check.py", "--strict"]\n')
    drop_in = systemd_drop_in(load(config, STATE))
    assert "ProtectHome=tmpfs\n" in drop_in
    assert f'BindReadOnlyPaths="{tmp_path}/check.py"\n' in drop_in
    assert "strict" not in drop_in


def test_a_configuration_in_a_home_is_let_in_with_its_folder_as_editors_save_by_a_rename(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("clipspool.cli.check.dropin._HOMES", (tmp_path,))
    monkeypatch.setattr("clipspool.cli.check.dropin._TEMPORARY", ())
    inbox = tmp_path / "op/clips/bay"
    for folder in ("", "op/", "op/clipspool/"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        config = tmp_path / f"{folder}config.toml"
        config.write_text(f'[[inbox]]\npath = "{inbox}"\noutbox = "/srv/out"\nsource = "keep"\n')
        bound = config.parent if folder == "op/clipspool/" else config
        drop_in = systemd_drop_in(load(config, STATE))
        assert f'BindReadOnlyPaths="{bound}"\n' in drop_in
        assert f'BindReadOnlyPaths="{inbox}"\n' in drop_in
    script = tmp_path / "op/results/hooks/tag.py"
    script.parent.mkdir(parents=True)
    script.touch()
    results = f'outbox = "{tmp_path}/op/results"\n[hooks]\nafter_delivery = ["{script}"]\n'
    config.write_text(f'[[inbox]]\npath = "{inbox}"\n{results}')
    assert f'BindReadOnlyPaths="{script}"\n' in systemd_drop_in(load(config, STATE))


def test_a_path_that_no_unit_can_hold_is_refused():
    for name in ("/srv/new\nline", "/srv/\udcff"):
        with pytest.raises(ValueError, match="cannot hold"):
            quoted(Path(name))
