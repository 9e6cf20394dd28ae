-- Jobs know which attempt prepared them: it is part of the names of the files that are sent.

ALTER TABLE jobs ADD COLUMN prepared_by TEXT NOT NULL DEFAULT '';
UPDATE alembic_version SET version_num = '0004';
