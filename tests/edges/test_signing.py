"""Content credentials: what was re-encoded is signed and reads back valid, and no result waits for that."""

import json
import subprocess
import threading
from dataclasses import replace

import c2pa
import pytest

from clipspool.app.settings import load
from clipspool.app.shipping import signer_of
from clipspool.cli.check.setup import look_at_credentials
from clipspool.jobs.events import Fetched, PartlyFetched
from clipspool.jobs.model import Result, State
from clipspool.media.kinds import has_credentials
from clipspool.media.signing import Signer
from clipspool.stages.finish import finish
from clipspool.stages.sign import Signing
from clipspool.system.atomic import sha256_of
from fakes import Bench, a_job, a_request, a_task
from media_clips import run

LEAF = """\
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=critical,emailProtection
authorityKeyIdentifier=keyid
subjectKeyIdentifier=hash
"""
P256 = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """An authority of the house with a desk's certificate: desk.pem (with the chain) and desk.key."""
    home = tmp_path_factory.mktemp("studio")
    (home / "leaf.txt").write_text(LEAF)

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=home, check=True, capture_output=True)

    ca = ["-subj", "/O=Studio/CN=Studio CA", "-addext", "basicConstraints=critical,CA:TRUE"]
    ca += ["-addext", "keyUsage=critical,keyCertSign,cRLSign", "-days", "2"]
    openssl("req", "-x509", "-newkey", *P256, "-nodes", "-keyout", "ca.key", "-out", "ca.pem", *ca)
    openssl(
        "req", "-newkey", *P256, "-nodes", "-keyout", "desk.key", "-out", "desk.csr", "-subj", "/CN=Desk 1"
    )
    signed = ["x509", "-req", "-in", "desk.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
    openssl(*signed, "-days", "1", "-extfile", "leaf.txt", "-out", "leaf.pem")
    openssl(*signed, "-days", "-1", "-extfile", "leaf.txt", "-out", "ended.pem")
    for name in ("leaf", "ended"):
        chain = (home / f"{name}.pem").read_text() + (home / "ca.pem").read_text()
        (home / f"{'desk' if name == 'leaf' else 'past'}.pem").write_text(chain)
    openssl("ec", "-in", "desk.key", "-aes128", "-passout", "pass:x", "-out", "locked.key")
    return home


@pytest.fixture
def signer(studio):
    return Signer((studio / "desk.pem").read_text(), (studio / "desk.key").read_text())


def film(path, *more, seconds=1, rate=25):
    shown = ["-f", "lavfi", "-i", f"testsrc2=s=160x90:r={rate}:d={seconds}"]
    run(
        [
            "ffmpeg",
            "-v",
            "error",
            "-nostdin",
            "-y",
            *shown,
            *more,
            "-c:v",
            "libx264",
            "-pix_fmt",
            "yuv420p",
            str(path),
        ]
    )
    return path


def sign_as_provider(path, signer):
    """Sign a film as the provider does: it was made by a model."""
    made = {
        "action": "c2pa.created",
        "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
    }
    manifest = {
        "title": "provider's",
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [made]}}],
    }
    info = c2pa.C2paSignerInfo("es256", signer.chain.encode(), signer.key.encode(), None)
    target = path.with_suffix(".provider.mp4")
    with (
        c2pa.Signer.from_info(info) as keyed,
        c2pa.Builder.from_json(json.dumps(manifest)) as builder,
        path.open("rb") as source,
        target.open("w+b") as signed,
    ):
        builder.sign(keyed, "video/mp4", source, signed)
    return target


def read_back(path):
    with c2pa.Reader(str(path)) as reader:
        return reader.get_validation_state(), reader.get_active_manifest()


class Made:
    """A clip in work with sound, and the provider's result for it, of another frame rate."""

    def __init__(self, tmp_path, decoder, result):
        self.bench = Bench(tmp_path, name="day/shot.mov")
        sound = ["-f", "lavfi", "-i", "sine=d=1", "-c:a", "pcm_s16le", "-shortest"]
        film(self.bench.work / "clip.mov", *sound)
        self.result = self.bench.work / "clip1-a1-1.mp4"
        result.replace(self.result)
        with self.result.open("rb") as file:
            credentials = "kept" if has_credentials(file) else ""
            sha256 = sha256_of(file)
        size = self.result.stat().st_size
        self.fetched = Fetched(
            (Result(self.result.name, ".mp4", size, sha256, number=1, credentials=credentials),)
        )
        self.decoder = decoder

    def finish(self, *, signing, **request):
        job = a_job(state=State.RENDERED, task=a_task(), request=a_request(**request))
        clip = replace(self.bench.clip, source="clip.mov")
        return finish(job, clip, self.bench.bay, self.fetched, self.decoder, attempt="a1", signing=signing)


@pytest.fixture
def made(tmp_path, decoder, signer):
    return Made(tmp_path, decoder, sign_as_provider(film(tmp_path / "made.mp4", rate=24), signer))


