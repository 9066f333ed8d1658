//! The snippets by which the documentation says that events are sent, run as they stand there: each event is
//! in its account's timeline a moment later.
//!
//! Only what a reader has to put in is put in: addresses, and write keys. That every snippet of these
//! pages is run is part of the test.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tests::{Place, Snippet, node_modules, python, root, snippets, tool};
use tokio::process::Command;
use tokio::time::Instant;

use crate::browser;
use crate::collector::made_key;

/// By when an event must be there; it is promised within a second, which a busy machine need not keep.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long a program may take, whose packages are there.
const RUN: Duration = Duration::from_secs(180);
/// How long Maven may take to fetch its own and Kafka's packages.
const FETCH: Duration = Duration::from_secs(240);
const LOOK_EVERY: Duration = Duration::from_millis(20);

const COPY_DEPENDENCIES: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// What a snippet sends: type and name of each event.
type Sent = &'static [(&'static str, Option<&'static str>)];

const LOGIN: (&str, Option<&str>) = ("login", None);
const EXPORT: (&str, Option<&str>) = ("feature", Some("report.export"));
const EXPORTED: (&str, Option<&str>) = ("feature", Some("report_exported"));

/// A snippet, found by its page, its language and words of it.
struct Known {
    file: &'static str,
    language: &'static str,
    words: &'static str,
    sent: Sent,
}

const fn known(file: &'static str, language: &'static str, words: &'static str, sent: Sent) -> Known {
    Known {
        file,
        language,
        words,
        sent,
    }
}

/// As long as there is no write key, none is needed.
const WITHOUT_KEY: &[Known] = &[
    known("README.md", "sh", "kcat -P", &[LOGIN]),
    known("README.md", "python", "confluent_kafka", &[EXPORT]),
    known("README.md", "sh", "\"event_id\":\"e-2\"", &[LOGIN]),
    known("docs/collector.md", "sh", "\"event_id\":\"e-3\"", &[LOGIN]),
    known("docs/kafka-clients.md", "js", "kafkajs", &[EXPORT]),
    known("docs/kafka-clients.md", "java", "KafkaProducer", &[EXPORT]),
];

const WITH_KEY: &[Known] = &[
    // The call, and two lines of the file.
    known("docs/collector.md", "sh", "zstd -c", &[EXPORTED, LOGIN, LOGIN]),
    known("docs/collector.md", "js", "analytics-node", &[EXPORTED]),
    known("docs/collector.md", "python", "segment.analytics", &[EXPORTED]),
    known(
        "docs/collector.md",
        "python",
        "cloudevents",
        &[("feature", Some("com.acme.report.exported"))],
    ),
    known("docs/collector.md", "html", "keepalive", &[EXPORTED]),
    known(
        "docs/collector.md",
        "html",
        "AnalyticsNext",
        &[
            ("user", None),
            ("account", None),
            ("feature", Some("page:Home")),
            EXPORTED,
        ],
    ),
];

/// Where on the pages snippets send events: all of a page, or what stands under one heading.
const PAGES: [(&str, &str); 6] = [
    ("README.md", "Send your first event"),
    ("docs/collector.md", "From a shell"),
    ("docs/collector.md", "From Node.js"),
    ("docs/collector.md", "From Python"),
    ("docs/collector.md", "From a web page"),
    ("docs/kafka-clients.md", ""),
];

impl Known {
    fn find(&self) -> anyhow::Result<Snippet> {
        let mut found = snippets(self.file)?
            .into_iter()
            .filter(|snippet| snippet.language == self.language && snippet.text.contains(self.words));
        let snippet = found.next();
        let what = format!(
            "{} has no snippet in {} with {:?}",
            self.file, self.language, self.words
        );
        ensure!(found.next().is_none(), "{what} alone");
        snippet.context(what)
    }
}

/// Keys as a reader has made them.
#[derive(Default)]
struct Keys {
    server: String,
    browser: String,
}

/// What a reader puts in.
fn filled_in(text: &str, place: &Place, keys: &Keys) -> String {
    let api = format!("127.0.0.1:{}", place.api);
    text.replace("127.0.0.1:9092", &format!("127.0.0.1:{}", place.kafka))
        .replace("127.0.0.1:8080", &api)
        .replace("https://events.example", &format!("http://{api}"))
        .replace("events.example", &api)
        .replace("protocol: 'https'", "protocol: 'http'")
        .replace("mwk_…", &keys.browser)
}

