"""Each way to the provider against what it is for: an S3 server, a web server, the sandbox's uploads."""

import errno
import hashlib
import http.server
import logging
import os
import socket
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from io import FileIO

import pytest
import requests

from clipspool.app.settings import load
from clipspool.app.shipping import depot_of
from clipspool.cli.check.services import look_at_transports
from clipspool.jobs.faults import FaultOf
from clipspool.provider.protocol import Inline
from clipspool.provider.transport import LIFE_SECONDS, Depot, Parcel, SecretNames
from clipspool.provider.transport.bucket import NOT_INSTALLED, Bucket
from clipspool.provider.transport.folder import ServedFolder
from clipspool.provider.transport.trial import look_at, try_out
from clipspool.provider.transport.upload import ProviderUploads
from clipspool.provider.transport.way import InRequest
from clipspool.spool.root import Root
from clipspool.stages.prepare import _Reported
from clipspool.system.atomic import temporary_name
from patience import patient
from runway_sandbox import Options, Render, serve

SECRET = "canary-s3cr3t-0f-the-bucket"
NAMES = SecretNames(b"n" * 32)
DAYS = 86_400.0


@pytest.fixture(scope="module")
def s3():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - each of pytest's processes would load it

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    requests.put(f"http://{host}:{port}/clips", timeout=10).raise_for_status()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3):
    def make(**changed):
        fields = {"bucket": "clips", "prefix": "clipspool/", "bytes_max": 32_000_000, "endpoint": s3}
        keys = {"access_key_id": "an-id", "secret_access_key": SECRET, "region": "us-east-1"}
        return Bucket(**{**fields, **keys, "names": NAMES, **changed})

    return make


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def web(folder, handler=Quiet):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def parcel(tmp_path):
    def make(data=b"pictures" * 1000, **changed):
        path = tmp_path / f"{hashlib.sha256(data).hexdigest()[:8]}.mp4"
        path.write_bytes(data)
        fields = {"clip_id": "clip1", "name": "clip1-clip", "content_type": "video/mp4", "suffix": ".mp4"}
        digest = hashlib.sha256(data).hexdigest()
        return Parcel(
            **{**fields, "open": lambda: FileIO(path), "size": len(data), "sha256": digest, **changed}
        )

    return make


def keys_in(s3, bucket="clips"):
    listed = requests.get(f"{s3}/{bucket}?list-type=2", timeout=10).text
    return [part.partition("</Key>")[0] for part in listed.split("<Key>")[1:]]


# --- bucket ---------------------------------------------------------------------------------------------


def test_what_is_put_into_a_bucket_is_read_through_its_address_and_removed(s3, bucket, parcel):
    way, sent = bucket(), parcel()
    assert way.put(sent) is way.put(sent) is None
    address = way.address(sent)
    assert look_at(address, b"pictures" * 1000) == (
        "look",
        "it serves on this machine only: a provider elsewhere cannot read it",
    )
    assert "X-Amz-Expires=86400" in address
    assert SECRET not in address + repr(way)
    assert len(keys_in(s3)) == 1
    assert way.remove("clip1") is way.remove("clip1") is None
    assert keys_in(s3) == []


def test_a_bucket_takes_a_file_that_reports_how_far_it_was_read(bucket, parcel):
    data, shares = os.urandom(20 << 20), []
    sent = parcel(data)
    opened = partial(_Reported, sent.open, sent.size, "uploading", lambda one: shares.append(one.share))
    way = bucket()
    assert way.put(replace(sent, open=opened)) is None
    assert requests.get(way.address(sent), timeout=10).content == data
    assert shares == sorted(shares)
    assert (len(shares) > 2, shares[-1]) == (True, 1.0)
    way.remove("clip1")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_proxy_of_the_environment_is_not_used_for_a_bucket(s3, bucket, parcel, monkeypatch, host):
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert bucket(endpoint=s3.replace("127.0.0.1", host)).put(parcel()) is None


