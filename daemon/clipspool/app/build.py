"""Builds parts from the settings: the journal, intake's rules, the pace, the provider."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import structlog

from clipspool import __version__
from clipspool.app.serving import AlreadyServed, Announcement, user_name
from clipspool.app.settings import InboxSettings, Settings, SettingsError, leave_note, noted_journal
from clipspool.app.shipping import proxy_of
from clipspool.intake.inbox import Inbox
from clipspool.intake.types import Inspection, Rules
from clipspool.jobs.conditions import Conditions
from clipspool.jobs.model import Job
from clipspool.jobs.pacing import Pace, PollPace
from clipspool.jobs.path_map import Places
from clipspool.jobs.render_times import Durations
from clipspool.journal import Address, Journal, JournalError, JournalUnreachable, Lock, NoJournal, Place
from clipspool.journal.files import make_for_owner, make_home, mark_node
from clipspool.provider.addresses import OneAccount
from clipspool.provider.catalog import DEFAULT_MODEL
from clipspool.provider.protocol import Followed, Provider
from clipspool.provider.runway import Patience, Runway
from clipspool.reporting.status import job_json
from clipspool.reporting.status_file import Kept
from clipspool.scheduler.rests import TURN_SECONDS_MAX
from clipspool.spool.send_marks import SendMarks, send_marks_file
from clipspool.spool.watchfolder import Folders
from clipspool.stages.hooks import HookTools
from clipspool.stages.provenance import facts_of
from clipspool.stages.runner import StageRunner
from clipspool.system import mounts
from clipspool.system.atomic import OURS
from clipspool.system.process import closed_on_error
from clipspool.system.systemd import Service

log = structlog.get_logger()

_NAME_KEY = "name_key"
_CALM_TURN_SECONDS = 5.0
_LOCK_SECONDS = 2.0
"""A command without a daemon holds the journal for a moment; a daemon holds it for good."""


class CannotStart(Exception):
    """The daemon cannot run; the message is one sentence for the operator."""


def open_journal(settings: Settings, *, makes: bool = True, gives_away: bool = False) -> tuple[Journal, Lock]:
    """Open the journal for writing; raises CannotStart when another process has it, or it cannot be used.

    Without `makes` a missing one is not created. `gives_away`: files that root creates are given to the
    folder's owner, whose daemon could not open them otherwise.
    """
    if not makes and not is_there(settings.journal.place):
        raise CannotStart(str(NoJournal(settings.journal.place)))
    lock = lock_journal(settings, gives_away=gives_away)
    try:
        journal = Journal.open(settings.journal.place)
    except JournalError as error:
        lock.pass_excuse_on()
        lock.release()
        if isinstance(error, JournalUnreachable):
            raise
        raise CannotStart(str(error)) from error
    return journal, lock


def lock_journal(settings: Settings, *, gives_away: bool = False) -> Lock:
    """Keep other processes of this machine from the journal; raises CannotStart where one has it."""
    path, place = settings.journal.path, settings.journal.place
    try:
        make_home(path)
        mount = mounts.filesystem_of(path.parent)
        if mount.kind is mounts.MountKind.NETWORK:
            raise CannotStart(
                f"The journal {path} lies on {mount.type}, a network file system, where SQLite's locks and "
                "syncs cannot be relied on; set journal.path to a local disk."
            )
        if gives_away and os.geteuid() == 0:
            make_for_owner(path, Lock(path).path)
        lock = Lock(path)
        if not lock.take(_LOCK_SECONDS):
            raise CannotStart(f"Another clipspool{lock.who()} owns the journal {path}.")
    except OSError as error:
        raise CannotStart(_cannot_open(path, error)) from error
    try:
        if isinstance(place, Address):
            mark_node(path, str(place))
    except JournalError as error:
        lock.release()
        if isinstance(error, JournalUnreachable):
            raise
        raise CannotStart(str(error)) from error
    return lock


def is_there(place: Place) -> bool:
    """Whether there is a journal; raises JournalError."""
    if isinstance(place, Path):
        return place.exists()
    journal = Journal.read(place)
    if journal is not None:
        journal.close()
    return journal is not None


def announce(settings: Settings) -> Announcement:
    """Announce this process as the daemon of the configuration; raises CannotStart."""
    folders = [inbox.home / OURS for inbox in settings.inbox]
    try:
        return Announcement(settings.file, settings.journal.path, folders)
    except AlreadyServed as error:
        raise CannotStart(str(error)) from error


def take_over(settings: Settings) -> tuple[Journal, Lock, Announcement]:
    """Announce this daemon for the configuration and open the journal; raises CannotStart."""
    announcement = announce(settings)
    with closed_on_error(announcement):
        journal, lock = open_journal(settings)
    _note_journal(settings)
    return journal, lock, announcement


def _note_journal(settings: Settings) -> None:
    """Note which journal serves a configuration that does not name it, for commands without a daemon."""
    if settings.file is None or settings.journal_named_by == "file":
        return
    before = noted_journal(settings.file)
    if before is not None and before != settings.journal.path and before.exists():
        why = "what is under way in the one before is not known here"
        log.warning("journal_changed", before=str(before), now=str(settings.journal.path), why=why)
    leave_note(settings.file, settings.journal.path)


def warn_of_orphans(journal: Journal, inboxes: Collection[str]) -> None:
    """Log which inboxes have open jobs and are not configured any more: they deliver nothing."""
    for name, number in journal.open_by_inbox().items():
        if name not in inboxes:
            log.warning("inbox_not_configured", inbox=name, jobs=number)


def _cannot_open(path: Path, error: OSError) -> str:
    why = f"The journal {path} cannot be opened: {error.strerror}"
    if not isinstance(error, PermissionError):
        return f"{why}."
    try:
        owner = path.stat().st_uid
    except OSError:
        owner = 0
    who = f"as its owner, {user_name(owner)}" if owner else "as a user who may, or set journal.path"
    return f"{why}; run this {who}."


def open_send_marks(journal: Path) -> SendMarks:
    """Open the marks of requests that were not sent yet; a full shared memory does not stop the start."""
    try:
        return SendMarks(send_marks_file(journal))
    except OSError as error:
        log.warning("send_marks_not_kept", why=error.strerror)
        return SendMarks(None)


def name_secret_of(journal: Journal) -> bytes:
    """Return the secret that makes names of uploaded files unguessable: one a journal, for good."""
    kept = journal.fact(_NAME_KEY)
    if kept is None:
        kept = secrets.token_hex(32)
        with journal.turn():
            journal.set_fact(_NAME_KEY, kept)
    return bytes.fromhex(str(kept))


def rules_of(settings: Settings, inbox: InboxSettings, journal_id: str) -> Rules:
    """Return intake's part of an inbox's settings."""
    return Rules(
        name=inbox.name,
        extensions=frozenset(inbox.extensions),
        ignore=inbox.ignore,
        sidecar_required=inbox.sidecar == "required",
        settle_seconds=inbox.settle_seconds,
        unsure_seconds=inbox.unsure_seconds,
        rescan_seconds=inbox.rescan_seconds,
        detect=inbox.detect,
        priority=inbox.priority,
        hold_seconds=inbox.hold_seconds,
        layers={
            "clipspool's own defaults": {"model": DEFAULT_MODEL},
            "[defaults] of the configuration": settings.defaults,
            f"`defaults` of the inbox {inbox.name}": inbox.defaults,
        },
        presets=settings.presets,
        journal=journal_id,
        deaths_file=settings.journal.path.with_name(f"{settings.journal.path.name}.intake-{inbox.name}"),
        places=places_of(settings, inbox),
    )


def places_of(settings: Settings, inbox: InboxSettings) -> Places:
    """Return what an inbox's editors call our folders."""
    return Places({**settings.path_map, **inbox.path_map})


