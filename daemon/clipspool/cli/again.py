"""The commands about versions: `again` runs a clip once more, changed, `choose` marks the one to use."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from clipspool.cli.act import balance_in_words, say_when, why_option
from clipspool.cli.group import Context, asks_nothing, command, yes_option
from clipspool.cli.output import EXIT_FAILED, consent, ended, say


@command()
@click.argument("jobs", nargs=-1, required=True)
@click.option("--prompt", metavar="TEXT", help="Another prompt.")
@click.option("--preset", metavar="NAME", help="The keys of this preset, over what there was.")
@click.option(
    "--set",
    "assignments",
    metavar="KEY=VALUE",
    multiple=True,
    help="Another value of a sidecar's key, as in `--set seed=7`; `--set seed=` draws a new one. May be "
    "given several times.",
)
@why_option
@yes_option
def again(
    context: Context,
    jobs: Sequence[str],
    *,
    prompt: str | None,
    preset: str | None,
    assignments: Sequence[str],
    why: str,
    yes: bool,
) -> None:
    """Run clips of ended jobs once more, changed: each gives the next version.

    What you do not name stays as it was; a seed that nobody chose is drawn again. The results so far are
    kept, and the new one gets `_v002` behind its name. Costs as much as a new clip: the price is shown first.
    """
    keys = _keys(assignments)
    settings = context.settings("write")
    from clipspool.cli.client import OperatorCommands, operator_name

    given: dict[str, Any] = {
        "ids": list(jobs),
        "prompt": prompt,
        "preset": preset,
        "set": keys,
        "by": operator_name(),
        "why": why,
    }
    with OperatorCommands(settings) as operator:
        quoted = operator.do("again", **given, dry_run=True)
    _report(quoted, doing=False)
    is_changed = prompt is not None or preset is not None or bool(keys)
    question = _question(quoted, is_changed=is_changed)
    if len(quoted) > 1 and not yes:
        question += balance_in_words(settings, sum(one["credits_estimated"] or 0.0 for one in quoted))
    consent(question, yes=yes)
    with OperatorCommands(settings) as operator:
        versions = {one["id"]: one["version"] for one in quoted}
        _report(operator.do("again", **given, versions=versions), doing=True)
        say_when(operator)


@command()
@click.argument("jobs", nargs=-1, required=True)
@click.option("--undo", is_flag=True, help="Take the mark back.")
@why_option
@asks_nothing
def choose(context: Context, jobs: Sequence[str], *, undo: bool, why: str) -> None:
    """Mark delivered jobs as the ones to use, of all versions and variants of their clips.

    Their results also appear in `_chosen` in the outbox, under the same names; the others stay where they
    are. Choosing another version of a clip takes the mark from the one before.
    """
    settings = context.settings("write")
    from clipspool.cli.client import OperatorCommands, operator_name
    from clipspool.system.redaction import readable

    with OperatorCommands(settings) as operator:
        answers = operator.do("choose", ids=list(jobs), by=operator_name(), why=why, undo=undo)
    for answer in answers:
        if not answer["done"]:
            say(f"{answer['id']}: not done: {ended(answer['why'])}", err=True)
        elif undo:
            say(f"{answer['id']} is not chosen any more.")
        else:
            say(f"{answer['id']} is chosen: {', '.join(map(readable, answer['names']))}")
    if not all(answer["done"] for answer in answers):
        sys.exit(EXIT_FAILED)


def _keys(assignments: Sequence[str]) -> dict[str, Any]:
    """Read KEY=VALUE as a sidecar's line, or as text where the value is none of TOML's."""
    import tomllib

    keys: dict[str, Any] = {}
    seen: set[str] = set()
    for one in assignments:
        key, equals, value = (part.strip() for part in one.partition("="))
        if not equals or not key:
            raise click.UsageError(f"--set takes KEY=VALUE, as in seed=7; it was `{one}`")
        if key in seen:
            raise click.UsageError(f"--set gives `{key}` twice: keep one of them")
        seen.add(key)
        first, *below = key.split(".")
        if not value:
            keys[first] = None
            continue
        try:
            table: Any = tomllib.loads(f"value = {value}")["value"]
        except ValueError:
            table = value
        table = table.isoformat() if hasattr(table, "isoformat") else table
        for name in reversed(below):
            table = {name: table}
        is_deeper = isinstance(keys.get(first), dict) and isinstance(table, dict)
        keys[first] = {**keys[first], **table} if is_deeper else table
    return keys


def _question(quoted: Sequence[Mapping[str, Any]], *, is_changed: bool) -> str:
    prices = [one["credits_estimated"] for one in quoted]
    known = [price for price in prices if price is not None]
    one = quoted[0]
    question = (
        f"Run {one['id']} again, as version {one['version']}?"
        if len(quoted) == 1
        else f"Run {len(quoted)} clips again, each as its next version?"
    )
    if known:
        question += f" This may cost about {sum(known):,.10g} credits."
    if len(known) < len(prices):
        unknown = len(prices) - len(known)
        more = "1 price is not known" if unknown == 1 else f"{unknown} prices are not known"
        question += f" {more}." if known else " The price is not known."
    held = [one["reason"] for one in quoted if one.get("held")]
    if held:
        which = "It" if len(quoted) == 1 else f"{len(held)} of them"
        question += f" {which} would be held: {ended(held[0])}"
    if not is_changed:
        question += " Nothing is changed but a seed that nobody chose."
    return question


def _report(answers: Sequence[Mapping[str, Any]], *, doing: bool) -> None:
    """Print what was ordered, and what cannot be; ends the process with 1 where any cannot."""
    for answer in answers:
        if not answer["done"]:
            say(f"{answer['id']}: not done: {ended(answer['why'])}", err=True)
        elif doing:
            release = " (`clipspool approve` releases it)" if answer.get("held") == "budget" else ""
            held = f", and held: {answer['reason']}{release}" if answer.get("held") else ""
            price = answer.get("credits_estimated")
            cost = "its price is not known" if price is None else f"about {price:,.10g} credits"
            new = f"{answer['new']} is version {answer['version']} of {answer['id']}"
            say(f"{new}, {answer['state']}, {cost}{held}.")
    if not all(answer["done"] for answer in answers):
        if not doing and any(answer["done"] for answer in answers):
            say("Nothing was ordered.", err=True)
        sys.exit(EXIT_FAILED)
