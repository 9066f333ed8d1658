use store::{AccountGroup, AccountQuery, HistoryQuery, SortKey, Store};

use crate::harness::fresh;
use crate::rows::{DAY, MARCH, account, event, metrics, scores};

fn all() -> AccountQuery {
    AccountQuery {
        search: None,
        band: None,
        stage: None,
        segment: None,
        tier: None,
        owner: None,
        sort: SortKey::AccountId,
        descending: false,
        limit: 50,
        offset: 0,
    }
}

fn wanted(text: &str) -> Option<String> {
    Some(text.to_string())
}

async fn ids(store: &Store, query: &AccountQuery) -> Vec<String> {
    let page = store.accounts(query).await.unwrap();
    page.accounts.into_iter().map(|row| row.account_id).collect()
}

/// Four accounts: two well-known ones, one with scores and nothing else, one of another currency.
async fn furnished(name: &str) -> Store {
    let store = fresh(name).await;
    let mut second = account("beta", 1);
    second.name = Some("ベータ工業".to_string());
    second.segment = Some("enterprise".to_string());
    second.owner = Some("Tanaka".to_string());
    second.mrr = Some(500.0);
    second.currency = Some("USD".to_string());
    let mut third = account("gamma", 1);
    third.name = Some("Gamma Inc".to_string());
    third.mrr = None;
    store
        .insert_accounts("a", &[account("acme", 1), second, third])
        .await
        .unwrap();

    let mut red = scores("beta", MARCH, 1);
    red.band = "red".to_string();
    red.stage = "onboarding".to_string();
    red.tier = "tech".to_string();
    red.health = Some(20.0);
    red.churn_risk = Some(0.6);
    let mut green = scores("gamma", MARCH + 1, 1);
    green.band = "green".to_string();
    green.health = Some(91.0);
    green.support = Some(100.0);
    let mut bare = scores("only-scores", MARCH, 1);
    bare.band = "unknown".to_string();
    bare.health = None;
    bare.churn_risk = None;
    bare.drivers = Vec::new();
    let mut busy = metrics("gamma", MARCH + 1, 1);
    busy.days_since_last_login = Some(0);
    store
        .insert_evaluations(
            "e",
            &[metrics("acme", MARCH, 1), metrics("beta", MARCH, 1), busy],
            &[scores("acme", MARCH, 1), red, green, bare],
        )
        .await
        .unwrap();
    store
}

#[tokio::test]
async fn a_listed_account_shows_what_is_known_and_no_more() {
    let store = furnished("list").await;
    let page = store.accounts(&all()).await.unwrap();
    assert_eq!(page.total, 4);

    let acme = &page.accounts[0];
    assert_eq!(acme.name.as_deref(), Some("株式会社 acme"));
    assert_eq!(acme.drivers, scores("acme", MARCH, 1).drivers);
    assert_eq!(acme.onboarding_state.as_deref(), Some("behind"));
    assert_eq!((acme.ttv_days, acme.ttv_running_days), (None, Some(12.5)));
    assert_eq!(acme.evaluated_at, MARCH);
    assert_eq!(
        (acme.sentiment, acme.support, acme.expansion),
        (Some(80.0), None, Some(35.0))
    );
    assert_eq!(acme.stage_since, Some(MARCH - 30 * DAY));
    assert_eq!((acme.logins_7d, acme.active_users_28d), (Some(9), Some(8)));

    let bare = &page.accounts[3];
    assert_eq!(bare.account_id, "only-scores");
    assert_eq!(
        (&bare.name, &bare.plan, bare.mrr, &bare.currency),
        (&None, &None, None, &None)
    );
    assert_eq!(
        (bare.health, bare.churn_risk, bare.days_since_last_login),
        (None, None, None)
    );
    assert_eq!(
        (bare.logins_7d, bare.active_users_28d),
        (None, None),
        "no numbers is not zero"
    );
}

