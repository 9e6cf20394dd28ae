"""The systemd drop-in that lets the hardened unit reach the configured folders, after their mounts."""

from __future__ import annotations

import stat
from pathlib import Path

from clipspool.app.settings import Settings
from clipspool.app.settings.secrets import CREDENTIALS
from clipspool.system.units import STATES, credential_file, state_of

_RUNTIME = Path("/run")
_BUCKET_CREDENTIALS = ("bucket_access_key_id", "bucket_secret_access_key")
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - what PrivateTmp hides


def systemd_drop_in(settings: Settings) -> str:
    """Write the drop-in for `systemctl edit`. Raises ValueError for a path that no unit file can hold.

    ProtectSystem=strict makes everything read-only but what is listed here; ProtectHome and PrivateTmp hide
    homes and temporary folders, so folders there are bound back in.
    """
    folders = folders_of(settings)
    state = state_of(settings.file) if settings.file else STATES / "clipspool"
    if not _is_within(settings.journal.path, (state,)):
        folders.append(settings.journal.path.parent)
    folders = list(dict.fromkeys(folders))
    files = [file for file in (settings.file, *_named(settings)) if file] + _files_of_hooks(settings)
    only_read = [inbox.path for inbox in settings.inbox if inbox.is_read_only]
    files += only_read
    unit = [f"RequiresMountsFor={quoted(path)}" for path in (*folders, *only_read)]
    service = [f"ReadWritePaths={quoted(path)}" for path in folders]
    at_home = [path for path in folders if _is_within(path, _HOMES)]
    inside = (*folders, *only_read)  # a folder of these must stay as it is bound
    read_at_home = dict.fromkeys(_bound(path, inside) for path in files if _is_within(path, _HOMES))
    if at_home or read_at_home:
        service.append("ProtectHome=tmpfs")
        service += [f"BindPaths={quoted(path)}" for path in at_home]
        service += [f"BindReadOnlyPaths={quoted(path)}" for path in read_at_home]
    if any(_is_within(path, _TEMPORARY) for path in (*folders, *files)):
        service.append("PrivateTmp=no")
    if any((inbox.folder_mode or 0) & stat.S_ISGID for inbox in settings.inbox):
        service.append("RestrictSUIDSGID=no")  # folders could not be given that bit
    if settings.transport.bucket is not None and settings.transport.bucket.access_key_id is not None:
        # Each as a file of root's, mode 0600; the unit reads no environment of yours.
        service += [_credential(settings, name) for name in _BUCKET_CREDENTIALS]
    for (section, name), (credential, *_) in CREDENTIALS.items():
        table = getattr(settings, section)
        is_given = getattr(table, name) is not None and getattr(table, f"{name}_file", None) is None
        if is_given and name != "api_key":  # the unit itself passes that one
            service.append(_credential(settings, credential))
    service += [
        _credential(settings, f"web_token_{name}")
        for name, one in settings.web.tokens.items()
        if one.token_file is None
    ]
    service += _socket_folder(settings)
    lines = ["# Made by `clipspool check --systemd`; make it again when a folder changes."]
    return "\n".join([*lines, "[Unit]", *unit, "", "[Service]", *service, ""])


def _bound(path: Path, inside: tuple[Path, ...]) -> Path:
    """Return what the service needs of a home to see a file in it: its folder, but never the home itself.

    A file alone would stay what it was: most editors save another one and rename it, and a reload would read
    the former again.
    """
    is_at_top = path.parent in _HOMES or path.parent.parent in _HOMES
    return path if is_at_top or _is_within(path, inside) else path.parent


def _named(settings: Settings) -> list[Path | None]:
    """Return the files that the configuration names: those with secrets, and certificates."""
    secrets = [getattr(getattr(settings, table), f"{name}_file", None) for table, name in CREDENTIALS]
    tokens = [one.token_file for one in settings.web.tokens.values()]
    return [settings.provider.ca_file, settings.content_credentials.certificate, *secrets, *tokens]


def _files_of_hooks(settings: Settings) -> list[Path]:
    """Return the files that hooks' words name, programs and scripts; a word is looked for where hooks run."""
    folder = Path("/") if settings.file is None else settings.file.parent
    words = dict.fromkeys(word for command in settings.hooks.commands.values() for word in command)
    return [path for path in (folder / word for word in words) if path.is_file()]


def _socket_folder(settings: Settings) -> list[str]:
    """Make the folder of the page's socket."""
    listen = settings.web.listen or ""
    if not listen.startswith("unix:"):
        return []
    folder = Path(listen.removeprefix("unix:")).parent
    ours = _RUNTIME / (state_of(settings.file).name if settings.file else "clipspool")
    return [f"RuntimeDirectory={ours.name}" if folder == ours else f"ReadWritePaths={quoted(folder)}"]


def _credential(settings: Settings, name: str) -> str:
    """Return the line that passes a secret to the service: from a file of root's, mode 0600."""
    return f"LoadCredential={name}:{credential_file(settings.file, name)}"


def folders_of(settings: Settings) -> list[Path]:
    """Return the folders that the service writes in, and that must exist before systemd starts it."""
    folders = [path for inbox in settings.inbox for path in (inbox.home, inbox.outbox)]
    if settings.transport.public_url is not None:
        folders.append(settings.transport.public_url.folder)
    return list(dict.fromkeys(folders))


def missing_folders(settings: Settings) -> list[Path]:
    """Return the service's folders that do not exist: it does not start without them."""
    return [folder for folder in folders_of(settings) if not folder.is_dir()]


def quoted(path: Path) -> str:
    """Quote a path for a unit file: quotes and backslashes escaped, `%` doubled [systemd.syntax(7)]."""
    text = str(path)
    if not text.isprintable():
        raise ValueError(f"{text!a}: a unit file cannot hold a name with control characters or broken UTF-8")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def _is_within(path: Path, folders: tuple[Path, ...]) -> bool:
    return any(path == folder or folder in path.parents for folder in folders)
