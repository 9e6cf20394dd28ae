"""Puts files into a bucket of any S3-compatible store, to be read at an address signed for a while."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from itertools import chain
from types import ModuleType
from typing import Any
from urllib.parse import quote

from clipspool.jobs.faults import Fault, FaultOf
from clipspool.provider.transport.way import ADDRESS_LENGTH_MAX, STRAY_SECONDS, Parcel, SecretNames, Way
from clipspool.system.redaction import redact_line

NOT_INSTALLED = "buckets need the package obstore: install clipspool[bucket]"
_PART_BYTES = 8 << 20
_PARTS_AT_ONCE = 2
"""The memory for a clip of any size is the product of these two."""
_WHY_LENGTH_MAX = 200
_NO_PROXY = {"proxy_url": "http://127.0.0.1:9", "proxy_excludes": "*,0.0.0.0/0,::/0"}
"""A proxy that is used for no address: where none is named, obstore would follow HTTPS_PROXY."""
_DEEPEST = re.compile(r'(?:message|error): "([^"]+)"')
_STATUS = re.compile(r"status code: (\d{3}[^:<]*)")
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
"""The store's own word for what is wrong, in the XML of its answer."""


class NoObstore(Exception):
    """The optional package is not installed."""


def obstore() -> ModuleType:
    """Import the optional package when it is first needed; raises NoObstore."""
    try:
        importlib.import_module("obstore.store")
        return importlib.import_module("obstore")
    except ImportError:
        raise NoObstore(NOT_INSTALLED) from None


@dataclass(frozen=True)
class Bucket(Way):
    """A bucket. Without a key the store's own credentials are used (AWS_*, instance roles)."""

    bucket: str
    prefix: str
    """Begins every key of ours; ends with a slash, or is empty."""
    bytes_max: int
    names: SecretNames
    region: str
    endpoint: str | None = None
    """None for AWS."""
    virtual_hosted: bool = False
    access_key_id: str = field(default="", repr=False)
    secret_access_key: str = field(default="", repr=False)
    url_seconds: float = 86_400.0
    public_url: str | None = None
    """The address at which the bucket is public; then only the names are signed."""
    seconds_max: float = 300.0
    """For one request; each part of a large file is one."""
    name: str = "bucket"
    proxy: str | None = field(default=None, repr=False)
    """Its address, with the login that it wants."""

    @cached_property
    def _store(self) -> Any:
        options: dict[str, Any] = {
            "region": self.region,
            "virtual_hosted_style_request": self.virtual_hosted,
            "client_options": {
                "allow_http": (self.endpoint or "").startswith("http://"),
                "timeout": f"{self.seconds_max:.0f}s",
                "connect_timeout": "10s",
                **(_NO_PROXY if self.proxy is None else {"proxy_url": self.proxy}),
            },
            "retry_config": {"max_retries": 3, "retry_timeout": timedelta(seconds=min(self.seconds_max, 60))},
        }
        if self.endpoint:
            options["endpoint"] = self.endpoint
        if self.access_key_id:
            options["access_key_id"] = self.access_key_id
            options["secret_access_key"] = self.secret_access_key
        return obstore().store.S3Store(self.bucket, **options)

    def room(self, content_type: str) -> int:  # noqa: ARG002 - the same for all
        """Return the largest size that the provider fetches from an address."""
        return self.bytes_max

    def put(self, parcel: Parcel) -> Fault | None:
        """Upload the file in parts, with its type: the provider refuses octet-stream [PROVIDER 2.4]."""
        try:
            # An address that cannot be used would be found out only after the upload, again and again.
            if self.public_url is None and len(self._signed(parcel)) > ADDRESS_LENGTH_MAX:
                return self._fault(f"gives addresses longer than {ADDRESS_LENGTH_MAX} characters")
            with parcel.open() as file:
                obstore().put(
                    self._store,
                    self._key(parcel),
                    file,
                    attributes={"Content-Type": parcel.content_type},
                    chunk_size=_PART_BYTES,
                    max_concurrency=_PARTS_AT_ONCE,
                )
        except self._errors() as error:
            return self._refused("takes no file", error)
        return None

    def address(self, parcel: Parcel) -> str | None:
        """Sign an address for reading, good from now on for `url_seconds`."""
        if self.public_url is not None:
            return f"{self.public_url.rstrip('/')}/{quote(self._key(parcel))}"
        try:
            url = self._signed(parcel)
        except self._errors():
            return None
        return url if len(url) <= ADDRESS_LENGTH_MAX else None

    def remove(self, clip_id: str) -> Fault | None:
        """Remove every object of a clip."""
        return self._remove(f"{self.prefix}{clip_id}/", lambda _: True)

    def tidy(self, now: float) -> Fault | None:
        """Remove objects of ours that are too old; with an empty prefix all others lie among them."""
        before = now - STRAY_SECONDS

        def is_stray(meta: Any) -> bool:
            return self.names.are_like(meta["path"]) and meta["last_modified"].timestamp() < before

        return self._remove(self.prefix, is_stray)

    def _signed(self, parcel: Parcel) -> str:
        life = timedelta(seconds=self.url_seconds)
        return str(obstore().sign(self._store, "GET", self._key(parcel), life))

    def _key(self, parcel: Parcel) -> str:
        return f"{self.prefix}{parcel.clip_id}/{self.names.of(parcel)}"

    def _remove(self, prefix: str, is_due: Callable[[Any], bool]) -> Fault | None:
        try:
            objects = chain.from_iterable(obstore().list(self._store, prefix))
            for key in [meta["path"] for meta in objects if is_due(meta)]:
                obstore().delete(self._store, key)
        except FileNotFoundError:
            return None
        except self._errors() as error:
            return self._refused("does not let its objects be removed", error)
        return None

    def _errors(self) -> tuple[type[Exception], ...]:
        """Return the exceptions of obstore for a fault of the store, and NoObstore."""
        try:
            base: type[Exception] = obstore().exceptions.BaseError
        except NoObstore:
            return (NoObstore,)
        return (base, ValueError, PermissionError, FileNotFoundError)

    def _refused(self, what: str, error: Exception) -> Fault:
        if isinstance(error, NoObstore):
            return Fault(FaultOf.MOMENT, "TRANSPORT.BUCKET", str(error))
        return self._fault(f"{what}: {_why(error)}")

    def _fault(self, what: str) -> Fault:
        todo = "Look at [transport.bucket], its key and its rights; `clipspool check` tries it."
        return Fault(FaultOf.MOMENT, "TRANSPORT.BUCKET", f"the bucket {self.bucket} {what}", todo)


def _why(error: Exception) -> str:
    """Describe an error without the object's address, which obstore puts into every message."""
    kind, text = type(error).__name__, str(error)
    if "RequestTimeTooSkewed" in text:
        return "this machine's clock differs from the store's by too much"
    if isinstance(error, FileNotFoundError) or kind == "NotFoundError":
        return "there is no such bucket"
    status, code = _STATUS.search(text), _CODE.search(text)
    said = f" ({code[1]})" if code else ""
    if isinstance(error, PermissionError) or kind in {"PermissionDeniedError", "UnauthenticatedError"}:
        return f"its key is refused, or lacks the right{said}"
    if status:
        return f"it answers HTTP {status[1].strip()}{said}"
    if "kind: Timeout" in text:
        return "it does not answer in time"
    first, _, details = text.partition("\n")
    deepest = _DEEPEST.findall(details)
    return redact_line(deepest[-1] if deepest else first.rpartition(" - ")[2], _WHY_LENGTH_MAX)
