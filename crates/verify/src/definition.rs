//! What the numbers and scores are made with: the configuration as the SQL is written from it.
//!
//! The default is what `docs/numbers.md` gives as the defaults, written down here a second time.

use std::collections::BTreeMap;

use health::{HealthConfig, Model};

/// Everything that the numbers and scores of an account depend on besides its events.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// Identifies the model and its configuration; stored rows of another one are not comparable.
    pub model_hash: String,
    /// IANA time zone of the accounts that name none.
    pub timezone: String,
    /// Key features, in their order.
    pub key_features: Vec<String>,
    /// Advanced features.
    pub advanced_features: Vec<String>,
    /// Sticky actions: names of milestones or features, or `second_member`.
    pub sticky_actions: Vec<String>,
    /// The value event of an account for which nothing else is said.
    pub value_event: String,
    /// Value events by plan.
    pub value_events_by_plan: BTreeMap<String, String>,
    /// Value events by segment.
    pub value_events_by_segment: BTreeMap<String, String>,
    /// Onboarding milestones, in their order.
    pub milestones: Vec<Milestone>,
    /// Days overdue, and without a step, at which onboarding has stalled.
    pub stalled_after_days: f64,
    /// The stages in the order in which they are looked at.
    pub stages: Vec<Stage>,
    /// Bounds of the tiers by upper-case currency; `default` for all others.
    pub tiers: BTreeMap<String, Tier>,
    /// Calendars; a time zone of none of them has that of `default`, else Saturdays and Sundays off.
    pub calendars: Vec<Calendar>,
    /// The components of `health`, and `expansion`, with their inputs.
    pub components: Vec<Component>,
    /// Log-odds of churn at the reference of every input.
    pub churn_base: f64,
    /// The inputs of `churn_risk`; their weights say nothing.
    pub churn: Vec<Input>,
    /// Weights of the components by stage; `adoption` stands in for a stage that is not named.
    pub weights: BTreeMap<String, Weights>,
    /// Weights by segment, then by stage.
    pub segment_weights: BTreeMap<String, BTreeMap<String, Weights>>,
    /// Health up to which the band is red.
    pub red_up_to: f64,
    /// Health up to which the band is yellow.
    pub yellow_up_to: f64,
}

/// A step of onboarding.
#[derive(Debug, Clone, PartialEq)]
pub struct Milestone {
    /// Name of the `milestone` or `feature` event.
    pub name: String,
    /// Days from the start by which it is expected.
    pub expected_days: f64,
}

/// A stage, and the moments at which it begins and ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Moments from which it is.
    pub from: Vec<Moment>,
    /// Moments until which it is.
    pub until: Vec<Moment>,
}

/// A moment of an account's life, moved by some days.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// One of [`MOMENTS`].
    pub name: String,
    /// Days of 24 hours after it; before it when negative.
    pub days: f64,
}

/// The moments that stages are made of.
pub const MOMENTS: [&str; 11] = [
    "started",
    "trial_started",
    "contract_started",
    "trial_lapsed",
    "onboarded",
    "upgraded",
    "renewed",
    "cancelled",
    "downgraded",
    "revived",
    "contract_ends",
];

impl Moment {
    /// Reads `started`, `started + 90d` or `contract_ends - 60d`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Moment> {
        let known = |name: &str| MOMENTS.contains(&name).then(|| name.to_string());
        let Some(at) = text.find(['+', '-']) else {
            return Some(Moment {
                name: known(text.trim())?,
                days: 0.0,
            });
        };
        let days = text[at + 1..]
            .trim()
            .strip_suffix('d')?
            .trim()
            .parse::<f64>()
            .ok()?;
        let is_before = text[at..].starts_with('-');
        Some(Moment {
            name: known(text[..at].trim())?,
            days: if is_before { -days } else { days },
        })
    }
}

/// Monthly value that makes a tier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tier {
    /// From here up `high`.
    pub high: f64,
    /// Below here `tech`.
    pub tech: f64,
}

/// Days off in some time zones.
#[derive(Debug, Clone, PartialEq)]
pub struct Calendar {
    /// IANA names.
    pub zones: Vec<String>,
    /// Days of the week that are off: 1 is Monday, 7 is Sunday.
    pub weekend: Vec<u8>,
    /// Holidays, as days since 1970-01-01.
    pub holidays: Vec<i32>,
}

/// A score that is the weighted mean of its inputs' points.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// `ttv`, `activity`, `adoption`, `sentiment`, `support` or `expansion`.
    pub name: String,
    /// What it is made of.
    pub inputs: Vec<Input>,
}