def test_a_clips_objects_go_together_and_no_others(s3, bucket, parcel):
    requests.put(f"{s3}/shared", timeout=10).raise_for_status()
    way = bucket(bucket="shared")
    for clip_id in ("clip1", "clip1", "clip2", "clip11"):
        assert way.put(parcel(os.urandom(64), clip_id=clip_id)) is None
    requests.put(f"{s3}/shared/other/clip1/precious.mp4", data=b"x", timeout=10).raise_for_status()
    assert way.remove("clip1") is None
    left = keys_in(s3, "shared")
    assert sorted(key.split("/")[1] for key in left) == ["clip1", "clip11", "clip2"]
    assert way.tidy(time.time()) is None
    assert len(keys_in(s3, "shared")) == 3
    assert way.tidy(time.time() + 3 * DAYS) is None
    assert keys_in(s3, "shared") == ["other/clip1/precious.mp4"]


@pytest.mark.parametrize("prefix", ["", "masters/"])
def test_what_others_keep_in_the_same_bucket_is_never_tidied_up(s3, bucket, parcel, prefix):
    requests.put(f"{s3}/masters", timeout=10).raise_for_status()
    way = bucket(bucket="masters", prefix=prefix)
    others = [f"{prefix}film.mov", f"{prefix}clip1/film.mov", f"{prefix}a/b-{'a' * 31}.mov"]
    for key in others:
        requests.put(f"{s3}/masters/{key}", data=b"the only copy", timeout=10).raise_for_status()
    assert way.put(parcel(suffix="")) is way.put(parcel()) is None
    assert way.tidy(time.time() + 3 * DAYS) is None
    assert set(keys_in(s3, "masters")) >= set(others)
    assert not [key for key in keys_in(s3, "masters") if "clip1-clip" in key]


def test_an_address_that_no_provider_takes_is_known_before_the_upload(s3, bucket, parcel):
    before = keys_in(s3)
    long = bucket(prefix=f"{'a' * 900}/{'b' * 900}/")
    assert "longer than 2048 characters" in long.put(parcel()).message
    assert keys_in(s3) == before


def store_that_says(status, code):
    """Return a store that refuses all that is put there."""

    class Store(Quiet):
        def do_PUT(self):
            body = f"<Error><Code>{code}</Code><Message>AWSAccessKeyId=an-id</Message></Error>".encode()
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Store


def test_a_clock_that_is_off_is_named_as_that(bucket, parcel, tmp_path):
    with web(tmp_path, store_that_says(403, "RequestTimeTooSkewed")) as url:
        assert "this machine's clock" in bucket(endpoint=url).put(parcel()).message


@pytest.mark.parametrize(
    ("status", "code", "why"),
    [
        (403, "QuotaExceeded", "its key is refused, or lacks the right (QuotaExceeded)"),
        (400, "ExpiredToken", "it answers HTTP 400 Bad Request (ExpiredToken)"),
        (503, "SlowDown", "it answers HTTP 503 Service Unavailable (SlowDown)"),
        (413, "no code", "it answers HTTP 413 Payload Too Large"),
    ],
)
def test_what_a_store_says_is_named_in_its_own_word(bucket, parcel, tmp_path, status, code, why):
    with web(tmp_path, store_that_says(status, code)) as url:
        assert bucket(endpoint=url).put(parcel()).message == f"the bucket clips takes no file: {why}"


class Counted(FileIO):
    """A file that remembers how much of it was asked for at once."""

    most = 0

    def read(self, size=-1):
        Counted.most = max(Counted.most, size if size >= 0 else sys.maxsize)
        return super().read(size)


def test_a_large_clip_goes_in_parts_and_is_never_in_memory_whole(bucket, parcel, tmp_path):
    path = tmp_path / "large.mp4"
    with path.open("wb") as file:
        file.truncate(40 << 20)
    way, large = bucket(), parcel(open=lambda: Counted(path), size=40 << 20)
    assert way.put(large) is None
    assert 0 < Counted.most <= 8 << 20
    assert requests.head(way.address(large), timeout=10).headers["Content-Length"] == str(40 << 20)
    way.remove("clip1")


