-- Every statement of the journal in SQLite's dialect, by name. `database.py` reads this file.
--
-- `:rows` is a JSON array of arrays, a row of a table each: their values stand in the order of `rows.py`. A turn's
-- rows are written in one step, because Python releases its lock at each step and gets it back late. Other lists
-- are JSON arrays too. A unary plus keeps SQLite from using an index on the column behind it.


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
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'),
    json_extract(value, '$[6]'), json_extract(value, '$[7]'), json_extract(value, '$[8]'),
    json_extract(value, '$[9]'), json_extract(value, '$[10]'), json_extract(value, '$[11]'),
    json_extract(value, '$[12]'), json_extract(value, '$[13]'), json_extract(value, '$[14]'),
    json_extract(value, '$[15]'), json_extract(value, '$[16]'), json_extract(value, '$[17]'),
    json_extract(value, '$[18]'), json_extract(value, '$[19]'), json_extract(value, '$[20]'),
    json_extract(value, '$[21]'), json_extract(value, '$[22]'), json_extract(value, '$[23]'),
    json_extract(value, '$[24]'), json_extract(value, '$[25]'), json_extract(value, '$[26]'),
    json_extract(value, '$[27]'), json_extract(value, '$[28]'), json_extract(value, '$[29]'),
    json_extract(value, '$[30]'), json_extract(value, '$[31]')
FROM json_each(:rows);

-- name: update_jobs
UPDATE jobs SET
    state = json_extract(value, '$[1]'),
    priority = json_extract(value, '$[2]'),
    due_at = json_extract(value, '$[3]'),
    held = json_extract(value, '$[4]'),
    reason = json_extract(value, '$[5]'),
    updated_at = json_extract(value, '$[6]'),
    prepared = json_extract(value, '$[7]'),
    approved = json_extract(value, '$[8]'),
    cancel_by = json_extract(value, '$[9]'),
    attempts = json_extract(value, '$[10]'),
    doubts = json_extract(value, '$[11]'),
    progress = json_extract(value, '$[12]'),
    rendering_since = json_extract(value, '$[13]'),
    task_number = json_extract(value, '$[14]'),
    credits_estimated = json_extract(value, '$[15]'),
    error = json_extract(value, '$[16]'),
    results = json_extract(value, '$[17]'),
    paid = json_extract(value, '$[18]'),
    fingerprint = json_extract(value, '$[19]'),
    reuse = json_extract(value, '$[20]'),
    version = json_extract(value, '$[21]'),
    prepared_by = json_extract(value, '$[22]'),
    chosen = json_extract(value, '$[23]'),
    node = json_extract(value, '$[24]'),
    parts = json_extract(value, '$[25]')
FROM json_each(:rows)
WHERE jobs.id = json_extract(value, '$[0]');

-- name: update_requests
UPDATE jobs SET request = :request WHERE id = :id;

-- name: upsert_tasks
INSERT INTO tasks (job_id, number, segment, profile, intent_at, task_id, created_at, credits, credits_reserved,
    succeeded, evidence)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'),
    json_extract(value, '$[6]'), json_extract(value, '$[7]'), json_extract(value, '$[8]'),
    json_extract(value, '$[9]'), json_extract(value, '$[10]')
FROM json_each(:rows)
WHERE true
ON CONFLICT (job_id, number, segment) DO UPDATE SET
    profile = excluded.profile, intent_at = excluded.intent_at, task_id = excluded.task_id,
    created_at = excluded.created_at, credits = excluded.credits, credits_reserved = excluded.credits_reserved,
    succeeded = excluded.succeeded, evidence = excluded.evidence;

-- name: insert_events
INSERT INTO events (at, clip_id, job_id, event, from_state, to_state, facts)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'),
    json_extract(value, '$[6]')
FROM json_each(:rows);

