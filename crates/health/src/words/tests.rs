use super::*;
use crate::numbers::NUMBERS;

const SCORES: [&str; 9] = [
    "health",
    "ttv",
    "activity",
    "adoption",
    "sentiment",
    "support",
    "churn_risk",
    "expansion",
    "confidence",
];

fn is_japanese(text: &str) -> bool {
    text.chars()
        .any(|letter| ('ぁ'..='ヿ').contains(&letter) || ('一'..='鿿').contains(&letter))
}

fn en(input: &str, value: f64) -> String {
    sentence(input, value).en
}

fn ja(input: &str, value: f64) -> String {
    sentence(input, value).ja
}

#[test]
fn every_number_and_score_has_words_of_its_own_in_both_languages() {
    for name in NUMBERS.iter().copied().chain(SCORES) {
        let label = label(name);
        assert!(label.en != name && !is_japanese(&label.en), "{name}: {label:?}");
        assert!(
            is_japanese(&label.ja) || label.ja.starts_with("NPS"),
            "{name}: {label:?}"
        );
        for value in [0.0, -0.001, 0.3, 1.0, 2.0, 2.46, 1234.0, -3.0] {
            let told = sentence(name, value);
            for text in [&told.en, &told.ja] {
                assert!(
                    !text.contains(name) || !name.contains('_'),
                    "{name} is named: {text}"
                );
                assert!(!text.contains(['{', '}', '[', ']']), "{name}: {text}");
                assert!(!text.contains("-0"), "{name}: {text}");
            }
            assert_ne!(told.en, format!("{name} is {value}"), "no words for {name}");
            assert!(!is_japanese(&told.en), "{name}: {}", told.en);
            assert!(is_japanese(&told.ja), "{name}: {}", told.ja);
        }
    }
}

#[test]
fn no_two_numbers_are_called_the_same_or_say_the_same() {
    let names: Vec<&str> = NUMBERS.iter().copied().chain(SCORES).collect();
    for (place, name) in names.iter().enumerate() {
        for other in &names[..place] {
            let (one, two) = (label(name), label(other));
            assert!(one.en != two.en && one.ja != two.ja, "{name} and {other}");
            let tickets = ["oldest_open_ticket_days", "open_ticket_age_days"];
            if !(tickets.contains(name) && tickets.contains(other)) {
                let (one, two) = (sentence(name, 3.0), sentence(other, 3.0));
                assert!(one.en != two.en && one.ja != two.ja, "{name} and {other}");
            }
        }
    }
}

#[test]
fn every_state_has_a_name_in_both_languages() {
    let named = |told: Sentence, name: &str| told.en != name && is_japanese(&told.ja);
    for name in [
        "trial",
        "onboarding",
        "adoption",
        "expansion",
        "renewal",
        "churned",
    ] {
        assert!(named(stage(name), name), "{name}");
    }
    assert!(["high", "low", "tech"].iter().all(|name| named(tier(name), name)));
    assert!(
        ["red", "yellow", "green", "unknown"]
            .iter()
            .all(|name| named(band(name), name))
    );
    assert!(
        ["done", "on_track", "behind", "stalled"]
            .iter()
            .all(|name| named(onboarding_state(name), name))
    );
    assert_eq!(stage("paused").ja, "paused");
}

#[test]
fn a_number_is_told_in_both_languages() {
    assert_eq!(
        en("usage_trend", 0.4),
        "feature use down 60% on the 28 days before"
    );
    assert_eq!(ja("usage_trend", 0.4), "機能利用が直前28日間より60%減少");
    assert_eq!(en("usage_trend", 0.999), "feature use as in the 28 days before");
    assert_eq!(ja("errors_trend", 3.0), "エラーが普段の週より200%増加");
    assert_eq!(en("days_since_last_active", 16.0), "no use for 16 days");
    assert_eq!(ja("days_since_last_active", 16.0), "16日間利用なし");
    assert_eq!(ja("days_since_last_active", 0.0), "本日利用あり");
    assert_eq!(ja("onboarding_state", 3.0), "オンボーディングが停滞");
    assert_eq!(en("churn_risk", 0.456), "46% risk of churn within 30 days");
    assert_eq!(en("usage_28d", 12345.0), "12,345 feature uses in 28 days");
    assert_eq!(en("nps", -12.4), "NPS of 90 days is -12");
    assert_eq!(en("something_new", 2.5), "something_new is 2.5");
}

#[test]
fn one_is_singular_and_none_has_words_of_its_own() {
    assert_eq!(en("days_since_last_active", 1.0), "no use for 1 day");
    assert_eq!(en("workdays_since_last_active", 1.2), "no use for 1 working day");
    assert_eq!(
        en("empty_searches_28d", 1.0),
        "1 search without a result in 28 days"
    );
    assert_eq!(
        en("empty_searches_28d", 2.0),
        "2 searches without a result in 28 days"
    );
    assert_eq!(en("ttv_days", 1.04), "first value after 1 day");
    assert_eq!(en("open_tickets", 0.0), "no open ticket");
    assert_eq!(ja("open_escalations", 0.0), "エスカレーション中の問い合わせなし");
}

#[test]
fn a_time_that_has_passed_is_told_as_passed() {
    assert_eq!(ja("days_to_renewal", 30.0), "契約更新まで30日");
    assert_eq!(ja("days_to_renewal", 0.0), "本日で契約満了");
    assert_eq!(en("days_to_renewal", -1.0), "the contract ended 1 day ago");
    assert_eq!(ja("days_to_discount_end", -3.0), "割引終了から3日経過");
}

#[test]
fn a_ticket_just_opened_is_not_told_as_resolved() {
    assert_eq!(en("open_ticket_age_days", 0.0), "all tickets resolved");
    assert_eq!(en("open_ticket_age_days", 0.2), "a ticket opened just now");
    assert_eq!(ja("open_ticket_age_days", 9.3), "9日間未解決の問い合わせあり");
}

#[test]
fn what_is_usual_is_told_where_it_is_known_and_looks_different() {
    let told = |input, value, baseline| {
        let told = sentence_with_baseline(input, value, baseline);
        (told.en, told.ja)
    };
    let both = |en: &str, ja: &str| (en.to_string(), ja.to_string());
    assert_eq!(
        told("logins_per_user_28d", 1.5, Some(4.2)),
        both(
            "1.5 logins per active user in 28 days, usually 4.2",
            "直近28日間のログインは利用者1人あたり1.5回（普段は4.2回）"
        )
    );
    assert_eq!(
        told("seat_utilisation", 0.4, Some(0.8)),
        both(
            "40% of the seats active in 28 days, usually 80%",
            "直近28日間の利用者は契約席数の40%（普段は80%）"
        )
    );
    assert_eq!(
        told("workdays_since_last_active", 5.0, Some(0.83)),
        both(
            "no use for 5 working days, usual gap 0.8 working days",
            "5営業日利用なし（普段の間隔は0.8営業日）"
        )
    );
    for (input, value, baseline) in [
        ("seat_utilisation", 0.4, None),
        ("seat_utilisation", 0.4, Some(0.404)),
        ("workdays_since_last_active", 1.0, Some(1.04)),
        ("usage_trend", 0.4, Some(1.0)),
        ("usage_z", -2.0, Some(0.0)),
        ("something_new", 1.0, Some(2.0)),
    ] {
        let plain = sentence(input, value);
        assert_eq!(sentence_with_baseline(input, value, baseline), plain, "{input}");
    }
}
