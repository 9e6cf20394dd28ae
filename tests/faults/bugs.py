"""The bugs of FAULTS §5, planted one at a time into a copy of the program; the bench has to catch each one.

A bug is a list of replacements of source text. A text that is not there exactly once fails loudly: the program
has changed, and the bug has to be planted anew. Usage: python tests/faults/bugs.py [NAME...]
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
PACKAGE = TREE / "daemon" / "clipspool"
SECONDS_MAX = 300
LEASE = "edges/test_lease.py"
PROMISES, NAS, MACHINE = "faults/test_promises.py", "faults/test_nas.py", "edges/test_scheduler_machine.py"


@dataclass(frozen=True)
class Bug:
    """What is planted, and the test that has to fail for it."""

    says: str
    changes: tuple
    """(file, text, what stands in its place), each."""
    caught_by: str

    def plant(self, package):
        """Change a copy of the program; raises ValueError where the program has changed."""
        for file, text, instead in self.changes:
            path = package / file
            source = path.read_text()
            if source.count(text) != 1:
                raise ValueError(f"{file} holds this {source.count(text)} times, not once:\n{text}")
            path.write_text(source.replace(text, instead))
            if path.suffix == ".py":
                compile(path.read_text(), str(path), "exec")


BUGS = {
    "intent-after-post": Bug(
        "the intent is recorded once the answer is there",
        (
            ("provider/runway/post.py", "if not gate(self.witness.is_silent):", "if False:"),
            (
                "provider/runway/post.py",
                "            return self._exchange(itertools.chain([first], pieces))\n",
                (
                    "            answer = self._exchange(itertools.chain([first], pieces))\n"
                    "            gate(lambda: True)\n"
                    "            return answer\n"
                ),
            ),
        ),
        f"{PROMISES}::test_killed_while_the_request_is_on_its_way_it_is_in_doubt_and_never_sent_again",
    ),
    "mark-not-first": Bug(
        "no mark is written before a request leaves",
        (("stages/submit.py", "            self.tools.mark(self.folders.name, self.folders.inbox)\n", ""),),
        "journeys/test_restored.py"
        "::test_an_older_journal_from_the_first_minute_of_a_run_is_known_though_the_daemon_was_killed",
    ),
    "leaving-not-noted": Bug(
        "it is not noted that a request leaves",
        (("stages/submit.py", "            self.send_mark.set_sending()\n", ""),),
        f"{PROMISES}::test_killed_while_the_request_is_on_its_way_it_is_in_doubt_and_never_sent_again",
    ),
    "gate-before-commit": Bug(
        "the request is let go before the intent is committed",
        (
            (
                "scheduler/loop.py",
                "self.defer(lambda: ready.gate.set_result(True))",
                "ready.gate.set_result(True)",
            ),
        ),
        MACHINE,
    ),
    "synchronous-normal": Bug(
        "the journal is written with synchronous=NORMAL",
        (("journal/sqlite.py", '"synchronous": 2,', '"synchronous": 1,'),),
        f"{PROMISES}::test_what_was_about_to_be_paid_for_is_in_the_journal_after_the_power_was_cut",
    ),
    "postgres-undone": Bug(
        "a turn that PostgreSQL undid counts as committed",
        (("journal/postgres.py", 'if ended != "COMMIT":', "if ended is None:"),),
        "edges/test_journal_postgres.py::test_a_transaction_in_which_a_statement_failed_is_no_commit",
    ),
    "postgres-unknown-commit": Bug(
        "a commit whose answer did not come counts as committed",
        (
            (
                "journal/postgres.py",
                "        with translated(self._address):\n            ended = ",
                '        ended = "COMMIT"\n        with suppress(psycopg.OperationalError):\n            ended = ',
            ),
        ),
        "edges/test_journal_postgres.py::test_a_commit_whose_answer_does_not_come_is_no_commit_until_the_journal_"
        "is_read_anew",
    ),
    "no-file-sync": Bug(
        "files are not synced before they get their name",
        (
            (
                "system/atomic.py",
                "    os.fsync(file.fileno())\n    file.close()",
                "    file.close()",
            ),
        ),
        f"{PROMISES}::test_what_was_delivered_is_there_after_the_power_was_cut",
    ),
    "no-folder-sync": Bug(
        "folders are not synced after a name was given",
        (("system/atomic.py", "    try:\n        os.fsync(fd)\n", "    try:\n        os.fstat(fd)\n"),),
        f"{PROMISES}::test_what_was_delivered_is_there_after_the_power_was_cut",
    ),
    "rename-before-verify": Bug(
        "a copy gets its final name before it is compared",
        (
            (
                "system/moves.py",
                "            _compare(temporary, to_folder, digest, name)\n",
                (
                    "            rename_new(temporary, to_folder, to_name, to_folder)\n"
                    "            _compare(to_name, to_folder, digest, name)\n"
                ),
            ),
            (
                "system/moves.py",
                "            (rename_to_own if how.is_alone else rename_new)(temporary, to_folder, to_name, to_folder)\n",
                "",
            ),
        ),
        f"{NAS}::test_a_file_server_that_loses_what_was_written_never_shows_it_under_a_final_name",
    ),
    "written-in-place": Bug(
        "a result from another file system is written under its final name",
        (
            (
                "system/moves.py",
                "    temporary = temporary_name()\n    with open_regular(name, folder) as source",
                "    temporary = to_name\n    with open_regular(name, folder) as source",
            ),
            (
                "system/moves.py",
                "            (rename_to_own if how.is_alone else rename_new)(temporary, to_folder, to_name, to_folder)\n",
                "",
            ),
        ),
        f"{PROMISES}::test_an_outbox_on_another_file_system_shows_a_result_only_when_it_is_whole",
    ),
    "retry-on-timeout": Bug(
        "a paid request whose answer is late is taken for one that was not sent",
        (
            (
                "provider/runway/post.py",
                "            why = describe(error)\n            return Unclear(",
                (
                    "            why = describe(error)\n"
                    "            if isinstance(error, TimeoutError):\n"
                    "                return NothingSent(wire_fault(error))\n"
                    "            return Unclear("
                ),
            ),
            (
                "stages/submit.py",
                '            gated.note("not_submitted", number=gated.number)',
                "            pass",
            ),
        ),
        f"{PROMISES}::test_an_answer_that_comes_too_late_is_in_doubt_and_not_asked_for_again",
    ),
    "redirect-followed": Bug(
        "a paid request follows redirects",
        (
            (
                "provider/runway/client.py",
                "            answer = post.send(gate)\n",
                (
                    "            answer = post.send(gate)\n"
                    "            if getattr(answer, 'status', 0) in (307, 308):\n"
                    "                body.__enter__()\n"
                    "                answer = self._paid_post(call.endpoint, key, open_body(call.body)).send(lambda _: True)\n"
                ),
            ),
        ),
        f"{PROMISES}::test_a_paid_request_that_is_answered_with_a_redirect_is_not_sent_to_another_place[307]",
    ),
    "source-moved-early": Bug(
        "the source moves before `delivered` is recorded",
        (
            (
                "stages/runner.py",
                "        event = deliver(job, clip, folders, self.now(), self.may_send)\n",
                (
                    "        event = deliver(job, clip, folders, self.now(), self.may_send)\n"
                    "        from clipspool.jobs.model import State\n"
                    "        retire(clip, [replace(job, state=State.DELIVERED)], folders, self.may_send)\n"
                ),
            ),
        ),
        f"{PROMISES}::test_a_source_moves_only_once_the_journal_says_delivered",
    ),
    "created-only": Bug(
        "clips are found by `created` events alone",
        (
            (
                "intake/watch.py",
                (
                    ", events.FileMovedEvent, events.FileClosedEvent, events.FileDeletedEvent),\n"
                    "    *(events.DirCreatedEvent, events.DirMovedEvent, events.DirDeletedEvent),\n]"
                ),
                ",)]",
            ),
            (
                "intake/inbox.py",
                "self._rescan_at = now + self._rules.rescan_seconds\n",
                "self._rescan_at = inf\n",
            ),
        ),
        f"{PROMISES}::test_a_clip_renamed_into_place_is_seen",
    ),
    "missing-mount-is-empty": Bug(
        "an empty mount point is taken for a folder from which all was deleted",
        (
            (
                "spool/guard.py",
                "            if found is None and self._known is None:",
                "            if found is None:",
            ),
            ("spool/guard.py", "self._known not in {None, found}", "False"),
        ),
        "faults/test_folders.py::test_a_vanished_inbox_goes_offline_and_its_clips_go_on_when_it_is_back",
    ),
    "close-error-swallowed": Bug(
        "what close says is not heard",
        (
            (
                "system/atomic.py",
                "    os.fsync(file.fileno())\n    file.close()",
                "    os.fsync(file.fileno())\n    with suppress(OSError):\n        file.close()",
            ),
        ),
        f"{NAS}::test_a_file_server_that_says_only_at_close_that_bytes_are_lost_is_heard",
    ),
    "missing-length-trusted": Bug(
        "a download without a length is whole when the wire ends",
        (
            (
                "stages/runner.py",
                '            return Probed("", seen.message)\n        film',
                '            return Probed(f".{kind}")\n        film',
            ),
        ),
        f"{PROMISES}::test_a_result_that_ends_early_without_a_length_is_not_taken_for_whole",
    ),
    "no-jitter": Bug(
        "pauses grow without jitter",
        (("jobs/pacing.py", "return ceiling * max(random(), 0.05)", "return ceiling"),),
        f"{PROMISES}::test_those_that_failed_together_are_not_tried_again_in_step",
    ),
    "doubt-sent-again": Bug(
        "after a crash what may have been sent is sent again",
        (
            (
                "jobs/effects_paid.py",
                "    return replace(lost, held=Held.IN_DOUBT)\n",
                "    return replace(lost, state=State.QUEUED)\n",
            ),
        ),
        f"{PROMISES}::test_killed_while_the_request_is_on_its_way_it_is_in_doubt_and_never_sent_again",
    ),
    "retired-with-open-jobs": Bug(
        "a clip retires with the first of its jobs that ends",
        (
            (
                "journal/journal.py",
                '"retire_ended_clips", ids=list(clip_ids), now=now, open=OPEN',
                '"retire_ended_clips", ids=list(clip_ids), now=now, open=[]',
            ),
        ),
        MACHINE,
    ),
    "unsettled-accepted": Bug(
        "a clip counts as soon as it is seen",
        (
            (
                "intake/settle.py",
                "        self._unsettled.add(name)\n",
                "        self._unsettled.discard(name)\n",
            ),
        ),
        "edges/test_inbox_machine.py",
    ),
    "name-overwritten": Bug(
        "a name that is taken is overwritten",
        (("system/atomic.py", "_RENAME_NOREPLACE = 1", "_RENAME_NOREPLACE = 0"),),
        "edges/test_files.py::test_move_and_copy_never_replace",
    ),
    "key-shown-to-anybody": Bug(
        "the key goes to whoever serves the result",
        (("provider/runway/download.py", "if is_ours and self.key else", "if self.key else"),),
        "edges/test_runway.py::test_the_key_goes_to_the_apis_own_host_only",
    ),
    "stage-files-without-attempt": Bug(
        "two attempts at a stage write files of the same names",
        (
            (
                "spool/workfolder.py",
                'return f"{job.id}.{attempt}{rest}" if attempt else job.id + rest',
                "return job.id + rest",
            ),
        ),
        "edges/test_stages_prepare.py::"
        "test_what_a_machine_made_that_was_given_up_is_neither_sent_nor_in_its_heirs_way",
    ),
    "late-results-count": Bug(
        "what an attempt reports that was given up counts as its heir's",
        (
            (
                "scheduler/loop.py",
                "if flying is None or flying.attempt != done.attempt:",
                "if flying is None:",
            ),
        ),
        "edges/test_elsewhere.py::test_what_a_machine_reports_that_was_given_up_is_ignored",
    ),
    "fence-without-epoch": Bug(
        "a write of the leader asks for its name, and not for its epoch",
        (
            (
                "farm/farm.sql",
                "SELECT 1 FROM leader\nWHERE node = %(node)s AND epoch = %(epoch)s AND until",
                "SELECT 1 FROM leader\nWHERE node = %(node)s AND until",
            ),
        ),
        f"{LEASE}::test_a_former_term_of_the_same_node_writes_nothing_either",
    ),
    "fence-swallowed": Bug(
        "a turn goes on to write after its fence failed",
        (
            (
                "journal/postgres.py",
                "        with translated(self._address), closed_on_error(self._connection):\n            cursor",
                "        with translated(self._address):\n            cursor",
            ),
        ),
        f"{LEASE}::test_a_turn_that_swallows_the_loss_of_the_lease_still_writes_nothing",
    ),
    "fence-unlocked": Bug(
        "there is a take-over within the leader's transaction",
        (("farm/farm.sql", "\nFOR SHARE;", ";"),),
        f"{LEASE}::test_there_is_no_take_over_within_a_transaction_of_the_leader_that_has_begun",
    ),
    "clock-that-sleeps": Bug(
        "the lease is counted by a clock that stops while the machine sleeps",
        (("system/process.py", "time.CLOCK_BOOTTIME", "time.CLOCK_MONOTONIC"),),
        f"{LEASE}::test_the_clock_counts_the_sleep_of_the_machine",
    ),
    "sent-after-the-lease": Bug(
        "a request whose intent is recorded is sent without a look at the lease",
        (("stages/submit.py", "            if not self._may_still_send():", "            if False:"),),
        "edges/test_stages_submit.py"
        "::test_a_daemon_that_lost_its_lead_after_its_line_sends_nothing_and_notes_no_refusal",
    ),
    "doubt-made-ready": Bug(
        "what a leader that died may have sent is queued by the next one",
        (
            (
                "scheduler/cut_short.py",
                "            event = self._interrupted if isinstance(event, on.Interrupted) else event\n",
                "            event = on.NotSent() if isinstance(event, on.Interrupted) else event\n",
            ),
        ),
        "faults/test_farm_machine.py",
    ),
    "take-over-in-two-steps": Bug(
        "the lead is taken from whoever has it by then",
        (
            (
                "farm/farm.sql",
                "    AND epoch = %(epoch)s AND (node = '' OR place = %(place)s OR until < now())\n",
                "",
            ),
        ),
        f"{LEASE}::test_of_two_nodes_that_see_a_lease_run_out_at_once_one_takes_it",
    ),
}


def copied(folder):
    """Copy the program into a folder that goes before it on Python's path."""
    shutil.copytree(PACKAGE, folder / "clipspool", ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "clipspool"


def hunt(name):
    """Plant a bug and run the test that has to catch it; gives the seconds it took and what went wrong, if."""
    bug, begun = BUGS[name], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="clipspool-bug-") as folder:
        try:
            bug.plant(copied(Path(folder)))
        except (ValueError, SyntaxError) as error:
            return 0.0, f"cannot be planted: {error}"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "-m",
            "heavy or not heavy",
        ]
        command += ["--hypothesis-seed=1", f"tests/{bug.caught_by}"]
        env = {
            **os.environ,
            "PYTHONPATH": folder,
            "CLIPSPOOL_TEST_EXAMPLES": "60",
            "CLIPSPOOL_TEST_FARM_STEPS": "6000",
            "CLIPSPOOL_TEST_AS_FOUND": "1",
        }
        try:
            done = subprocess.run(
                command, cwd=TREE, env=env, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
            )
        except subprocess.TimeoutExpired:
            return time.monotonic() - begun, "the test does not end"
    seconds = time.monotonic() - begun
    if done.returncode == 0:
        return (
            seconds,
            "is not caught" if "skipped" not in done.stdout else "skipped: this machine cannot show it",
        )
    if done.returncode != 1 or "Error collecting" in done.stdout:
        return seconds, f"pytest ended with {done.returncode}: {done.stdout[-2000:]}"
    return seconds, ""


def main():
    names = sys.argv[1:] or list(BUGS)
    missed = 0
    nodes = sorted({f"tests/{BUGS[name].caught_by}" for name in names})
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-m", "heavy or not heavy", *nodes]
    if subprocess.run(command, cwd=TREE, check=False).returncode != 0:
        sys.stdout.write("these tests have to pass without a bug first\n")
        return 1
    for name in names:
        seconds, why = hunt(name)
        missed += bool(why)
        sys.stdout.write(f"{name:24} {'caught' if not why else 'MISSED: ' + why} ({seconds:.0f} s)\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(names) - missed} of {len(names)} planted bugs caught\n")
    return missed


if __name__ == "__main__":
    sys.exit(main())
