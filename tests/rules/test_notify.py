"""Which news people are told of, when, and in which words."""

import base64
import itertools
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from clipspool.jobs.events import (
    AnswerLost,
    Cancelled,
    Connected,
    Delivered,
    Failed,
    JobHeld,
    Retried,
    StageFailed,
    TaskSeen,
)
from clipspool.jobs.messages import (
    Accepted,
    DailyLimitReached,
    Happened,
    InboxChanged,
    JournalRestored,
    PeerLost,
    ProviderBlocked,
    ProviderUnblocked,
    Retired,
)
from clipspool.jobs.model import Error, Held, State
from clipspool.jobs.records import Life, Peer
from clipspool.reporting.notify.courier import Interests
from clipspool.reporting.notify.digest import NOTES_MAX, Digest, NoticeMessage
from clipspool.reporting.notify.notes import MOMENT_SECONDS, QUIET_SECONDS, STUCK_ATTEMPTS, Note, Reporter
from clipspool.reporting.notify.signing import headers_of, read_secret
from clipspool.reporting.notify.topics import Topic
from clipspool.reporting.notify.wording import body_of, payload_of, title_of
from fakes import BUSY, NO_CREDITS, NOON, a_clip, a_job

S = State
ERROR = Error("SAFETY.INPUT", "it was moderated", "Change the prompt.")
AT_SECRET = "https://results.test/x.mp4?X-Signature=c0ffee&token=hidden"


def moved(before, after, event, **changes):
    job = a_job(state=before)
    return Happened(job, replace(job, state=after, **changes), event)


def failed(**changes):
    return moved(S.RUNNING, S.FAILED, Failed(ERROR), **{"error": ERROR, **changes})


def topics(notes):
    return [note.topic for note in notes]


def a_note(topic=Topic.FAILED, at=NOON, words="shot.mp4 failed", **changes):
    return Note(topic, at, words, **{"inbox": "bay", **changes})


# --- what is worth a note ---------------------------------------------------------------------------------


def test_a_failure_says_of_which_clip_why_and_what_to_do():
    (note,) = Reporter().notes_for(failed(), NOON)
    assert note.topic is Topic.FAILED
    assert note.text == "day/shot.mp4 in bay failed: it was moderated. Change the prompt."
    assert (note.facts["job"], note.facts["code"], note.facts["paid"]) == ("clip1", "SAFETY.INPUT", "no")
    assert note.inbox == "bay"


def test_a_lost_answer_says_that_money_may_be_spent():
    news = moved(S.SUBMITTING, S.IN_DOUBT, AnswerLost("no answer came", {}), held=Held.IN_DOUBT)
    (note,) = Reporter().notes_for(news, NOON)
    assert note.topic is Topic.IN_DOUBT
    assert "may have been charged" in note.text


def test_a_clip_that_a_crash_left_in_doubt_is_told_when_it_is_found():
    job = a_job(state=S.IN_DOUBT, held=Held.IN_DOUBT)
    assert topics(Reporter().notes_for(Accepted(a_clip(), (job,)), NOON)) == [Topic.IN_DOUBT]


@pytest.mark.parametrize(("held", "topic"), [(Held.BUDGET, Topic.BUDGET), (Held.DUPLICATE, Topic.HELD)])
def test_a_job_that_is_set_aside_says_how_it_goes_on(held, topic):
    news = moved(S.QUEUED, S.QUEUED, JobHeld(held, "why"), held=held, reason="it costs too much")
    (note,) = Reporter().notes_for(news, NOON)
    assert note.topic is topic
    assert "clipspool approve clip1" in note.text


def test_an_overdue_task_is_told_once():
    reporter, event = Reporter(), TaskSeen("RUNNING", rendering=True)
    job = a_job(state=S.RUNNING)
    overdue = replace(job, held=Held.OVERDUE)
    assert topics(reporter.notes_for(Happened(job, overdue, event), NOON)) == [Topic.HELD]
    assert reporter.notes_for(Happened(overdue, overdue, event), NOON) == []


