"""The sandbox: a local stand-in of the provider's API, for the demo, for trying things, and for tests.

    options.py      its settings
    server.py       start and stop: `serve` in a background thread, `run` in the foreground
    wire.py         HTTP/1.1, also broken on purpose
    routes.py       which endpoint; where a misbehaviour steps in; the log of requests; /_sandbox/
    api.py          what the endpoints do
    accounts.py     keys, credits, quotas
    validation.py   which bodies are refused, and why                                          pure
    sources.py      a data URI, an address or an upload becomes a clip on disk
    uploads.py      ephemeral uploads
    tasks.py        the life of a task                                                         pure
    studio.py       when a task is rendered and when it ends
    render.py       PyAV: probe, winter, sample, other containers
    answers.py      the shapes of tasks and errors                                             pure
    results.py      result files, their addresses, and broken downloads
    misbehave.py    what goes wrong, its text form, and the draw                               pure
    ledger.py       what was paid for, and every request

In a test:

    with serve(Options(render=Render.CANNED, render_seconds=0)) as box:
        box.misbehave("create:500-after:times=1")
        ...  # a client of box.base_url
        assert max(box.ledger.creates_by_clip().values()) == 1
"""

from runway_sandbox.misbehave import parse
from runway_sandbox.options import Options, Render, Style, UrlPlace
from runway_sandbox.server import Box, run, serve

__all__ = ["Box", "Options", "Render", "Style", "UrlPlace", "parse", "run", "serve"]
