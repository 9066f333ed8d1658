//! Who is told and when, from the topic to the receiver, on the paused clock.

use serde_json::{Value, json};

use super::*;
use crate::digest;
use crate::lane::{DIGEST, DIGESTED, HELD_OUT, SHADOW, SUPPRESSED};
use crate::testing::config_for;

/// `ORIGIN` is 01:02:03 of a Sunday in UTC: work begins, and the digest is due, a day later at 09:00.
const MONDAY: i64 = ORIGIN + HOUR * 31 + 57 * 60_000 + 57_000;
const HOUR: i64 = 3_600_000;

fn policy(names: &[&str], value: Value) -> Policy {
    let mut config: Config = serde_json::from_value(value).unwrap();
    config.destinations = config_for(names).destinations;
    config.policy().unwrap()
}

fn working(clock: &Clock) -> Fake {
    Fake::new(clock, |_, _| at_once(200))
}

/// Waits until the ledger says this of the alert.
async fn until(ledger: &Memory, destination: &str, alert_id: &str, status: &str) {
    let reached = async {
        while ledger.statuses(destination).get(alert_id).map(String::as_str) != Some(status) {
            sleep(Duration::from_secs(5)).await;
        }
    };
    // On a paused clock this is how far the clock may run.
    if timeout(Duration::from_secs(96 * 3_600), reached).await.is_err() {
        panic!("{:?}", ledger.statuses(destination));
    }
}

fn numbered(changes: impl IntoIterator<Item = AlertChange>, first: i64) -> Vec<Arrival> {
    let numbered = changes.into_iter().zip(first..);
    numbered
        .map(|(change, offset)| Arrival {
            partition: 0,
            offset,
            change: Some(change),
        })
        .collect()
}

