"""Which inboxes a node of a farm reaches, and which folders it works in: the journal says what they are."""

import contextlib
import itertools
import os
import subprocess
import time
from dataclasses import asdict

import pytest
from psycopg.types.json import Jsonb

import postgres
from clipspool.app.build import name_secret_of
from clipspool.app.folders import InboxFolders
from clipspool.app.node_sight import looks_of
from clipspool.app.node_stages import NodeStages
from clipspool.app.settings import load
from clipspool.cli.check.folders import known_to, look_at_inbox
from clipspool.farm.lease import ask
from clipspool.farm.membership import Membership
from clipspool.farm.nodes import Identity, members
from clipspool.farm.sight import Sight
from clipspool.jobs.assignments import Assignment, new_attempt
from clipspool.jobs.events import Prepared
from clipspool.jobs.lifecycle import Stage
from clipspool.journal import Journal
from clipspool.journal.postgres import connect_beside
from clipspool.spool.guard import Unavailable
from fakes import a_clip, a_job

_NUMBERS = itertools.count()


class Nodes:
    """One journal in a real PostgreSQL, and nodes with settings of their own."""

    def __init__(self, home, *, reads_only=False):
        self.home, self.source = home, "keep" if reads_only else "archive"
        self.address = postgres.shared().schema(f"folders_{os.getpid()}_{next(_NUMBERS)}")
        self.journal = Journal.open(self.address)
        name_secret_of(self.journal)

    def settings(self, node, folder):
        (self.home / folder).mkdir(exist_ok=True)
        file = self.home / f"{node}.toml"
        file.write_text(
            f'[journal]\npath = "{node}.sqlite3"\nurl = "{self.address.url}"\n[farm]\nnode = "{node}"\n'
            f'[[inbox]]\nname = "bay"\npath = "{folder}"\noutbox = "out"\nsource = "{self.source}"\n'
        )
        return load(file, {"HOME": str(self.home)})

    def serve(self, settings, folders=None):
        """Do what a leader does with its folders, and return them."""
        commands = []
        folders = folders or InboxFolders(self.journal, settings.journal.path, lambda _: None)
        folders._next_turn = commands.append
        bay = folders.of(settings)["bay"]
        try:
            bay.inbox.bind()
            bay.outbox.bind()
            if bay.origin is not None:
                bay.origin.bind()
        finally:
            with self.journal.turn():
                for command in commands:
                    command(self)
        return folders


@pytest.fixture
def nodes(tmp_path):
    made = Nodes(tmp_path)
    yield made
    made.journal.close()


