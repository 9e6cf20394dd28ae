-- The statements of the journal that SQLite and PostgreSQL share, by name; what differs stands in `sqlite.sql` and
-- `postgres.sql`. `database.py` reads them.
--
-- `IN :list` stands for the test of a list, `:rows (NAME TYPE, ...)` for a table `new` of rows with these columns, in
-- the order of `rows.py`: each database writes them in its own way. All rows of a turn are written in one step: it is
-- one round trip, and Python releases its lock at each step and gets it back late. PostgreSQL wants a type for a
-- parameter that is only compared with NULL, SQLite the `WHERE true` before an ON CONFLICT.


-- --- what a turn writes ----------------------------------------------------------------------------------

-- name: insert_clips
INSERT INTO clips (id, inbox, path, sidecar, source, size, mtime_ns, accepted_at, sha256, media, lies_at,
    sidecar_lies_at, retired_at)
VALUES (:id, :inbox, :path, :sidecar, :source, :size, :mtime_ns, :accepted_at, :sha256, :media, :lies_at,
    :sidecar_lies_at, :retired_at);

-- name: insert_jobs
INSERT INTO jobs (id, state, priority, due_at, held, reason, updated_at, prepared, approved, cancel_by, attempts,
    doubts, progress, rendering_since, task_number, credits_estimated, error, results, paid, fingerprint, reuse,
    version, prepared_by, chosen, node, parts, clip_id, inbox, variant, request, created_at, part)
SELECT * FROM :rows (
    id TEXT, state TEXT, priority INTEGER, due_at DOUBLE PRECISION, held TEXT, reason TEXT,
    updated_at DOUBLE PRECISION, prepared BOOLEAN, approved BOOLEAN, cancel_by TEXT, attempts INTEGER,
    doubts INTEGER, progress DOUBLE PRECISION, rendering_since DOUBLE PRECISION, task_number INTEGER,
    credits_estimated DOUBLE PRECISION, error TEXT, results TEXT, paid TEXT, fingerprint TEXT, reuse TEXT,
    version INTEGER, prepared_by TEXT, chosen TEXT, node TEXT, parts TEXT, clip_id TEXT, inbox TEXT, variant TEXT,
    request TEXT, created_at DOUBLE PRECISION, part INTEGER
);

-- name: update_jobs
UPDATE jobs SET
    state = new.state,
    priority = new.priority,
    due_at = new.due_at,
    held = new.held,
    reason = new.reason,
    updated_at = new.updated_at,
    prepared = new.prepared,
    approved = new.approved,
    cancel_by = new.cancel_by,
    attempts = new.attempts,
    doubts = new.doubts,
    progress = new.progress,
    rendering_since = new.rendering_since,
    task_number = new.task_number,
    credits_estimated = new.credits_estimated,
    error = new.error,
    results = new.results,
    paid = new.paid,
    fingerprint = new.fingerprint,
    reuse = new.reuse,
    version = new.version,
    prepared_by = new.prepared_by,
    chosen = new.chosen,
    node = new.node,
    parts = new.parts
FROM :rows (
    id TEXT, state TEXT, priority INTEGER, due_at DOUBLE PRECISION, held TEXT, reason TEXT,
    updated_at DOUBLE PRECISION, prepared BOOLEAN, approved BOOLEAN, cancel_by TEXT, attempts INTEGER,
    doubts INTEGER, progress DOUBLE PRECISION, rendering_since DOUBLE PRECISION, task_number INTEGER,
    credits_estimated DOUBLE PRECISION, error TEXT, results TEXT, paid TEXT, fingerprint TEXT, reuse TEXT,
    version INTEGER, prepared_by TEXT, chosen TEXT, node TEXT, parts TEXT
)
WHERE jobs.id = new.id;

-- name: update_requests
UPDATE jobs SET request = :request WHERE id = :id;

-- name: upsert_tasks
INSERT INTO tasks (job_id, number, segment, profile, intent_at, task_id, created_at, credits, credits_reserved,
    succeeded, evidence)
SELECT * FROM :rows (
    job_id TEXT, number INTEGER, segment INTEGER, profile TEXT, intent_at DOUBLE PRECISION, task_id TEXT,
    created_at DOUBLE PRECISION, credits DOUBLE PRECISION, credits_reserved DOUBLE PRECISION, succeeded BOOLEAN,
    evidence TEXT
)
WHERE true
ON CONFLICT (job_id, number, segment) DO UPDATE SET
    profile = excluded.profile, intent_at = excluded.intent_at, task_id = excluded.task_id,
    created_at = excluded.created_at, credits = excluded.credits, credits_reserved = excluded.credits_reserved,
    succeeded = excluded.succeeded, evidence = excluded.evidence;

