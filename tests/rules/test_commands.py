"""What holds for every command of the command line."""

import click
import pytest

from clipspool.cli.group import clipspool
from clipspool.cli.output import say

LOOKS = {"check", "farm", "jobs", "logs", "service", "service status", "show", "status"}
RUNS = {"demo", "run", "sandbox"}


def named(group, before=""):
    """Yield every command with its full name, groups included."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        yield f"{before}{name}", command
        if isinstance(command, click.Group):
            yield from named(command, f"{before}{name} ")


CHANGES = {name: command for name, command in named(clipspool) if name not in LOOKS | RUNS}


@pytest.mark.parametrize("name", CHANGES)
def test_a_script_may_give_yes_to_every_command_that_changes_something(name):
    options = {option for parameter in CHANGES[name].params for option in parameter.opts}
    assert "--yes" in options


def test_no_name_steers_the_terminal(capsys):
    say("\x1b]0;title\x07 \x1b[2J a\x08b \u202egnp.mp4 \x9b31m é😀\tand\n\x1b[32mok\x1b[0m")
    assert capsys.readouterr().out == (
        "\\x1b]0;title\\x07 \\x1b[2J a\\x08b \\u202egnp.mp4 \\x9b31m é😀\tand\nok\n"
    )
