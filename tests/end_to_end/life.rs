use std::time::Duration;

use anyhow::{Context, ensure};
use tests::{Place, Receiver, free_port, wait_for};

const LONG: Duration = Duration::from_secs(120);

fn with_destination(port: u16) -> String {
    format!(
        "[health]\nkey_features = [\"report.create\", \"report.export\", \"dashboard.share\"]\n\
         [[alert.destinations]]\nname = \"test\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{port}/hooks\"\n\
         secret = \"{}\"\nallow_private_addresses = true\n",
        Receiver::SECRET
    )
}

/// The columns of the truth that `simulate` writes.
struct Truth {
    accounts: usize,
    distinct: i64,
}

fn truth(place: &Place) -> anyhow::Result<Truth> {
    let text = std::fs::read_to_string(place.path("truth.csv"))?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().context("truth.csv is empty")?.split(',').collect();
    let column = header
        .iter()
        .position(|name| *name == "distinct")
        .context("no column distinct")?;
    let mut truth = Truth {
        accounts: 0,
        distinct: 0,
    };
    for line in lines {
        let field = line.split(',').nth(column).context("a short line")?;
        let distinct: i64 = field.parse().with_context(|| format!("distinct is {field:?}"))?;
        truth.accounts += usize::from(distinct > 0);
        truth.distinct += distinct;
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
    ensure!(
        output.status.success(),
        "simulate: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
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
            SELECT account_id, toDate(occurred_at, 'Asia/Tokyo') AS day, countIf(type = 'login') AS logins, count() AS events,
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

#[tokio::test(flavor = "multi_thread")]
async fn events_become_scores_and_a_signed_webhook_and_survive_being_killed() -> anyhow::Result<()> {
    let hooks = free_port();
    let mut receiver = Receiver::start(hooks).await?;
    let place = Place::new(&with_destination(hooks))?;
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
