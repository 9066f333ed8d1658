//! Files of history, loaded by the real command, which is killed midway.

use std::io::Write;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tests::{Place, wait_for};
use tokio::process::Command;

use crate::collector::made_key;

const LONG: Duration = Duration::from_secs(120);
const NATIVE: usize = 12_000;
const SEGMENT: usize = 2_000;
const CLOUD: usize = 2_000;

#[allow(
    clippy::disallowed_methods,
    reason = "the test plays the product app, which has a clock"
)]
fn hours_ago(hours: usize) -> String {
    let at = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours as i64 + 1);
    at.to_string()
}

fn native(number: usize) -> String {
    format!(
        r#"{{"event_id":"n{number}","account_id":"a{}","user_id":"u","type":"feature","name":"f","occurred_at":"{}"}}"#,
        number % 50,
        hours_ago(number % 700),
    )
}

fn segment(number: usize) -> String {
    format!(
        r#"{{"type":"track","event":"Report Exported","messageId":"s{number}","userId":"u","context":{{"groupId":"a{}"}},"timestamp":"{}"}}"#,
        number % 50,
        hours_ago(number % 700),
    )
}

fn cloud(number: usize) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"c{number}","source":"/x","type":"login","subject":"a{}","time":"{}"}}"#,
        number % 50,
        hours_ago(number % 700),
    )
}

fn text(count: usize, line: fn(usize) -> String) -> String {
    (0..count).map(|number| line(number) + "\n").collect()
}

fn write_files(place: &Place) -> anyhow::Result<()> {
    std::fs::write(place.path("1.ndjson"), text(NATIVE, native))?;
    let file = std::fs::File::create(place.path("2.ndjson.gz"))?;
    let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    gzip.write_all(text(SEGMENT, segment).as_bytes())?;
    gzip.finish()?;
    let broken = "{ not json\n{\"event_id\":\"x\",\"type\":\"login\",\"occurred_at\":1}\n\n[]\n";
    let cloud = text(CLOUD, cloud) + broken;
    std::fs::write(place.path("3.zst"), zstd::encode_all(cloud.as_bytes(), 3)?)?;
    Ok(())
}

