//! What people do about an alert, from the API to the webhook that tells of it, with kills between.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{Place, Receiver, free_port, wait_for};

const LONG: Duration = Duration::from_secs(120);

/// One rule, which a ticket opens and a second one makes worse, and a destination.
fn configuration(port: u16) -> String {
    format!(
        "[[health.rules]]\nname = \"tickets\"\nkind = \"at_risk\"\nseverity = \"warning\"\n\
         when = \"open_tickets >= 1\"\nescalate = \"open_tickets >= 2\"\n\
         [[alert.destinations]]\nname = \"test\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{port}/hooks\"\n\
         secret = \"{}\"\nallow_private_addresses = true\n",
        Receiver::SECRET
    )
}

async fn post(place: &Place, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
    let url = format!("http://127.0.0.1:{}{path}", place.api);
    let answer = reqwest::Client::new()
        .post(url)
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await?;
    let status = answer.status().as_u16();
    let text = answer.text().await?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
}

async fn ticket(place: &Place, name: &str, ticket_id: &str) -> anyhow::Result<()> {
    let now = place.query("SELECT toUnixTimestamp64Milli(now64(3))").await?;
    let event = json!({
        "event_id": format!("{ticket_id}-{name}"), "account_id": "acme", "user_id": "u1", "type": "ticket",
        "name": name, "occurred_at": now.parse::<i64>()?, "properties": {"ticket_id": ticket_id},
    });
    let (status, answer) = post(place, "/v1/events", &event).await?;
    ensure!(status == 200, "{status} {answer}");
    Ok(())
}

fn tells(webhook: &Value, kind: &str) -> bool {
    let text = webhook.to_string();
    text.contains(&format!("account.at_risk.{kind}")) && text.contains("tickets")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_do_about_an_alert_is_told_once_and_survives_kills() -> anyhow::Result<()> {
    let port = free_port();
    let mut receiver = Receiver::start(port).await?;
    let place = Place::new(&configuration(port))?;
    let mut up = place.up().await?;
    ticket(&place, "opened", "T-1").await?;
    receiver
        .wait_for(LONG, |webhook| tells(webhook, "opened"))
        .await?;

    let open = "/api/v1/alerts?state=open&account_id=acme";
    let listed = place.get(open).await?;
    let alert = &listed["alerts"][0];
    let episode = alert["episode_id"].as_str().context("an open alert")?.to_string();
    let alert_id = alert["alert_id"].as_str().context("its change")?.to_string();
    assert_eq!(
        (&alert["state"], &alert["rule"]),
        (&json!("open"), &json!("tickets"))
    );

    // Acknowledged under the id of the change, and killed as soon as it is answered.
    let body = json!({"by": "佐藤", "note": "電話します", "playbook": "call"});
    let (status, answer) = post(&place, &format!("/api/v1/alerts/{alert_id}/acknowledge"), &body).await?;
    assert_eq!(
        (status, &answer["episode_id"]),
        (202, &json!(episode)),
        "{answer}"
    );
    up.kill().await?;
    let mut up = place.up().await?;
    let told = receiver
        .wait_for(LONG, |webhook| tells(webhook, "acknowledged"))
        .await?;
    assert!(told.to_string().contains("電話します"), "{told}");
    let listed = wait_for("the acknowledgement in the list", LONG, || async {
        let listed = place.get(open).await?;
        Ok((listed["alerts"][0]["state"] == "acknowledged").then_some(listed))
    })
    .await?;
    assert_eq!(listed["alerts"][0]["acknowledged_by"], "佐藤");

    // While it is snoozed nobody hears that it got worse.
    let snooze = format!("/api/v1/alerts/{episode}/snooze");
    let (status, answer) = post(&place, &snooze, &json!({"by": "佐藤", "hours": 24})).await?;
    assert_eq!(status, 202, "{answer}");
    wait_for("the snooze in the list", LONG, || async {
        let listed = place.get(open).await?;
        Ok((listed["alerts"][0]["state"] == "snoozed").then_some(()))
    })
    .await?;
    ticket(&place, "opened", "T-2").await?;
    wait_for("an evaluation of two tickets", LONG, || async {
        let newest = "SELECT open_tickets FROM account_metrics_latest WHERE account_id = 'acme'";
        Ok((place.count(newest).await? == 2).then_some(()))
    })
    .await?;

    // Ended, and killed again.
    let resolve = format!("/api/v1/alerts/{episode}/resolve");
    let (status, answer) = post(&place, &resolve, &json!({"by": "佐藤"})).await?;
    assert_eq!(status, 202, "{answer}");
    up.kill().await?;
    let mut up = place.up().await?;
    receiver
        .wait_for(LONG, |webhook| tells(webhook, "resolved"))
        .await?;
    let (status, answer) = post(&place, &resolve, &json!({"by": "佐藤"})).await?;
    assert_eq!(status, 409, "{answer}");
    assert_eq!(place.get(open).await?["alerts"], json!([]));

    let changes = "SELECT arrayStringConcat(groupArray(change), ' ') FROM (SELECT change FROM alerts ORDER BY at, change = 'resolved')";
    assert_eq!(place.query(changes).await?, "opened acknowledged resolved");
    let actions = "SELECT arrayStringConcat(groupArray(name), ' ') FROM (SELECT name FROM events WHERE type = 'action' ORDER BY occurred_at)";
    assert_eq!(place.query(actions).await?, "acknowledged snoozed resolved");
    let counted = wait_for("the days' rows", LONG, || async {
        let counted = place
            .count("SELECT sum(events) FROM account_daily WHERE account_id = 'acme'")
            .await?;
        Ok((counted >= 2).then_some(counted))
    });
    assert_eq!(counted.await?, 2, "actions are no deeds of the customer");

    wait_for("a clean proof", LONG, || async {
        let mut command = place.command("verify");
        command.args(["--all", "--format", "json", "--clickhouse-url"]);
        command.arg(format!("http://127.0.0.1:{}", place.clickhouse));
        let output = command.output().await?;
        let report: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(report["differences"] == json!([]), "{report}");
        ensure!(output.status.success() && report["accounts"] == 1, "{report}");
        Ok(Some(()))
    })
    .await?;
    up.kill().await?;
    Ok(())
}
