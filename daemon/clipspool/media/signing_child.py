"""The signing process: reads one order from its standard input, signs, and writes how that went.

A process of its own, since the library copies whole films on its way, into memory or into the temporary
folder that the environment names, and reads films that anybody made.
"""

from __future__ import annotations

import importlib
import io
import json
import struct
import sys
import zlib
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

from clipspool import __version__

FORMATS: Final = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime"}
"""What can hold credentials, by suffix."""
_SOURCES: Final = "http://cv.iptc.org/newscodes/digitalsourcetype"
_SETTINGS: Final = {
    # A film may name addresses, and whoever made it must not have this machine ask there.
    "verify": {"verify_after_sign": False, "remote_manifest_fetch": False, "ocsp_fetch": False},
    # Memory must not grow with a film's size.
    "core": {"merkle_tree_chunk_size_in_kb": 1024, "backing_store_memory_threshold_in_mb": 16},
}
_CURVES: Final = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_WHY_LENGTH_MAX: Final = 300


def main() -> None:
    """Carry out the order, and answer {"subject", "trouble", "errno"} as JSON."""
    order = json.loads(sys.stdin.buffer.read())
    answer = {"subject": "", "trouble": "", "errno": 0}
    try:
        certificate = _Certificate(order["chain"].encode(), order["key"].encode())
        answer["subject"] = certificate.subject
        if order.get("film") is None:
            certificate.try_out()
        else:
            certificate.sign(order)
    except OSError as error:
        answer |= {"trouble": str(error.strerror), "errno": error.errno or 0}
    except Exception as error:  # noqa: BLE001 - whatever it is, the film is delivered without
        answer["trouble"] = " ".join(str(error).split())[:_WHY_LENGTH_MAX] or type(error).__name__
    sys.stdout.write(json.dumps(answer))


class _Certificate:
    def __init__(self, chain: bytes, key: bytes) -> None:
        """Check that both are whole and belong together; raises ValueError with one sentence."""
        x509 = importlib.import_module("cryptography.x509")
        keys = importlib.import_module("cryptography.hazmat.primitives.serialization")
        try:
            certificate = x509.load_pem_x509_certificates(chain)[0]
        except (ValueError, IndexError):
            raise ValueError("the certificate is no PEM file that begins with a certificate") from None
        try:
            private = keys.load_pem_private_key(key, None)
        except TypeError:
            raise ValueError("the key has a password; give it without one, to the service alone") from None
        except Exception:  # noqa: BLE001 - no part of a key belongs in a message
            raise ValueError("the key is no private key in PEM") from None
        if private.public_key() != certificate.public_key():
            raise ValueError("the key is not the certificate's")
        if (until := certificate.not_valid_after_utc) < datetime.now(UTC):
            raise ValueError(f"the certificate ended on {until:%Y-%m-%d}")
        self.subject: str = certificate.subject.rfc4514_string()
        self._chain = chain
        self._algorithm = _algorithm_of(private)
        self._key = private.private_bytes(keys.Encoding.PEM, keys.PrivateFormat.PKCS8, keys.NoEncryption())

    def try_out(self) -> None:
        """Sign a picture of one pixel and read it back; raises ValueError where that is not valid."""
        library = importlib.import_module("c2pa")
        made = {"action": "c2pa.created", "digitalSourceType": f"{_SOURCES}/digitalCreation"}
        target = io.BytesIO()
        self._sign(io.BytesIO(_picture()), target, "image/png", {"title": "trial", "actions": [made]}, [])
        target.seek(0)
        with library.Context.from_dict(_SETTINGS) as context:
            reader = library.Reader("image/png", target, context=context)
            found = [one["code"] for one in json.loads(reader.json()).get("validation_status", ())]
        # Which authorities are trusted is up to each viewer: a studio's own will do.
        if wrong := [code for code in found if code != "signingCredential.untrusted"]:
            raise ValueError(f"what it signs is not valid: {', '.join(wrong)}")

    def sign(self, order: dict[str, Any]) -> None:
        """Sign a film; raises OSError where the disk is at fault, else what the library raises."""
        ingredients = order["ingredients"]
        actions: list[dict[str, Any]] = [
            {
                "action": "c2pa.opened" if one["is_parent"] else "c2pa.placed",
                "parameters": {"ingredientIds": [_label(number)]},
            }
            for number, one in enumerate(ingredients)
        ]
        actions += [
            {
                "action": "c2pa.edited",
                "digitalSourceType": f"{_SOURCES}/compositeWithTrainedAlgorithmicMedia",
                "softwareAgent": {"name": order["model"]},
                "description": "made from the clip by a generative model",
            },
            {"action": "c2pa.transcoded", "description": "; ".join(order["changes"])},
        ]
        manifest = {"title": order["title"], "actions": actions}
        with (
            open(order["film"], "rb", closefd=False) as film,
            open(order["target"], "r+b", buffering=0, closefd=False) as target,
        ):
            self._sign(film, target, FORMATS[order["suffix"]], manifest, ingredients)

    def _sign(
        self,
        film: BinaryIO,
        target: BinaryIO | io.RawIOBase,
        kind: str,
        manifest: dict[str, Any],
        ingredients: list[dict[str, Any]],
    ) -> None:
        library = importlib.import_module("c2pa")
        whole = {
            "title": manifest["title"],
            "claim_generator_info": [{"name": "clipspool", "version": __version__}],
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": manifest["actions"]}}],
        }
        watched = _Watched(target)
        info = library.C2paSignerInfo(self._algorithm, self._chain, self._key, None)
        try:
            with (
                library.Context.from_dict(_SETTINGS) as context,
                library.Signer.from_info(info) as signer,
                library.Builder.from_json(json.dumps(whole), context=context) as builder,
            ):
                for number, one in enumerate(ingredients):
                    _add(builder, number, one)
                builder.sign(signer, kind, film, watched)
        except library.C2paError:
            if watched.trouble is not None:  # a full disk is no fault of the certificate
                raise watched.trouble from None
            raise


