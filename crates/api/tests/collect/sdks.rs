//! Other people's SDKs, as product apps use them: whatever they send and send again arrives, each event
//! as one id.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use api::{CollectorConfig, Config, WriteKeyKind};
use embedded::kafka::{Fault, On};
use tests::{node_modules, python, root};
use tokio::process::Command;

use crate::support::{Bed, bed_with, quick};

/// What an SDK is started with before its arguments.
type Program = Vec<PathBuf>;

fn scripts() -> PathBuf {
    root().join("tests/clients/http")
}

async fn python_script(name: &str) -> Program {
    let requirements = scripts().join("requirements.txt");
    let python = tokio::task::spawn_blocking(move || python("http", &requirements).unwrap());
    vec![python.await.unwrap(), scripts().join(name)]
}

async fn node_script(name: &str) -> Program {
    let installed = tokio::task::spawn_blocking(|| node_modules("http", &scripts()).unwrap());
    let modules = installed.await.unwrap().join("node_modules");
    // Scripts find their packages there, wherever they lie themselves.
    let modules = format!("NODE_PATH={}", modules.display());
    vec!["env".into(), modules.into(), "node".into(), scripts().join(name)]
}

/// Sends so many, and gives the ids that the SDK says it sent.
async fn send(bed: &Bed, program: &Program, key: &str, count: usize) -> BTreeSet<String> {
    let mut command = Command::new(&program[0]);
    command
        .args(&program[1..])
        .arg(&bed.url)
        .arg(key)
        .arg(count.to_string());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(Duration::from_secs(240), command.output()).await;
    let output = ended.expect("the SDK ends").unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program:?}: {told}");
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn arrives(program: Program, source: &str, count: usize, expected: usize) {
    let bed = bed_with(quick(), Config::default()).await;
    let key = bed.make_key(source, WriteKeyKind::Server, 0, 0).await.key;
    let sent = send(&bed, &program, &key, count).await;
    assert_eq!(sent.len(), expected);
    let ids = bed.accepted_ids().await;
    assert_eq!(ids.keys().cloned().collect::<BTreeSet<_>>(), sent);
    assert!(
        ids.values().all(|times| *times == 1),
        "without trouble nothing comes twice"
    );
    assert!(bed.rejected().await.is_empty());
    assert!(bed.accepted().await.iter().all(|event| event.source == source));
}

/// The broker is too slow for the collector's deadline, again and again: requests are answered 503, and
/// the SDK sends them again.
async fn arrives_through_trouble(program: Program, source: &str, count: usize) {
    let config = CollectorConfig {
        ack_timeout_ms: 400,
        ..quick()
    };
    let bed = bed_with(config, Config::default()).await;
    let key = bed.make_key(source, WriteKeyKind::Server, 0, 0).await.key;
    let faults = bed.broker.faults();
    faults.inject(On::Produce, Fault::Delay(Duration::from_millis(900)), 2);
    faults.inject(On::Produce, Fault::DropAnswer, 2);
    faults.inject(On::Produce, Fault::Delay(Duration::from_millis(900)), 1);
    let sent = send(&bed, &program, &key, count).await;
    assert_eq!(sent.len(), count);
    let refused = bed.metric("mimamori_collector_refused_total", "not_acknowledged");
    assert!(refused > 0.0, "the SDK had to send again");
    let ids = bed.accepted_ids().await;
    assert_eq!(ids.into_keys().collect::<BTreeSet<_>>(), sent);
    assert!(bed.rejected().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_python_sdk_arrives() {
    arrives(python_script("segment_sdk.py").await, "python", 500, 500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_python_sdk_arrives_through_trouble() {
    arrives_through_trouble(python_script("segment_sdk.py").await, "python", 300).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_node_sdk_arrives() {
    arrives(node_script("segment_sdk.js").await, "node", 500, 500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_node_sdk_arrives_through_trouble() {
    arrives_through_trouble(node_script("segment_sdk.js").await, "node", 300).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cloudevents_package_arrives() {
    arrives(python_script("ce.py").await, "cloudevents", 20, 60).await;
}
