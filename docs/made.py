"""Writes what docs/ takes from the code: configuration.md, and the table of states in architecture.md.

`python docs/made.py` writes the files; a test compares them with what this module makes.
"""

from __future__ import annotations

import ast
import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from clipspool.app.settings import Settings
from clipspool.jobs import lifecycle, model
from clipspool.jobs.events import name_of

ROOT = Path(__file__).parents[1]
CONFIGURATION = ROOT / "docs/configuration.md"
ARCHITECTURE = ROOT / "docs/architecture.md"
_BEGIN, _END = "<!-- made by made.py: states -->", "<!-- end of what is made -->"
_KEY = re.compile(r"#?([a-z_]+) = (.*)")
_TITLE = re.compile(r"#?\[+([a-z0-9_.]+)\]+$")
# Their keys are the operator's own words: names of models, folders, sidecar keys.
_OPEN = {"defaults", "models", "path_map", "inbox.defaults", "models.gen4_aleph", "presets"}

_ENDLESS = 31_000_000  # a limit beyond this many seconds, bytes or credits is there for typing errors alone

_INTRODUCTION = """\
# Configuration

One TOML file, named by `-c` or `CLIPSPOOL_CONFIG`; else the first that exists of `./config.toml`,
`~/.config/clipspool/config.toml` and `/etc/clipspool/config.toml`. `config.example.toml` shows every key with
its default and is a valid configuration itself. `clipspool init` writes a short one to start from, and
`clipspool check --offline` reports mistakes.

Every key can also come from the environment: `CLIPSPOOL_PROVIDER__RUNNING_MAX=3` sets `running_max` in
`[provider]`. Paths may be relative to the file, and `~` is the home directory.

`systemctl reload clipspool`, or SIGHUP, reads the file again. Valid changes apply at once; an invalid file
changes nothing, is logged, and makes `systemctl reload` fail. So does a change that needs a restart: of
`[web]`, `[journal]`, `[farm]`, an inbox's `path` or `outbox`, or its `source` to or from `"keep"`. Secrets
from the environment and from systemd are read at a restart, those in files of their own also by a reload.

The tables below are made from `config.example.toml` and from the limits in the settings' own code.
"""


def main() -> None:
    """Write both files."""
    CONFIGURATION.write_text(configuration(), "utf-8")
    ARCHITECTURE.write_text(architecture(), "utf-8")


def configuration() -> str:
    """Return the text of docs/configuration.md."""
    parts = [_INTRODUCTION]
    for title, prose, rows in _sections():
        heading = "[[inbox]]" if title == "inbox" else f"[{title}]"
        parts.append(f"\n## `{heading}`\n")
        if prose:
            parts.append(f"{prose}\n")
        part = _part(title)
        named = {name for name, _, _ in rows}
        secrets = [
            (name, "", text)
            for name, text in (_docstrings(part) if part else {}).items()
            if name not in named
            and name != "defaults"
            and "SecretStr" in str(part.model_fields[name].annotation)
        ]
        if rows or secrets:
            parts.append("| key | default | meaning |\n|---|---|---|")
            parts += [_row(part, *row) for row in rows + secrets]
    return "\n".join(parts).rstrip() + "\n"


def _sections() -> list[tuple[str, str, list[tuple[str, str, str]]]]:
    """Return title, prose and rows (key, default, meaning) of each table of config.example.toml."""
    sections: list[tuple[str, str, list[tuple[str, str, str]]]] = []
    prose: list[str] = []
    lines = iter((ROOT / "config.example.toml").read_text("utf-8").splitlines())
    for line in lines:
        if match := _TITLE.fullmatch(line):
            sections.append((match[1], " ".join(prose), []))
            prose = []
        elif sections and (match := _KEY.fullmatch(line)):
            value, comment = _split(match[2])
            if value == "[":
                value = "[" + " ".join(one.strip() for one in iter(lines.__next__, "]")).rstrip(",") + "]"
            default = "" if line.startswith("#") else f"`{value}`"
            shown = f"for example `{value}`" if line.startswith("#") else ""
            meaning = "; ".join(part for part in (comment, shown) if part)
            sections[-1][2].append((match[1], default, meaning))
        elif line.startswith("#     ") and sections and sections[-1][2]:
            name, default, meaning = sections[-1][2].pop()
            said, mark, example = meaning.partition("; for example ")
            sections[-1][2].append((name, default, f"{said} {line.lstrip('# ')}{mark}{example}"))
        elif line.startswith("# "):
            prose.append(line[2:])
        elif not line:
            prose = []
    return sections


