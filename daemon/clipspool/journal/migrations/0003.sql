-- Jobs know which version of their clip they are.

ALTER TABLE jobs ADD COLUMN version INTEGER DEFAULT '1' NOT NULL;
UPDATE alembic_version SET version_num = '0003';
