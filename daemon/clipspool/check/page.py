"""Says where the page will be, and whether anybody can change anything from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from clipspool.check.finding import Finding, why_of
from clipspool.settings import Settings
from clipspool.settings.web import HOW_TO_GIVE_IT

_OTHERS = 0o077


def look_at_page(settings: Settings) -> Iterator[Finding]:
    """Look at `[web]`, where it is used."""
    web = settings.web
    if web.listen is None:
        return
    seen = "all need the log-in" if web.must_log_in else "whoever is on this machine can look"
    yield Finding("ok", "page", f"on {web.listen}; {seen}")
    if web.token is None:
        yield Finding("warn", "page's token", "there is none: nothing can be changed from it", HOW_TO_GIVE_IT)
    if web.token_file is not None:
        yield from _look_at_file(web.token_file)
    if web.listen.startswith("unix:"):
        folder = Path(web.listen.removeprefix("unix:")).parent
        if not folder.is_dir():
            yield Finding("warn", "page", f"{folder} is not there", "make it; under systemd the drop-in does")


def _look_at_file(file: Path) -> Iterator[Finding]:
    try:
        mode = file.stat().st_mode
    except OSError as error:
        yield Finding("bad", "web.token_file", f"{file} cannot be read: {why_of(error)}", "mend the path")
        return
    if mode & _OTHERS:
        yield Finding("warn", "web.token_file", f"{file} can be read by others", f"chmod 600 {file}")
