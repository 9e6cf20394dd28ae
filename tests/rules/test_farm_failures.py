"""Each row of the table of failures in docs/farm.md has a test that brings it about."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ROWS = {
    "a node is killed, or loses power": (
        (
            "journeys/test_farm.py",
            "test_a_leader_that_is_killed_half_way_costs_nothing_and_no_time_of_a_person",
        ),
        (
            "faults/test_farm_failpoints.py",
            "test_a_leader_ended_at_a_failpoint_costs_nothing_but_the_request_of_that_instant",
        ),
        ("ground/nas/test_farm.py", "test_when_the_leader_is_killed_half_way_another_node_leads_by_itself"),
    ),
    "a node that worked for the leader is killed": (
        (
            "journeys/test_farm_work.py",
            "test_a_worker_that_dies_or_freezes_in_a_stage_costs_nothing_but_time",
        ),
    ),
    "a node ends by SIGTERM, or is drained": (
        (
            "journeys/test_farm.py",
            "test_every_node_answers_for_all_and_hands_over_at_sigterm_and_when_it_is_drained",
        ),
        (
            "journeys/test_farm_work.py",
            "test_nodes_that_end_while_downloads_stall_give_them_back_and_wait_for_none",
        ),
    ),
    "a node is frozen longer than its lease (a paused virtual machine, SIGSTOP)": (
        ("faults/test_farm_freezes.py", "test_a_leader_that_freezes_at_any_instant_pays_for_nothing_twice"),
        (
            "faults/test_farm_failpoints.py",
            "test_a_leader_frozen_at_a_failpoint_longer_than_its_lease_does_no_harm_when_it_goes_on",
        ),
    ),
    "a node is cut off from the database": (
        (
            "journeys/test_farm.py",
            "test_a_leader_that_is_cut_off_from_the_database_sends_nothing_new_and_follows_when_it_is_back",
        ),
    ),
    "the leader cannot see an inbox that another node sees": (
        (
            "journeys/test_farm.py",
            "test_a_leader_that_cannot_reach_an_inbox_or_its_outbox_hands_over_to_a_node_that_can",
        ),
        ("journeys/test_farm_work.py", "test_a_node_that_does_not_reach_an_inbox_is_given_none_of_its_clips"),
    ),
    "the database restarts or fails over": (
        (
            "journeys/test_farm.py",
            "test_a_database_that_restarts_changes_no_leader_and_nothing_is_paid_twice",
        ),
        (
            "journeys/test_database.py",
            "test_a_database_that_ends_under_a_daemon_costs_no_clip_and_no_second_payment",
        ),
        (
            "journeys/test_database.py",
            "test_a_commit_whose_answer_is_lost_costs_no_clip_and_no_second_payment",
        ),
        ("journeys/test_failover.py", "test_a_synchronous_replica_that_takes_over_is_as_a_restart"),
    ),
    "the database forgot the last second (a replica without `synchronous_standby_names`)": (
        (
            "journeys/test_failover.py",
            "test_a_replica_that_lacks_the_last_second_sends_nothing_again_when_it_takes_over",
        ),
    ),
    "two nodes have one name": (
        ("journeys/test_farm.py", "test_of_two_nodes_with_one_name_the_older_ends_with_a_sentence"),
    ),
    "a node's clock is wrong, or is set while it leads": (
        ("edges/test_lease.py", "test_a_nodes_clock_changes_nothing_of_who_leads"),
        (
            "journeys/test_farm.py",
            "test_nodes_whose_clocks_differ_by_days_follow_each_others_tasks_and_hold_nothing",
        ),
    ),
    "a node's version has another database schema": (
        ("edges/test_lease.py", "test_a_newer_version_does_not_change_the_tables_under_running_nodes"),
        (
            "edges/test_journal_postgres.py",
            "test_a_journal_of_another_version_is_refused_by_readers_and_running_writers",
        ),
    ),
}


def test_each_failure_that_the_documentation_names_has_its_tests():
    table = (REPOSITORY / "docs/farm.md").read_text().partition("## What may fail")[2].partition("\n## ")[0]
    assert re.findall(r"^\| (.+?) \| ", table, re.MULTILINE)[1:] == list(ROWS)


@pytest.mark.parametrize(("file", "name"), [test for tests in ROWS.values() for test in tests])
def test_a_failures_test_is_there(file, name):
    assert f"\ndef {name}(" in (REPOSITORY / "tests" / file).read_text()
