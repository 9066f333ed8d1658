//! The aggregate worker: folds events into accounts, scores them and lands everything in ClickHouse.
