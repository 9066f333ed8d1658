//! The alert worker: delivers triggers as signed webhooks.
