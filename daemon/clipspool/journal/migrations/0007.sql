-- Clips are found by folder, in the order in which the page groups them.

CREATE INDEX clips_by_folder
    ON clips (inbox, rtrim(CAST(path AS TEXT), replace(CAST(path AS TEXT), '/', '')), path);
UPDATE alembic_version SET version_num = '0007';
