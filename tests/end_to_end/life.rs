//! The lives of forty customers, from their events to scores, a webhook and the proof, with kills
//! between.

use std::process::Output;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tests::{Place, Receiver, free_port, mimamori, wait_for};
use tokio::process::Command;

const LONG: Duration = Duration::from_secs(120);

/// How much of each account's past is stated: the midnights (UTC) since its first event that have no row,
/// and the rows that do not know of all that happened before them.
const NOT_STATED: &str = "
    WITH happened AS
    (
        SELECT account_id, least(occurred_at, received_at) AS at, kafka_offset FROM events
    ),
    midnights AS
    (
        SELECT account_id, toUInt32(dateDiff('day', min(at), now64(3, 'UTC'))) AS due,
               min(at) = toStartOfDay(min(at), 'UTC') AS begins_at_one
        FROM happened GROUP BY account_id
    ),
    rows AS
    (
        SELECT account_id, evaluated_at, cut_offset FROM account_metrics WHERE is_daily
    ),
    newest AS
    (
        SELECT account_id, at, max(kafka_offset) OVER (PARTITION BY account_id ORDER BY at) AS newest FROM happened
    )
    SELECT (SELECT sum(due + begins_at_one) FROM midnights) - (SELECT count() FROM rows) +
           (SELECT countIf(rows.cut_offset < newest.newest)
            FROM rows ASOF INNER JOIN newest
            ON rows.account_id = newest.account_id AND rows.evaluated_at >= newest.at)";

/// The account model that fits the simulated customers, and a destination.
async fn configuration(port: u16) -> anyhow::Result<String> {
    let mut command = Command::new(mimamori());
    let printed = command.args(["simulate", "--print-health"]).output().await?;
    ensure!(printed.status.success(), "{}", told(&printed));
    let health = String::from_utf8(printed.stdout)?;
    Ok(format!(
        "{health}\n\
         [alert.breaker]\nshare = 0\n\
         [[alert.destinations]]\nname = \"test\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{port}/hooks\"\n\
         secret = \"{}\"\nallow_private_addresses = true\n",
        Receiver::SECRET
    ))
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The columns of the truth that `simulate` writes.
struct Truth {
    accounts: usize,
    distinct: i64,
    churned: usize,
}

fn truth(place: &Place) -> anyhow::Result<Truth> {
    let text = std::fs::read_to_string(place.path("truth.csv"))?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().context("truth.csv is empty")?.split(',').collect();
    let column = |wanted: &str| {
        let place = header.iter().position(|name| *name == wanted);
        place.with_context(|| format!("no column {wanted}"))
    };
    let (distinct, churned_at) = (column("distinct")?, column("churned_at")?);
    let mut truth = Truth {
        accounts: 0,
        distinct: 0,
        churned: 0,
    };
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let field = |place: usize| fields.get(place).context("a short line");
        let count = field(distinct)?;
        let count: i64 = count.parse().with_context(|| format!("distinct is {count:?}"))?;
        truth.accounts += usize::from(count > 0);
        truth.distinct += count;
        truth.churned += usize::from(!field(churned_at)?.is_empty());
    }
    Ok(truth)
}

/// Sends the lives of forty customers; the same ones, down to their ids, whenever it is called.
async fn simulate(place: &Place, until: &str) -> anyhow::Result<()> {
    let mut command = place.command("simulate");
    command.args([
        "--accounts",
        "40",
        "--months",
        "4",
        "--seed",
        "11",
        "--until",
        until,
    ]);
    command.args([
        "--malformed",
        "0.002",
        "--kafka-brokers",
        &format!("127.0.0.1:{}", place.kafka),
    ]);
    let output = command.output().await?;
    ensure!(output.status.success(), "simulate: {}", told(&output));
    Ok(())
}

