//! What must be true before the process is told to be ready.

use std::fmt;
use std::sync::Arc;

type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Named checks, each asked anew by every `/readyz`. A check must answer at once: it looks at a flag
/// that somebody else keeps, it does not go and find out.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// let assigned = Arc::new(AtomicBool::new(false));
/// let seen = assigned.clone();
/// let readiness = api::Readiness::new().check("ingest", move || {
///     if seen.load(Ordering::Relaxed) { Ok(()) } else { Err("no partition assigned yet".into()) }
/// });
/// # let _ = readiness;
/// ```
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Vec<(String, Check)>,
    ignores_clickhouse: bool,
}

impl Readiness {
    /// Ready from the start.
    pub fn new() -> Readiness {
        Readiness::default()
    }

    /// Adds a check; its error is the reason why not. Clones made before do not have it.
    pub fn check<F>(mut self, name: impl Into<String>, check: F) -> Readiness
    where
        F: Fn() -> Result<(), String> + Send + Sync + 'static,
    {
        self.checks.push((name.into(), Arc::new(check)));
        self
    }

    /// Ready without ClickHouse, too: for a process that does not use it.
    pub fn without_clickhouse(mut self) -> Readiness {
        self.ignores_clickhouse = true;
        self
    }

    pub(crate) fn needs_clickhouse(&self) -> bool {
        !self.ignores_clickhouse
    }

    /// Each check's name and what it says now.
    pub(crate) fn ask(&self) -> Vec<(String, Result<(), String>)> {
        self.checks
            .iter()
            .map(|(name, check)| (name.clone(), check()))
            .collect()
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_list()
            .entries(self.checks.iter().map(|(name, _)| name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_added_to_a_clone_does_not_reach_the_other() {
        let first = Readiness::new().check("a", || Ok(()));
        let second = first.clone().check("b", || Err("not yet".into()));
        assert_eq!(first.ask(), [("a".to_string(), Ok(()))]);
        assert_eq!(
            second.ask(),
            [
                ("a".to_string(), Ok(())),
                ("b".to_string(), Err("not yet".to_string()))
            ]
        );
    }
}
