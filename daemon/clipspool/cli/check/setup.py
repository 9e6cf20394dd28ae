"""Checks clock, user, proxy, hooks, defaults, API key, journal and provider."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from clipspool.app.build import provider_of
from clipspool.app.serving import user_name
from clipspool.app.settings import Settings, SettingsError
from clipspool.app.settings.wording import KEY_PLACES
from clipspool.app.shipping import signer_of
from clipspool.cli.check.finding import Finding, look_at_file, why_of
from clipspool.cli.check.folders import look_at_space
from clipspool.intake.names import Kind, Names
from clipspool.intake.near import folded
from clipspool.intake.sidecar.keys import accepts
from clipspool.jobs.faults import Fault
from clipspool.journal import Journal, JournalError
from clipspool.journal.files import SQLITE
from clipspool.journal.migrations import OlderJournal
from clipspool.provider.catalog import DEFAULT_MODEL, Catalog
from clipspool.provider.protocol import Provider
from clipspool.system import mounts
from clipspool.system.redaction import readable
from clipspool.system.units import Unit

_BUILT = datetime(2026, 9, 1, tzinfo=UTC)
_CLIPS = ("shot010", "Z-7 k")
"""Names of clips that have nothing in common: a pattern for both is one for any."""


def look_at_process(now: Callable[[], float] = time.time, *, unit: Unit | None = None) -> Iterator[Finding]:
    """Check the clock and the user; `unit` is the service with this configuration."""
    here = datetime.fromtimestamp(now(), UTC)
    if here < _BUILT:
        why = f"it shows {here:%Y-%m-%d}, which is in the past"
        yield Finding("bad", "clock", why, "set the clock; the times of tasks and results depend on it")
    if os.geteuid() == 0:
        yield Finding(
            "warn",
            "user",
            "running as root; the daemon's user may have fewer permissions",
            "run the check as the user that will run the daemon"
            if unit is None
            else f"run the check as the service does: runuser -u {unit.user} -- clipspool check",
        )
    elif unit is not None and unit.user != (me := user_name(os.geteuid())):
        why = f"running as {me}, but {unit.name} runs as {unit.user}, whose permissions may differ"
        todo = f"run the check as the service does: runuser -u {unit.user} -- clipspool check"
        yield Finding("warn", "user", why, todo)


def look_at_proxy(settings: Settings, env: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Check for a proxy that the environment names and clipspool does not use."""
    named = [name for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy") if env.get(name)]
    if named and settings.provider.proxy is None:
        why = f"${named[0]} is set, and clipspool does not use it"
        todo = "if this machine reaches the provider only through a proxy, set `proxy` in [provider]"
        yield Finding("warn", "proxy", why, todo)


def look_at_hooks(settings: Settings) -> Iterator[Finding]:
    """Check that the program of each hook is there; none is run."""
    folder = Path("/") if settings.file is None else settings.file.parent
    for name, words in settings.hooks.commands.items():
        # A path is looked for where hooks run, a plain name on $PATH.
        program = str(folder / words[0]) if "/" in words[0] else words[0]
        if shutil.which(program) is None:
            is_needed = name == "before_submit"
            why = f"{words[0]} is no program that can be run" + (
                "; nothing would be sent" if is_needed else ""
            )
            todo = "correct its first word, or leave the key out"
            yield Finding("bad" if is_needed else "warn", f"hooks.{name}", why, todo)


def look_at_credentials(settings: Settings) -> Iterator[Finding]:
    """Check the certificate that results are signed with, by signing a small picture."""
    ours = settings.content_credentials
    yield from look_at_file("content_credentials.certificate", ours.certificate, is_secret=False)
    yield from look_at_file("content_credentials.key_file", ours.key_file)
    if (signer := signer_of(settings)) is not None:
        why = signer.trouble
        todo = "renew or correct it; until then results are delivered unsigned, and say so"
        good = Finding("ok", "content credentials", "a small picture was signed, and reads back valid")
        yield Finding("bad", "content credentials", why, todo) if why else good


def look_at_defaults(settings: Settings) -> Iterator[Finding]:
    """Check for models, by default or as a fallback, that are unknown to the catalogue, or retired."""
    catalog = Catalog.load(settings.models)
    known = catalog.models
    tables = [("[defaults]", settings.defaults)]
    tables += [(f"defaults of inbox {inbox.name}", inbox.defaults) for inbox in settings.inbox]
    usual = settings.defaults.get("model", DEFAULT_MODEL)
    asked = {usual, *(str(inbox.defaults.get("model", usual)) for inbox in settings.inbox)}
    for name in sorted(map(str, asked)):
        if retirement := catalog.retirement(name):
            # A gateway may offer it for long; its vendor refuses it.
            is_vendor = "runwayml.com" in (urlsplit(settings.provider.base_url).hostname or "")
            todo = "it works as long as your provider still offers it; `model` in [defaults] chooses another"
            yield Finding("warn" if is_vendor else "ok", "model", retirement, todo)
    named = [(where, table["model"]) for where, table in tables if table.get("model") is not None]
    named += [(f"[models.{name}] fallback", one) for name, model in known.items() for one in model.fallback]
    for where, model in named:
        if model not in known:
            why = f"the model {model!r} is not in the catalogue"
            todo = f"choose one of {', '.join(sorted(known))}, or describe it in [models.NAME]"
            yield Finding("bad", where, why, todo)
    if settings.farm.node is not None and settings.journal.url is None:
        yield Finding(
            "warn",
            "farm",
            "[farm] does nothing without `url` in [journal]: this daemon works alone, and keeps limits alone",
            "name the database that the machines share, or leave [farm] out",
        )
    if not settings.provider.base_url.endswith("/v1"):
        why = "it does not end in /v1, as the addresses of all known providers do"
        yield Finding("warn", "provider.base_url", why, "give the whole prefix, up to and including /v1")


def look_at_names(settings: Settings) -> Iterator[Finding]:
    """Check for presets that no sidecar can ask for, and for inboxes that ignore every clip."""
    first: dict[str, str] = {}
    for name in settings.presets:
        what = f"[presets.{readable(name)}]"
        if not name or not accepts("preset", name):
            why = "no sidecar can ask for a preset of that name"
            todo = "rename it: visible characters without `/`, and none of `.`, `_` and `~` at its beginning"
            yield Finding("warn", what, why, todo)
        elif (other := first.setdefault(folded(name), name)) != name:
            why = f"letter case does not matter, so it takes the place of [presets.{readable(other)}]"
            yield Finding("warn", what, why, "rename one of the two")
    for inbox in settings.inbox:
        names = Names(inbox.extensions, inbox.ignore)
        clips = [f"{stem}{suffix}" for stem in _CLIPS for suffix in inbox.extensions]
        if all(names.kind(clip) is Kind.IGNORED for clip in clips):
            patterns = ", ".join(f'"{readable(one)}"' for one in inbox.ignore)
            why = f"`ignore` ({patterns}) leaves out every clip: nothing would be sent, and nobody told"
            yield Finding("warn", f"inbox {inbox.name}", why, "let its patterns name only what is no clip")


def look_at_key(settings: Settings, *, is_needed: bool, unit: Unit | None = None) -> Iterator[Finding]:
    """Check that the API key is set, and who may read its file."""
    provider = settings.provider
    handed = None if unit is None else unit.credentials.get("provider_api_key")
    if provider.api_key is None and handed is not None and unit is not None:
        yield _handed_over(handed, unit)
    elif provider.api_key is None:
        yield Finding("bad" if is_needed else "warn", "API key", "not set", KEY_PLACES)
    else:
        yield Finding("ok", "API key", "is set")
    yield from look_at_file("provider.api_key_file", provider.api_key_file)
    try:
        provider_of(settings)
    except SettingsError as error:
        yield Finding("bad", "provider.ca_file", str(error), "fix the path, its permissions or the file")


def _handed_over(file: Path, unit: Unit) -> Finding:
    """Check the key that systemd passes to the service alone, as far as this user may."""
    try:
        is_there = file.is_file()
    except OSError:
        is_there = True
    if is_there:
        why = f"systemd passes it to {unit.name} from {file}; not tried, as only root can read it"
        return Finding("ok", "API key", why)
    why = f"{file} is not there, and {unit.name} does not start without it"
    return Finding("bad", "API key", why, "`clipspool service install` asks for the key, and puts it there")


def look_at_journal(
    path: Path,
    filesystem_of: Callable[[Path], mounts.Mount] = mounts.filesystem_of,
    *,
    is_elsewhere: bool = False,
) -> Iterator[Finding]:
    """Check that the journal is on a local disk, and can be read and written.

    `is_elsewhere`: it is in PostgreSQL, and only this machine's state is at the path.
    """
    what = "this machine's state" if is_elsewhere else "journal"
    mount = filesystem_of(path)
    if mount.kind is mounts.MountKind.NETWORK:
        why = f"{path} is on a network file system ({mount.type}), where locks and syncs are not reliable"
        yield Finding("bad", what, why, "set journal.path to a local disk")
        return
    if mount.kind is mounts.MountKind.UNKNOWN:
        why = f"{path} is on {mount.type}, which clipspool does not know"
        yield Finding("warn", what, why, "use ext4, XFS, Btrfs or ZFS if you can")
    folder = next((parent for parent in path.parents if parent.is_dir()), Path("/"))
    try:
        trouble = _journal_trouble(path, folder, is_elsewhere=is_elsewhere)
    except JournalError as error:
        yield Finding("bad", what, str(error))
        return
    except OSError as error:
        trouble = why_of(error)
    if trouble:
        yield Finding(
            "bad", what, f"{path}: {trouble}", "make the folder the service user's, or set journal.path"
        )
    else:
        yield Finding(
            "ok", what, f"{path} on {mount.type}" + ("" if path.exists() else " (created at the first run)")
        )
    yield from look_at_space(what, folder)


def _journal_trouble(path: Path, folder: Path, *, is_elsewhere: bool) -> str:
    if path.exists():
        if not path.is_file():
            return "is not a file"
        if not os.access(path, os.R_OK | os.W_OK):
            return "may not be read and written by this user"
        with path.open("rb") as file:
            head = file.read(len(SQLITE))
        if is_elsewhere and head == SQLITE:
            return "is a journal of SQLite: copy it with `clipspool farm import`, or move it aside"
        if not is_elsewhere and head not in {b"", SQLITE}:
            return "is not a journal: some other file has its name"
        if head == SQLITE:
            with suppress(OlderJournal):  # the next start converts it
                if (journal := Journal.read(path)) is not None:
                    journal.close()
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"this user cannot write in {folder}"
    return ""


def look_at_provider(provider: Provider, subject: str = "provider") -> Finding:
    """Ask the provider whether it accepts the key; costs nothing."""
    match provider.ask_account():
        case Fault() as fault:
            return Finding("bad", subject, f"{fault.message} ({fault.code})", fault.what_to_do)
        case answer:
            facts = ", ".join(
                f"{name} {value}" if isinstance(value, str) else f"{name} {value:,.10g}"
                for name, value in answer.items()
                if isinstance(value, str | int | float)
            )
            return Finding("ok", subject, facts or "it answers and accepts the key")