/// What a command says about what this place's ClickHouse holds: how it ended, and its result.
async fn answer(place: &Place, subcommand: &str, arguments: &[&str]) -> anyhow::Result<(Output, Value)> {
    let mut command = place.command(subcommand);
    command.args(["--format", "json", "--clickhouse-url"]);
    command.arg(format!("http://127.0.0.1:{}", place.clickhouse));
    let run = command.args(arguments).output();
    let output = tokio::time::timeout(LONG, run).await;
    let output = output.with_context(|| format!("{subcommand} does not end"))??;
    let result = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{subcommand} {arguments:?}: {}", told(&output)))?;
    Ok((output, result))
}

/// Recent enough that its last weeks count as now, and the same for a whole test.
fn until() -> String {
    let now = std::process::Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:00:00Z"])
        .output();
    String::from_utf8_lossy(&now.expect("every Unix has date").stdout)
        .trim()
        .to_string()
}

/// What must hold once everything has come through, asked of ClickHouse in SQL of its own.
async fn nothing_is_missing_and_nothing_doubled(place: &Place, truth: &Truth) -> anyhow::Result<()> {
    let landed = wait_for("every event in ClickHouse", LONG, || async {
        let landed = place
            .count("SELECT uniqExact(account_id, event_id) FROM events")
            .await?;
        ensure!(
            landed >= truth.distinct,
            "{landed} of {} events landed",
            truth.distinct
        );
        Ok(Some(landed))
    });
    assert_eq!(landed.await?, truth.distinct, "distinct events");
    let rows = place.count("SELECT count() FROM events").await?;
    assert_eq!(rows, truth.distinct, "rows of events");
    // The daily numbers are folded by mimamori; the same from the raw rows alone, for the days of
    // the accounts in Tokyo, whose days SQL can tell without knowing each zone.
    let differing = "
        SELECT count() FROM
        (
            SELECT account_id, day, logins, events, active_users FROM account_daily
            WHERE account_id IN (SELECT account_id FROM accounts WHERE timezone = 'Asia/Tokyo')
        ) AS folded
        FULL OUTER JOIN
        (
            SELECT account_id, toDate(least(occurred_at, received_at), 'Asia/Tokyo') AS day, countIf(type = 'login') AS logins, count() AS events,
                   uniqExactIf(user_id, user_id != '' AND type IN ('login', 'feature')) AS active_users
            FROM events
            WHERE account_id IN (SELECT account_id FROM accounts WHERE timezone = 'Asia/Tokyo')
            GROUP BY account_id, day
        ) AS counted USING (account_id, day)
        WHERE folded.logins != counted.logins OR folded.events != counted.events
           OR folded.active_users != counted.active_users";
    wait_for("daily numbers that equal the raw events", LONG, || async {
        let known = place.count("SELECT count() FROM accounts").await?;
        ensure!(
            known == truth.accounts as i64,
            "{known} of {} accounts are there",
            truth.accounts
        );
        let differing = place.count(differing).await?;
        ensure!(differing == 0, "{differing} account-days differ");
        let compared = place
            .count("SELECT count() FROM accounts WHERE timezone = 'Asia/Tokyo'")
            .await?;
        ensure!(compared > 5, "only {compared} accounts were compared");
        Ok(Some(()))
    })
    .await
}

