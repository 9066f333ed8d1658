//! The sections of `[alert]` that say who is told, and when.

use serde::{Deserialize, Serialize};

/// One of `[[alert.routes]]`: alerts that match all its lists go to its destinations. An empty list
/// matches everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouteConfig {
    /// Names of rules. Default any.
    pub rules: Vec<String>,
    /// `info`, `warning`, `critical`. Default any.
    pub severities: Vec<String>,
    /// `at_risk`, `opportunity`. Default any.
    pub kinds: Vec<String>,
    /// `high`, `low`, `tech`. Default any.
    pub tiers: Vec<String>,
    /// Segments of accounts. Default any.
    pub segments: Vec<String>,
    /// Owners of accounts, as the accounts name them. Default any.
    pub owners: Vec<String>,
    /// Variants that `alert.rules.NAME.variants` name. Default any.
    pub variants: Vec<String>,
    /// Names of destinations. Default none: nobody is told.
    pub destinations: Vec<String>,
    /// When they are told. Default `now`.
    pub when: When,
    /// Whether the routes behind this one are looked at too. Default false.
    pub r#continue: bool,
}

/// When a destination is told, the sooner the less.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// At once.
    #[default]
    Now,
    /// At once within `alert.work_hours`, else when they begin.
    WorkHours,
    /// With the next digest.
    Digest,
}

/// Section `[alert.work_hours]`, in `alert.timezone`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkHoursConfig {
    /// Weekdays of work: `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`. Default `mon` to `fri`.
    pub days: Vec<String>,
    /// When work begins, `09:00`. Default `09:00`.
    pub from: String,
    /// When it ends, later on the same day; `24:00` is midnight. Default `18:00`.
    pub until: String,
    /// Holidays that are computed: `none`, or `japan` (1970–2099). Default `none`.
    pub holidays: String,
    /// Further days off: dates as `2026-12-29`, or ranges as `2026-12-29..2027-01-03`, both ends
    /// included. Default none.
    pub extra: Vec<String>,
    /// Days of work although they fall on a weekend, a holiday or an extra day off; written as those
    /// are. Default none.
    pub workdays: Vec<String>,
}

impl Default for WorkHoursConfig {
    fn default() -> WorkHoursConfig {
        WorkHoursConfig {
            days: ["mon", "tue", "wed", "thu", "fri"].map(str::to_string).to_vec(),
            from: "09:00".to_string(),
            until: "18:00".to_string(),
            holidays: "none".to_string(),
            extra: Vec::new(),
            workdays: Vec::new(),
        }
    }
}

/// Section `[alert.digest]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DigestConfig {
    /// When it goes out on days of work, in `alert.timezone`. Default `09:00`.
    pub at: String,
    /// Alerts that it lists at most; the rest is counted. Default 50.
    pub max_alerts: u32,
}

impl Default for DigestConfig {
    fn default() -> DigestConfig {
        DigestConfig {
            at: "09:00".to_string(),
            max_alerts: 50,
        }
    }
}
