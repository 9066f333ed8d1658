use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::{Sender, Transport};
use super::*;
use crate::config::{Config, Kind};
use crate::telling::Language;
use crate::testing::{Receiver, Reply, canonical, message, sender_of, told_in};

const PUBLISHED: &str = r#"{"id":"e01","success":true,"errors":[{"statusCode":"OPERATION_ENQUEUED",
    "message":"232fd30e-0a71-42bd-a97b-be0e329b2ded","fields":[]}]}"#;

fn destination(change: impl FnOnce(&mut Destination)) -> Destination {
    let mut destination = Destination {
        name: "crm".into(),
        kind: Kind::Salesforce,
        url: "https://acme.my.salesforce.example".into(),
        token: "00D-1".into(),
        event: "Account_Alert".into(),
        timeout_seconds: 5.0,
        ..Destination::default()
    };
    change(&mut destination);
    destination
}

fn body(settings: &Settings, name: &str) -> (String, Value) {
    let request = settings.render(&message(&told_in(Language::Ja), &canonical(name, "opened")));
    (
        request.url.to_string(),
        serde_json::from_str(&request.body).unwrap(),
    )
}

#[test]
fn an_event_holds_the_usual_fields() {
    let settings = Settings::read(&destination(|_| {})).unwrap();
    let (url, event) = body(&settings, "銀河");
    assert_eq!(
        url,
        "https://acme.my.salesforce.example/services/data/v62.0/sobjects/Account_Alert__e/"
    );
    assert_eq!(
        event,
        json!({
            "AlertId__c": "al_opened", "EpisodeId__c": "ep_94ff07d4", "AccountId__c": "ginga 46/x",
            "AccountName__c": "銀河", "Rule__c": "falling_usage", "Change__c": "opened",
            "Severity__c": "warning", "Reason__c": "銀河：機能利用が86%減少", "Health__c": 58.74,
            "ChurnRisk__c": 0.214, "Link__c": "https://mimamori.example/#account=ginga%2046%2Fx",
        })
    );
    let (_, event) = body(&settings, &"守".repeat(900));
    assert_eq!(event["AccountName__c"].as_str().unwrap().chars().count(), TEXT);
}

#[test]
fn fields_are_mapped_as_configured() {
    let settings = Settings::read(&destination(|d| {
        d.version = "v65.0".into();
        d.event = "Mimamori__e".into();
        d.fields = BTreeMap::from([
            ("Renewal__c".into(), "days_to_renewal".into()),
            ("Kind__c".into(), "type".into()),
            ("Title__c".into(), "title".into()),
            ("Nps__c".into(), "last_nps".into()),
        ]);
    }))
    .unwrap();
    let (url, event) = body(&settings, "銀河");
    assert!(
        url.ends_with("/services/data/v65.0/sobjects/Mimamori__e/"),
        "{url}"
    );
    assert_eq!(
        event,
        json!({"Renewal__c": 166.2, "Kind__c": "account.at_risk.opened", "Title__c": "要注意：銀河"}),
        "what is unknown is left out"
    );
}

