"""What `status` draws: every line fits, the top is shown, and the rest is counted."""

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from clipspool.cli.again import _question
from clipspool.cli.names import cut_apart
from clipspool.cli.screen import View, draw, seconds_left
from clipspool.cli.suggestions import program
from clipspool.cli.watch import print_once
from clipspool.jobs.account import Account, Balance
from clipspool.jobs.circuit_breaker import Brake
from clipspool.jobs.conditions import Conditions
from clipspool.jobs.limits import Limits
from clipspool.jobs.model import Error, Held, State
from clipspool.jobs.records import Life, Peer, Spend
from clipspool.jobs.text import iso
from clipspool.reporting.status import InboxView, job_json, status_json
from clipspool.scheduler.workers import LANES as ALL
from fakes import NO_CREDITS, NOON, a_job, a_task

NOW = Conditions(NOON, spend=Spend(480, 900.0), limits=Limits(credits_per_day=1000.0))
DAEMON = {"running": True, "pid": 4711, "since": iso(NOON - 3600)}
STOPPED = {"running": False, "pid": None, "since": None}
LANES = [
    {"name": name, "threads": 6, "busy": 2, "stages": {"fetch": 2, "deliver": 0}}
    for name in ("polls", "submits", "fetches", "prepares", "disk")
]
LONG = "a very long reason that goes on and on " * 8


def shown(**changes):
    return job_json(a_job(**changes), NOW)


def running(number, **changes):
    changes = {"rendering_since": NOON - 60, "progress": 0.25, "path": f"day/shot{number:04}.mp4", **changes}
    return shown(state=State.RUNNING, task=a_task(), **changes)


def waiting(path, reason, *, problem):
    return {"path": path, "reason": reason, "since": iso(NOON - 90), "problem": problem}


def a_status(daemon=DAEMON, inboxes=None, conditions=NOW, **counts):
    views = [InboxView("bay", "watching", "events")] if inboxes is None else inboxes
    numbers = Counter({State(state): n for state, n in counts.items()})
    return status_json(numbers, conditions, views, daemon, LANES if daemon["running"] else ())


BUSY = View(
    a_status(
        inboxes=[
            InboxView(
                "bay",
                "watching",
                "events",
                waiting=[waiting("day/日本語のとても長い名前のクリップ.mp4", LONG, problem=True)] * 50,
                waiting_count=3000,
            ),
            InboxView("other", "offline", "rescan", LONG),
        ],
        conditions=Conditions(NOON, Brake(1, NOON + 95, NO_CREDITS)),
        queued=4700,
        running=200,
        in_doubt=100,
    ),
    NOON,
    running=[running(n) for n in range(60)],
    running_count=200,
    queued=[shown(path=f"{LONG}{n}.mp4") for n in range(60)],
    queued_count=4700,
    held=[shown(state=State.IN_DOUBT, held=Held.IN_DOUBT, reason=LONG)] * 60,
    held_count=100,
    failed=[shown(state=State.FAILED, error=Error("INTERNAL", LONG))] * 60,
)


def text(view, width=100, height=None, **how):
    return "\n".join(line.plain for line in draw(view, width, height, **how))


@pytest.mark.parametrize("width", [20, 80, 100, 160, 300])
@pytest.mark.parametrize("height", [1, 5, 24, 40, 100, None])
def test_every_line_fits_the_width_and_all_of_them_the_height(width, height):
    lines = draw(BUSY, width, height)
    commands = [line for line in lines if height is None and line.plain.startswith("    clipspool ")]
    assert max(cell_len(line.plain) for line in lines if line not in commands) <= width
    assert "\n" not in "".join(line.plain for line in lines)
    assert height is None or len(lines) <= height


@pytest.mark.parametrize("width", [20, 40, 100])
def test_an_inbox_that_has_nothing_to_say_takes_one_line(width):
    view = replace(BUSY, status=a_status(inboxes=[InboxView("bay", "watching", "events")]))
    assert not [line for line in draw(view, width) if line.plain and not line.plain.strip()]


def test_at_80_columns_no_lane_is_cut():
    lanes = [{"name": name, "threads": size, "busy": size, "stages": {}} for name, (size, _) in ALL.items()]
    drawn = text(replace(BUSY, status={**BUSY.status, "lanes": lanes}), 80)
    assert "prepares 6/6  disk 6/6" in drawn


