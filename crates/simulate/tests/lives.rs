//! What holds of the lives: the truth that is told of each account shows in its events.

#![allow(clippy::unwrap_used, reason = "all of this file is tests, the helpers too")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::Value;
use simulate::{
    ADVANCED_FEATURES, AccountTruth, Archetype, Config, Kind, Onboarding, TRUTH_COLUMNS, simulate,
    write_truth,
};

/// 2026-11-20T03:00:00Z.
const UNTIL: i64 = 1_795_143_600_000;
const DAY: i64 = 86_400_000;
const WEEK: i64 = 7 * DAY;

/// An account's truth and its events: type, name, instant, user, properties.
struct Account {
    truth: AccountTruth,
    events: Vec<Event>,
}

struct Event {
    kind: String,
    name: String,
    user: String,
    at: i64,
    properties: Value,
}

/// 400 accounts over 8 months, weighted towards the lives that change.
static ACCOUNTS: LazyLock<Vec<Account>> = LazyLock::new(|| {
    let mut config = Config {
        accounts: 400,
        months: 8,
        seed: 11,
        until_ms: UNTIL,
        ..Config::default()
    };
    for (archetype, weight) in [
        (Archetype::Steady, 10.0),
        (Archetype::FadedChurned, 22.0),
        (Archetype::FadedRecovered, 14.0),
        (Archetype::SuddenChurn, 10.0),
    ] {
        config.archetypes.insert(archetype, weight);
    }
    let mut simulation = simulate(&config).unwrap();
    let mut events: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for emission in &mut simulation {
        if emission.kind != Kind::Event {
            continue;
        }
        let event: Value = serde_json::from_slice(&emission.payload).unwrap();
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        events.entry(emission.account_id).or_default().push(Event {
            kind: text("type"),
            name: text("name"),
            user: text("user_id"),
            at: emission.occurred_at,
            properties: event["properties"].clone(),
        });
    }
    simulation
        .truth()
        .iter()
        .map(|truth| {
            let mut events = events.remove(&truth.account_id).unwrap_or_default();
            events.sort_by_key(|event| event.at);
            Account {
                truth: truth.clone(),
                events,
            }
        })
        .collect()
});

impl Account {
    fn logins(&self, from: i64, to: i64) -> f64 {
        self.events
            .iter()
            .filter(|event| event.kind == "login" && (from..to).contains(&event.at))
            .count() as f64
    }

    /// Key numbers of the four weeks before `to`.
    fn logins_4_weeks(&self, to: i64) -> f64 {
        self.logins(to - 4 * WEEK, to)
    }

    fn features(&self, from: i64, to: i64) -> usize {
        let used = self
            .events
            .iter()
            .filter(|event| event.kind == "feature" && (from..to).contains(&event.at));
        used.map(|event| event.name.as_str())
            .collect::<BTreeSet<_>>()
            .len()
    }

    fn first(&self, kind: &str, name: &str) -> Option<&Event> {
        self.events
            .iter()
            .find(|event| event.kind == kind && event.name == name)
    }
}

fn all(archetype: Archetype) -> impl Iterator<Item = &'static Account> {
    ACCOUNTS
        .iter()
        .filter(move |account| account.truth.archetype == archetype)
}

