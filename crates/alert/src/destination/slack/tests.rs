use super::super::{Sender, Transport};
use super::*;
use crate::config::Config;
use crate::destination::message::Message;
use crate::telling::Language;
use crate::testing::{Receiver, Reply, canonical, message, sender_of, told_in};

const GINGA: &str = "株式会社銀河設計";

fn incoming() -> Settings {
    let destination = Destination {
        url: "https://hooks.slack.example/services/T0/B0/key".into(),
        ..Destination::default()
    };
    Settings::read(&destination).unwrap()
}

fn bot(url: &str) -> Destination {
    Destination {
        name: "channel".into(),
        kind: crate::config::Kind::Slack,
        url: url.into(),
        token: "xoxb-1".into(),
        channel: "C0123456789".into(),
        allow_private_addresses: true,
        timeout_seconds: 5.0,
        ..Destination::default()
    }
}

fn body(requests: &[Request], number: usize) -> Value {
    serde_json::from_str(&requests[number].body).unwrap()
}

fn told(language: Language, change: &str) -> Message {
    message(&told_in(language), &canonical(GINGA, change))
}

#[test]
fn a_message_says_who_why_the_numbers_and_where_to_look() {
    let requests = incoming().render(&told(Language::Ja, "opened"), None);
    assert_eq!(requests.len(), 1);
    assert_eq!(
        requests[0].url.as_str(),
        "https://hooks.slack.example/services/T0/B0/key"
    );
    let text = |text: &str| json!({"type": "mrkdwn", "text": text, "verbatim": true});
    assert_eq!(
        body(&requests, 0),
        json!({
            "text": "🟠 要注意：株式会社銀河設計 — 株式会社銀河設計：機能利用が86%減少",
            "unfurl_links": false, "unfurl_media": false,
            "blocks": [
                {"type": "header",
                 "text": {"type": "plain_text", "text": "🟠 要注意：株式会社銀河設計", "emoji": true}},
                {"type": "section", "text": text(&format!(
                    "*対応区分* {}  ·  *段階* {}  ·  *プラン* standard  ·  *セグメント* mid  ·  *担当* 田中 翔 <@U0123>",
                    health::words::tier("high").ja, health::words::stage("adoption").ja))},
                {"type": "section", "text": text(
                    "*理由*\n株式会社銀河設計：機能利用が86%減少\n• 機能利用が直前28日間より86%減少\n\
                     • 未解決の問い合わせが2件\n• NPSの回答が3")},
                {"type": "section", "fields": [
                    text(&format!("*健全度*\n58.7 ({})", health::words::band("yellow").ja)),
                    text("*30日以内の解約確率*\n21%"), text("*月額*\n¥74,400"), text("*更新までの日数*\n166")]},
                {"type": "actions", "elements": [{
                    "type": "button", "text": {"type": "plain_text", "text": "アカウントを開く"},
                    "url": "https://mimamori.example/#account=ginga%2046%2Fx"}]},
                {"type": "context", "elements": [text(
                    "ルール: falling_usage · 重要度: 警告 · 2026-11-22T01:02:03.004Z · al_opened")]},
            ],
        })
    );
}

#[test]
fn nothing_from_outside_becomes_a_mention_or_a_link() {
    let evil = "<!channel> & <https://evil.example|click> <script>";
    let requests = incoming().render(&message(&told_in(Language::En), &canonical(evil, "opened")), None);
    let sent = &requests[0].body;
    assert!(
        !sent.contains("<!channel>") && !sent.contains("<https") && !sent.contains("<script>"),
        "{sent}"
    );
    assert!(
        sent.contains("&lt;!channel&gt; &amp; &lt;https://evil.example|click&gt;"),
        "{sent}"
    );
    // Our own mention is the only thing in angle brackets.
    assert_eq!(sent.matches('<').count(), 1);
    assert!(sent.contains("<@U0123>"));
}

#[test]
fn the_limits_of_slack_hold_whatever_comes() {
    for name in ["&".repeat(4_000), "守".repeat(4_000)] {
        let body_text = canonical(&name, "opened");
        for language in [Language::En, Language::Both] {
            let requests = incoming().render(&message(&told_in(language), &body_text), None);
            let sent = body(&requests, 0);
            let count = |text: &Value| text.as_str().unwrap().chars().count();
            assert!(count(&sent["text"]) <= 3_000);
            let blocks = sent["blocks"].as_array().unwrap();
            assert!(blocks.len() <= 50);
            assert!(count(&blocks[0]["text"]["text"]) <= 150);
            for block in blocks {
                if block["type"] == "section" && block["text"].is_object() {
                    assert!(count(&block["text"]["text"]) <= 3_000);
                }
            }
        }
    }
    assert_eq!(blocks::escape("a&b", 7), "a&amp;b");
    assert_eq!(blocks::escape("a&b", 6), "a…", "no half of an escape");
    assert_eq!(blocks::escape("見守り隊", 3), "見守…");
}

