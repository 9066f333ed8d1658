//! Synthetic customers with a known truth.
