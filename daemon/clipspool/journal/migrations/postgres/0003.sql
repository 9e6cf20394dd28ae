-- Jobs know which version of their clip they are.

ALTER TABLE jobs ADD COLUMN version INTEGER DEFAULT 1 NOT NULL;
UPDATE journal_schema SET number = '0003';
