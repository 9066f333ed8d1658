use super::*;
use crate::numbers::{Metrics, OnboardingState};
use crate::score::Scores;
use crate::stage::Stage;

/// An account in the middle of its contract whose people use it as they always have.
fn healthy() -> Metrics {
    Metrics {
        logins_1d: 6,
        logins_7d: 40,
        logins_28d: 160,
        logins_90d: 500,
        logins_prior_28d: Some(165),
        logins_trend: Some(0.97),
        logins_week_ratio: Some(1.0),
        logins_per_user_28d: Some(13.3),
        days_since_last_login: Some(0),
        days_since_last_active: Some(0),
        workdays_since_last_login: Some(0),
        workdays_since_last_active: Some(0),
        active_users_1d: 6,
        active_users_7d: 10,
        active_users_28d: 12,
        active_users_prior_28d: Some(12),
        active_users_trend: Some(1.0),
        stickiness: Some(0.4),
        seats: Some(16),
        seat_utilisation: Some(0.75),
        key_features_used_28d: Some(4),
        feature_breadth: Some(0.8),
        advanced_features_used_28d: Some(0),
        usage_28d: 800,
        usage_prior_28d: Some(820),
        usage_trend: Some(0.976),
        feature_depth: Some(66.7),
        usage_z: Some(0.1),
        top_user_share: Some(0.2),
        ttv_days: Some(9.0),
        milestones_done: Some(4),
        milestones_total: Some(4),
        onboarding_state: Some(OnboardingState::Done),
        account_age_days: Some(300.0),
        days_in_stage: Some(280.0),
        open_ticket_age_days: Some(0.0),
        open_escalations: Some(0),
        nps: Some(20.0),
        csat: Some(4.2),
        last_nps: Some(8.0),
        days_since_last_nps: Some(20),
        champion_days_silent: Some(1),
        decision_maker_days_silent: Some(9),
        new_departments_28d: Some(0),
        mrr: Some(900.0),
        days_to_renewal: Some(120),
        days_to_discount_end: Some(200),
        errors_7d: 3,
        errors_usual_7d: Some(3.5),
        errors_trend: Some(0.86),
        usual_gap_workdays: Some(0.1),
        ..Metrics::default()
    }
}

fn scores(health: f64, churn_risk: f64) -> Scores {
    Scores {
        health: Some(health),
        churn_risk: Some(churn_risk),
        ..Scores::default()
    }
}

struct Account {
    metrics: Metrics,
    scores: Scores,
    stage: Stage,
}

impl Account {
    fn well() -> Account {
        Account {
            metrics: healthy(),
            scores: scores(84.0, 0.02),
            stage: Stage::Adoption,
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts::new(
            &self.metrics,
            &self.scores,
            self.stage,
            Tier::Low,
            Some("pro"),
            None,
        )
    }

    fn fires(&self) -> Vec<&'static str> {
        let facts = self.facts();
        let rules = shipped_compiled().unwrap();
        let firing = rules.iter().filter(|rule| rule.holds(&facts) == Some(true));
        firing.map(|rule| rule.name.as_str()).collect()
    }

    fn clears(&self, rule: &str) -> bool {
        let rules = shipped_compiled().unwrap();
        let rule = rules.iter().find(|one| one.name == rule).unwrap();
        rule.is_clear(&self.facts())
    }

    fn escalates(&self, rule: &str) -> bool {
        let rules = shipped_compiled().unwrap();
        let rule = rules.iter().find(|one| one.name == rule).unwrap();
        rule.is_critical(&self.facts())
    }
}

#[test]
fn an_account_that_does_well_fires_no_rule_and_would_clear_all_of_them() {
    let well = Account::well();
    assert_eq!(well.fires(), [""; 0]);
    for rule in shipped_compiled().unwrap() {
        assert!(well.clears(&rule.name), "{}", rule.name);
    }
}

#[test]
fn an_account_of_which_nothing_is_known_fires_no_rule() {
    let new = Account {
        metrics: Metrics::default(),
        scores: Scores::default(),
        stage: Stage::Onboarding,
    };
    assert_eq!(new.fires(), [""; 0]);
}

