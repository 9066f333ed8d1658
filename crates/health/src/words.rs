//! Numbers in words, English and Japanese.

use crate::metrics::OnboardingState;

/// A sentence in both languages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// English.
    pub en: String,
    /// Japanese.
    pub ja: String,
}

/// What a number says, such as "no use for 16 days"; a number without words of its own is named.
pub fn sentence(input: &str, value: f64) -> Sentence {
    let days = value.round();
    let percent = (value * 100.0).round();
    let (en, ja) = match input {
        "days_since_last_active" if days <= 0.0 => ("used today".into(), "本日利用あり".into()),
        "days_since_last_active" => (
            format!("no use for {days} {}", plural(days, "day", "days")),
            format!("{days}日間利用なし"),
        ),
        "days_since_last_login" if days <= 0.0 => ("logged in today".into(), "本日ログインあり".into()),
        "days_since_last_login" => (
            format!("no login for {days} {}", plural(days, "day", "days")),
            format!("{days}日間ログインなし"),
        ),
        "usage_trend" => {
            let change = percent - 100.0;
            match change {
                change if change < 0.0 => (
                    format!("feature use down {}% on the 28 days before", -change),
                    format!("機能利用が直前28日間より{}%減少", -change),
                ),
                change if change > 0.0 => (
                    format!("feature use up {change}% on the 28 days before"),
                    format!("機能利用が直前28日間より{change}%増加"),
                ),
                _ => (
                    "feature use as in the 28 days before".into(),
                    "機能利用は直前28日間と同水準".into(),
                ),
            }
        }
        "logins_7d" => (
            format!("{days} {} in 7 days", plural(days, "login", "logins")),
            format!("直近7日間のログイン{days}回"),
        ),
        "logins_28d" => (
            format!("{value:.1} logins per active user in 28 days"),
            format!("直近28日間のログインは利用者1人あたり{value:.1}回"),
        ),
        "seat_utilisation" => (
            format!("{percent}% of the seats active in 28 days"),
            format!("直近28日間に席の{percent}%が利用"),
        ),
        "feature_breadth" => (
            format!("{percent}% of the key features in use"),
            format!("主要機能の{percent}%を利用"),
        ),
        "feature_depth" => (
            format!("{value:.1} feature uses per active user in 28 days"),
            format!("直近28日間の機能利用は利用者1人あたり{value:.1}回"),
        ),
        "ttv_days" => (
            format!("first value after {value:.1} days"),
            format!("初回の価値実感まで{value:.1}日"),
        ),
        "ttv_running_days" => (
            format!(
                "still waiting for the first value after {days} {}",
                plural(days, "day", "days")
            ),
            format!("開始から{days}日、初回の価値実感に未到達"),
        ),
        "oldest_open_ticket_days" => (
            format!("a ticket open for {days} {}", plural(days, "day", "days")),
            format!("{days}日間未解決の問い合わせ"),
        ),
        "open_tickets" => (
            format!("{days} open {}", plural(days, "ticket", "tickets")),
            format!("未解決の問い合わせ{days}件"),
        ),
        "onboarding_state" => onboarding(value),
        "churn_risk" => (
            format!("{percent}% risk of churn within 30 days"),
            format!("30日以内の解約リスク{percent}%"),
        ),
        "health" => (format!("health {days} of 100"), format!("ヘルススコア{days}点")),
        other => (format!("{other} is {value}"), format!("{other}は{value}")),
    };
    Sentence { en, ja }
}

fn onboarding(value: f64) -> (String, String) {
    let (en, ja) = if value >= OnboardingState::Stalled as u8 as f64 {
        ("onboarding has stalled", "オンボーディングが停滞")
    } else if value >= OnboardingState::Behind as u8 as f64 {
        ("onboarding is behind schedule", "オンボーディングに遅れ")
    } else if value >= OnboardingState::OnTrack as u8 as f64 {
        ("onboarding is on track", "オンボーディングは順調")
    } else {
        ("onboarding is done", "オンボーディング完了")
    };
    (en.to_string(), ja.to_string())
}

fn plural<'a>(count: f64, one: &'a str, many: &'a str) -> &'a str {
    if count == 1.0 { one } else { many }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_told_in_both_languages() {
        let fall = sentence("usage_trend", 0.4);
        assert_eq!(fall.en, "feature use down 60% on the 28 days before");
        assert_eq!(fall.ja, "機能利用が直前28日間より60%減少");
        assert_eq!(sentence("days_since_last_active", 1.0).en, "no use for 1 day");
        assert_eq!(sentence("onboarding_state", 3.0).ja, "オンボーディングが停滞");
        assert_eq!(sentence("something_new", 2.5).en, "something_new is 2.5");
    }
}
