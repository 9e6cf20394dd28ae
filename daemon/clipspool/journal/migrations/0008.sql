-- Jobs know which part of a long clip they are, and into which parts a clip was cut.

ALTER TABLE jobs ADD COLUMN part INTEGER DEFAULT '0' NOT NULL;
ALTER TABLE jobs ADD COLUMN parts TEXT;
UPDATE alembic_version SET version_num = '0008';