def has_portable_names(settings: Settings, inbox: InboxSettings) -> bool:
    """Whether results get names that every system can open: the default where editors have a drive."""
    if inbox.names is not None:
        return inbox.names == "portable"
    return places_of(settings, inbox).are_windows


def kept_of(
    settings: Settings, folders: Mapping[str, Folders], inboxes: Mapping[str, Inbox]
) -> dict[str, Kept]:
    """Return the inboxes that keep a status file, by name."""
    return {
        inbox.name: Kept(
            folders[inbox.name].inbox,
            inbox.outbox,
            places_of(settings, inbox),
            settings.limits,
            inboxes[inbox.name],
        )
        for inbox in settings.inbox
        if inbox.status_file
    }


def pace_of(settings: Settings, durations: Durations | None = None) -> Pace:
    """Return what decides when a job is due again."""
    provider = settings.provider
    poll = PollPace(provider.poll_seconds_min, provider.poll_seconds_max, provider.polls_per_second_max)
    return Pace(
        poll=poll,
        random=random.random,
        settle_seconds=max(inbox.settle_seconds for inbox in settings.inbox),
        task_seconds_max=provider.task_seconds_max,
        resubmits_max=1 if provider.ambiguous_submit == "resubmit" else 0,
        durations=durations or Durations(),
    )