class _Watched:
    """A file that keeps the error of a write: the library reports all of them in words of its own."""

    def __init__(self, file: Any) -> None:
        self.trouble: OSError | None = None
        self.read, self.seek, self.tell, self.flush = file.read, file.seek, file.tell, file.flush
        self._write = file.write

    def write(self, data: bytes) -> int:
        """Write all of it."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._write(rest) :]
        except OSError as error:
            self.trouble = error
            raise
        return len(data)


def _label(number: int) -> str:
    return f"ingredient-{number}"


def _add(builder: Any, number: int, one: dict[str, Any]) -> None:
    """Add a film that this one was made of, with the credentials in it."""
    relation = "parentOf" if one["is_parent"] else "componentOf"
    said = json.dumps({"title": one["title"], "relationship": relation, "label": _label(number)})
    if one["suffix"] in FORMATS:
        with open(one["file"], "rb", closefd=False) as file:
            builder.add_ingredient(said, FORMATS[one["suffix"]], file)
    else:
        # The library reads no MXF and no Matroska: its name stands for it.
        builder.add_ingredient(said, "text/plain", io.BytesIO(one["title"].encode()))


def _algorithm_of(private: Any) -> str:
    """Return the algorithm that fits a key; raises ValueError for a key that C2PA does not know."""
    match type(private).__name__, getattr(getattr(private, "curve", None), "name", ""):
        case "Ed25519PrivateKey", _:
            return "ed25519"
        case "RSAPrivateKey", _:
            return "ps256"
        case _, curve if curve in _CURVES:
            return _CURVES[curve]
    raise ValueError("the key is of a kind that content credentials do not know; P-256, Ed25519 and RSA do")


def _picture() -> bytes:
    """Return a PNG of one pixel."""
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0\0")),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


if __name__ == "__main__":
    main()
