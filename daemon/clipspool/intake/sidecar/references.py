"""Checks reference images: a path inside the inbox, in the notation of any machine, or an https address."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import unquote, urlsplit

from clipspool.spool.layout import PRESETS, SUFFIXES
from clipspool.system.redaction import is_redacted, is_showable

_ADDRESS_MAX = 2048
_PATH_BYTES_MAX = 4096
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_SHARE = re.compile(
    r"(file|smb|cifs|afp):(?://(?:[^/@]*@)?([^/:]*)(?::\d+)?)?((?:/|[A-Za-z]:).*)", re.IGNORECASE
)
"""`file:///Z:/…`, `file://nas/share/…`, `smb://nas/share/…`: what the desktops copy as a file's address."""
_DRIVE = re.compile(r"[A-Za-z]:/")
_LONG_SHARE = re.compile(r"\A//[?.]/UNC/", re.IGNORECASE)
_LONG_DRIVE = re.compile(r"\A//[?.]/(?=[A-Za-z]:/)")
_NUMERIC_HOST = re.compile(r"(?:0[xX])?[0-9A-Fa-f.]*[0-9][0-9A-Fa-f.]*")


def is_address(entry: str) -> bool:
    """Return whether an entry is an address, such as `https://…`, and not a path."""
    if _SHARE.match(entry):
        return False
    return "://" in entry or entry.lower().startswith(("data:", "http:", "https:"))


def spellings(entry: str) -> tuple[str, ...]:
    """Return the paths that an entry may mean, with `/` between their parts, the most literal first.

    A path of an editor's machine stays absolute: `Z:/…`, `//nas/share/…`, `/Volumes/…`. It is not a path of
    this machine: `path_map` says where it leads.
    """
    if share := _SHARE.match(entry):
        host, rest = share[2] or "", unquote(share[3]).replace("\\", "/")
        if host.lower() in {"", "localhost"}:
            # file:////nas/share names a share as well
            rest = rest if rest.startswith("//") else re.sub(r"\A/(?=[A-Za-z]:)", "", rest)
            return (rest,)
        return (f"//{unquote(host)}{rest}",)
    path = re.sub(r"\\+", "/", entry)
    if entry.startswith("\\\\"):
        path = "/" + path
    path = _LONG_DRIVE.sub("", _LONG_SHARE.sub("//", path))
    decoded = unquote(path) if "%" in path else path
    return tuple(dict.fromkeys((path, decoded)))


def is_absolute(path: str) -> bool:
    """Return whether one of the `spellings` begins at the top of some machine or share."""
    return path.startswith("/") or _DRIVE.match(path) is not None


def is_inside(path: str) -> bool:
    """Return whether a path is plain, relative and not in a folder of ours, `_presets` apart."""
    own = path.removeprefix(f"{PRESETS}/")
    return bool(own) and own[0] not in "._/" and not any(part in {"", ".", ".."} for part in own.split("/"))


def trouble_with(entry: str) -> str | None:
    """Return what is wrong with the text of an entry of `references`, or None."""
    if any(letter in entry for letter in "\n\t\r\b\f"):
        return 'contains a line break or tab: a backslash inside " " begins a special sign; write / in a path'
    is_plain = entry.isprintable() if is_address(entry) else is_showable(entry)
    if not is_plain:
        return "contains a control character or another invisible character"
    return _trouble_with_address(entry) if is_address(entry) else _trouble_with_path(entry)


def _trouble_with_path(entry: str) -> str | None:
    if len(entry.encode(errors="surrogateescape")) > _PATH_BYTES_MAX:
        return "is a path longer than any file's"
    path = spellings(entry)[0]
    parts = path.removeprefix("//").removeprefix("/").split("/")
    is_whole = is_absolute(path)
    if not path or (not is_whole and _SCHEME.match(parts[0])):
        return 'has to name an image inside the inbox, as in "winter.png" or "looks/winter.png"'
    if any(part in {"", ".", ".."} for one in spellings(entry) for part in one.lstrip("/").split("/")):
        return "has to be a plain path inside the inbox, without `..`, `.` or empty parts"
    if not is_whole and path.startswith((".", "_")):
        return "names a file in one of clipspool's own folders; put the image beside the clip"
    if not path.lower().endswith(SUFFIXES):
        return f"has to name an image ({' '.join(SUFFIXES)})"
    return None


def _trouble_with_address(address: str) -> str | None:
    if is_redacted(address):
        return "is an address whose signature was removed, because it is a secret; write it again"
    if len(address) > _ADDRESS_MAX or " " in address:
        return f"has to be an address of at most {_ADDRESS_MAX} characters, without spaces"
    try:
        url = urlsplit(address)
        host = (url.hostname or "").rstrip(".")
        _ = url.port
    except ValueError:
        return "is not a valid address"
    if url.scheme != "https" or not host:
        return "has to be an address that begins with https://, or a path inside the inbox"
    if url.username is not None or url.password is not None:
        return "is an address with a user name or password in it; the provider could not use it"
    if not _is_public(host):
        return "is an address that only this network can reach; the provider could not fetch it"
    return None


def _is_public(host: str) -> bool:
    """Return whether a host looks public; names are resolved only by the provider, who fetches them."""
    try:
        number = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        top = host.rpartition(".")[2]
        # 2130706433, 0x7f.1 and the like are read as addresses by resolvers.
        is_numeric = top[:1].isdigit() and _NUMERIC_HOST.fullmatch(top) is not None
        return "." in host and not host.endswith((".local", ".localhost", ".internal")) and not is_numeric
    mapped = getattr(number, "ipv4_mapped", None)
    return (mapped or number).is_global and not number.is_multicast