def follows(
    current: Callable[[], Provider], make: Callable[[str], Provider], addresses: Collection[str] = ()
) -> Callable[[str], Followed | None]:
    """Return what finds the provider for a task's profile; None where this key must not be shown.

    Another key of the same provider may see the task. `addresses` are those of the one account that is in
    use; `make` makes a provider for an address.
    """

    def follow(profile: str) -> Followed | None:
        address, _, print_ = profile.partition("#")
        ours, _, our_print = current().profile.partition("#")
        if len(addresses) > 1 and {address, ours} <= set(addresses):
            providers = {one: current() if one == ours else make(one) for one in addresses}
            return OneAccount(providers, ours, address)
        if address == ours:
            return current()
        return make(address) if print_ == our_print else None

    return follow


def provider_of(settings: Settings, base_url: str | None = None) -> Runway:
    """Build the provider; `base_url` is that of an older task, otherwise the configured one.

    Raises SettingsError where the file of certificates cannot be used.
    """
    provider = settings.provider
    key = provider.api_key
    try:
        return Runway(
            base_url or provider.base_url,
            lambda: "" if key is None else key.get_secret_value(),
            api_version=provider.api_version,
            user_agent=f"clipspool/{__version__}",
            patience=Patience(connect_seconds=provider.connect_seconds, read_seconds=provider.answer_seconds),
            ca_file=None if provider.ca_file is None else str(provider.ca_file),
            proxy=proxy_of(settings),
        )
    except OSError as error:
        why = f"{provider.ca_file} holds no certificates that can be read: {error.strerror or error}"
        raise SettingsError(f"{settings.file or 'environment'}: `provider.ca_file` {why}") from error


def inspection_of(stages: StageRunner) -> Inspection:
    """Build what intake asks of the catalogue, the decoder and the farm."""
    return Inspection(
        stages.check, stages.inspect, stages.decoder.warm, stages.complete, stages.price, stages.may_send
    )


def hooks_of(settings: Settings, now: Callable[[], float]) -> HookTools:
    """Return the operator's hooks; they run where the configuration lies."""
    folder = "/" if settings.file is None else str(settings.file.parent)

    def describe(job: Job) -> dict[str, Any]:
        # As `show --json` names them, as far as the job itself knows.
        parts = [{"task_id": part.task_id or None, **facts_of(part)} for part in job.parts if job.is_split]
        return {**job_json(job, Conditions(now())), "parts": parts}

    return HookTools(settings.hooks.commands, settings.hooks.seconds_max, folder, describe)


def calm_turn_seconds(settings: Settings, service: Service, *, until_idle: bool) -> float:
    """Return how long the scheduler may sleep between two turns while there is nothing to do."""
    # Nodes of a farm take a leader without turns for ended; and `--until-idle` ends in a turn.
    if settings.journal.url or until_idle:
        return TURN_SECONDS_MAX
    return min(_CALM_TURN_SECONDS, service.watchdog_seconds / 4)
