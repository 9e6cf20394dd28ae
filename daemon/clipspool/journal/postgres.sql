-- Every statement of the journal in PostgreSQL's dialect, by name: those of `sqlite.sql`, with the same parameters.
--
-- Where `sqlite.sql` has `:rows`, a statement here has a list a column, `:0`, `:1`, in the order of `rows.py`: so all
-- rows of a turn are one statement. Lists are arrays. A parameter that is only compared with NULL needs a type.


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
SELECT * FROM unnest(
    :0::TEXT[], :1::TEXT[], :2::INTEGER[], :3::DOUBLE PRECISION[], :4::TEXT[], :5::TEXT[],
    :6::DOUBLE PRECISION[], :7::BOOLEAN[], :8::BOOLEAN[], :9::TEXT[], :10::INTEGER[], :11::INTEGER[],
    :12::DOUBLE PRECISION[], :13::DOUBLE PRECISION[], :14::INTEGER[], :15::DOUBLE PRECISION[], :16::TEXT[],
    :17::TEXT[], :18::TEXT[], :19::TEXT[], :20::TEXT[], :21::INTEGER[], :22::TEXT[], :23::TEXT[], :24::TEXT[],
    :25::TEXT[], :26::TEXT[], :27::TEXT[], :28::TEXT[], :29::TEXT[], :30::DOUBLE PRECISION[], :31::INTEGER[]
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
FROM unnest(
    :0::TEXT[], :1::TEXT[], :2::INTEGER[], :3::DOUBLE PRECISION[], :4::TEXT[], :5::TEXT[],
    :6::DOUBLE PRECISION[], :7::BOOLEAN[], :8::BOOLEAN[], :9::TEXT[], :10::INTEGER[], :11::INTEGER[],
    :12::DOUBLE PRECISION[], :13::DOUBLE PRECISION[], :14::INTEGER[], :15::DOUBLE PRECISION[], :16::TEXT[],
    :17::TEXT[], :18::TEXT[], :19::TEXT[], :20::TEXT[], :21::INTEGER[], :22::TEXT[], :23::TEXT[], :24::TEXT[],
    :25::TEXT[]
) AS new (id, state, priority, due_at, held, reason, updated_at, prepared, approved, cancel_by, attempts, doubts,
    progress, rendering_since, task_number, credits_estimated, error, results, paid, fingerprint, reuse,
    version, prepared_by, chosen, node, parts)
WHERE jobs.id = new.id;

-- name: update_requests
UPDATE jobs SET request = :request WHERE id = :id;

-- name: upsert_tasks
INSERT INTO tasks (job_id, number, segment, profile, intent_at, task_id, created_at, credits, credits_reserved,
    succeeded, evidence)
SELECT * FROM unnest(
    :0::TEXT[], :1::INTEGER[], :2::INTEGER[], :3::TEXT[], :4::DOUBLE PRECISION[], :5::TEXT[],
    :6::DOUBLE PRECISION[], :7::DOUBLE PRECISION[], :8::DOUBLE PRECISION[], :9::BOOLEAN[], :10::TEXT[]
)
ON CONFLICT (job_id, number, segment) DO UPDATE SET
    profile = excluded.profile, intent_at = excluded.intent_at, task_id = excluded.task_id,
    created_at = excluded.created_at, credits = excluded.credits, credits_reserved = excluded.credits_reserved,
    succeeded = excluded.succeeded, evidence = excluded.evidence;

-- name: insert_events
INSERT INTO events (at, clip_id, job_id, event, from_state, to_state, facts)
SELECT * FROM unnest(
    :0::DOUBLE PRECISION[], :1::TEXT[], :2::TEXT[], :3::TEXT[], :4::TEXT[], :5::TEXT[], :6::TEXT[]
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
FROM unnest(:0::TEXT[], :1::TEXT[], :2::BIGINT[], :3::BIGINT[], :4::TEXT[]) AS new (id, sha256, size, mtime_ns, media)
WHERE clips.id = new.id;

-- name: update_moved_clips
UPDATE clips SET lies_at = :lies_at, sidecar_lies_at = :sidecar_lies_at, retire_due = NULL,
    retired_at = coalesce(:retired_at, retired_at)
WHERE id = :id;

-- name: retire_ended_clips
UPDATE clips SET retire_due = :now, retire_attempts = 0
WHERE id = ANY (:ids::TEXT[]) AND NOT EXISTS (
    SELECT 1 FROM jobs WHERE clip_id = clips.id AND state = ANY (:open::TEXT[])
);

-- name: retire_clips_again
UPDATE clips SET retire_due = :now
WHERE retired_at IS NULL AND retire_due IS NULL AND (:inbox::TEXT IS NULL OR inbox = :inbox) AND NOT EXISTS (
    SELECT 1 FROM jobs WHERE clip_id = clips.id AND state = ANY (:open::TEXT[])
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
DELETE FROM events WHERE clip_id = ANY (:ids::TEXT[]) AND id < (SELECT max(id) FROM events);

-- name: delete_jobs
DELETE FROM jobs WHERE clip_id = ANY (:ids::TEXT[]);

-- name: delete_clips
DELETE FROM clips WHERE id = ANY (:ids::TEXT[]);

-- name: bring_clip_back
UPDATE clips SET retired_at = NULL, retire_due = NULL WHERE id = :id;

-- name: set_fact
INSERT INTO facts (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: delete_fact
DELETE FROM facts WHERE name = :name;


-- --- when the clock was set ------------------------------------------------------------------------------

-- name: bring_jobs_forward
-- A `not_before` is the editor's wish, and stays; so does what only a person or another job brings forward.
UPDATE jobs SET due_at = :now
WHERE state = ANY (:states::TEXT[]) AND due_at > :now AND due_at < :never
    AND strpos(request, '"not_before"') = 0;

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
WHERE jobs.id = ANY (:ids::TEXT[]);

-- name: clips
SELECT * FROM clips WHERE id = ANY (:ids::TEXT[]);

-- name: known_clips
SELECT id FROM clips WHERE id = ANY (:ids::TEXT[]);

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
SELECT id FROM clips WHERE id = ANY (:ids::TEXT[]) AND lies_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM jobs WHERE clip_id = clips.id AND (paid != 'no' OR task_number IS NOT NULL)
);

-- name: jobs_of_clips
SELECT id FROM jobs WHERE clip_id = ANY (:ids::TEXT[]) ORDER BY id;

-- name: open_jobs_of_clip
SELECT count(*) FROM jobs WHERE clip_id = :clip_id AND state = ANY (:open::TEXT[]);

-- name: newest_jobs
SELECT id FROM jobs WHERE (:inbox::TEXT IS NULL OR inbox = :inbox) AND (part = 0 OR :parts::BOOLEAN)
ORDER BY created_at DESC, id LIMIT :most;

-- name: newest_jobs_in
SELECT id FROM jobs
WHERE state = ANY (:states::TEXT[]) AND (:inbox::TEXT IS NULL OR inbox = :inbox)
    AND (part = 0 OR :parts::BOOLEAN)
ORDER BY created_at DESC, id LIMIT :most;

-- name: same_request
-- A refused or cancelled job costs nothing, and is no reason to hold another.
SELECT id FROM jobs
WHERE fingerprint = :fingerprint AND clip_id != :clip_id AND id != ALL (:apart_from::TEXT[])
    AND (held IS NULL OR held != 'duplicate') AND state != 'cancelled' AND (state != 'failed' OR paid != 'no')
ORDER BY created_at, id LIMIT :most;

-- name: duplicates
SELECT id FROM jobs
WHERE fingerprint = :fingerprint AND clip_id != :clip_id AND state = 'queued' AND held = 'duplicate';

-- name: shared_fingerprints
SELECT fingerprint FROM jobs WHERE fingerprint = ANY (:fingerprints::TEXT[])
GROUP BY fingerprint HAVING count(DISTINCT clip_id) > 1;


-- --- what is due -----------------------------------------------------------------------------------------

-- name: due
SELECT string_agg(id, ',' ORDER BY due_at) FROM (
    SELECT id, due_at FROM jobs WHERE state = :state AND due_at <= :now AND (:inbox::TEXT IS NULL OR inbox = :inbox)
    ORDER BY due_at LIMIT :most
) AS chosen;

-- name: next_due
SELECT min(due_at) FROM jobs WHERE state = :state AND due_at > :now;

-- name: queue
-- The first line of the condition is that of the index `jobs_in_queue`.
SELECT id, clip_id, inbox, priority, prepared, approved, credits_estimated, part,
    part = 0 AND parts IS NOT NULL AS is_split, model
FROM jobs
WHERE state = 'queued' AND held IS NULL
    AND inbox = :inbox AND due_at <= :now AND approved >= :approved
    AND model != ALL (:but_models::TEXT[])
ORDER BY priority DESC, created_at, id LIMIT :most;

-- name: queued_of_model
SELECT id FROM jobs WHERE state = 'queued' AND held IS NULL AND model = :model
ORDER BY priority DESC, created_at, id LIMIT :most;

-- name: queue_for_disk
-- Jobs that wait for a disk are few, so the index of what is due serves; the queue may be thousands long.
SELECT id, clip_id, inbox, priority, prepared, approved, credits_estimated, part,
    part = 0 AND parts IS NOT NULL AS is_split, model
FROM jobs
WHERE state = 'queued' AND held = ANY (:held::TEXT[])
    AND inbox = :inbox AND due_at <= :now AND approved >= :approved
    AND model != ALL (:but_models::TEXT[])
ORDER BY due_at LIMIT :most;

-- name: count_for_disk
SELECT count(*) FROM jobs WHERE state = 'queued' AND held = ANY (:held::TEXT[]);

-- name: due_to_retire
SELECT string_agg(id, ',' ORDER BY retire_due) FROM (
    SELECT id, retire_due FROM clips WHERE retire_due IS NOT NULL AND retire_due <= :now AND inbox = :inbox
    ORDER BY retire_due LIMIT :most
) AS chosen;

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

-- name: count_at_provider
SELECT inbox, model, count(*) AS number FROM jobs
WHERE state IN ('submitting', 'running') AND (part > 0 OR parts IS NULL) GROUP BY 1, 2;

-- name: count_open_alike
SELECT inbox, state, held, due_at > :now AS is_later, attempts > 0 OR reason != '' AS is_tried_again,
    count(*) AS number
FROM jobs WHERE state = ANY (:open::TEXT[]) AND part = 0
GROUP BY 1, 2, 3, 4, 5;

-- name: count_open
SELECT inbox, state, held, count(*) AS number FROM jobs
WHERE state = ANY (:open::TEXT[]) AND part = 0
GROUP BY inbox, state, held;

-- name: followed_tasks
SELECT tasks.task_id, tasks.job_id FROM tasks JOIN jobs ON jobs.id = tasks.job_id
WHERE jobs.state IN ('running', 'rendered', 'fetched') AND tasks.task_id IS NOT NULL;

-- name: follower
SELECT jobs.id FROM jobs JOIN tasks ON tasks.job_id = jobs.id AND tasks.number = jobs.task_number
WHERE tasks.task_id = :task_id AND tasks.segment = 0 AND jobs.id != :but
    AND jobs.state IN ('running', 'rendered', 'fetched', 'delivered')
LIMIT 1;

-- name: render_times
-- Of each of the last tasks: its model, when it was made, last seen open, and seen done.
SELECT tasks.profile, jobs.model, tasks.created_at, done.at AS done_at, (
        SELECT max(open.at) FROM events AS open
        WHERE open.job_id = jobs.id AND open.event = 'task_seen' AND open.at < done.at
    ) AS open_at
FROM events AS done
JOIN jobs ON jobs.id = done.job_id
JOIN tasks ON tasks.job_id = jobs.id AND tasks.number = jobs.task_number
WHERE done.event = 'task_succeeded' AND done.id > (SELECT max(id) FROM events) - :events_max
    AND tasks.created_at BETWEEN tasks.intent_at AND tasks.intent_at + 600 AND done.at > tasks.created_at
ORDER BY done.id DESC LIMIT :most;


-- --- money -----------------------------------------------------------------------------------------------

-- A task counts as spent once it was made, or may have been, or its request is on the way. What it cost is what
-- was charged or, until that is known, what was estimated. The three statements have to agree.

-- name: spent
SELECT jobs.inbox, jobs.model, count(*) AS submissions,
    coalesce(sum(coalesce(tasks.credits, tasks.credits_reserved)), 0.0) AS credits
FROM tasks JOIN jobs ON jobs.id = tasks.job_id
WHERE tasks.intent_at >= :since
    AND (tasks.task_id IS NOT NULL OR jobs.paid != 'no' OR jobs.state = 'submitting')
GROUP BY 1, 2;

-- name: spent_on_clip
SELECT coalesce(sum(coalesce(tasks.credits, tasks.credits_reserved)), 0.0)
FROM tasks JOIN jobs ON jobs.id = tasks.job_id
WHERE jobs.clip_id = :clip_id
    AND (tasks.task_id IS NOT NULL OR jobs.paid != 'no' OR jobs.state = 'submitting');

-- name: spent_by_day
SELECT floor(tasks.intent_at / 86400)::BIGINT AS day, jobs.inbox, count(*) AS submissions,
    coalesce(sum(coalesce(tasks.credits, tasks.credits_reserved)), 0.0) AS credits
FROM tasks JOIN jobs ON jobs.id = tasks.job_id
WHERE tasks.intent_at >= :since AND tasks.intent_at < :until
    AND (tasks.task_id IS NOT NULL OR jobs.paid != 'no' OR jobs.state = 'submitting')
GROUP BY day, jobs.inbox;

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

-- name: facts_below
SELECT name FROM facts WHERE name COLLATE "C" >= :prefix AND name COLLATE "C" < :until ORDER BY name;

-- name: fact
SELECT value FROM facts WHERE name = :name;


-- --- what status, status files and the page show ---------------------------------------------------------

-- name: held_jobs
SELECT id FROM jobs
WHERE state = ANY (:open::TEXT[]) AND part = 0 AND held IS NOT NULL AND (:inbox::TEXT IS NULL OR inbox = :inbox)
ORDER BY created_at, id LIMIT :most;

-- name: jobs_under_way
-- `:states` stand in the order of a job's life: the nearest to the end comes first.
SELECT jobs.id FROM jobs
WHERE jobs.state = ANY (:states::TEXT[]) AND jobs.part = 0 AND jobs.held IS NULL AND (:inbox::TEXT IS NULL OR jobs.inbox = :inbox)
ORDER BY array_position(:states::TEXT[], jobs.state) DESC, jobs.progress DESC NULLS LAST, jobs.priority DESC,
    jobs.created_at, jobs.id
LIMIT :most;

-- name: failed_jobs
SELECT id FROM jobs
WHERE state = 'failed' AND part = 0 AND updated_at >= :since AND created_at >= :accepted_since
    AND (:inbox::TEXT IS NULL OR inbox = :inbox)
ORDER BY updated_at DESC LIMIT :most;

-- name: ended_jobs
-- Of all that was ever delivered the newest are found by going back by age.
SELECT id FROM jobs
WHERE state = :state AND part = 0 AND updated_at >= :since AND created_at >= :accepted_since
    AND (:inbox::TEXT IS NULL OR inbox = :inbox)
ORDER BY created_at DESC LIMIT :most;

-- name: count_in_states
SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = ANY (:states::TEXT[]) LIMIT :most) AS found;

-- name: page_in_states
SELECT id FROM jobs
WHERE state = ANY (:states::TEXT[]) AND (:inbox::TEXT IS NULL OR inbox = :inbox) AND part = 0
    AND id < :before
ORDER BY id DESC LIMIT :most;

-- name: page_floor
SELECT id FROM jobs WHERE id < :before ORDER BY id DESC LIMIT 1 OFFSET :scan;

-- name: page
SELECT id FROM jobs
WHERE id < :before AND id >= :floor AND part = 0
    AND state = ANY (:states::TEXT[]) AND (:inbox::TEXT IS NULL OR inbox = :inbox)
ORDER BY id DESC LIMIT :most;

-- name: page_with_word
-- A path may be in any encoding: both sides are compared by their bytes, each as a character of LATIN1.
SELECT jobs.id FROM jobs
JOIN clips ON clips.id = jobs.clip_id
LEFT JOIN tasks ON tasks.job_id = jobs.id AND tasks.number = jobs.task_number AND tasks.segment = 0
WHERE jobs.id < :before AND jobs.id >= :floor
    -- Of parts only that whose task is looked for.
    AND (jobs.part = 0 OR strpos(lower(tasks.task_id COLLATE "C"), :word) > 0)
    AND jobs.state = ANY (:states::TEXT[]) AND (:inbox::TEXT IS NULL OR jobs.inbox = :inbox)
    AND (strpos(
            lower(convert_from(clips.path, 'LATIN1') COLLATE "C"),
            convert_from(convert_to(:word, 'UTF8'), 'LATIN1')
        ) > 0
        OR strpos(lower(json_text(jobs.request, 'prompt') COLLATE "C"), :word) > 0
        OR strpos(jobs.id, :word) > 0
        OR strpos(lower(tasks.task_id COLLATE "C"), :word) > 0
        OR strpos(lower(json_text(jobs.error, 'code')), :word) > 0)
ORDER BY jobs.id DESC LIMIT :most;

-- name: page_sorted
-- The whole list is sorted at once, down to `:floor`; of the jobs that are alike the newest comes first.
WITH found AS (
    SELECT jobs.id AS id, clips.path AS path, CASE :by
        WHEN 'clip' THEN lower(convert_from(clips.path, 'LATIN1') COLLATE "C")
        WHEN 'inbox' THEN jobs.inbox
        WHEN 'folder' THEN jobs.inbox || '/' || folder_of(clips.path)
        WHEN 'accepted' THEN jobs.id END COLLATE "C" AS name, CASE :by
        WHEN 'state' THEN strpos(:order, jobs.state)
        WHEN 'credits' THEN coalesce(tasks.credits, jobs.credits_estimated) END AS number
    FROM jobs
    JOIN clips ON clips.id = jobs.clip_id
    LEFT JOIN tasks ON tasks.job_id = jobs.id AND tasks.number = jobs.task_number AND tasks.segment = 0
    WHERE jobs.id >= :floor AND jobs.state = ANY (:states::TEXT[])
        AND (:inbox::TEXT IS NULL OR jobs.inbox = :inbox)
        AND (NOT :waits OR jobs.held IS NOT NULL OR jobs.state = 'in_doubt')
        AND (jobs.part = 0 OR (:word != '' AND strpos(lower(tasks.task_id COLLATE "C"), :word) > 0))
        AND (:word = '' OR strpos(
                lower(convert_from(clips.path, 'LATIN1') COLLATE "C"),
                convert_from(convert_to(:word, 'UTF8'), 'LATIN1')
            ) > 0
            OR strpos(lower(json_text(jobs.request, 'prompt') COLLATE "C"), :word) > 0
            OR strpos(jobs.id, :word) > 0
            OR strpos(lower(tasks.task_id COLLATE "C"), :word) > 0
            OR strpos(lower(json_text(jobs.error, 'code')), :word) > 0)
)
SELECT id FROM found
ORDER BY CASE WHEN NOT :down THEN name END, CASE WHEN NOT :down THEN number END NULLS LAST,
    CASE WHEN :down THEN name END DESC NULLS LAST, CASE WHEN :down THEN number END DESC NULLS LAST,
    CASE :by WHEN 'folder' THEN path END, id DESC
LIMIT :most OFFSET :skip;

-- name: page_by_folder
-- Walks the clips in the order of the index; needs no sorting, however many there are.
SELECT jobs.id FROM clips JOIN jobs ON jobs.clip_id = clips.id
WHERE jobs.part = 0 AND jobs.state = ANY (:states::TEXT[]) AND (:inbox::TEXT IS NULL OR clips.inbox = :inbox)
ORDER BY clips.inbox, folder_of(clips.path), clips.path, jobs.id DESC
LIMIT :most OFFSET :skip;

-- name: count_in_folder
-- In the folder of the clip at `:path`.
SELECT count(*) FROM (
    SELECT 1 FROM clips JOIN jobs ON jobs.clip_id = clips.id
    WHERE clips.inbox = :inbox AND folder_of(clips.path) = folder_of(:path) AND jobs.part = 0
        AND jobs.state = ANY (:states::TEXT[])
    LIMIT :most
) AS found;

-- name: ended_last
-- An ended job's `due_at` is when it ended.
SELECT id FROM jobs WHERE state = :state AND part = 0 ORDER BY due_at DESC LIMIT :most;

-- name: held_ids
SELECT id FROM jobs
WHERE state = ANY (:open::TEXT[]) AND held IS NOT NULL AND part = 0;

-- name: seconds_to_result
SELECT done.model, events.at - tasks.created_at AS seconds
FROM (SELECT id, model, task_number FROM jobs WHERE state = 'delivered' ORDER BY due_at DESC LIMIT :most) AS done
JOIN tasks ON tasks.job_id = done.id AND tasks.number = done.task_number AND tasks.segment = 0
JOIN events ON events.job_id = done.id AND events.event = 'task_succeeded'
WHERE events.at > tasks.created_at;