@pytest.mark.parametrize("height", [40, 60])
def test_of_five_thousand_jobs_the_top_is_shown_and_the_rest_is_counted(height):
    drawn = text(BUSY, 80, height)
    for title in ("NEEDS YOU (100)", "RUNNING (200)", "QUEUED (4,700)", "INBOXES (2)", "FAILED"):
        assert title in drawn, title
    more = [line for line in drawn.splitlines() if line.startswith("  and ")]
    assert len(more) >= 3
    assert len(drawn.splitlines()) > height - 4


def test_on_24_lines_what_needs_a_person_is_shown_first_with_its_commands():
    doubt = shown(state=State.IN_DOUBT, held=Held.IN_DOUBT, reason="no clear answer came")
    view = replace(BUSY, held=[doubt] * 2, held_count=2)
    drawn = text(view, 80, 24).splitlines()
    at = drawn.index("NEEDS YOU (2)")
    assert drawn[at + 1].endswith("in doubt: no clear answer came")
    assert drawn[at + 2] == "    clipspool attach clip1 TASK_ID  |  clipspool retry clip1"
    assert drawn[at + 3] == "    clipspool cancel clip1"
    titles = [line.partition(" (")[0] for line in drawn[at:] if line[:1].isupper()]
    assert titles == ["NEEDS YOU", "RUNNING", "QUEUED", "INBOXES", "FAILED in the last day"]


def test_a_printed_command_is_whole_also_where_it_is_wider_than_the_output():
    program = "clipspool -c /srv/productions/a-long-name-of-a-production/settings/config.toml"
    doubt = shown(state=State.IN_DOUBT, held=Held.IN_DOUBT, reason="no clear answer came")
    view = replace(BUSY, held=[doubt], held_count=1, program=program)
    out = io.StringIO()
    looker = SimpleNamespace(look=lambda _most: view)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clipspool.cli.watch.console", lambda: Console(file=out, width=80))
        print_once(looker)
    assert f"    {program} attach clip1 TASK_ID\n" in out.getvalue()
    assert max(map(cell_len, text(view, 80, 24).splitlines())) <= 80


def test_a_section_whose_last_line_fits_is_shown_whole():
    view = View(a_status(), NOON, running=[running(n) for n in range(3)], running_count=3)
    whole = text(view)
    assert text(view, 100, len(whole.splitlines())) == whole
    assert "more" not in whole
    assert "and 2 more" in text(view, 100, len(whole.splitlines()) - 1)


def test_a_render_shows_its_progress_and_the_time_left():
    drawn = text(View(a_status(), NOON, running=[running(1)], running_count=1), 80)
    (line,) = (line for line in drawn.splitlines() if "shot0001" in line)
    assert "━" in line
    assert "25%" in line
    assert "3:00 left" in line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rendering_since": None, "reason": "the provider says THROTTLED"}, "the provider says THROTTLED"),
        ({"progress": None}, "rendering for 1:00"),
        ({"progress": 0.0}, "0%"),
    ],
)
def test_a_task_that_tells_little_is_shown_with_what_there_is(changes, words):
    drawn = text(View(a_status(), NOON, running=[running(1, **changes)], running_count=1))
    assert words in drawn
    assert "left" not in drawn


def test_time_left_is_guessed_only_from_a_render_that_has_begun():
    assert seconds_left(running(1), NOON) == 180.0
    assert seconds_left(running(1, progress=1.0), NOON) == 0.0
    assert seconds_left(running(1, progress=0.001), NOON) is None
    assert seconds_left(running(1, rendering_since=None), NOON) is None
    assert seconds_left(shown(state=State.RENDERED, progress=1.0, rendering_since=NOON), NOON) is None


