-- Clips are found by folder, in the order in which the page groups them.

CREATE FUNCTION folder_of(path BYTEA) RETURNS TEXT IMMUTABLE LANGUAGE SQL
    RETURN regexp_replace(encode(path, 'escape'), '[^/]*$', '') COLLATE "C";
CREATE INDEX clips_by_folder ON clips (inbox, folder_of(path), path);
UPDATE journal_schema SET number = '0007';
