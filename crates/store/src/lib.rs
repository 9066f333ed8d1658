//! ClickHouse: migrations, row types, batched inserts, checkpoints, queries.
