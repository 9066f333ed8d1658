//! What cannot be accepted is kept, can be looked at, and comes back once it is mended: the real
//! command against bad records of every kind.

mod bed;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use event::{Event, EventType, wire};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use stream::topics;
use tests::wait_for;

use bed::Bed;

const LONG: Duration = Duration::from_secs(60);

/// So many hours before now.
#[allow(
    clippy::disallowed_methods,
    reason = "the test lives in the present, as the roles do"
)]
fn hours_ago(hours: i64) -> String {
    Timestamp::now()
        .checked_sub(hours.hours())
        .expect("the calendar reaches that far")
        .to_string()
}

fn login(event_id: &str, occurred_at: &str) -> Value {
    json!({
        "event_id": event_id, "account_id": "acme", "user_id": "u-1", "type": "login", "occurred_at": occurred_at,
    })
}

fn without(mut event: Value, field: &str) -> Value {
    event
        .as_object_mut()
        .expect("an event is an object")
        .remove(field);
    event
}

fn records(listed: &Value) -> anyhow::Result<&Vec<Value>> {
    listed["records"].as_array().context("a list of records")
}

/// What is wrong, by the reason that it must be given.
fn bad_records() -> BTreeMap<&'static str, Vec<u8>> {
    let text = |event: Value| event.to_string().into_bytes();
    let mut large = login("large", &hours_ago(1));
    large["properties"] = json!({ "text": "x".repeat(40_000) });
    let mut timeless = login("timeless", "");
    timeless["occurred_at"] = "yesterday".into();
    let mut nameless = login("nameless", &hours_ago(1));
    nameless["account_id"] = "".into();
    let mut typeless = login("typeless", &hours_ago(1));
    typeless["type"] = "signin".into();
    BTreeMap::from([
        ("not_json", br#"{"event_id":"broken\u001b[31m","#.to_vec()),
        ("not_utf8", b"{\"event_id\":\"\xff\x9b\"}".to_vec()),
        (
            "unknown_format",
            br#"{"hello":"strange","big":12345678901234567890123}"#.to_vec(),
        ),
        (
            "missing_field",
            text(without(login("homeless", &hours_ago(1)), "account_id")),
        ),
        ("empty_field", text(nameless)),
        ("invalid_type", text(typeless)),
        ("invalid_timestamp", text(timeless)),
        ("too_old", text(login("ancient", &hours_ago(500 * 24)))),
        ("occurred_in_future", text(login("ahead", &hours_ago(-48)))),
        ("event_too_large", text(large)),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_rejected_is_listed_shown_mended_and_brought_back_once() -> anyhow::Result<()> {
    let bed = Bed::new()?;
    let mut up = bed.place.up().await?;
    let bad = bad_records();
    for value in bad.values() {
        bed.send(topics::RAW, "key", &[("trace", b"t-1")], value).await?;
    }
    bed.send(topics::EVENTS, "acme", &[], b"\xff\xff undecodable")
        .await?;
    let count = bad.len() + 1;
    let listed = wait_for("every record in the list", LONG, || async {
        let listed = bed.list(&[]).await?;
        ensure!(listed["total"] == count, "{listed:#}");
        Ok(Some(listed))
    })
    .await?;

    each_is_listed_with_its_reason(&bed, &bad, &listed).await?;
    each_is_shown_as_it_came(&bed, &bad, &listed).await?;
    what_is_not_mended_stays(&bed, count).await?;
    a_mended_one_arrives_once(&bed).await?;
    what_aggregate_set_aside_comes_back(&bed).await?;
    what_came_by_other_ways_comes_back_or_says_why_not(&bed).await?;

    // The bounds are raised, and what was beyond them comes back by its reason alone, once.
    up.kill().await?;
    std::fs::write(
        bed.place.path("mimamori.toml"),
        "[ingest]\nmax_age_days = 0\nmax_future_hours = 72\n",
    )?;
    let _up = bed.place.up().await?;
    let filter = ["replay", "--reason", "too_old,occurred_in_future"];
    let before = bed.raw_records().await?;
    let (code, would) = bed.ask(&[&filter[..], &["--dry-run"]].concat()).await?;
    assert_eq!(
        (code, &would["replayable"], &would["replayed"]),
        (0, &json!(2), &json!(0)),
        "{would:#}"
    );
    assert_eq!(bed.raw_records().await?, before, "a dry run sends nothing");
    let (code, done) = bed.ask(&[&filter[..], &["--yes"]].concat()).await?;
    assert_eq!((code, &done["replayed"]), (0, &json!(2)), "{done:#}");
    assert_eq!(bed.raw_records().await?, before + 2);
    bed.arrives("ancient").await?;
    bed.arrives("ahead").await?;
    let (code, again) = bed.ask(&[&filter[..], &["--yes"]].concat()).await?;
    assert_eq!(
        (code, &again["replayed"], &again["already_replayed"]),
        (0, &json!(0), &json!(2)),
        "{again:#}"
    );
    assert_eq!(bed.raw_records().await?, before + 2);
    Ok(())
}

async fn each_is_listed_with_its_reason(
    bed: &Bed,
    bad: &BTreeMap<&'static str, Vec<u8>>,
    listed: &Value,
) -> anyhow::Result<()> {
    let mut reasons: Vec<&str> = Vec::new();
    for record in records(listed)? {
        reasons.push(record["reason"].as_str().context("a reason")?);
        assert!(
            record["detail"].as_str().is_some_and(|detail| !detail.is_empty()),
            "{record:#}"
        );
        assert!(
            record["source_topic"].is_string() && record["source_offset"].is_i64(),
            "{record:#}"
        );
    }
    // What aggregate cannot decode is of no known format either.
    let mut expected: Vec<&str> = bad.keys().copied().chain(["unknown_format"]).collect();
    reasons.sort_unstable();
    expected.sort_unstable();
    assert_eq!(reasons, expected);
    let two = bed
        .list(&["--reason", "not_json,not_utf8", "--source-topic", topics::RAW])
        .await?;
    assert_eq!(two["total"], 2, "{two:#}");
    assert_eq!(bed.list(&["--source-topic", topics::EVENTS]).await?["total"], 1);
    assert_eq!(bed.list(&["--since", "1h"]).await?["total"], listed["total"]);
    assert_eq!(bed.list(&["--until", "1h"]).await?["total"], 0);

    let times: Vec<&str> = records(listed)?
        .iter()
        .filter_map(|record| record["at"].as_str())
        .collect();
    assert!(
        times.is_sorted_by(|newer, older| newer >= older),
        "newest first: {times:?}"
    );
    let newest = bed.list(&["--limit", "3"]).await?;
    assert_eq!(
        (newest["records"].as_array().map(Vec::len), &newest["total"]),
        (Some(3), &listed["total"])
    );
    assert_eq!(newest["records"][0], listed["records"][0]);

    let text = bed.run(&["list", "--format", "table"], b"").await?;
    let table = String::from_utf8(text.stdout)?;
    assert!(
        table.contains("\\u001b[31m") || table.contains(r"\u001b[31m"),
        "{table}"
    );
    assert!(
        !table.chars().any(|char| char.is_control() && char != '\n'),
        "{table:?}"
    );
    assert!(table.lines().all(|line| line.chars().count() < 400), "{table}");
    Ok(())
}

async fn each_is_shown_as_it_came(
    bed: &Bed,
    bad: &BTreeMap<&'static str, Vec<u8>>,
    listed: &Value,
) -> anyhow::Result<()> {
    for (reason, value) in bad {
        let found = records(listed)?
            .iter()
            .find(|record| record["reason"] == *reason && record["source_topic"] == topics::RAW);
        let address = found
            .and_then(|record| record["address"].as_str())
            .context("an address")?;
        let raw = bed.run(&["show", address, "--raw"], b"").await?;
        assert_eq!(&raw.stdout, value, "{reason}");
        let (code, shown) = bed.ask(&["show", address]).await?;
        assert_eq!(
            (code, &shown["reason"], &shown["key"]),
            (0, &json!(reason), &json!("key"))
        );
        let headers = shown["headers"].as_array().context("headers")?;
        let trace = json!({ "name": "original.trace", "value": "t-1" });
        assert!(headers.contains(&trace), "{reason}: {headers:?}");
        let format = match *reason {
            "not_json" => "text",
            "not_utf8" => "hex",
            _ => "json",
        };
        assert_eq!(shown["format"], format, "{reason}");
    }
    let strange = bed.address_of("strange").await?;
    let shown = bed.run(&["show", &strange, "--format", "table"], b"").await?;
    let shown = String::from_utf8(shown.stdout)?;
    assert!(
        shown.contains("\n  \"hello\": \"strange\",\n  \"big\": 12345678901234567890123\n"),
        "{shown}"
    );
    Ok(())
}

async fn what_is_not_mended_stays(bed: &Bed, count: usize) -> anyhow::Result<()> {
    let before = bed.raw_records().await?;
    let homeless = bed.address_of("homeless").await?;
    let output = bed.run(&["replay", &homeless], b"").await?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains(&format!("{homeless} was not replayed: missing_field: account_id")),
        "{told}"
    );
    let (code, left) = bed
        .ask(&["replay", "--since", "1d", "--source-topic", topics::RAW, "--yes"])
        .await?;
    assert_eq!(
        (code, &left["replayed"], &left["left"]),
        (1, &json!(0), &json!(count - 1)),
        "{left:#}"
    );

    for (arguments, code, words) in [
        (&["replay", "--since", "1d"][..], 2, "--yes"),
        (&["replay"], 2, "say which records"),
        (&["replay", "x"], 2, "PARTITION:OFFSET"),
        (&["replay", "0:0", "--since", "1d"], 2, "cannot be used with"),
        (&["replay", "--since", "1d", "--file", "x"], 2, "one address"),
        (&["list", "--reason", "to_old"], 2, "too_old"),
        (&["list", "--since", "yesterday"], 2, "RFC 3339"),
        (&["list", "--limit", "0"], 2, "--limit"),
        (
            &["show", "0:99999"],
            1,
            "there is no record 0:99999: partition 0 of mimamori.rejected",
        ),
        (&["show", "77:0"], 1, "has the partitions 0 to 3"),
        (&["replay", "0:99999"], 1, "there is no record 0:99999"),
    ] {
        let output = bed.run(arguments, b"").await?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(told.contains(words), "{arguments:?}: {told}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    assert_eq!(bed.raw_records().await?, before, "nothing was sent");
    Ok(())
}

async fn a_mended_one_arrives_once(bed: &Bed) -> anyhow::Result<()> {
    let homeless = bed.address_of("homeless").await?;
    let mended = bed.place.path("mended.json");
    let file = mended.to_string_lossy().into_owned();

    let event = login("homeless", &hours_ago(1));
    std::fs::write(&mended, without(event.clone(), "event_id").to_string())?;
    let output = bed.run(&["replay", &homeless, "--file", &file], b"").await?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("mended.json was not replayed: missing_field: event_id") && told.contains(&homeless),
        "{told}"
    );

    std::fs::write(&mended, event.to_string())?;
    let (code, done) = bed.ask(&["replay", &homeless, "--file", &file]).await?;
    assert_eq!((code, &done["replayed"]), (0, &json!(1)), "{done:#}");
    assert_eq!(done["records"][0]["event"]["account_id"], "acme", "{done:#}");
    bed.arrives("homeless").await?;

    // Once more by name, from standard input: it goes out and counts for nothing.
    let repeats = bed.metric("mimamori_aggregate_duplicates_total").await?;
    let output = bed
        .run(
            &["replay", &homeless, "--file", "-"],
            event.to_string().as_bytes(),
        )
        .await?;
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    wait_for("the repeat to be counted", LONG, || async {
        let now = bed.metric("mimamori_aggregate_duplicates_total").await?;
        Ok((now > repeats).then_some(()))
    })
    .await?;
    assert_eq!(bed.landed("homeless").await?, 1);

    let listed = bed.list(&["--reason", "missing_field"]).await?;
    assert_eq!(
        (&listed["replayed"], &listed["records"][0]["replayed"]),
        (&json!(1), &json!(true)),
        "{listed:#}"
    );
    let (_, shown) = bed.ask(&["show", &homeless]).await?;
    let replays = shown["replays"].as_array().context("its replays")?;
    assert!(
        replays.len() == 2 && replays[0]["topic"] == topics::RAW,
        "{shown:#}"
    );
    let (code, passed) = bed
        .ask(&["replay", "--reason", "missing_field", "--yes", "--force"])
        .await?;
    assert_eq!(
        (code, &passed["replayed"], &passed["already_replayed"]),
        (0, &json!(0), &json!(1)),
        "{passed:#}"
    );

    // The original headers go with it: without them this is no event.
    let time = hours_ago(1);
    let headers: [(&str, &[u8]); 6] = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"cloudy"),
        ("ce_source", b"/test"),
        ("ce_type", b"login"),
        ("ce_subject", b"acme"),
        ("ce_time", time.as_bytes()),
    ];
    bed.send(topics::RAW, "acme", &headers, b"{\"cloud").await?;
    let cloud = wait_for("the cloud event", LONG, || async {
        bed.address_of("cloud").await.map(Some)
    })
    .await?;
    let cloudless = bed.run(&["replay", &cloud, "--file", "-"], b"{}").await?;
    let told = String::from_utf8_lossy(&cloudless.stderr).into_owned();
    assert_eq!(cloudless.status.code(), Some(0), "{told}");
    bed.arrives("cloudy").await
}

async fn what_aggregate_set_aside_comes_back(bed: &Bed) -> anyhow::Result<()> {
    let aside = bed.address_of("undecodable").await?;
    let (_, shown) = bed.ask(&["show", &aside]).await?;
    assert_eq!(
        (&shown["source_topic"], &shown["format"]),
        (&json!(topics::EVENTS), &json!("hex")),
        "{shown:#}"
    );
    let table = bed.run(&["show", &aside, "--format", "table"], b"").await?;
    let table = String::from_utf8(table.stdout)?;
    assert!(table.contains("00000000  ff ff 20 75 6e 64 65 63"), "{table}");
    let output = bed.run(&["replay", &aside], b"").await?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1) && told.contains("unknown_format"),
        "{told}"
    );

    // As JSON it goes the way of every event.
    let event = login("was-undecodable", &hours_ago(2)).to_string();
    let output = bed
        .run(&["replay", &aside, "--file", "-"], event.as_bytes())
        .await?;
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    bed.arrives("was-undecodable").await?;

    // One whose folding failed is an event, and goes back under its account's id.
    let mut value = Vec::new();
    let occurred_at = hours_ago(3).parse::<Timestamp>()?.as_millisecond();
    let event = Event {
        event_id: "unfolded".into(),
        account_id: "acme".into(),
        user_id: Some("u-1".into()),
        event_type: EventType::Feature,
        name: "report.export".into(),
        occurred_at,
        received_at: occurred_at,
        source: "usage.events".into(),
        properties: r#"{"count":2}"#.into(),
    };
    wire::encode(&event, &mut value);
    let headers: [(&str, &[u8]); 5] = [
        ("reason", b"folding_failed"),
        ("detail", b"the account's days do not add up"),
        ("source_topic", topics::EVENTS.as_bytes()),
        ("source_partition", b"3"),
        ("source_offset", b"12"),
    ];
    bed.send(topics::REJECTED, "acme", &headers, &value).await?;
    let unfolded = bed.address_of("unfolded").await?;
    let (_, shown) = bed.ask(&["show", &unfolded]).await?;
    assert_eq!(
        (&shown["format"], &shown["value"]["name"]),
        (&json!("event"), &json!("report.export")),
        "{shown:#}"
    );
    let (code, done) = bed
        .ask(&["replay", "--reason", "folding_failed", "--yes"])
        .await?;
    assert_eq!(
        (code, &done["records"][0]["topic"]),
        (0, &json!(topics::EVENTS)),
        "{done:#}"
    );
    bed.arrives("unfolded").await
}

