"""`[transport]`: how clips and images reach the provider."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from clipspool.app.settings.tables import (
    AnyPath,
    Number,
    Seconds,
    SettingsTable,
    form,
    public_address,
    secret,
)

_bucket_name = form(
    "[A-Za-z0-9][A-Za-z0-9._-]{1,254}", "a bucket's name: 2 to 255 letters, digits, `.`, `_` or `-`"
)
_WEEK_SECONDS = 7 * 86_400
_served = partial(public_address, example="https://media.example.com/clipspool")
_endpoint = partial(public_address, example="https://s3.example.com", is_public=False)


def _prefix(value: str) -> str:
    if value.startswith("/") or "//" in value or not value.isprintable() or " " in value:
        raise ValueError('must be a folder inside the bucket, such as "clipspool/"')
    return value if not value or value.endswith("/") else f"{value}/"


class BucketSettings(SettingsTable):
    """`[transport.bucket]`: a bucket of any S3-compatible store."""

    name: Annotated[str, _bucket_name]
    endpoint: Annotated[str, AfterValidator(_endpoint)] | None = None
    """None for AWS."""
    region: Annotated[str, form("[A-Za-z0-9-]{1,64}", "a region such as us-east-1")] = "us-east-1"
    prefix: Annotated[str, AfterValidator(_prefix)] = "clipspool/"
    virtual_hosted: bool = False
    url_seconds: Seconds = 86_400.0
    """How long an address is valid; it is signed right before it is sent."""
    public_url: Annotated[str, AfterValidator(_served)] | None = None
    """A prefix under which everyone can read the bucket: then addresses are not signed."""
    access_key_id: Annotated[SecretStr, AfterValidator(secret)] | None = None
    """Never in this file: from the environment or a systemd credential."""
    secret_access_key: Annotated[SecretStr, AfterValidator(secret)] | None = None
    """Likewise."""

    @field_validator("url_seconds")
    @classmethod
    def _at_most_a_week(cls, value: float) -> float:
        if not 60 <= value <= _WEEK_SECONDS:  # noqa: PLR2004 - a minute
            raise ValueError("must be 60 to 604800: no store signs for longer than a week")
        return value

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("has only one of `access_key_id` and `secret_access_key`")
        return self


class PublicUrlSettings(SettingsTable):
    """`[transport.public_url]`: a folder of ours that a web server serves already."""

    folder: AnyPath
    url: Annotated[str, AfterValidator(_served)]
    """The address of the folder's files."""


class TransportSettings(SettingsTable):
    """`[transport]`."""

    mode: Literal["auto", "inline", "bucket", "public_url", "upload"] = "auto"
    url_bytes_max: Annotated[int, Field(ge=1024, le=10_000_000_000), Number] = 32_000_000
    """What the provider fetches from an address [PROVIDER 2.4]."""
    bucket: BucketSettings | None = None
    public_url: PublicUrlSettings | None = None

    @model_validator(mode="after")
    def _is_described(self) -> Self:
        if self.mode in {"bucket", "public_url"} and getattr(self, self.mode) is None:
            raise ValueError(f'has mode = "{self.mode}" and no [transport.{self.mode}]')
        return self