/// What a number is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// The number's name in `account_metrics`.
    pub number: String,
    /// How much it counts in its component.
    pub weight: f64,
    /// Points (or log-odds) at values that ascend; a line between them, level beyond.
    pub corners: Vec<(f64, f64)>,
}

/// The components of `health`, in the order of [`Weights`].
pub const COMPONENTS: [&str; 5] = ["ttv", "activity", "adoption", "sentiment", "support"];

/// The last day of 2099, up to which holidays are computed, in days since 1970-01-01.
const LAST_DAY: i32 = 47_481;

/// Weights of [`COMPONENTS`] in `health`, in that order.
pub type Weights = [f64; 5];

impl Definition {
    /// The definition that a configuration makes.
    pub fn of(config: &HealthConfig, model: &Model) -> Definition {
        let milestones = config.milestones.iter().map(|milestone| Milestone {
            name: milestone.name.clone(),
            expected_days: milestone.expected_days,
        });
        // What cannot be read here the model has refused already.
        let moments = |texts: &[String]| texts.iter().filter_map(|text| Moment::parse(text)).collect();
        let stages = config.stages.iter().map(|stage| Stage {
            name: stage.name.clone(),
            from: moments(&stage.from),
            until: moments(&stage.until),
        });
        let currencies = config.tiers.high.keys().chain(config.tiers.tech.keys());
        let tiers = currencies.map(|currency| {
            let (high, tech) = config.tiers.bounds(Some(currency.as_str()));
            (currency.clone(), Tier { high, tech })
        });
        let calendars = model.calendars().map(|(zone, calendar)| Calendar {
            zones: vec![zone.to_string()],
            weekend: Vec::new(),
            holidays: calendar.days_off(0, LAST_DAY),
        });
        let scores = &config.scores;
        let listed = [
            ("ttv", &scores.ttv),
            ("activity", &scores.activity),
            ("adoption", &scores.adoption),
            ("sentiment", &scores.sentiment),
            ("support", &scores.support),
            ("expansion", &scores.expansion),
        ];
        let components = listed.into_iter().map(|(name, inputs)| Component {
            name: name.to_string(),
            inputs: inputs
                .iter()
                .map(|input| Input {
                    number: input.number.clone(),
                    weight: input.weight,
                    corners: input.curve.clone(),
                })
                .collect(),
        });
        let churn = scores.churn.iter().map(|input| Input {
            number: input.number.clone(),
            weight: 1.0,
            corners: input.curve.clone(),
        });
        let weights = |by_stage: &BTreeMap<String, health::Weights>| {
            let by_stage = by_stage.iter().map(|(stage, of)| {
                let weights = [of.ttv, of.activity, of.adoption, of.sentiment, of.support];
                (stage.clone(), weights)
            });
            by_stage.collect::<BTreeMap<String, Weights>>()
        };
        let segment_weights = config.segment_weights.iter();
        Definition {
            model_hash: model.hash().to_string(),
            timezone: config.timezone.clone(),
            key_features: config.key_features.clone(),
            advanced_features: config.advanced_features.clone(),
            sticky_actions: config.sticky_actions.clone(),
            value_event: config.value_event.clone(),
            value_events_by_plan: config.value_events.plan.clone(),
            value_events_by_segment: config.value_events.segment.clone(),
            milestones: milestones.collect(),
            stalled_after_days: config.stalled_after_days,
            stages: stages.collect(),
            tiers: tiers.collect(),
            calendars: calendars.collect(),
            components: components.collect(),
            churn_base: scores.churn_base,
            churn: churn.collect(),
            weights: weights(&config.weights),
            segment_weights: segment_weights
                .map(|(segment, by_stage)| (segment.clone(), weights(by_stage)))
                .collect(),
            red_up_to: config.red_up_to,
            yellow_up_to: config.yellow_up_to,
        }
    }

    /// The calendar of a time zone, if one is configured.
    pub(crate) fn calendar(&self, zone: &str) -> Option<&Calendar> {
        let of = |zone: &str| {
            let mut calendars = self.calendars.iter();
            calendars.find(|calendar| calendar.zones.iter().any(|own| own.eq_ignore_ascii_case(zone)))
        };
        of(zone).or_else(|| of("default"))
    }
}

