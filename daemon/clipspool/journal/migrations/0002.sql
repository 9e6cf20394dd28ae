-- Jobs know whether they ask for the same as another, and whose result serves them.

ALTER TABLE jobs ADD COLUMN fingerprint TEXT;
ALTER TABLE jobs ADD COLUMN reuse TEXT;
CREATE INDEX jobs_by_fingerprint ON jobs (fingerprint) WHERE fingerprint IS NOT NULL;
UPDATE alembic_version SET version_num = '0002';
