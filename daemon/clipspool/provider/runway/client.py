"""Calls a Runway-style API, CometAPI by default: creates paid tasks, polls them, downloads results."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from clipspool.jobs.account import Balance
from clipspool.jobs.faults import Fault, FaultOf
from clipspool.provider.addresses import AWAY, Reach
from clipspool.provider.protocol import (
    Call,
    Created,
    Download,
    Gate,
    NothingSent,
    SubmitAnswer,
    TaskLook,
    Unclear,
)
from clipspool.provider.runway.answers import SUCCESS, busy_fault, is_missing, read_create, read_task
from clipspool.provider.runway.body import Body, FileChanged, NotJson, open_body
from clipspool.provider.runway.download import Downloader
from clipspool.provider.runway.ids import offered
from clipspool.provider.runway.post import PaidPost, file_fault
from clipspool.provider.runway.refusals import WRONG_ADDRESS, account_fault
from clipspool.system.http.asking import Asker
from clipspool.system.http.client import Wire
from clipspool.system.http.faults import WireTrouble, wire_fault
from clipspool.system.http.guard import Forbidden, Unreachable, guard_for
from clipspool.system.http.own_words import Own
from clipspool.system.http.pace import TimeLimits
from clipspool.system.http.proxy import Proxy
from clipspool.system.http.reply import Reply, excerpt, number, read_reply

COMET_HOST = "api.cometapi.com"
COMET_BALANCE_URL = "https://query.cometapi.com/user/quota"

_BRIEF = TimeLimits(connect_seconds=5.0, silence_seconds=5.0, total_seconds=10.0)
"""For calls whose answer nobody waits for."""
_KEY_TODO = "Set CLIPSPOOL_PROVIDER__API_KEY, a systemd credential, or api_key_file."


@dataclass(frozen=True, slots=True)
class Patience:
    """The limits of all calls; all seconds and bytes above 0."""

    connect_seconds: float = 10.0
    """Name, TCP and TLS together."""
    read_seconds: float = 60.0
    """Silence of the server, also before its answer."""
    submit_seconds_max: float = 300.0
    """A paid request and its answer, without the time of a slow uplink for the body."""
    upload_bytes_per_second_min: float = 65_536.0
    """The slowest uplink for a body; its time is added to both limits above."""
    early_answer_seconds: float = 2.0
    """How long to wait for an answer after the server stopped reading midway."""
    download_seconds_max: float = 14_400.0
    download_bytes_per_second_min: float = 1024.0
    """A download slower than this over `drip_seconds` of waiting is cut."""
    drip_seconds: float = 60.0
    result_bytes_max: int = 20_000_000_000


class Runway:
    """A provider.Provider over HTTPS; may be used from many threads."""

    def __init__(
        self,
        base_url: str,
        api_key: Callable[[], str],
        *,
        api_version: str = "2024-11-06",
        user_agent: str = "clipspool",
        patience: Patience | None = None,
        ca_file: str | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        """`base_url` ends with `/v1`; `api_key` is called before each request, so the key may change.

        Raises ValueError for an address that no API can have, OSError for an unreadable `ca_file`.
        """
        guard = guard_for(base_url)
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key
        self._patience = patience = patience or Patience()
        self._wire = Wire(guard, ca_file, proxy)
        self._origin = guard.target(base_url).origin
        self._common = {"Accept-Encoding": "identity", "User-Agent": user_agent}
        self._headers = {**self._common, "Accept": "application/json", "X-Runway-Version": api_version}
        self._questions = Asker(
            self._wire, TimeLimits(patience.connect_seconds, patience.read_seconds, 2 * patience.read_seconds)
        )
        self._asides = Asker(self._wire, _BRIEF)
        self._results = Asker(self._wire, _download_limits(patience))

    @property
    def profile(self) -> str:
        """The account that makes tasks: base URL and a fingerprint of the key; no secret."""
        key = self._key()
        if isinstance(key, Fault):
            return f"{self._base_url}#no-key"
        return f"{self._base_url}#{hashlib.sha256(b'clipspool ' + key.encode()).hexdigest()[:12]}"

    def submit(self, call: Call, gate: Gate) -> SubmitAnswer:
        """Connect (TLS included), wait for `gate`, then send once: never twice, never redirected.

        No `Expect: 100-continue`: gateways and CDNs answer it at random, and headers that have left are
        already a doubt. Through a proxy there is a tunnel: the API gets exactly what the witness sent.
        """
        key = self._key()
        if isinstance(key, Fault):
            return NothingSent(key)
        # What can fail here fails before the connection: then it is certain that nothing was sent.
        try:
            body = open_body(call.body)
        except NotJson as error:
            message = f"The request cannot be written as JSON: {error}"
            return NothingSent(Fault(FaultOf.CLIP, "REQUEST.NOT_JSON", message))
        except (OSError, FileChanged) as error:
            return NothingSent(file_fault(error))
        with body:
            try:
                post = self._paid_post(call.endpoint, key, body)
            except Forbidden as error:
                return NothingSent(wire_fault(error))
            answer = post.send(gate)
        if isinstance(answer, NothingSent | Unclear):
            return answer
        text = _without(key, answer.body)
        own = Own(call.body)
        outcome = read_create(answer.status, answer.headers, text, datetime.now(UTC), own)
        # An answer that was cut is no refusal: its missing half may name the task that is paid for.
        # JSON has its own end, so a task in a cut answer is named for sure; a refusal has to be whole.
        if answer.cut and not isinstance(outcome, Created):
            seen = {"http_status": answer.status, "answer": excerpt(text), "error": answer.cut}
            if found := offered(None, answer.headers, text, own):
                seen["maybe_task_ids"] = found
            message = f"The request was sent, but no whole answer arrived: {answer.cut}"
            return Unclear(message, answer.evidence | seen)
        if isinstance(outcome, Unclear):
            return Unclear(outcome.message, answer.evidence | outcome.evidence)
        return outcome

    def look(self, task_id: str) -> TaskLook | Fault:
        """Read a task's state. A Fault says nothing about the task itself."""
        answer = self._ask("GET", self._task_url(task_id))
        if isinstance(answer, Fault):
            return answer
        status, headers, body = answer
        return read_task(status, headers, body, task_id, datetime.now(UTC))

    def cancel(self, task_id: str) -> Fault | None:
        """Ask the provider to stop a task; a Fault where it has no such call [PROVIDER 1.1, 2.6].

        That it does not know the task confirms nothing: the task may be fresh, or the call unknown.
        """
        reply = self._reply("DELETE", self._task_url(task_id))
        if isinstance(reply, Fault):
            return reply
        if reply.status in SUCCESS and not reply.is_html and not is_missing(reply):
            return None
        fault = account_fault(reply)
        if fault is not None and fault.code != WRONG_ADDRESS:
            return fault
        if _is_passing(reply):
            return busy_fault(reply)
        what = "does not know the task" if is_missing(reply) else "has no call to cancel a task"
        message = f"The provider {what} (HTTP {reply.status})"
        todo = "The task runs on at the provider, and may be charged."
        return Fault(FaultOf.CLIP, "PROVIDER.NO_CANCEL", message, todo)

    def download(self, url: str, offset: int, etag: str) -> Download | Fault:
        """Open a result. The key goes to the API's host only; each hop must be a public https address."""
        key = self._key()
        opener = Downloader(
            self._results,
            self._wire.guard,
            {**self._common, "Accept": "*/*"},
            self._patience.result_bytes_max,
            self._origin,
            "" if isinstance(key, Fault) else key,
        )
        return opener.open(url, offset, etag)

    def reach(self) -> Reach:
        """Try to connect, TLS included; nothing is sent."""
        target = self._wire.guard.target(self._base_url)
        try:
            self._wire.connected(target, self._patience.connect_seconds).close()
        except Unreachable as error:
            return Reach.NO if error.code in AWAY else Reach.UNSURE
        except WireTrouble:
            return Reach.UNSURE
        return Reach.YES

    def ask_account(self) -> dict[str, Any] | Fault:
        """Check the key at no cost.

        Returns `key` ("accepted") and, where the provider has them, `credits`, `balance_usd` and `limits`.
        Where it has no call for that, a look at a task that cannot exist shows whether the key is good
        [PROVIDER 1.5, 1.7, 2.8].
        """
        if not self._is_comet:
            organization = self._reply("GET", f"{self._base_url}/organization")
            if isinstance(organization, Fault):
                return organization
            if (account := _organization(organization)) is not None:
                return account
        reply = self._reply("GET", self._task_url(str(uuid.uuid4())))
        if isinstance(reply, Fault):
            return reply
        if (fault := account_fault(reply)) is not None:
            return fault
        if _is_passing(reply):
            return busy_fault(reply)
        return {"key": "accepted", **(self._comet_balance(self._questions) if self._is_comet else {})}

    def ask_balance(self) -> Balance | None:
        """Read the account's balance, within 10 s [PROVIDER 1.7, 2.8]; None where it is not given."""
        if self._is_comet:
            found = self._comet_balance(self._asides)
            return Balance(found["balance_usd"], "USD") if found else None
        reply = self._reply("GET", f"{self._base_url}/organization", self._asides)
        account = None if isinstance(reply, Fault) else _organization(reply)
        return Balance(account["credits"], "credits") if isinstance(account, dict) else None

    def close(self) -> None:
        """Close the connections."""
        self._questions.close()
        self._asides.close()
        self._results.close()

    @property
    def _is_comet(self) -> bool:
        return self._origin[1] == COMET_HOST

    def _comet_balance(self, asker: Asker) -> dict[str, Any]:
        """Ask for the balance; the query has the key, so this address is never shown."""
        key = self._key()
        if isinstance(key, Fault):
            return {}
        reply = self._reply("GET", f"{COMET_BALANCE_URL}?key={quote(key, safe='')}", asker)
        tree = reply.tree if isinstance(reply, Reply) and reply.status == HTTPStatus.OK else None
        balance = number((tree or {}).get("total_quota"))
        return {} if balance is None else {"balance_usd": balance}

    def _key(self) -> str | Fault:
        try:
            key = self._api_key().strip()
        except OSError as error:
            message = f"The API key cannot be read: {error.strerror}"
            return Fault(FaultOf.ACCOUNT, "ACCOUNT.KEY_UNREADABLE", message)
        if not key:
            return Fault(FaultOf.ACCOUNT, "ACCOUNT.KEY_MISSING", "There is no API key", _KEY_TODO)
        if not (key.isascii() and key.isprintable() and " " not in key):
            message = "The API key holds spaces or odd letters"
            return Fault(FaultOf.ACCOUNT, "ACCOUNT.KEY_MALFORMED", message, _KEY_TODO)
        return key

    def _task_url(self, task_id: str) -> str:
        return f"{self._base_url}/tasks/{quote(task_id, safe='')}"

    def _paid_post(self, endpoint: str, key: str, body: Body) -> PaidPost:
        patience = self._patience
        upload_seconds = body.length / patience.upload_bytes_per_second_min
        limits = TimeLimits(
            connect_seconds=patience.connect_seconds,
            silence_seconds=patience.read_seconds + upload_seconds,  # the system may still be sending
            total_seconds=patience.submit_seconds_max + upload_seconds,
        )
        target = self._wire.guard.target(f"{self._base_url}/{endpoint.strip('/')}")
        return PaidPost(
            witness=self._wire.witness(target, limits),
            path=target.path,
            headers={**self._headers, "Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            body=body,
            limits=limits,
            early_answer_seconds=patience.early_answer_seconds,
        )

    def _reply(self, method: str, url: str, asker: Asker | None = None) -> Reply | Fault:
        answer = self._ask(method, url, asker)
        return answer if isinstance(answer, Fault) else read_reply(*answer, datetime.now(UTC))

    def _ask(
        self, method: str, url: str, asker: Asker | None = None
    ) -> tuple[int, dict[str, str], bytes] | Fault:
        """Send a free request; return status, headers and the whole body."""
        key = self._key()
        if isinstance(key, Fault):
            return key
        # The key goes to the API's own address only.
        is_ours = url.startswith(f"{self._base_url}/")
        asked = {**self._headers, "Authorization": f"Bearer {key}"} if is_ours else self._headers
        try:
            status, headers, body = (asker or self._questions).exchange(method, url, asked)
        except WireTrouble as error:
            return wire_fault(error)
        return status, headers, _without(key, body)


def _without(key: str, body: bytes) -> bytes:
    """Remove the key from an answer that repeats it."""
    return body.replace(key.encode("ascii"), b"[key]")


def _organization(reply: Reply) -> dict[str, Any] | Fault | None:
    """Read the official API's account [PROVIDER 2.8]; None where the provider has no such call."""
    if reply.status == HTTPStatus.UNAUTHORIZED:
        return account_fault(reply)
    found = number((reply.tree or {}).get("creditBalance"))
    if reply.status != HTTPStatus.OK or reply.tree is None or found is None:
        return None
    tier = reply.tree.get("tier")
    return {"key": "accepted", "credits": found, "limits": tier if isinstance(tier, dict) else {}}


def _is_passing(reply: Reply) -> bool:
    is_server_error = reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    is_passing = is_server_error and reply.status != HTTPStatus.NOT_IMPLEMENTED
    return is_passing or reply.status == HTTPStatus.TOO_MANY_REQUESTS


def _download_limits(patience: Patience) -> TimeLimits:
    return TimeLimits(
        connect_seconds=patience.connect_seconds,
        silence_seconds=patience.read_seconds,
        total_seconds=patience.download_seconds_max,
        bytes_per_second_min=patience.download_bytes_per_second_min,
        window_seconds=patience.drip_seconds,
    )
