"""What the documents say of states, commands, keys and held jobs is what the code has."""

import re
import runpy
import tomllib
from itertools import chain

import click
import pytest

from clipspool.app.settings import Settings, load
from clipspool.app.settings.reload import NEEDS_RESTART, NEEDS_RESTART_OF_INBOX
from clipspool.cli import clipspool
from clipspool.intake.sidecar.keys import KEYS, problems_in
from clipspool.jobs.model import Held, State
from repository import DOCS, PACKAGE, ROOT

README = ROOT / "README.md"
COMMANDS = sorted(clipspool.list_commands(click.Context(clipspool)))
SHARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
    "shared-data"
]
"""What is installed beside the program, by its place in the sources."""
INDENTED = re.compile(r"(?<=\n\n)(?:(?:    [^\n]*)?\n)+")
"""A block of code that is set in by four spaces."""
DOCUMENTS = [README, ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]


@pytest.fixture(scope="module")
def readme():
    assert README.exists(), "there is no README.md"
    return README.read_text()


@pytest.fixture(scope="module")
def architecture():
    return (DOCS / "architecture.md").read_text()


@pytest.fixture(scope="module")
def made():
    return runpy.run_path(str(DOCS / "made.py"))


def test_the_readme_is_short(readme):
    assert len(readme.splitlines()) <= 200


@pytest.mark.parametrize("name", ["configuration", "architecture"])
def test_what_is_made_from_the_code_is_up_to_date(made, name):
    assert (DOCS / f"{name}.md").read_text() == made[name](), "run `python docs/made.py`"


def test_every_key_stands_in_the_documentation_of_the_configuration():
    sections = re.split(r"^## ", (DOCS / "configuration.md").read_text(), flags=re.MULTILINE)
    tables = {section.partition("`\n")[0].strip("`[]"): section for section in sections}
    assert set(Settings.model_fields) - set(tables) == {"models"}, "its table is named for a model"
    for title, field in Settings.model_fields.items():
        kind = field.annotation.__args__[0] if title == "inbox" else field.annotation
        for key in getattr(kind, "model_fields", ()):
            own_table = f"{title}.{key}"
            assert own_table in tables or f"| `{key}` |" in tables[title], f"[{title}] {key}"


@pytest.mark.parametrize("held", Held)
def test_the_runbook_has_a_row_for_every_reason_to_hold_a_job(held):
    rows = [row for row in (DOCS / "operating.md").read_text().splitlines() if row.startswith("| `")]
    assert any(f"`{held.value}`" in row.split("|")[1] for row in rows), f"no row for `{held.value}`"


@pytest.mark.parametrize("state", State)
def test_the_architecture_explains_every_state_in_its_table(architecture, state):
    rows = [line for line in architecture.splitlines() if line.lstrip().startswith("|")]
    assert any(f"`{state.value}`" in row.split("|")[1] for row in rows), f"no row for `{state.value}`"