fn of_tier(account: &str, kind: &str, tier: &str, at: i64) -> AlertChange {
    AlertChange {
        payload: format!(r#"{{"account":{{"tier":"{tier}"}}}}"#),
        ..alert(account, kind, at)
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_reaches_who_was_told_though_the_account_moved_on() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let (owner, robot) = (working(&clock), working(&clock));
    let routes = json!({"routes": [
        {"tiers": ["high"], "destinations": ["owner"]},
        {"tiers": ["tech"], "destinations": ["robot"]},
    ]});
    let start = |ledger: &Memory| {
        let lanes = vec![(limits("owner"), owner.clone()), (limits("robot"), robot.clone())];
        start_with(ledger, &clock, policy(&["owner", "robot"], routes.clone()), lanes)
    };
    let bench = start(&ledger);
    let first = [
        of_tier("a", "opened", "high", ORIGIN),
        of_tier("aa", "opened", "low", ORIGIN),
        // In the same batch, before anything is written.
        of_tier("a", "escalated", "tech", ORIGIN + 1),
    ];
    bench.engine.submit(numbered(first, 0)).await.unwrap();
    position(&bench, 3).await;
    until(&ledger, "owner", "al-a-escalated", DELIVERED).await;
    until(&ledger, "robot", "al-a-escalated", DELIVERED).await;
    drop(bench);

    // After a restart the rows say who was told.
    let bench = start(&ledger);
    let then = [
        of_tier("a", "resolved", "low", ORIGIN + 2),
        of_tier("aa", "resolved", "high", ORIGIN + 2),
    ];
    bench.engine.submit(numbered(then, 3)).await.unwrap();
    position(&bench, 5).await;
    until(&ledger, "owner", "al-a-resolved", DELIVERED).await;
    until(&ledger, "robot", "al-a-resolved", DELIVERED).await;
    assert_eq!(owner.sent(), ["al-a-opened", "al-a-escalated", "al-a-resolved"]);
    assert_eq!(robot.sent(), ["al-a-escalated", "al-a-resolved"]);
    let nobody = ledger.statuses("");
    assert_eq!(nobody.len(), 2, "{nobody:?}");
    assert!(nobody.values().all(|status| status == SUPPRESSED));
    let row = &ledger.rows("", "al-aa-opened")[0];
    assert_eq!((row.episode_id.as_str(), row.attempt), ("ep-aa", 0));
    assert!(row.error.contains("no route"), "{}", row.error);
}

#[tokio::test(start_paused = true)]
async fn a_shadow_and_a_holdout_are_recorded_and_a_variant_is_told() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let fake = working(&clock);
    let rules = json!({"rules": {
        "quiet": {"shadow": true}, "held": {"holdout": 0.999999}, "login_drop": {"variants": ["call"]},
    }});
    let lanes = vec![(limits("one"), fake.clone())];
    let bench = start_with(&ledger, &clock, policy(&["one"], rules), lanes);
    let of_rule = |rule: &str, account: &str| AlertChange {
        rule: rule.into(),
        ..alert(account, "opened", ORIGIN)
    };
    let changes = [
        of_rule("quiet", "a"),
        of_rule("held", "aa"),
        of_rule("login_drop", "aaa"),
    ];
    bench.engine.submit(arrivals(changes)).await.unwrap();
    position(&bench, 3).await;
    assert_eq!(fake.sent(), ["al-aaa-opened"]);
    let statuses = ledger.statuses("one");
    assert_eq!(
        ["al-a-opened", "al-aa-opened", "al-aaa-opened"].map(|id| statuses[id].as_str()),
        [SHADOW, HELD_OUT, DELIVERED]
    );
    assert_eq!(ledger.rows("one", "al-aaa-opened")[0].variant, "call");
    let count = |status| bench.metrics.deliveries.with_label_values(&["one", status]).get();
    assert_eq!((count(SHADOW), count(HELD_OUT), count(DELIVERED)), (1, 1, 1));
}

fn in_hours() -> Value {
    json!({"routes": [{"destinations": ["one"], "when": "work_hours"}]})
}

#[tokio::test(start_paused = true)]
async fn what_comes_outside_of_the_hours_of_work_waits_for_them_also_through_a_kill() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let fake = working(&clock);
    let start = || {
        start_with(
            &ledger,
            &clock,
            policy(&["one"], in_hours()),
            vec![(limits("one"), fake.clone())],
        )
    };
    let bench = start();
    bench.engine.submit(arrivals(opened(0..2))).await.unwrap();
    position(&bench, 2).await;
    let row = &ledger.rows("one", "al-a000-opened")[0];
    assert_eq!(
        (row.status.as_str(), row.attempt, row.next_attempt_at),
        (RETRYING, 0, Some(MONDAY))
    );
    drop(bench);
    let bench = start();
    until_all(&ledger, &bench, "one", 2, DELIVERED).await;
    let monday = (MONDAY - ORIGIN) / 1_000;
    assert_eq!(fake.seconds_of("al-a000-opened"), [monday]);
    assert_eq!(fake.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_episode_that_is_over_before_the_hours_of_work_bothers_nobody() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let fake = working(&clock);
    let start = || {
        start_with(
            &ledger,
            &clock,
            policy(&["one"], in_hours()),
            vec![(limits("one"), fake.clone())],
        )
    };
    let bench = start();
    // One ends while its opening is in memory, one while it is in ClickHouse alone.
    let changes = [
        alert("a", "opened", ORIGIN),
        alert("aa", "opened", ORIGIN),
        alert("a", "resolved", ORIGIN + 1),
    ];
    bench.engine.submit(numbered(changes, 0)).await.unwrap();
    position(&bench, 3).await;
    drop(bench);
    let bench = start();
    let changes = [
        alert("aa", "escalated", ORIGIN + 2),
        alert("aa", "retracted", ORIGIN + 3),
    ];
    bench.engine.submit(numbered(changes, 3)).await.unwrap();
    position(&bench, 5).await;
    until_all(&ledger, &bench, "one", 5, SUPPRESSED).await;
    sleep(Duration::from_secs(48 * 3_600)).await;
    assert_eq!(fake.sent(), Vec::<String>::new());
    let last = ledger.rows("one", "al-a-opened").pop().unwrap();
    assert!(last.error.contains("over before"), "{}", last.error);
    assert_eq!(last.attempt, 1);
}

fn in_digest() -> Value {
    json!({"routes": [
        {"severities": ["info"], "destinations": ["one"]},
        {"destinations": ["one"], "when": "digest"},
    ]})
}

#[tokio::test(start_paused = true)]
async fn a_digest_goes_out_once_a_day_and_tells_of_what_came_before_it() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let fake = working(&clock);
    let start = || {
        start_with(
            &ledger,
            &clock,
            policy(&["one"], in_digest()),
            vec![(limits("one"), fake.clone())],
        )
    };
    let bench = start();
    let changes = [
        alert("a", "opened", ORIGIN),
        alert("aa", "opened", ORIGIN),
        alert("a", "resolved", ORIGIN + 1),
    ];
    bench.engine.submit(numbered(changes, 0)).await.unwrap();
    position(&bench, 3).await;
    assert!(ledger.statuses("one").values().all(|status| status == DIGEST));
    sleep(Duration::from_secs(120)).await;
    assert_eq!(bench.metrics.awaiting_digest.with_label_values(&["one"]).get(), 3);

    let day = |day| digest::id("one", jiff::civil::date(2026, 11, day));
    let monday = day(23);
    until(&ledger, "one", &monday, DELIVERED).await;
    assert_eq!(fake.sent(), [monday.as_str()]);
    assert_eq!(fake.seconds_of(&monday), [(MONDAY - ORIGIN) / 1_000]);
    let statuses = ledger.statuses("one");
    assert!(
        statuses
            .iter()
            .all(|(id, status)| *id == monday || status == DIGESTED),
        "{statuses:?}"
    );
    let row = ledger.rows("one", &monday)[0].clone();
    let body: Value = serde_json::from_str(&row.body).unwrap();
    assert_eq!(body["data"]["alert_ids"], json!(["al-aa-opened"]));
    assert_eq!(
        (&body["data"]["count"], &body["data"]["passed"]),
        (&json!(2), &json!(1))
    );

    // The next one tells of the end; a restart makes none again, and a day of nothing has none.
    drop(bench);
    let bench = start();
    bench
        .engine
        .submit(numbered([alert("aa", "resolved", ORIGIN + 2)], 3))
        .await
        .unwrap();
    until(&ledger, "one", &day(24), DELIVERED).await;
    let row = ledger.rows("one", &day(24))[0].clone();
    let body: Value = serde_json::from_str(&row.body).unwrap();
    assert_eq!(body["data"]["alert_ids"], json!(["al-aa-resolved"]));
    assert_eq!(body["data"]["resolved"], 1);
    sleep(Duration::from_secs(72 * 3_600)).await;
    assert_eq!(fake.sent(), [monday, day(24)]);
    assert_eq!(bench.metrics.awaiting_digest.with_label_values(&["one"]).get(), 0);
}