/// The command that runs a snippet, whose text lies where its language wants it; `None` when it cannot be
/// tried here.
async fn program(snippet: &Snippet, text: &str, place: &Place) -> anyhow::Result<Option<Command>> {
    let write = |path: PathBuf| -> anyhow::Result<PathBuf> {
        std::fs::write(&path, text)?;
        Ok(path)
    };
    let clients = root().join("tests/clients");
    let is_kafka = text.contains("afka");
    let packages = if is_kafka { "events" } else { "http" };
    let mut command = match snippet.language.as_str() {
        "sh" => {
            for (name, packages) in [("kcat", "kcat"), ("zstd", "zstd"), ("curl", "curl")] {
                if text.contains(name) {
                    tool(name, &format!("apt-get install {packages}"))?;
                }
            }
            let mut command = Command::new("bash");
            command.args(["-euo", "pipefail", "-c", text]);
            command
        }
        "python" => {
            let requirements = clients.join(packages).join("requirements.txt");
            let python = tokio::task::spawn_blocking(move || python(packages, &requirements)).await??;
            let mut command = Command::new(python);
            command.arg(write(place.path("snippet.py"))?);
            command
        }
        "js" => {
            let scripts = clients.join(packages);
            let folder = tokio::task::spawn_blocking(move || node_modules(packages, &scripts)).await??;
            let is_module = text.contains("import {");
            let mut command = Command::new("node");
            // Modules are looked for beside the file.
            command.arg(write(folder.join(if is_module {
                "snippet.mjs"
            } else {
                "snippet.cjs"
            }))?);
            command
        }
        "java" => match java_packages().await? {
            Some(packages) => {
                let mut command = Command::new("java");
                command.arg("-cp").arg(packages.join("*"));
                command.arg(write(place.path("SendEvent.java"))?);
                command
            }
            None => return Ok(None),
        },
        other => bail!("{}: nobody knows how to run {other}", snippet.place),
    };
    command.current_dir(place.path(""));
    Ok(Some(command))
}

/// The folder with what the Java snippet needs, fetched by Maven as the page says; `None` where that cannot
/// be had.
async fn java_packages() -> anyhow::Result<Option<PathBuf>> {
    let needs = Known {
        file: "docs/kafka-clients.md",
        language: "xml",
        words: "kafka-clients",
        sent: &[],
    };
    let pom = format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>mimamori</groupId><artifactId>snippet</artifactId><version>1</version><packaging>pom</packaging>\
         <dependencies>{}</dependencies></project>",
        needs.find()?.text
    );
    let folder = root().join("target/java-snippet");
    let (file, packages, stamp) = (
        folder.join("pom.xml"),
        folder.join("lib"),
        folder.join("fetched.xml"),
    );
    let not_tried = |why: &str| -> anyhow::Result<Option<PathBuf>> {
        // Past the capture of the tests' output: nobody shall think that it was tried.
        writeln!(std::io::stderr(), "\nTHE JAVA SNIPPET WAS NOT TRIED: {why}\n")?;
        Ok(None)
    };
    if let Err(missing) = tool("javac", "install a JDK 17 or newer") {
        return not_tried(&missing.to_string());
    }
    if std::fs::read_to_string(&stamp).is_ok_and(|fetched| fetched == pom) {
        return Ok(Some(packages));
    }
    if let Err(missing) = tool("mvn", "install Maven") {
        return not_tried(&missing.to_string());
    }
    std::fs::create_dir_all(&folder)?;
    std::fs::write(&file, &pom)?;
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", COPY_DEPENDENCIES, "-f"]).arg(&file);
    maven.arg(format!("-DoutputDirectory={}", packages.display()));
    let fetched = tokio::time::timeout(FETCH, maven.kill_on_drop(true).output()).await;
    let Ok(fetched) = fetched else {
        return not_tried("Maven's repository does not answer");
    };
    let fetched = fetched?;
    if !fetched.status.success() {
        let told = String::from_utf8_lossy(&fetched.stdout);
        let first = told
            .lines()
            .find(|line| line.contains("ERROR"))
            .unwrap_or("mvn failed");
        return not_tried(first);
    }
    std::fs::write(stamp, pom)?;
    Ok(Some(packages))
}

async fn timeline(place: &Place) -> anyhow::Result<Vec<Value>> {
    let answer = place.get("/api/v1/accounts/acme/timeline?limit=100").await;
    match answer {
        Ok(answer) => Ok(answer["events"].as_array().context("a list")?.clone()),
        // Nothing of it has come yet.
        Err(error) if error.to_string().contains("404") => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn kinds(events: &[Value]) -> Vec<(String, Option<String>)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let kind = |event: &Value| (text(&event["type"]).unwrap_or_default(), text(&event["name"]));
    let mut kinds: Vec<_> = events.iter().map(kind).collect();
    kinds.sort();
    kinds
}

#[allow(
    clippy::disallowed_methods,
    reason = "the test plays the reader, who has a clock"
)]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

fn milliseconds_since(at: &str) -> anyhow::Result<i64> {
    let at: jiff::Timestamp = at.parse()?;
    Ok(now().as_millisecond() - at.as_millisecond())
}