/// What makes an account fire a rule, what makes that critical, and what lies between opening and
/// clearing.
type Change = fn(&mut Account);
const NOTHING: Change = |_| {};

#[test]
fn each_shipped_rule_fires_on_what_it_is_for_and_lasts_until_it_is_over() {
    let cases: &[(&[&str], Change, Option<Change>, Change)] = &[
        (
            &["churn_risk"],
            |a| a.scores = scores(70.0, 0.3),
            Some(|a| a.scores = scores(70.0, 0.6)),
            |a| a.scores = scores(70.0, 0.2),
        ),
        (
            &["falling_logins"],
            |a| a.metrics.logins_trend = Some(0.5),
            Some(|a| a.metrics.logins_trend = Some(0.2)),
            |a| a.metrics.logins_trend = Some(0.7),
        ),
        (
            &["falling_usage"],
            |a| a.metrics.usage_trend = Some(0.45),
            Some(|a| a.metrics.usage_trend = Some(0.15)),
            |a| a.metrics.usage_trend = Some(0.7),
        ),
        (
            &["silence"],
            |a| a.metrics.workdays_since_last_active = Some(10),
            Some(|a| a.metrics.workdays_since_last_active = Some(20)),
            |a| a.metrics.workdays_since_last_active = Some(5),
        ),
        (
            &["stalled_onboarding"],
            |a| {
                a.stage = Stage::Onboarding;
                a.metrics.onboarding_state = Some(OnboardingState::Stalled);
            },
            None,
            |a| a.metrics.onboarding_state = Some(OnboardingState::Behind),
        ),
        (
            &["early_churn_window"],
            |a| {
                a.metrics.account_age_days = Some(60.0);
                a.scores = scores(49.0, 0.1);
            },
            None,
            |a| a.scores = scores(55.0, 0.1),
        ),
        (
            &["champion_silent"],
            |a| a.metrics.champion_days_silent = Some(21),
            Some(|a| a.metrics.champion_days_silent = Some(42)),
            |a| a.metrics.champion_days_silent = Some(10),
        ),
        (
            &["champion_removed"],
            |a| a.metrics.champions_removed_28d = 1,
            None,
            NOTHING,
        ),
        (
            &["nps_detractor"],
            |a| a.metrics.last_nps = Some(6.0),
            Some(|a| a.metrics.last_nps = Some(3.0)),
            NOTHING,
        ),
        (
            &["old_ticket"],
            |a| {
                a.metrics.open_tickets = 1;
                a.metrics.oldest_open_ticket_days = Some(7.2);
            },
            Some(|a| a.metrics.oldest_open_ticket_days = Some(22.0)),
            |a| a.metrics.oldest_open_ticket_days = Some(5.0),
        ),
        (
            &["escalated_ticket"],
            |a| {
                a.metrics.open_tickets = 2;
                a.metrics.open_escalations = Some(1);
            },
            Some(|a| a.metrics.open_escalations = Some(2)),
            NOTHING,
        ),
        (
            &["falling_seat_use"],
            |a| a.metrics.active_users_trend = Some(0.66),
            Some(|a| a.metrics.active_users_trend = Some(0.3)),
            |a| a.metrics.active_users_trend = Some(0.8),
        ),
        (
            &["discount_ending"],
            |a| {
                a.metrics.days_to_discount_end = Some(40);
                a.scores = scores(58.0, 0.1);
            },
            None,
            |a| a.scores = scores(65.0, 0.1),
        ),
        (
            &["contract_ending"],
            |a| {
                a.stage = Stage::Renewal;
                a.metrics.days_to_renewal = Some(60);
                a.metrics.usage_trend = Some(0.65);
                a.scores = scores(70.0, 0.1);
            },
            Some(|a| {
                a.metrics.days_to_renewal = Some(25);
                a.scores = scores(45.0, 0.2);
            }),
            |a| {
                a.metrics.usage_trend = Some(0.9);
                a.scores = scores(70.0, 0.1);
            },
        ),
        (&["downgraded"], |a| a.metrics.downgrades_28d = 1, None, NOTHING),
        (
            &["rising_errors"],
            |a| {
                a.metrics.errors_7d = 12;
                a.metrics.errors_trend = Some(3.4);
            },
            Some(|a| {
                a.metrics.errors_7d = 40;
                a.metrics.errors_trend = Some(11.0);
            }),
            |a| {
                a.metrics.errors_7d = 8;
                a.metrics.errors_trend = Some(2.3);
            },
        ),
        (
            &["unused_before_renewal"],
            |a| {
                a.stage = Stage::Renewal;
                a.metrics.days_to_renewal = Some(55);
                a.metrics.feature_breadth = Some(0.4);
                a.metrics.unused_key_features = vec!["report.export".into()];
            },
            None,
            |a| a.metrics.feature_breadth = Some(0.5),
        ),
        (
            &["seats_nearly_full"],
            |a| a.metrics.seat_utilisation = Some(0.9),
            None,
            |a| a.metrics.seat_utilisation = Some(0.85),
        ),
        (
            &["heavy_single_user"],
            |a| a.metrics.top_user_share = Some(0.7),
            None,
            |a| a.metrics.top_user_share = Some(0.6),
        ),
        (
            &["new_departments"],
            |a| a.metrics.new_departments_28d = Some(1),
            None,
            NOTHING,
        ),
        (
            &["advanced_features"],
            |a| a.metrics.advanced_features_used_28d = Some(1),
            None,
            NOTHING,
        ),
        (&["promoter"], |a| a.metrics.last_nps = Some(9.0), None, NOTHING),
        (
            &["value_reached"],
            |a| {
                a.metrics.account_age_days = Some(20.0);
                a.metrics.ttv_days = Some(9.0);
            },
            None,
            NOTHING,
        ),
    ];
    let mut seen: Vec<&str> = Vec::new();
    for (names, opens, escalates, between) in cases {
        let mut account = Account::well();
        opens(&mut account);
        assert_eq!(account.fires(), *names);
        let name = names[0];
        assert!(!account.clears(name), "{name}");
        assert!(!account.escalates(name), "{name}");
        between(&mut account);
        assert!(
            !account.clears(name),
            "{name} has no room between opening and clearing"
        );
        if let Some(escalates) = escalates {
            escalates(&mut account);
            assert!(account.escalates(name), "{name}");
        }
        seen.push(name);
    }
    seen.sort_unstable();
    let mut all: Vec<String> = shipped_rules().into_iter().map(|rule| rule.name).collect();
    all.sort_unstable();
    assert_eq!(seen, all, "each shipped rule has its case");
}

