-- Whom an episode's earlier changes reached is asked for by the episode.
ALTER TABLE deliveries_versions
    ADD INDEX IF NOT EXISTS by_episode episode_id TYPE bloom_filter(0.01) GRANULARITY 4;

ALTER TABLE deliveries_versions
    COMMENT COLUMN destination 'The name of the destination; empty for what concerns none: an alert that no route takes anywhere, or one held out while there is no destination',
    COMMENT COLUMN status 'delivered; retrying: waits for its next attempt; failed: nobody tries it any more, it can be replayed; digest: waits for the next digest; digested: belongs to the digest that reference names; held: the breaker holds it until somebody releases it; shadow: its rule only records; held_out: its account is in the holdout of its rule; suppressed: not told, for the reason that error gives',
    COMMENT COLUMN reference 'What the receiver calls what it was sent, such as a message''s ts in Slack; of a row that is digested the alert_id of its digest; empty when there is nothing to name';