-- name: update_prepared_clips
-- A prepared clip lies in its work folder.
UPDATE clips SET
    sha256 = json_extract(value, '$[1]'),
    size = json_extract(value, '$[2]'),
    mtime_ns = json_extract(value, '$[3]'),
    media = coalesce(json_extract(value, '$[4]'), media),
    lies_at = NULL,
    sidecar_lies_at = NULL
FROM json_each(:rows)
WHERE clips.id = json_extract(value, '$[0]');

-- name: update_moved_clips
UPDATE clips SET lies_at = :lies_at, sidecar_lies_at = :sidecar_lies_at, retire_due = NULL,
    retired_at = coalesce(:retired_at, retired_at)
WHERE id = :id;

-- name: retire_ended_clips
UPDATE clips SET retire_due = :now, retire_attempts = 0
WHERE id IN (SELECT value FROM json_each(:ids)) AND NOT EXISTS (
    SELECT 1 FROM jobs WHERE clip_id = clips.id AND state IN (SELECT value FROM json_each(:open))
);

-- name: retire_clips_again
UPDATE clips SET retire_due = :now
WHERE retired_at IS NULL AND retire_due IS NULL AND (:inbox IS NULL OR inbox = :inbox) AND NOT EXISTS (
    SELECT 1 FROM jobs WHERE clip_id = clips.id AND state IN (SELECT value FROM json_each(:open))
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
    SELECT id FROM clips WHERE sha256 = :sha256 AND inbox = :inbox AND path = :path UNION SELECT :clip_id
) AND variant = :variant AND part = 0 AND id != :but
    AND (clip_id = :clip_id OR (state NOT IN ('failed', 'cancelled') AND reuse IS NULL));

-- name: delete_history
-- The newest event stays: its number says how far the journal has come, and must not go back.
DELETE FROM events WHERE clip_id IN (SELECT value FROM json_each(:ids)) AND id < (SELECT max(id) FROM events);

-- name: delete_jobs
DELETE FROM jobs WHERE clip_id IN (SELECT value FROM json_each(:ids));

-- name: delete_clips
DELETE FROM clips WHERE id IN (SELECT value FROM json_each(:ids));

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
WHERE state IN (SELECT value FROM json_each(:states)) AND due_at > :now AND due_at < :never
    AND instr(request, '"not_before"') = 0;

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
WHERE jobs.id IN (SELECT value FROM json_each(:ids));

-- name: clips
SELECT * FROM clips WHERE id IN (SELECT value FROM json_each(:ids));

-- name: known_clips
SELECT id FROM clips WHERE id IN (SELECT value FROM json_each(:ids));

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
SELECT id FROM clips WHERE id IN (SELECT value FROM json_each(:ids)) AND lies_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM jobs WHERE clip_id = clips.id AND (paid != 'no' OR task_number IS NOT NULL)
);

-- name: jobs_of_clips
SELECT id FROM jobs WHERE clip_id IN (SELECT value FROM json_each(:ids)) ORDER BY id;

-- name: open_jobs_of_clip
SELECT count(*) FROM jobs WHERE clip_id = :clip_id AND state IN (SELECT value FROM json_each(:open));

-- name: newest_jobs
SELECT id FROM jobs WHERE (:inbox IS NULL OR inbox = :inbox) AND (part = 0 OR :parts)
ORDER BY created_at DESC, id LIMIT :most;

-- name: newest_jobs_in
SELECT id FROM jobs
WHERE state IN (SELECT value FROM json_each(:states)) AND (:inbox IS NULL OR inbox = :inbox)
    AND (part = 0 OR :parts)
ORDER BY created_at DESC, id LIMIT :most;

-- name: same_request
-- A refused or cancelled job costs nothing, and is no reason to hold another.
SELECT id FROM jobs
WHERE fingerprint = :fingerprint AND clip_id != :clip_id AND id NOT IN (SELECT value FROM json_each(:apart_from))
    AND (held IS NULL OR held != 'duplicate') AND state != 'cancelled' AND (state != 'failed' OR paid != 'no')
ORDER BY created_at, id LIMIT :most;

