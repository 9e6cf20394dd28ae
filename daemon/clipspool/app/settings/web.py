"""`[web]`: the page that the daemon serves, and who may use it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from clipspool.app.settings.tables import AnyPath, SettingsTable, few, nearness, secret

_SOCKET_PATH_BYTES_MAX = 107
_TOKENS_MAX = 100
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


def _token_names(value: Mapping[str, TokenSettings]) -> Mapping[str, TokenSettings]:
    if len(value) > _TOKENS_MAX:
        raise ValueError(f"has more than {_TOKENS_MAX} entries")
    for name in value:
        # In lower case, and without `__`: a variable of the environment has to be able to name it.
        if not re.fullmatch(r"(?!.*__)[a-z0-9][a-z0-9_]{0,31}", name):
            raise ValueError("must have names of small letters, figures and _, such as [web.tokens.edit]")
    return value


def _host(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", value.lower()):
        raise ValueError('must be a host name without a port, such as "clips.example.com"')
    return value.lower()


def is_near(listen: str) -> bool:
    """Whether only this machine's users can reach an address directly."""
    return listen.startswith("unix:") or nearness(listen.rpartition(":")[0].strip("[]"))[0]


HOW_TO_GIVE_IT = (
    "set CLIPSPOOL_WEB__TOKEN, or give a systemd credential named web_token, "
    "or name a file in `web.token_file`"
)


Right = Literal["look", "add", "decide"]
WebToken = Annotated[SecretStr, AfterValidator(partial(secret, least=16))]


class TokenSettings(SettingsTable):
    """`[web.tokens.NAME]`: a token with some of the rights."""

    rights: Annotated[tuple[Right, ...], Field(min_length=1)] = ("look", "add", "decide")
    token: WebToken | None = None
    """Never in this file: from the environment, a systemd credential or `token_file`."""
    token_file: AnyPath | None = None


class WebSettings(SettingsTable):
    """`[web]`: off unless `listen` is set."""

    listen: Annotated[str, AfterValidator(_listen)] | None = None
    """`ADDRESS:PORT`, or `unix:PATH`; beyond loopback only with a token."""
    token: WebToken | None = None
    """Never in this file: from the environment, a systemd credential or `token_file`."""
    token_file: AnyPath | None = None
    tokens: Annotated[Mapping[str, TokenSettings], AfterValidator(_token_names)] = Field(default_factory=dict)
    """More tokens by name, each with the rights that it gives."""
    hosts: Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], few] = ()
    """Host names of the page besides `localhost` and addresses: those of a reverse proxy."""

    @property
    def is_near(self) -> bool:
        """Whether only this machine's users can reach it directly."""
        return is_near(self.listen or "localhost:0")

    @property
    def must_log_in(self) -> bool:
        """Whether others may reach it, directly or through a proxy: then viewing needs the token too."""
        return bool(self.hosts) or not self.is_near

    @property
    def secrets(self) -> Mapping[str, SecretStr]:
        """Every token that is set, by its name; the one without a name by an empty one."""
        named = {name: one.token for name, one in self.tokens.items()}
        return {name: token for name, token in {"": self.token, **named}.items() if token is not None}

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        # One token with two sets of rights would give those of whichever is found first.
        if len({token.get_secret_value() for token in self.secrets.values()}) < len(self.secrets):
            raise ValueError("has the same token under two names: each needs its own")
        if self.listen is not None and self.must_log_in and not self.secrets:
            why = "names `hosts`" if self.hosts else "listens beyond this machine"
            raise ValueError(f"{why}, and there is no token; {HOW_TO_GIVE_IT}")
        return self
