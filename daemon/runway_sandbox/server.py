"""Starts and stops the sandbox: in a background thread for tests, in the foreground for the command."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from runway_sandbox import misbehave, render
from runway_sandbox.api import Api
from runway_sandbox.ledger import Ledger
from runway_sandbox.misbehave import Deck, Misbehaviour
from runway_sandbox.routes import Routes
from runway_sandbox.studio import Studio
from runway_sandbox.wire import CHUNK_BYTES, serve_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runway_sandbox.options import Options

START_SECONDS_MAX = 30.0


@dataclass(slots=True)
class Server:
    """The sandbox on one event loop: `async with Server(options) as server`."""

    options: Options
    ledger: Ledger = field(init=False)
    deck: Deck = field(init=False)
    origin: str = ""
    """Scheme, host and port once it listens."""
    _routes: Routes | None = None
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    _connections: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.options.ledger)
        self.deck = Deck(self.options.seed)
        self.deck.add(*self.options.misbehaviours)

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            await self._open(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _open(self, stack: contextlib.AsyncExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clipspool-sandbox-")))
        canned = folder / "canned.mp4"
        await asyncio.to_thread(render.sample, canned)
        studio = Studio(self.options, folder, canned)
        stack.push_async_callback(studio.close)
        api = Api(self.options, self.deck, self.ledger, studio, folder)
        stack.push_async_callback(api.close)
        self._routes = Routes(api)
        stack.push_async_callback(self._end_connections)
        self.origin = await self._listen(stack, self.options.port, at_results=False)
        if self.options.separate_results:
            api.results_base = await self._listen(stack, 0, at_results=True)

    async def _listen(self, stack: contextlib.AsyncExitStack, port: int, *, at_results: bool) -> str:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._converse(reader, writer, at_results=at_results)

        server = await asyncio.start_server(
            connected, self.options.host, port, limit=2 * CHUNK_BYTES, backlog=1024, reuse_address=True
        )
        stack.callback(server.close)
        host, bound = server.sockets[0].getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{bound}"

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, at_results: bool
    ) -> None:
        routes, task = self._routes, asyncio.current_task()
        assert routes is not None and task is not None  # noqa: S101, PT018  # it listens, so both are there
        self._connections.add(task)
        number = routes.next_connection()
        try:
            await serve_connection(
                reader, writer, lambda exchange: routes.handle(exchange, number), at_results=at_results
            )
        except asyncio.CancelledError:
            # Only the end of the sandbox cancels a connection; the streams' callback must not see it.
            writer.transport.abort()
        finally:
            self._connections.discard(task)

    async def _end_connections(self) -> None:
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Box:
    """A sandbox that runs in a background thread. Everything here may be used from any thread."""

    origin: str
    """`http://127.0.0.1:PORT`; what the official SDK takes for its base URL."""
    ledger: Ledger
    deck: Deck

    @property
    def base_url(self) -> str:
        """The prefix up to /v1 that the setting `provider.base_url` takes."""
        return f"{self.origin}/runwayml/v1"

    def misbehave(self, *ones: str | Misbehaviour) -> None:
        """Add misbehaviours, as values or in their text form. Raises ValueError for a bad one."""
        self.deck.add(*(misbehave.parse(one) if isinstance(one, str) else one for one in ones))

    def behave(self) -> None:
        """Forget all misbehaviours."""
        self.deck.clear()


@contextlib.contextmanager
def serve(options: Options) -> Iterator[Box]:
    """Run the sandbox in a background thread for as long as the block lasts.

    Raises OSError when it cannot listen.
    """
    started: threading.Event = threading.Event()
    made: list[tuple[asyncio.AbstractEventLoop, asyncio.Event, Server]] = []
    failed: list[BaseException] = []

    async def main() -> None:
        stop = asyncio.Event()
        async with Server(options) as server:
            made.append((asyncio.get_running_loop(), stop, server))
            started.set()
            await stop.wait()

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001  # handed to the caller's thread, whatever it is
            failed.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=work, name="sandbox", daemon=True)
    thread.start()
    started.wait(START_SECONDS_MAX)
    if not made:
        raise failed[0] if failed else TimeoutError("the sandbox did not start")
    loop, stop, server = made[0]
    try:
        yield Box(server.origin, server.ledger, server.deck)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(START_SECONDS_MAX)
    if failed:
        raise failed[0]


def run(options: Options, *, ready: Callable[[str], None]) -> None:
    """Serve in the foreground until SIGINT or SIGTERM; `ready` is told the base URL once it listens.

    Raises OSError when it cannot listen. For the main thread.
    """

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        async with Server(options) as server:
            ready(f"{server.origin}/runwayml/v1")
            await stop.wait()

    asyncio.run(main())
