-- The statements of the journal that are PostgreSQL's own, by name: those of `sqlite.sql`, with the same parameters.
-- How lists are written: see `statements.sql`.

-- name: bring_jobs_forward
-- A `not_before` is the editor's wish, and stays; so does what only a person or another job brings forward.
UPDATE jobs SET due_at = :now
WHERE state IN :states AND due_at > :now AND due_at < :never
    AND strpos(request, '"not_before"') = 0;

-- name: due
SELECT string_agg(id, ',' ORDER BY due_at) FROM (
    SELECT id, due_at FROM jobs WHERE state = :state AND due_at <= :now AND (CAST(:inbox AS TEXT) IS NULL OR inbox = :inbox)
    ORDER BY due_at LIMIT :most
) AS chosen;

-- name: queue
-- The first line of the condition is that of the index `jobs_in_queue`.
SELECT id, clip_id, inbox, priority, prepared, approved, credits_estimated, part,
    part = 0 AND parts IS NOT NULL AS is_split, model
FROM jobs
WHERE state = 'queued' AND held IS NULL
    AND inbox = :inbox AND due_at <= :now AND approved >= :approved
    AND model NOT IN :but_models
ORDER BY priority DESC, created_at, id LIMIT :most;

-- name: queued_of_model
SELECT id FROM jobs WHERE state = 'queued' AND held IS NULL AND model = :model
ORDER BY priority DESC, created_at, id LIMIT :most;

-- name: queue_for_disk
-- Jobs that wait for a disk are few, so the index of what is due serves; the queue may be thousands long.
SELECT id, clip_id, inbox, priority, prepared, approved, credits_estimated, part,
    part = 0 AND parts IS NOT NULL AS is_split, model
FROM jobs
WHERE state = 'queued' AND held IN :held
    AND inbox = :inbox AND due_at <= :now AND approved >= :approved
    AND model NOT IN :but_models
ORDER BY due_at LIMIT :most;

-- name: due_to_retire
SELECT string_agg(id, ',' ORDER BY retire_due) FROM (
    SELECT id, retire_due FROM clips WHERE retire_due IS NOT NULL AND retire_due <= :now AND inbox = :inbox
    ORDER BY retire_due LIMIT :most
) AS chosen;

-- name: count_at_provider
SELECT inbox, model, count(*) AS number FROM jobs
WHERE state IN ('submitting', 'running') AND (part > 0 OR parts IS NULL) GROUP BY 1, 2;

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

-- name: spent
SELECT jobs.inbox, jobs.model, count(*) AS submissions,
    coalesce(sum(coalesce(tasks.credits, tasks.credits_reserved)), 0.0) AS credits
FROM tasks JOIN jobs ON jobs.id = tasks.job_id
WHERE tasks.intent_at >= :since
    AND (tasks.task_id IS NOT NULL OR jobs.paid != 'no' OR jobs.state = 'submitting')
GROUP BY 1, 2;

-- name: spent_by_day
SELECT floor(tasks.intent_at / 86400)::BIGINT AS day, jobs.inbox, count(*) AS submissions,
    coalesce(sum(coalesce(tasks.credits, tasks.credits_reserved)), 0.0) AS credits
FROM tasks JOIN jobs ON jobs.id = tasks.job_id
WHERE tasks.intent_at >= :since AND tasks.intent_at < :until
    AND (tasks.task_id IS NOT NULL OR jobs.paid != 'no' OR jobs.state = 'submitting')
GROUP BY day, jobs.inbox;

-- name: facts_below
SELECT name FROM facts WHERE name COLLATE "C" >= :prefix AND name COLLATE "C" < :until ORDER BY name;

-- name: jobs_under_way
-- `:states` stand in the order of a job's life: the nearest to the end comes first.
SELECT jobs.id FROM jobs
WHERE jobs.state IN :states AND jobs.part = 0 AND jobs.held IS NULL AND (CAST(:inbox AS TEXT) IS NULL OR jobs.inbox = :inbox)
ORDER BY array_position(:states::TEXT[], jobs.state) DESC, jobs.progress DESC NULLS LAST, jobs.priority DESC,
    jobs.created_at, jobs.id