@contextlib.contextmanager
def mounted_read_only(folder):
    if subprocess.run(["mount", "--bind", folder, folder], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def sees(look):
    sight = Sight({"bay": look})
    sight.look("bay")
    return sight.names() == {"bay"}


def test_an_inbox_that_was_served_since_a_node_began_is_not_an_empty_folder_in_its_place(nodes):
    there, elsewhere = nodes.settings("a", "bay"), nodes.settings("b", "forgotten")
    one, two = (looks_of(settings)["bay"] for settings in (there, elsewhere))
    assert sees(one)
    assert sees(two), "nobody knows yet what it has to be"
    nodes.serve(there)
    assert sees(one)
    assert not sees(two)
    assert list(elsewhere.inbox[0].path.iterdir()) == [], "nothing is written into it"


def test_a_folder_that_the_operator_accepted_in_an_inboxs_place_is_seen_by_nodes_that_run(nodes):
    settings = nodes.settings("a", "bay")
    folders = nodes.serve(settings)
    look = looks_of(settings)["bay"]
    assert sees(look)
    settings.inbox[0].path.rename(nodes.home / "former")
    settings.inbox[0].path.mkdir()
    assert not sees(look)
    folders.accept("bay")
    nodes.serve(settings, folders)
    assert sees(look)


def test_an_inbox_whose_outbox_is_another_folder_is_not_seen_until_the_operator_accepts_that(nodes):
    """What leads without the outbox delivers nothing, and would keep the lead from a node that could."""
    settings = nodes.settings("a", "bay")
    folders = nodes.serve(settings)
    look, outbox = looks_of(settings)["bay"], settings.inbox[0].outbox
    assert sees(look)
    outbox.rename(nodes.home / "former")
    assert not sees(look)
    outbox.mkdir()
    assert not sees(look)
    assert list(outbox.iterdir()) == []
    folders.accept("bay")
    nodes.serve(settings, folders)
    assert sees(look)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting is root's")
@pytest.mark.parametrize("which", ["path", "outbox"])
def test_an_inbox_that_a_node_cannot_write_to_is_not_seen(nodes, which):
    settings = nodes.settings("a", "bay")
    nodes.serve(settings)
    look, folder = looks_of(settings)["bay"], getattr(settings.inbox[0], which)
    assert sees(look)
    with mounted_read_only(folder):
        assert not sees(look)
    assert sees(look)


def test_an_inbox_that_a_reload_brought_is_looked_at_and_one_that_it_took_is_not():
    looked = []
    sight = Sight({"bay": lambda: looked.append("bay")})
    sight.look("bay")
    sight.use({"bay-2": lambda: looked.append("bay-2")})
    sight.look("bay-2")
    assert sight.names() == {"bay-2"}
    sight.stop()


class TestAnInboxThatIsOnlyRead:
    @pytest.fixture
    def nodes(self, tmp_path):
        made = Nodes(tmp_path, reads_only=True)
        yield made
        made.journal.close()

    def test_an_empty_folder_is_not_taken_for_it_by_a_node_that_serves_it_first(self, nodes):
        """Otherwise what was accepted there would be forgotten as gone, and be paid for again."""
        there, elsewhere = nodes.settings("a", "bay"), nodes.settings("b", "forgotten")
        (there.inbox[0].path / "shot.mp4").touch()
        nodes.serve(there)
        with pytest.raises(Unavailable, match="is empty, and another node has served it; mount it here"):
            nodes.serve(elsewhere)
        assert sees(looks_of(there)["bay"])
        assert not sees(looks_of(elsewhere)["bay"])
        (checked, *_) = look_at_inbox(elsewhere.inbox[0], elsewhere, known_to(nodes.address))
        assert checked.level == "bad"
        assert "is empty, and another node has served it" in checked.why
        (elsewhere.inbox[0].path / "shot.mp4").touch()
        nodes.serve(elsewhere)
        assert sees(looks_of(elsewhere)["bay"])

    def test_an_empty_folder_is_taken_where_the_operator_says_so_and_where_no_other_node_knows_it(
        self, nodes
    ):
        there, elsewhere = nodes.settings("a", "bay"), nodes.settings("b", "forgotten")
        nodes.serve(there)
        folders = InboxFolders(nodes.journal, elsewhere.journal.path, lambda _: None)
        folders.of(elsewhere)
        folders.accept("bay")
        folders.origins["bay"].bind()


class TestStages:
    @pytest.fixture
    def ran(self, monkeypatch):
        """Give the folders in which stages were begun."""
        ran = []

        def prepare(_job, _clip, folders, *_, attempt):
            folders.inbox.bind()
            ran.append(folders.inbox.path)
            return Prepared("ab" * 32, 9, 1, attempt=attempt)

        monkeypatch.setattr("clipspool.stages.runner.prepare", prepare)
        return ran

    @pytest.fixture
    def stages(self, nodes):
        made = []

        def make(settings):
            membership = Membership(None, Identity(settings.farm.name, "", "", "", 1, "0.2.0"), 15.0)
            made.append(NodeStages(settings, nodes.address, membership, frozenset, lambda: False))
            return made[-1]

        yield make
        for one in made:
            one.stop()

    def given(self):
        return Assignment(
            Stage.PREPARE, a_job("clip1", inbox="bay"), a_clip("clip1", inbox="bay"), new_attempt()
        )

    def test_an_inbox_that_was_served_since_a_node_quoted_a_clip_is_worked_on(self, nodes, stages, ran):
        settings = nodes.settings("a", "bay")
        one = stages(settings)
        assert one.runner().tools.folders_of == {}
        with pytest.raises(Unavailable, match="it knows no inbox bay"):
            one._work(self.given())
        nodes.serve(settings)
        one._work(self.given())
        assert ran == [settings.inbox[0].path]

    def test_a_node_of_another_version_is_given_no_stages(self, nodes, stages):
        with connect_beside(nodes.address) as beside:
            for name, version in (("a", "0.2.0"), ("b", "0.2.0"), ("c", "0.2.1"), ("d", "0.1.9")):
                row = {**asdict(Identity(name, name, name, name, 1, version)), "seconds": 15.0}
                ask(beside, "register", {**row, "stages": Jsonb(["prepare"])})
            found = members(beside)
        one = stages(nodes.settings("a", "bay"))
        one._membership.members = found
        assert [other.name for other in one.elsewhere()._read_others()] == ["b"]

    def test_a_nodes_stages_have_the_databases_time(self, nodes, stages, monkeypatch):
        monkeypatch.setattr(time, "time", lambda: 1000.0)
        one = stages(nodes.settings("a", "bay"))
        one._membership._booted_at = 5e6
        assert one.runner().now() >= 5e6
        assert one.runner().tools.depot._now() >= 5e6

    def test_an_empty_folder_in_an_inboxs_place_is_never_worked_in(self, nodes, stages, ran):
        there, elsewhere = nodes.settings("a", "bay"), nodes.settings("b", "forgotten")
        two = stages(elsewhere)
        two.runner()
        nodes.serve(there)
        with pytest.raises(Unavailable, match="is not the inbox it was"):
            two._work(self.given())
        assert ran == []
        assert list(elsewhere.inbox[0].path.iterdir()) == []

    def test_a_folder_that_the_operator_accepted_is_worked_in_after_one_stage_was_given_back(
        self, nodes, stages, ran
    ):
        settings = nodes.settings("a", "bay")
        folders = nodes.serve(settings)
        one = stages(settings)
        one._work(self.given())
        settings.inbox[0].path.rename(nodes.home / "former")
        settings.inbox[0].path.mkdir()
        folders.accept("bay")
        nodes.serve(settings, folders)
        with pytest.raises(Unavailable):
            one._work(self.given())
        one._work(self.given())
        assert len(ran) == 2