def test_a_stage_that_fails_is_told_only_once_it_has_gone_on():
    reporter = Reporter()
    event = StageFailed("DISK", "no space left", held=Held.OUTBOX)
    job = a_job(state=S.FETCHED)
    told = []
    for attempts in range(1, 8):
        after = replace(job, held=Held.OUTBOX, attempts=attempts)
        told += [attempts] * len(reporter.notes_for(Happened(job, after, event), NOON))
        job = after
    assert told == [3]


@pytest.mark.parametrize("code", ["HOOK", "TRANSPORT.BUCKET"])
def test_what_keeps_clips_from_being_sent_is_told_once_it_has_gone_on_and_once_for_all(code):
    reporter, event = Reporter(), StageFailed(code, "it failed")
    told = []
    for clip in ("clip1", "clip2"):
        job = a_job(clip)
        for attempts in range(1, 13):
            after = replace(job, attempts=attempts, reason="it failed")
            told += reporter.notes_for(Happened(job, after, event), NOON)
            job = after
    assert topics(told) == [Topic.HELD]
    assert "it failed. It is tried again by itself; see `clipspool show clip1`." in told[0].text
    sent = replace(job, state=S.SUBMITTING, attempts=0)
    assert reporter.notes_for(Happened(job, sent, Connected("profile")), NOON) == []
    stuck = replace(job, attempts=STUCK_ATTEMPTS)
    assert topics(reporter.notes_for(Happened(job, stuck, event), NOON)) == [Topic.HELD]


def test_a_full_outbox_is_told_once_for_all_clips_that_wait_for_it_and_again_after_it_had_room():
    reporter, waits = Reporter(), StageFailed("OUTBOX.FULL", "no room", held=Held.OUTBOX)
    jobs = [a_job(f"clip{number}", held=Held.OUTBOX, attempts=2) for number in range(3)]
    held = [replace(job, attempts=3) for job in jobs]
    hear = lambda before, after, event: reporter.notes_for(Happened(before, after, event), NOON)  # noqa: E731
    notes = [note for job, after in zip(jobs, held, strict=True) for note in hear(job, after, waits)]
    assert topics(notes) == [Topic.HELD]
    assert "Free space there" in notes[0].text
    free = replace(held[0], state=S.SUBMITTING, held=None, attempts=0)
    assert hear(held[0], free, Connected("profile")) == []
    assert topics(hear(jobs[1], held[1], waits)) == [Topic.HELD]


def test_ordinary_progress_is_worth_no_note():
    reporter = Reporter()
    for news in (
        Accepted(a_clip(), (a_job(),)),
        moved(S.RUNNING, S.RUNNING, TaskSeen("RUNNING", rendering=True), progress=0.5),
        moved(S.FETCHED, S.DELIVERED, Delivered(())),
        moved(S.QUEUED, S.CANCELLED, Cancelled("me")),
        InboxChanged("bay", "watching", "", "events"),
        ProviderUnblocked(),
    ):
        assert reporter.notes_for(news, NOON) == []


def test_trouble_of_the_account_is_told_at_once_and_once_and_so_is_its_end():
    reporter = Reporter()
    told = [
        reporter.notes_for(ProviderBlocked(NO_CREDITS, NOON + 60, is_new=True), NOON + n) for n in range(3)
    ]
    assert [topics(notes) for notes in told] == [[Topic.PROVIDER_BLOCKED], [], []]
    assert "Buy credits." in told[0][0].text
    assert topics(reporter.notes_for(ProviderUnblocked(), NOON + 9)) == [Topic.PROVIDER_BACK]
    assert reporter.notes_for(ProviderUnblocked(), NOON + 10) == []