/// The newest row of each account, all rows of a midnight amid the past, and all days are what the raw
/// events say.
async fn the_proof_holds(place: &Place, truth: &Truth) -> anyhow::Result<()> {
    wait_for("every account's past", LONG, || async {
        let missing = place.count(NOT_STATED).await?;
        ensure!(
            missing == 0,
            "{missing} rows of midnights are missing or out of date"
        );
        Ok(Some(()))
    })
    .await?;
    let amid = place.query("SELECT formatDateTime(today() - 45, '%FT00:00:00Z')");
    let amid = amid.await?;
    let days = place.count("SELECT count() FROM account_daily WHERE events > 0");
    let days = days.await?;
    for rows in [&["--all"][..], &["--all", "--at", &amid]] {
        let (output, report) = answer(place, "verify", rows).await?;
        assert_eq!(report["differences"], Value::Array(Vec::new()), "{rows:?}");
        assert_eq!(output.status.code(), Some(0), "{rows:?}: {}", told(&output));
        assert_eq!(report["accounts"], truth.accounts, "{rows:?}");
        assert_eq!(report["of_another_model"], 0, "{rows:?}");
        assert!(report["days"].as_i64() >= Some(days.max(1)), "{rows:?}: {report}");
        let is_newest = rows.len() == 1;
        let evaluations = report["evaluations"].as_u64().unwrap_or_default() as usize;
        // Not everyone was there at the midnight.
        let least = if is_newest {
            truth.accounts
        } else {
            truth.accounts / 2
        };
        assert!(evaluations >= least, "{rows:?}: {report}");
    }
    Ok(())
}

/// One stored number is made another, and the proof names it.
async fn a_number_that_was_tampered_with_is_named(place: &Place) -> anyhow::Result<()> {
    let row = place
        .query("SELECT account_id, evaluated_at, logins_28d FROM account_metrics WHERE is_daily ORDER BY evaluated_at DESC, account_id LIMIT 1")
        .await?;
    let row: Vec<&str> = row.split('\t').collect();
    let [account_id, evaluated_at, logins] = row[..] else {
        anyhow::bail!("no row of a midnight: {row:?}")
    };
    let logins: i64 = logins.parse()?;
    place
        .query(&format!(
            "INSERT INTO metrics_versions
             SELECT * REPLACE (toUInt64(version + 1000000) AS version, toUInt32(logins_28d + 3) AS logins_28d)
             FROM metrics_versions FINAL WHERE account_id = '{account_id}' AND evaluated_at = '{evaluated_at}'"
        ))
        .await?;
    let at = format!("{}Z", evaluated_at.replace(' ', "T"));
    let (output, report) = answer(place, "verify", &["--all", "--at", &at]).await?;
    assert_eq!(output.status.code(), Some(1), "{report}");
    let difference = serde_json::json!([{
        "account_id": account_id, "table": "account_metrics", "at": at,
        "column": "logins_28d", "stored": logins + 3, "recomputed": logins
    }]);
    assert_eq!(report["differences"], difference);
    Ok(())
}

