"""Habits that no linter knows: homes of libraries, pure modules, short modules with a sentence at the top.

Which room may import which is said in pyproject.toml, and `make lint` checks it, chains included.
"""

import ast
import re
import sys
from collections import Counter
from functools import cache

from repository import DAEMON, PACKAGE, parsed

LINES_MAX = 350
LONGER = {
    "clipspool/jobs/events.py": "all that may happen to a job, side by side",
    "clipspool/journal/journal.py": "all that a turn writes, side by side",
}
HOMES = {
    "apprise": {"clipspool/reporting/notify/service.py"},
    "anyio": {"clipspool/web/"},
    "av": {"clipspool/media/", "runway_sandbox/render.py"},
    "c2pa": {"clipspool/media/signing_child.py"},
    "certifi": {"clipspool/system/http/"},
    "click": {"clipspool/cli/"},
    "cryptography": {"clipspool/media/signing_child.py"},
    "h11": {"runway_sandbox/wire.py"},
    "jinja2": {"clipspool/web/"},
    "markupsafe": {"clipspool/web/"},
    "obstore": {"clipspool/provider/transport/"},
    "prometheus_client": {"clipspool/reporting/metrics.py"},
    "procrastinate": {"clipspool/farm/"},
    "psycopg": {"clipspool/journal/", "clipspool/farm/"},
    "psycopg_pool": {"clipspool/farm/"},
    "pybase64": {"clipspool/provider/runway/body.py"},
    "pydantic": {"clipspool/app/settings/", "clipspool/provider/catalog.py", "clipspool/provider/model.py"},
    "python_multipart": {"clipspool/web/form_stream.py"},
    "pydantic_settings": {"clipspool/app/settings/"},
    "requests": {"clipspool/system/http/", "clipspool/provider/"},
    "rich": {"clipspool/cli/"},
    "sqlite3": {"clipspool/journal/"},
    "starlette": {"clipspool/web/"},
    "urllib3": {"clipspool/system/http/", "clipspool/provider/transport/"},
    "uvicorn": {"clipspool/web/"},
    "watchdog": {"clipspool/intake/watch.py"},
}
EVERYWHERE = {"structlog", "tomli_w", "_typeshed", "clipspool", "runway_sandbox"}
PURE = (
    "clipspool/jobs/",
    *(
        f"clipspool/reporting/notify/{name}.py"
        for name in ("topics", "notes", "digest", "signing", "wording")
    ),
    *(
        f"clipspool/intake/{name}.py"
        for name in ("advice", "foreign", "groups", "kinds", "names", "near", "pair", "settle")
    ),
    *(
        f"clipspool/intake/sidecar/{name}.py"
        for name in (
            "decoding",
            "examples",
            "keys",
            "layers",
            "lines",
            "mistakes",
            "parse",
            "quotes",
            "values",
        )
    ),
)
OUTSIDE = {"asyncio", "io", "os", "pathlib", "random", "shutil", "socket", "subprocess", "threading", "time"}
EXCUSED = {
    ("clipspool/intake/settle.py", "os"): "for the type os.stat_result alone",
    ("clipspool/jobs/naming.py", "os"): "for os.fsencode alone: names are bytes to the system",
    ("clipspool/jobs/text.py", "os"): "for os.fsencode alone: names are bytes to the system",
}
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "core", "base", "misc", "ports", "adapters"}
SOURCES = {str(path.relative_to(DAEMON)): path for path in sorted(DAEMON.rglob("*.py"))}


@cache
def imports(name):
    """Every module that a file imports, wherever in it, dotted: `clipspool.jobs.events`, `requests.auth`."""
    found = set()
    for node in ast.walk(parsed(SOURCES[name])):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            found.add(node.module)
    return found


def within(name, rooms):
    return any(name == room or (room.endswith("/") and name.startswith(room)) for room in rooms)


def test_there_is_something_to_look_at():
    assert len(SOURCES) > 50


def test_each_outside_library_has_one_home():
    used = {(m.split(".")[0], name) for name in SOURCES for m in imports(name)}
    assert {(m, name) for m, name in used if m in HOMES and not within(name, HOMES[m])} == set()


def test_every_outside_library_is_known_here():
    allowed = {*sys.stdlib_module_names, *HOMES, *EVERYWHERE}
    found = {(name, m) for name in SOURCES for m in imports(name) if m.split(".")[0] not in allowed}
    assert found == set()


def test_pure_modules_touch_no_file_clock_thread_or_network():
    pure = [name for name in SOURCES if within(name, PURE)]
    used = {(name, module.split(".")[0]) for name in pure for module in imports(name)}
    assert {(name, module) for name, module in used - EXCUSED.keys() if module in OUTSIDE} == set()
    calls = {
        (name, node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""))
        for name in pure
        for node in ast.walk(parsed(SOURCES[name]))
        if isinstance(node, ast.Call)
    }
    forbidden = {"open", "now", "today", "utcnow", "read_bytes", "write_text", "sleep", "monotonic"}
    assert {(name, call) for name, call in calls if call in forbidden} == set()


def test_rooms_are_named_for_what_they_do():
    words = {part.removesuffix(".py") for name in SOURCES for part in name.split("/")}
    assert words & FORBIDDEN_NAMES == set()


def test_a_module_is_short_or_there_is_a_reason():
    lengths = {name: len(path.read_text().splitlines()) for name, path in SOURCES.items()}
    assert {name: n for name, n in lengths.items() if n > LINES_MAX and name not in LONGER} == {}
    assert {name for name in LONGER if lengths.get(name, 0) <= LINES_MAX} == set(), "no longer needed"


def test_a_class_name_is_borne_by_one_class():
    """Else a reader of `Refused` or `Part` has to look at the imports to know which is meant."""
    bearers = Counter(
        node.name
        for name, path in SOURCES.items()
        if name.startswith("clipspool/")
        for node in parsed(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert {name for name, count in bearers.items() if count > 1} == set()


def test_a_module_says_its_one_sentence_at_the_top():
    silent = {name for name, path in SOURCES.items() if not ast.get_docstring(parsed(path))}
    assert silent == set()


def test_every_statement_of_a_file_of_sql_is_asked_for():
    """One that nobody runs is a promise that nobody keeps: nodes were to be forgotten after a month."""
    named = {
        name
        for path in PACKAGE.rglob("*.sql")
        for name in re.findall(r"^-- name: (\w+)", path.read_text(), re.MULTILINE)
    }
    asked = {
        node.value
        for path in SOURCES.values()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert named - asked == set()
    assert len(named) > 50