def test_a_film_that_was_coded_anew_is_signed_with_all_that_it_is_made_of_and_reads_back_valid(made, signer):
    event = made.finish(signing=Signing(signer), finish="timeline")
    (result,) = event.results
    path = made.bench.work / result.file
    state, manifest = read_back(path)
    assert (state, result.credentials) == ("Valid", "signed")
    parent, source = manifest["ingredients"]
    assert (parent["relationship"], source["relationship"]) == ("parentOf", "componentOf")
    assert (parent["title"], source["title"]) == ("gen4_aleph, task task-1", "shot.mov")
    # The provider's own credentials stay readable in it.
    assert parent["active_manifest"]
    actions = next(one for one in manifest["assertions"] if one["label"].startswith("c2pa.actions"))["data"][
        "actions"
    ]
    assert [one["action"] for one in actions] == [
        "c2pa.opened",
        "c2pa.placed",
        "c2pa.edited",
        "c2pa.transcoded",
    ]
    assert "pictures coded again as H.264" in actions[3]["description"]
    assert (
        "content credentials signed by CN=Desk 1; the provider's credentials are kept in them"
        in result.finished
    )
    with path.open("rb") as file:
        assert (result.size, result.sha256) == (path.stat().st_size, sha256_of(file))
    assert [one.name for one in made.bench.work.glob("*timeline*")] == [result.file]


def test_what_is_delivered_as_it_is_keeps_every_byte_and_with_them_the_providers_signature(made, signer):
    before = made.result.read_bytes()
    assert made.finish(signing=Signing(signer)) is made.fetched
    assert made.result.read_bytes() == before
    assert read_back(made.result)[0] == "Valid"


def test_without_a_certificate_the_loss_is_said(made):
    (result,) = made.finish(signing=Signing(), finish="timeline").results
    assert result.credentials == "gone"
    assert "the content credentials that the provider had signed into it are gone" in result.finished


def test_a_film_that_the_provider_did_not_sign_is_signed_too(tmp_path, decoder, signer):
    made = Made(tmp_path, decoder, film(tmp_path / "plain.mp4", rate=24))
    (result,) = made.finish(signing=Signing(signer), finish="timeline").results
    assert (read_back(made.bench.work / result.file)[0], result.credentials) == ("Valid", "signed")
    assert result.finished[-1] == "content credentials signed by CN=Desk 1"


@pytest.mark.parametrize(
    ("certificate", "key", "why"),
    [
        ("desk.pem", "ca.key", "the key is not the certificate's"),
        ("desk.pem", "locked.key", "the key has a password"),
        ("desk.pem", "leaf.txt", "the key is no private key in PEM"),
        ("desk.key", "desk.key", "the certificate is no PEM file"),
        ("past.pem", "desk.key", "the certificate ended on 20"),
        ("ca.pem", "ca.key", "self-signed"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_named(studio, certificate, key, why):
    assert why in Signer((studio / certificate).read_text(), (studio / key).read_text()).try_out()


def test_a_result_that_cannot_be_signed_is_delivered_and_says_why(studio, made):
    past = Signer((studio / "past.pem").read_text(), (studio / "desk.key").read_text())
    (result,) = made.finish(signing=Signing(past), finish="timeline").results
    assert result.credentials == "gone"
    assert result.finished[-1].startswith("not signed: the certificate ended on 20")
    assert (made.bench.work / result.file).stat().st_size == result.size
    assert not list(made.bench.work.glob("*signed*"))


def test_a_certificate_that_is_good_passes(signer):
    assert signer.try_out() == ""


def test_a_daemon_that_stops_while_it_signs_finishes_again_later(made, signer):
    stopping = threading.Event()
    stopping.set()
    event = made.finish(signing=Signing(signer, stopping.is_set), finish="timeline")
    assert isinstance(event, PartlyFetched)
    assert event.results == made.fetched.results
    (result,) = made.finish(signing=Signing(signer), finish="timeline").results
    assert result.credentials == "signed"


CONFIG = """\
[content_credentials]
certificate = "{certificate}"
{key}
[[inbox]]
path = "in"
outbox = "out"
"""


@pytest.mark.parametrize("place", ["file", "credential"])
def test_the_key_comes_from_a_file_or_a_credential_and_check_tries_it(tmp_path, studio, place):
    env = {"HOME": str(tmp_path), "CREDENTIALS_DIRECTORY": str(tmp_path)}
    key = f'key_file = "{studio}/desk.key"' if place == "file" else ""
    if place == "credential":
        (tmp_path / "content_credentials_key").write_text((studio / "desk.key").read_text())
    (tmp_path / "config.toml").write_text(CONFIG.format(certificate=studio / "desk.pem", key=key))
    settings = load(tmp_path / "config.toml", env)
    assert [one.level for one in look_at_credentials(settings)] == ["ok"]
    assert any("PRIVATE KEY" in secret for secret in settings.secrets)
    assert "PRIVATE" not in repr(signer_of(settings))


def test_check_names_a_certificate_that_is_not_there(tmp_path, studio):
    key = f'key_file = "{studio}/desk.key"'
    (tmp_path / "config.toml").write_text(CONFIG.format(certificate="nowhere.pem", key=key))
    settings = load(tmp_path / "config.toml", {"HOME": str(tmp_path)})
    found = list(look_at_credentials(settings))
    assert [one.level for one in found] == ["bad", "bad"]
    assert "nowhere.pem cannot be read" in found[0].why
    assert signer_of(settings).trouble