/// Waits until the timeline has this many events more than those that it had; those.
async fn arrived(place: &Place, before: &[Value], more: usize) -> anyhow::Result<Vec<Value>> {
    let deadline = Instant::now() + RUN + DEADLINE;
    loop {
        let events = timeline(place).await?;
        let is_new = |event: &Value| before.iter().all(|known| known["event_id"] != event["event_id"]);
        let new: Vec<Value> = events.into_iter().filter(is_new).collect();
        if new.len() >= more {
            return Ok(new);
        }
        ensure!(
            Instant::now() < deadline,
            "{} of {more} events came: {new:?}",
            new.len()
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Runs a snippet; how long its events took from their receipt to the timeline, in words.
async fn run(known: &Known, place: &Place, keys: &Keys) -> anyhow::Result<Option<String>> {
    let snippet = known.find()?;
    let text = filled_in(&snippet.text, place, keys);
    let before = timeline(place).await?;
    let began = Instant::now();
    let running = async {
        if snippet.language == "html" {
            let page = place.path("snippet.html");
            std::fs::write(&page, format!("<!doctype html>\n{text}"))?;
            return browser::open(&page, "", known.sent.len()).await.map(|_| true);
        }
        let Some(mut command) = program(&snippet, &text, place).await? else {
            return Ok(false);
        };
        let run = command.env("WRITE_KEY", &keys.server).kill_on_drop(true).output();
        let output = tokio::time::timeout(RUN, run).await.context("it does not end")?;
        let output = output.context("it cannot be run")?;
        let told = [&output.stdout[..], &output.stderr].concat();
        ensure!(
            output.status.success(),
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&told)
        );
        Ok(true)
    };
    let arriving = async {
        let new = arrived(place, &before, known.sent.len()).await?;
        let received = new.iter().filter_map(|event| event["received_at"].as_str()).max();
        let since = milliseconds_since(received.context("a time of receipt")?)?;
        anyhow::Ok((new, since))
    };
    tokio::pin!(running, arriving);
    let (new, since) = tokio::select! {
        biased;
        came = &mut arriving => {
            running.await?;
            came?
        }
        ran = &mut running => {
            if !ran? {
                return Ok(None);
            }
            tokio::time::timeout(DEADLINE, arriving).await.with_context(|| format!("no event within {DEADLINE:?}"))??
        }
    };
    let expected: Vec<Value> = known
        .sent
        .iter()
        .map(|(event_type, name)| serde_json::json!({"type": event_type, "name": name}))
        .collect();
    assert_eq!(kinds(&new), kinds(&expected), "{new:?}");
    Ok(Some(format!(
        "{:<28} {:<7} {since:>5} ms after receipt, {:>6} ms after the start of the program",
        snippet.place,
        snippet.language,
        began.elapsed().as_millis()
    )))
}

fn is_on_the_pages(file: &str, snippet: &Snippet) -> bool {
    PAGES
        .iter()
        .any(|(page, heading)| file == *page && (heading.is_empty() || snippet.heading == *heading))
}

/// Holds the tables above against the pages.
fn all_are_known() -> anyhow::Result<()> {
    let mut known: Vec<String> = Vec::new();
    for one in WITHOUT_KEY.iter().chain(WITH_KEY) {
        known.push(one.find()?.place);
    }
    let mut pages: Vec<&str> = PAGES.map(|(file, _)| file).to_vec();
    pages.dedup();
    for file in pages {
        for snippet in snippets(file)? {
            let sends = is_on_the_pages(file, &snippet) && snippet.language != "xml";
            ensure!(
                !sends || known.contains(&snippet.place),
                "{}: a snippet that no test runs",
                snippet.place
            );
        }
    }
    Ok(())
}

fn write_lines(file: &Path) -> anyhow::Result<()> {
    let at = now();
    let line = |id: &str| {
        format!(
            r#"{{"event_id":"{id}","account_id":"acme","user_id":"u","type":"login","occurred_at":"{at}"}}"#
        )
    };
    std::fs::write(file, format!("{}\n{}\n", line("l-1"), line("l-2")))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_snippet_of_the_documentation_sends_what_it_says() -> anyhow::Result<()> {
    all_are_known()?;
    let place = Place::new("[collector]\nkey_refresh_ms = 100\n")?;
    let _up = place.up().await?;
    write_lines(&place.path("events.ndjson"))?;
    let mut sent = 0;
    let mut keys = Keys::default();
    for (table, needs_key) in [(WITHOUT_KEY, false), (WITH_KEY, true)] {
        if needs_key {
            keys.server = made_key(&place, "backend", "server").await?;
            keys.browser = made_key(&place, "web", "browser").await?;
        }
        for known in table {
            let ran = run(known, &place, &keys).await;
            let ran =
                ran.with_context(|| format!("{}, {} with {:?}", known.file, known.language, known.words))?;
            if let Some(words) = ran {
                // Past the capture of the tests' output: the promise is a second, which no test asserts on a
                // busy machine.
                writeln!(std::io::stderr(), "{words}")?;
                sent += known.sent.len() as i64;
            }
        }
    }
    assert_eq!(
        place.count("SELECT count() FROM events").await?,
        sent,
        "each event once"
    );
    Ok(())
}
