//! Windows, metrics, scores, drivers and alert episodes of an account; no IO and no clock.
