"""A journal with very many jobs, written by SQL: most delivered, some failed, queued, held, running."""

import sqlite3

from clipspool.journal import Journal

DAY = 86_400.0

_MAKE = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count),
row(i, id, inbox, at, state, held) AS (
  SELECT i, printf('j%08d', i), 'bay-' || (i % 3), :now - (:count - i) * :apart,
    CASE WHEN i >= :count - 5 THEN 'running' WHEN i >= :count - :queued THEN 'queued'
         WHEN i % 50 = 7 THEN 'failed' WHEN i % 2000 = 13 THEN 'in_doubt' ELSE 'delivered' END,
    CASE WHEN i % 2000 = 13 AND i < :count - :queued THEN 'in_doubt'
         WHEN i % 100 = 3 AND i BETWEEN :count - :queued AND :count - 6 THEN 'budget' END
  FROM n)
"""
_CLIPS = """INSERT INTO clips (id, inbox, path, source, size, mtime_ns, accepted_at, media, retire_attempts)
{make} SELECT id, inbox, CAST('day/shot' || i || '.mp4' AS BLOB), 'clip.mp4', 1000, 1, at, '{{}}', 0
FROM row"""
_JOBS = """INSERT INTO jobs (id, clip_id, inbox, variant, node, request, created_at, state, priority, due_at,
  held, reason, updated_at, prepared, approved, cancel_by, attempts, doubts, task_number, credits_estimated,
  error, results, paid, progress)
{make} SELECT id, id, inbox, '', 'here',
  '{{"prompt":"Turn the street into deep winter at dusk, take ' || i || '","model":"gen4_aleph","seed":'
    || i || '}}',
  at, state, 0, at + 100, held, '', at + 100, 1, 0, '', 0, 0,
  CASE WHEN state = 'queued' THEN NULL ELSE 1 END, 45.0,
  CASE WHEN state = 'failed' THEN '{{"code":"INTERNAL","message":"it broke","what_to_do":"","retryable":true,'
    || '"paid":"yes"}}' END,
  CASE WHEN state = 'delivered' THEN '[{{"file":"r.mp4","suffix":".mp4","size":9,"sha256":"ab","name":"'
    || hex('shot' || i || '.mp4') || '","finished":[],"is_untouched":false}}]' ELSE '[]' END,
  CASE WHEN state = 'queued' THEN 'no' ELSE 'yes' END, CASE WHEN state = 'running' THEN 0.4 END FROM row"""
_TASKS = """INSERT INTO tasks (job_id, number, segment, profile, intent_at, task_id, created_at, credits,
  credits_reserved, succeeded, evidence)
{make} SELECT id, 1, 0, 'p', at + 5, 'task-' || i, at + 6, 45.0, 45.0, 1, '{{}}' FROM row
WHERE state != 'queued'"""
_EVENTS = """INSERT INTO events (at, clip_id, job_id, event, from_state, to_state, facts)
{make} SELECT at + 90 + i % 7, id, id, 'task_succeeded', 'running', 'rendered', '{{}}' FROM row
WHERE state = 'delivered'"""


def fill(path, count, now, *, queued=50, days=30):
    """Make a journal of `count` jobs, evenly over so many days, newest last."""
    Journal.open(path).close()
    asked = {"count": count, "now": now, "queued": queued, "apart": days * DAY / count}
    with sqlite3.connect(path) as base:
        for statement in (_CLIPS, _JOBS, _TASKS, _EVENTS):
            base.execute(statement.format(make=_MAKE), asked)
    base.close()