def test_the_table_has_no_state_that_there_is_not(architecture):
    table = re.search(r"^\|[^\n]*`queued`.*?(?=\n[^|]|\Z)", architecture, re.DOTALL | re.MULTILINE)
    assert table, "there is no table of states"
    named = {word for row in table[0].splitlines() for word in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == {state.value for state in State}


def test_the_manual_pages_name_every_command_key_of_an_inbox_and_key_of_a_sidecar():
    pages = runpy.run_path(str(DOCS / "man.py"))["pages"]()
    assert [name for name in COMMANDS if f"\n.SS {name}" not in pages["clipspool.1"]] == []
    keys = Settings.model_fields["inbox"].annotation.__args__[0].model_fields.keys() - {"defaults"}
    assert [key for key in keys if f"\\fB{key}\\fR" not in pages["clipspool.toml.5"]] == []
    sidecar = pages["clipspool-sidecar.5"]
    assert "\n\\fBprompt\\fR\n" in sidecar
    assert "\n.IP \\(bu 2\nA preset in the inbox wins" in sidecar, "each point of a list on its own"
    assert not re.search(r"\*\w|\n\\&?- |\\fB(in|key)\\fR", sidecar), "marks of Markdown, heads of tables"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_names_every_command(readme, command):
    assert re.search(rf"\bclipspool (?:[\w-]+\|)*{re.escape(command)}\b", readme), f"`clipspool {command}`"


def test_the_readme_names_no_command_that_there_is_not(readme):
    blocks = re.findall(r"```[^\n]*\n(.*?)```", readme, re.DOTALL)
    typed = [line.lstrip(" $") for block in blocks for line in block.splitlines()]
    typed += re.findall(r"(?<!`)`([^`\n]+)`(?!`)", readme)
    named = [found[1] for line in typed if (found := re.match(r"clipspool ([a-z][a-z|-]*)", line))]
    assert {word for words in named for word in words.split("|")} - set(COMMANDS) == set()


def test_the_documentation_names_every_table_that_a_reload_refuses_to_change():
    sentence = (DOCS / "configuration.md").read_text().partition("needs a restart: ")[2].partition("\n\n")[0]
    for key in NEEDS_RESTART:
        assert f"`[{key.partition('.')[0]}]`" in sentence, key
    assert all(f"`{key}`" in sentence for key in NEEDS_RESTART_OF_INBOX)


def typed_in(text):
    """Yield what a document has a reader type: code within lines, and the lines of blocks of code."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    lines = chain.from_iterable(block.splitlines() for block in blocks)
    indented = re.findall(r"^    (.+)", text, re.MULTILINE)
    for line in chain(lines, indented, re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)):
        yield from re.split(r" && |; | \| ", line.partition(" #")[0])


def options_of(words):
    """Return the options of the command that words name, and of its group; None where there is none."""
    command, options = clipspool, set()
    for word in words:
        if not isinstance(command, click.Group) or word.startswith("-"):
            break
        command = command.get_command(click.Context(command), word.partition("|")[0])
        if command is None:
            return None
        options |= {name for one in command.get_params(click.Context(command)) for name in one.opts}
    return options


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_command_that_a_document_has_typed_exists_with_its_options(document):
    for line in typed_in(document.read_text().replace("\\|", "|")):
        if found := re.match(r"(?:/opt/clipspool/bin/|\.venv/bin/)?clipspool ([a-z].*)", line):
            first, *rest = found[1].split()
            for name in first.split("|"):
                options = options_of([name, *rest])
                assert options is not None, line
                assert {word for word in rest if re.match(r"--?[a-z]", word)} - options == set(), line


def test_the_page_of_the_sidecar_lists_every_key_and_no_other():
    table = (DOCS / "sidecar.md").read_text().partition("| key |")[2].partition("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    listed = {name.strip("[]") for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    assert listed == {*KEYS, "variant", "matrix"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_sample_of_a_configuration_or_a_sidecar_is_accepted(document, tmp_path):
    text = document.read_text()
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    blocks += ["\n".join(line[4:] for line in found.splitlines()) for found in INDENTED.findall(text)]
    for sample in blocks:
        try:
            values = tomllib.loads(sample)
        except tomllib.TOMLDecodeError:
            continue  # what is typed at a shell, or a picture of folders
        if values.keys() & Settings.model_fields.keys():
            file = tmp_path / "config.toml"
            inbox = '\n[[inbox]]\nname = "bay-1"\npath = "in"\noutbox = "out"\n'
            file.write_text(sample + inbox * ("inbox" not in values))
            load(file, {"HOME": str(tmp_path)}, looks=False, needs="none")
        else:
            ours = {key: value for key, value in values.items() if key not in {"variant", "matrix"}}
            assert list(problems_in(ours)) == [], sample


def test_the_words_of_the_page_that_its_documentation_names_are_on_it():
    named = re.findall(r"(?<!\*)\*(\w[^*\n]+)\*(?!\*)", (DOCS / "page.md").read_text())
    drawn = "".join(one.read_text() for one in (PACKAGE / "web/templates").glob("*.html"))
    assert [words for words in named if words not in drawn] == []
    assert "Mend" in named


def test_what_the_documentation_points_to_is_installed_with_it(readme):
    pointed = set(re.findall(r"\]\(([^)#:]+)\)", readme))
    every = "".join(document.read_text() for document in DOCUMENTS)
    pointed |= set(re.findall(r"`(config\.example\.toml|systemd/[\w.-]+)`", every))
    assert {"docs/install.md", "systemd/grafana-dashboard.json", "config.example.toml"} <= pointed
    missing = {one for one in pointed if one not in SHARED and one.partition("/")[0] not in SHARED}
    assert missing == {"LICENSE"}, "which is part of the package's own metadata"
    assert all(place == f"share/doc/clipspool/{one}" for one, place in SHARED.items())


def test_every_option_of_every_command_says_what_it_is_for():
    def options(command, context):
        yield from (one for one in command.params if isinstance(one, click.Option) and not one.hidden)
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                yield from options(command.get_command(context, name), context)

    assert {one.name for one in options(clipspool, click.Context(clipspool)) if not one.help} == set()