-- name: duplicates
SELECT id FROM jobs
WHERE fingerprint = :fingerprint AND clip_id != :clip_id AND state = 'queued' AND held = 'duplicate';

-- name: shared_fingerprints
SELECT fingerprint FROM jobs WHERE fingerprint IN (SELECT value FROM json_each(:fingerprints))
GROUP BY fingerprint HAVING count(DISTINCT clip_id) > 1;


-- --- what is due -----------------------------------------------------------------------------------------

-- name: due
SELECT group_concat(id) FROM (
    SELECT id FROM jobs WHERE state = :state AND due_at <= :now AND (:inbox IS NULL OR inbox = :inbox)
    ORDER BY due_at LIMIT :most
);

-- name: next_due
SELECT min(due_at) FROM jobs WHERE state = :state AND due_at > :now;

-- name: queue
-- The first line of the condition is that of the index `jobs_in_queue`, to the letter; the plus keeps SQLite from
-- taking `jobs_due` and sorting the whole queue.
SELECT id, clip_id, inbox, priority, prepared, approved, credits_estimated, part,
    part = 0 AND parts IS NOT NULL AS is_split,
    json_extract(request, '$.model') AS model
FROM jobs
WHERE state = 'queued' AND held IS NULL
    AND inbox = :inbox AND +due_at <= :now AND approved >= :approved
    AND json_extract(request, '$.model') NOT IN (SELECT value FROM json_each(:but_models))
ORDER BY priority DESC, created_at, id LIMIT :most;

-- name: queued_of_model
SELECT id FROM jobs WHERE state = 'queued' AND held IS NULL AND json_extract(request, '$.model') = :model
ORDER BY priority DESC, created_at, id LIMIT :most;

-- name: queue_for_disk
-- Jobs that wait for a disk are few, so the index of what is due serves; the queue may be thousands long.
SELECT id, clip_id, inbox, priority, prepared, approved, credits_estimated, part,
    part = 0 AND parts IS NOT NULL AS is_split,
    json_extract(request, '$.model') AS model
FROM jobs
WHERE state = 'queued' AND held IN (SELECT value FROM json_each(:held))
    AND inbox = :inbox AND due_at <= :now AND approved >= :approved
    AND json_extract(request, '$.model') NOT IN (SELECT value FROM json_each(:but_models))
ORDER BY due_at LIMIT :most;

-- name: count_for_disk
SELECT count(*) FROM jobs WHERE state = 'queued' AND held IN (SELECT value FROM json_each(:held));

-- name: due_to_retire
SELECT group_concat(id) FROM (
    SELECT id FROM clips WHERE retire_due IS NOT NULL AND retire_due <= :now AND inbox = :inbox
    ORDER BY retire_due LIMIT :most
);

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
SELECT inbox, json_extract(request, '$.model') AS model, count(*) AS number FROM jobs
WHERE state IN ('submitting', 'running') AND (part > 0 OR parts IS NULL) GROUP BY 1, 2;

-- name: count_open_alike
SELECT inbox, state, held, due_at > :now AS is_later, attempts > 0 OR reason != '' AS is_tried_again,
    count(*) AS number
FROM jobs WHERE state IN (SELECT value FROM json_each(:open)) AND part = 0
GROUP BY 1, 2, 3, 4, 5;

