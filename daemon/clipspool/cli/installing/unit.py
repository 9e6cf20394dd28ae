"""Writes the unit and its drop-in: where the program is, who runs it, which folders it needs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from clipspool.app.settings import Settings
from clipspool.cli.check.dropin import systemd_drop_in
from clipspool.cli.installing.wish import Wish

_SHIPPED = Path(__file__).parents[2] / "systemd"
_PROGRAM = "/opt/clipspool/bin/clipspool"
_README = "file:/opt/clipspool/share/doc/clipspool/README.md"


def unit_text(wish: Wish, program: Path) -> str:
    """Return the unit as it ships, with this machine's paths."""
    text = (_SHIPPED / wish.unit_file.name).read_text("utf-8").replace(_PROGRAM, _escaped(program))
    if wish.unit == "clipspool":
        text = text.replace("--config /etc/clipspool/config.toml", f"--config {_escaped(wish.config)}")
    readme = Path(sys.prefix, "share/doc/clipspool/README.md")
    shown = f"Documentation=file:{readme}\n" if readme.is_file() else ""
    return text.replace(f"Documentation={_README}\n", shown)


def drop_in_text(wish: Wish, settings: Settings, group: str) -> str:
    """Return the drop-in: folders, credentials, and the user where it is not the unit's own."""
    text = systemd_drop_in(settings)
    lines = []
    if (wish.user, group) != ("clipspool", "clipspool"):
        lines += [f"User={wish.user}", f"Group={group}"]
    if settings.provider.api_key_file is not None:
        lines.append("LoadCredential=")  # the key comes from the file that the configuration names
    return text.replace("[Service]\n", "[Service]\n" + "".join(f"{line}\n" for line in lines), 1)


def _escaped(path: Path) -> str:
    """Quote a path for a command line in a unit [systemd.service(5)]."""
    text = str(path).replace("%", "%%").replace("\\", "\\\\").replace("$", "$$")
    return text if re.fullmatch(r"[\w./@:+,=~-]+", text) else '"' + text.replace('"', '\\"') + '"'
