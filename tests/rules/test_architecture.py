"""Who may know whom: the arrows between the rooms, read from the imports."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "daemon/clipspool"
LINES_MAX = 350
LONGER = {
    "root.py": "all that may be done beneath a folder, side by side",
    "journal/journal.py": "the one who writes and asks: all statements of the journal beside each other",
    "lifecycle.py": "one table and one `match` over all events are its point",
    "scheduler.py": "the one thread, from hearing to handing out",
}
HOMES = {
    "apprise": {"notify/service.py"},
    "alembic": {"journal/"},
    "anyio": {"web/"},
    "av": {"media/", "sandbox/render.py"},
    "certifi": {"runway/wire.py"},
    "click": {"cli/"},
    "h11": {"sandbox/wire.py"},
    "jinja2": {"web/"},
    "markupsafe": {"web/"},
    "prometheus_client": {"metrics.py"},
    "pybase64": {"runway/body.py"},
    "pydantic": {"settings/", "model.py"},
    "pydantic_settings": {"settings/"},
    "requests": {"runway/wire.py", "runway/download.py", "transport/"},
    "rich": {"cli/"},
    "sqlalchemy": {"journal/"},
    "starlette": {"web/"},
    "urllib3": {"runway/wire.py", "runway/wire_faults.py", "runway/guard.py", "transport/"},
    "uvicorn": {"web/server.py", "web/callers.py"},
    "watchdog": {"intake/watch.py"},
}
PURE = (
    *(
        "job.py",
        "events.py",
        "lifecycle.py",
        "pacing.py",
        "durations.py",
        "catalog.py",
        "places.py",
        "naming.py",
    ),
    *(f"notify/{name}.py" for name in ("topics", "notes", "digest", "signing", "wording")),
    *(
        f"intake/{name}.py"
        for name in ("settle", "pair", "sidecar", "keys", "layers", "lines", "names", "foreign")
    ),
    *(
        f"intake/{name}.py"
        for name in ("advice", "groups", "kinds", "near", "decoding", "quotes", "right", "slips", "values")
    ),
)
OUTSIDE = {"asyncio", "io", "os", "pathlib", "random", "shutil", "socket", "subprocess", "threading", "time"}
EXCUSED = {
    ("intake/settle.py", "os"): "for the type os.stat_result alone",
    ("naming.py", "os"): "for os.fsencode alone: names are bytes to the system",
}
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "core", "base", "misc", "ports", "adapters"}


def sources():
    return {str(path.relative_to(ROOT)): path for path in sorted(ROOT.rglob("*.py"))}


def imports(path):
    """Give every module that a file imports, wherever in it, dotted: `clipspool.system.atomic`, `requests.auth`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            if node.module == "clipspool":
                yield from (f"clipspool.{alias.name}" for alias in node.names)
            else:
                yield node.module


SOURCES = sources()
IMPORTS = {name: set(imports(path)) for name, path in SOURCES.items()}


def ours(name):
    return {module.split(".")[1] for module in IMPORTS[name] if module.startswith("clipspool.")}


def within(name, rooms):
    return any(name == room or (room.endswith("/") and name.startswith(room)) for room in rooms)


def users_of(module):
    return {name for name in SOURCES if module in ours(name)}


def test_there_is_something_to_look_at():
    assert len(SOURCES) > 50


@pytest.mark.parametrize("library", HOMES)
def test_each_outside_library_has_one_home(library):
    users = {name for name, found in IMPORTS.items() if any(m.split(".")[0] == library for m in found)}
    assert {name for name in users if not within(name, HOMES[library])} == set()


def test_every_outside_library_is_known_here():
    allowed = {*sys.stdlib_module_names, *HOMES, "_typeshed", "clipspool", "structlog", "tomli_w"}
    found = {
        (name, m) for name, modules in IMPORTS.items() for m in modules if m.split(".")[0] not in allowed
    }
    assert found == set()


def test_stages_know_no_journal_no_scheduler_and_no_settings():
    upstairs = {"app", "cli", "control", "intake", "journal", "operator", "scheduler", "settings", "workers"}
    for name in SOURCES:
        if name.startswith("stages/"):
            assert ours(name) & upstairs == set(), name


def test_intake_knows_no_journal_no_stage_and_no_provider():
    later = {"app", "cli", "journal", "operator", "provider", "runway", "scheduler", "settings", "stages"}
    for name in SOURCES:
        if name.startswith("intake/"):
            assert ours(name) & later == set(), name


def test_who_tells_people_knows_no_journal_no_scheduler_and_no_settings():
    upstairs = {"app", "cli", "journal", "operator", "scheduler", "settings", "signs"}
    for name in SOURCES:
        if name.startswith("notify/"):
            assert ours(name) & upstairs == set(), name


def test_the_page_knows_no_scheduler_no_settings_and_no_provider():
    elsewhere = {
        "app",
        "cli",
        "control",
        "operator",
        "provider",
        "runway",
        "scheduler",
        "settings",
        "workers",
    }
    for name in SOURCES:
        if name.startswith("web/"):
            assert ours(name) & elsewhere == set(), name
    assert {n for n in users_of("web") if not n.startswith("web/")} <= {"hosting.py", "cli/daemon.py"}


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_touch_no_file_clock_thread_or_network(name):
    modules = {module.split(".")[0] for module in IMPORTS[name]}
    assert {module for module in modules & OUTSIDE if (name, module) not in EXCUSED} == set()
    calls = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in ast.walk(ast.parse(SOURCES[name].read_text()))
        if isinstance(node, ast.Call)
    }
    assert (
        calls & {"open", "now", "today", "utcnow", "read_bytes", "write_text", "sleep", "monotonic"} == set()
    )


def test_only_commands_know_the_whole_daemon():
    assert {name for name in users_of("app") if not name.startswith("cli/")} == set()
    assert {
        name for name in users_of("cli") if name != "__main__.py" and not name.startswith("cli/")
    } == set()


def test_only_the_composition_and_its_commands_know_the_settings():
    allowed = {
        "app.py",
        "bays.py",
        "hosting.py",
        "parts.py",
        "receivers.py",
        "reloads.py",
        "shipping.py",
        "signs.py",
        "cli/",
        "check/",
        "installing/",
        "settings/",
    }
    assert {name for name in users_of("settings") if not within(name, allowed)} == set()


def test_the_sandbox_knows_nothing_of_the_daemon():
    for name in SOURCES:
        if name.startswith("sandbox/"):
            assert ours(name) <= {"sandbox"}, name
    assert users_of("sandbox") - {n for n in SOURCES if n.startswith("sandbox/")} <= {
        "demo.py",
        "cli/play.py",
    }


def test_rooms_are_named_for_what_they_do():
    words = {part.removesuffix(".py") for name in SOURCES for part in name.split("/")}
    assert words & FORBIDDEN_NAMES == set()


def test_a_module_is_short_or_there_is_a_reason():
    lengths = {name: len(path.read_text().splitlines()) for name, path in SOURCES.items()}
    assert {name: n for name, n in lengths.items() if n > LINES_MAX and name not in LONGER} == {}
    assert {name for name in LONGER if lengths.get(name, 0) <= LINES_MAX} == set(), "no longer needed"


def test_a_module_says_its_one_sentence_at_the_top():
    silent = {name for name, path in SOURCES.items() if not ast.get_docstring(ast.parse(path.read_text()))}
    assert silent == set()
