"""The signs of a whole daemon as it is composed, turned by hand."""

import time
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import certifi
import pytest

from clipspool.app.daemon import Daemon
from clipspool.app.node import FarmNode
from clipspool.app.settings import load
from clipspool.app.term import alone
from clipspool.farm.lease import Lease
from clipspool.journal.database import Address
from clipspool.system.process import seconds_since_boot
from clipspool.system.signals import Signals
from receiver import Receiver

SECRET = "whsec_" + "q" * 32 + "c2VjcmV0"


@pytest.fixture
def settings(tmp_path):
    def make(more=""):
        (tmp_path / "config.toml").write_text(
            f'[journal]\npath = "state/journal.sqlite3"\n[[inbox]]\npath = "bay"\noutbox = "out"\n'
            f'detect = "rescan"\n[web]\nlisten = "127.0.0.1:18417"\n[notify]\n{more}\n'
        )
        env = {"HOME": str(tmp_path), "CLIPSPOOL_PROVIDER__API_KEY": "some-key"}
        return load(tmp_path / "config.toml", {**env, "CLIPSPOOL_NOTIFY__WEBHOOK_SECRET": SECRET})

    return make


@pytest.fixture
def daemon(settings):
    daemon = Daemon(settings())
    yield daemon
    daemon.close()


def test_its_stages_ask_its_term_whether_they_may_still_spend_and_move(settings):
    answers = iter([True, False])
    term = replace(alone(settings(), Signals(lambda: None)), may_send=lambda: next(answers))
    with closing(Daemon(settings(), term)) as daemon:
        assert (daemon._stages.may_send(), daemon._stages.may_send()) == (True, False)


@pytest.mark.parametrize("is_sending", [True, False])
def test_a_node_gives_its_lead_back_only_where_no_request_is_on_its_way(settings, is_sending):
    """Whoever takes over at once would doubt it; after the lease its answer is in the ledger."""
    given_back = []
    with closing(FarmNode(settings(), Address("postgresql:///nowhere"))) as node:
        node._membership = SimpleNamespace(trouble="", heir="b", nodes=[], give_back=given_back.append)
        lease = Lease("a", 1, 30.0, seconds_since_boot())
        term = node._term(lease, None)
        assert term.may_send()
        term.close(is_sending)
        assert not term.may_send()
        assert given_back == ([] if is_sending else ["b"])


def turn(daemon):
    daemon.scheduler.turn()
    daemon._report_alive()


def test_a_daemon_that_was_just_built_is_not_well_until_its_inboxes_were_looked_through(daemon):
    turn(daemon)
    parts = daemon.monitoring.health.look()
    assert not parts["ok"]
    assert (parts["turn"]["ok"], parts["journal"]["ok"]) == (True, True)
    assert parts["inboxes"]["bay"]["why"] == "not scanned yet"
    daemon._inboxes["bay"].run_pass(time.monotonic())
    assert daemon.monitoring.health.look()["ok"]


def test_its_metrics_show_its_inboxes_and_its_commits(daemon):
    daemon.scheduler.call_soon(lambda scheduler: scheduler.pauses.set_by_operator(frozenset({"bay"})))
    turn(daemon)
    text = daemon.monitoring.metrics.text().decode()
    assert 'clipspool_inbox_watching{inbox="bay"} 0.0' in text
    assert 'clipspool_jobs{state="queued"} 0.0' in text
    assert 'clipspool_doubts_total{inbox="bay"} 0.0' in text
    assert "clipspool_journal_commit_seconds_count 1.0" in text
    assert 'clipspool_lane_threads{lane="submits"} 16.0' in text


def test_the_provider_is_measured(daemon):
    daemon._gateway.provider.cancel("bad id \n")
    assert 'clipspool_provider_calls_total{call="cancel"' in daemon.monitoring.metrics.text().decode()


def test_other_settings_change_who_is_told(daemon, settings):
    with Receiver() as receiver:
        daemon._apply(settings(f'webhook_url = "{receiver.url}"'))
        (courier,) = daemon.monitoring._notices._couriers
        daemon._apply(settings(f'webhook_url = "{receiver.url}"'))
        assert daemon.monitoring._notices._couriers == (courier,)
        own = f'webhook_url = "{receiver.url}"\n[provider]\nca_file = "{certifi.where()}"'
        daemon._apply(settings(own))
        (other,) = daemon.monitoring._notices._couriers
        assert other._sender._address._ca_file == certifi.where()
        daemon._apply(settings())
        assert daemon.monitoring._notices._couriers == ()