#[tokio::test]
async fn each_filter_leaves_only_what_it_names() {
    let store = furnished("filters").await;
    let cases = [
        (
            AccountQuery {
                search: wanted("ベータ"),
                ..all()
            },
            vec!["beta"],
        ),
        (
            AccountQuery {
                search: wanted("GAMMA"),
                ..all()
            },
            vec!["gamma"],
        ),
        (
            AccountQuery {
                search: wanted("only-"),
                ..all()
            },
            vec!["only-scores"],
        ),
        (
            AccountQuery {
                search: wanted("a' OR '1'='1"),
                ..all()
            },
            vec![],
        ),
        (
            AccountQuery {
                search: wanted("100%_\\?"),
                ..all()
            },
            vec![],
        ),
        (
            AccountQuery {
                band: wanted("red"),
                ..all()
            },
            vec!["beta"],
        ),
        (
            AccountQuery {
                stage: wanted("onboarding"),
                ..all()
            },
            vec!["beta"],
        ),
        (
            AccountQuery {
                segment: wanted("enterprise"),
                ..all()
            },
            vec!["beta"],
        ),
        (
            AccountQuery {
                tier: wanted("tech"),
                ..all()
            },
            vec!["beta"],
        ),
        (
            AccountQuery {
                owner: wanted("佐藤"),
                ..all()
            },
            vec!["acme", "gamma"],
        ),
        (
            AccountQuery {
                owner: wanted("佐藤"),
                band: wanted("green"),
                ..all()
            },
            vec!["gamma"],
        ),
    ];
    for (query, expected) in cases {
        let page = store.accounts(&query).await.unwrap();
        assert_eq!(page.total, expected.len() as u64, "{query:?}");
        assert_eq!(ids(&store, &query).await, expected, "{query:?}");
    }
}

#[tokio::test]
async fn every_sort_key_orders_and_leaves_the_unknown_for_the_end() {
    let store = furnished("sorts").await;
    let cases = [
        (SortKey::ChurnRisk, ["acme", "gamma", "beta", "only-scores"]),
        (SortKey::Health, ["beta", "acme", "gamma", "only-scores"]),
        (SortKey::Activity, ["acme", "beta", "gamma", "only-scores"]),
        (SortKey::Adoption, ["acme", "beta", "gamma", "only-scores"]),
        (SortKey::Ttv, ["acme", "beta", "gamma", "only-scores"]),
        (SortKey::Sentiment, ["acme", "beta", "gamma", "only-scores"]),
        (SortKey::Support, ["gamma", "acme", "beta", "only-scores"]),
        (SortKey::Expansion, ["acme", "beta", "gamma", "only-scores"]),
        (SortKey::Mrr, ["beta", "acme", "gamma", "only-scores"]),
        (SortKey::Name, ["gamma", "only-scores", "beta", "acme"]),
        (SortKey::AccountId, ["acme", "beta", "gamma", "only-scores"]),
        (
            SortKey::DaysSinceLastLogin,
            ["gamma", "acme", "beta", "only-scores"],
        ),
        (SortKey::EvaluatedAt, ["acme", "beta", "only-scores", "gamma"]),
    ];
    for (sort, expected) in cases {
        let query = AccountQuery { sort, ..all() };
        assert_eq!(ids(&store, &query).await, expected, "{sort:?}");
    }
    let descending = AccountQuery {
        sort: SortKey::Health,
        descending: true,
        ..all()
    };
    assert_eq!(
        ids(&store, &descending).await,
        ["gamma", "acme", "beta", "only-scores"]
    );
}

#[tokio::test]
async fn pages_follow_one_another_without_gap_or_overlap() {
    let store = furnished("pages").await;
    let mut seen = Vec::new();
    for offset in [0, 3, 6] {
        let query = AccountQuery {
            limit: 3,
            offset,
            ..all()
        };
        assert_eq!(store.accounts(&query).await.unwrap().total, 4);
        seen.extend(ids(&store, &query).await);
    }
    assert_eq!(seen, ["acme", "beta", "gamma", "only-scores"]);
}

