-- Jobs know whether they are the chosen version of their clip.

ALTER TABLE jobs ADD COLUMN chosen TEXT;
CREATE INDEX jobs_chosen ON jobs (clip_id) WHERE chosen IS NOT NULL;
UPDATE alembic_version SET version_num = '0005';