@pytest.mark.parametrize(
    ("why", "command"),
    [
        (
            Held.IN_DOUBT,
            "clipspool attach clip1 TASK_ID  |  clipspool retry clip1  |  clipspool cancel clip1",
        ),
        (Held.BUDGET, "clipspool approve clip1  |  clipspool cancel clip1"),
        (Held.DUPLICATE, "clipspool approve clip1"),
        (Held.LOST, "clipspool attach clip1 TASK_ID"),
        (Held.RESULT, "clipspool retry clip1"),
        (Held.OVERDUE, "clipspool show clip1"),
        (Held.OUTBOX, "clipspool check --offline"),
    ],
)
def test_what_needs_a_person_comes_with_the_command_to_type(why, command):
    drawn = text(View(a_status(), NOON, held=[shown(held=why, reason="why")], held_count=1))
    assert f"    {command}" in drawn


def test_every_reason_to_hold_a_job_has_its_commands():
    for why in Held:
        view = View(a_status(), NOON, held=[shown(held=why, reason="why")], held_count=1)
        assert "    clipspool " in text(view, 80)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_every_command_is_shown_whole(width):
    view = View(a_status(), NOON, held=[shown(held=Held.IN_DOUBT)], held_count=1)
    typed = [line for line in text(view, width).splitlines() if line.startswith("    clipspool")]
    assert "  |  ".join(line.strip() for line in typed).split("  |  ") == [
        "clipspool attach clip1 TASK_ID",
        "clipspool retry clip1",
        "clipspool cancel clip1",
    ]


def test_a_command_names_the_configuration_that_was_named():
    begins = program(Path("/srv/my clips/config.toml"))
    view = View(a_status(), NOON, held=[shown(held=Held.BUDGET)], held_count=1, program=begins)
    assert "    clipspool -c '/srv/my clips/config.toml' approve clip1" in text(view, 100)


def test_the_days_spend_stands_against_its_limits():
    drawn = text(View(a_status(), NOON), 120)
    assert "480 of 500 submissions" in drawn
    assert "900 of 1,000 credits" in drawn
    free = Conditions(NOON, spend=Spend(3, 45.0))
    assert "about 45 credits" in text(View(a_status(conditions=free), NOON), 120)


def test_what_is_queued_is_priced_beside_what_the_account_has():
    for balance, words in (
        (None, "What is queued costs about 450 credits."),
        (Balance(20.0, "USD"), "What is queued costs about 450 credits; the account has 20 USD."),
        (Balance(200.0, "credits"), "the account has 200 credits: sending stops when it is used up"),
    ):
        status = a_status()
        status["spend"] |= Account(450.0, 0, balance).to_dict()
        assert words in " ".join(text(View(status, NOON), 200).split())
    assert "is queued costs" not in text(View(a_status(), NOON), 120)


def test_a_blocked_provider_says_why_until_when_and_what_to_type():
    drawn = text(BUSY, 80)
    assert "The provider is blocked: Not enough credits" in drawn
    assert "Next retry in 1:35" in drawn
    assert "clipspool resume" in drawn


@pytest.mark.parametrize(
    ("queued", "words"), [(0, "Next retry with the next clip"), (1, "Next retry due now")]
)
def test_a_blocked_provider_is_tried_again_now_only_where_a_clip_is_queued(queued, words):
    due = Conditions(NOON, Brake(1, NOON - 5, NO_CREDITS))
    assert words in text(View(a_status(conditions=due, queued=queued), NOON), 80)


@pytest.mark.parametrize("queued", [0, 3])
def test_an_older_journal_says_that_nothing_is_submitted_and_what_to_type(queued):
    restored = Conditions(NOON, is_restored=True)
    drawn = text(View(a_status(conditions=restored, queued=queued), NOON), 80)
    assert "Nothing is submitted: the journal is an older copy" in drawn
    assert "`clipspool resume --accept-restored`" in " ".join(drawn.split())


def test_a_daemon_that_does_not_run_is_said_first():
    view = View(a_status(STOPPED), NOON, running=[running(1)], running_count=1)
    first, *rest = text(view, 80).splitlines()
    assert "is not running" in first
    assert "12:00:00 UTC" in first
    assert any("not followed until clipspool starts" in line for line in rest)
    assert "LANES" not in "".join(rest)


def test_trouble_is_said_and_the_last_view_stays():
    view = View(a_status(), NOON, trouble="the daemon runs, but does not answer", running=[running(1)])
    drawn = text(view, 80)
    assert "the daemon runs, but does not answer" in drawn.splitlines()[0]
    assert "shot0001" in drawn