#[tokio::test]
async fn groups_count_what_the_other_filters_leave_and_add_up_money_by_currency() {
    let store = furnished("groups").await;
    let page = store
        .accounts(&AccountQuery {
            band: wanted("red"),
            ..all()
        })
        .await
        .unwrap();
    let group = |band: &str, stage: &str, currency: Option<&str>, mrr: Option<f64>| AccountGroup {
        band: band.to_string(),
        stage: stage.to_string(),
        currency: currency.map(String::from),
        accounts: 1,
        mrr,
    };
    assert_eq!(
        page.groups,
        [
            group("green", "adoption", Some("JPY"), None),
            group("red", "onboarding", Some("USD"), Some(500.0)),
            group("unknown", "adoption", None, None),
            group("yellow", "adoption", Some("JPY"), Some(120_000.0)),
        ]
    );
    assert_eq!(page.total, 1);
}

#[tokio::test]
async fn an_account_comes_back_as_it_was_written() {
    let store = fresh("account").await;
    let mut row = account("acme", 1);
    row.contract_ends_at = Some(MARCH + 300 * DAY);
    store
        .insert_accounts("a", std::slice::from_ref(&row))
        .await
        .unwrap();
    assert_eq!(store.account("acme").await.unwrap(), Some(row));
    assert_eq!(store.account("nobody").await.unwrap(), None);
}

#[tokio::test]
async fn history_is_newest_first_and_bounded() {
    let store = fresh("history").await;
    let rows: Vec<_> = (0..5).map(|n| scores("acme", MARCH + n * DAY, 1)).collect();
    store.insert_evaluations("h", &[], &rows).await.unwrap();
    store.insert_evaluations("again", &[], &rows).await.unwrap();
    let found = store.score_history("acme", 3).await.unwrap();
    let times: Vec<i64> = found.iter().map(|row| row.evaluated_at).collect();
    assert_eq!(times, [MARCH + 4 * DAY, MARCH + 3 * DAY, MARCH + 2 * DAY]);
}

#[tokio::test]
async fn sampled_history_keeps_the_last_evaluation_of_each_interval() {
    let store = fresh("sampled").await;
    let hour = DAY / 24;
    let rows: Vec<_> = (0..48).map(|n| scores("acme", MARCH + n * hour, 1)).collect();
    store.insert_evaluations("h", &[], &rows).await.unwrap();
    store.insert_evaluations("again", &[], &rows).await.unwrap();
    let every = HistoryQuery {
        from: None,
        until: None,
        daily: None,
        step_seconds: 0,
        limit: 1_000,
    };
    assert_eq!(store.sampled_scores("acme", &every).await.unwrap().len(), 48);

    let daily = HistoryQuery {
        step_seconds: 86_400,
        ..every
    };
    let found = store.sampled_scores("acme", &daily).await.unwrap();
    let times: Vec<i64> = found.iter().map(|row| row.evaluated_at).collect();
    assert_eq!(times, [MARCH + 47 * hour, MARCH + 23 * hour]);

    let midnights = HistoryQuery {
        daily: Some(true),
        ..every
    };
    let found = store.sampled_scores("acme", &midnights).await.unwrap();
    let times: Vec<i64> = found.iter().map(|row| row.evaluated_at).collect();
    assert_eq!(times, [MARCH + DAY, MARCH]);
    let others = HistoryQuery {
        daily: Some(false),
        ..every
    };
    assert_eq!(store.sampled_scores("acme", &others).await.unwrap().len(), 46);

    let between = HistoryQuery {
        from: Some(MARCH + hour),
        until: Some(MARCH + 3 * hour),
        ..every
    };
    let found = store.sampled_scores("acme", &between).await.unwrap();
    let times: Vec<i64> = found.iter().map(|row| row.evaluated_at).collect();
    assert_eq!(times, [MARCH + 2 * hour, MARCH + hour]);

    let extremes = HistoryQuery {
        from: Some(i64::MIN),
        until: Some(i64::MAX),
        ..every
    };
    assert_eq!(store.sampled_scores("acme", &extremes).await.unwrap().len(), 48);
}