#[test]
fn little_use_is_not_a_fall_and_a_rare_user_is_not_silent() {
    let mut small = Account::well();
    small.metrics.logins_trend = Some(0.4);
    small.metrics.logins_prior_28d = Some(10);
    small.metrics.usage_trend = Some(0.4);
    small.metrics.usage_prior_28d = Some(20);
    small.metrics.active_users_trend = Some(0.5);
    small.metrics.active_users_prior_28d = Some(2);
    assert_eq!(small.fires(), [""; 0]);
    let mut rare = Account::well();
    rare.metrics.workdays_since_last_active = Some(12);
    rare.metrics.usual_gap_workdays = Some(5.0);
    assert_eq!(rare.fires(), [""; 0]);
    rare.metrics.workdays_since_last_active = Some(15);
    assert_eq!(rare.fires(), ["silence"]);
}

#[test]
fn a_contract_that_ran_out_unrenewed_is_not_over_for_the_rule() {
    let mut account = Account::well();
    account.stage = Stage::Renewal;
    account.scores = scores(45.0, 0.2);
    account.metrics.days_to_renewal = Some(-3);
    assert_eq!(account.fires(), ["contract_ending"]);
    assert!(account.escalates("contract_ending"));
}

#[test]
fn shipped_messages_are_there_in_both_languages() {
    let account = Account::well();
    for rule in shipped_compiled().unwrap() {
        let message = rule.message(&account.facts());
        let is_japanese = |text: &str| {
            text.chars()
                .any(|letter| ('\u{3041}'..='\u{9fff}').contains(&letter))
        };
        assert!(is_japanese(&message.ja), "{}: {}", rule.name, message.ja);
        assert!(message.en.is_ascii(), "{}: {}", rule.name, message.en);
    }
    let mut account = Account::well();
    account.metrics.logins_trend = Some(0.4);
    account.metrics.logins_28d = 66;
    let rules = shipped_compiled().unwrap();
    let falling = rules.iter().find(|rule| rule.name == "falling_logins").unwrap();
    let message = falling.message(&account.facts());
    assert_eq!(message.en, "logins at 40% of the 28 days before (66 after 165)");
    assert_eq!(message.ja, "ログインが直前28日間の40%に減少（165回→66回）");
}

