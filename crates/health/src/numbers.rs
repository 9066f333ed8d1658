//! The numbers of an account, by name.
//!
//! What each means is defined in `docs/numbers.md`; the names are those of the columns of
//! `account_metrics`.

/// A value that a rule or a score can look at as a number; `None` means unknown.
trait AsNumber {
    fn as_number(&self) -> Option<f64>;
}

impl AsNumber for u32 {
    fn as_number(&self) -> Option<f64> {
        Some(f64::from(*self))
    }
}

impl AsNumber for u64 {
    fn as_number(&self) -> Option<f64> {
        Some(*self as f64)
    }
}

impl AsNumber for i32 {
    fn as_number(&self) -> Option<f64> {
        Some(f64::from(*self))
    }
}

impl AsNumber for f64 {
    fn as_number(&self) -> Option<f64> {
        Some(*self)
    }
}

impl<T: AsNumber> AsNumber for Option<T> {
    fn as_number(&self) -> Option<f64> {
        self.as_ref().and_then(AsNumber::as_number)
    }
}

macro_rules! numbers {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ty,)+) => {
        /// The numbers of an account at an instant. `None` means unknown; `docs/numbers.md` has the
        /// formulas.
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct Metrics {
            $($(#[doc = $doc])+ pub $name: $kind,)+
            /// Where onboarding stands; unknown without configured milestones.
            pub onboarding_state: Option<OnboardingState>,
            /// Key features without a use in 28 days, in the order of the configuration.
            pub unused_key_features: Vec<String>,
            /// Every configured milestone, in the order of the configuration.
            pub milestones: Vec<MilestoneProgress>,
        }

        /// The names of the numbers, in the order of [`Metrics::numbers`]; the last is
        /// `onboarding_state`.
        pub const NUMBERS: &[&str] = &[$(stringify!($name),)+ "onboarding_state"];

        impl Metrics {
            /// All numbers in the order of [`NUMBERS`]; `onboarding_state` counts done 0, on track 1,
            /// behind 2, stalled 3.
            pub fn numbers(&self) -> [Option<f64>; NUMBERS.len()] {
                [
                    $(self.$name.as_number(),)+
                    self.onboarding_state.map(|state| f64::from(state as u8)),
                ]
            }
        }
    };
}

numbers! {
    /// Logins on the local day.
    logins_1d: u32,
    /// Logins in 7 days.
    logins_7d: u32,
    /// Logins in 28 days.
    logins_28d: u32,
    /// Logins in 90 days.
    logins_90d: u32,
    /// Logins in the 28 days before.
    logins_prior_28d: Option<u32>,
    /// `logins_28d` ÷ `logins_prior_28d`.
    logins_trend: Option<f64>,
    /// `logins_7d` ÷ a quarter of `logins_28d`.
    logins_week_ratio: Option<f64>,
    /// Logins in 28 days per active user.
    logins_per_user_28d: Option<f64>,
    /// Local days from the last login of any user.
    days_since_last_login: Option<i32>,
    /// Local days from the last login or feature use.
    days_since_last_active: Option<i32>,
    /// Working days strictly between the last login and the local day.
    workdays_since_last_login: Option<i32>,
    /// Working days strictly between the last active day and the local day.
    workdays_since_last_active: Option<i32>,
    /// Distinct active users on the local day.
    active_users_1d: u32,
    /// Distinct active users in 7 days.
    active_users_7d: u32,
    /// Distinct active users in 28 days.
    active_users_28d: u32,
    /// Distinct active users in the 28 days before.
    active_users_prior_28d: Option<u32>,
    /// `active_users_28d` ÷ `active_users_prior_28d`.
    active_users_trend: Option<f64>,
    /// Mean daily active users over 28 days ÷ `active_users_28d`.
    stickiness: Option<f64>,
    /// The median stickiness of the account's segment.
    segment_stickiness: Option<f64>,
    /// `stickiness` ÷ `segment_stickiness`.
    relative_stickiness: Option<f64>,
    /// Seats of the contract, or else of the account's attributes.
    seats: Option<u32>,
    /// `active_users_28d` ÷ `seats`.
    seat_utilisation: Option<f64>,
    /// Key features used in 28 days.
    key_features_used_28d: Option<u32>,
    /// `key_features_used_28d` ÷ key features.
    feature_breadth: Option<f64>,
    /// Advanced features used in 28 days.
    advanced_features_used_28d: Option<u32>,
    /// Feature uses in 28 days.
    usage_28d: u64,
    /// Feature uses in the 28 days before.
    usage_prior_28d: Option<u64>,
    /// `usage_28d` ÷ `usage_prior_28d`.
    usage_trend: Option<f64>,
    /// `usage_28d` ÷ `active_users_28d`.
    feature_depth: Option<f64>,
    /// Robust z-score of the last 7 days' uses over the weeks before.
    usage_z: Option<f64>,
    /// Greatest share of one user in the uses of 28 days.
    top_user_share: Option<f64>,
    /// Days from the start to the first value event.
    ttv_days: Option<f64>,
    /// Days since the start while the value event has not happened.
    ttv_running_days: Option<f64>,
    /// Configured milestones reached.
    milestones_done: Option<u32>,
    /// Configured milestones.
    milestones_total: Option<u32>,
    /// Days since the start.
    account_age_days: Option<f64>,
    /// Days since the stage was entered.
    days_in_stage: Option<f64>,
    /// Sticky actions done.
    sticky_actions: Option<u32>,
    /// Tickets open.
    open_tickets: u32,
    /// Days since the oldest open ticket was opened.
    oldest_open_ticket_days: Option<f64>,
    /// Days since the oldest open ticket without a reply was opened.
    oldest_unanswered_ticket_days: Option<f64>,
    /// `oldest_open_ticket_days`, or 0 when all tickets of 90 days are resolved.
    open_ticket_age_days: Option<f64>,
    /// Open tickets that were escalated.
    open_escalations: Option<u32>,
    /// Escalations in 90 days.
    escalations_90d: u32,
    /// Tickets opened in 90 days.
    tickets_opened_90d: u32,
    /// Net promoter score of 90 days, newer responses weighing more.
    nps: Option<f64>,
    /// Mean satisfaction of 90 days, 1 to 5, newer responses weighing more.
    csat: Option<f64>,
    /// The newest NPS response, 0 to 10.
    last_nps: Option<f64>,
    /// Local days since that response.
    days_since_last_nps: Option<i32>,
    /// Local days since any champion was active.
    champion_days_silent: Option<i32>,
    /// Local days since any decision maker was active.
    decision_maker_days_silent: Option<i32>,
    /// Champions removed in 28 days.
    champions_removed_28d: u32,
    /// Departments that began to use the product in 28 days.
    new_departments_28d: Option<u32>,
    /// Monthly recurring revenue, in the contract's currency.
    mrr: Option<f64>,
    /// Local days to the end of the contract; negative when it is over.
    days_to_renewal: Option<i32>,
    /// Local days to the end of the discount; negative when it is over.
    days_to_discount_end: Option<i32>,
    /// Downgrades and options removed in 28 days.
    downgrades_28d: u32,
    /// Errors met in 7 days.
    errors_7d: u32,
    /// Errors of a usual week.
    errors_usual_7d: Option<f64>,
    /// `errors_7d` ÷ `errors_usual_7d`.
    errors_trend: Option<f64>,
    /// Searches without a result in 28 days.
    empty_searches_28d: u32,
    /// Engagement events in 28 days.
    engagements_28d: u32,
    /// Working days without activity between two active days, in the mean of 90 days.
    usual_gap_workdays: Option<f64>,
}

impl Metrics {
    /// A number by its name in `account_metrics`; `None` when it is unknown, or there is none of that
    /// name.
    pub fn number(&self, name: &str) -> Option<f64> {
        let place = NUMBERS.iter().position(|known| *known == name)?;
        self.numbers()[place]
    }
}

/// Where onboarding, or one milestone, stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnboardingState {
    /// Reached.
    Done,
    /// Not overdue.
    OnTrack,
    /// Overdue.
    Behind,
    /// Overdue, and nothing has been reached for long.
    Stalled,
}

impl OnboardingState {
    /// The name used in ClickHouse.
    pub fn as_str(self) -> &'static str {
        match self {
            OnboardingState::Done => "done",
            OnboardingState::OnTrack => "on_track",
            OnboardingState::Behind => "behind",
            OnboardingState::Stalled => "stalled",
        }
    }
}

/// How far an account is with a configured milestone.
#[derive(Debug, Clone, PartialEq)]
pub struct MilestoneProgress {
    /// The milestone's name.
    pub name: String,
    /// Where it stands.
    pub state: OnboardingState,
    /// When it was reached, milliseconds.
    pub reached_at: Option<i64>,
    /// Days from the step before to this one, up to now for the step that is waited for.
    pub dwell_days: Option<f64>,
}