-- name: insert_events
INSERT INTO events (at, clip_id, job_id, event, from_state, to_state, facts)
SELECT * FROM :rows (
    at DOUBLE PRECISION, clip_id TEXT, job_id TEXT, event TEXT, from_state TEXT, to_state TEXT, facts TEXT
);

-- name: update_prepared_clips
-- A prepared clip lies in its work folder.
UPDATE clips SET
    sha256 = new.sha256,
    size = new.size,
    mtime_ns = new.mtime_ns,
    media = coalesce(new.media, clips.media),
    lies_at = NULL,
    sidecar_lies_at = NULL
FROM :rows (id TEXT, sha256 TEXT, size BIGINT, mtime_ns BIGINT, media TEXT)
WHERE clips.id = new.id;

-- name: update_moved_clips
UPDATE clips SET lies_at = :lies_at, sidecar_lies_at = :sidecar_lies_at, retire_due = NULL,
    retired_at = coalesce(:retired_at, retired_at)
WHERE id = :id;

-- name: retire_ended_clips
UPDATE clips SET retire_due = :now, retire_attempts = 0
WHERE id IN :ids AND NOT EXISTS (
    SELECT 1 FROM jobs WHERE clip_id = clips.id AND state IN :open
);

-- name: retire_clips_again
UPDATE clips SET retire_due = :now
WHERE retired_at IS NULL AND retire_due IS NULL AND (CAST(:inbox AS TEXT) IS NULL OR inbox = :inbox) AND NOT EXISTS (
    SELECT 1 FROM jobs WHERE clip_id = clips.id AND state IN :open
);

-- name: retire_clip_later
UPDATE clips SET retire_due = :due_at, retire_attempts = :attempts WHERE id = :id;

-- name: set_clip_aside
UPDATE clips SET retire_due = NULL WHERE id = :id;

-- name: chosen_jobs
-- Of one name of an inbox.
SELECT jobs.id FROM jobs JOIN clips ON clips.id = jobs.clip_id
WHERE jobs.chosen IS NOT NULL AND clips.inbox = :inbox AND clips.path = :path;

-- name: newest_version
-- Of one name of an inbox and its variant, as long as the clip is the same film. Of other drops of it those that
-- failed, were cancelled or were served by another's result left nothing under a name of their own.
SELECT coalesce(max(version), 0) AS version FROM jobs
WHERE clip_id IN (
    SELECT id FROM clips WHERE sha256 = :sha256 AND inbox = :inbox AND path = :path
    UNION SELECT CAST(:clip_id AS TEXT)
) AND variant = :variant AND part = 0 AND id != :but
    AND (clip_id = :clip_id OR (state NOT IN ('failed', 'cancelled') AND reuse IS NULL));

-- name: delete_history
-- The newest event stays: its number says how far the journal has come, and must not go back.
DELETE FROM events WHERE clip_id IN :ids AND id < (SELECT max(id) FROM events);

-- name: delete_jobs
DELETE FROM jobs WHERE clip_id IN :ids;

-- name: delete_clips
DELETE FROM clips WHERE id IN :ids;

-- name: bring_clip_back
UPDATE clips SET retired_at = NULL, retire_due = NULL WHERE id = :id;

