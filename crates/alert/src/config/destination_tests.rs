use std::io::Write;

use super::*;
use crate::config::Config;
use crate::signature::Secret;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn destination(change: impl FnOnce(&mut Destination)) -> Destination {
    let mut destination = Destination {
        name: "cs-team".into(),
        url: "https://cs.example/hooks".into(),
        secret: SECRET.into(),
        ..Destination::default()
    };
    change(&mut destination);
    destination
}

fn problem(change: impl FnOnce(&mut Destination)) -> String {
    let config = Config {
        destinations: vec![destination(change)],
        ..Config::default()
    };
    config.validate().unwrap_err().to_string()
}

#[test]
fn the_example_of_the_documentation_is_read() {
    let config: Config = serde_json::from_str(
        r#"{"destinations":[{"name":"cs-team","kind":"webhook","url":"https://cs.example/hooks",
            "secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw","allow_private_addresses":false}]}"#,
    )
    .unwrap();
    config.validate().unwrap();
    assert_eq!(config.destinations[0], destination(|_| {}));
}

#[test]
fn unknown_fields_are_errors() {
    assert!(serde_json::from_str::<Config>(r#"{"destination":[]}"#).is_err());
    assert!(serde_json::from_str::<Config>(r#"{"destinations":[{"link":"x"}]}"#).is_err());
    assert!(serde_json::from_str::<Config>(r#"{"destinations":[{"kind":"pigeon"}]}"#).is_err());
}

#[test]
fn what_cannot_be_sent_to_is_refused_with_its_name_and_field() {
    assert!(problem(|d| d.name = "a b".into()).contains("a name is"));
    assert!(problem(|d| d.url = "cs.example".into()).contains("\"cs-team\": url"));
    assert!(problem(|d| d.url = "ftp://cs.example/".into()).contains("not https or http"));
    assert!(problem(|d| d.secret = String::new()).contains("secret must begin with whsec_"));
    assert!(problem(|d| d.secret = "whsec_c2hvcnQ=".into()).contains("holds 5"));
    assert!(problem(|d| d.timeout_seconds = 0.0).contains("timeout_seconds"));
    assert!(problem(|d| d.timeout_seconds = f64::NAN).contains("timeout_seconds"));
    assert!(problem(|d| d.concurrency = Some(0)).contains("concurrency"));
    assert!(problem(|d| d.queue = 0).contains("queue"));
    assert!(problem(|d| d.proxy = "http://proxy:3128".into()).contains("allow_private_addresses"));
    let with_header = |name: &str, value: &str| {
        let (name, value) = (name.to_string(), value.to_string());
        problem(move |d| d.headers = BTreeMap::from([(name, value)]))
    };
    assert!(with_header("Webhook-Id", "x").contains("is set by mimamori"));
    assert!(with_header("content-type", "x").contains("is set by mimamori"));
    assert!(with_header("x y", "x").contains("not a header's name"));
    assert!(with_header("authorization", "a\nb").contains("cannot be sent"));
}

#[test]
fn private_addresses_need_permission_however_they_are_written() {
    for url in [
        "http://127.0.0.1:9000/",
        "http://127.1/",
        "http://0x7f000001/",
        "http://2130706433/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest",
    ] {
        let found = problem(|d| d.url = url.into());
        assert!(found.contains("set allow_private_addresses"), "{url}: {found}");
        let permitted = destination(|d| {
            d.url = url.into();
            d.allow_private_addresses = true;
        });
        assert!(permitted.endpoint(Language::En).is_ok(), "{url}");
    }
}

#[test]
fn two_destinations_of_one_name_are_refused() {
    let config = Config {
        destinations: vec![destination(|_| {}), destination(|_| {})],
        ..Config::default()
    };
    assert!(
        config
            .validate()
            .unwrap_err()
            .to_string()
            .contains("two of that name")
    );
}

#[test]
fn a_secret_may_lie_in_a_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{SECRET}").unwrap();
    let path = file.path().display().to_string();
    let endpoint = destination(|d| d.secret = format!("file:{path}"))
        .endpoint(Language::En)
        .unwrap();
    let Settings::Webhook(settings) = endpoint.settings else {
        panic!("{:?}", endpoint.settings);
    };
    assert_eq!(settings.secret, Secret::parse(SECRET).unwrap());
    assert!(problem(|d| d.secret = "file:/nonexistent/secret".into()).contains("/nonexistent/secret"));
}

#[test]
fn secrets_are_not_printed() {
    let config = Config {
        destinations: vec![destination(|d| {
            d.url = "https://user:pass@cs.example/hooks".into();
            d.headers = BTreeMap::from([("authorization".into(), "Bearer t0ken".into())]);
        })],
        ..Config::default()
    };
    let printed = format!("{config:?} {:?}", config.endpoints().unwrap()[0].headers);
    for secret in ["whsec_", "pass", "t0ken"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}
