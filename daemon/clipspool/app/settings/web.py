"""`[web]`: the page that the daemon serves, and who may use it."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from clipspool.app.settings.parts import AnyPath, Part, nearness

_SOCKET_PATH_BYTES_MAX = 107
_HOSTS_MAX = 50
_PORT_MAX = 65_535
_EXAMPLE = 'such as "127.0.0.1:8765", "[::1]:8765" or "unix:/run/clipspool/web.sock"'


def _listen(value: str) -> str:
    if value.startswith("unix:"):
        path = value.removeprefix("unix:")
        if not path.startswith("/") or path.endswith("/") or "\0" in path:
            raise ValueError("must be unix: and the absolute path of a socket")
        if len(path.encode()) > _SOCKET_PATH_BYTES_MAX:
            raise ValueError(f"has a path of more than {_SOCKET_PATH_BYTES_MAX} bytes")
        return value
    host, _, port = value.rpartition(":")
    is_address = re.fullmatch(r"localhost|\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:.]{2,45}\]", host)
    if not is_address or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 <= int(port) <= _PORT_MAX:
        raise ValueError(f"must be an address and a port, or a socket: {_EXAMPLE}")
    return value


def _token(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]{16,4096}", value.get_secret_value()):
        raise ValueError("must be 16 to 4096 printable ASCII characters without spaces")
    return value


def _host(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", value.lower()):
        raise ValueError('must be a host name without a port, such as "clips.example.com"')
    return value.lower()


def _few(value: object) -> object:
    if isinstance(value, list | tuple) and len(value) > _HOSTS_MAX:
        raise ValueError(f"has more than {_HOSTS_MAX} entries")
    return value


def is_near(listen: str) -> bool:
    """Whether only this machine's users can reach an address directly."""
    return listen.startswith("unix:") or nearness(listen.rpartition(":")[0].strip("[]"))[0]


HOW_TO_GIVE_IT = (
    "set CLIPSPOOL_WEB__TOKEN, or give a systemd credential named web_token, "
    "or name a file in `web.token_file`"
)


class WebSettings(Part):
    """`[web]`: off unless `listen` is set."""

    listen: Annotated[str, AfterValidator(_listen)] | None = None
    """`ADDRESS:PORT`, or `unix:PATH`; beyond loopback only with a token."""
    token: Annotated[SecretStr, AfterValidator(_token)] | None = None
    """Never in this file: from the environment, a systemd credential or `token_file`."""
    token_file: AnyPath | None = None
    hosts: Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], BeforeValidator(_few)] = Field(
        default=()
    )
    """Host names of the page besides `localhost` and addresses: those of a reverse proxy."""

    @property
    def is_near(self) -> bool:
        """Whether only this machine's users can reach it directly."""
        return is_near(self.listen or "localhost:0")

    @property
    def must_log_in(self) -> bool:
        """Whether others may reach it, directly or through a proxy: then viewing needs the token too."""
        return bool(self.hosts) or not self.is_near

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if self.listen is not None and self.must_log_in and self.token is None:
            why = "names `hosts`" if self.hosts else "listens beyond this machine"
            raise ValueError(f"{why}, and there is no token: {HOW_TO_GIVE_IT}")
        return self