#[test]
fn the_shipped_rules_are_documented() {
    let documented = include_str!("../../../../docs/rules.md");
    for rule in shipped_rules() {
        let row = documented
            .lines()
            .find(|line| line.starts_with(&format!("| `{}` |", rule.name)))
            .unwrap_or_else(|| panic!("{} has no row in docs/rules.md", rule.name));
        for condition in [Some(&rule.when), rule.clear.as_ref(), rule.escalate.as_ref()]
            .into_iter()
            .flatten()
        {
            let condition = condition.split_whitespace().collect::<Vec<_>>().join(" ");
            let cell = condition.replace("||", "\\|\\|");
            assert!(row.contains(&format!("`{cell}`")), "{}: {cell}", rule.name);
        }
    }
}

#[test]
fn the_rule_of_the_guide_is_a_rule() {
    #[derive(Deserialize)]
    struct File {
        health: Health,
    }
    #[derive(Deserialize)]
    struct Health {
        rules: Vec<RuleConfig>,
    }
    let guide = include_str!("../../../../docs/rules.md");
    let (_, example) = guide.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let file: File = toml::from_str(example).unwrap();
    let rules = in_force(&file.health.rules, &[]).unwrap();
    let rule = find(&rules, "quiet_high_touch").unwrap();
    let mut account = Account::well();
    assert_eq!(rule.holds(&account.facts()), Some(false));
    account.metrics.days_since_last_login = Some(15);
    assert_eq!(rule.holds(&account.facts()), Some(true));
    assert_eq!(
        rule.message(&account.facts()).en,
        "no login for 15 days, seats in use 75%"
    );
}

fn own(name: &str, when: &str) -> RuleConfig {
    RuleConfig {
        name: name.into(),
        kind: RuleKind::AtRisk,
        severity: Severity::Warning,
        when: when.into(),
        clear: None,
        escalate: None,
        hold: 1,
        cooldown_days: 7.0,
        tiers: default_tiers(),
        absence: false,
        message: None,
    }
}

fn names(rules: &[Rule]) -> Vec<&str> {
    rules.iter().map(|rule| rule.name.as_str()).collect()
}

#[test]
fn own_rules_come_on_top_replace_and_leave_out_shipped_ones() {
    let shipped = shipped_rules().len();
    let rules = in_force(&[own("quiet_high_touch", "logins_7d == 0")], &[]).unwrap();
    assert_eq!(rules.len(), shipped + 1);
    assert!(rules.is_sorted_by(|one, other| one.name < other.name));
    let rules = in_force(
        &[own("silence", "days_since_last_active > 30")],
        &["promoter".into()],
    )
    .unwrap();
    assert_eq!(rules.len(), shipped - 1);
    assert!(!names(&rules).contains(&"promoter"));
    let mut account = Account::well();
    account.metrics.days_since_last_active = Some(31);
    assert_eq!(
        find(&rules, "silence").unwrap().holds(&account.facts()),
        Some(true)
    );
    assert_eq!(find(&rules, "promoter"), None);
}

