"""The commands that change jobs: retry, cancel, attach, approve, pause, resume."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from clipspool.cli.group import Context, StillServed, asks_nothing, command, yes_option
from clipspool.cli.output import EXIT_FAILED, ask_daemon, consent, ended, fail, say, utf8

if TYPE_CHECKING:
    from clipspool.app.settings import Settings
    from clipspool.cli.client import OperatorCommands
    from clipspool.jobs.model import Job
    from clipspool.journal import Journal

why_option = click.option(
    "--why",
    metavar="TEXT",
    default="",
    callback=lambda _context, _option, value: utf8(value),
    help="The reason, kept in the history.",
)


@command()
@click.argument("jobs", nargs=-1)
@click.option("--failed", is_flag=True, help="All failed jobs.")
@click.option(
    "--code", metavar="PREFIX", help="With --failed: only jobs whose error code begins with PREFIX."
)
@why_option
@yes_option
def retry(
    context: Context, jobs: Sequence[str], *, failed: bool, code: str | None, why: str, yes: bool
) -> None:
    """Run failed, cancelled or in-doubt jobs again.

    A job that was submitted before may be charged a second time; you are asked first.
    """
    if bool(jobs) == failed or (code and not failed):
        raise click.UsageError("name jobs, or use --failed (with --code PREFIX to select some of them)")
    settings = context.settings("write")
    from clipspool.cli.offline import open_to_read
    from clipspool.cli.which_jobs import concerned, failed_jobs, names_of
    from clipspool.jobs.consequences import price_of_all
    from clipspool.jobs.permissions import may_retry_or_release

    with open_to_read(settings) as journal:
        chosen = failed_jobs(journal, code) if failed else concerned(journal, jobs, may_retry_or_release)
    names = [job.id for job in chosen] if failed else names_of(jobs, chosen)
    if not names:
        say("No failed jobs." if not code else f"No failed jobs with a code that begins with {code}.")
        return
    chosen = [job for job in chosen if may_retry_or_release(job)]
    question = _asked("Run it again?" if len(chosen) == 1 else "Run these again?", chosen, "retry")
    if len(chosen) > 1 and not yes:
        question += balance_in_words(settings, price_of_all(chosen, "retry"))
    _act(settings, "retry", question, yes=yes or not chosen, ids=names, why=why)


@command()
@click.argument("jobs", nargs=-1, required=True)
@why_option
@yes_option
def cancel(context: Context, jobs: Sequence[str], *, why: str, yes: bool) -> None:
    """Cancel jobs, at the provider too where possible.

    A refund is not guaranteed. Results already downloaded are delivered first, or kept in `_failed` beside
    the source.
    """
    settings = context.settings("write")
    from clipspool.cli.offline import open_to_read
    from clipspool.cli.which_jobs import named
    from clipspool.jobs.permissions import may_cancel

    with open_to_read(settings) as journal:
        chosen = [job for job in named(journal, jobs) if may_cancel(job)]
    question = _asked(f"Cancel {', '.join(jobs)}?", chosen, "cancel")
    _act(settings, "cancel", question, yes=yes or not chosen, ids=list(jobs), why=why)


@command()
@click.argument("job")
@click.argument("task_id")
@click.option("--force", is_flag=True, help="Attach even if the provider does not know the task (yet).")
@why_option
@yes_option
def attach(context: Context, job: str, task_id: str, *, force: bool, why: str, yes: bool) -> None:
    """Attach the provider's task TASK_ID to an in-doubt job.

    The provider is asked first; a task it does not know is not attached.
    """
    settings = context.settings("write")
    from clipspool.cli.client import OperatorCommands, operator_name
    from clipspool.cli.offline import open_to_read
    from clipspool.cli.which_jobs import named
    from clipspool.jobs.permissions import may_attach

    with open_to_read(settings) as journal:
        is_possible = any(map(may_attach, named(journal, [job])))
    question = f"Attach task {task_id} to job {job}? Its result will be delivered as this clip's."
    consent(question, yes=yes or not is_possible)

    arguments: dict[str, Any] = {"job_id": job, "task_id": task_id, "by": operator_name()}
    arguments |= {"why": why, "force": force}
    with OperatorCommands(settings) as operator:
        answers = operator.do("attach", **arguments)
        is_unasked = bool(answers) and answers[0].get("check") == "unasked"
        if not is_unasked:
            _report(operator, answers)
    if is_unasked:
        why_not = str(answers[0]["why"])
        say(f"{why_not[:1].upper()}{why_not[1:]}.", err=True)
        consent("Attach it anyway? It stays under NEEDS YOU until the provider shows it.", yes=yes)
        with OperatorCommands(settings) as operator:
            _report(operator, operator.do("attach", **arguments, unasked=True))


@command()
@click.argument("jobs", nargs=-1)
@click.option("--inbox", metavar="N", help="All of this inbox held for price, as duplicate or from_backup.")
@click.option("--folder", metavar="F", help="With --inbox: only clips dropped in this subfolder.")
@why_option
@yes_option
def approve(
    context: Context, jobs: Sequence[str], *, inbox: str | None, folder: str | None, why: str, yes: bool
) -> None:
    """Approve held jobs: held for price, a daily limit, as duplicate, poison, refused or from_backup.

    A timeline can be named in place of its jobs: `clipspool approve cut.edl`, or `day1/cut.edl`.

    Shows the total cost and asks first. A result held because it is far shorter or longer than the clip is
    delivered as it is, at no further cost.
    """
    if bool(jobs) == bool(inbox) or (folder and not inbox):
        raise click.UsageError("name jobs, or use --inbox N (with --folder F to select some of its jobs)")
    settings = context.settings("write")
    from clipspool.cli.offline import expect_inbox, open_to_read
    from clipspool.cli.which_jobs import concerned, held_in, names_of, of_timelines
    from clipspool.jobs.permissions import is_held_for_approval, may_approve, price_to_approve

    with open_to_read(settings) as journal:
        expect_inbox(settings, journal, inbox)
        timelines, chosen = of_timelines(journal, jobs)
        ids = [one for one in jobs if one not in timelines]
        named = held_in(journal, inbox, folder) if inbox else concerned(journal, ids, is_held_for_approval)
        names = [job.id for job in named] if inbox else names_of(ids, [*chosen, *named])
        chosen = [*chosen, *(job for job in named if job not in chosen)]
        question = _approval(chosen, journal)
    if not names:
        where = f"folder `{folder}` of the inbox `{inbox}`" if folder else f"inbox `{inbox}`"
        say(
            f"No jobs in the {where} wait to be approved: none is held for its price, as a duplicate, or "
            "because the journal was put back from a backup."
        )
        return
    yes = yes or not any(map(may_approve, chosen))
    if len(chosen) > 1 and not yes:
        question += balance_in_words(settings, price_to_approve(chosen))
    _act(settings, "approve", question, yes=yes, ids=names, why=why)


def _approval(chosen: Sequence[Job], journal: Journal) -> str:
    """Return the question before jobs are approved: what they cost, and what their clips cost so far."""
    timelines = sorted({job.request.timeline_name for job in chosen} - {""})
    which = "it" if len(chosen) == 1 else "these"
    from clipspool.system.redaction import readable

    jobs = f"the jobs of {', '.join(map(readable, timelines))}" if timelines else which
    question = _asked(f"Approve {jobs}?", chosen, "approve")
    spent = sum(journal.clip_cost(clip_id).spent for clip_id in {job.clip_id for job in chosen})
    return question + (f" About {spent:,.10g} credits were already spent on the same clips." if spent else "")


def _asked(question: str, chosen: Sequence[Job], act: str) -> str:
    """Return a question with what the order may cost or lose."""
    from clipspool.jobs.consequences import consequences

    return " ".join([question, *(consequences(chosen, act) if chosen else ())])


def balance_in_words(settings: Settings, price: float) -> str:
    """Ask for the account's balance, and say whether it covers a price; empty where it is not told."""
    from clipspool.cli.client import OperatorCommands

    with OperatorCommands(settings) as operator:
        balance = operator.do("balance")
    if balance is None:
        return ""
    from clipspool.jobs.account import Balance

    return " " + Balance(balance["amount"], balance["unit"]).in_words(price)


