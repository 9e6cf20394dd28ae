-- Jobs know which attempt prepared them: it is part of the names of the files that are sent.

ALTER TABLE jobs ADD COLUMN prepared_by TEXT NOT NULL DEFAULT '';
UPDATE journal_schema SET number = '0004';
