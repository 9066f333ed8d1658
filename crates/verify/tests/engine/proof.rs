//! Comparing what is stored.

use clickhouse::Client;
use store::Store;
use verify::{Definition, Error, Rows, Scope, Verifier};

use crate::engine;
use crate::life::{Life, database, ms};

const FIRST: &str = "2026-06-29T12:00:00Z";
const D: &str = "2026-06-30T12:00:00Z";

fn definition() -> Definition {
    Definition {
        model_hash: "model".to_string(),
        ..Definition::default()
    }
}

async fn run(database: &str, sql: &str) {
    let client = Client::default()
        .with_url(engine::url())
        .with_database(format!("verify_test_{database}"));
    client
        .query_raw(sql)
        .execute()
        .await
        .unwrap_or_else(|error| panic!("{error}: {sql}"));
}

fn life(account: &str) -> Life {
    Life::in_zone(account, "Asia/Tokyo", "2026-03-01T00:00:00Z")
        .login("2026-06-27T20:00:00Z", "a") // the 28th in Tokyo
        .uses("2026-06-28T01:00:00Z", "report", "a", 3)
        .uses("2026-06-28T02:00:00Z", "report", "b", 1)
        .login("2026-06-30T01:00:00Z", "b")
}

/// Tables that hold what the events say of two accounts: each at two instants, the older of which
/// covers one event less, with a segment whose median stickiness is 0.1.
async fn stored(name: &str) -> (Store, Verifier) {
    let store = database(name).await;
    let verifier = Verifier::new(store.clone(), definition());
    let mut parts = Vec::new();
    for account in ["one", "two"] {
        life(account).land(&store).await;
        for at in [FIRST, D] {
            let sql = verifier.as_known(account, ms(at), ms(at)).await.unwrap().sql;
            let sql = sql.replace("9223372036854775807, NULL", "100, 0.1");
            parts.push(format!("SELECT * FROM ({sql})"));
        }
    }
    run(
        name,
        &format!(
            "CREATE TABLE recomputed ENGINE = MergeTree ORDER BY account_id AS \
             SELECT * REPLACE (fromUnixTimestamp64Milli(evaluated_at, 'UTC') AS evaluated_at), toInt64(100) AS cut_offset \
             FROM ({})",
            parts.join(" UNION ALL ")
        ),
    )
    .await;
    for (table, view) in [("metrics", "account_metrics"), ("scores", "account_scores")] {
        run(name, &format!("DROP VIEW {view}")).await;
        run(name, &format!("DROP VIEW {view}_latest")).await;
        let columns = match table {
            "metrics" => {
                "* EXCEPT (health, ttv, activity, adoption, sentiment, support, churn_risk, expansion, \
                          confidence, band, stage, tier, drivers)"
            }
            _ => {
                "account_id, evaluated_at, health, ttv, activity, adoption, sentiment, support, churn_risk, \
                  expansion, confidence, band, stage, tier, drivers, 'model' AS model_hash"
            }
        };
        run(
            name,
            &format!(
                "CREATE TABLE {view} ENGINE = MergeTree ORDER BY account_id AS \
                 SELECT {columns}, evaluated_at AS watermark FROM recomputed"
            ),
        )
        .await;
        run(
            name,
            &format!(
                "CREATE VIEW {view}_latest AS \
                 SELECT * FROM {view} ORDER BY evaluated_at DESC LIMIT 1 BY account_id"
            ),
        )
        .await;
    }
    // Days in Tokyo: March 1st, June 28th (a login, three events, users a and b), June 30th.
    for account in ["one", "two"] {
        run(
            name,
            &format!(
                "INSERT INTO account_daily_versions \
                 SELECT '{account}', toDate(day), 1, logins, events, users, uses, toDateTime64('2026-06-30 00:00:00', 3) \
                 FROM values('day String, logins UInt32, events UInt32, users UInt32, uses Map(String, UInt64)', \
                 ('2026-03-01', 0, 1, 0, map()), ('2026-06-28', 1, 3, 2, map('report', 4)), ('2026-06-30', 1, 1, 1, map()))"
            ),
        )
        .await;
    }
    (store, verifier)
}

async fn differences(verifier: &Verifier, scope: Scope, rows: Rows) -> Vec<String> {
    let report = verifier.verify(&scope, rows, &mut |_, _| {}).await.unwrap();
    let mut listed: Vec<String> = report
        .differences
        .iter()
        .map(|one| {
            format!(
                "{} {} {} {}: {} {}",
                one.account_id, one.table, one.at, one.column, one.stored, one.recomputed
            )
        })
        .collect();
    listed.sort();
    listed
}

