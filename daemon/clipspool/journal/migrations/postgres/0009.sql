-- Parts of long clips are counted without reading every row at each start.

CREATE INDEX jobs_of_parts ON jobs (state) WHERE part > 0;
UPDATE journal_schema SET number = '0009';