def test_problems_in_an_inbox_stand_before_what_only_waits():
    inbox = InboxView(
        "bay",
        "watching",
        "events",
        waiting=[
            waiting("a.mp4", "it is still changing", problem=False),
            waiting("b.mp4", "no prompt", problem=True),
        ],
    )
    drawn = text(View(a_status(inboxes=[inbox]), NOON))
    assert drawn.index("b.mp4") < drawn.index("a.mp4")
    assert "1:30 no prompt" in drawn
    assert "2 files waiting" in drawn


def test_a_paused_inbox_says_how_it_goes_on():
    paused = Conditions(NOON, paused=frozenset({"bay"}))
    assert "paused, no files waiting: clipspool resume bay" in text(View(a_status(conditions=paused), NOON))


def test_a_name_that_is_too_long_keeps_both_ends():
    view = View(a_status(), NOON, queued=[shown(path=f"{'deep/' * 30}shot010.mp4")], queued_count=1)
    (line,) = (line for line in text(view, 80).splitlines() if "shot010" in line)
    assert line.split()[0] == "deep/dee…p/shot010.mp4"


@pytest.mark.parametrize("width", [60, 80, 200])
def test_names_that_differ_in_the_middle_stay_different(width):
    names = [f"EP104_sc12_sh{number:03}_comp_grade_final_rec709.mov" for number in range(1, 30)]
    jobs = [shown(path=name) for name in names]
    drawn = text(View(a_status(), NOON, queued=jobs, queued_count=len(jobs)), width)
    rows = [line.split()[0] for line in drawn.splitlines() if line.startswith("  EP1")]
    assert len(set(rows)) == len(rows) == 20, "as many as are shown without a height"


@given(st.lists(st.text(min_size=1, max_size=60), max_size=6), st.integers(1, 40))
def test_a_cut_name_fits_and_short_ones_stay(names, width):
    for name, short in cut_apart(names, width).items():
        assert cell_len(short) <= width
        assert short == name or cell_len(name) > width


def test_control_characters_in_names_never_reach_the_terminal():
    view = View(a_status(), NOON, queued=[shown(path="a\x1b[2J\u202e.mp4", reason="\x07")], queued_count=1)
    assert "\x1b" not in text(view)
    assert "\u202e" not in text(view)
    assert "\x07" not in text(view)


def test_a_terminal_of_plain_letters_gets_plain_letters():
    view = View(a_status(), NOON, running=[running(1)], running_count=1)
    assert "%" in text(view, 80, ascii_only=True).encode("ascii").decode()
    assert max(map(len, text(BUSY, 80, ascii_only=True).encode("ascii").decode().splitlines())) <= 80


GONE = Peer("bay", "aa01", "edit-9", Life.SILENT, 29, NOON - 600)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_clips_of_a_machine_that_died_are_shown_with_the_whole_command_and_of_one_that_lives_are_not(width):
    lives = Peer("bay", "bb02", "edit-2", Life.LIVING, 5, NOON)
    view = View(a_status(inboxes=[InboxView("bay", "watching", "events", peers=[GONE, lives])]), NOON)
    drawn = text(view, width)
    assert "LEFT BEHIND" in drawn
    assert "edit-9" in drawn
    assert "29 clips" in drawn
    assert "clipspool recover --from aa01" in drawn
    assert "bb02" not in drawn


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_reason_is_ever_cut(width):
    why = "日本 does not answer; " * 8 + "end"
    inbox = InboxView("bay", "offline", "rescan", why, waiting=[waiting("a.mp4", why, problem=True)])
    job = shown(held=Held.OVERDUE, reason=why)
    view = View(a_status(inboxes=[inbox]), NOON, queued=[job], queued_count=1, held=[job], held_count=1)
    drawn = " ".join(text(view, width).split())
    assert drawn.count(" ".join(why.split())) == 4


def test_the_question_before_a_clip_is_run_again_ends_each_sentence_once():
    quoted = {"id": "a", "version": 2, "credits_estimated": 75.0, "held": "budget", "reason": "too dear"}
    assert _question([quoted], is_changed=True) == (
        "Run a again, as version 2? This may cost about 75 credits. It would be held: too dear."
    )