-- name: set_fact
INSERT INTO facts (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: delete_fact
DELETE FROM facts WHERE name = :name;


-- --- when the clock was set ------------------------------------------------------------------------------

-- name: bring_clips_forward
UPDATE clips SET retire_due = :now WHERE retire_due > :now;

-- name: shift_tasks
UPDATE tasks SET created_at = created_at + :seconds
WHERE job_id IN (SELECT id FROM jobs WHERE state = :state);

-- name: shift_jobs
UPDATE jobs SET rendering_since = rendering_since + :seconds WHERE state = :state;


-- --- jobs and clips --------------------------------------------------------------------------------------

-- name: jobs
-- Whole jobs, each with its clip's path and its current task.
SELECT jobs.*, clips.path, tasks.profile AS task_profile, tasks.intent_at AS task_intent_at,
    tasks.task_id AS task_task_id, tasks.created_at AS task_created_at, tasks.credits AS task_credits,
    tasks.succeeded AS task_succeeded, tasks.evidence AS task_evidence
FROM jobs
JOIN clips ON clips.id = jobs.clip_id
LEFT JOIN tasks ON tasks.job_id = jobs.id AND tasks.number = jobs.task_number AND tasks.segment = 0
WHERE jobs.id IN :ids;

-- name: clips
SELECT * FROM clips WHERE id IN :ids;

-- name: known_clips
SELECT id FROM clips WHERE id IN :ids;

-- name: clips_not_retired
SELECT id FROM clips WHERE inbox = :inbox AND retired_at IS NULL;

-- name: clips_with_sources
SELECT id FROM clips
WHERE inbox = :inbox AND retired_at <= :until AND lies_at IS NOT NULL AND id > :after ORDER BY id LIMIT :most;

-- name: clips_with_history
SELECT id FROM clips
WHERE inbox = :inbox AND retired_at <= :until AND id > :after AND (
    EXISTS (SELECT 1 FROM events WHERE clip_id = clips.id AND id < (SELECT max(id) FROM events))
    OR lies_at IS NULL AND NOT EXISTS (
        SELECT 1 FROM jobs WHERE clip_id = clips.id AND (paid != 'no' OR task_number IS NOT NULL)
    )
)
ORDER BY id LIMIT :most;

-- name: clips_never_submitted
-- Nothing was sent for them, and nothing of theirs lies in an inbox: nothing depends on what they were.
SELECT id FROM clips WHERE id IN :ids AND lies_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM jobs WHERE clip_id = clips.id AND (paid != 'no' OR task_number IS NOT NULL)
);

-- name: jobs_of_clips
SELECT id FROM jobs WHERE clip_id IN :ids ORDER BY id;

-- name: open_jobs_of_clip
SELECT count(*) FROM jobs WHERE clip_id = :clip_id AND state IN :open;

-- name: newest_jobs
SELECT id FROM jobs WHERE (CAST(:inbox AS TEXT) IS NULL OR inbox = :inbox) AND (part = 0 OR CAST(:parts AS BOOLEAN))
ORDER BY created_at DESC, id LIMIT :most;

-- name: newest_jobs_in
SELECT id FROM jobs
WHERE state IN :states AND (CAST(:inbox AS TEXT) IS NULL OR inbox = :inbox)
    AND (part = 0 OR CAST(:parts AS BOOLEAN))
ORDER BY created_at DESC, id LIMIT :most;

-- name: same_request
-- A job that failed, or was cancelled, is a reason to hold another only where something may have been paid for it.
SELECT id FROM jobs
WHERE fingerprint = :fingerprint AND clip_id != :clip_id AND id NOT IN :apart_from
    AND (held IS NULL OR held != 'duplicate') AND (state NOT IN ('failed', 'cancelled') OR paid != 'no')
ORDER BY created_at, id LIMIT :most;

-- name: duplicates
SELECT id FROM jobs
WHERE fingerprint = :fingerprint AND clip_id != :clip_id AND state = 'queued' AND held = 'duplicate';

-- name: clips_by_fingerprint
SELECT fingerprint, count(DISTINCT clip_id) AS number FROM jobs WHERE fingerprint IN :fingerprints GROUP BY fingerprint;


-- --- what is due -----------------------------------------------------------------------------------------

-- name: next_due
SELECT min(due_at) FROM jobs WHERE state = :state AND due_at > :now;

-- name: count_for_disk
SELECT count(*) FROM jobs WHERE state = 'queued' AND held IN :held;

-- name: soonest_retirement
SELECT min(retire_due) FROM clips WHERE retire_due IS NOT NULL;

-- name: next_retirement
SELECT min(retire_due) FROM clips WHERE retire_due > :now;


-- --- counts and tasks ------------------------------------------------------------------------------------

-- name: count_by_state
-- Parts of long clips included.
SELECT state, count(*) AS number FROM jobs GROUP BY 1;

-- name: count_parts_by_state
SELECT state, count(*) AS number FROM jobs WHERE part > 0 GROUP BY 1;

-- name: count_open_alike
SELECT inbox, state, held, due_at > :now AS is_later, attempts > 0 OR reason != '' AS is_tried_again,
    count(*) AS number
FROM jobs WHERE state IN :open AND part = 0
GROUP BY 1, 2, 3, 4, 5;

-- name: count_open
SELECT inbox, state, held, count(*) AS number FROM jobs
WHERE state IN :open AND part = 0
GROUP BY inbox, state, held;

-- name: followed_tasks
SELECT tasks.task_id, tasks.job_id FROM tasks JOIN jobs ON jobs.id = tasks.job_id
WHERE jobs.state IN ('running', 'rendered', 'fetched') AND tasks.task_id IS NOT NULL;

