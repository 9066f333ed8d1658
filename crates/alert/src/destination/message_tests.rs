use serde_json::json;

use super::*;
use crate::config::Config;
use crate::telling::{RuleTelling, Wording};
use crate::testing::{canonical, message, told_in};

const GINGA: &str = "株式会社銀河設計";

fn values(facts: &[Fact]) -> Vec<String> {
    facts
        .iter()
        .map(|fact| format!("{}: {}", fact.label, fact.value))
        .collect()
}

#[test]
fn a_body_is_put_into_words() {
    let told = message(&told_in(Language::En), &canonical(GINGA, "opened"));
    assert_eq!(told.title, "At risk: 株式会社銀河設計");
    assert_eq!(told.reasons, ["株式会社銀河設計: feature use down 86%"]);
    assert_eq!(
        told.drivers,
        [
            "feature use down 86% on the 28 days before",
            "2 tickets open",
            "an NPS answer of 3"
        ]
    );
    assert_eq!(
        values(&told.numbers),
        [
            "Health: 58.7 (Watch)",
            "Churn risk, 30 days: 21%",
            "Monthly value: ¥74,400",
            "Days to renewal: 166"
        ]
    );
    assert_eq!(values(&told.who).last().unwrap(), "Owner: 田中 翔");
    // The page reads the account from the fragment.
    assert_eq!(
        told.link.as_deref(),
        Some("https://mimamori.example/#account=ginga%2046%2Fx")
    );
}

#[test]
fn a_language_or_both_can_be_spoken() {
    let told = message(&told_in(Language::Ja), &canonical(GINGA, "escalated"));
    assert_eq!(told.title, "悪化：株式会社銀河設計");
    assert_eq!(told.reasons, ["株式会社銀河設計（悪化）：機能利用が86%減少"]);
    assert_eq!(told.drivers[1], "未解決の問い合わせが2件");
    let told = message(&told_in(Language::Both), &canonical(GINGA, "resolved"));
    assert_eq!(told.title, "Resolved / 解消: 株式会社銀河設計");
    assert_eq!(told.reasons.len(), 2);
    assert!(values(&told.numbers)[1].starts_with("Churn risk, 30 days / 30日以内の解約確率: 21%"));
}

#[test]
fn a_template_takes_the_place_of_the_reason_while_it_is_true() {
    let mut config = told_in(Language::Ja);
    let wording = Wording {
        en: "Call {account}".into(),
        ja: "{owner}さん、{account}へ電話を（健全度{health}、解約確率{churn_risk}、NPS{last_nps}、{unused_key_features}）。{reason}".into(),
    };
    let telling = RuleTelling {
        message: Some(wording),
        ..RuleTelling::default()
    };
    config.rules.insert("falling_usage".into(), telling);
    let told = message(&config, &canonical("{reason} 社", "opened"));
    assert_eq!(
        told.reasons,
        [
            "田中 翔さん、{reason} 社へ電話を（健全度58.7、解約確率21%、NPS不明、\
          dashboard.share、workflow.automate）。{reason} 社：機能利用が86%減少"
        ]
    );
    let told = message(&config, &canonical(GINGA, "resolved"));
    assert_eq!(told.reasons, ["株式会社銀河設計（解消）：機能利用が86%減少"]);
}

#[test]
fn lists_are_told_with_how_many_more_there_are() {
    let item = |n: usize| {
        json!({"account_id": format!("a{n}"), "account": format!("会社{n}"), "rule": "falling_usage",
               "severity": "critical", "reason": format!("会社{n}: down"), "reason_ja": format!("会社{n}：減少")})
    };
    let items: Vec<Value> = (0..25).map(item).collect();
    let digest = json!({"type": "alerts.digest", "timestamp": "2026-11-30T00:00:00Z",
                        "data": {"alert_id": "dg_1", "count": 62, "alerts": items}});
    let told = message(&told_in(Language::En), &digest.to_string());
    assert_eq!(
        (told.subject, told.title.as_str()),
        (Subject::Digest, "Digest: 62 alerts")
    );
    assert_eq!(told.items.len(), LISTED + 1);
    assert_eq!(told.items[0], "[critical] 会社0: down");
    assert_eq!(told.items[LISTED], "and 42 more");
    assert_eq!(told.link.as_deref(), Some("https://mimamori.example/"));

    let held = json!({"type": "alerts.held", "timestamp": "2026-11-30T00:00:00Z",
                      "data": {"alert_id": "hd_1", "rule": "falling_usage", "reason": "falling_usage: 72 of 200 accounts",
                               "reason_ja": "falling_usage：200件中72件", "accounts": 72, "release": "mimamori alert held release rule:falling_usage",
                               "examples": [{"account_id": "a1", "rule": "falling_usage", "severity": "info"}]}});
    let told = message(&told_in(Language::Ja), &held.to_string());
    assert_eq!(told.title, "アラートを保留中");
    assert_eq!(told.reasons, ["falling_usage：200件中72件"]);
    assert_eq!(told.items, ["[情報] a1: falling_usage", "ほか71件"]);
    assert_eq!(
        values(&told.numbers),
        ["通知を再開するには: mimamori alert held release rule:falling_usage"]
    );
}

#[test]
fn what_is_not_known_is_told_by_its_type_and_what_is_no_json_not_at_all() {
    let config = Config::default();
    let told = message(
        &config,
        r#"{"type":"account.score.changed","data":{"account_id":"acme"}}"#,
    );
    assert_eq!(told.title, "account.score.changed");
    assert!(told.link.is_none() && told.numbers.is_empty() && told.reasons.is_empty());
    let telling = config.telling().unwrap();
    let style = Style {
        language: Language::En,
        telling: &telling,
    };
    assert!(
        Message::read("al_1", "nonsense", style)
            .unwrap_err()
            .contains("not JSON")
    );
    assert!(
        Message::read("al_1", "[]", style).is_ok(),
        "nothing in it, and no panic"
    );
}

#[test]
fn a_title_is_one_line() {
    let told = message(
        &told_in(Language::En),
        &canonical("a\r\nBcc: x@y.example\r\n\r\nb", "opened"),
    );
    assert_eq!(told.title, "At risk: a Bcc: x@y.example b");
}
