"""What a start loads, and what it does not: modules are time and memory that every user pays for."""

import subprocess
import sys

import click
import pytest

from clipspool.cli import clipspool

CONFIG = """
[provider]
base_url = "http://127.0.0.1:9/v1"
[journal]
path = "state/journal.sqlite3"
[[inbox]]
path = "bay"
outbox = "out"
"""
SCRIPT = """
import sys
looked_for = sys.argv.pop().split()
from clipspool.cli import main
try:
    main()
except SystemExit as end:
    print(end.code, *(name for name in looked_for if sys.modules.get(name) is not None))
"""


def loaded(folder, *arguments, of):
    """Return the exit code of a command, and which modules it loaded."""
    command = [sys.executable, "-c", SCRIPT, *arguments, " ".join(of)]
    env = {"HOME": str(folder), "CLIPSPOOL_PROVIDER__API_KEY": "some-key"}
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=True)
    code, *names = done.stdout.splitlines()[-1].split()
    return code, names


def test_a_daemon_without_a_page_loads_only_what_it_uses(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG)
    unused = [
        "asyncio.events",
        "requests",
        "prometheus_client",
        "pydantic_settings",
        "rich",
        "starlette",
        "av",
    ]
    found = loaded(tmp_path, "run", "--until-idle", of=(*unused, "clipspool.app.daemon"))
    assert found == ("0", ["clipspool.app.daemon"])


def test_help_loads_no_command_and_a_command_no_other(tmp_path):
    names = ("clipspool.cli.look", "clipspool.cli.act", "clipspool.app.settings")
    assert loaded(tmp_path, "--help", of=names) == ("0", [])
    assert loaded(tmp_path, "status", "--help", of=names) == ("0", ["clipspool.cli.look"])


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_list_of_commands_is_what_the_commands_say_of_themselves(width):
    context = click.Context(clipspool, info_name="clipspool", max_content_width=width, terminal_width=width)
    ours, clicks = context.make_formatter(), context.make_formatter()
    clipspool.format_commands(context, ours)
    click.Group.format_commands(clipspool, context, clicks)
    assert ours.getvalue() == clicks.getvalue()
    assert set(clipspool.list_commands(context)) == set(clipspool.commands)
