-- Parts of long clips are counted, and clips in work found, without reading every row at each start.

CREATE INDEX jobs_of_parts ON jobs (state) WHERE part > 0;
CREATE INDEX clips_not_retired ON clips (inbox) WHERE retired_at IS NULL;
UPDATE alembic_version SET version_num = '0009';
