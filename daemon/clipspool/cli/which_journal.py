"""Finds the journal that a command is about, which is the one of the daemon that serves the configuration.

Nothing is made here. Where there is no journal, or it may not be read, the command ends with one sentence.
"""

from __future__ import annotations

import os
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from clipspool.app.locations import file_of
from clipspool.app.serving import Serving, is_trusted, serving, user_name
from clipspool.cli.output import fail, say
from clipspool.system.units import unit_of

if TYPE_CHECKING:
    from clipspool.app.settings import Settings

Need = Literal["none", "find", "read", "write"]
"""What a command does with the journal: nothing, name it, read it, change it."""


def with_password(settings: Settings) -> Settings:
    """Take the database's password from the service's credential, where the caller may read it and gave none.

    systemd passes it to the service alone, and a command connects by itself.
    """
    journal, file = settings.journal, settings.file
    unit = None if journal.url is None or journal.password or file is None else unit_of(file)
    credential = None if unit is None else unit.credentials.get("journal_password")
    if credential is None:
        return settings
    with suppress(OSError):  # another user's file of passwords may serve
        journal = journal.with_password(credential.read_text("utf-8", "replace").strip())
    return settings.model_copy(update={"journal": journal})


def found(settings: Settings, need: Need) -> Settings:
    """Return the settings with the running daemon's journal, else with the one that they name."""
    if need == "none":
        return settings
    one = serving(settings.file)
    if one is not None and settings.file is not None:
        from clipspool.system.atomic import OURS

        if not is_trusted(one, settings.file, [inbox.home / OURS for inbox in settings.inbox]):
            fail(
                f"{settings.file} is served by {one}, whose user owns neither it nor its inboxes, so it is "
                f"not trusted. If that is right, run this as {user_name(one.user)}."
            )
        settings = _of_the_daemon(settings, one, need)
    if need != "find" and settings.journal.url is None:
        _expect(settings.journal.path)
    return settings


def served_journal(config: Path | None) -> Path | None:
    """Return the journal of the daemon that serves a configuration, without reading the configuration.

    None where no daemon answers, or where only the settings can say whether it is the one that is meant.
    """
    file = file_of(config)
    if file is None or any(name.upper().startswith("CLIPSPOOL_JOURNAL") for name in os.environ):
        return None
    one = serving(file)
    if one is None or one.journal is None or not is_trusted(one, file, ()):
        return None
    _expect(one.journal)
    return one.journal


def why_broken(config: Path | None) -> str:
    """Return why the configuration file is not TOML, without the settings' own checks; empty if it is."""
    file = file_of(config)
    try:
        tomllib.loads("" if file is None else file.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        return f"{file}: is not TOML: {error}"
    return ""


def running(config: Path) -> Serving | None:
    """Find the daemon that serves a configuration, without reading it: it may be broken just now."""
    one = serving(config)
    if one is not None and not is_trusted(one, config, ()):
        fail(f"{config} is served by {one}, whose user does not own it, so it is not trusted.")
    return one


def _of_the_daemon(settings: Settings, one: Serving, need: Need) -> Settings:
    ours, theirs = settings.journal.path, one.journal
    if theirs is None or os.path.realpath(ours) == os.path.realpath(theirs):
        return settings
    if settings.journal_named_by != "environment":
        return settings.with_journal(theirs)
    # The environment names another journal; the daemon would never read what is written there.
    facts = f"{settings.file} is served by {one}, with the journal {theirs}; the environment names {ours}"
    if need == "write":
        fail(f"{facts}: nothing was done. Unset CLIPSPOOL_JOURNAL__PATH to use that daemon's journal.")
    if need == "read":
        say(f"{facts}, which is shown here.", err=True)
    return settings


def _expect(path: Path) -> None:
    """Exit with one sentence where the journal does not exist or cannot be read."""
    try:
        with path.open("rb"):
            return
    except PermissionError:
        fail(f"{rights_on(path)}.")
    except (FileNotFoundError, NotADirectoryError):
        from clipspool.journal.files import NoJournal

        fail(str(NoJournal(path)))
    except OSError as error:
        fail(f"The journal {path} cannot be read: {error.strerror}.")


def rights_on(path: Path) -> str:
    """Return whose journal it is, for a caller without access to it; no full stop at the end."""
    owner = None
    for place in (path, *path.parents):
        try:
            owner = place.stat().st_uid
            break
        except OSError:
            continue
    who = f"as {user_name(owner)} or as root" if owner else "as root"
    return f"The user {user_name(os.geteuid())} may not use the journal {path}: run this {who}"
