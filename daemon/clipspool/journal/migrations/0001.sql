-- Clips, jobs, tasks, events and facts.
--
-- A clip asks for jobs, and a job is submitted as tasks: three tables, so that one clip can be cut into several
-- tasks. Events are never changed or removed. Paths are bytes, times Unix seconds, and structured values JSON
-- in ASCII. The types are those that clipspool 0.1 gave, so that a new and a migrated journal are alike.

CREATE TABLE clips (
    id TEXT NOT NULL PRIMARY KEY,
    inbox TEXT NOT NULL,
    path BLOB NOT NULL,
    sidecar BLOB,
    source TEXT NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    accepted_at FLOAT NOT NULL,
    sha256 TEXT,
    media TEXT NOT NULL,
    lies_at BLOB,
    sidecar_lies_at BLOB,
    retired_at FLOAT,
    retire_due FLOAT,
    retire_attempts INTEGER DEFAULT '0' NOT NULL
);
CREATE INDEX clips_to_retire ON clips (retire_due) WHERE retire_due IS NOT NULL;
CREATE INDEX clips_by_content ON clips (sha256);

CREATE TABLE jobs (
    id TEXT NOT NULL PRIMARY KEY,
    clip_id TEXT NOT NULL REFERENCES clips (id),
    inbox TEXT NOT NULL,
    variant TEXT NOT NULL,
    node TEXT NOT NULL,
    request TEXT NOT NULL,
    created_at FLOAT NOT NULL,
    state TEXT NOT NULL,
    priority INTEGER NOT NULL,
    due_at FLOAT NOT NULL,
    held TEXT,
    reason TEXT NOT NULL,
    updated_at FLOAT NOT NULL,
    prepared BOOLEAN NOT NULL,
    approved BOOLEAN NOT NULL,
    cancel_by TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    doubts INTEGER NOT NULL,
    progress FLOAT,
    rendering_since FLOAT,
    task_number INTEGER,
    credits_estimated FLOAT,
    error TEXT,
    results TEXT NOT NULL,
    paid TEXT NOT NULL
);
CREATE INDEX jobs_due ON jobs (state, due_at);
CREATE INDEX jobs_in_queue ON jobs (inbox, priority DESC, created_at, id)
    WHERE state = 'queued' AND held IS NULL;
CREATE INDEX jobs_by_clip ON jobs (clip_id);
CREATE INDEX jobs_by_age ON jobs (created_at);

CREATE TABLE tasks (
    job_id TEXT NOT NULL REFERENCES jobs (id),
    number INTEGER NOT NULL,
    segment INTEGER DEFAULT '0' NOT NULL,
    profile TEXT NOT NULL,
    intent_at FLOAT NOT NULL,
    task_id TEXT,
    created_at FLOAT,
    credits FLOAT,
    credits_reserved FLOAT,
    succeeded BOOLEAN NOT NULL,
    evidence TEXT NOT NULL,
    PRIMARY KEY (job_id, number, segment)
);
CREATE INDEX tasks_by_intent ON tasks (intent_at);

CREATE TABLE events (
    id INTEGER NOT NULL PRIMARY KEY,
    at FLOAT NOT NULL,
    clip_id TEXT NOT NULL,
    job_id TEXT,
    event TEXT NOT NULL,
    from_state TEXT,
    to_state TEXT,
    facts TEXT NOT NULL
);
CREATE INDEX events_by_job ON events (job_id, id);
CREATE INDEX events_by_clip ON events (clip_id, id);

CREATE TABLE facts (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- The schema's number. Clipspool 0.1 looks for it under this name: it refuses a newer journal in a sentence.
CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version VALUES ('0001');