#[test]
fn a_wrong_rule_is_refused_with_its_place_and_what_would_be_right() {
    let refused = |rule: RuleConfig| {
        in_force(&[own("fine", "true"), rule], &[])
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused(own("quiet", "logins_7d == 0 &&\n  days_since_login > 3")),
        "health.rules[1].when: rule \"quiet\", line 2, column 3: there is no days_since_login; did you mean \
         days_since_last_login?"
    );
    assert_eq!(
        refused(RuleConfig {
            clear: Some("logins_7d".into()),
            ..own("quiet", "logins_7d == 0")
        }),
        "health.rules[1].clear: rule \"quiet\", line 1, column 1: the whole is a number, it must be a condition \
         such as logins_7d < 3"
    );
    assert!(
        refused(RuleConfig {
            escalate: Some("health <".into()),
            ..own("quiet", "logins_7d == 0")
        })
        .starts_with("health.rules[1].escalate: rule \"quiet\", line 1, column 9: ")
    );
    assert_eq!(
        refused(RuleConfig {
            message: Some(RuleMessage {
                en: "no logins".into(),
                ja: "ログイン{logins}回".into()
            }),
            ..own("quiet", "logins_7d == 0")
        }),
        "health.rules[1].message.ja: rule \"quiet\": there is no {logins}; did you mean {logins_7d}?"
    );
    assert_eq!(
        refused(RuleConfig {
            tiers: vec!["medium".into()],
            ..own("quiet", "logins_7d == 0")
        }),
        "health.rules[1].tiers: \"medium\" is not one of high, low, tech"
    );
    assert!(
        refused(RuleConfig {
            tiers: Vec::new(),
            ..own("quiet", "logins_7d == 0")
        })
        .contains("watches nobody")
    );
    assert_eq!(
        refused(RuleConfig {
            hold: 0,
            ..own("quiet", "logins_7d == 0")
        }),
        "health.rules[1].hold: must be at least 1"
    );
    assert_eq!(
        refused(RuleConfig {
            cooldown_days: f64::NAN,
            ..own("quiet", "logins_7d == 0")
        }),
        "health.rules[1].cooldown_days: must be at least 0"
    );
    assert_eq!(
        refused(own("fine", "logins_7d == 0")),
        "health.rules[1].name: \"fine\" is empty or there twice"
    );
    let unknown = in_force(&[], &["silense".into()]).unwrap_err().to_string();
    assert!(
        unknown.starts_with("health.without_rules[0]: \"silense\" is not shipped; shipped are churn_risk, "),
        "{unknown}"
    );
    let many: Vec<RuleConfig> = (0..200)
        .map(|number| own(&format!("r{number}"), "true"))
        .collect();
    assert!(
        in_force(&many, &[])
            .unwrap_err()
            .to_string()
            .contains("200 are the most")
    );
}

#[test]
fn a_rule_is_read_with_its_defaults_and_an_unknown_key_is_an_error() {
    let text = r#"{"name": "quiet", "severity": "info", "when": "logins_7d == 0"}"#;
    let read: RuleConfig = serde_json::from_str(text).unwrap();
    assert_eq!(
        read,
        RuleConfig {
            severity: Severity::Info,
            ..own("quiet", "logins_7d == 0")
        }
    );
    let text = r#"{"name": "quiet", "severity": "info", "when": "true", "cooldown": 3}"#;
    let error = serde_json::from_str::<RuleConfig>(text).unwrap_err().to_string();
    assert!(error.starts_with("unknown field `cooldown`"), "{error}");
}

#[test]
fn without_a_message_the_first_number_is_told_in_words() {
    let mut account = Account::well();
    account.metrics.usage_trend = Some(0.4);
    let said = |when: &str| {
        let rules = in_force(&[own("quiet_account", when)], &[]).unwrap();
        find(&rules, "quiet_account").unwrap().message(&account.facts())
    };
    assert_eq!(
        said("usage_trend < 0.5 && health > 3"),
        words::sentence("usage_trend", 0.4)
    );
    assert_eq!(said("stage == \"adoption\"").en, "quiet account");
    assert_eq!(said("!known(ttv_running_days)").ja, "ttv_running_daysは不明");
}