@pytest.mark.parametrize(
    ("changed", "why"),
    [({"bucket": "nobody-made-it"}, "no such bucket"), ({"endpoint": "http://127.0.0.1:9"}, "refused")],
)
def test_a_bucket_that_takes_nothing_is_a_fault_of_the_moment_in_plain_words(bucket, parcel, changed, why):
    fault = bucket(**changed).put(parcel())
    assert fault.of is FaultOf.MOMENT
    assert why in fault.message
    assert SECRET not in repr(fault)
    assert "http" not in fault.message


def test_without_the_package_one_sentence_says_what_to_install(bucket, parcel, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    assert bucket().put(parcel()).message == NOT_INSTALLED
    assert bucket().address(parcel()) is None


def test_a_bucket_served_openly_gives_addresses_that_are_not_signed(bucket, parcel):
    way, sent = bucket(public_url="https://media.example.com/b/"), parcel()
    assert way.address(sent) == f"https://media.example.com/b/clipspool/clip1/{NAMES.of(sent)}"


# --- a served folder --------------------------------------------------------------------------------------


def test_a_copy_in_a_served_folder_is_read_under_a_name_nobody_guesses(tmp_path, parcel):
    served = tmp_path / "served"
    served.mkdir()
    theirs = ["clipspool-showreel.html", "index.html"]
    for name in theirs:
        (served / name).write_text("the studio's own")
    (served / f".clipspool-{temporary_name()}").write_text("what a crash left")
    with web(served) as url:
        way, sent = ServedFolder.at(Root(served), url, 32_000_000, NAMES), parcel()
        assert way.address(sent) is None
        assert way.put(sent) is way.put(sent) is None
        assert look_at(way.address(sent), b"pictures" * 1000)[0] == "look"
        assert way.put(parcel(clip_id="clip2")) is None
        way.remove("clip1")
        assert way.address(sent) is None
    assert [p.name.split("-")[1] for p in served.iterdir() if p.suffix == ".mp4"] == ["clip2"]
    way.tidy(time.time() + DAYS)
    assert len(list(served.iterdir())) == 4
    way.tidy(time.time() + 3 * DAYS)
    assert sorted(p.name for p in served.iterdir()) == theirs


def test_a_file_that_is_put_into_a_served_folder_again_is_there_all_the_time(tmp_path, parcel):
    """The provider reads it at any moment: another attempt may put it there while a request is under way."""
    (tmp_path / "served").mkdir()
    way, sent, missed = ServedFolder.at(Root(tmp_path / "served"), "https://x", 9, NAMES), parcel(), []
    way.put(sent)
    (file,) = (tmp_path / "served").iterdir()
    has_ended = threading.Event()

    def look():
        while not has_ended.is_set():
            if not file.exists():
                missed.append(1)

    looking = threading.Thread(target=look)
    looking.start()
    for _ in range(200):
        way.put(sent)
    has_ended.set()
    looking.join()
    assert not missed


def test_a_folder_that_is_gone_is_trouble_of_the_disk(tmp_path, parcel):
    with pytest.raises(OSError, match="gone"):
        ServedFolder.at(Root(tmp_path / "gone"), "https://x.example.com", 1, NAMES).put(parcel())


# --- the provider's own uploads ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def box():
    with serve(Options(render=Render.ECHO, render_seconds=0.0)) as running:
        yield running


def official(box):
    return box.base_url.replace("/runwayml/v1", "/v1")


def uploads(box, now=time.time):
    return ProviderUploads(
        official(box), lambda: "a-key", api_version="2024-11-06", user_agent="test", now=now
    )


def test_an_upload_gives_an_address_of_the_provider_once(box, parcel):
    way, sent = uploads(box), parcel()
    assert way.address(sent) is None
    assert way.put(sent) is None
    address = way.address(sent)
    assert address.startswith("runway://")
    assert way.put(sent) is None
    assert way.address(sent) == address
    way.remove("clip1")
    assert way.address(sent) is None


def test_an_upload_too_old_is_made_again(box, parcel):
    seconds = 0.0
    way, sent = uploads(box, lambda: seconds), parcel()
    way.put(sent)
    first = way.address(sent)
    seconds = LIFE_SECONDS + 1
    assert way.address(sent) is None
    way.put(sent)
    assert way.address(sent) not in {None, first}


def test_a_provider_that_is_busy_is_asked_for_a_place_again_when_it_says(tmp_path, parcel):
    class Busy(Quiet):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(429)
            self.send_header("Retry-After", "120")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with web(tmp_path, Busy) as url:
        way = ProviderUploads(
            url, lambda: "a-key", api_version="2024-11-06", user_agent="test", now=time.monotonic
        )
        fault = way.put(parcel())
        way.close()
    assert (fault.of, fault.retry_after_seconds) == (FaultOf.MOMENT, 120.0)


def test_a_provider_without_uploads_says_so(box, parcel):
    way = ProviderUploads(
        box.base_url, lambda: "a-key", api_version="2024-11-06", user_agent="t", now=time.time
    )
    fault = way.put(parcel())
    assert fault is not None
    assert "a-key" not in repr(fault)


# --- all of them ------------------------------------------------------------------------------------------


def test_what_lay_there_for_too_long_is_put_up_again(tmp_path, parcel):
    (tmp_path / "served").mkdir()
    way = ServedFolder.at(Root(tmp_path / "served"), "https://m.example.com", 9_000_000, NAMES)
    depot, sent = Depot([InRequest(5_000_000), way], lambda: 1000.0 + LIFE_SECONDS), parcel()
    depot.put("public_url", sent)
    assert depot.address("public_url", sent, 1001.0).startswith("https://m.example.com/clipspool-clip1-")
    assert depot.address("public_url", sent, 999.0) is None
    assert depot.address("bucket", sent, 1001.0) is None
    assert isinstance(depot.address("inline", sent, 0.0), Inline)


def test_a_way_that_cannot_be_tidied_keeps_nobody_waiting(bucket, tmp_path):
    broken = ServedFolder.at(Root(tmp_path / "gone"), "https://m.example.com", 1, NAMES)
    Depot([broken, bucket(endpoint="http://127.0.0.1:9")], time.time).remove("clip1")


def test_a_way_that_failed_is_not_asked_again_for_each_clip():
    class Broken(InRequest):
        def remove(self, clip_id):
            asked.append(clip_id)
            raise OSError(errno.ETIMEDOUT, "it took minutes")

    asked = []
    depot = Depot([Broken(1)], time.time)
    for number in range(3):
        depot.remove(f"clip{number}")
    assert asked == ["clip0"]


@pytest.fixture
def settings(tmp_path):
    def make(more, **env):
        (tmp_path / "config.toml").write_text(f'{more}\n[[inbox]]\npath = "in"\noutbox = "out"\n')
        (tmp_path / "served").mkdir(exist_ok=True)
        return load(tmp_path / "config.toml", {"HOME": str(tmp_path), **env})

    return make


def test_check_tries_each_way_for_real(s3, settings, tmp_path):
    keys = {
        "CLIPSPOOL_TRANSPORT__BUCKET__ACCESS_KEY_ID": "an-id",
        "CLIPSPOOL_TRANSPORT__BUCKET__SECRET_ACCESS_KEY": SECRET,
    }
    with web(tmp_path / "served") as url:
        found = list(
            look_at_transports(
                settings(
                    f'[transport.bucket]\nname = "clips"\nendpoint = "{s3}"\n'
                    f'[transport.public_url]\nfolder = "served"\nurl = "{url}"\n',
                    **keys,
                )
            )
        )
    assert [(f.level, f.what) for f in found] == [
        ("ok", "transport inline"),
        ("warn", "transport bucket"),
        ("warn", "transport public_url"),
    ]
    assert all("this machine only" in f.why for f in found[1:])
    assert SECRET not in repr(found)
    assert list((tmp_path / "served").iterdir()) == []
    assert keys_in(s3) == []


def test_check_does_not_wait_for_minutes_for_a_store_that_does_not_answer(settings, monkeypatch):
    monkeypatch.setattr("clipspool.cli.check.services._STORE_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        keys = {"ACCESS_KEY_ID": "an-id", "SECRET_ACCESS_KEY": SECRET}
        config = settings(
            f'[transport.bucket]\nname = "clips"\nendpoint = "{url}"\n',
            **{f"CLIPSPOOL_TRANSPORT__BUCKET__{name}": value for name, value in keys.items()},
        )
        begun = time.monotonic()
        (found,) = [one for one in look_at_transports(config) if one.what == "transport bucket"]
    assert time.monotonic() - begun < patient(15)
    assert found.level == "bad"
    assert found.why == "the bucket clips takes no file: it does not answer in time"


def test_check_tries_the_providers_uploads(box, settings):
    more = f'[provider]\nbase_url = "{official(box)}"\n[transport]\nmode = "upload"\n'
    (found,) = look_at_transports(settings(more, CLIPSPOOL_PROVIDER__API_KEY="a-key-of-ours"))
    assert (found.level, found.what) == ("ok", "transport upload")


class Careless(Quiet):
    """Serves as octet-stream, refuses HEAD, or redirects: what the provider would stumble over."""

    trouble = ""

    def do_HEAD(self):
        if self.trouble == "head":
            self.send_error(403)
        else:
            super().do_HEAD()

    def do_GET(self):
        if self.trouble == "moved":
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            super().do_GET()

    def guess_type(self, path):
        return "application/octet-stream" if self.trouble == "type" else super().guess_type(path)


@pytest.mark.parametrize(
    ("trouble", "level", "why"),
    [("type", "bad", "octet-stream"), ("moved", "bad", "redirects"), ("head", "look", "HEAD")],
)
def test_what_the_provider_would_stumble_over_is_found(tmp_path, trouble, level, why):
    (tmp_path / "served").mkdir()
    with web(tmp_path / "served", type("Handler", (Careless,), {"trouble": trouble})) as url:
        found = try_out(ServedFolder.at(Root(tmp_path / "served"), url, 32_000_000, NAMES))
    assert found[0] == level
    assert why in found[1]
    assert list((tmp_path / "served").iterdir()) == []


def test_keys_of_a_bucket_come_from_the_environment_or_credentials_never_the_file(settings, tmp_path):
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "bucket_access_key_id").write_text("an-id\n")
    (credentials / "bucket_secret_access_key").write_text(SECRET)
    read = settings('[transport.bucket]\nname = "clips"\n', CREDENTIALS_DIRECTORY=str(credentials))
    assert read.secrets == ["an-id", SECRET]
    assert SECRET not in repr(read) + str(read)
    depot = depot_of(read, b"s" * 32)
    assert [way.name for way in depot.ways] == ["inline", "bucket"]
    with pytest.raises(Exception, match="must not stand in the file"):
        settings(f'[transport.bucket]\nname = "clips"\nsecret_access_key = "{SECRET}"\n')


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ('[transport]\nmode = "bucket"\n', "transport.bucket"),
        ('[transport.public_url]\nfolder = "in/served"\nurl = "https://m.example.com"\n', "lies inside"),
        ('[transport.public_url]\nfolder = "served"\nurl = "https://10.0.0.5"\n', "public host"),
        ('[transport.bucket]\nname = "clips"\nurl_seconds = 700000.0\n', "604800"),
        ('[transport.bucket]\nname = "clips"\nendpont = "x"\n', "did you mean `endpoint`"),
    ],
)
def test_a_transport_that_cannot_work_is_refused_at_the_start(settings, more, why):
    with pytest.raises(Exception, match=why):
        settings(more)


def test_how_old_an_upload_is_does_not_hang_on_a_clock_that_is_set(settings):
    read = settings('[provider]\nbase_url = "https://api.dev.runwayml.com/v1"')
    (_, upload) = depot_of(read, b"s", lambda: 0.0).ways
    assert upload._now() > 0.0


def test_the_vendors_uploads_are_configured_by_its_address_alone(settings):
    read = settings('[provider]\nbase_url = "https://api.dev.runwayml.com/v1"\n')
    assert [way.name for way in depot_of(read, b"s").ways] == ["inline", "upload"]
    assert [way.name for way in depot_of(settings(""), b"s").ways] == ["inline"]