-- name: count_open
SELECT inbox, state, held, count(*) AS number FROM jobs
WHERE state IN (SELECT value FROM json_each(:open)) AND part = 0
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
SELECT tasks.profile, json_extract(jobs.request, '$.model') AS model, tasks.created_at, done.at AS done_at, (
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
SELECT jobs.inbox, json_extract(jobs.request, '$.model') AS model, count(*) AS submissions,
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
SELECT CAST(tasks.intent_at / 86400 AS INTEGER) AS day, jobs.inbox, count(*) AS submissions,
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
FROM (SELECT credits_estimated FROM jobs WHERE state = 'queued' AND held IS NULL AND reuse IS NULL LIMIT :most);

-- name: money_moved
SELECT count(*) FROM (
    SELECT 1 FROM jobs WHERE updated_at >= :since AND id != :but AND task_number IS NOT NULL LIMIT 1
);


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
SELECT name FROM facts WHERE name >= :prefix AND name < :until ORDER BY name;

-- name: fact
SELECT value FROM facts WHERE name = :name;


-- --- what status, status files and the page show ---------------------------------------------------------

-- name: held_jobs
SELECT id FROM jobs
WHERE state IN (SELECT value FROM json_each(:open)) AND part = 0 AND held IS NOT NULL
    AND (:inbox IS NULL OR inbox = :inbox)
ORDER BY created_at, id LIMIT :most;

-- name: jobs_under_way
-- `:states` stand in the order of a job's life: the nearest to the end comes first.
SELECT jobs.id FROM jobs JOIN json_each(:states) AS wanted ON wanted.value = jobs.state
WHERE jobs.part = 0 AND jobs.held IS NULL AND (:inbox IS NULL OR jobs.inbox = :inbox)
ORDER BY wanted.key DESC, jobs.progress DESC, jobs.priority DESC, jobs.created_at, jobs.id LIMIT :most;

-- name: failed_jobs
SELECT id FROM jobs
WHERE state = 'failed' AND part = 0 AND updated_at >= :since AND created_at >= :accepted_since
    AND (:inbox IS NULL OR inbox = :inbox)
ORDER BY updated_at DESC LIMIT :most;

-- name: ended_jobs
-- Of all that was ever delivered the newest are found by going back by age.
SELECT id FROM jobs
WHERE +state = :state AND part = 0 AND updated_at >= :since AND created_at >= :accepted_since
    AND (:inbox IS NULL OR inbox = :inbox)
ORDER BY created_at DESC LIMIT :most;

-- name: count_in_states
SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state IN (SELECT value FROM json_each(:states)) LIMIT :most);

-- name: page_in_states
SELECT id FROM jobs INDEXED BY jobs_due
WHERE state IN (SELECT value FROM json_each(:states)) AND (:inbox IS NULL OR inbox = :inbox) AND part = 0
    AND id < :before
ORDER BY id DESC LIMIT :most;

-- name: page_floor
SELECT id FROM jobs WHERE id < :before ORDER BY id DESC LIMIT 1 OFFSET :scan;

-- name: page
SELECT id FROM jobs
WHERE id < :before AND id >= :floor AND part = 0
    AND +state IN (SELECT value FROM json_each(:states)) AND (:inbox IS NULL OR inbox = :inbox)
ORDER BY id DESC LIMIT :most;

-- name: page_with_word
SELECT jobs.id FROM jobs
JOIN clips ON clips.id = jobs.clip_id
LEFT JOIN tasks ON tasks.job_id = jobs.id AND tasks.number = jobs.task_number AND tasks.segment = 0
WHERE jobs.id < :before AND jobs.id >= :floor
    -- Of parts only that whose task is looked for.
    AND (jobs.part = 0 OR instr(lower(tasks.task_id), :word))
    AND +jobs.state IN (SELECT value FROM json_each(:states)) AND (:inbox IS NULL OR jobs.inbox = :inbox)
    AND (instr(lower(CAST(clips.path AS TEXT)), :word)
        OR instr(lower(json_extract(jobs.request, '$.prompt')), :word)
        OR instr(jobs.id, :word)
        OR instr(lower(tasks.task_id), :word)
        OR instr(lower(json_extract(jobs.error, '$.code')), :word))
ORDER BY jobs.id DESC LIMIT :most;

