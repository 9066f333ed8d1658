use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::super::{Sender, Transport};
use super::*;
use crate::clock::Clock;
use crate::destination::http::{EXCERPT, READ_PATIENCE};
use crate::outcome::Verdict;
use crate::testing::{Receiver, Reply, SECRET, sender};

fn webhook(receiver: &Receiver, change: impl FnOnce(&mut Destination)) -> Sender {
    let mut destination = Destination {
        name: "test".into(),
        url: format!("http://{}/hooks?x=1", receiver.address),
        secret: SECRET.into(),
        allow_private_addresses: true,
        timeout_seconds: 5.0,
        ..Destination::default()
    };
    change(&mut destination);
    sender(destination)
}

async fn send(webhook: &Sender, body: &str) -> Answer {
    let parcel = Parcel {
        alert_id: "al-1",
        body,
        reference: None,
    };
    Transport::send(webhook, parcel).await
}

fn status(code: u16, excerpt: &str) -> Answer {
    Answer::Status {
        code,
        retry_after: None,
        excerpt: excerpt.into(),
    }
}

#[tokio::test]
async fn a_request_carries_what_standard_webhooks_asks_for() {
    let receiver = Receiver::always(Reply::Status(204, "", "")).await;
    let webhook = webhook(&receiver, |d| {
        d.headers = BTreeMap::from([("authorization".into(), "Bearer t0ken".into())]);
    });
    let before = Clock::wall().now() / 1_000;
    let answer = send(&webhook, r#"{"type":"見守り"}"#).await;
    let after = Clock::wall().now() / 1_000;
    assert_eq!(answer, status(204, ""));

    let request = receiver.wait_for(1).await.remove(0);
    assert_eq!(request.line, "POST /hooks?x=1 HTTP/1.1");
    assert_eq!(request.body, r#"{"type":"見守り"}"#);
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(
        request.header("user-agent"),
        concat!("mimamori/", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(request.header("authorization"), "Bearer t0ken");
    assert_eq!(request.header("webhook-id"), "al-1");
    let timestamp: i64 = request.header("webhook-timestamp").parse().unwrap();
    assert!(
        (before..=after).contains(&timestamp),
        "{timestamp} is the time of the attempt"
    );
    let signature = Secret::parse(SECRET)
        .unwrap()
        .sign("al-1", timestamp, request.body.as_bytes());
    assert_eq!(request.header("webhook-signature"), signature);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Receiver::always(Reply::Status(200, "", "")).await;
    let location: &'static str = format!("location: http://{}/\r\n", elsewhere.address).leak();
    for code in [301, 302, 307, 308] {
        let receiver = Receiver::always(Reply::Status(code, location, "")).await;
        let answer = send(&webhook(&receiver, |_| {}), "{}").await;
        assert_eq!(answer, status(code, ""));
        assert!(matches!(answer.verdict(), Verdict::Failed { .. }));
    }
    assert_eq!(elsewhere.requests(), []);
}

#[tokio::test]
async fn a_receiver_that_hangs_or_drips_its_headers_is_left_at_the_deadline() {
    for reply in [Reply::Hang, Reply::DripHeaders] {
        let receiver = Receiver::always(reply.clone()).await;
        let webhook = webhook(&receiver, |d| d.timeout_seconds = 0.3);
        let begun = Instant::now();
        assert_eq!(send(&webhook, "{}").await, Answer::TimedOut(300), "{reply:?}");
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
}

#[tokio::test]
async fn an_acceptance_counts_though_its_body_never_ends() {
    let receiver = Receiver::always(Reply::DripBody).await;
    let begun = Instant::now();
    let answer = send(&webhook(&receiver, |_| {}), "{}").await;
    assert_eq!(answer.verdict(), Verdict::Delivered);
    assert!(begun.elapsed() < READ_PATIENCE + Duration::from_secs(1));
}

#[tokio::test]
async fn a_reset_and_a_closed_port_are_said_without_the_address() {
    let receiver = Receiver::always(Reply::Reset).await;
    let Answer::Broken(reason) = send(&webhook(&receiver, |_| {}), "{}").await else {
        panic!("no answer came");
    };
    assert!(!reason.is_empty() && !reason.contains("hooks"), "{reason}");

    let address = receiver.address;
    drop(receiver);
    let closed = webhook(&Receiver::always(Reply::Hang).await, |d| {
        d.url = format!("http://{address}/hooks")
    });
    // The port is free once the task of the dropped receiver has ended.
    let refused = async {
        loop {
            if let Answer::Broken(reason) = send(&closed, "{}").await
                && reason.contains("refused")
            {
                return reason;
            }
            tokio::task::yield_now().await;
        }
    };
    let reason = timeout(crate::testing::PATIENCE, refused).await.unwrap();
    assert!(!reason.contains("hooks"), "{reason}");
}

#[tokio::test]
async fn what_the_receiver_says_is_cut_and_its_wish_is_read() {
    let long: &'static str = "no\r\nway ".repeat(20_000).leak();
    let receiver = Receiver::always(Reply::Status(429, "retry-after: 17\r\n", long)).await;
    let answer = send(&webhook(&receiver, |_| {}), "{}").await;
    let Answer::Status {
        code,
        retry_after,
        excerpt,
    } = answer
    else {
        panic!("{answer:?}");
    };
    assert_eq!((code, retry_after), (429, Some(Duration::from_secs(17))));
    assert_eq!(excerpt.chars().count(), EXCERPT);
    assert!(excerpt.starts_with("no way no way"));
}

#[tokio::test]
async fn a_connection_serves_again() {
    let receiver = Receiver::always(Reply::Status(200, "", "thank you")).await;
    let webhook = webhook(&receiver, |_| {});
    for _ in 0..3 {
        assert_eq!(send(&webhook, "{}").await, status(200, "thank you"));
    }
    assert_eq!(receiver.requests().len(), 3);
}

#[tokio::test]
async fn no_request_reaches_a_private_address_by_name() {
    let receiver = Receiver::always(Reply::Status(200, "", "")).await;
    let port = receiver.address.port();
    let webhook = webhook(&receiver, |d| {
        d.url = format!("http://localhost:{port}/hooks");
        d.allow_private_addresses = false;
    });
    let Answer::Broken(reason) = send(&webhook, "{}").await else {
        panic!("it was sent");
    };
    assert!(reason.contains("set allow_private_addresses"), "{reason}");
    assert_eq!(receiver.requests(), []);
}

#[tokio::test]
async fn a_proxy_is_used_when_configured() {
    let proxy = Receiver::always(Reply::Status(200, "", "")).await;
    let address = proxy.address;
    let webhook = webhook(&proxy, |d| {
        d.url = "http://cs.example/hooks".into();
        d.proxy = format!("http://{address}");
    });
    assert_eq!(send(&webhook, "{}").await.verdict(), Verdict::Delivered);
    assert_eq!(proxy.requests()[0].line, "POST http://cs.example/hooks HTTP/1.1");
}

#[test]
fn while_a_secret_changes_both_sign() {
    let older = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx";
    let settings = Settings::read(&Destination {
        url: "https://cs.example/hooks".into(),
        secret: SECRET.into(),
        previous_secret: older.into(),
        ..Destination::default()
    })
    .unwrap();
    let request = settings.render("al-1", "{}", 1_795_309_323).unwrap();
    let signature = |secret: &str| Secret::parse(secret).unwrap().sign("al-1", 1_795_309_323, b"{}");
    assert_eq!(
        request.headers["webhook-signature"].to_str().unwrap(),
        format!("{} {}", signature(SECRET), signature(older))
    );
    assert!(
        settings.render("al\n1", "{}", 0).is_err(),
        "no header can be smuggled in"
    );
}
