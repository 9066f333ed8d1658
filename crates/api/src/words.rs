//! Names and sentences for the inputs of the scores, Japanese and English.

use serde::Serialize;

/// The same in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Words {
    pub(crate) en: String,
    pub(crate) ja: String,
}

/// What a number is called; one that has no words yet is called by its own name.
pub(crate) fn label(input: &str) -> Words {
    let (en, ja) = match input {
        "logins_1d" => ("Logins today", "本日のログイン"),
        "logins_7d" => ("Logins, 7 days", "ログイン(7日)"),
        "logins_28d" => ("Logins, 28 days", "ログイン(28日)"),
        "logins_90d" => ("Logins, 90 days", "ログイン(90日)"),
        "days_since_last_login" => ("Days since last login", "最終ログインからの日数"),
        "days_since_last_active" => ("Days since last use", "最終利用からの日数"),
        "active_users_1d" => ("Active users today", "本日の利用者"),
        "active_users_7d" => ("Active users, 7 days", "利用者(7日)"),
        "active_users_28d" => ("Active users, 28 days", "利用者(28日)"),
        "stickiness" => ("Stickiness", "定着率(日次÷28日利用者)"),
        "seats" => ("Seats", "契約席数"),
        "seat_utilisation" => ("Seats in use", "席の利用率"),
        "key_features_used_28d" => ("Key features used", "利用中の主要機能"),
        "feature_breadth" => ("Breadth of key features", "主要機能の利用範囲"),
        "feature_depth" => ("Uses per active user", "利用者1人あたりの利用回数"),
        "unused_key_features" => ("Key features not used", "未利用の主要機能"),
        "usage_28d" => ("Feature uses, 28 days", "機能利用(28日)"),
        "usage_trend" => ("Trend of use", "利用の増減"),
        "ttv_days" => ("Time to first value", "初回の価値実感までの日数"),
        "ttv_running_days" => ("Waiting for first value", "価値実感待ちの日数"),
        "milestones_done" => ("Milestones done", "達成済みマイルストーン"),
        "milestones_total" => ("Milestones in all", "マイルストーン総数"),
        "onboarding_state" => ("Onboarding", "オンボーディング"),
        "open_tickets" => ("Open tickets", "未解決の問い合わせ"),
        "oldest_open_ticket_days" => ("Oldest open ticket", "最も古い未解決の問い合わせ"),
        "mrr" => ("MRR", "MRR(月次経常収益)"),
        "days_to_renewal" => ("Days to renewal", "更新までの日数"),
        "tenure_days" => ("Days as a customer", "契約からの日数"),
        other => (other, other),
    };
    Words {
        en: en.to_string(),
        ja: ja.to_string(),
    }
}

/// What an input says with this value; without one, that it is unknown.
pub(crate) fn sentence(input: &str, value: Option<f64>) -> Words {
    match value {
        Some(value) => {
            let told = health::words::sentence(input, value);
            Words {
                en: told.en,
                ja: told.ja,
            }
        }
        None => {
            let label = label(input);
            Words {
                en: format!("{}: unknown", label.en),
                ja: format!("{}は不明", label.ja),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_without_words_is_called_by_its_name() {
        assert_eq!(label("shoe_size").ja, "shoe_size");
        assert!(sentence("shoe_size", Some(43.0)).en.contains("shoe_size"));
    }

    #[test]
    fn an_unknown_value_is_told_to_be_unknown_in_both_languages() {
        let told = sentence("usage_trend", None);
        assert_eq!(told.en, "Trend of use: unknown");
        assert_eq!(told.ja, "利用の増減は不明");
    }
}
