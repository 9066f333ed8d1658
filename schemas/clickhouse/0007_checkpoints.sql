-- How many states a checkpoint rests on, so that one that was lost is noticed.
ALTER TABLE checkpoints
    ADD COLUMN IF NOT EXISTS accounts UInt64 DEFAULT 0 COMMENT 'Saved states that the partition had; 0 when it is not known';