async fn what_came_by_other_ways_comes_back_or_says_why_not(bed: &Bed) -> anyhow::Result<()> {
    let over_http = login("over-http", &hours_ago(1)).to_string();
    let headers: [(&str, &[u8]); 3] = [("reason", b"not_json"), ("detail", b"-"), ("source", b"http")];
    bed.send(topics::REJECTED, "acme", &headers, over_http.as_bytes())
        .await?;
    let address = bed.address_of("over-http").await?;
    let (code, done) = bed.ask(&["replay", &address]).await?;
    assert_eq!(
        (code, &done["records"][0]["topic"]),
        (0, &json!(topics::RAW)),
        "{done:#}"
    );
    bed.arrives("over-http").await?;
    let source = bed
        .place
        .query("SELECT source FROM events WHERE event_id = 'over-http'")
        .await?;
    assert_eq!(source, "http");

    let elsewhere = login("elsewhere", &hours_ago(1)).to_string();
    let cut: [(&str, &[u8]); 3] = [
        ("reason", b"event_too_large"),
        ("source_topic", topics::RAW.as_bytes()),
        ("original_bytes", b"5000000"),
    ];
    let foreign: [(&str, &[u8]); 2] = [("reason", b"not_json"), ("source_topic", b"payments")];
    let before = bed.raw_records().await?;
    for (headers, words) in [
        (&cut[..], "5000000 bytes"),
        (&foreign, "payments"),
        (&[], "source_topic"),
    ] {
        let marker = format!("elsewhere-{}", headers.len());
        bed.send(
            topics::REJECTED,
            "acme",
            headers,
            elsewhere.replace("elsewhere", &marker).as_bytes(),
        )
        .await?;
        let address = bed.address_of(&marker).await?;
        let output = bed.run(&["replay", &address, "--force"], b"").await?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && told.contains(words), "{told}");
    }
    assert_eq!(bed.raw_records().await?, before, "nothing was sent");
    Ok(())
}
