//! The ingest worker: raw events in, validated and re-keyed events out.