def test_an_older_journal_that_was_put_back_is_told_with_the_way_out():
    (note,) = Reporter().notes_for(JournalRestored(), NOON)
    assert note.topic is Topic.PROVIDER_BLOCKED
    assert "clips are not submitted" in note.text
    assert "clipspool resume --accept-restored" in note.text


def test_trouble_of_the_moment_is_told_once_it_has_gone_on_and_not_when_it_passes():
    reporter = Reporter()
    assert reporter.notes_for(ProviderBlocked(BUSY, NOON + 20, is_new=True), NOON) == []
    assert reporter.tick(NOON + MOMENT_SECONDS - 1) == []
    assert reporter.notes_for(ProviderUnblocked(), NOON + MOMENT_SECONDS - 1) == []
    assert reporter.tick(NOON + 2 * MOMENT_SECONDS) == []
    later = NOON + 3 * MOMENT_SECONDS
    reporter.notes_for(ProviderBlocked(BUSY, later + 20, is_new=True), later)
    reporter.notes_for(ProviderBlocked(BUSY, later + 500, is_new=False), later + 300)
    assert topics(reporter.tick(later + MOMENT_SECONDS)) == [Topic.PROVIDER_BLOCKED]
    assert reporter.tick(later + MOMENT_SECONDS + 1) == []
    assert topics(reporter.notes_for(ProviderUnblocked(), later + 700)) == [Topic.PROVIDER_BACK]


def test_an_inbox_is_told_offline_once_and_back_once():
    reporter = Reporter()
    gone = InboxChanged("bay", "offline", "the mount is gone", "events")
    notes = [reporter.notes_for(gone, NOON), reporter.notes_for(replace(gone, reason="stale handle"), NOON)]
    assert [topics(n) for n in notes] == [[Topic.INBOX_OFFLINE], []]
    assert "the mount is gone" in notes[0][0].text
    back = InboxChanged("bay", "watching", "", "rescan")
    assert topics(reporter.notes_for(back, NOON)) == [Topic.INBOX_BACK]
    assert reporter.notes_for(replace(back, detect="events"), NOON) == []


def test_a_spent_day_is_told():
    (note,) = Reporter().notes_for(DailyLimitReached("today's 20 credits are used up (15 spent)"), NOON)
    assert note.topic is Topic.BUDGET
    assert "today's 20 credits are used up" in note.text


def test_a_job_that_is_dearer_than_any_day_is_not_said_to_go_on_tomorrow():
    why = "it would cost about 25 credits, and a day may cost 20"
    (note,) = Reporter().notes_for(DailyLimitReached(why, a_job(path="day/shot.mp4")), NOON)
    assert (note.topic, note.facts["job"]) == (Topic.BUDGET, "clip1")
    todo = "`clipspool approve clip1` or `clipspool cancel clip1`."
    assert note.text == f"day/shot.mp4 in bay waits for approval: {why}. {todo}"


# --- batches ----------------------------------------------------------------------------------------------


def end(reporter, job_id, state=S.DELIVERED, at=NOON, inbox="bay"):
    before = a_job(job_id, state=S.FETCHED, inbox=inbox)
    event = Delivered(()) if state is S.DELIVERED else Failed(ERROR)
    error = ERROR if state is S.FAILED else None
    return reporter.notes_for(Happened(before, replace(before, state=state, error=error), event), at)


def accept(reporter, *job_ids, inbox="bay"):
    for job_id in job_ids:
        reporter.notes_for(Accepted(a_clip(job_id, inbox=inbox), (a_job(job_id, inbox=inbox),)), NOON)


def batches(reporter, now):
    return [note.facts for note in reporter.tick(now) if note.topic is Topic.BATCH_FINISHED]


