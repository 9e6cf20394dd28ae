"""Dashboard and alerts speak of nothing but what is exported, and the alerts ring when they should."""

import json
import re
import shutil
import subprocess

import pytest

from clipspool.intake.types import Waiting
from clipspool.jobs.events import AnswerLost, Failed
from clipspool.jobs.lifecycle import Stage
from clipspool.jobs.limits import Limits
from clipspool.jobs.model import Error, State
from clipspool.reporting.metrics import Metrics
from clipspool.reporting.snapshot import snapshot_of
from fakes import Desk, Shelf
from repository import DOCS, SYSTEMD

MONITORING = DOCS / "monitoring.md"
DASHBOARD = json.loads((SYSTEMD / "grafana-dashboard.json").read_text("utf-8"))
RULES = SYSTEMD / "prometheus-rules.yml"

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here")


def expressions():
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    text = RULES.read_text("utf-8")
    return [*found, *re.findall(r"expr: (?:>-\n)?((?:.|\n)+?)\n +for:", text)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Give each name with its labels and their values, of a daemon that saw a little of everything."""
    desk = Desk(tmp_path_factory.mktemp("desk"), credits_per_day=1000.0)
    inboxes = {"bay": Shelf(waiting=(Waiting("a.mp4", "why", 0.0, True),))}
    metrics = Metrics(lambda: inboxes, node="one")
    desk.journal.on_commit(metrics.committed)
    desk.scheduler.subscribe(metrics.on_news)
    desk.drop("clip1")
    desk.until(State.DELIVERED)
    desk.shop.say[Stage.SUBMIT].append(lambda _: AnswerLost("no answer came", {}))
    desk.drop("clip2")
    desk.until(State.IN_DOUBT, "clip2")
    desk.turns(3, 60.0)
    desk.shop.say[Stage.POLL].append(Failed(Error("SAFETY.INPUT", "moderated"), 5.0))
    desk.drop("clip3")
    desk.until(State.FAILED, "clip3")
    metrics.call_ended("look", "answered", 0.1)
    metrics.bytes_moved("received", 5)
    metrics.noticed("webhook host", "sent", 1)
    metrics.snapshot = snapshot_of(desk.scheduler)
    assert isinstance(metrics.snapshot.limits, Limits)
    desk.close()
    labels = {}
    for line in metrics.text().decode().splitlines():
        if match := re.match(r"(\w+)(?:\{(.*)\})? ", line):
            found = labels.setdefault(match[1], {})
            for name, value in re.findall(r'(\w+)="([^"]*)"', match[2] or ""):
                found.setdefault(name, set()).add(value)
    return labels


def test_there_are_expressions_to_look_at():
    assert len(expressions()) > 30
    assert sum("up{" in one for one in expressions()) == 1


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_and_label_that_is_spoken_of_is_exported(exported, expression):
    names = re.findall(r"\b(?:clipspool|process)_\w+", re.sub(r'"[^"]*"', "", expression))
    assert names
    for name in names:
        assert name in exported
    for name, selector in re.findall(r"\b(clipspool_\w+)\{([^}]*)\}", expression):
        for label, value in re.findall(r'(\w+)(?:=~|!~|=|!=)"([^"]*)"', selector):
            assert label == "instance" or label in exported[name]
            if label == "state":
                assert set(value.split("|")) <= {state.value for state in State}
    for labels in re.findall(r"by \(([^)]*)\)", expression):
        known = {"instance", "le"}.union(*(exported[name] for name in names))
        assert set(re.split(r", ?", labels)) <= known


def test_the_documentation_names_metrics_that_there_are_and_all_of_them(exported):
    named = set(re.findall(r"`(clipspool_\w+)", MONITORING.read_text("utf-8")))
    families = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in exported}
    assert named == {name for name in families if name.startswith("clipspool_")}


def test_every_panel_has_its_own_place_and_number():
    panels = DASHBOARD["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


@needs_promtool
def test_promtool_has_nothing_to_say_about_the_rules():
    done = subprocess.run(["promtool", "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "3 rules found" in done.stdout


@needs_promtool
@pytest.mark.parametrize("expression", expressions())
def test_promtool_reads_every_expression(expression, tmp_path):
    plain = expression.replace("$instance", ".*")
    rules = {"groups": [{"name": "x", "rules": [{"record": "x", "expr": plain}]}]}
    (tmp_path / "x.yml").write_text(json.dumps(rules))
    done = subprocess.run(
        ["promtool", "check", "rules", tmp_path / "x.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


RINGS = [
    ('clipspool_jobs{state="in_doubt",instance="a"}', "1x20", "ClipspoolInDoubt"),
    ('up{job="clipspool",instance="a"}', "0x20", "ClipspoolNotWorking"),
    ('clipspool_turn_age_seconds{instance="a"}', "90x20", "ClipspoolNotWorking"),
    ('clipspool_inbox_watching{inbox="bay",instance="a"}', "0x20", "ClipspoolNotWorking"),
    ('clipspool_inbox_scan_age_seconds{inbox="bay",instance="a"}', "900x20", "ClipspoolNotWorking"),
    ('clipspool_jobs_waiting{inbox="bay",reason="provider",instance="a"}', "3x20", "ClipspoolWaits"),
]
QUIET = [
    ('clipspool_jobs{state="in_doubt",instance="a"}', "0x20", ""),
    ('up{job="clipspool",instance="a"}', "1x20", ""),
    ('clipspool_turn_age_seconds{instance="a"}', "1x20", ""),
    ('clipspool_inbox_watching{inbox="bay",instance="a"}', "1x20", ""),
    ('clipspool_inbox_scan_age_seconds{inbox="bay",instance="a"}', "30x20", ""),
    ('clipspool_jobs_waiting{inbox="bay",reason="turn",instance="a"}', "300x20", ""),
]


@needs_promtool
@pytest.mark.parametrize(("series", "values", "alert"), [*RINGS, *QUIET])
def test_an_alert_rings_for_what_it_is_for_and_for_nothing_else(series, values, alert, tmp_path):
    names = ("ClipspoolInDoubt", "ClipspoolNotWorking", "ClipspoolWaits")
    shutil.copy(RULES, tmp_path / "rules.yml")
    query = 'count by (alertname) (ALERTS{alertstate="firing"})'
    ringing = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in names if name == alert]
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": values}],
                "promql_expr_test": [{"expr": query, "eval_time": "18m", "exp_samples": ringing}],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(json.dumps(test))
    done = subprocess.run(
        ["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
