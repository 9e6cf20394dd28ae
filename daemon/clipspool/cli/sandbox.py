"""`clipspool demo` and `clipspool sandbox`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from clipspool.cli.group import Context, clipspool
from clipspool.cli.output import fail, say


@clipspool.command()
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Run it in this new or empty folder; without this, in a temporary one.",
)
@click.option("--render-seconds", default=4.0, show_default=True, help="How long the sandbox renders.")
@click.pass_obj
def demo(_context: Context, *, keep: Path | None, render_seconds: float) -> None:
    """Run one clip through clipspool on this machine, with no API key and at no cost."""
    from clipspool.cli.demo import run_demo
    from runway_sandbox import Options, Render

    try:
        options = Options(render=Render.REAL, render_seconds=render_seconds)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    run_demo(keep, options, say)


@clipspool.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--port", default=8787, show_default=True, type=click.IntRange(0, 65535), help="0 picks a free port."
)
@click.option(
    "--style",
    type=click.Choice(["bare", "wrapped", "mixed"]),
    default="wrapped",
    show_default=True,
    help="Answers as the vendor gives them, as the gateway wraps them, or both in turns.",
)
@click.option(
    "--render",
    type=click.Choice(["real", "echo", "canned"]),
    default="real",
    show_default=True,
    help="Results: the clip in a wintry blue, the clip as it came, or one film for all.",
)
@click.option("--render-seconds", default=4.0, show_default=True, help="How long each task renders.")
@click.option(
    "--visible-after", default=0.0, show_default=True, help="Seconds before a new task becomes visible."
)
@click.option("--concurrency", type=click.IntRange(min=1), help="Tasks beyond this many are THROTTLED.")
@click.option(
    "--ledger", type=click.Path(path_type=Path, dir_okay=False), help="Append each paid task to this file."
)
@click.option(
    "--lenient",
    is_flag=True,
    help="Accept requests without fields that the API's documentation marks required.",
)
@click.option("--seed", default=0, show_default=True, help="Random seed.")
@click.option(
    "--misbehave",
    "misbehaviours",
    multiple=True,
    metavar="OPERATION:WHAT[:NAME=VALUE]...",
    help="A fault to inject: create:429:times=2:retry_after=3, poll:500:probability=0.2, download:cut.",
)
def sandbox(
    *,
    host: str,
    port: int,
    style: str,
    render: str,
    render_seconds: float,
    visible_after: float,
    concurrency: int | None,
    ledger: Path | None,
    lenient: bool,
    seed: int,
    misbehaviours: Sequence[str],
) -> None:
    """Run a local stand-in for the provider's API, to try configurations and faults at no cost."""
    from runway_sandbox import Options, Render, Style, parse, run

    try:
        options = Options(
            host=host,
            port=port,
            style=Style(style),
            render=Render(render),
            render_seconds=render_seconds,
            visible_after=visible_after,
            concurrency=concurrency,
            ledger=ledger,
            strict=not lenient,
            seed=seed,
            misbehaviours=tuple(parse(text) for text in misbehaviours),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    try:
        if ledger is not None:
            ledger.open("a").close()
    except OSError as error:
        fail(f"{ledger} cannot be written: {error.strerror}.")
    try:
        run(
            options, ready=lambda url: say(f"The sandbox runs at {url} (any API key works). Ctrl-C stops it.")
        )
    except OSError as error:
        why = (
            os.strerror(code) if (code := error.errno or 0) > 0 else error.strerror
        )  # asyncio says all twice
        fail(f"The sandbox cannot listen at {host}:{port}: {why}. Choose another --port, or --host.")