impl Default for Definition {
    fn default() -> Definition {
        let onboarding = [0.35, 0.3, 0.2, 0.05, 0.1];
        Definition {
            model_hash: String::new(),
            timezone: "UTC".to_string(),
            key_features: Vec::new(),
            advanced_features: Vec::new(),
            sticky_actions: Vec::new(),
            value_event: "first_value".to_string(),
            value_events_by_plan: BTreeMap::new(),
            value_events_by_segment: BTreeMap::new(),
            milestones: Vec::new(),
            stalled_after_days: 14.0,
            stages: default_stages(),
            tiers: BTreeMap::from([(
                "default".to_string(),
                Tier {
                    high: 2000.0,
                    tech: 200.0,
                },
            )]),
            calendars: Vec::new(),
            components: default_components(),
            churn_base: -3.892,
            churn: default_churn(),
            weights: BTreeMap::from([
                ("trial".to_string(), onboarding),
                ("onboarding".to_string(), onboarding),
                ("adoption".to_string(), [0.05, 0.4, 0.3, 0.1, 0.15]),
                ("renewal".to_string(), [0.0, 0.4, 0.25, 0.2, 0.15]),
            ]),
            segment_weights: BTreeMap::new(),
            red_up_to: 50.0,
            yellow_up_to: 75.0,
        }
    }
}

fn default_stages() -> Vec<Stage> {
    let moment = |name: &str, days: f64| Moment {
        name: name.to_string(),
        days,
    };
    let stage = |name: &str, from: Vec<Moment>, until: Vec<Moment>| Stage {
        name: name.to_string(),
        from,
        until,
    };
    vec![
        stage(
            "churned",
            vec![moment("cancelled", 0.0), moment("trial_lapsed", 0.0)],
            vec![moment("revived", 0.0)],
        ),
        stage(
            "trial",
            vec![moment("trial_started", 0.0)],
            vec![moment("contract_started", 0.0)],
        ),
        stage(
            "onboarding",
            vec![moment("started", 0.0)],
            vec![moment("onboarded", 0.0), moment("started", 90.0)],
        ),
        stage(
            "renewal",
            vec![moment("contract_ends", -60.0)],
            vec![moment("renewed", 0.0), moment("contract_ends", 30.0)],
        ),
        stage(
            "expansion",
            vec![moment("upgraded", 0.0)],
            vec![moment("upgraded", 90.0), moment("downgraded", 0.0)],
        ),
        stage("adoption", vec![moment("started", 0.0)], Vec::new()),
    ]
}

/// Name, weight and corners of an input.
type InputTable<'a> = (&'a str, f64, &'a [(f64, f64)]);