#[tokio::test]
async fn health_by_day_takes_the_newest_of_the_day_even_when_it_is_unknown() {
    let store = fresh("by_day").await;
    let mut evening = scores("acme", MARCH + DAY - 1, 1);
    evening.health = Some(30.0);
    let mut restated = evening.clone();
    restated.version = 2;
    restated.health = Some(31.0);
    let mut unknown = scores("acme", MARCH + DAY + 5, 1);
    unknown.health = None;
    let rows = [
        scores("acme", MARCH, 1),
        restated,
        evening,
        scores("acme", MARCH + DAY, 1),
        unknown,
        scores("acme", MARCH - DAY, 1),
        scores("beta", MARCH, 1),
        scores("gamma", MARCH, 1),
    ];
    store.insert_evaluations("h", &[], &rows).await.unwrap();

    let asked = ["acme", "beta"].map(String::from);
    let found = store.health_by_day(&asked, MARCH).await.unwrap();
    let days: Vec<(&str, u16, Option<f64>)> = found
        .iter()
        .map(|row| (row.account_id.as_str(), row.day, row.health))
        .collect();
    assert_eq!(
        days,
        [
            ("acme", 20_513, Some(31.0)),
            ("acme", 20_514, None),
            ("beta", 20_513, Some(62.5))
        ]
    );
    assert_eq!(store.health_by_day(&[], MARCH).await.unwrap(), []);
}

#[tokio::test]
async fn the_timeline_shows_an_event_once_newest_first() {
    let store = fresh("timeline").await;
    let rows = [
        event("acme", "e-1", 1),
        event("acme", "e-2", 2),
        event("beta", "e-3", 3),
    ];
    store.insert_events("a", &rows).await.unwrap();
    store.insert_events("again", &rows).await.unwrap();
    let found = store.timeline("acme", 10).await.unwrap();
    let ids: Vec<&str> = found.iter().map(|event| event.event_id.as_str()).collect();
    assert_eq!(ids, ["e-2", "e-1"]);
    let newest = &found[0];
    assert_eq!(
        (newest.r#type.as_str(), newest.name.as_str()),
        ("feature", "report.export")
    );
    assert_eq!(newest.properties, r#"{"rows":120,"題":"見守り"}"#);
    assert_eq!((newest.occurred_at, newest.received_at), (MARCH + 2, MARCH + 7));
    assert_eq!(store.timeline("acme", 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_events_since_an_instant_are_read_again_in_the_order_of_their_offsets() {
    let store = fresh("counted_days").await;
    let mut rows = Vec::new();
    for (offset, (account, id, hour)) in [
        ("acme", "a", 1),
        ("acme", "b", 23),
        ("acme", "c", 25),
        ("beta", "a", 2),
    ]
    .into_iter()
    .enumerate()
    {
        let mut row = event(account, id, offset as i64);
        row.occurred_at = MARCH + hour * 3_600_000;
        row.r#type = "feature".to_string();
        row.name = "report".to_string();
        row.user_id = id.to_string();
        row.properties = if id == "b" {
            r#"{"count":5}"#.to_string()
        } else {
            String::new()
        };
        rows.push(row);
    }
    store.insert_events("t", &rows).await.unwrap();

    let since = store
        .events_since(&["acme".to_string()], MARCH + 2 * 3_600_000)
        .await
        .unwrap();
    let ids: Vec<&str> = since.iter().map(|row| row.event_id.as_str()).collect();
    assert_eq!(ids, ["b", "c"]);
}
