-- The rows of midnights long before what has been read, of which a loaded history has more than there are
-- events, are nobody's newest: every account is evaluated as soon as there is a now to speak of. They need
-- not go to the tables of the newest. The new views are there before the old ones go; of what both bring one
-- row is left.
CREATE MATERIALIZED VIEW metrics_of_now_to_newest TO metrics_newest AS
SELECT *, bitShiftLeft(toUInt128(greatest(toUnixTimestamp64Milli(evaluated_at), 0)), 64) + version AS rank
FROM metrics_versions
WHERE NOT is_daily OR evaluated_at > watermark - INTERVAL 3 DAY;

DROP VIEW IF EXISTS metrics_to_newest;

CREATE MATERIALIZED VIEW scores_of_now_to_newest TO scores_newest AS
SELECT *, bitShiftLeft(toUInt128(greatest(toUnixTimestamp64Milli(evaluated_at), 0)), 64) + version AS rank
FROM scores_versions
WHERE NOT is_daily OR evaluated_at > watermark - INTERVAL 3 DAY;

DROP VIEW IF EXISTS scores_to_newest;

-- A part of one file for all columns, not of two to four for each of seventy, until it is large: these tables get
-- rows every second, and in a profile of the server and the worker under load the file system's work for making
-- files was a tenth of all.
ALTER TABLE metrics_versions MODIFY SETTING min_bytes_for_wide_part = 134217728;

ALTER TABLE scores_versions MODIFY SETTING min_bytes_for_wide_part = 134217728;