#[tokio::test]
async fn what_is_stored_is_compared_and_what_differs_is_listed() {
    let (_, verifier) = stored("compared").await;
    let mut told = Vec::new();
    let report = verifier
        .verify(&Scope::All, Rows::Every, &mut |done, of| told.push((done, of)))
        .await
        .unwrap();
    assert_eq!(report.differences, []);
    assert_eq!((report.accounts, report.evaluations, report.days), (2, 4, 6));
    assert_eq!(told.first(), Some(&(0, 2)));
    assert_eq!(told.last(), Some(&(2, 2)));
    let newest = verifier
        .verify(&Scope::All, Rows::Newest, &mut |_, _| {})
        .await
        .unwrap();
    assert_eq!((newest.accounts, newest.evaluations), (2, 2));
    let sample = verifier
        .verify(&Scope::Sample(1, 7), Rows::Newest, &mut |_, _| {})
        .await
        .unwrap();
    assert_eq!((sample.accounts, sample.evaluations, sample.days), (1, 1, 3));

    let change = |table: &'static str, set: &'static str| async move {
        run(
            "compared",
            &format!("ALTER TABLE {table} UPDATE {set} SETTINGS mutations_sync = 2"),
        )
        .await;
    };
    change(
        "account_metrics",
        "logins_28d = 3 WHERE account_id = 'one' AND evaluated_at > '2026-06-30'",
    )
    .await;
    change(
        "account_scores",
        "health = health + 1e-7, band = 'green' WHERE account_id = 'two' AND evaluated_at < '2026-06-30'",
    )
    .await;
    change(
        "account_daily_versions",
        "events = 4 WHERE account_id = 'two' AND day = '2026-06-28'",
    )
    .await;
    run(
        "compared",
        "DELETE FROM account_daily_versions WHERE account_id = 'one' AND day = '2026-06-30'",
    )
    .await;
    let newest = differences(&verifier, Scope::All, Rows::Newest).await;
    assert_eq!(newest.len(), 3, "{newest:#?}");
    assert!(
        newest[0].starts_with("one account_daily 2026-06-30 row: null {"),
        "{newest:#?}"
    );
    assert_eq!(
        newest[1],
        "one account_metrics 2026-06-30T12:00:00.000Z logins_28d: 3 2"
    );
    assert_eq!(newest[2], "two account_daily 2026-06-28 events: 4 3");
    let two = || Scope::Account("two".into());
    let every = differences(&verifier, two(), Rows::Every).await;
    assert_eq!(every.len(), 3, "{every:#?}");
    assert!(
        every[1].starts_with("two account_scores 2026-06-29T12:00:00.000Z band: \"green\""),
        "{every:#?}"
    );
    let at = differences(&verifier, two(), Rows::At(ms("2026-06-30T11:00:00Z"))).await;
    assert_eq!(at, every);
    let after = differences(&verifier, two(), Rows::At(ms(D))).await;
    assert_eq!(after.len(), 1, "{after:#?}");
    // An account whose evaluations are gone is not passed over.
    for table in ["account_metrics", "account_scores"] {
        run(
            "compared",
            &format!("DELETE FROM {table} WHERE account_id = 'one'"),
        )
        .await;
    }
    let gone = differences(&verifier, Scope::All, Rows::Newest).await;
    assert_eq!(
        gone.get(1).map(String::as_str),
        Some("one account_scores  row: null \"an evaluation\"")
    );
}

#[tokio::test]
async fn a_receipt_can_be_run_as_it_is() {
    let (store, verifier) = stored("receipt").await;
    let receipt = verifier.receipt("one", Some(ms(FIRST))).await.unwrap();
    assert_eq!(receipt.evaluated_at, "2026-06-29T12:00:00.000Z");
    assert_eq!((receipt.cut_offset, receipt.model_hash.as_str()), (100, "model"));
    assert_eq!(receipt.inputs["logins_28d"], 1);
    // Two users on one day of 28, of two: 1 / 28, of a median of 0.1.
    assert_eq!(
        receipt.inputs["relative_stickiness"]
            .as_f64()
            .map(|one| (one * 2.8 * 1e9).round()),
        Some(1e9)
    );
    assert_eq!(receipt.scores["stage"], "adoption");
    assert!(!receipt.contributions.as_array().unwrap().is_empty());
    let answered = store.json_rows("run the receipt", &receipt.sql).await.unwrap();
    let row: serde_json::Value = serde_json::from_str(answered.trim()).unwrap();
    for (name, value) in receipt.inputs.iter().chain(&receipt.scores) {
        assert_eq!(&row[name], value, "{name}");
    }
    assert_eq!(row["drivers"], receipt.contributions);
    let newest = verifier.receipt("one", None).await.unwrap();
    assert_eq!(newest.inputs["logins_28d"], 2);
}

#[tokio::test]
async fn what_cannot_be_verified_says_why() {
    let (store, verifier) = stored("refused").await;
    let quiet = &mut |_: u64, _: u64| {};
    let scope = |id: &str| Scope::Account(id.to_string());
    let nobody = verifier
        .verify(&scope("it's"), Rows::Newest, quiet)
        .await
        .unwrap_err();
    assert!(matches!(nobody, Error::NoSuchAccount(id) if id == "it's"));
    assert!(matches!(
        verifier.receipt("nobody", None).await,
        Err(Error::NoSuchAccount(_))
    ));
    assert!(matches!(
        verifier.as_known("nobody", ms(D), ms(D)).await,
        Err(Error::NoSuchAccount(_))
    ));
    let early = ms("2026-01-01T00:00:00Z");
    let none = verifier.verify(&scope("one"), Rows::At(early), quiet).await;
    assert!(matches!(none, Err(Error::NoRow(_))));
    assert!(matches!(
        verifier.receipt("one", Some(early)).await,
        Err(Error::NoRow(_))
    ));
    assert!(matches!(
        verifier.as_known("one", early, ms(D)).await,
        Err(Error::NoEvents(_))
    ));
    let other = Verifier::new(store, Definition::default());
    assert!(matches!(
        other.receipt("one", None).await,
        Err(Error::AnotherModel { .. })
    ));
    let passed_over = other.verify(&Scope::All, Rows::Newest, quiet).await.unwrap();
    assert_eq!((passed_over.evaluations, passed_over.of_another_model), (0, 2));
}