#[test]
fn those_who_fade_fade_before_they_churn() {
    let (mut churners, mut halved, mut narrowed, mut open, mut champion_lost, mut detractors) =
        (0, 0, 0, 0, 0, 0);
    for account in all(Archetype::FadedChurned) {
        let Some(churned) = account.truth.churned_at else {
            continue;
        };
        let fade_from = account.truth.fade_from.unwrap();
        let weeks = (churned - fade_from) as f64 / WEEK as f64;
        assert!(
            (4.0..10.2).contains(&weeks),
            "{} faded for {weeks} weeks",
            account.truth.account_id
        );
        churners += 1;
        let own = account.logins_4_weeks(churned - 10 * WEEK);
        halved += u32::from(account.logins_4_weeks(churned) < own / 2.0);
        let (wide, narrow) = (
            account.features(fade_from - 4 * WEEK, fade_from),
            account.features(churned - 2 * WEEK, churned),
        );
        narrowed += u32::from(narrow * 2 <= wide);

        let mut tickets = BTreeSet::new();
        for event in account.events.iter().filter(|event| event.kind == "ticket") {
            let id = event.properties["ticket_id"].as_str().unwrap();
            match event.name.as_str() {
                "opened" => _ = tickets.insert(id),
                "resolved" => assert!(tickets.remove(id), "{id} was opened before it was resolved"),
                _ => {}
            }
        }
        open += u32::from(!tickets.is_empty());
        let champion = account
            .events
            .iter()
            .find(|event| event.properties["role"] == "champion")
            .unwrap();
        let seen = |from: i64, to: i64| {
            let mut own = account.events.iter().filter(|event| event.user == champion.user);
            own.any(|event| event.kind == "login" && (from..to).contains(&event.at))
        };
        assert!(seen(fade_from - 4 * WEEK, fade_from));
        champion_lost += u32::from(!seen(churned - WEEK, churned));
        let mut scores = account
            .events
            .iter()
            .filter(|event| event.name == "nps" && event.at >= fade_from);
        detractors += u32::from(scores.any(|event| event.properties["score"].as_i64().unwrap() <= 6));
    }
    assert!(churners >= 40, "{churners}");
    let at_least = |share: f64, count: u32, what: &str| {
        assert!(
            f64::from(count) >= share * f64::from(churners),
            "{what}: {count} of {churners}"
        );
    };
    at_least(0.9, halved, "logins halved");
    at_least(0.9, narrowed, "features narrowed");
    at_least(0.5, open, "tickets left open");
    at_least(0.6, champion_lost, "champion not seen in the last week");
    at_least(0.4, detractors, "low score while fading");
}

#[test]
fn those_who_churn_suddenly_give_no_sign() {
    let (mut churners, mut halved) = (0, 0);
    for account in all(Archetype::SuddenChurn) {
        let Some(churned) = account.truth.churned_at else {
            continue;
        };
        assert_eq!(account.truth.fade_from, None);
        churners += 1;
        let own = account.logins_4_weeks(churned - 10 * WEEK);
        halved += u32::from(account.logins_4_weeks(churned) < own / 2.0);
    }
    assert!(churners >= 15, "{churners}");
    assert!(halved * 10 <= churners, "{halved} of {churners}");
}

#[test]
fn those_who_recover_fade_and_come_back() {
    let (mut recovered, mut faded, mut back) = (0, 0, 0);
    for account in all(Archetype::FadedRecovered) {
        let Some(at) = account.truth.recovered_at.filter(|at| at + 4 * WEEK <= UNTIL) else {
            continue;
        };
        assert_eq!(account.truth.churned_at, None);
        let fade_from = account.truth.fade_from.unwrap();
        recovered += 1;
        let own = account.logins_4_weeks(fade_from);
        // The bottom ends 10 to 18 days before the recovery is complete.
        let bottom = account.logins(at - 28 * DAY, at - 14 * DAY) * 2.0;
        faded += u32::from(bottom < own / 2.0);
        back += u32::from(account.logins_4_weeks(at + 4 * WEEK) > own * 0.65);
    }
    assert!(recovered >= 20, "{recovered}");
    assert!(
        f64::from(faded) >= 0.85 * f64::from(recovered),
        "{faded} of {recovered} faded"
    );
    assert!(
        f64::from(back) >= 0.9 * f64::from(recovered),
        "{back} of {recovered} came back"
    );
}

#[test]
fn steady_accounts_stay() {
    let (mut steady, mut halved) = (0, 0);
    for account in all(Archetype::Steady).filter(|account| account.truth.start < UNTIL - 200 * DAY) {
        steady += 1;
        halved += u32::from(account.logins_4_weeks(UNTIL) < account.logins_4_weeks(UNTIL - 10 * WEEK) / 2.0);
    }
    assert!(steady >= 15);
    assert!(halved <= 1, "{halved} of {steady}");
}

