"""What the README says of states and commands is what the code has."""

import re
from pathlib import Path

import click
import pytest

from clipspool.cli import clipspool
from clipspool.jobs.model import State

README = Path(__file__).parents[2] / "README.md"
COMMANDS = sorted(clipspool.list_commands(click.Context(clipspool)))


@pytest.fixture(scope="module")
def readme():
    assert README.exists(), "there is no README.md"
    return README.read_text()


@pytest.mark.parametrize("state", State)
def test_the_readme_explains_every_state_in_its_table(readme, state):
    rows = [line for line in readme.splitlines() if line.lstrip().startswith("|")]
    assert any(f"`{state.value}`" in row.split("|")[1] for row in rows), f"no row for `{state.value}`"


def test_the_readmes_table_has_no_state_that_there_is_not(readme):
    table = re.search(r"^\|[^\n]*`queued`.*?(?=\n[^|]|\Z)", readme, re.DOTALL | re.MULTILINE)
    assert table, "there is no table of states"
    named = {word for row in table[0].splitlines() for word in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == {state.value for state in State}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_names_every_command(readme, command):
    assert re.search(rf"\bclipspool (?:[\w-]+\|)*{re.escape(command)}\b", readme), f"`clipspool {command}`"


def test_the_readme_names_no_command_that_there_is_not(readme):
    blocks = re.findall(r"```[^\n]*\n(.*?)```", readme, re.DOTALL)
    typed = [line.lstrip(" $") for block in blocks for line in block.splitlines()]
    typed += re.findall(r"(?<!`)`([^`\n]+)`(?!`)", readme)
    named = [found[1] for line in typed if (found := re.match(r"clipspool ([a-z][a-z|-]*)", line))]
    assert {word for words in named for word in words.split("|")} - set(COMMANDS) == set()
