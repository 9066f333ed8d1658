//! Every kind of destination against a receiver that fails in every way that is known, through a real
//! engine: whatever happens, each alert arrives or lies as failed with its reason.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prometheus::Registry;
use tokio::time::timeout;

use super::*;
use crate::breaker::BreakerConfig;
use crate::config::{Config, HubspotObject};
use crate::engine::{Arrival, Bounds, Engine};
use crate::lane::{CircuitLimits, DELIVERED, FAILED, Lane, Limits};
use crate::metrics::AlertMetrics;
use crate::schedule::Schedule;
use crate::testing::mail::{MailServer, Treatment};
use crate::testing::{Memory, Receiver, Reply, Request, SECRET, alert, sender_of, told_in};

const AT: i64 = 1_795_309_323_000;

/// On a machine that is busy with other things as well.
const PATIENCE: Duration = Duration::from_secs(120);

/// A destination of each kind that speaks HTTP, by its name, and how its receiver says yes.
fn kinds(address: &str) -> Vec<(Destination, Reply)> {
    let of = |name: &str, kind| Destination {
        name: name.into(),
        kind,
        url: format!("http://{address}"),
        allow_private_addresses: true,
        timeout_seconds: 2.0,
        rate_per_second: Some(0.0),
        concurrency: Some(4),
        ..Destination::default()
    };
    let hubspot = |name: &str, object| Destination {
        token: "pat-1".into(),
        object: Some(object),
        ..of(name, Kind::Hubspot)
    };
    let published = r#"{"success":true,"errors":[{"statusCode":"OPERATION_ENQUEUED"}]}"#;
    vec![
        (
            Destination {
                secret: SECRET.into(),
                ..of("webhook", Kind::Webhook)
            },
            Reply::Status(204, "", ""),
        ),
        (of("slack", Kind::Slack), Reply::Status(200, "", "ok")),
        (
            Destination {
                token: "xoxb-1".into(),
                channel: "C0123456789".into(),
                ..of("bot", Kind::Slack)
            },
            Reply::Status(200, "", r#"{"ok":true,"ts":"17.5"}"#),
        ),
        (
            Destination {
                routing_key: "0123456789abcdef0123456789abcdef".into(),
                ..of("pagerduty", Kind::Pagerduty)
            },
            Reply::Status(202, "", r#"{"status":"success"}"#),
        ),
        (
            Destination {
                event: "pe1_alert".into(),
                ..hubspot("event", HubspotObject::Event)
            },
            Reply::Status(204, "", ""),
        ),
        (
            hubspot("task", HubspotObject::Task),
            Reply::Status(201, "", r#"{"id":"77"}"#),
        ),
        (
            Destination {
                event: "Alert__e".into(),
                token: "00D-1".into(),
                ..of("salesforce", Kind::Salesforce)
            },
            Reply::Status(201, "", published),
        ),
    ]
}

struct Bench {
    engine: Engine<Memory>,
    ledger: Memory,
    name: String,
}

/// An engine with one lane, for a destination whose names are looked up by `guard`.
fn start(destination: Destination, guard: Option<Guard>) -> Bench {
    let name = destination.name.clone();
    let config = Config {
        destinations: vec![destination],
        ..told_in(Language::En)
    };
    let limits = Limits {
        destination: name.clone(),
        queue: 100,
        concurrency: 4,
        rate_per_second: 0.0,
        schedule: Schedule::try_new(&[0.0; 16], 0.0).unwrap(),
        set_aside: Duration::from_secs(2),
        reload_pause: Duration::from_millis(50),
        circuit: CircuitLimits {
            failures: 0,
            pause: Duration::from_secs(30),
            longest: Duration::from_secs(600),
        },
    };
    let bounds = Bounds {
        max_uncommitted: 1_000,
        recorder_queue: 100,
        drain: Duration::from_secs(1),
        breaker: BreakerConfig {
            share: 0.0,
            ..BreakerConfig::default()
        },
        look: Duration::from_secs(1),
    };
    let ledger = Memory::new();
    let policy = config.policy().unwrap();
    let metrics = AlertMetrics::register(&Registry::new()).unwrap();
    let lanes = vec![(Lane::new(limits), sender_of(&config, guard))];
    let (engine, _failure) = Engine::start(ledger.clone(), policy, lanes, bounds, metrics, Clock::wall());
    engine.assign(&[0], 1);
    Bench { engine, ledger, name }
}

impl Bench {
    /// Six alerts of three episodes, and what became of each: its status and its last error.
    async fn deliver(&self) -> BTreeMap<String, (String, String)> {
        let mut arrivals = Vec::new();
        for account in ["a", "aa", "aaa"] {
            for (change, at) in [("opened", AT), ("resolved", AT + 1_000)] {
                arrivals.push(Arrival {
                    partition: 0,
                    offset: i64::try_from(arrivals.len()).unwrap(),
                    change: Some(alert(account, change, at)),
                });
            }
        }
        self.engine.submit(arrivals).await.unwrap();
        let settled = async {
            loop {
                let statuses = self.ledger.statuses(&self.name);
                let is_settled = |status: &String| status == DELIVERED || status == FAILED;
                if statuses.len() == 6 && statuses.values().all(is_settled) {
                    return;
                }
                self.engine.progress().await;
            }
        };
        if timeout(PATIENCE, settled).await.is_err() {
            panic!("{}: {:?}", self.name, self.ledger.statuses(&self.name));
        }
        let last = |alert_id: &String| {
            let row = self.ledger.rows(&self.name, alert_id).pop().unwrap();
            (alert_id.clone(), (row.status, row.error))
        };
        self.ledger.statuses(&self.name).keys().map(last).collect()
    }
}

/// The faults that pass, one after the other, then `yes`.
fn failing(yes: Reply) -> impl Fn(&Request, usize) -> Reply + Send + Sync + 'static {
    move |_, nth| match nth {
        0 => Reply::Status(500, "", "oops"),
        1 => Reply::Hang,
        2 => Reply::Reset,
        3 => Reply::Status(429, "retry-after: 1\r\n", "slowly"),
        4 => Reply::DripHeaders,
        5 => Reply::Status(503, "retry-after: 0\r\n", ""),
        _ => yes.clone(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_outlasted_by_every_kind() {
    let mut running = tokio::task::JoinSet::new();
    for number in 0..kinds("x.example").len() {
        running.spawn(async move {
            let yes = kinds("x.example").remove(number).1;
            let receiver = Receiver::start(failing(yes)).await;
            let destination = kinds(&receiver.address.to_string()).remove(number).0;
            let bench = start(destination, None);
            for (alert_id, (status, error)) in bench.deliver().await {
                assert_eq!(status, DELIVERED, "{}: {alert_id}: {error}", bench.name);
            }
            // Six faults, and at least a request for each alert after them.
            assert!(receiver.requests().len() >= 12, "{}", bench.name);
            bench
        });
    }
    let mut benches = BTreeMap::new();
    while let Some(bench) = running.join_next().await {
        let bench = bench.unwrap();
        benches.insert(bench.name.clone(), bench);
    }
    assert_eq!(benches.len(), 7);
    let reference = |name: &str| {
        benches[name]
            .ledger
            .rows(name, "al-a-opened")
            .pop()
            .unwrap()
            .reference
    };
    assert_eq!(
        (reference("bot").as_str(), reference("task").as_str()),
        ("17.5", "77")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lasts_is_failed_with_its_reason_by_every_kind() {
    let elsewhere = Receiver::always(Reply::Status(200, "", "ok")).await;
    let location: &'static str = format!("location: http://{}/\r\n", elsewhere.address).leak();
    for (reply, reasons) in [
        (
            Reply::Status(302, location, ""),
            ["redirects are not followed", "redirects are not followed"],
        ),
        (
            Reply::Status(400, "", "what is this"),
            ["answered 400", "what is this"],
        ),
        (Reply::Status(410, "", ""), ["answered 410", "answered 410"]),
    ] {
        let receiver = Receiver::always(reply).await;
        for (destination, _) in kinds(&receiver.address.to_string()) {
            let bench = start(destination, None);
            for (alert_id, (status, error)) in bench.deliver().await {
                assert_eq!(status, FAILED, "{}: {alert_id}", bench.name);
                let is_said = reasons.iter().all(|reason| error.contains(reason));
                assert!(is_said, "{}: {alert_id}: {error}", bench.name);
            }
        }
    }
    assert_eq!(elsewhere.requests(), [], "nobody was led elsewhere");
}

/// A resolver whose first answer is permitted and whose later ones lead home. Of loopback both: here
/// 127.0.0.1 is what must not be reached.
fn changing() -> Guard {
    let asked = AtomicUsize::new(0);
    Guard::of(
        move |_| {
            let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
            vec![IpAddr::V4(Ipv4Addr::new(127, 0, 0, if first { 2 } else { 1 }))]
        },
        |address| address != IpAddr::V4(Ipv4Addr::LOCALHOST),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_changes_leads_nobody_home() {
    for number in 0..kinds("x.example").len() {
        let outside = Receiver::start_at("127.0.0.2:0", |_, _| {
            Reply::Status(500, "connection: close\r\n", "")
        })
        .await;
        let port = outside.address.port();
        let home =
            Receiver::start_at(&format!("127.0.0.1:{port}"), |_, _| Reply::Status(200, "", "ok")).await;
        let destination = Destination {
            allow_private_addresses: false,
            concurrency: Some(1),
            ..kinds(&format!("moving.example:{port}")).remove(number).0
        };
        let bench = start(destination, Some(changing()));
        for (alert_id, (status, error)) in bench.deliver().await {
            assert_eq!(status, FAILED, "{}: {alert_id}", bench.name);
            assert!(
                error.contains("127.0.0.1, which is not a public address"),
                "{}: {alert_id}: {error}",
                bench.name
            );
        }
        assert_eq!(home.requests(), [], "{}", bench.name);
        assert!(
            !outside.requests().is_empty(),
            "{}: it was sent where it was permitted",
            bench.name
        );
    }
}

fn mail(url: String) -> Destination {
    Destination {
        name: "mail".into(),
        kind: Kind::Email,
        url,
        from: "alerts@cs.example".into(),
        to: vec!["cs@cs.example".into()],
        allow_plain: true,
        allow_private_addresses: true,
        timeout_seconds: 2.0,
        rate_per_second: Some(0.0),
        ..Destination::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_server_s_faults_are_outlasted_or_named() {
    let server = MailServer::start(|nth| match nth {
        0 => Treatment::Answer("RCPT", "450 greylisted"),
        1 => Treatment::Hang,
        2 => Treatment::Reset,
        3 => Treatment::Drip,
        4 => Treatment::Answer("greeting", "421 too busy"),
        5 => Treatment::Flood,
        _ => Treatment::Accept,
    })
    .await;
    let bench = start(mail(format!("smtp://{}", server.address)), None);
    for (alert_id, (status, error)) in bench.deliver().await {
        assert_eq!(status, DELIVERED, "{alert_id}: {error}");
    }
    assert_eq!(server.mails().len(), 6);

    let server = MailServer::start(|_| Treatment::Answer("RCPT", "550 no such user")).await;
    let bench = start(mail(format!("smtp://{}", server.address)), None);
    for (alert_id, (status, error)) in bench.deliver().await {
        assert_eq!(status, FAILED, "{alert_id}");
        assert!(
            error.contains("550") && error.contains("no such user"),
            "{alert_id}: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_server_s_name_that_changes_leads_nobody_home() {
    let outside = MailServer::start_plain_at("127.0.0.2:0", |_| Treatment::Answer("MAIL", "451 later")).await;
    let port = outside.address.port();
    let home = MailServer::start_plain_at(&format!("127.0.0.1:{port}"), |_| Treatment::Accept).await;
    let destination = Destination {
        allow_private_addresses: false,
        concurrency: Some(1),
        ..mail(format!("smtp://moving.example:{port}"))
    };
    let bench = start(destination, Some(changing()));
    for (alert_id, (status, error)) in bench.deliver().await {
        assert_eq!(status, FAILED, "{alert_id}");
        assert!(
            error.contains("127.0.0.1, which is not a public address"),
            "{alert_id}: {error}"
        );
    }
    assert_eq!((outside.connections(), home.connections()), (1, 0));
}

#[tokio::test]
async fn later_changes_refer_to_the_first_message_by_its_row() {
    let receiver = Receiver::start(|request, nth| {
        assert!(nth > 0 || request.line.contains("chat.postMessage"));
        Reply::Status(200, "", r#"{"ok":true,"ts":"17.5"}"#)
    })
    .await;
    let destination = kinds(&receiver.address.to_string()).remove(2).0;
    let bench = start(destination, None);
    bench.deliver().await;
    let replies: Vec<String> = receiver
        .requests()
        .into_iter()
        .filter(|request| request.line.contains("chat.postMessage") && request.body.contains("thread_ts"))
        .map(|request| request.body)
        .collect();
    assert_eq!(replies.len(), 3);
    assert!(replies.iter().all(|body| body.contains(r#""thread_ts":"17.5""#)));
    let updates = receiver
        .requests()
        .into_iter()
        .filter(|request| request.line.contains("chat.update"));
    assert_eq!(updates.count(), 3);
    // The row of the opening alone says what Slack called it.
    let kept = |change: &str| {
        bench
            .ledger
            .rows("bot", &format!("al-a-{change}"))
            .pop()
            .unwrap()
            .reference
    };
    assert_eq!((kept("opened").as_str(), kept("resolved").as_str()), ("17.5", ""));
}