#[test]
fn onboarding_is_as_told() {
    let mut known = BTreeMap::new();
    for account in ACCOUNTS.iter() {
        let truth = &account.truth;
        // Late milestones may still be on their way at the end.
        if truth.start > UNTIL - 70 * DAY {
            continue;
        }
        let value = account.first("milestone", "first_value").map(|event| event.at);
        assert_eq!(value, truth.first_value_at, "{}", truth.account_id);
        *known.entry(truth.onboarding.as_str()).or_insert(0) += 1;
        let days = value.map(|at| (at - truth.start) as f64 / DAY as f64);
        match truth.onboarding {
            Onboarding::Fast => assert!(days.unwrap() < 5.0),
            Onboarding::Normal => assert!((4.0..17.0).contains(&days.unwrap())),
            Onboarding::Slow => assert!((27.0..61.0).contains(&days.unwrap())),
            Onboarding::Stalled => assert_eq!(days, None),
        }
        let created = account.first("milestone", "workspace_created").unwrap();
        assert!((0..DAY).contains(&(created.at - truth.start)));
    }
    assert_eq!(known.len(), 4);
    assert!(known.values().all(|count| *count >= 10), "{known:?}");
}

#[test]
fn trials_convert_or_lapse() {
    let (mut converted, mut lapsed) = (0, 0);
    for account in all(Archetype::TrialConverted) {
        assert!(account.first("contract", "trial_started").is_some());
        let started = account.first("contract", "started").map(|event| event.at);
        if account.truth.converted_at.is_some_and(|at| at < UNTIL - 3 * DAY) {
            assert_eq!(started, account.truth.converted_at);
            converted += 1;
        }
    }
    for account in all(Archetype::TrialLapsed) {
        assert!(account.first("contract", "trial_started").is_some());
        assert!(account.first("contract", "started").is_none());
        assert!(account.first("contract", "cancelled").is_none());
        lapsed += u32::from(account.truth.lapsed_at.is_some());
    }
    assert!(
        converted >= 10 && lapsed >= 10,
        "{converted} converted, {lapsed} lapsed"
    );
}

#[test]
fn those_who_expand_fill_their_seats_and_work_one_user_hard() {
    let mut expanded = 0;
    for account in all(Archetype::Expanding) {
        let Some(at) = account.truth.expanded_at.filter(|at| *at < UNTIL - 3 * DAY) else {
            continue;
        };
        expanded += 1;
        let upgraded = account.first("contract", "upgraded").unwrap();
        assert_eq!(upgraded.at, at);
        let seats = account.first("account", "").unwrap().properties["seats"]
            .as_f64()
            .unwrap();
        assert!(upgraded.properties["seats"].as_f64().unwrap() > seats * 1.5);
        let added = |before: i64| {
            let users = account
                .events
                .iter()
                .filter(|event| event.kind == "user" && event.at < before);
            users
                .map(|event| event.user.as_str())
                .collect::<BTreeSet<_>>()
                .len() as f64
        };
        assert!(
            added(at) >= seats * 0.8,
            "{}: {} of {seats} seats",
            account.truth.account_id,
            added(at)
        );
        let mut logins: BTreeMap<&str, u32> = BTreeMap::new();
        for event in account
            .events
            .iter()
            .filter(|event| (at - 4 * WEEK..at).contains(&event.at))
        {
            *logins.entry(&event.user).or_default() += u32::from(event.kind == "login");
        }
        let mut counts: Vec<u32> = logins.into_values().collect();
        counts.sort_unstable_by(|one, other| other.cmp(one));
        assert!(
            counts[0] > 2 * counts.get(1).copied().unwrap_or(0),
            "{}: {counts:?}",
            account.truth.account_id
        );
    }
    assert!(expanded >= 15, "{expanded}");
}

#[test]
fn work_is_done_on_working_days() {
    let (mut weekday, mut weekend, mut night) = (0u64, 0u64, 0u64);
    for account in ACCOUNTS.iter() {
        let zone = jiff::tz::TimeZone::get(&account.truth.timezone).unwrap();
        for event in account.events.iter().filter(|event| event.kind == "login") {
            let local = jiff::Timestamp::from_millisecond(event.at)
                .unwrap()
                .to_zoned(zone.clone());
            let sunday_or_saturday = matches!(
                local.weekday(),
                jiff::civil::Weekday::Saturday | jiff::civil::Weekday::Sunday
            );
            *(if sunday_or_saturday {
                &mut weekend
            } else {
                &mut weekday
            }) += 1;
            night += u64::from(local.hour() < 6);
        }
    }
    assert!(weekend * 30 < weekday, "{weekend} at weekends, {weekday} else");
    assert!(night * 100 < weekday, "{night} at night");
}