@command()
@click.argument("inbox", required=False)
@asks_nothing
def pause(context: Context, inbox: str | None) -> None:
    """Stop submitting, from INBOX or from all; running tasks are still followed."""
    done = f"Submitting from {inbox or 'all inboxes'} is paused; `clipspool resume` continues it."
    _change(context, "pause", inbox, done)


@command()
@click.argument("inbox", required=False)
@click.option(
    "--accept-restored",
    is_flag=True,
    help="Submit even if the journal was restored from a backup. Asks first.",
)
@yes_option
def resume(context: Context, inbox: str | None, *, accept_restored: bool, yes: bool) -> None:
    """Resume submitting; a blocked provider is tried again at once.

    With INBOX, its folders are accepted as they are now, even if they were replaced.
    """
    if accept_restored:
        _accept_restored(context, inbox, yes=yes)
        return
    _change(context, "resume", inbox, f"Submitting from {inbox or 'all inboxes'} is resumed.")


def _accept_restored(context: Context, inbox: str | None, *, yes: bool) -> None:
    if inbox is not None:
        raise click.UsageError("--accept-restored concerns the whole journal: do not name an inbox")
    settings = context.settings("write")
    consent(
        "Go on with this restored journal? The jobs that were queued in it stay held until you approve them: "
        "some may have been charged already.",
        yes=yes,
    )
    from clipspool.cli.client import OperatorCommands

    with OperatorCommands(settings) as operator:
        was_held = operator.do("accept_restored")
        if was_held:
            say_when(operator)
    if was_held:
        say(
            "Submitting is resumed with the restored journal. What was queued in it is held as from_backup: "
            "`clipspool jobs --state queued` lists it."
        )
    else:
        say("No jobs were held for that; to accept it at start: `clipspool run --accept-restored`.")


