"""Reading settings from real files, environments and credentials, and comparing real folders."""

import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from clipspool.app.settings import Settings, SettingsError, load, places
from clipspool.system.redaction import redact
from repository import EXAMPLE

CANARY = "canary-5up3r-s3cr3t"
INBOX = '[[inbox]]\npath = "bay 1"\noutbox = "out"\n'


@pytest.fixture
def read(tmp_path):
    """Write a configuration and load it; the environment is the given one alone."""

    def write_and_load(text=INBOX, **env):
        file = tmp_path / "config.toml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(file, {"HOME": str(tmp_path / "home"), **env})

    return write_and_load


@pytest.fixture
def refused(read):
    def refuse(text=INBOX, **env):
        with pytest.raises(SettingsError) as trouble:
            read(text, **env)
        told = str(trouble.value)
        assert CANARY not in told
        assert redact(told) == told, "the log of a reload that is refused says it whole"
        return told

    return refuse


def test_relative_paths_begin_at_the_file_and_tilde_is_home(read, tmp_path):
    settings = read('[[inbox]]\npath = "bay 1"\noutbox = "~/out"\n[journal]\npath = "../j.sqlite3"\n')
    assert settings.inbox[0].path == tmp_path / "bay 1"
    assert settings.inbox[0].outbox == tmp_path / "home/out"
    assert settings.journal.path == Path(os.path.realpath(tmp_path)).parent / "j.sqlite3"
    assert settings.file == tmp_path / "config.toml"


def test_the_journal_lies_in_the_state_directory_else_at_home(read, tmp_path):
    assert read(STATE_DIRECTORY="/var/lib/a:/b").journal.path == Path("/var/lib/a/journal.sqlite3")
    assert read().journal.path == tmp_path / "home/.local/state/clipspool/journal.sqlite3"


def test_the_environment_wins_over_the_file(read):
    settings = read(
        INBOX + "[provider]\nrunning_max = 9\nconnect_seconds = 3\n[defaults]\npriority = 1\n",
        CLIPSPOOL_PROVIDER__RUNNING_MAX="3",
        CLIPSPOOL_LOGS__LEVEL="DEBUG",
        CLIPSPOOL_BUDGET__CREDITS_PER_DAY="",
        CLIPSPOOL_DEFAULTS__MODEL="aleph2",
        CLIPSPOOL_DEFAULTS__SEED="7",
    )
    assert (settings.provider.running_max, settings.provider.connect_seconds) == (3, 3.0)
    assert settings.logs.level == "debug"
    assert settings.budget.credits_per_day is None
    assert settings.defaults == {"priority": 1, "model": "aleph2", "seed": 7}


def test_the_environment_alone_can_serve(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inboxes = json.dumps([{"path": "a", "outbox": "b", "extensions": [".mov"]}])
    settings = load(None, {"HOME": str(tmp_path), "CLIPSPOOL_INBOX": inboxes})
    assert settings.inbox[0].path == Path(os.path.realpath(tmp_path)) / "a"
    assert settings.file is None


def test_variables_that_others_name_after_us_are_passed_over(read):
    assert read(CLIPSPOOL_WEB_PORT="tcp://10.0.0.7:80", CLIPSPOOL_SERVICE_HOST="10.0.0.7").inbox


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("CLIPSPOOL_PROVIDER__RUNNING_MAX", CANARY, "`provider.running_max` must be a whole number"),
        ("CLIPSPOOL_PROVIDER__RUNING_MAX", CANARY, "did you mean `running_max`?"),
        ("CLIPSPOOL_PROVIDR__RUNNING_MAX", CANARY, "did you mean `provider`?"),
        ("CLIPSPOOL_BUDGET_CREDITS_PER_DAY", CANARY, "did you mean CLIPSPOOL_BUDGET__CREDITS_PER_DAY?"),
        ("CLIPSPOOL_PROVIDER__API_KEY", CANARY + " ", "printable ASCII"),
        ("CLIPSPOOL_INBOX", f"[{CANARY}", "must be JSON"),
        (
            "CLIPSPOOL_INBOX",
            f'[{{"path": "a", "outbox": "{CANARY}", "priority": "{CANARY}"}}]',
            "must be a whole number",
        ),
        ("CLIPSPOOL_PROVIDER", CANARY, "must be JSON"),
        ("CLIPSPOOL_HOOKS__BEFORE_SUBMIT", CANARY, 'must be JSON: a list as ["a", "b"]'),
        ("CLIPSPOOL_INBOX__0__PATH", CANARY, "all inboxes are one list, as in CLIPSPOOL_INBOX=[{"),
        ("CLIPSPOOL_MODELS__GEN4_ALEPH__CREDITS_PER_SECND", CANARY, "did you mean `credits_per_second`?"),
    ],
)
def test_a_wrong_variable_is_named_and_its_value_is_not(refused, name, value, words):
    sentence = refused(**{name: value})
    assert sentence.startswith(f"environment, {name}")
    assert words in sentence
    assert "\n" not in sentence