fn import(place: &Place, further: &[&str]) -> Command {
    let mut command = place.command("import");
    command.args([
        "1.ndjson",
        "2.ndjson.gz",
        "3.zst",
        "--format",
        "json",
        "--kafka-brokers",
    ]);
    command.arg(format!("127.0.0.1:{}", place.kafka)).args(further);
    command
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn noted_lines(note: &Path) -> Option<u64> {
    let note: Value = serde_json::from_slice(&std::fs::read(note).ok()?).ok()?;
    note["lines"].as_u64()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_goes_on_and_every_event_is_there_once() -> anyhow::Result<()> {
    let place = Place::new("")?;
    write_files(&place)?;
    let _up = place.up().await?;

    let mut first = import(&place, &["--rate", "3000", "--source", "backfill"]);
    let mut first = first.stdout(std::process::Stdio::null()).spawn()?;
    let note = place.path("1.ndjson.mimamori-import");
    wait_for("a note of more than 2000 lines", LONG, || async {
        Ok(noted_lines(&note).filter(|lines| *lines > 2_000))
    })
    .await?;
    first.kill().await?;
    let noted = noted_lines(&note).context("the note outlives the kill")?;
    ensure!(
        noted < NATIVE as u64,
        "it was killed midway, not at the end: {noted}"
    );

    let second = import(&place, &["--source", "backfill"]).output().await?;
    ensure!(second.status.success(), "{}", told(&second));
    let second: Value = serde_json::from_slice(&second.stdout)?;
    let files = second["files"].as_array().context("a list of files")?;
    assert_eq!(files[0]["from_line"], noted);
    assert_eq!(files[0]["sent"], NATIVE as u64 - noted);
    assert_eq!(files[1]["sent"], SEGMENT as u64);
    assert_eq!(files[2]["sent"], CLOUD as u64 + 3);
    assert_eq!(
        (&second["complete"], &second["refused"]),
        (&true.into(), &0.into())
    );
    ensure!(!note.exists(), "a finished import leaves no note");

    let expected = (NATIVE + SEGMENT + CLOUD) as i64;
    wait_for("every event in ClickHouse", LONG, || async {
        let found = place
            .count("SELECT uniqExact(account_id, event_id) FROM events")
            .await?;
        Ok((found >= expected).then_some(()))
    })
    .await?;
    assert_eq!(place.count("SELECT count() FROM events").await?, expected);
    let labelled = "SELECT count() FROM events WHERE source = 'backfill'";
    assert_eq!(place.count(labelled).await?, expected);

    let mut list = place.command("rejected");
    list.args(["list", "--format", "json", "--kafka-brokers"]);
    let list = list.arg(format!("127.0.0.1:{}", place.kafka)).output().await?;
    ensure!(list.status.success(), "{}", told(&list));
    let list: Value = serde_json::from_slice(&list.stdout)?;
    assert_eq!(list["total"], 3, "{list}");
    Ok(())
}

#[tokio::test]
async fn what_is_in_the_way_of_an_import_is_named_with_file_and_line() -> anyhow::Result<()> {
    let place = Place::new("[kafka]\nmax_record_bytes = 100000\n")?;
    let _up = place.up().await?;
    let run = async |file: &str| -> anyhow::Result<Output> {
        let mut command = place.command("import");
        command.args([file, "--kafka-brokers", &format!("127.0.0.1:{}", place.kafka)]);
        Ok(command.output().await?)
    };
    let missing = run("nowhere.ndjson").await?;
    assert_eq!(missing.status.code(), Some(1));
    assert!(told(&missing).contains("nowhere.ndjson"), "{}", told(&missing));

    let long = format!("{}\n{}\n{}\n", native(1), "x".repeat(200_000), native(2));
    std::fs::write(place.path("long.ndjson"), long)?;
    let long = run("long.ndjson").await?;
    assert_eq!(long.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&long.stdout)?;
    assert_eq!(report["sent"], 2, "the others are sent");
    assert_eq!(report["files"][0]["refused"][0]["line"], 2);

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text(2_000, native).as_bytes())?;
    let mut cut = gzip.finish()?;
    cut.truncate(cut.len() / 2);
    std::fs::write(place.path("cut.gz"), cut)?;
    let cut = run("cut.gz").await?;
    assert_eq!(cut.status.code(), Some(1));
    let error = told(&cut);
    assert!(
        error.contains("cut.gz, line ") && error.contains("cut.gz is in up to line"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn a_sample_is_shown_as_it_would_be_read_and_a_bad_line_ends_with_1() -> anyhow::Result<()> {
    let place = Place::new(
        "[[ingest.names]]\nevent = \"Report Exported\"\ntype = \"milestone\"\nname = \"first_value\"\n\
         [ingest.privacy]\nkey = \"file:key\"\npseudonymise = [\"user_id\"]\n\
         [[ingest.plans]]\nsources = [\"web\"]\nadditional_properties = \"reject\"\n\
         [[ingest.plans.events]]\ntype = \"milestone\"\nname = \"first_value\"\n\
         properties = { additionalProperties = false }\n",
    )?;
    std::fs::write(place.path("key"), "0123456789abcdef\n")?;
    let sample = format!("{}\n\n{}\n{{\"event_id\":1}}\n", segment(1), cloud(2));
    std::fs::write(place.path("sample"), zstd::encode_all(sample.as_bytes(), 3)?)?;
    let mut command = place.command("config");
    command.args(["check", "--sample", "sample", "--format", "json"]);
    let output = command.output().await?;
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let found: Value = serde_json::from_slice(&output.stdout)?;
    let event = &found["events"][0];
    assert_eq!(
        (&event["format"], &event["type"]),
        (&"segment".into(), &"milestone".into())
    );
    assert_eq!(event["counts_as"], serde_json::json!(["value event"]));
    assert_eq!(
        (&found["events"][1]["line"], &found["events"][1]["type"]),
        (&3.into(), &"login".into())
    );
    assert_eq!(found["events"][2]["reason"], "invalid_type");
    assert_eq!((&found["accepted"], &found["rejected"]), (&2.into(), &1.into()));

    let user = event["user_id"].as_str().context("a user")?;
    assert!(user.starts_with("p1_"), "{user}");
    let more = r#"{"type":"track","event":"Report Exported","messageId":"1","context":{"groupId":"a"},"properties":{"x":1}}"#;
    std::fs::write(
        place.path("more"),
        format!("{}\n{more}\n{}\n", segment(1), cloud(1)),
    )?;
    let mut command = place.command("config");
    command.args(["check", "--sample", "more", "--source", "web", "--format", "json"]);
    let found: Value = serde_json::from_slice(&command.output().await?.stdout)?;
    let told = |line: usize, field: &str| found["events"][line][field].clone();
    assert_eq!(told(0, "violations"), serde_json::json!([]));
    assert_eq!(told(1, "reason"), "additional_properties");
    assert_eq!(told(2, "violations"), serde_json::json!(["Unplanned-Event"]));
    Ok(())
}

/// One request to a stand-in for the collector: its head, and its lines; then the answer is written.
async fn exchange(
    listener: &tokio::net::TcpListener,
    status: &str,
    answer: impl Fn(&[String]) -> String,
) -> anyhow::Result<(String, Vec<String>)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let (mut peer, _) = listener.accept().await?;
    let mut request = Vec::new();
    let head_end = loop {
        ensure!(peer.read_buf(&mut request).await? > 0, "the request was cut off");
        if let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8(request[..head_end].to_vec())?.to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.context("a length")?.trim().parse()?;
    while request.len() < head_end + length {
        ensure!(peer.read_buf(&mut request).await? > 0, "the body was cut off");
    }
    let mut body = String::new();
    let mut gzip = flate2::read::GzDecoder::new(&request[head_end..]);
    std::io::Read::read_to_string(&mut gzip, &mut body)?;
    let lines: Vec<String> = body.lines().map(str::to_owned).collect();
    let answer = answer(&lines);
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
        answer.len()
    );
    peer.write_all(response.as_bytes()).await?;
    peer.shutdown().await?;
    Ok((head, lines))
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_an_import_that_is_killed_goes_on_and_every_event_is_there_once() -> anyhow::Result<()> {
    const BAD_LINE: usize = 11_700;
    let place = Place::new("[collector]\nkey_refresh_ms = 100\n")?;
    let mut lines: Vec<String> = (0..NATIVE).map(native).collect();
    // Lines are numbered from 1; this one is far behind where the first import is killed.
    lines.insert(BAD_LINE - 1, native(0).replace("\"feature\"", "\"dance\""));
    lines.extend((0..SEGMENT).map(segment));
    let text = lines.join("\n") + "\n";
    std::fs::write(place.path("events.zst"), zstd::encode_all(text.as_bytes(), 3)?)?;
    let _up = place.up().await?;
    let key = made_key(&place, "backfill", "server").await?;
    std::fs::write(place.path("key"), &key)?;
    let import = |further: &[&str]| {
        let mut command = place.command("import");
        command.args([
            "events.zst",
            "--via",
            "http",
            "--key",
            "file:key",
            "--format",
            "json",
            "--url",
        ]);
        command
            .arg(format!("http://127.0.0.1:{}", place.api))
            .args(further);
        command
    };

    let mut first = import(&["--rate", "3000"]);
    let mut first = first.stdout(std::process::Stdio::null()).spawn()?;
    let note = place.path("events.zst.mimamori-import");
    wait_for("a note of more than 2000 lines", LONG, || async {
        Ok(noted_lines(&note).filter(|lines| *lines > 2_000))
    })
    .await?;
    first.kill().await?;
    let noted = noted_lines(&note).context("the note outlives the kill")?;
    ensure!(
        noted < BAD_LINE as u64,
        "it was killed midway, not at the end: {noted}"
    );

    let second = import(&[]).output().await?;
    assert_eq!(
        second.status.code(),
        Some(1),
        "a line was not taken: {}",
        told(&second)
    );
    let second: Value = serde_json::from_slice(&second.stdout)?;
    let file = &second["files"][0];
    assert_eq!(
        (&file["from_line"], &second["complete"]),
        (&noted.into(), &true.into())
    );
    assert_eq!(file["sent"], lines.len() as u64 - noted);
    let refused = file["refused"].as_array().context("a list")?;
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0]["line"], BAD_LINE);
    let problem = refused[0]["problem"].as_str().context("a text")?;
    assert!(problem.starts_with("invalid_type: type"), "{problem}");

    let expected = (NATIVE + SEGMENT) as i64;
    wait_for("every event in ClickHouse", LONG, || async {
        let found = place
            .count("SELECT uniqExact(account_id, event_id) FROM events")
            .await?;
        Ok((found >= expected).then_some(()))
    })
    .await?;
    let labelled = "SELECT count() FROM events WHERE source = 'backfill'";
    assert_eq!(place.count("SELECT count() FROM events").await?, expected);
    assert_eq!(place.count(labelled).await?, expected);
    Ok(())
}

#[tokio::test]
async fn over_http_batches_are_posted_until_they_are_taken_and_rejected_lines_are_named() -> anyhow::Result<()>
{
    let place = Place::new("")?;
    let file = format!(
        "{}\n{}",
        text(1_500, native),
        text(1_000, segment).replacen("s7\"", "BAD\"", 1)
    );
    std::fs::write(place.path("events.ndjson"), &file)?;
    let sent: Vec<String> = file
        .lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let mut command = place.command("import");
    command.args([
        "events.ndjson",
        "--via",
        "http",
        "--key",
        "wk_1",
        "--format",
        "json",
        "--url",
    ]);
    command.arg(format!("http://{}", listener.local_addr()?));
    let run = tokio::spawn(async move { command.output().await });

    let taken = |lines: &[String]| {
        let bad = lines.iter().position(|line| line.contains("BAD"));
        let errors: Vec<Value> = bad
            .into_iter()
            .map(|index| serde_json::json!({"index": index, "reason": "too_old", "detail": "x"}))
            .collect();
        serde_json::json!({"accepted": lines.len() - errors.len(), "rejected": errors.len(), "errors": errors})
            .to_string()
    };
    let busy = "503 Service Unavailable\r\nRetry-After: 1";
    let (head, refused) = exchange(&listener, busy, |_| "{}".to_owned()).await?;
    assert!(head.starts_with("post /v1/events "), "{head}");
    assert!(head.contains("authorization: basic d2tfmto="), "{head}");
    assert!(head.contains("content-type: application/x-ndjson"), "{head}");
    let mut arrived = Vec::new();
    while arrived.len() < sent.len() {
        let (_, lines) = exchange(&listener, "200 OK", taken).await?;
        if arrived.is_empty() {
            assert_eq!(lines, refused, "what was refused comes again");
        }
        arrived.extend(lines);
    }
    assert_eq!(arrived, sent);

    let output = run.await??;
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let found: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(
        (&found["sent"], &found["complete"]),
        (&2_500.into(), &true.into())
    );
    let refused = found["files"][0]["refused"].as_array().context("a list")?;
    // 1500 lines, an empty one, and the eighth.
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0]["line"], 1_509);
    Ok(())
}
