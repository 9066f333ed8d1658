//! The rules that ship with mimamori, for a B2B product that is used on working days.
//!
//! Thresholds are set so that an account that does well fires none of the risks. Each has room between
//! opening and clearing, and those that compare with the account's own past ask for enough of a past
//! that chance alone does not open them.

use crate::rules::RuleKind::{AtRisk, Opportunity};
use crate::rules::Severity::{Info, Warning};
use crate::rules::{
    RuleConfig, RuleKind, RuleMessage, Severity, default_cooldown, default_hold, default_tiers,
};

/// Signs that an account gets too little out of the product to stay.
macro_rules! weak_use {
    () => {
        "(health <= 60 || health < 75 && (usage_trend <= 0.7 || seat_utilisation < 0.3))"
    };
}

/// The rules that are in force unless the configuration says otherwise.
pub fn shipped_rules() -> Vec<RuleConfig> {
    let mut rules = risks();
    rules.extend(opportunities());
    rules
}

fn risks() -> Vec<RuleConfig> {
    vec![
        rule("churn_risk", AtRisk, Warning, "churn_risk >= 0.3")
            .clear("churn_risk <= 0.15")
            .escalate("churn_risk >= 0.6")
            .of_absence(),
        rule(
            "falling_logins",
            AtRisk,
            Warning,
            "logins_trend <= 0.5 && logins_prior_28d >= 20",
        )
        .clear("logins_trend >= 0.75")
        .escalate("logins_trend <= 0.2")
        .of_absence()
        .says(
            "logins at {logins_trend:percent} of the 28 days before ({logins_28d} after {logins_prior_28d})",
            "ログインが直前28日間の{logins_trend:percent}に減少（{logins_prior_28d}回→{logins_28d}回）",
        ),
        rule(
            "falling_usage",
            AtRisk,
            Warning,
            "usage_trend <= 0.5 && usage_prior_28d >= 30",
        )
        .clear("usage_trend >= 0.8")
        .escalate("usage_trend <= 0.2")
        .of_absence(),
        rule(
            "silence",
            AtRisk,
            Warning,
            "workdays_since_last_active >= 10
             && (!known(usual_gap_workdays) || workdays_since_last_active >= 3 * usual_gap_workdays)",
        )
        .clear("workdays_since_last_active <= 2")
        .escalate("workdays_since_last_active >= 20")
        .of_absence()
        .says(
            "nobody has used it for {workdays_since_last_active} working days",
            "{workdays_since_last_active}営業日にわたり利用なし",
        ),
        rule(
            "stalled_onboarding",
            AtRisk,
            Warning,
            r#"onboarding_state == "stalled" && stage in ["trial", "onboarding"]"#,
        )
        .clear(r#"onboarding_state in ["done", "on_track"] || !(stage in ["trial", "onboarding"])"#)
        .of_absence()
        .says(
            "onboarding has stalled on day {account_age_days}, {milestones_done} of {milestones_total} steps done",
            "オンボーディングが停滞（開始{account_age_days}日目、{milestones_total}ステップ中{milestones_done}完了）",
        ),
        rule(
            "early_churn_window",
            AtRisk,
            Warning,
            "account_age_days >= 60 && account_age_days < 90 && (health <= 50 || usage_trend <= 0.6)",
        )
        .clear(
            "account_age_days >= 90 || (health >= 60 && (!known(usage_trend) || usage_trend >= 0.8))",
        )
        .of_absence()
        .says(
            "day {account_age_days}, when many leave, and the health is {health}",
            "解約の多い60〜90日目（現在{account_age_days}日目）でヘルススコア{health}点",
        ),
        rule(
            "champion_silent",
            AtRisk,
            Warning,
            "champion_days_silent >= 21 && workdays_since_last_active < 10",
        )
        .clear("champion_days_silent <= 7 || !known(champion_days_silent)")
        .escalate("champion_days_silent >= 42")
        .of_absence()
        .says(
            "the champion has been silent for {champion_days_silent} days, while others go on",
            "推進担当者が{champion_days_silent}日間利用なし（他の利用者は継続）",
        ),
        rule("champion_removed", AtRisk, Warning, "champions_removed_28d >= 1")
            .clear("champions_removed_28d == 0")
            .says(
                "the champion has been removed from the account",
                "推進担当者がアカウントから外れました",
            ),
        rule(
            "nps_detractor",
            AtRisk,
            Warning,
            "last_nps <= 6 && days_since_last_nps <= 30",
        )
        .clear("last_nps > 6 || days_since_last_nps > 30")
        .escalate("last_nps <= 3")
        .says(
            "an NPS answer of {last_nps}, {days_since_last_nps} days ago",
            "NPS回答{last_nps}点（{days_since_last_nps}日前）",
        ),
        rule("old_ticket", AtRisk, Warning, "oldest_open_ticket_days >= 7")
            .clear("open_tickets == 0 || oldest_open_ticket_days <= 3")
            .escalate("oldest_open_ticket_days >= 21")
            .of_absence(),
        rule("escalated_ticket", AtRisk, Warning, "open_escalations >= 1")
            .clear("open_escalations == 0 || open_tickets == 0")
            .escalate("open_escalations >= 2")
            .says(
                "{open_escalations} escalated and still open, of {open_tickets} open tickets",
                "エスカレーション中の問い合わせ{open_escalations}件（未解決{open_tickets}件）",
            ),
        rule(
            "falling_seat_use",
            AtRisk,
            Warning,
            "active_users_trend <= 0.7 && active_users_prior_28d >= 5",
        )
        .clear("active_users_trend >= 0.9")
        .escalate("active_users_trend <= 0.4")
        .of_absence()
        .says(
            "active users down from {active_users_prior_28d} to {active_users_28d} within 28 days",
            "利用者数が28日間で{active_users_prior_28d}人から{active_users_28d}人に減少",
        ),
        rule(
            "discount_ending",
            AtRisk,
            Warning,
            concat!("days_to_discount_end >= 0 && days_to_discount_end <= 45 && ", weak_use!()),
        )
        .clear(
            "days_to_discount_end < 0 || days_to_discount_end > 45 || !known(days_to_discount_end)
             || health >= 75",
        )
        .of_absence()
        .says(
            "the discount ends in {days_to_discount_end} days and use is weak, health {health}",
            "割引終了まで{days_to_discount_end}日、利用が低調（ヘルススコア{health}点）",
        ),
        rule(
            "contract_ending",
            AtRisk,
            Warning,
            concat!(r#"stage == "renewal" && days_to_renewal <= 60 && "#, weak_use!()),
        )
        .clear(
            r#"stage != "renewal" || days_to_renewal > 60 || !known(days_to_renewal) || health >= 75"#,
        )
        .escalate("days_to_renewal <= 30 && health <= 50")
        .of_absence()
        .says(
            "the contract ends in {days_to_renewal} days and use is weak, health {health}",
            "契約終了まで{days_to_renewal}日、利用が低調（ヘルススコア{health}点）",
        ),
        rule("downgraded", AtRisk, Warning, "downgrades_28d >= 1")
            .clear("downgrades_28d == 0")
            .says(
                "a downgrade or an option removed in 28 days",
                "28日以内にダウングレードまたはオプション解約",
            ),
        rule(
            "rising_errors",
            AtRisk,
            Warning,
            "errors_7d >= 10 && (errors_trend >= 2 || errors_usual_7d == 0)",
        )
        .clear("errors_7d < 5 || errors_trend <= 1.2")
        .escalate("errors_7d >= 30 && errors_trend >= 5")
        .says(
            "{errors_7d} errors in 7 days, {errors_usual_7d} are usual",
            "直近7日間のエラー{errors_7d}件（通常{errors_usual_7d}件）",
        ),
        rule(
            "unused_before_renewal",
            AtRisk,
            Info,
            r#"feature_breadth <= 0.4 && stage == "renewal" && days_to_renewal >= 0"#,
        )
        .clear(
            r#"feature_breadth >= 0.6 || stage != "renewal" || days_to_renewal < 0"#,
        )
        .cools(30.0)
        .of_absence()
        .says(
            "{days_to_renewal} days before renewal these are not used: {unused_key_features}",
            "更新まで{days_to_renewal}日、未使用の主要機能：{unused_key_features}",
        ),
    ]
}

fn opportunities() -> Vec<RuleConfig> {
    vec![
        rule(
            "seats_nearly_full",
            Opportunity,
            Info,
            "seat_utilisation >= 0.9 && seats >= 3",
        )
        .clear("seat_utilisation < 0.8")
        .cools(30.0)
        .says(
            "{active_users_28d} of {seats} seats in use",
            "契約{seats}席のうち{active_users_28d}席が利用中",
        ),
        rule(
            "heavy_single_user",
            Opportunity,
            Info,
            "top_user_share >= 0.7 && usage_28d >= 300",
        )
        .clear("top_user_share <= 0.5 || usage_28d < 150")
        .cools(30.0)
        .says(
            "one user id makes {top_user_share:percent} of {usage_28d} uses: more seats may be needed",
            "1つのユーザーIDが利用{usage_28d}回の{top_user_share:percent}を占める（席の追加余地）",
        ),
        rule("new_departments", Opportunity, Info, "new_departments_28d >= 1")
            .clear("new_departments_28d == 0 || !known(new_departments_28d)")
            .cools(30.0)
            .says(
                "{new_departments_28d} new departments use it since the last 28 days",
                "直近28日間に新たに{new_departments_28d}部署が利用開始",
            ),
        rule(
            "advanced_features",
            Opportunity,
            Info,
            "advanced_features_used_28d >= 1",
        )
        .clear("advanced_features_used_28d == 0")
        .cools(30.0)
        .says(
            "advanced features in use: {advanced_features_used_28d}",
            "上位機能を{advanced_features_used_28d}種類利用中",
        ),
        rule(
            "promoter",
            Opportunity,
            Info,
            "last_nps >= 9 && days_since_last_nps <= 30",
        )
        .clear("last_nps < 9 || days_since_last_nps > 30")
        .cools(30.0)
        .says(
            "an NPS answer of {last_nps}: a promoter to ask for a reference",
            "NPS回答{last_nps}点：推奨者（事例や紹介の候補）",
        ),
        rule(
            "value_reached",
            Opportunity,
            Info,
            "ttv_days >= 0 && account_age_days - ttv_days <= 14",
        )
        .clear("account_age_days - ttv_days > 14 || !known(ttv_days)")
        .cools(30.0)
        .says(
            "the first value was reached after {ttv_days} days",
            "開始から{ttv_days}日で初回の価値実感に到達",
        ),
    ]
}

fn rule(name: &str, kind: RuleKind, severity: Severity, when: &str) -> RuleConfig {
    RuleConfig {
        name: name.to_string(),
        kind,
        severity,
        when: when.to_string(),
        clear: None,
        escalate: None,
        hold: default_hold(),
        cooldown_days: default_cooldown(),
        tiers: default_tiers(),
        absence: false,
        message: None,
    }
}

/// The parts that not every rule has.
impl RuleConfig {
    fn clear(mut self, clear: &str) -> RuleConfig {
        self.clear = Some(clear.to_string());
        self
    }

    fn escalate(mut self, escalate: &str) -> RuleConfig {
        self.escalate = Some(escalate.to_string());
        self
    }

    fn of_absence(mut self) -> RuleConfig {
        self.absence = true;
        self
    }

    fn cools(mut self, days: f64) -> RuleConfig {
        self.cooldown_days = days;
        self
    }

    fn says(mut self, en: &str, ja: &str) -> RuleConfig {
        self.message = Some(RuleMessage {
            en: en.to_string(),
            ja: ja.to_string(),
        });
        self
    }
}