def test_a_batch_is_finished_when_its_last_job_has_ended_and_nothing_comes_for_a_while():
    reporter = Reporter()
    accept(reporter, "a", "b", "c")
    end(reporter, "a")
    end(reporter, "b", S.FAILED)
    assert batches(reporter, NOON + 500) == []
    end(reporter, "c", at=NOON + 600)
    assert batches(reporter, NOON + 600 + QUIET_SECONDS - 1) == []
    assert batches(reporter, NOON + 600 + QUIET_SECONDS) == [
        {"inbox": "bay", "delivered": 2, "failed": 1, "cancelled": 0, "waiting": 0}
    ]
    assert batches(reporter, NOON + 9_000) == []


def test_a_clip_that_comes_in_the_quiet_belongs_to_the_same_batch():
    reporter = Reporter()
    accept(reporter, "a")
    end(reporter, "a")
    accept(reporter, "b")
    assert batches(reporter, NOON + 500) == []
    end(reporter, "b", at=NOON + 600)
    assert batches(reporter, NOON + 700)[0]["delivered"] == 2


def test_a_job_that_waits_for_a_person_does_not_keep_a_batch_open():
    reporter = Reporter()
    accept(reporter, "a", "b")
    doubt = a_job("b", state=S.SUBMITTING)
    lost = replace(doubt, state=S.IN_DOUBT, held=Held.IN_DOUBT)
    reporter.notes_for(Happened(doubt, lost, AnswerLost("", {})), NOON)
    end(reporter, "a")
    assert batches(reporter, NOON + 60) == [
        {"inbox": "bay", "delivered": 1, "failed": 0, "cancelled": 0, "waiting": 1}
    ]


def test_inboxes_have_batches_of_their_own():
    reporter = Reporter()
    accept(reporter, "a")
    accept(reporter, "b", inbox="far")
    end(reporter, "b", inbox="far")
    assert [facts["inbox"] for facts in batches(reporter, NOON + 60)] == ["far"]


def test_what_was_open_before_the_start_belongs_to_the_batch():
    reporter = Reporter({"bay": (2, 1)})
    end(reporter, "a")
    assert batches(reporter, NOON + 60) == []
    end(reporter, "b")
    assert batches(reporter, NOON + 60)[0]["waiting"] == 1


def test_a_failed_job_that_is_retried_has_not_failed():
    reporter = Reporter()
    accept(reporter, "a")
    end(reporter, "a", S.FAILED)
    job = a_job("a", state=S.FAILED, error=ERROR)
    reporter.notes_for(Happened(job, replace(job, state=S.QUEUED, error=None), Retried("me")), NOON)
    end(reporter, "a")
    assert batches(reporter, NOON + 60) == [
        {"inbox": "bay", "delivered": 1, "failed": 0, "cancelled": 0, "waiting": 0}
    ]


def test_at_the_end_a_batch_is_told_without_waiting_for_the_quiet():
    reporter = Reporter()
    accept(reporter, "a")
    end(reporter, "a")
    assert topics(reporter.finish(NOON)) == [Topic.BATCH_FINISHED]
    assert Reporter().finish(NOON) == []


# --- when -------------------------------------------------------------------------------------------------


def test_the_first_goes_at_once_and_the_next_of_its_kind_together_later():
    digest = Digest(300.0)
    digest.add(a_note(), 0.0)
    assert digest.take(0.0).count == 1
    for second in range(1, 50):
        digest.add(a_note(), float(second))
    assert digest.take(299.9) is None
    assert digest.due == 300.0
    assert digest.take(300.0).counts == {Topic.FAILED: 49}
    assert digest.take(9999.0) is None


def test_another_kind_goes_at_once_and_takes_along_what_waits():
    digest = Digest(300.0)
    digest.add(a_note(), 0.0)
    digest.take(0.0)
    digest.add(a_note(), 1.0)
    digest.add(a_note(Topic.IN_DOUBT), 2.0)
    assert digest.take(2.0).counts == {Topic.FAILED: 1, Topic.IN_DOUBT: 1}
    digest.add(a_note(), 3.0)
    assert digest.due == 302.0