#[test]
fn japanese_accounts_rest_in_golden_week() {
    let rest = |timezone: &str, from: &str, to: &str| {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let accounts = ACCOUNTS
            .iter()
            .filter(|account| account.truth.timezone == timezone);
        accounts
            .map(|account| account.logins(at(from), at(to)))
            .sum::<f64>()
    };
    let week = |timezone: &str| rest(timezone, "2026-05-04T00:00:00+09:00", "2026-05-09T00:00:00+09:00");
    let after = |timezone: &str| rest(timezone, "2026-05-18T00:00:00+09:00", "2026-05-23T00:00:00+09:00");
    // Three of the five days are holidays.
    assert!(week("Asia/Tokyo") < 0.55 * after("Asia/Tokyo"));
    assert!(week("America/New_York") > 0.7 * after("America/New_York"));
}

#[test]
fn use_spreads_to_new_departments_where_an_account_expands() {
    let (mut expanded, mut spread) = (0, 0);
    for account in all(Archetype::Expanding) {
        let Some(at) = account.truth.expanded_at.filter(|at| *at < UNTIL - 3 * DAY) else {
            continue;
        };
        expanded += 1;
        let mut first: BTreeMap<&str, i64> = BTreeMap::new();
        for event in account.events.iter().filter(|event| event.kind == "user") {
            if let Some(department) = event.properties["department"].as_str() {
                first.entry(department).or_insert(event.at);
            }
        }
        let begun = first.values().min().unwrap();
        let late = first.values().filter(|joined| **joined > begun + 14 * DAY);
        if let Some(newest) = late.max() {
            assert!(account.truth.spread_at.is_some_and(|spread| spread <= *newest));
            spread += u32::from((at - 75 * DAY..at + 50 * DAY).contains(newest));
        }
    }
    assert!(spread * 2 >= expanded, "{spread} of {expanded}");
}

#[test]
fn those_who_expand_come_to_use_advanced_features() {
    let uses = |account: &Account, from: i64, to: i64| {
        let mut used = account.events.iter().filter(|event| {
            ADVANCED_FEATURES.contains(&event.name.as_str()) && (from..to).contains(&event.at)
        });
        used.next().is_some()
    };
    let (mut expanded, mut before, mut long_before) = (0, 0, 0);
    for account in all(Archetype::Expanding) {
        if let Some(at) = account.truth.expanded_at {
            expanded += 1;
            before += u32::from(uses(account, at - 4 * WEEK, at));
            long_before += u32::from(uses(account, 0, at - 9 * WEEK));
        }
    }
    assert_eq!((before, long_before), (expanded, 0));
    let steady: Vec<bool> = all(Archetype::Steady)
        .map(|account| uses(account, 0, UNTIL))
        .collect();
    assert!(steady.iter().filter(|used| **used).count() * 5 < steady.len());
}

#[test]
fn answers_in_surveys_follow_the_mood() {
    let (mut well, mut fading) = ((0.0, 0.0), (0.0, 0.0));
    for account in all(Archetype::FadedChurned) {
        let Some(fade_from) = account.truth.fade_from else {
            continue;
        };
        for event in account.events.iter().filter(|event| event.name == "csat") {
            let part = if event.at < fade_from {
                &mut well
            } else {
                &mut fading
            };
            part.0 += event.properties["score"].as_f64().unwrap();
            part.1 += 1.0;
        }
    }
    assert!(well.1 > 20.0 && fading.1 > 20.0, "{well:?} {fading:?}");
    let (well, fading) = (well.0 / well.1, fading.0 / fading.1);
    assert!(
        well > 3.7 && fading < well - 0.8,
        "{well} before, {fading} while fading"
    );
}

#[test]
fn faults_rise_before_some_churn_and_in_support_trouble() {
    let rising = |account: &Account, from: i64| {
        let errors = |from: i64, to: i64| {
            let met = account
                .events
                .iter()
                .filter(|event| event.kind == "error" && (from..to).contains(&event.at));
            met.count() as f64
        };
        errors(from, from + 2 * WEEK) >= 3.0
            && errors(from, from + 2 * WEEK) > 3.0 * errors(from - 4 * WEEK, from) / 2.0
    };
    let fading =
        all(Archetype::FadedChurned).filter_map(|account| Some(rising(account, account.truth.fade_from?)));
    let fading: Vec<bool> = fading.collect();
    let rose = fading.iter().filter(|rose| **rose).count();
    assert!(
        rose * 10 >= fading.len() && rose * 2 <= fading.len(),
        "{rose} of {}",
        fading.len()
    );
    let trouble =
        all(Archetype::SupportTrouble).filter_map(|account| Some(rising(account, account.truth.trouble_at?)));
    let trouble: Vec<bool> = trouble.collect();
    let rose = trouble.iter().filter(|rose| **rose).count();
    assert!(rose * 2 >= trouble.len(), "{rose} of {}", trouble.len());
}

