-- A node says whether it has a page: without any, nobody sees posters, and none are drawn.

ALTER TABLE nodes ADD COLUMN has_page BOOLEAN NOT NULL DEFAULT false;
UPDATE journal_schema SET number = '0010';