def test_after_a_quiet_time_the_next_goes_at_once_again():
    digest = Digest(300.0)
    digest.add(a_note(), 0.0)
    digest.take(0.0)
    digest.add(a_note(), 300.0)
    assert digest.take(300.0) is not None


@given(st.lists(st.tuples(st.sampled_from(list(Topic)), st.integers(0, 3000)), max_size=300))
def test_nothing_is_lost_and_nothing_becomes_a_storm(heard):
    seconds = 300.0
    digest, sent = Digest(seconds), []
    for topic, at in sorted(heard, key=lambda one: one[1]):
        while digest.due <= at:
            due = digest.due
            sent.append((due, digest.take(due)))
        digest.add(a_note(topic), at)
        if (message := digest.take(at)) is not None:
            sent.append((at, message))
    while digest.due < float("inf"):
        due = digest.due
        sent.append((due, digest.take(due)))
    counts = sum((Counter(message.counts) for _, message in sent), Counter())
    assert counts == Counter(topic for topic, _ in heard)
    for begin, _ in sent:
        window = [message for at, message in sent if begin <= at < begin + seconds]
        assert len(window) <= len(Topic)
    assert all(message.count == len(message.notes) + message.left_out for _, message in sent)
    assert all(len(message.notes) <= NOTES_MAX for _, message in sent)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=100))
def test_one_kind_alone_sends_one_message_in_each_time_of_rest(times):
    digest, sent = Digest(300.0), []
    for at in sorted(times):
        while digest.due <= at:
            sent.append(digest.due)
            digest.take(digest.due)
        digest.add(a_note(), at)
        if digest.take(at) is not None:
            sent.append(at)
    assert sent[0] == min(times)
    assert all(later - earlier >= 300.0 for earlier, later in itertools.pairwise(sent))


def test_a_flood_is_counted_and_not_kept():
    digest = Digest(300.0)
    for _ in range(100_000):
        digest.add(a_note(), 0.0)
    message = digest.take(0.0)
    assert (message.count, len(message.notes), message.left_out) == (100_000, NOTES_MAX, 100_000 - NOTES_MAX)


# --- for whom ---------------------------------------------------------------------------------------------


def test_a_receiver_gets_what_it_chose_and_what_is_about_no_single_inbox():
    interests = Interests(frozenset({Topic.FAILED, Topic.PROVIDER_BLOCKED}), frozenset({"bay"}))
    assert interests.wants(a_note())
    assert not interests.wants(a_note(inbox="far"))
    assert not interests.wants(a_note(Topic.HELD))
    assert interests.wants(a_note(Topic.PROVIDER_BLOCKED, inbox=""))
    assert all(Interests().wants(a_note(topic, inbox=inbox)) for topic in Topic for inbox in ("", "x"))


# --- in which words ---------------------------------------------------------------------------------------


def message_of(*notes, more=0):
    counts = Counter(note.topic for note in notes)
    counts[notes[0].topic] += more
    return NoticeMessage(notes, counts)


def test_one_note_is_named_in_the_title_and_many_are_counted():
    (note,) = Reporter().notes_for(failed(), NOON)
    assert title_of(message_of(note)) == "clipspool: failed: day/shot.mp4"
    many = message_of(note, note, a_note(Topic.IN_DOUBT))
    assert title_of(many) == "clipspool: 2 failed, 1 in doubt"


def test_a_long_digest_stays_short_and_says_how_much_more_there_is():
    notes = [a_note(words=f"clip {number} failed: {'because ' * 60}") for number in range(60)]
    body = body_of(message_of(*notes, more=40), "render-1")
    assert len(body) <= 2000
    shown = sum(line.startswith("clip ") for line in body.splitlines())
    assert f"and {100 - shown} more" in body
    assert body.endswith("(render-1)")