#[test]
fn champions_leave_churners_and_at_times_those_who_stay() {
    let (mut leaving, mut staying) = (0, 0);
    for account in ACCOUNTS.iter() {
        let removed = account
            .events
            .iter()
            .find(|event| event.kind == "user" && event.properties["removed"] == true);
        if let Some(at) = account
            .truth
            .champion_removed_at
            .filter(|at| *at < UNTIL - 3 * DAY)
        {
            assert_eq!(
                removed.map(|event| event.at),
                Some(at),
                "{}",
                account.truth.account_id
            );
            let stays = account.truth.churned_at.or(account.truth.will_churn_at).is_none();
            *(if stays { &mut staying } else { &mut leaving }) += 1;
        }
    }
    assert!(
        leaving >= 10 && staying >= 3,
        "{leaving} leaving, {staying} staying"
    );
}

#[test]
fn tickets_are_left_open_escalated_and_unanswered() {
    let (mut open, mut escalated, mut unanswered) = (0, 0, 0);
    for account in ACCOUNTS.iter() {
        let mut tickets: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for event in account.events.iter().filter(|event| event.kind == "ticket") {
            let id = event.properties["ticket_id"].as_str().unwrap();
            tickets.entry(id).or_default().insert(&event.name);
        }
        for changes in tickets.values().filter(|changes| !changes.contains("resolved")) {
            open += 1;
            escalated += u32::from(changes.contains("escalated"));
            unanswered += u32::from(!changes.contains("replied"));
        }
    }
    assert!(
        open >= 40 && escalated >= 10 && unanswered >= 10,
        "{open} {escalated} {unanswered}"
    );
}

#[test]
fn many_accounts_are_shut_over_golden_week_and_back_after_it() {
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let (from, to) = (at("2026-05-02T00:00:00+09:00"), at("2026-05-07T00:00:00+09:00"));
    let (mut closed, mut seen) = (0, 0);
    for account in all(Archetype::Steady) {
        let truth = &account.truth;
        if truth.timezone != "Asia/Tokyo" || truth.start > from - 60 * DAY {
            continue;
        }
        seen += 1;
        closed += u32::from(account.logins(from, to) == 0.0);
        assert!(account.logins(to, to + 2 * WEEK) > 0.0, "{}", truth.account_id);
    }
    assert!(closed * 2 >= seen && seen >= 8, "{closed} of {seen}");
}

#[test]
fn the_truth_file_has_a_line_for_each_account() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("truth.csv");
    let truth: Vec<AccountTruth> = ACCOUNTS.iter().map(|account| account.truth.clone()).collect();
    write_truth(&path, &truth).unwrap();
    let written = std::fs::read_to_string(&path).unwrap();
    let mut lines = written.lines();
    assert_eq!(lines.next().unwrap(), TRUTH_COLUMNS.join(","));
    let fields = serde_json::to_value(&truth[0]).unwrap();
    assert_eq!(fields.as_object().unwrap().len(), TRUTH_COLUMNS.len());
    for (line, account) in lines.clone().zip(&truth) {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells.len(), TRUTH_COLUMNS.len(), "{line}");
        let cell = |column: &str| cells[TRUTH_COLUMNS.iter().position(|name| *name == column).unwrap()];
        assert_eq!(cell("account_id"), account.account_id);
        assert_eq!(cell("archetype"), account.archetype.as_str());
        let churned = cell("churned_at");
        let churned_at = churned
            .parse::<jiff::Timestamp>()
            .ok()
            .map(|at| at.as_millisecond());
        assert_eq!(churned_at, account.churned_at);
        assert_eq!(cell("distinct"), account.distinct.to_string());
    }
    assert_eq!(lines.count(), truth.len());

    let missing = folder.path().join("no-such-folder").join("truth.csv");
    let refused = write_truth(&missing, &truth).unwrap_err().to_string();
    assert!(refused.contains("no-such-folder"), "{refused}");
}