#[test]
fn a_bot_replies_in_the_thread_and_changes_the_first_message_at_the_end() {
    let settings = Settings::read(&bot("")).unwrap();
    let first = settings.render(&told(Language::En, "opened"), None);
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].url.as_str(), "https://slack.com/api/chat.postMessage");
    assert_eq!(first[0].headers[AUTHORIZATION], "Bearer xoxb-1");
    assert_eq!(body(&first, 0)["channel"], "C0123456789");
    assert!(body(&first, 0).get("thread_ts").is_none());

    let worse = settings.render(&told(Language::En, "escalated"), Some("17.5"));
    assert_eq!(worse.len(), 1);
    assert_eq!(body(&worse, 0)["thread_ts"], "17.5");
    assert_eq!(body(&worse, 0)["reply_broadcast"], true);

    let over = settings.render(&told(Language::En, "resolved"), Some("17.5"));
    assert_eq!(over[0].url.path(), "/api/chat.update");
    assert_eq!(body(&over, 0)["ts"], "17.5");
    let header = body(&over, 0)["blocks"][0]["text"]["text"].clone();
    assert_eq!(header, "✅ Resolved: 株式会社銀河設計");
    assert_eq!(over[1].url.path(), "/api/chat.postMessage");
    assert_eq!(body(&over, 1)["thread_ts"], "17.5");
    assert!(body(&over, 1).get("reply_broadcast").is_none());
    // Without the first message, and by an incoming webhook, it is a message of its own.
    assert_eq!(settings.render(&told(Language::En, "resolved"), None).len(), 1);
    assert_eq!(
        incoming()
            .render(&told(Language::En, "resolved"), Some("17.5"))
            .len(),
        1
    );
}

#[test]
fn what_slack_says_in_a_200_counts() {
    let answer = |code: u16, body: &str| {
        let response = Response {
            code,
            retry_after: None,
            body: body.into(),
        };
        judge(&response, true)
    };
    let said = answer(
        200,
        r#"{"ok":true,"ts":"1503435956.000247","channel":"C0123456789"}"#,
    );
    assert_eq!(
        (said.verdict(), said.reference()),
        (Verdict::Delivered, "1503435956.000247")
    );
    for passing in PASSING {
        let said = answer(200, &format!(r#"{{"ok":false,"error":"{passing}"}}"#)).verdict();
        assert!(matches!(said, Verdict::Retry { .. }), "{passing}");
    }
    for lasting in [
        "channel_not_found",
        "invalid_auth",
        "is_archived",
        "invalid_blocks",
        "what_is_this",
    ] {
        let Verdict::Failed { error } =
            answer(200, &format!(r#"{{"ok":false,"error":"{lasting}"}}"#)).verdict()
        else {
            panic!("{lasting}");
        };
        assert!(error.contains(lasting), "{error}");
    }
    let detailed = r#"{"ok":false,"error":"invalid_blocks","response_metadata":{"messages":["must be less than 3001"]}}"#;
    let Verdict::Failed { error } = answer(200, detailed).verdict() else {
        panic!("invalid_blocks");
    };
    assert!(error.contains("must be less than 3001"), "{error}");
    assert!(matches!(answer(200, "<html>").verdict(), Verdict::Retry { .. }));
    assert!(matches!(answer(429, "").verdict(), Verdict::Retry { .. }));
    assert!(matches!(answer(503, "").verdict(), Verdict::Retry { .. }));
}

#[test]
fn a_channel_is_named_by_its_id_and_only_for_a_bot() {
    let problem = |change: fn(&mut Destination)| {
        let mut destination = bot("");
        change(&mut destination);
        Settings::read(&destination).unwrap_err().to_string()
    };
    assert!(problem(|d| d.channel = "#cs-team".into()).contains("C0123456789"));
    assert!(problem(|d| d.channel = String::new()).contains("channel"));
    assert!(problem(|d| d.token = String::new()).contains("incoming webhook has its own"));
    assert!(problem(|d| d.token = "xoxb\n1".into()).contains("token"));
}

fn bot_at(receiver: &Receiver) -> Sender {
    let config = Config {
        destinations: vec![bot(&format!("http://{}/api", receiver.address))],
        ..told_in(Language::En)
    };
    sender_of(&config, None)
}

async fn send(sender: &Sender, change: &str, reference: Option<&str>) -> Answer {
    let body = canonical(GINGA, change);
    let parcel = Parcel {
        alert_id: "al_1",
        body: &body,
        reference,
    };
    Transport::send(sender, parcel).await
}

#[tokio::test]
async fn a_first_message_that_is_gone_does_not_keep_the_reply_back() {
    let receiver = Receiver::start(|request, _| {
        if request.line.contains("chat.update") {
            Reply::Status(200, "", r#"{"ok":false,"error":"message_not_found"}"#)
        } else {
            Reply::Status(200, "", r#"{"ok":true,"ts":"20.1"}"#)
        }
    })
    .await;
    let sender = bot_at(&receiver);
    let opened = send(&sender, "opened", None).await;
    assert_eq!(
        (opened.verdict(), opened.reference()),
        (Verdict::Delivered, "20.1")
    );
    let resolved = send(&sender, "resolved", Some("20.1")).await;
    assert_eq!(
        (resolved.verdict(), resolved.reference()),
        (Verdict::Delivered, "")
    );
    assert_eq!(receiver.requests().len(), 3);
    assert_eq!(receiver.requests()[0].header("authorization"), "Bearer xoxb-1");
}

#[tokio::test]
async fn a_reply_is_not_posted_twice_because_the_first_message_could_not_be_changed_yet() {
    let receiver = Receiver::start(|request, nth| match nth {
        0 => Reply::Status(429, "retry-after: 3\r\n", ""),
        _ if request.line.contains("chat.update") => Reply::Status(200, "", r#"{"ok":true,"ts":"20.1"}"#),
        _ => Reply::Status(200, "", r#"{"ok":true,"ts":"20.2"}"#),
    })
    .await;
    let sender = bot_at(&receiver);
    let held = send(&sender, "resolved", Some("20.1")).await.verdict();
    assert!(matches!(held, Verdict::Retry { hold: true, .. }), "{held:?}");
    assert_eq!(receiver.requests().len(), 1, "nothing was posted");
    assert_eq!(
        send(&sender, "resolved", Some("20.1")).await.verdict(),
        Verdict::Delivered
    );
    assert_eq!(receiver.requests().len(), 3);
}
