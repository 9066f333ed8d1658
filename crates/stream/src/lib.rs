//! Kafka: consumer thread, rebalance, producer, topics.