-- name: page_sorted
-- The whole list is sorted at once, down to `:floor`; of the jobs that are alike the newest comes first. Clips and
-- tasks are read only where they are needed.
WITH found AS (
    SELECT id, CASE :by
        WHEN 'clip' THEN (SELECT lower(CAST(path AS TEXT)) FROM clips WHERE clips.id = clip_id)
        WHEN 'inbox' THEN inbox
        WHEN 'state' THEN instr(:order, state)
        WHEN 'credits' THEN coalesce((
            SELECT credits FROM tasks WHERE job_id = jobs.id AND number = task_number AND segment = 0
        ), credits_estimated)
        WHEN 'folder' THEN inbox || '/' || (
            SELECT rtrim(CAST(path AS TEXT), replace(CAST(path AS TEXT), '/', '')) FROM clips
            WHERE clips.id = clip_id
        )
        ELSE id END AS key,
        CASE :by WHEN 'folder' THEN (SELECT path FROM clips WHERE clips.id = clip_id) END AS path
    FROM jobs
    WHERE id >= :floor AND state IN (SELECT value FROM json_each(:states)) AND (:inbox IS NULL OR inbox = :inbox)
        AND (NOT :waits OR held IS NOT NULL OR state = 'in_doubt')
        AND (part = 0 OR (:word != '' AND instr((
            SELECT lower(task_id) FROM tasks WHERE job_id = jobs.id AND number = task_number AND segment = 0
        ), :word)))
        AND (:word = '' OR instr(lower(json_extract(request, '$.prompt')), :word) OR instr(id, :word)
            OR instr((SELECT lower(CAST(path AS TEXT)) FROM clips WHERE clips.id = clip_id), :word)
            OR instr(lower(json_extract(error, '$.code')), :word)
            OR instr((
                SELECT lower(task_id) FROM tasks WHERE job_id = jobs.id AND number = task_number AND segment = 0
            ), :word))
)
SELECT id FROM found
ORDER BY CASE WHEN NOT :down THEN key END NULLS LAST, CASE WHEN :down THEN key END DESC NULLS LAST, path, id DESC
LIMIT :most OFFSET :skip;

-- name: page_by_folder
-- Walks the clips in the order of the index; needs no sorting, however many there are.
SELECT jobs.id FROM clips INDEXED BY clips_by_folder
CROSS JOIN jobs INDEXED BY jobs_by_clip ON jobs.clip_id = clips.id
WHERE jobs.part = 0 AND +jobs.state IN (SELECT value FROM json_each(:states)) AND (:inbox IS NULL OR clips.inbox = :inbox)
ORDER BY clips.inbox, rtrim(CAST(clips.path AS TEXT), replace(CAST(clips.path AS TEXT), '/', '')), clips.path,
    jobs.id DESC
LIMIT :most OFFSET :skip;

-- name: count_in_folder
-- In the folder of the clip at `:path`.
SELECT count(*) FROM (
    SELECT 1 FROM clips INDEXED BY clips_by_folder
    CROSS JOIN jobs INDEXED BY jobs_by_clip ON jobs.clip_id = clips.id
    WHERE clips.inbox = :inbox AND jobs.part = 0
        AND rtrim(CAST(clips.path AS TEXT), replace(CAST(clips.path AS TEXT), '/', ''))
            = rtrim(CAST(:path AS TEXT), replace(CAST(:path AS TEXT), '/', ''))
        AND +jobs.state IN (SELECT value FROM json_each(:states))
    LIMIT :most
);

-- name: ended_last
-- An ended job's `due_at` is when it ended.
SELECT id FROM jobs WHERE state = :state AND part = 0 ORDER BY due_at DESC LIMIT :most;

-- name: held_ids
SELECT id FROM jobs INDEXED BY jobs_due
WHERE state IN (SELECT value FROM json_each(:open)) AND held IS NOT NULL AND part = 0;

-- name: seconds_to_result
SELECT json_extract(done.request, '$.model') AS model, events.at - tasks.created_at AS seconds
FROM (SELECT id, request, task_number FROM jobs WHERE state = 'delivered' ORDER BY due_at DESC LIMIT :most) AS done
JOIN tasks ON tasks.job_id = done.id AND tasks.number = done.task_number AND tasks.segment = 0
JOIN events ON events.job_id = done.id AND events.event = 'task_succeeded'
WHERE events.at > tasks.created_at;