def _act(settings: Settings, name: str, question: str, *, yes: bool, **arguments: Any) -> None:
    """Ask, unless `yes`: also where nothing can be done, which is said of each job; then give the order."""
    consent(question, yes=yes)
    from clipspool.cli.client import OperatorCommands, operator_name

    with OperatorCommands(settings) as operator:
        _report(operator, operator.do(name, **arguments, by=operator_name()))


def say_when(operator: OperatorCommands) -> None:
    """Print that a change takes effect at the next start, where no daemon is running."""
    if not operator.is_running:
        say("No daemon is running: this takes effect when it starts.")


def _change(context: Context, name: str, inbox: str | None, done: str) -> None:
    try:
        settings = context.settings("write", asks_daemon=True)
    except StillServed as served:
        if (answer := ask_daemon(served.journal, name, inbox=inbox)) is None:
            fail("The daemon does not answer.")
        _say_changed(done, *answer)
        return
    if inbox is not None and inbox not in settings.inbox_names:
        fail(f"There is no inbox {inbox}; configured: {', '.join(settings.inbox_names)}.")
    from clipspool.cli.client import OperatorCommands

    with OperatorCommands(settings) as operator:
        _say_changed(done, operator.do(name, inbox=inbox))
        say_when(operator)


def _say_changed(done: str, but: str) -> None:
    """Print that it was done, and for which inboxes it changes nothing yet."""
    say(done + (f" But {but}." if but else ""))


def _report(operator: OperatorCommands, answers: Sequence[dict[str, Any]]) -> None:
    for answer in answers:
        if answer["done"]:
            reason = answer.get("reason")
            held = f", and held: {reason} (`clipspool approve` releases it)" if "held" in answer else ""
            ends = " and ends once its downloaded results are delivered" if answer.get("delivers") else ""
            say(f"{answer['id']} is now {answer['state']}{held}{ends}.")
        else:
            say(f"{answer['id']}: not done: {ended(answer['why'])}", err=True)
    if any(answer["done"] for answer in answers):
        say_when(operator)
    if not all(answer["done"] for answer in answers):
        sys.exit(EXIT_FAILED)