def _split(text: str) -> tuple[str, str]:
    """Split a value from the comment behind it; a `#` in quotes is none."""
    match = re.fullmatch(r"""((?:"[^"]*"|'[^']*'|[^"'#])*?)\s*(?:# (.*))?""", text)
    return (match[1], match[2] or "") if match else (text, "")


def _part(title: str) -> Any:
    """Return the class of settings that holds a table's keys; None where the keys are the operator's own."""
    if title in _OPEN:
        return None
    found: Any = Settings
    for name in title.split("."):
        annotation = found.model_fields[name].annotation
        found = next(one for one in _leaves(annotation) if hasattr(one, "model_fields"))
    return found


def _leaves(annotation: Any) -> Iterator[Any]:
    yield annotation
    for one in typing.get_args(annotation):
        yield from _leaves(one)


def _row(part: Any, name: str, default: str, meaning: str) -> str:
    field = part.model_fields.get(name) if part else None
    texts = [
        meaning or (_docstrings(part).get(name, "") if part else ""),
        _limits(field, meaning) if field else "",
    ]
    text = re.sub(r" ?\[PROVIDER [0-9.]+\]", "", "; ".join(one.rstrip(".") for one in texts if one))
    return f"| `{name}` | {_cell(default)} | {_cell(text)} |"


def _limits(field: Any, meaning: str) -> str:
    """Return the choices or the range of a key, empty where its meaning names them already."""
    choices = [
        f'"{word}"'
        for one in _leaves(field.annotation)
        if typing.get_origin(one) is Literal
        for word in typing.get_args(one)
    ]
    if any(choice not in meaning for choice in choices):
        return f"one of {', '.join(choices)}"
    rules = [
        *field.metadata,
        *(rule for one in _leaves(field.annotation) for rule in getattr(one, "__metadata__", ())),
    ]
    rules = [inner for rule in rules for inner in getattr(rule, "metadata", [rule])]
    least = next((f"{rule.ge:g}" for rule in rules if hasattr(rule, "ge")), "")
    most = next((f"{rule.le:,.15g}" for rule in rules if hasattr(rule, "le") and rule.le < _ENDLESS), "")
    if not most or re.search(r"\d to \d", meaning):
        return ""
    return f"{least} to {most}" if least else f"at most {most}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def architecture() -> str:
    """Return the text of docs/architecture.md with its table of states made anew."""
    text = ARCHITECTURE.read_text("utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n\n{_states()}\n{_END}{after}"


def _states() -> str:
    meaning = _docstrings(model.State)
    rows = ["| state | meaning | goes on to |", "|---|---|---|"]
    arrows = ["```mermaid", "stateDiagram-v2", "    [*] --> queued"]
    for state, events in lifecycle.TABLE.items():
        leads: dict[str, list[str]] = {}
        for event in events:
            for target in lifecycle.targets(state, event):
                if target is not state:
                    leads.setdefault(target.value, []).append(name_of(event))
        ways = "; ".join(f"`{target}` on {', '.join(names)}" for target, names in leads.items())
        rows.append(f"| `{state.value}` | {_cell(meaning[state.name])} | {ways} |")
        arrows += [f"    {state.value} --> {target}" for target in leads]
    return "\n".join([*rows, "", *arrows, "```", ""])


def _docstrings(part: type) -> dict[str, str]:
    """Return the docstring below each attribute of a class, an empty text where there is none."""
    body = typing.cast(ast.ClassDef, ast.parse(inspect.getsource(part)).body[0]).body
    found: dict[str, str] = {}
    for line, below in zip(body, [*body[1:], ast.Pass()], strict=True):
        match line:
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                match below:
                    case ast.Expr(value=ast.Constant(value=str(text))):
                        found[name] = " ".join(text.split())
                    case _:
                        found[name] = ""
    return found


if __name__ == "__main__":
    main()
