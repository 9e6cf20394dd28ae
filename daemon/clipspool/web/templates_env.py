"""Formats figures, times, names and facts for people, and sets up the templates."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from clipspool import __version__
from clipspool.jobs.text import utc
from clipspool.reporting.history import size_in_words
from clipspool.system.redaction import readable

_LINK = re.compile(r' (href|src|action|formaction|data-picture)="/')
_TICKED = re.compile(r"`([^`]{1,200})`")


def environment() -> jinja2.Environment:
    """Set up the templates: everything is escaped, an undefined name raises."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    env.filters |= {
        "readable": lambda value: readable(str(value)),
        "ticked": ticked,
        "figure": figure,
        "span": span,
        "size": size_in_words,
    }
    env.tests["contains"] = lambda several, one: one in several
    env.globals |= {"version": __version__}
    return env


def relative(page: str, root: str) -> str:
    """Let a page's links, which begin with `/`, begin at `root`; texts have no such quotes, being escaped."""
    return _LINK.sub(rf' \1="{root}/', page)


def ticked(value: str) -> markupsafe.Markup:
    """Write a sentence with what stands between backticks as code."""
    safe = str(markupsafe.escape(readable(value)))
    return markupsafe.Markup(_TICKED.sub(r"<code>\1</code>", safe))  # noqa: S704  (escaped right above)


def figure(value: float | None) -> str:
    """Write a number for people: at most one decimal, thousands apart."""
    if value is None:
        return "?"
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 100 else f"{value:,.1f}"  # noqa: PLR2004


def span(seconds: float) -> str:
    """Write a length of time: `40 s`, `3 min`, `2 h 5 min`."""
    seconds = abs(seconds)
    if seconds < 90:  # noqa: PLR2004  (a minute and a half reads best in seconds)
        return f"{max(math.ceil(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"  # noqa: PLR2004


def flat(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested facts as dotted names and plain words."""
    found: list[tuple[str, str]] = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            found += flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            words = [_name_of(one) if isinstance(one, Mapping) else str(one) for one in value]
            found += [(f"{prefix}{name}", "; ".join(words))] if words else []
        elif value not in (None, ""):
            is_time = name.endswith("_at") and isinstance(value, float)
            found.append(
                (f"{prefix}{name}", utc(value).strftime("%Y-%m-%d %H:%M:%S UTC") if is_time else str(value))
            )
    return found


def _name_of(one: Mapping[str, Any]) -> str:
    """Return the name of a list's entry: a result's file, a reference's address."""
    named = next((one[key] for key in ("name", "file", "uri") if one.get(key)), None)
    return str(named) if named is not None else ", ".join(f"{key}: {value}" for key, value in one.items())
