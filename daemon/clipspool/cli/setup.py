"""`clipspool init` and `clipspool check`."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clipspool.cli.group import Context, asks_nothing, clipspool, command
from clipspool.cli.output import EXIT_FAILED, fail, print_json, refuse, say

if TYPE_CHECKING:
    from clipspool.app.settings import Needs
    from clipspool.cli.check import Finding

_START = """\
# clipspool: a configuration to start from. config.example.toml, beside the documentation, shows every key.
# The API key never goes into this file: set CLIPSPOOL_PROVIDER__API_KEY, or name a separate file:

[provider]
base_url = "https://api.cometapi.com/runwayml/v1"
#api_key_file = "api_key"

[budget]
submissions_per_day = 100       # paid requests per day at most

# Used where a sidecar does not say otherwise.
[defaults]
model = "gen4_aleph"

[[inbox]]
# Editors drop clips and sidecars here.
path = {inbox}
# Results appear here.
outbox = {outbox}
# Keeps _status.txt in the inbox: how editors' clips stand.
status_file = true
"""

_SIDECAR = """\
# Copy this beside a clip under the clip's name: shot010.mp4 and shot010.toml.
prompt = "Turn the street into deep winter at dusk"
"""


def _literal(path: Path) -> str:
    """Return a path as a TOML string."""
    return json.dumps(str(path), ensure_ascii=False).replace("\x7f", "\\u007f")


def _write_new(path: Path, data: bytes) -> None:
    """Write a new file whole, or none: half of one would keep the next try from it."""
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        raise
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


@clipspool.command()
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path, file_okay=False))
@asks_nothing
def init(folder: Path) -> None:
    """Create config.toml and example folders in DIR, or here. Existing files are never changed."""
    config = folder / "config.toml"
    here = Path(os.path.abspath(folder))  # noqa: PTH100 - keeps links
    inbox, outbox = here / "bay-1", here / "bay-1-results"
    try:
        # Absolute, so that the file may be put elsewhere: /etc/clipspool/config.toml for the service.
        text = _START.format(inbox=_literal(inbox), outbox=_literal(outbox)).encode()
    except UnicodeEncodeError:
        fail(f"The path {str(here)!a} is not valid UTF-8, so a configuration file cannot name it.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_new(config, text)
        for made in (inbox, outbox):
            made.mkdir(exist_ok=True)
        example = folder / "sidecar.example.toml"
        if not example.exists():
            _write_new(example, _SIDECAR.encode())
    except FileExistsError as error:
        fail(f"{error.filename} already exists; nothing was changed.")
    except OSError as error:
        fail(f"{error.filename or folder} cannot be written: {error.strerror}.")
    say(f"Created {config}, {folder / 'bay-1'} and {folder / 'bay-1-results'}.")
    say("Next: set CLIPSPOOL_PROVIDER__API_KEY, then run")
    say(f"  clipspool check -c {shlex.quote(str(config))}")
    say(f"  clipspool run -c {shlex.quote(str(config))}")


@command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@click.option("--inbox", metavar="N", help="With FILE: the inbox whose rules hold for a file elsewhere.")
@click.option("--offline", is_flag=True, help="Do not contact the provider.")
@click.option("--notify", is_flag=True, help="Send a test message to each receiver of notifications.")
@click.option("--systemd", is_flag=True, help="Print the systemd drop-in that the configured folders need.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a finding.")
def check(
    context: Context,
    files: Sequence[Path],
    *,
    inbox: str | None,
    offline: bool,
    notify: bool,
    systemd: bool,
    as_json: bool,
) -> None:
    """Check everything needed to run, and suggest fixes. Spends nothing.

    With FILE, a clip, a sidecar, a folder of numbered pictures, a timeline or a file of settings: show what
    would be sent of it, what it would cost, and what is wrong, as the inbox in which it lies would judge it.
    Neither daemon nor provider is needed.
    """
    if files:
        _check_files(context, files, inbox, as_json=as_json)
        return
    if inbox is not None:
        raise click.UsageError("--inbox is about files: name them too, or leave it out")
    from clipspool.cli.check import is_fit, look

    if systemd:
        _print_drop_in(context)
        return
    env, needs = _as_the_service(context)
    settings = context.settings("find", looks=True, needs=needs, env=env)
    from clipspool.app.build import provider_of
    from clipspool.app.settings import SettingsError

    provider = None
    with suppress(SettingsError):  # said among the findings
        provider = None if offline else provider_of(settings)
    findings: list[Finding] = []
    for finding in look(settings, provider, notifies=notify):
        findings.append(finding)
        if as_json:
            print_json(asdict(finding))
        else:
            _print(finding)
    if not is_fit(findings):
        sys.exit(EXIT_FAILED)


def _check_files(context: Context, files: Sequence[Path], name: str | None, *, as_json: bool) -> None:
    settings = context.settings("none")
    from clipspool.cli.check.files import FileChecker, lines, total
    from clipspool.system.redaction import readable

    inbox = next((one for one in settings.inbox if one.name == name), None)
    if name is not None and inbox is None:
        fail(f"There is no inbox {name}; configured: {', '.join(settings.inbox_names)}.")
    every = []
    with closing(FileChecker(settings, inbox)) as checker:
        for file in files:
            try:
                found = checker.check(file)
            except OSError as error:
                fail(f"{file} cannot be read: {error.strerror or error}.")
            every.append(found)
            if as_json:
                print_json(found.to_dict())
                continue
            mark, color = _MARKS["bad" if found.quote.problems else "warn" if found.held else "ok"]
            first, *more = lines(found)
            say(f"{click.style(mark, fg=color)}  {readable(found.file)}: {first}")
            for line in more:
                say(f"    {line}")
    if not as_json and (sum_ := total(every)):
        say(sum_)
    if any(found.quote.problems for found in every):
        sys.exit(EXIT_FAILED)


def _as_the_service(context: Context) -> tuple[dict[str, str], Needs]:
    """Return the environment with the service's systemd credentials, where the caller may read them.

    Where they exist but may not be read, the rest is checked without them.
    """
    from clipspool.app.settings import SettingsError, file_of
    from clipspool.system.units import handed_over, unit_of

    env = dict(os.environ)
    try:
        file = file_of(context.config)
    except SettingsError:
        return env, "all"
    unit = None if file is None else unit_of(file)
    if file is None or unit is None or not unit.credentials:
        return env, "all"
    may_read = all(os.access(credential, os.R_OK) for credential in unit.credentials.values())
    return env | handed_over(file), "all" if may_read else "none"


def _print_drop_in(context: Context) -> None:
    from clipspool.app.settings import file_of
    from clipspool.cli.check import missing_folders, systemd_drop_in
    from clipspool.system.units import STATES, handed_over, state_of

    file = file_of(context.config)
    # The service keeps its journal elsewhere than the caller.
    env = {**os.environ, "STATE_DIRECTORY": str(state_of(file) if file else STATES / "clipspool")}
    settings = context.settings("none", looks=True, env=env | (handed_over(file) if file else {}))
    try:
        say(systemd_drop_in(settings), end="")
    except ValueError as error:
        refuse(str(error))
    for folder in missing_folders(settings):
        say(
            f"{folder} does not exist: systemd cannot start a unit that names it (226/NAMESPACE). Create it, "
            "or let `clipspool service install` create it.",
            err=True,
        )


_MARKS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "bad": ("BAD ", "red")}


def _print(finding: Finding) -> None:
    mark, color = _MARKS[finding.level]
    why = f": {finding.why}" if finding.why else ""
    say(f"{click.style(mark, fg=color)}  {finding.what}{why}")
    if finding.what_to_do:
        say(f"      {finding.what_to_do}")