@given(st.text(max_size=400))
def test_a_name_of_any_kind_makes_one_printable_line(name):
    words = title_of(message_of(a_note(facts={"clip": name})))
    assert words.isprintable()
    assert len(words) <= 120
    body_of(message_of(a_note(words=name)), "x").encode()


def test_what_must_not_be_read_is_in_no_message():
    fault = replace(
        ERROR, message=f"cannot read {AT_SECRET}", what_to_do="Authorization: Bearer abcdefgh12345678"
    )
    (note,) = Reporter().notes_for(failed(error=fault), NOON)
    message = message_of(note)
    sent = title_of(message) + body_of(message, "x") + json.dumps(payload_of(message, "x", NOON))
    assert "c0ffee" not in sent
    assert "hidden" not in sent
    assert "abcdefgh12345678" not in sent


def test_a_webhook_gets_the_note_itself_or_a_digest():
    (note,) = Reporter().notes_for(failed(), NOON)
    one = payload_of(message_of(note), "render-1", NOON + 5)
    assert (one["type"], one["timestamp"]) == ("failed", "2027-01-15T12:00:00Z")
    assert one["data"]["job"] == "clip1"
    assert one["data"]["origin"] == "render-1"
    many = payload_of(message_of(note, note, more=3), "render-1", NOON + 5)
    assert many["type"] == "digest"
    assert many["data"]["counts"] == {"failed": 5}
    assert many["data"]["left_out"] == 3
    assert [inner["type"] for inner in many["data"]["notes"]] == ["failed", "failed"]


# --- signing ----------------------------------------------------------------------------------------------


@given(
    st.binary(min_size=24, max_size=64),
    st.binary(max_size=200).map(lambda raw: json.dumps(raw.hex()).encode()),
)
def test_the_standards_own_package_accepts_what_we_sign(key, body):
    secret = "whsec_" + base64.b64encode(key).decode()
    at = int(datetime.now(UTC).timestamp())
    headers = headers_of(read_secret(secret), "msg_1", at, body)
    assert Webhook(secret).verify(body, headers) == json.loads(body)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + b" ", headers)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_" + "A" * 100, "not base64 at all!", "whsec_!!!!"]
)
def test_a_secret_that_is_none_is_refused_without_being_repeated(secret):
    with pytest.raises(ValueError, match="24 to 64 bytes") as caught:
        read_secret(secret)
    assert len(secret) < 8 or secret not in str(caught.value)


def test_clips_that_a_dead_machine_left_are_told_with_what_to_type():
    peer = Peer("bay", "aa01", "edit-9", Life.ENDED, 29, NOON - 60)
    (note,) = Reporter().notes_for(PeerLost(peer, "it has ended"), NOON)
    assert note.topic is Topic.PEER_LOST
    assert (note.inbox, note.facts["clips"], note.facts["journal"]) == ("bay", 29, "aa01")
    for said in ("edit-9", "29 accepted clips", "it has ended", "clipspool recover --from aa01"):
        assert said in note.text
    (note,) = Reporter().notes_for(PeerLost(replace(peer, clips=1), "it has ended"), NOON)
    assert note.text.startswith("1 accepted clip of ")
    assert "in bay waits: it has ended. Start it again, or take it over:" in note.text


def test_a_name_that_is_not_utf8_is_escaped_in_every_note_and_its_facts():
    odd = "day/caf\udce9.mp4"
    news = [
        failed(path=odd),
        moved(S.QUEUED, S.QUEUED, JobHeld(Held.POISON, "x"), held=Held.POISON, path=odd),
        Retired(a_clip(path=odd), "it was changed after it was sent"),
    ]
    for one in news:
        (note,) = Reporter().notes_for(one, NOON)
        message = NoticeMessage((note,), {note.topic: 1})
        assert note.facts["clip"] == "day/caf\\xe9.mp4"
        assert json.dumps(payload_of(message, "nas", NOON), ensure_ascii=False).encode(), "it is UTF-8"
        assert "caf\\xe9" in body_of(message, "nas")