#[test]
fn enqueued_stands_among_errors_and_is_none() {
    let verdict = |code: u16, body: &str| {
        let response = Response {
            code,
            retry_after: None,
            body: body.into(),
        };
        judge(&response)
    };
    let published = verdict(201, PUBLISHED);
    assert_eq!(published.verdict(), Verdict::Delivered);
    assert_eq!(published.reference(), "232fd30e-0a71-42bd-a97b-be0e329b2ded");
    let of = |code: u16, body: &str| verdict(code, body).verdict();
    let limited = r#"{"success":false,"errors":[{"statusCode":"LIMIT_EXCEEDED","message":"hourly"}]}"#;
    assert!(matches!(of(201, limited), Verdict::Retry { .. }));
    let refused = r#"{"success":false,"errors":[{"statusCode":"STRING_TOO_LONG","message":"Reason__c"}]}"#;
    let Verdict::Failed { error } = of(201, refused) else {
        panic!("too long stays too long");
    };
    assert!(error.contains("STRING_TOO_LONG: Reason__c"), "{error}");
    let requests = r#"[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"TotalRequests Limit exceeded."}]"#;
    assert!(matches!(of(403, requests), Verdict::Retry { .. }));
    assert!(matches!(
        of(404, r#"[{"errorCode":"NOT_FOUND"}]"#),
        Verdict::Failed { .. }
    ));
    assert!(matches!(of(503, ""), Verdict::Retry { .. }));
    assert!(matches!(of(200, "<html>"), Verdict::Retry { .. }));
}

#[test]
fn what_cannot_be_published_with_is_refused() {
    let problem =
        |change: fn(&mut Destination)| Settings::read(&destination(change)).unwrap_err().to_string();
    assert!(problem(|d| d.event = "Account Alert".into()).contains("Account_Alert__e"));
    assert!(problem(|d| d.event = String::new()).contains("Account_Alert__e"));
    assert!(problem(|d| d.version = "62/../x".into()).contains("62.0"));
    assert!(problem(|d| d.token = String::new()).contains("or client_id and client_secret"));
    assert!(problem(|d| d.client_id = "x".into()).contains("not both"));
    assert!(problem(|d| d.url = String::new()).contains("url"));
    let with = |field: &'static str, name: &'static str| {
        Settings::read(&destination(|d| {
            d.fields = BTreeMap::from([(field.into(), name.into())])
        }))
        .unwrap_err()
        .to_string()
    };
    assert!(with("Health__c", "helth").contains("did you mean {health}?"));
    assert!(with("a/b", "health").contains("API name of a field"));
}

async fn client(
    reply: impl Fn(&crate::testing::Request, usize) -> Reply + Send + Sync + 'static,
) -> (Receiver, Sender) {
    let receiver = Receiver::start(reply).await;
    let config = Config {
        destinations: vec![destination(|d| {
            d.url = format!("http://{}", receiver.address);
            d.token = String::new();
            d.client_id = "id&1".into();
            d.client_secret = "s=1".into();
            d.allow_private_addresses = true;
        })],
        ..told_in(Language::En)
    };
    let sender = sender_of(&config, None);
    (receiver, sender)
}

async fn send(sender: &Sender) -> Answer {
    let body = canonical("Ginga", "opened");
    let parcel = Parcel {
        alert_id: "al_1",
        body: &body,
        reference: None,
    };
    Transport::send(sender, parcel).await
}

#[tokio::test]
async fn a_token_is_had_once_and_anew_when_it_is_refused() {
    let tokens = AtomicUsize::new(0);
    let (receiver, sender) = client(move |request, _| {
        if request.line.contains("/services/oauth2/token") {
            let first = tokens.fetch_add(1, Ordering::SeqCst) == 0;
            let answer = if first {
                r#"{"access_token":"one","instance_url":"http://10.0.0.1"}"#
            } else {
                r#"{"access_token":"two"}"#
            };
            return Reply::Status(200, "", answer);
        }
        match request.header("authorization") {
            "Bearer two" => Reply::Status(201, "", PUBLISHED),
            _ => Reply::Status(
                401,
                "",
                r#"[{"errorCode":"INVALID_SESSION_ID","message":"expired"}]"#,
            ),
        }
    })
    .await;
    assert_eq!(send(&sender).await.verdict(), Verdict::Delivered);
    assert_eq!(send(&sender).await.verdict(), Verdict::Delivered);
    let requests = receiver.requests();
    let lines: Vec<&str> = requests
        .iter()
        .map(|request| request.line.split(' ').nth(1).unwrap())
        .collect();
    let (token, event) = (
        "/services/oauth2/token",
        "/services/data/v62.0/sobjects/Account_Alert__e/",
    );
    assert_eq!(lines, [token, event, token, event, event]);
    assert_eq!(
        requests[0].body,
        "grant_type=client_credentials&client_id=id%261&client_secret=s%3D1"
    );
}

#[tokio::test]
async fn without_a_token_nothing_is_published_and_the_reason_is_said() {
    let (receiver, sender) = client(|_, _| {
        Reply::Status(
            400,
            "",
            r#"{"error":"invalid_client","error_description":"no such app"}"#,
        )
    })
    .await;
    let Verdict::Failed { error } = send(&sender).await.verdict() else {
        panic!("it cannot help to ask again");
    };
    assert_eq!(error, "no token: answered 400: invalid_client no such app");
    assert_eq!(receiver.requests().len(), 1);
    let (_receiver, sender) = client(|_, _| Reply::Status(503, "", "")).await;
    assert!(matches!(send(&sender).await.verdict(), Verdict::Retry { .. }));
}
