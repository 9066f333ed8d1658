-- What a delivery belongs to, and what became of it beside delivered, retrying and failed.
ALTER TABLE deliveries_versions
    ADD COLUMN IF NOT EXISTS episode_id String DEFAULT '' COMMENT 'Of the alert',
    ADD COLUMN IF NOT EXISTS variant LowCardinality(String) DEFAULT '' COMMENT 'Of the rule, that the account was put into; empty when it has none',
    ADD COLUMN IF NOT EXISTS reference String DEFAULT '' COMMENT 'What the receiver calls what it was sent, such as a message''s ts in Slack; empty when it says nothing';

ALTER TABLE deliveries_versions
    COMMENT COLUMN status 'delivered; retrying: waits for its next attempt; failed: nobody tries it any more, it can be replayed; digest: waits for the next digest; digested: a digest that was delivered told of it; held: the breaker holds it until somebody releases it; shadow: its rule only records; held_out: its account is in the holdout of its rule; suppressed: not told, for the reason that error gives';

CREATE OR REPLACE VIEW deliveries AS
SELECT * EXCEPT (version, body) FROM deliveries_versions FINAL;
