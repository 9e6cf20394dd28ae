"""The keys, their limits, and the sentences about what is wrong with them."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from clipspool.app.build import has_portable_names
from clipspool.app.settings import Settings, changes
from clipspool.app.settings.reload import ChangedKeys
from clipspool.app.settings.wording import Source, line_of, spell, translate
from clipspool.system.redaction import redact_words

INBOX = {"path": "/srv/bay-1", "outbox": "/srv/out-1"}
JOURNAL = {"path": "/var/lib/clipspool/journal.sqlite3"}
CANARY = "canary-5up3r-s3cr3t"


def made(**values):
    return Settings(**{"journal": JOURNAL, "inbox": [INBOX], **values})


def said(**values):
    """Return the sentences that wrong values lead to, without the file in front."""
    try:
        made(**values)
    except ValidationError as error:
        refusal = str(Source(None, "", {}, {}).refusal(translate(error, Settings)))
        return refusal.replace("settings: ", "")
    raise AssertionError("was accepted")


def test_what_is_not_set_has_the_documented_default():
    settings = made()
    provider, inbox = settings.provider, settings.inbox[0]
    assert provider.base_url == "https://api.cometapi.com/runwayml/v1"
    assert (provider.running_max, provider.poll_seconds_min, provider.poll_seconds_max) == (5, 5.0, 30.0)
    assert (provider.connect_seconds, provider.answer_seconds, provider.inline_bytes_max) == (
        10,
        60,
        5_000_000,
    )
    assert (provider.ambiguous_submit, provider.api_key) == ("hold", None)
    assert (settings.budget.submissions_per_day, settings.budget.credits_per_day) == (500, None)
    assert (inbox.sidecar, inbox.detect, inbox.source, inbox.hold_seconds) == (
        "required",
        "auto",
        "archive",
        0,
    )
    assert (inbox.file_mode, inbox.folder_mode, inbox.result_name) == (None, None, "{stem}{variant}")


@pytest.mark.parametrize(
    ("there", "names", "is_portable"),
    [
        (None, None, False),
        ("Z:\\", None, True),
        (r"\\nas\clips", None, True),
        ("/Volumes/clips", None, False),
        ("Z:\\", "as_is", False),
        ("/Volumes/clips", "portable", True),
    ],
)
def test_names_are_portable_by_themselves_where_editors_have_a_drive_or_a_share(there, names, is_portable):
    known = {} if there is None else {"/srv": there}
    settings = made(path_map=known, inbox=[INBOX | ({} if names is None else {"names": names})])
    assert has_portable_names(settings, settings.inbox[0]) is is_portable


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError):
        made().provider.running_max = 9


@pytest.mark.parametrize(
    ("path", "name"),
    [("/srv/bay-1", "bay-1"), ("/srv/Bay 1 (A)", "Bay-1-A"), ("/srv/übung", "übung"), ("/srv/...", "inbox")],
)
def test_an_inbox_is_named_after_its_folder(path, name):
    assert made(inbox=[{**INBOX, "path": path}]).inbox[0].name == name


@pytest.mark.parametrize(
    "url",
    [
        "https://api.dev.runwayml.com/v1",
        "http://127.0.0.1:8080/v1",
        "http://[::1]:8080/v1",
        "http://localhost/v1",
        "https://localhost:8443/v1",
        "https://93.184.216.34/v1",
    ],
)
def test_the_provider_is_public_over_https_or_on_loopback(url):
    assert made(provider={"base_url": url + "/"}).provider.base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://api.cometapi.com/v1",
        "https://10.0.0.5/v1",
        "https://[fd00::1]/v1",
        "https://169.254.169.254/v1",
        "ftp://localhost/v1",
        "https://user:" + CANARY + "@api.cometapi.com/v1",
        "https://api.cometapi.com/v1?key=" + CANARY,
        "https://api.cometapi.com/v1#" + CANARY,
        "https://api.cometapi.com:99999/v1",
        "https://api.cometapi.com\\@evil/v1",
        "https:///v1",
        "https://[::1/v1",
        "api.cometapi.com/v1",
        "",
    ],
)
def test_another_address_is_refused_without_being_repeated(url):
    sentence = said(provider={"base_url": url})
    assert sentence.startswith("`provider.base_url` must ")
    assert CANARY not in sentence


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("running_max", 0),
        ("running_max", 10_001),
        ("running_max", True),
        ("running_max", 2.5),
        ("poll_seconds_min", 0.001),
        ("poll_seconds_min", float("nan")),
        ("poll_seconds_max", float("inf")),
        ("polls_per_second_max", 10_001),
        ("polls_per_second_max", 0),
        ("answer_seconds", -1),
        ("answer_seconds", 1e12),
        ("ambiguous_submit", CANARY),
        ("api_version", f"{CANARY}\r\nX-Evil: 1"),
        ("api_key", CANARY + "\n"),
        ("api_key", "abc"),
        ("inline_bytes_max", CANARY),
    ],
)
def test_a_value_out_of_its_limits_is_refused_by_key_and_never_shown(key, value):
    sentence = said(provider={key: value})
    assert sentence.startswith(f"`provider.{key}` ")
    assert CANARY not in sentence
    assert "\n" not in sentence


OTHER = "https://gateway.example.com/runwayml/v1"


def test_other_addresses_are_those_of_one_account_each_named_once():
    first = made().provider.base_url
    assert made(provider={"other_urls": [OTHER + "/"]}).provider.addresses == (first, OTHER)
    for urls in ([OTHER, OTHER], [first]):
        said_of = said(provider={"other_urls": urls})
        assert said_of == "`provider` has an address in `other_urls` that is named already"
    assert "must begin with https://" in said(provider={"other_urls": ["http://gateway.example.com/v1"]})


@pytest.mark.parametrize(
    ("provider", "mode"),
    [({}, "upload"), ({"base_url": "https://api.dev.runwayml.com/v1"}, "auto")],
)
def test_what_is_uploaded_at_one_address_is_not_sent_to_another(provider, mode):
    sentence = said(provider={**provider, "other_urls": [OTHER]}, transport={"mode": mode})
    assert "`other_urls`" in sentence
    assert "the provider's own uploads" in sentence
    assert made(provider=provider, transport={"mode": mode})
    assert made(provider={**provider, "other_urls": [OTHER]}, transport={"mode": "inline"})


def test_the_least_poll_time_must_not_be_above_the_most():
    sentence = said(provider={"poll_seconds_min": 40})
    assert sentence == "`provider` has `poll_seconds_min` above `poll_seconds_max`"


def test_fractions_of_a_second_are_fine():
    settings = made(provider={"poll_seconds_min": 0.01}, inbox=[{**INBOX, "settle_seconds": 0.2}])
    assert (settings.provider.poll_seconds_min, settings.inbox[0].settle_seconds) == (0.01, 0.2)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("file_mode", 664, "octal digits in quotes"),
        ("file_mode", "0888", "octal digits in quotes"),
        ("file_mode", "0044", "owner read and write"),
        ("file_mode", "4755", "no special bit"),
        ("folder_mode", "0600", "owner read, write and enter"),
        ("result_name", "{stm}", "no other field"),
        ("result_name", "{stem.__class__}", "no other field"),
        ("result_name", "{}", "no other field"),
        ("result_name", "{stem!r}", "plain"),
        ("result_name", "{seed:>9}", "plain"),
        ("result_name", "{stem", "brace"),
        ("result_name", "../{stem}", "one file name"),
        ("result_name", ".{stem}", "not begin with"),
        ("result_name", "", "1 to 200"),
        ("extensions", ["mp4"], 'begin with a dot: ".mp4"'),
        ("extensions", [".toml"], "never a clip"),
        ("extensions", [".m p"], "a dot and letters"),
        ("extensions", [], "at least one"),
        ("extensions", ".mp4", "must be a list, in [ ]"),
        ("ignore", [""], "pattern"),
        ("priority", 101, "at most 100"),
        ("name", "a/b", "letters, digits"),
        ("sidecar", "maybe", "'required' or 'optional'"),
        ("hold_seconds", -0.1, "at least 0"),
        ("settle_seconds", 0, "greater than 0"),
    ],
)
def test_a_wrong_inbox_key_is_refused_with_what_would_be_right(key, value, words):
    sentence = said(inbox=[{**INBOX, key: value}])
    assert "of [[inbox]] number 1" in sentence
    assert words in sentence
    assert "\n" not in sentence


def test_modes_are_read_as_octal_text():
    inbox = made(inbox=[{**INBOX, "file_mode": "0664", "folder_mode": "2775"}]).inbox[0]
    assert (inbox.file_mode, inbox.folder_mode) == (0o664, 0o2775)


def test_extensions_lose_their_case():
    assert made(inbox=[{**INBOX, "extensions": [".MP4"]}]).inbox[0].extensions == (".mp4",)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"provider": {"runing_max": 1}},
            "`provider.runing_max` is an unknown key, did you mean `running_max`?",
        ),
        ({"settle_seconds": 1}, "`settle_seconds` is an unknown key here, it belongs in [[inbox]]"),
        ({"provder": {}}, "`provder` is an unknown key, did you mean `provider`?"),
        ({"provider": 3}, "`provider` must be a table"),
        ({"inbox": {"path": "x"}}, "`inbox` is written [[inbox]], with two brackets"),
        ({"inbox": [{"path": "/x"}]}, "`outbox` of [[inbox]] number 1 is missing"),
        ({"inbox": []}, "`inbox` must have at least one entry"),
    ],
)
def test_a_slip_is_told_in_one_sentence(values, sentence):
    assert said(**values) == sentence


def test_an_unknown_key_with_control_characters_is_escaped():
    assert "\n" not in said(provider={"a\nb\x1b[31m": 1})


def test_the_line_of_a_key_is_found():
    text = '[provider]\nrunning_max = 3\n\n[[inbox]]\npath = "a"\n[[inbox]]\npath = "b" # second\n'
    assert line_of(text, "provider.running_max") == 2
    assert line_of(text, "inbox.2.path") == 7
    assert line_of(text, "inbox.2.outbox") == 6
    assert spell(("inbox", 1, "path")) == "`path` of [[inbox]] number 2"


def test_no_form_of_settings_shows_the_key():
    settings = made(provider={"api_key": CANARY})
    assert settings.provider.api_key == SecretStr(CANARY)
    for text in (repr(settings), str(settings), settings.model_dump_json(), repr(settings.model_dump())):
        assert CANARY not in text


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ann:{CANARY}@db/farm",
        f"postgres://db/farm?user=ann&password={CANARY}",
        f"mysql://db/{CANARY}",
        f"host=db password={CANARY}",
        f"postgresql://db/{CANARY} {CANARY}",
    ],
)
def test_an_address_of_the_journal_with_a_password_or_of_another_kind_is_refused_and_never_repeated(url):
    with pytest.raises(
        ValidationError, match=r"must hold no password; .*PGPASSFILE|must be an address"
    ) as no:
        made(journal={**JOURNAL, "url": url})
    assert CANARY not in str(no.value)
    assert redact_words(str(no.value)) == str(no.value), "the example is whole"


def test_a_journal_in_postgresql_has_its_password_from_elsewhere_and_never_shows_it():
    settings = made(
        journal={**JOURNAL, "url": "postgresql://ann@db:5433/farm?sslmode=require", "password": CANARY}
    )
    place = settings.journal.place
    assert (str(place), place.password) == ("postgresql://db:5433/farm", CANARY)
    assert CANARY in settings.secrets
    assert CANARY not in f"{place!r} {settings!r} {settings.model_dump_json()}"
    assert made().journal.place == Path(JOURNAL["path"])


def test_a_reload_tells_what_changed_and_what_needs_a_restart():
    old = made(provider={"api_key": CANARY})
    new = made(
        provider={"api_key": CANARY + "2", "running_max": 6},
        journal={"path": "/elsewhere/journal.sqlite3"},
        inbox=[{**INBOX, "priority": 5, "outbox": "/srv/other"}, {"path": "/srv/b", "outbox": "/srv/c"}],
    )
    change = changes(old, new)
    assert set(change.live) == {"provider.api_key", "provider.running_max", "inbox.bay-1.priority", "inbox.b"}
    assert set(change.restart) == {"journal.path", "inbox.bay-1.outbox"}
    assert change.touches("provider")
    assert change.touches("inbox.bay-1")
    assert not change.touches("budget")
    assert not change.touches("inbox.bay")
    assert CANARY not in repr(change)


def test_no_change_is_false():
    assert not changes(made(), made())
    assert changes(made(), made()) == ChangedKeys()


WEB_TOKEN = "a-token-of-some-length"


@pytest.mark.parametrize(
    "listen", ["127.0.0.1:8765", "127.9.9.9:1", "[::1]:8765", "localhost:0", "unix:/run/clipspool/web.sock"]
)
def test_the_page_may_listen_on_this_machine_without_a_token(listen):
    web = made(web={"listen": listen}).web
    assert (web.is_near, web.must_log_in, web.token) == (True, False, None)


@pytest.mark.parametrize("listen", ["0.0.0.0:8765", "[::]:8765", "192.168.1.7:8765", "8.8.8.8:80"])
def test_the_page_listens_beyond_this_machine_only_with_a_token_and_then_asks_all_for_it(listen):
    sentence = said(web={"listen": listen})
    assert sentence.startswith(
        "`web` listens beyond this machine, and there is no token; set CLIPSPOOL_WEB__TOKEN"
    )
    web = made(web={"listen": listen, "token": WEB_TOKEN}).web
    assert (web.is_near, web.must_log_in) == (False, True)


def test_a_token_with_a_name_is_a_token_as_any_other():
    tokens = {"edit": {"token": WEB_TOKEN, "rights": ["look", "add"]}}
    settings = made(web={"listen": "0.0.0.0:8765", "tokens": tokens})
    assert settings.web.must_log_in
    assert settings.secrets == [WEB_TOKEN]
    assert WEB_TOKEN not in repr(settings) + settings.model_dump_json()


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ({"edit": {"token": WEB_TOKEN, "rights": ["delete"]}}, "look"),
        ({"edit": {"token": WEB_TOKEN, "rights": []}}, "at least 1"),
        ({"Edit Bay": {"token": WEB_TOKEN}}, "small letters, figures and _"),
        ({"a__b": {"token": WEB_TOKEN}}, "small letters, figures and _"),
        ({"a": {"token": WEB_TOKEN}, "b": {"token": WEB_TOKEN}}, "the same token under two names"),
        ({"a": {"token": "short"}}, "16 to 4096 printable"),
    ],
)
def test_a_token_with_a_name_is_checked(tokens, words):
    sentence = said(web={"tokens": tokens})
    assert words in sentence
    assert WEB_TOKEN not in sentence


def test_the_page_behind_a_proxy_asks_all_for_the_token():
    values = {"listen": "unix:/run/clipspool/web.sock", "hosts": ["Clips.Example.com"]}
    assert said(web=values).startswith("`web` names `hosts`, and there is no token")
    web = made(web={**values, "token": WEB_TOKEN}).web
    assert (web.is_near, web.must_log_in, web.hosts) == (True, True, ("clips.example.com",))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("listen", "8765", "an address and a port, or a socket"),
        ("listen", "example.com:80", "an address and a port, or a socket"),
        ("listen", "127.0.0.1", "an address and a port, or a socket"),
        ("listen", "127.0.0.1:99999", "an address and a port, or a socket"),
        ("listen", "http://127.0.0.1:8765", "an address and a port, or a socket"),
        ("listen", "unix:web.sock", "absolute path"),
        ("listen", "unix:/" + "a" * 107, "more than 107 bytes"),
        ("token", "short", "16 to 4096 printable"),
        ("token", "a token with spaces in it", "16 to 4096 printable"),
        ("hosts", ["https://a.example"], "a host name without a port"),
        ("hosts", ["a.example:443"], "a host name without a port"),
        ("hosts", "a.example", "must be a list"),
    ],
)
def test_a_wrong_key_of_the_page_is_refused_and_never_repeated_where_it_is_secret(key, value, words):
    sentence = said(web={key: value})
    assert words in sentence
    assert key != "token" or value not in sentence


def test_the_token_is_shown_nowhere_and_known_to_the_logs():
    settings = made(web={"token": WEB_TOKEN})
    assert settings.secrets == [WEB_TOKEN]
    for text in (repr(settings), settings.model_dump_json(), repr(changes(made(), settings))):
        assert WEB_TOKEN not in text


def test_any_change_of_the_page_needs_a_restart():
    old = made(web={"listen": "127.0.0.1:1"})
    new = made(web={"listen": "127.0.0.1:2", "token": WEB_TOKEN, "hosts": ["a.example"]})
    assert set(changes(old, new).restart) == {"web.listen", "web.token", "web.hosts"}