/// What a worker leaves behind that dies after any of the steps of making a digest.
#[tokio::test(start_paused = true)]
async fn a_digest_that_was_begun_is_completed_by_the_next_worker() {
    for steps in 0..=2 {
        let clock = Clock::of_tokio(ORIGIN);
        let ledger = Memory::new();
        let fake = working(&clock);
        let start = || {
            start_with(
                &ledger,
                &clock,
                policy(&["one"], in_digest()),
                vec![(limits("one"), fake.clone())],
            )
        };
        let bench = start();
        bench.engine.submit(arrivals(opened(0..3))).await.unwrap();
        position(&bench, 3).await;
        drop(bench);

        let monday = digest::id("one", jiff::civil::date(2026, 11, 23));
        let mut rows = Vec::new();
        for n in 0..if steps == 0 { 0 } else { 2 } {
            let put_off = ledger.rows("one", &format!("al-a00{n}-opened")).pop().unwrap();
            rows.push(store::DeliveryRow {
                attempt: 1,
                status: DIGESTED.into(),
                body: String::new(),
                // On the second round by a digest that was never made.
                reference: if steps == 2 {
                    "dg_other".into()
                } else {
                    monday.clone()
                },
                ..put_off
            });
        }
        ledger.insert("left behind", &rows).await.unwrap();
        sleep(Duration::from_millis(
            u64::try_from(MONDAY - ORIGIN).unwrap() + 5_000,
        ))
        .await;
        let bench = start();
        until(&ledger, "one", &monday, DELIVERED).await;
        drop(bench);
        let _bench = start();
        sleep(Duration::from_secs(600)).await;
        assert_eq!(fake.sent(), [monday.as_str()], "after step {steps}");
        let body: Value = serde_json::from_str(&ledger.rows("one", &monday)[0].body).unwrap();
        assert_eq!(body["data"]["count"], 3);
        let rows = ledger.rows("one", "al-a000-opened");
        assert_eq!(rows.last().unwrap().reference, monday);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_own_the_first_partition_makes_no_digest() {
    let clock = Clock::of_tokio(ORIGIN);
    let ledger = Memory::new();
    let fake = working(&clock);
    let bench = start_with(
        &ledger,
        &clock,
        policy(&["one"], in_digest()),
        vec![(limits("one"), fake.clone())],
    );
    bench.engine.submit(arrivals(opened(0..1))).await.unwrap();
    position(&bench, 1).await;
    bench.engine.release(&[0]).await;
    bench.engine.forget(&[0]);
    bench.engine.assign(&[1], 2);
    sleep(Duration::from_secs(48 * 3_600)).await;
    assert_eq!(fake.sent(), Vec::<String>::new());
    assert_eq!(ledger.statuses("one")["al-a000-opened"], DIGEST);
    bench.engine.assign(&[0], 2);
    until(&ledger, "one", "al-a000-opened", DIGESTED).await;
}
