"""The commands that change jobs: retry, cancel, attach, approve, pause, resume."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from clipspool.cli.group import EXIT_FAILED, Context, command, consent, fail, say

if TYPE_CHECKING:
    from clipspool.cli.client import Desk
    from clipspool.jobs.model import Job
    from clipspool.journal import Journal

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
why_option = click.option("--why", metavar="TEXT", default="", help="The reason, for the history.")


@command()
@click.argument("jobs", nargs=-1)
@click.option("--failed", is_flag=True, help="All failed jobs.")
@click.option("--code", metavar="PREFIX", help="With --failed: only those whose error code begins so.")
@why_option
@yes_option
def retry(
    context: Context, jobs: Sequence[str], *, failed: bool, code: str | None, why: str, yes: bool
) -> None:
    """Run failed, cancelled or in-doubt jobs again.

    A job that was submitted before may be paid for a second time; you are told, and asked.
    """
    if bool(jobs) == failed or (code and not failed):
        raise click.UsageError("name jobs, or say --failed (with --code PREFIX to choose among them)")
    settings = context.settings("write")
    from clipspool.cli.client import Desk, operator_name
    from clipspool.cli.offline import open_to_read
    from clipspool.jobs.model import Paid, State

    with open_to_read(settings) as journal:
        if failed:
            chosen: list[Job] = list(journal.find(states=(State.FAILED,), code=code))
        else:
            chosen = [job for job in map(journal.job, jobs) if job is not None]
    names = [job.id for job in chosen] if failed else list(jobs)
    if not names:
        say("No failed jobs." if not code else f"No failed jobs with a code that begins with {code}.")
        return
    paid = [job for job in chosen if job.paid is not Paid.NO]
    estimates = [job.credits_estimated for job in chosen if job.credits_estimated is not None]
    question = f"Run {len(names)} job{'s' * (len(names) != 1)} again?"
    if estimates:
        question += f" That may cost about {sum(estimates):g} credits."
    if paid:
        question += f" {len(paid)} of them may have been paid for already: they would be paid for again."
    consent(question, yes=yes)
    with Desk(settings) as desk:
        _report(desk, desk.do("retry", ids=names, by=operator_name(), why=why))


@command()
@click.argument("jobs", nargs=-1, required=True)
@why_option
@yes_option
def cancel(context: Context, jobs: Sequence[str], *, why: str, yes: bool) -> None:
    """End jobs, and tell the provider where it can be told.

    What was paid is not refunded for certain. What is fetched already is delivered first, or kept in
    `_failed`, where the clip goes.
    """
    settings = context.settings("write")
    from clipspool.cli.offline import open_to_read

    with open_to_read(settings) as journal:
        chosen = [job for job in map(journal.job, dict.fromkeys(jobs)) if job is not None]
    _act(context, "cancel", _ending(jobs, chosen), yes=yes, ids=list(jobs), why=why)


def _ending(names: Sequence[str], chosen: Sequence[Job]) -> str:
    """Ask for a word on the end of jobs, with what is lost by it and what is not."""
    from clipspool.jobs.model import Paid
    from clipspool.jobs.permissions import has_to_deliver

    question = f"End {', '.join(names)}?"
    if first := [job.id for job in chosen if has_to_deliver(job)]:
        question += (
            f" What is fetched of {', '.join(first)} is delivered first, or kept in `_failed` where that "
            "does not work; what is not fetched yet is given up."
        )
    if kept := [job.id for job in chosen if job.results and not has_to_deliver(job)]:
        question += f" What was fetched of {', '.join(kept)} is kept beside the source in `_failed`."
    if any(job.paid is not Paid.NO and not job.results and not job.state.is_terminal for job in chosen):
        question += " What was paid for a task is lost, unless the provider gives it back."
    return question


@command()
@click.argument("job")
@click.argument("task_id")
@click.option("--force", is_flag=True, help="Also where the provider does not know the task (yet).")
@why_option
@yes_option
def attach(context: Context, job: str, task_id: str, *, force: bool, why: str, yes: bool) -> None:
    """Follow a task that you found at the provider for an in-doubt job.

    The provider is asked first: a task that it does not know is not followed.
    """
    settings = context.settings("write")
    question = f"Follow task {task_id} as the one of job {job}? Its result will be delivered as this clip's."
    consent(question, yes=yes)
    from clipspool.cli.client import Desk, operator_name

    arguments = {"job_id": job, "task_id": task_id, "by": operator_name(), "why": why, "force": force}
    with Desk(settings) as desk:
        answers = desk.attach(**arguments)
        is_unasked = bool(answers) and answers[0].get("check") == "unasked"
        if not is_unasked:
            _report(desk, answers)
    if is_unasked:
        why_not = str(answers[0]["why"])
        say(f"{why_not[:1].upper()}{why_not[1:]}.", err=True)
        consent("Follow it all the same? It stays in NEEDS YOU until the provider shows it.", yes=yes)
        with Desk(settings) as desk:
            _report(desk, desk.attach(**arguments, unasked=True))


@command()
@click.argument("jobs", nargs=-1)
@click.option("--inbox", metavar="N", help="All that is held for its price or as a duplicate in this inbox.")
@click.option("--folder", metavar="F", help="With --inbox: only what was dropped in this folder of it.")
@why_option
@yes_option
def approve(
    context: Context, jobs: Sequence[str], *, inbox: str | None, folder: str | None, why: str, yes: bool
) -> None:
    """Let jobs go that are held: for price, the day's limits, as duplicates, as poison or as refused.

    What they cost in all is told first.
    A result that is held because it is far shorter or longer than what was sent is delivered as it is, and
    costs nothing more.
    """
    if bool(jobs) == bool(inbox) or (folder and not inbox):
        raise click.UsageError("name jobs, or say --inbox N (with --folder F to choose among its jobs)")
    settings = context.settings("write")
    from clipspool.cli.client import Desk, operator_name
    from clipspool.cli.offline import open_to_read

    with open_to_read(settings) as journal:
        if inbox:
            chosen = _held_in(journal, inbox, folder)
        else:
            chosen = [job for job in map(journal.job, dict.fromkeys(jobs)) if job is not None]
        question = _approval(chosen, journal)
    names = [job.id for job in chosen] if inbox else list(jobs)
    if not names:
        say(f"Nothing is held for its price or as a duplicate in {folder or inbox}.")
        return
    consent(question, yes=yes)
    with Desk(settings) as desk:
        _report(desk, desk.do("approve", ids=names, by=operator_name(), why=why))


def _held_in(journal: Journal, inbox: str, folder: str | None) -> list[Job]:
    from clipspool.jobs.model import Held, State

    within = f"{folder.strip('/')}/" if folder else ""
    return [
        job
        for job in journal.find(states=(State.QUEUED,))
        if job.inbox == inbox and job.held in {Held.BUDGET, Held.DUPLICATE} and job.path.startswith(within)
    ]


def _approval(chosen: Sequence[Job], journal: Journal) -> str:
    """Ask for a word on jobs, with the total of what they cost, and what their clips cost with it."""
    from clipspool.jobs.permissions import may_deliver_as_it_is

    here = [job for job in chosen if may_deliver_as_it_is(job)]
    question = f"Deliver the result of {', '.join(job.id for job in here)} as it is?" if here else ""
    chosen = [job for job in chosen if job not in here]
    if not chosen:
        return question or "Let these jobs go?"
    known = [job.credits_estimated for job in chosen if job.credits_estimated is not None]
    question = f"{question} Let {len(chosen)} job{'s' * (len(chosen) != 1)} go?".strip()
    if known:
        question += f" About {sum(known):g} credits in all will be paid for."
    if len(known) < len(chosen):
        question += f" The price of {len(chosen) - len(known)} of them is not known."
    spent = sum(journal.clip_cost(clip_id).spent for clip_id in {job.clip_id for job in chosen})
    if spent:
        question += f" About {spent:g} credits were spent for the same clips before."
    return question


@command()
@click.argument("inbox", required=False)
@click.option("--yes", is_flag=True, hidden=True)
def pause(context: Context, inbox: str | None, *, yes: bool) -> None:
    """Stop submitting, from INBOX or from all; what runs is still followed."""
    del yes
    done = f"Nothing more is submitted from {inbox or 'any inbox'}; `clipspool resume` lets it go on."
    _change(context, "pause", inbox, done)


@command()
@click.argument("inbox", required=False)
@click.option(
    "--accept-restored", is_flag=True, help="Also with a journal that is an older copy, put back. Asks first."
)
@yes_option
def resume(context: Context, inbox: str | None, *, accept_restored: bool, yes: bool) -> None:
    """Go on submitting, also where the provider is blocked.

    With INBOX, its folders are also accepted as they are now, if they are not those they were.
    """
    if accept_restored:
        _accept_restored(context, inbox, yes=yes)
        return
    _change(context, "resume", inbox, f"Submitting goes on for {inbox or 'all inboxes'}.")


def _accept_restored(context: Context, inbox: str | None, *, yes: bool) -> None:
    if inbox is not None:
        raise click.UsageError("the journal is that of all inboxes: name none")
    settings = context.settings("write")
    consent("Submit what this older journal takes for unsent? Some of it may have been paid for.", yes=yes)
    from clipspool.cli.client import Desk

    with Desk(settings) as desk:
        was_held = desk.do("accept_restored")
        if was_held:
            _say_when(desk)
    if was_held:
        say("Submitting goes on, with the journal as it is.")
    else:
        say("Nothing was held for that; `clipspool run --accept-restored` accepts an older one at its start.")


def _act(context: Context, name: str, question: str, *, yes: bool, **arguments: Any) -> None:
    settings = context.settings("write")
    consent(question, yes=yes)
    from clipspool.cli.client import Desk, operator_name

    with Desk(settings) as desk:
        _report(desk, desk.do(name, **arguments, by=operator_name()))


def _say_when(desk: Desk) -> None:
    """Say that it stands in the journal alone, where no daemon runs that could have heard it."""
    if not desk.was_heard:
        say("No daemon runs: this takes effect when it starts.")


def _change(context: Context, name: str, inbox: str | None, done: str) -> None:
    settings = context.settings("write")
    if inbox is not None and inbox not in {one.name for one in settings.inbox}:
        fail(f"There is no inbox {inbox}; there are {', '.join(one.name for one in settings.inbox)}.")
    from clipspool.cli.client import Desk

    with Desk(settings) as desk:
        desk.do(name, inbox=inbox)
        say(done)
        _say_when(desk)


def _report(desk: Desk, answers: Sequence[dict[str, Any]]) -> None:
    for answer in answers:
        if answer["done"]:
            held = (
                f", and held: {answer['reason']} (`clipspool approve` lets it go)" if "held" in answer else ""
            )
            ends = " and ends once what is fetched of it is delivered" if answer.get("delivers") else ""
            say(f"{answer['id']} is {answer['state']} now{held}{ends}.")
        else:
            say(f"{answer['id']}: nothing was done, {answer['why']}.", err=True)
    if any(answer["done"] for answer in answers):
        _say_when(desk)
    if not all(answer["done"] for answer in answers):
        sys.exit(EXIT_FAILED)
