"""Starts and stops the sandbox: in a background thread for tests, in the foreground for the command."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from runway_sandbox import misbehave, render
from runway_sandbox.api import Api
from runway_sandbox.ledger import Ledger
from runway_sandbox.misbehave import Deck, Misbehaviour
from runway_sandbox.options import Options
from runway_sandbox.routes import Routes
from runway_sandbox.studio import Studio
from runway_sandbox.wire import CHUNK_BYTES, serve_connection

START_SECONDS_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Box:
    """A running sandbox; may be used from any thread."""

    origin: str
    """`http://127.0.0.1:PORT`, the base URL of the official SDK."""
    ledger: Ledger
    deck: Deck

    @property
    def base_url(self) -> str:
        """Value of the setting `provider.base_url`: the prefix up to /v1."""
        return f"{self.origin}/runwayml/v1"

    def misbehave(self, *ones: str | Misbehaviour) -> None:
        """Add misbehaviours, as values or in their text form. Raises ValueError for a bad one."""
        self.deck.add(*(misbehave.parse(one) if isinstance(one, str) else one for one in ones))

    def behave(self) -> None:
        """Remove all misbehaviours."""
        self.deck.clear()


@contextlib.asynccontextmanager
async def _listening(options: Options) -> AsyncIterator[Box]:
    """Run the sandbox on this event loop while the block lasts."""
    ledger, deck = Ledger(options.ledger), Deck(options.seed)
    deck.add(*options.misbehaviours)
    connections: set[asyncio.Task[Any]] = set()
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clipspool-sandbox-")))
        canned = folder / "canned.mp4"
        await asyncio.to_thread(render.sample, canned)
        studio = Studio(options, folder, canned)
        stack.push_async_callback(studio.close)
        api = Api(options, deck, ledger, studio, folder)
        stack.push_async_callback(api.close)
        stack.push_async_callback(_end, connections)
        converse = partial(_converse, Routes(api), connections)
        if options.separate_results:
            api.serve_results_from(await _listen(stack, converse, options.host, 0, at_results=True))
        yield Box(await _listen(stack, converse, options.host, options.port, at_results=False), ledger, deck)


async def _listen(
    stack: contextlib.AsyncExitStack, converse: Callable[..., Any], host: str, port: int, *, at_results: bool
) -> str:
    """Listen until the stack ends; return scheme, host and port."""
    server = await asyncio.start_server(
        partial(converse, at_results=at_results),
        host,
        port,
        limit=2 * CHUNK_BYTES,
        backlog=1024,
        reuse_address=True,
    )
    stack.callback(server.close)
    host, bound = server.sockets[0].getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{bound}"


async def _converse(
    routes: Routes,
    connections: set[asyncio.Task[Any]],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    at_results: bool,
) -> None:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  # start_server makes one for each connection
    connections.add(task)
    handle = partial(routes.handle, connection=routes.next_connection())
    try:
        await serve_connection(reader, writer, handle, at_results=at_results)
    except asyncio.CancelledError:
        # Only the end of the sandbox cancels a connection; the callback of the streams must not see it.
        writer.transport.abort()
    finally:
        connections.discard(task)


async def _end(connections: set[asyncio.Task[Any]]) -> None:
    for task in tuple(connections):
        task.cancel()
    await asyncio.gather(*connections, return_exceptions=True)


@contextlib.contextmanager
def serve(options: Options) -> Iterator[Box]:
    """Run the sandbox in a background thread while the block lasts. Raises OSError if it cannot listen."""
    started = threading.Event()
    made: list[tuple[asyncio.AbstractEventLoop, asyncio.Event, Box]] = []
    failed: list[BaseException] = []

    async def main() -> None:
        stop = asyncio.Event()
        async with _listening(options) as box:
            made.append((asyncio.get_running_loop(), stop, box))
            started.set()
            await stop.wait()

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001  # raised in the caller's thread
            failed.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=work, name="sandbox", daemon=True)
    thread.start()
    started.wait(START_SECONDS_MAX)
    if not made:
        raise failed[0] if failed else TimeoutError("the sandbox did not start")
    loop, stop, box = made[0]
    try:
        yield box
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(START_SECONDS_MAX)
    if failed:
        raise failed[0]


def run(options: Options, *, ready: Callable[[str], None]) -> None:
    """Serve in the foreground until SIGINT or SIGTERM; `ready` gets the base URL once it listens.

    Raises OSError if it cannot listen. For the main thread.
    """

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with _listening(options) as box:
            ready(box.base_url)
            await stop.wait()

    asyncio.run(main())