def test_a_mistake_of_a_table_that_the_environment_gave_a_part_of_is_looked_for_in_both(refused):
    sentence = refused(INBOX + "[provider]\npoll_seconds_min = 60\n", CLIPSPOOL_PROVIDER__API_KEY=CANARY)
    assert "config.toml" in sentence.partition(":")[0]
    assert ", or the environment: `provider` has `poll_seconds_min` above `poll_seconds_max`" in sentence


# --- the key ----------------------------------------------------------------------------------------------


def key(settings):
    return settings.provider.api_key.get_secret_value()


def test_a_key_that_cannot_be_one_is_said_to_be_where_it_came_from(refused, tmp_path):
    (tmp_path / "provider_api_key").write_text("k")
    assert refused(CREDENTIALS_DIRECTORY=str(tmp_path)).startswith(
        "credential provider_api_key, or the file of "
    )
    assert refused(CLIPSPOOL_PROVIDER__API_KEY="k").startswith("environment, CLIPSPOOL_PROVIDER__API_KEY: ")


def test_the_key_comes_from_the_environment_then_a_credential_then_its_file(read, tmp_path):
    (tmp_path / "key").write_text("from-file\n")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    text = INBOX + '[provider]\napi_key_file = "key"\n'
    assert key(read(text)) == "from-file"
    assert read(text).provider.api_key_file == tmp_path / "key"
    (credentials / "api_key").write_text("from-short-credential")
    assert key(read(text, CREDENTIALS_DIRECTORY=str(credentials))) == "from-short-credential"
    (credentials / "provider_api_key").write_text("from-credential\n")
    assert key(read(text, CREDENTIALS_DIRECTORY=str(credentials))) == "from-credential"
    everything = {"CREDENTIALS_DIRECTORY": str(credentials), "CLIPSPOOL_PROVIDER__API_KEY": "from-env"}
    assert key(read(text, **everything)) == "from-env"
    assert read(CREDENTIALS_DIRECTORY=str(tmp_path / "none")).provider.api_key is None


@pytest.mark.parametrize(
    "text",
    [
        f'[provider]\napi_key = "{CANARY}"\n',
        f'provider = {{ api_key = "{CANARY}" }}\n',
        f'provider.api_key = "{CANARY}"\n',
        f'api_key = "{CANARY}"\n',
        f'[provider]\nAPI-Key = "{CANARY}"\n',
    ],
)
def test_a_key_in_the_file_refuses_the_start_and_says_where_it_belongs(refused, text):
    sentence = refused(text + INBOX)
    assert "must not stand in the file" in sentence
    assert "CLIPSPOOL_PROVIDER__API_KEY" in sentence
    assert "provider_api_key" in sentence
    assert "api_key_file" in sentence
    assert "\n" not in sentence


def test_the_journals_password_comes_from_environment_or_credential_and_stands_in_no_file(
    read, refused, tmp_path
):
    url = '[journal]\nurl = "postgresql://ann@db/farm"\n'

    def password(**env):
        return read(url + INBOX, **env).journal.place.password

    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/journal_password").write_text("the-credentials\n")
    assert password() is None
    assert password(CREDENTIALS_DIRECTORY=str(tmp_path / "credentials")) == "the-credentials"
    assert password(CLIPSPOOL_JOURNAL__PASSWORD="the-environments") == "the-environments"
    sentence = refused(f'{url}password = "{CANARY}"\n{INBOX}')
    assert "`journal.password` must not stand in the file" in sentence
    assert "PGPASSFILE" in sentence
    assert CANARY not in sentence