/// Held against the past that landed, the rules in force speak of those who left before they do.
async fn the_rules_catch_those_who_leave(place: &Place, truth: &Truth) -> anyhow::Result<()> {
    let (output, table) = answer(place, "backtest", &[]).await?;
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert_eq!(table["accounts"], truth.accounts);
    let rules = table["rules"].as_array().context("no rules")?;
    let named: Vec<&str> = rules.iter().filter_map(|row| row["rule"].as_str()).collect();
    let model = health::Model::new(health::HealthConfig::default())?;
    let shipped: Vec<&str> = model.rules().map(|(name, _)| name).collect();
    assert_eq!(named, shipped);
    assert!(
        named.contains(&"silence") && named.contains(&"promoter"),
        "{named:?}"
    );
    let churned = table["churned"].as_u64().context("no count of those who left")?;
    assert!(churned as usize >= truth.churned.max(1), "{table}");
    let together = table["together"].as_array().context("no row of all rules")?;
    let at_risk = together.iter().find(|row| row["kind"] == "at_risk");
    let at_risk = at_risk.context("no row of all risks")?;
    assert!(
        at_risk["caught"].as_u64() >= Some(churned.div_ceil(2)),
        "{at_risk}"
    );
    assert!(at_risk["lead_days_median"].as_f64() > Some(7.0), "{at_risk}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_become_scores_and_a_signed_webhook_and_survive_being_killed() -> anyhow::Result<()> {
    let hooks = free_port();
    let mut receiver = Receiver::start(hooks).await?;
    let place = Place::new(&configuration(hooks).await?)?;
    let until = until();

    // Killed twice while the history comes in, the second time in the middle of what it makes up for.
    let mut up = place.up().await?;
    simulate(&place, &until).await?;
    let truth = truth(&place)?;
    wait_for("the first events", LONG, || async {
        let landed = place.count("SELECT count() FROM events").await?;
        Ok((landed > truth.distinct / 10).then_some(()))
    })
    .await?;
    up.kill().await?;
    let mut up = place.up().await?;
    wait_for("further events", LONG, || async {
        let landed = place.count("SELECT count() FROM events").await?;
        Ok((landed > truth.distinct / 2).then_some(()))
    })
    .await?;
    up.kill().await?;
    let mut up = place.up().await?;
    nothing_is_missing_and_nothing_doubled(&place, &truth).await?;

    // Everyone has scores, and the API says the same as the tables.
    let listed = wait_for("scores of every account", LONG, || async {
        let listed = place.get("/api/v1/accounts?limit=500").await?;
        Ok((listed["total"] == truth.accounts).then_some(listed))
    })
    .await?;
    let worst = &listed["accounts"][0];
    let account_id = worst["account_id"].as_str().context("no account_id")?;
    let one = place.get(&format!("/api/v1/accounts/{account_id}")).await?;
    assert!(one.to_string().contains(account_id), "{one}");
    let scored = place
        .count("SELECT count() FROM account_scores_latest WHERE isNotNull(health)")
        .await?;
    assert!(scored > 0, "nobody has a health score");

    // The webhook was verified by another implementation, and its delivery is on record.
    let webhook = receiver
        .wait_for(LONG, |webhook| {
            webhook.to_string().contains("account.at_risk.opened")
        })
        .await?;
    let told = wait_for("the record of the delivery", LONG, || async {
        let delivered = place
            .count("SELECT count() FROM deliveries WHERE status = 'delivered'")
            .await?;
        Ok((delivered > 0).then_some(delivered))
    });
    assert!(told.await? > 0, "{webhook}");
    let doubled = place
        .count("SELECT count() - uniqExact(alert_id) FROM alerts")
        .await?;
    assert_eq!(doubled, 0, "alert changes are there twice");

    // The whole history once more: every id has been had, so nothing changes.
    simulate(&place, &until).await?;
    let again = truth.distinct;
    wait_for("the repeats to be counted", LONG, || async {
        let metrics = reqwest::get(format!("http://127.0.0.1:{}/metrics", place.api))
            .await?
            .text()
            .await?;
        let repeats = metrics
            .lines()
            .find_map(|line| line.strip_prefix("mimamori_aggregate_duplicates_total "));
        let repeats: i64 = repeats.unwrap_or("0").parse()?;
        ensure!(repeats >= again, "{repeats} of {again} repeats were seen");
        // What cannot be accepted came again, too, and was told from the rest.
        ensure!(
            metrics.contains("mimamori_ingest_rejected_total{"),
            "no rejection was counted"
        );
        Ok(Some(()))
    })
    .await?;
    nothing_is_missing_and_nothing_doubled(&place, &truth).await?;

    // All that is stored follows from the raw events, and what does not is found out.
    the_proof_holds(&place, &truth).await?;
    the_rules_catch_those_who_leave(&place, &truth).await?;
    a_number_that_was_tampered_with_is_named(&place).await?;

    // Ctrl-C ends it within five seconds, cleanly.
    let begun = std::time::Instant::now();
    let id = up.id().context("it runs")?.to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-INT", &id])
            .status()?
            .success()
    );
    let ended = tokio::time::timeout(Duration::from_secs(5), up.wait()).await;
    let ended = ended.with_context(|| format!("still running after 5 s\n{}", place.end_of_log()))??;
    assert!(ended.success(), "{ended}\n{}", place.end_of_log());
    println!("stopped in {:?}", begun.elapsed());
    Ok(())
}