fn inputs(table: &[InputTable<'_>]) -> Vec<Input> {
    table
        .iter()
        .map(|(number, weight, corners)| Input {
            number: number.to_string(),
            weight: *weight,
            corners: corners.to_vec(),
        })
        .collect()
}

fn default_components() -> Vec<Component> {
    let component = |name: &str, table: &[InputTable<'_>]| Component {
        name: name.to_string(),
        inputs: inputs(table),
    };
    vec![
        component(
            "ttv",
            &[
                ("ttv_days", 1.0, &[(14.0, 100.0), (28.0, 50.0), (56.0, 0.0)]),
                (
                    "ttv_running_days",
                    1.0,
                    &[(21.0, 75.0), (28.0, 50.0), (56.0, 0.0)],
                ),
                (
                    "onboarding_state",
                    0.5,
                    &[(0.0, 100.0), (1.0, 90.0), (2.0, 40.0), (3.0, 0.0)],
                ),
            ],
        ),
        component(
            "activity",
            &[
                (
                    "workdays_since_last_active",
                    0.25,
                    &[(0.0, 100.0), (1.0, 90.0), (5.0, 40.0), (12.0, 0.0)],
                ),
                (
                    "usage_trend",
                    0.25,
                    &[(0.0, 0.0), (0.5, 20.0), (0.8, 50.0), (1.0, 80.0), (1.2, 100.0)],
                ),
                (
                    "active_users_trend",
                    0.15,
                    &[(0.5, 0.0), (0.8, 40.0), (0.95, 80.0), (1.1, 100.0)],
                ),
                ("logins_per_user_28d", 0.15, &[(0.0, 0.0), (10.0, 100.0)]),
                (
                    "seat_utilisation",
                    0.15,
                    &[(0.0, 0.0), (0.1, 25.0), (0.5, 60.0), (0.75, 100.0)],
                ),
                (
                    "relative_stickiness",
                    0.05,
                    &[(0.0, 0.0), (0.5, 40.0), (1.0, 80.0), (1.5, 100.0)],
                ),
            ],
        ),
        component(
            "adoption",
            &[
                ("feature_breadth", 0.5, &[(0.0, 0.0), (1.0, 100.0)]),
                ("feature_depth", 0.5, &[(0.0, 0.0), (20.0, 100.0)]),
            ],
        ),
        component(
            "sentiment",
            &[
                ("nps", 0.6, &[(-100.0, 0.0), (0.0, 50.0), (50.0, 100.0)]),
                ("csat", 0.4, &[(1.0, 0.0), (3.0, 50.0), (4.5, 100.0)]),
            ],
        ),
        component(
            "support",
            &[
                (
                    "open_ticket_age_days",
                    0.6,
                    &[(0.0, 100.0), (2.0, 90.0), (7.0, 50.0), (30.0, 0.0)],
                ),
                ("open_escalations", 0.4, &[(0.0, 100.0), (1.0, 30.0), (2.0, 0.0)]),
            ],
        ),
        component(
            "expansion",
            &[
                (
                    "seat_utilisation",
                    0.35,
                    &[(0.5, 0.0), (0.75, 40.0), (0.9, 80.0), (1.0, 100.0)],
                ),
                (
                    "active_users_trend",
                    0.2,
                    &[(1.0, 0.0), (1.2, 50.0), (1.6, 100.0)],
                ),
                ("usage_trend", 0.15, &[(1.0, 0.0), (1.5, 100.0)]),
                ("top_user_share", 0.1, &[(0.4, 0.0), (0.8, 100.0)]),
                ("feature_breadth", 0.1, &[(0.4, 0.0), (0.9, 100.0)]),
                ("nps", 0.1, &[(0.0, 0.0), (50.0, 100.0)]),
            ],
        ),
    ]
}

fn default_churn() -> Vec<Input> {
    inputs(&[
        (
            "workdays_since_last_active",
            1.0,
            &[(0.0, -0.3), (2.0, 0.0), (5.0, 0.5), (10.0, 1.3), (25.0, 3.3)],
        ),
        (
            "usage_trend",
            1.0,
            &[
                (0.1, 3.2),
                (0.25, 1.94),
                (0.5, 0.97),
                (0.8, 0.31),
                (1.0, 0.0),
                (1.5, -0.57),
                (2.0, -0.97),
            ],
        ),
        (
            "logins_week_ratio",
            1.0,
            &[(0.1, 1.15), (0.5, 0.35), (1.0, 0.0), (2.0, -0.35)],
        ),
        ("usage_z", 1.0, &[(-4.0, 0.6), (-2.0, 0.3), (0.0, 0.0)]),
        (
            "active_users_trend",
            1.0,
            &[(0.5, 0.8), (0.8, 0.3), (1.0, 0.0), (1.3, -0.2)],
        ),
        ("seat_utilisation", 1.0, &[(0.1, 0.5), (0.5, 0.1), (0.75, -0.2)]),
        ("feature_breadth", 1.0, &[(0.0, 0.75), (0.5, 0.0), (1.0, -0.75)]),
        ("ttv_running_days", 1.0, &[(14.0, 0.0), (74.0, 1.8)]),
        ("onboarding_state", 1.0, &[(2.0, 0.0), (3.0, 0.5)]),
        ("open_ticket_age_days", 1.0, &[(0.0, 0.0), (30.0, 1.2)]),
        ("open_escalations", 1.0, &[(0.0, 0.0), (1.0, 0.5), (3.0, 1.0)]),
        ("nps", 1.0, &[(-100.0, 0.8), (0.0, 0.2), (50.0, -0.4)]),
        ("champion_days_silent", 1.0, &[(14.0, 0.0), (45.0, 0.7)]),
        ("champions_removed_28d", 1.0, &[(0.0, 0.0), (1.0, 0.7)]),
        ("days_to_renewal", 1.0, &[(0.0, 0.4), (60.0, 0.2), (120.0, 0.0)]),
        ("downgrades_28d", 1.0, &[(0.0, 0.0), (1.0, 0.6)]),
        ("errors_trend", 1.0, &[(1.0, 0.0), (3.0, 0.4)]),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_with_their_days_and_others_refused() {
        let parsed = |text| Moment::parse(text).map(|moment| (moment.name, moment.days));
        assert_eq!(parsed("started"), Some(("started".into(), 0.0)));
        assert_eq!(parsed("started + 90d"), Some(("started".into(), 90.0)));
        assert_eq!(parsed("contract_ends-60d"), Some(("contract_ends".into(), -60.0)));
        assert_eq!(parsed("contract_ends - 60"), None);
        assert_eq!(parsed("begun"), None);
    }
}