def test_a_key_file_that_cannot_be_used_is_named(refused, tmp_path):
    text = INBOX + '[provider]\napi_key_file = "key"\n'
    assert "config.toml, line 5: `provider.api_key_file` names a file that cannot be read" in refused(text)
    (tmp_path / "key").mkdir()
    assert "config.toml, line 5: `provider.api_key_file` names a file that cannot be read" in refused(text)
    (tmp_path / "key").rmdir()
    (tmp_path / "key").write_text(f"{CANARY} and more\n")
    assert "`provider.api_key` must be 4 to 4096 printable ASCII" in refused(text)
    (tmp_path / "key").write_bytes(b"\xff\xfe\x00")
    assert "`provider.api_key` must be" in refused(text)


# --- the file ---------------------------------------------------------------------------------------------


def test_several_mistakes_have_a_line_each(refused, tmp_path):
    text = "[provider]\nrunning_max = 0\nrunnin_max = 3\n[[inbox]]\npath = 3\n"
    file = tmp_path / "config.toml"
    assert set(refused(text).splitlines()) == {
        f"{file}, line 2: `provider.running_max` must be at least 1",
        f"{file}, line 3: `provider.runnin_max` is an unknown key, did you mean `running_max`?",
        f"{file}, line 5: `path` of [[inbox]] number 1 must be a path in quotes",
        f"{file}, line 4: `outbox` of [[inbox]] number 1 is missing",
    }


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a = [[[[\n", "is not TOML"),
        (b"a = in\n", "text is written in quotes"),
        (b"a = 1\na = 2\n", "is there already"),
        (b'a = "C:\\Users"\n', "begins a special sign: write /"),
        (b"[defaults]\npromt = 1\n" + INBOX.encode(), "`defaults.promt` is an unknown key, did you mean"),
        (b"a = " + b"[" * 5000, "nested too deep"),
        (b"a = " + b"9" * 5000, "number or date that cannot be"),
        (b"# \xff\n", "line 1: is not UTF-8"),
        (b"#" * (1 << 20) + b"#", "larger than"),
        (b"", "names no [[inbox]]"),
        (b'path = "\\u0000"\n' + INBOX.encode(), "unknown key here, it belongs in [journal] or [[inbox]]"),
        (INBOX.replace("bay 1", "a\\u0000b").encode(), "must name a file or folder"),
        (INBOX.replace("bay 1", "").encode(), "must name a file or folder"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_a_sentence(refused, data, words):
    assert words in refused(data)


def test_a_byte_order_mark_and_windows_line_ends_are_fine(read):
    assert read(b"\xef\xbb\xbf" + INBOX.replace("\n", "\r\n").encode()).inbox[0].name == "bay-1"


def test_a_file_that_is_missing_or_no_file_is_refused_without_waiting(tmp_path):
    with pytest.raises(SettingsError, match=r"nowhere.toml: cannot be read: No such file"):
        load(tmp_path / "nowhere.toml", {})
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SettingsError, match="no regular file"):
        load(tmp_path / "fifo", {})
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load(tmp_path, {})
    with pytest.raises(SettingsError, match=r"gone.toml: cannot be read"):
        load(None, {"CLIPSPOOL_CONFIG": str(tmp_path / "gone.toml"), "CLIPSPOOL_INBOX": "[]"})


def test_a_file_is_looked_for_in_the_documented_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env = {"HOME": str(tmp_path / "home")}
    assert places(env) == [
        tmp_path / "config.toml",
        tmp_path / "home/.config/clipspool/config.toml",
        Path("/etc/clipspool/config.toml"),
    ]
    with pytest.raises(SettingsError, match="clipspool init"):
        load(None, env)
    user = tmp_path / "home/.config/clipspool/config.toml"
    user.parent.mkdir(parents=True)
    user.write_text(INBOX)
    assert load(None, env).file == user
    (tmp_path / "config.toml").write_text(INBOX)
    assert load(None, env).file == tmp_path / "config.toml"
    assert load(None, {**env, "CLIPSPOOL_CONFIG": str(user)}).file == user


def test_defaults_are_checked_as_a_sidecar_is(refused):
    assert "`defaults.prio`" in refused(INBOX + "[defaults]\nprio = 1\n")
    sentence = refused(INBOX + "[inbox.defaults]\nseed = -1\n")
    assert "`defaults.seed` of [[inbox]] number 1 has to be a whole number" in sentence


def test_models_are_checked(refused):
    sentence = refused(INBOX + "[models.gen4_aleph]\ncredits_per_secnd = 1\n")
    assert "line 5: `models.gen4_aleph.credits_per_secnd` is an unknown key, did you mean" in sentence
    sentence = refused(INBOX + '[models.m]\nfallback = "a"\ncredits_per_second = -1\nrunning_max = "x"\n')
    for line, words in enumerate(
        (
            "`models.m.fallback` must be a list, in [ ]",
            "`models.m.credits_per_second` must be at least 0",
            "`models.m.running_max` must be a whole number, without quotes",
        ),
        5,
    ):
        assert f"line {line}: {words}" in sentence


# --- the folders ------------------------------------------------------------------------------------------


def inboxes(*pairs):
    return "".join(
        f"[[inbox]]\nname = 'i{n}'\npath = '{path}'\noutbox = '{outbox}'\n"
        for n, (path, outbox) in enumerate(pairs)
    )


@pytest.mark.parametrize(
    "pairs",
    [
        [("a", "a")],
        [("a", "a/out")],
        [("a/in", "a")],
        [("a", "x"), ("a", "y")],
        [("a", "x"), ("a/b", "y")],
        [("a/b", "x"), ("a", "y")],
        [("a", "x"), ("b", "a/deep/out")],
        [("a", "x"), ("x/in", "y")],
        [("a", "b/../a")],
        [("a", "a/./out")],
        [("/", "x")],
    ],
)
def test_folders_that_lie_in_each_other_are_refused(refused, pairs):
    assert any(word in refused(inboxes(*pairs)) for word in ("same folder", "lies inside", "holds"))


def test_folders_side_by_side_and_a_shared_outbox_are_fine(read):
    assert len(read(inboxes(("a", "out"), ("ab", "out"), ("a b", "out2"))).inbox) == 3


def test_two_inboxes_of_one_name_are_refused(refused):
    text = '[[inbox]]\npath = "x/In"\noutbox = "o"\n[[inbox]]\npath = "y/in"\noutbox = "o"\n'
    assert "the name of number 1 already" in refused(text)


@pytest.mark.parametrize("link", ["out", "deep"])
def test_a_link_into_an_inbox_is_seen_through(refused, tmp_path, link):
    (tmp_path / "a/sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a/sub")
    outbox = "link" if link == "out" else "link/not/there/yet"
    assert "lies inside" in refused(inboxes(("a", outbox)))


def test_a_journal_in_an_inbox_is_refused(refused):
    sentence = refused(INBOX + '[journal]\npath = "bay 1/sub/journal.sqlite3"\n')
    assert "`journal.path` must not lie inside" in sentence


def test_the_root_of_all_files_is_no_inbox(refused):
    assert "root of all files" in refused(INBOX.replace("bay 1", "/"))


@pytest.fixture
def bound(tmp_path):
    """Bind a folder below an inbox to another name, as far as this machine lets us."""
    (tmp_path / "a/sub").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    mount = shutil.which("mount") or ""
    command = [mount, "--bind", str(tmp_path / "a/sub"), str(tmp_path / "elsewhere")]
    if os.geteuid() != 0 or not mount or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("binding a folder takes root")
    yield tmp_path / "elsewhere"
    subprocess.run(["umount", str(tmp_path / "elsewhere")], check=True)


def test_a_bind_into_an_inbox_is_seen_through(refused, bound):
    assert "lies inside" in refused(inboxes(("a", "elsewhere")))
    assert "lies inside" in refused(inboxes(("a", "elsewhere/not/there/yet")))
    assert "same folder" in refused(inboxes(("a/sub", "elsewhere")))
    assert bound.is_dir()


# --- the example ------------------------------------------------------------------------------------------


def keys_in_example():
    """Uncomment the keys that are not set by default; every other comment is prose."""
    lines = EXAMPLE.read_text("utf-8").splitlines()
    shown = [line[1:] if line.startswith("#") and line[1:2] not in {" ", ""} else line for line in lines]
    return tomllib.loads("\n".join(shown))


def test_the_example_lists_every_key():
    example = keys_in_example()
    for section, field in Settings.model_fields.items():
        assert section in example
        if section in {"defaults", "models", "path_map", "presets"}:
            continue
        table = example[section][0] if section == "inbox" else example[section]
        model = field.annotation.__args__[0] if section == "inbox" else field.annotation
        secrets = {"api_key", "proxy_login", "urls", "webhook_secret", "token", "password", "key"}
        assert set(table) == set(model.model_fields) - secrets, section


def test_what_the_example_sets_is_the_real_default(read, tmp_path):
    shutil.copy(EXAMPLE, tmp_path / "example.toml")
    example = load(tmp_path / "example.toml", {"HOME": str(tmp_path / "home")})
    bare = read('[[inbox]]\npath = "bay-1"\noutbox = "bay-1-results"\n')
    assert example.model_dump() == bare.model_dump()


def test_what_the_example_shows_in_comments_is_accepted(tmp_path):
    text = EXAMPLE.read_text("utf-8")
    shown = [
        line[1:] if line.startswith("#") and line[1:2] not in {" ", ""} else line
        for line in text.splitlines()
    ]
    (tmp_path / "config.toml").write_text("\n".join(shown))
    key_file = tmp_path / ".config/clipspool/api_key"
    key_file.parent.mkdir(parents=True)
    key_file.write_text("some-key\n")
    key_file.with_name("notify_urls").write_text("ntfys://ntfy.example.com/clips\n")
    key_file.with_name("signing.key").write_text("-----BEGIN PRIVATE KEY-----\n")
    key_file.with_name("webhook_secret").write_text("whsec_" + "A" * 32)
    key_file.with_name("proxy_login").write_text("studio:password\n")
    key_file.with_name("web_token").write_text("some-token-of-16-characters\n")
    key_file.with_name("edit_token").write_text("another-token-of-16-characters\n")
    settings = load(tmp_path / "config.toml", {"HOME": str(tmp_path)})
    assert settings.inbox[0].folder_mode == 0o2775
    assert settings.models["gen4_aleph"] == {
        "credits_per_second": 15.0,
        "fallback": ["aleph2"],
        "fallback_seconds": 1800,
        "running_max": 2,
        "credits_per_day": 1000.0,
        "always": ["seed", "ratio", "references", "contentModeration"],
    }
    assert settings.journal.path == tmp_path / ".local/state/clipspool/journal.sqlite3"


def test_the_token_of_the_page_comes_from_environment_credential_or_file_and_never_from_the_configuration(
    read, tmp_path
):
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/web_token").write_text("the-credentials-token\n")
    (tmp_path / "token").write_text("  the-token-of-the-file\n")
    plain = '[web]\ntoken_file = "token"\n[[inbox]]\npath = "bay-1"\noutbox = "bay-1-results"\n'

    def token(**env):
        return read(plain, **env).web.token.get_secret_value()

    credentials = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    assert token() == "the-token-of-the-file"
    assert token(**credentials) == "the-credentials-token"
    assert (
        token(**credentials, CLIPSPOOL_WEB__TOKEN="the-token-of-the-environment")
        == "the-token-of-the-environment"
    )
    with pytest.raises(
        SettingsError, match=r"`web.token` must not stand in the file: set CLIPSPOOL_WEB__TOKEN"
    ) as no:
        read(plain.replace("token_file", "token"))
    assert "the-token" not in str(no.value)
    with pytest.raises(SettingsError, match=r"`web.token_file` names a file that cannot be read"):
        read(plain.replace('"token"', '"nowhere"'))


NAMED = """[web]
token_file = "token"
[web.tokens.edit]
rights = ["look", "add"]
token_file = "token-of-edit"
[web.tokens.night]
[[inbox]]
path = "bay-1"
outbox = "bay-1-results"
"""


def test_a_token_with_a_name_comes_from_environment_credential_or_file(read, tmp_path):
    for name in ("token", "token-of-edit", "web_token_night"):
        (tmp_path / name).write_text(f"the-{name}-of-some-length\n")
    credentials = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    web = read(NAMED, **credentials).web
    assert {name: token.get_secret_value() for name, token in web.secrets.items()} == {
        "": "the-token-of-some-length",
        "edit": "the-token-of-edit-of-some-length",
        "night": "the-web_token_night-of-some-length",
    }
    assert web.tokens["edit"].rights == ("look", "add")
    assert web.tokens["night"].rights == ("look", "add", "decide")
    web = read(NAMED, **credentials, CLIPSPOOL_WEB__TOKENS__NIGHT__TOKEN="of-the-environment").web
    assert web.secrets["night"].get_secret_value() == "of-the-environment"
    with pytest.raises(SettingsError, match=r"`web.tokens.edit.token` must not stand in the file") as no:
        read(NAMED.replace('token_file = "token-of', 'token = "token-of'))
    assert "token-of-edit" not in str(no.value)


@pytest.mark.parametrize("needs", ["none", "paid"])
def test_a_token_with_a_name_that_is_set_nowhere_fails_the_check_and_keeps_nobody_from_work(
    read, tmp_path, needs
):
    (tmp_path / "token").write_text("the-token-of-some-length\n")
    (tmp_path / "token-of-edit").write_text("the-token-of-some-length-for-edit\n")
    missing = "`web.tokens.night` has no token; set CLIPSPOOL_WEB__TOKENS__NIGHT__TOKEN, or give a systemd"
    with pytest.raises(SettingsError, match=missing):
        read(NAMED)
    file = tmp_path / "config.toml"
    file.write_text(NAMED)
    settings = load(file, {"HOME": str(tmp_path)}, needs=needs)
    assert list(settings.web.tokens) == ["edit"]
    assert missing in redact(settings.troubles[0])


FAR = '[web]\nlisten = "0.0.0.0:8765"\n[notify]\nwebhook_url = "https://tools.example.com/x"\n'


@pytest.mark.parametrize("needs", ["none", "paid"])
def test_secrets_of_the_page_and_of_notifications_that_cannot_be_read_keep_nobody_from_work(tmp_path, needs):
    keys = FAR.replace("[notify]", 'token_file = "nowhere"\n[notify]\nwebhook_secret_file = "nowhere"')
    file = tmp_path / "config.toml"
    file.write_text(keys + '[[inbox]]\npath = "in"\noutbox = "out"\n')
    settings = load(file, {"HOME": str(tmp_path)}, needs=needs)
    assert (settings.web.listen, settings.notify.webhook_url) == (None, None)
    assert [trouble.split(": ")[1].split(" ")[0] for trouble in settings.troubles] == [
        "`web.token_file`",
        "`notify.webhook_secret_file`",
    ]
    with pytest.raises(SettingsError, match="cannot be read"):
        load(file, {"HOME": str(tmp_path)})


def test_who_only_looks_needs_no_secret_that_the_daemon_has_from_elsewhere(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(FAR + '[[inbox]]\npath = "in"\noutbox = "out"\n')
    assert load(file, {"HOME": str(tmp_path)}, needs="none").web.listen is None
    with pytest.raises(SettingsError, match="there is no token"):
        load(file, {"HOME": str(tmp_path)}, needs="paid")


def test_a_key_file_that_cannot_be_read_stops_a_run_and_no_look(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text('[provider]\napi_key_file = "nowhere"\n[[inbox]]\npath = "in"\noutbox = "out"\n')
    assert load(file, {"HOME": str(tmp_path)}, needs="none").provider.api_key is None
    with pytest.raises(SettingsError, match="api_key_file"):
        load(file, {"HOME": str(tmp_path)}, needs="paid")
