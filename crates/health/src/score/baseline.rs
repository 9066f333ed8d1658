//! What is usual for the account, which a driver's value is told against.

use crate::numbers::Metrics;

/// The account's numbers over the 28 days before the last 28, by the formulas of the numbers of the
/// same name; `None` while the account's life is too short, and where the formula is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[allow(missing_docs, reason = "the fields are the numbers")]
pub struct Usual {
    pub logins_per_user_28d: Option<f64>,
    pub seat_utilisation: Option<f64>,
    pub feature_breadth: Option<f64>,
    pub feature_depth: Option<f64>,
    pub top_user_share: Option<f64>,
}

/// Where the usual of a number comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Baseline {
    /// The number has no usual.
    None,
    /// The number is itself a comparison, and this is where nothing differs.
    Fixed(f64),
    /// The account's usual gap between two active days.
    Gap,
    /// The account's own past.
    Past(fn(&Usual) -> Option<f64>),
}

impl Baseline {
    /// Of the number of this name.
    pub(crate) fn of_number(name: &str) -> Baseline {
        match name {
            "workdays_since_last_active" => Baseline::Gap,
            "logins_trend"
            | "active_users_trend"
            | "usage_trend"
            | "errors_trend"
            | "logins_week_ratio"
            | "relative_stickiness" => Baseline::Fixed(1.0),
            "usage_z" => Baseline::Fixed(0.0),
            "logins_per_user_28d" => Baseline::Past(|usual| usual.logins_per_user_28d),
            "seat_utilisation" => Baseline::Past(|usual| usual.seat_utilisation),
            "feature_breadth" => Baseline::Past(|usual| usual.feature_breadth),
            "feature_depth" => Baseline::Past(|usual| usual.feature_depth),
            "top_user_share" => Baseline::Past(|usual| usual.top_user_share),
            _ => Baseline::None,
        }
    }

    pub(crate) fn value(self, metrics: &Metrics, usual: &Usual) -> Option<f64> {
        match self {
            Baseline::None => None,
            Baseline::Fixed(value) => Some(value),
            Baseline::Gap => metrics.usual_gap_workdays,
            Baseline::Past(of) => of(usual),
        }
    }
}