-- name: follower
SELECT jobs.id FROM jobs JOIN tasks ON tasks.job_id = jobs.id AND tasks.number = jobs.task_number
WHERE tasks.task_id = :task_id AND tasks.segment = 0 AND jobs.id != :but
    AND jobs.state IN ('running', 'rendered', 'fetched', 'delivered')
LIMIT 1;


-- --- money -----------------------------------------------------------------------------------------------

-- A task counts as spent once it was made, or may have been, or its request is on the way. What it cost is what
-- was charged or, until that is known, what was estimated. `spent`, `spent_by_day` and
-- `spent_on_clip` have to agree.

-- name: spent_on_clip
SELECT coalesce(sum(coalesce(tasks.credits, tasks.credits_reserved)), 0.0)
FROM tasks JOIN jobs ON jobs.id = tasks.job_id
WHERE jobs.clip_id = :clip_id
    AND (tasks.task_id IS NOT NULL OR jobs.paid != 'no' OR jobs.state = 'submitting');

-- name: estimates_of_clip
-- A duplicate that is held, or served by another's result, costs nothing yet. A split job that is run again costs
-- what its parts without a result do: those that are fetched are not paid for again.
SELECT credits_estimated FROM jobs
WHERE clip_id = :clip_id AND reuse IS NULL AND (held IS NULL OR held != 'duplicate')
    AND (
        state = 'queued' AND NOT EXISTS (
            SELECT 1 FROM jobs AS one
            WHERE one.clip_id = jobs.clip_id AND substr(one.id, 1, length(jobs.id) + 2) = jobs.id || '-p'
        )
        OR part > 0 AND state IN ('failed', 'cancelled') AND results = '[]' AND EXISTS (
            SELECT 1 FROM jobs AS whole
            WHERE whole.clip_id = jobs.clip_id AND whole.part = 0 AND whole.state = 'queued'
                AND substr(jobs.id, 1, length(whole.id) + 2) = whole.id || '-p'
        )
    );

-- name: queued_prices
-- Of so many at most: an estimate for people need not read a whole journal.
SELECT coalesce(sum(credits_estimated), 0.0) AS credits, count(*) - count(credits_estimated) AS unknown
FROM (
    SELECT credits_estimated FROM jobs WHERE state = 'queued' AND held IS NULL AND reuse IS NULL LIMIT :most
) AS queued;

-- name: money_moved
SELECT count(*) FROM (
    SELECT 1 FROM jobs WHERE updated_at >= :since AND id != :but AND task_number IS NOT NULL LIMIT 1
) AS found;


-- --- history and facts -----------------------------------------------------------------------------------

-- name: history
SELECT at, job_id, event, from_state, to_state, facts FROM events
WHERE job_id = :job_id OR (clip_id = :clip_id AND job_id IS NULL)
ORDER BY id;

-- name: newest_events
SELECT id FROM events ORDER BY id DESC LIMIT :most;

-- name: events_from
SELECT events.id, events.at, events.clip_id, events.job_id, events.event, events.from_state, events.to_state,
    events.facts, clips.inbox, clips.path
FROM events LEFT JOIN clips ON clips.id = events.clip_id
WHERE events.id > :after AND events.at >= :since ORDER BY events.id LIMIT :most;

-- name: jobs_changed_since
SELECT job_id FROM events WHERE id > :after AND job_id IS NOT NULL
GROUP BY job_id ORDER BY max(id) LIMIT :most;

-- name: last_event
SELECT id, at FROM events ORDER BY id DESC LIMIT 1;

-- name: fact
SELECT value FROM facts WHERE name = :name;


-- --- what status, status files and the page show ---------------------------------------------------------

-- name: held_jobs
SELECT id FROM jobs
WHERE state IN :open AND part = 0 AND held IS NOT NULL AND (CAST(:inbox AS TEXT) IS NULL OR inbox = :inbox)
ORDER BY created_at, id LIMIT :most;

-- name: failed_jobs
SELECT id FROM jobs
WHERE state = 'failed' AND part = 0 AND updated_at >= :since AND created_at >= :accepted_since
    AND (CAST(:inbox AS TEXT) IS NULL OR inbox = :inbox)
ORDER BY updated_at DESC LIMIT :most;

-- name: count_in_states
SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state IN :states LIMIT :most) AS found;

-- name: page_floor
SELECT id FROM jobs WHERE id < :before ORDER BY id DESC LIMIT 1 OFFSET :scan;

-- name: ended_last
-- An ended job's `due_at` is when it ended.
SELECT id FROM jobs WHERE state = :state AND part = 0 ORDER BY due_at DESC LIMIT :most;