LIMIT :most;

-- name: ended_jobs
-- Of all that was ever delivered the newest are found by going back by age.
SELECT id FROM jobs
WHERE state = :state AND part = 0 AND updated_at >= :since AND created_at >= :accepted_since
    AND (CAST(:inbox AS TEXT) IS NULL OR inbox = :inbox)
ORDER BY created_at DESC LIMIT :most;

-- name: page_in_states
SELECT id FROM jobs
WHERE state IN :states AND (CAST(:inbox AS TEXT) IS NULL OR inbox = :inbox) AND part = 0
    AND id < :before
ORDER BY id DESC LIMIT :most;

-- name: page
SELECT id FROM jobs
WHERE id < :before AND id >= :floor AND part = 0
    AND state IN :states AND (CAST(:inbox AS TEXT) IS NULL OR inbox = :inbox)
ORDER BY id DESC LIMIT :most;

-- name: page_with_word
-- A path may be in any encoding: both sides are compared by their bytes, each as a character of LATIN1.
SELECT jobs.id FROM jobs
JOIN clips ON clips.id = jobs.clip_id
LEFT JOIN tasks ON tasks.job_id = jobs.id AND tasks.number = jobs.task_number AND tasks.segment = 0
WHERE jobs.id < :before AND jobs.id >= :floor
    -- Of parts only that whose task is looked for.
    AND (jobs.part = 0 OR strpos(lower(tasks.task_id COLLATE "C"), :word) > 0)
    AND jobs.state IN :states AND (CAST(:inbox AS TEXT) IS NULL OR jobs.inbox = :inbox)
    AND (EXISTS (
            SELECT 1 FROM unnest(:words::TEXT[]) AS one WHERE strpos(
                lower(convert_from(clips.path, 'LATIN1') COLLATE "C"),
                convert_from(convert_to(one, 'UTF8'), 'LATIN1')
            ) > 0 OR strpos(lower(json_text(jobs.request, 'prompt') COLLATE "C"), one) > 0
        )
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
    WHERE jobs.id >= :floor AND jobs.state IN :states
        AND (CAST(:inbox AS TEXT) IS NULL OR jobs.inbox = :inbox)
        AND (NOT :waits OR jobs.held IS NOT NULL OR jobs.state = 'in_doubt')
        AND (jobs.part = 0 OR (:word != '' AND strpos(lower(tasks.task_id COLLATE "C"), :word) > 0))
        AND (:word = '' OR EXISTS (
                SELECT 1 FROM unnest(:words::TEXT[]) AS one WHERE strpos(
                    lower(convert_from(clips.path, 'LATIN1') COLLATE "C"),
                    convert_from(convert_to(one, 'UTF8'), 'LATIN1')
                ) > 0 OR strpos(lower(json_text(jobs.request, 'prompt') COLLATE "C"), one) > 0
            )
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
WHERE jobs.part = 0 AND jobs.state IN :states AND (CAST(:inbox AS TEXT) IS NULL OR clips.inbox = :inbox)
ORDER BY clips.inbox, folder_of(clips.path), clips.path, jobs.id DESC
LIMIT :most OFFSET :skip;

-- name: count_in_folder
-- In the folder of the clip at `:path`.
SELECT count(*) FROM (
    SELECT 1 FROM clips JOIN jobs ON jobs.clip_id = clips.id
    WHERE clips.inbox = :inbox AND folder_of(clips.path) = folder_of(:path) AND jobs.part = 0
        AND jobs.state IN :states
    LIMIT :most
) AS found;

-- name: held_ids
SELECT id FROM jobs
WHERE state IN :open AND held IS NOT NULL AND part = 0;

-- name: seconds_to_result
SELECT done.model, events.at - tasks.created_at AS seconds
FROM (SELECT id, model, task_number FROM jobs WHERE state = 'delivered' ORDER BY due_at DESC LIMIT :most) AS done
JOIN tasks ON tasks.job_id = done.id AND tasks.number = done.task_number AND tasks.segment = 0
JOIN events ON events.job_id = done.id AND events.event = 'task_succeeded'
WHERE events.at > tasks.created_at;
