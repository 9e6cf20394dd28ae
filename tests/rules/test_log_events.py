"""The table of log events in docs/monitoring.md and the code name the same events."""

import ast
import re
from typing import get_args

import pytest

from clipspool.jobs.events import Event, name_of
from repository import DOCS, PACKAGE

SOURCES = sorted(PACKAGE.rglob("*.py"))
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
NAME = re.compile(r"[a-z]+(_[a-z]+)*")


def speaks(node, nicknames):
    """Tell whether a call's function writes a log line: `log.info`, a choice of those, or a name for one."""
    match node:
        case ast.Attribute(value=ast.Name(id="log"), attr=level):
            return level in LEVELS
        case ast.IfExp(body=one, orelse=other):
            return speaks(one, nicknames) and speaks(other, nicknames)
        case ast.BoolOp(values=values):
            return any(speaks(value, nicknames) for value in values)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in nicknames
    return False


def said_in(source):
    """Yield the first argument of every call that writes a log line, None where it is no literal."""
    tree = ast.parse(source)
    nicknames = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and speaks(node.value, set()):
            target = node.targets[0]
            nicknames.add(target.attr if isinstance(target, ast.Attribute) else target.id)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and speaks(node.func, nicknames):
            yield node.args[0].value if isinstance(node.args[0], ast.Constant) else None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "emit":
            name = node.args[1]
            if isinstance(name, ast.Constant):
                yield name.value
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                is_event = isinstance(key, ast.Constant) and key.value == "event"
                if is_event and isinstance(value, ast.Constant):
                    yield value.value


@pytest.fixture(scope="module")
def in_code():
    said = {path: set(said_in(path.read_text())) for path in SOURCES if "sandbox" not in path.parts}
    computed = {path.name for path, names in said.items() if None in names}
    assert computed == {"log_lines.py"}, "an event's name is a literal, but for those of a job"
    names = set().union(*said.values()) - {None}
    return names | {name_of(event) for event in get_args(Event)}


@pytest.fixture(scope="module")
def in_table():
    section = (DOCS / "monitoring.md").read_text().partition("## Logs")[2].partition("\n#")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [name for cell in rows for name in re.findall(r"`(\w+)`", cell)]


def test_the_code_says_a_number_of_things(in_code):
    assert {"started", "accepted", "problem_noted", "job_ended", "provider_blocked", "bug"} <= in_code
    assert {name for name in in_code if not NAME.fullmatch(name)} == set()


def test_every_event_of_the_code_stands_in_the_table(in_code, in_table):
    assert in_code - set(in_table) == set()


def test_the_table_names_no_event_that_there_is_not(in_code, in_table):
    assert set(in_table) - in_code == set()
    assert len(in_table) == len(set(in_table)), "an event stands there twice"


def test_a_call_by_another_name_is_found_too():
    source = 'say = log.warning if bad else log.info\nsay("one")\n(log.info if x else log.error)("two")\n'
    assert set(said_in(source)) == {"one", "two"}
