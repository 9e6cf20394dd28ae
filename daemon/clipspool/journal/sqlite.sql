-- The statements of the journal that are SQLite's own, by name: mostly for its JSON, or for an index it has to be led to.
-- A unary plus keeps it from using an index on the column behind it. How lists are written: see `statements.sql`.

-- name: bring_jobs_forward
-- A `not_before` is the editor's wish, and stays; so does what only a person or another job brings forward.
UPDATE jobs SET due_at = :now
WHERE state IN :states AND due_at > :now AND due_at < :never
    AND instr(request, '"not_before"') = 0;

-- name: due
SELECT group_concat(id) FROM (
    SELECT id FROM jobs WHERE state = :state AND due_at <= :now AND (CAST(:inbox AS TEXT) IS NULL OR inbox = :inbox)
    ORDER BY due_at LIMIT :most
);

-- name: queue
-- The first line of the condition is that of the index `jobs_in_queue`, to the letter; the plus keeps SQLite from
-- taking `jobs_due` and sorting the whole queue.
SELECT id, clip_id, inbox, priority, prepared, approved, credits_estimated, part,
    part = 0 AND parts IS NOT NULL AS is_split,
    json_extract(request, '$.model') AS model
FROM jobs
WHERE state = 'queued' AND held IS NULL
    AND inbox = :inbox AND +due_at <= :now AND approved >= :approved
    AND json_extract(request, '$.model') NOT IN :but_models
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
WHERE state = 'queued' AND held IN :held
    AND inbox = :inbox AND due_at <= :now AND approved >= :approved
    AND json_extract(request, '$.model') NOT IN :but_models
ORDER BY due_at LIMIT :most;

-- name: due_to_retire
SELECT group_concat(id) FROM (
    SELECT id FROM clips WHERE retire_due IS NOT NULL AND retire_due <= :now AND inbox = :inbox
    ORDER BY retire_due LIMIT :most
);

-- name: count_at_provider
SELECT inbox, json_extract(request, '$.model') AS model, count(*) AS number FROM jobs
WHERE state IN ('submitting', 'running') AND (part > 0 OR parts IS NULL) GROUP BY 1, 2;

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

-- name: spent
SELECT jobs.inbox, json_extract(jobs.request, '$.model') AS model, count(*) AS submissions,
    coalesce(sum(coalesce(tasks.credits, tasks.credits_reserved)), 0.0) AS credits
FROM tasks JOIN jobs ON jobs.id = tasks.job_id
WHERE tasks.intent_at >= :since
    AND (tasks.task_id IS NOT NULL OR jobs.paid != 'no' OR jobs.state = 'submitting')
GROUP BY 1, 2;

-- name: spent_by_day
SELECT CAST(tasks.intent_at / 86400 AS INTEGER) AS day, jobs.inbox, count(*) AS submissions,
    coalesce(sum(coalesce(tasks.credits, tasks.credits_reserved)), 0.0) AS credits
FROM tasks JOIN jobs ON jobs.id = tasks.job_id
WHERE tasks.intent_at >= :since AND tasks.intent_at < :until
    AND (tasks.task_id IS NOT NULL OR jobs.paid != 'no' OR jobs.state = 'submitting')
GROUP BY day, jobs.inbox;

-- name: facts_below
SELECT name FROM facts WHERE name >= :prefix AND name < :until ORDER BY name;

-- name: jobs_under_way
-- `:states` stand in the order of a job's life: the nearest to the end comes first.
SELECT jobs.id FROM jobs JOIN json_each(:states) AS wanted ON wanted.value = jobs.state
WHERE jobs.part = 0 AND jobs.held IS NULL AND (CAST(:inbox AS TEXT) IS NULL OR jobs.inbox = :inbox)
ORDER BY wanted.key DESC, jobs.progress DESC, jobs.priority DESC, jobs.created_at, jobs.id LIMIT :most;

-- name: ended_jobs
-- Of all that was ever delivered the newest are found by going back by age.
SELECT id FROM jobs
WHERE +state = :state AND part = 0 AND updated_at >= :since AND created_at >= :accepted_since
    AND (CAST(:inbox AS TEXT) IS NULL OR inbox = :inbox)
ORDER BY created_at DESC LIMIT :most;

-- name: page_in_states
SELECT id FROM jobs INDEXED BY jobs_due
WHERE state IN :states AND (CAST(:inbox AS TEXT) IS NULL OR inbox = :inbox) AND part = 0
    AND id < :before
ORDER BY id DESC LIMIT :most;

-- name: page
SELECT id FROM jobs
WHERE id < :before AND id >= :floor AND part = 0
    AND +state IN :states AND (CAST(:inbox AS TEXT) IS NULL OR inbox = :inbox)
ORDER BY id DESC LIMIT :most;

-- name: page_with_word
SELECT jobs.id FROM jobs
JOIN clips ON clips.id = jobs.clip_id
LEFT JOIN tasks ON tasks.job_id = jobs.id AND tasks.number = jobs.task_number AND tasks.segment = 0
WHERE jobs.id < :before AND jobs.id >= :floor
    -- Of parts only that whose task is looked for.
    AND (jobs.part = 0 OR instr(lower(tasks.task_id), :word))
    AND +jobs.state IN :states AND (CAST(:inbox AS TEXT) IS NULL OR jobs.inbox = :inbox)
    AND (EXISTS (
            SELECT 1 FROM json_each(:words) WHERE instr(lower(CAST(clips.path AS TEXT)), value)
            OR instr(lower(json_extract(jobs.request, '$.prompt')), value)
        )
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
    WHERE id >= :floor AND state IN :states AND (CAST(:inbox AS TEXT) IS NULL OR inbox = :inbox)
        AND (NOT :waits OR held IS NOT NULL OR state = 'in_doubt')
        AND (part = 0 OR (:word != '' AND instr((
            SELECT lower(task_id) FROM tasks WHERE job_id = jobs.id AND number = task_number AND segment = 0
        ), :word)))
        AND (:word = '' OR instr(id, :word) OR EXISTS (
                SELECT 1 FROM json_each(:words) WHERE instr(lower(json_extract(request, '$.prompt')), value)
                OR instr((SELECT lower(CAST(path AS TEXT)) FROM clips WHERE clips.id = clip_id), value)
            )
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
WHERE jobs.part = 0 AND +jobs.state IN :states AND (CAST(:inbox AS TEXT) IS NULL OR clips.inbox = :inbox)
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
        AND +jobs.state IN :states
    LIMIT :most
);

-- name: held_ids
SELECT id FROM jobs INDEXED BY jobs_due
WHERE state IN :open AND held IS NOT NULL AND part = 0;

-- name: seconds_to_result
SELECT json_extract(done.request, '$.model') AS model, events.at - tasks.created_at AS seconds
FROM (SELECT id, request, task_number FROM jobs WHERE state = 'delivered' ORDER BY due_at DESC LIMIT :most) AS done
JOIN tasks ON tasks.job_id = done.id AND tasks.number = done.task_number AND tasks.segment = 0
JOIN events ON events.job_id = done.id AND events.event = 'task_succeeded'
WHERE events.at > tasks.created_at;
