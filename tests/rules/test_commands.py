"""What holds for every command of the command line."""

import click
import pytest

from clipspool.cli.group import clipspool

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
