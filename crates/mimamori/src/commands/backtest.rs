//! `mimamori backtest`

use std::collections::BTreeMap;
use std::path::Path;

use event::{Decoder, Event, EventType};
use health::backtest::{Replay, Row, Table, Tally};
use health::{Model, RuleKind, SegmentBaselines};
use jiff::Timestamp;
use store::{AccountEvents, AccountQuery, SortKey, Store, StoreMetrics};

use crate::cli::{BacktestArgs, Format};
use crate::config::{ConfigError, Loaded};
use crate::demo;
use crate::output::{self, Progress};

const DAY_MS: i64 = 86_400_000;

/// Accounts of one page of the list of all.
const ACCOUNTS_PER_PAGE: u32 = 1_000;

pub async fn run(file: Option<&Path>, args: BacktestArgs, format: Option<Format>) -> anyhow::Result<()> {
    if !args.horizon.is_finite() || args.horizon <= 0.0 {
        return Err(ConfigError("--horizon must be above 0 days".to_string()).into());
    }
    let until = args.until.as_deref().map(time).transpose()?;
    let mut loaded = Loaded::read(file)?;
    let table = match args.simulate_accounts {
        Some(accounts) => {
            if !loaded.names_health {
                loaded.config.health = demo::health();
            }
            let model = loaded.check()?;
            let config = simulate::Config {
                accounts,
                months: args.months,
                seed: args.seed,
                until_ms: until.unwrap_or_else(super::wall_ms),
                duplicates: 0.0,
                late: 0.0,
                ..simulate::Config::default()
            };
            tokio::task::block_in_place(|| simulated(&config, &model, args.horizon))?
        }
        None => {
            if let Some(url) = args.clickhouse_url {
                loaded.config.clickhouse.url = url;
            }
            loaded.config.resolve_secrets()?;
            let model = loaded.check()?;
            let metrics = StoreMetrics::register(&prometheus::Registry::new())?;
            let mut landed = Landed::open(Store::new(loaded.config.clickhouse, metrics)).await?;
            let until = until.unwrap_or(landed.newest);
            lived(&mut landed, until, &model, args.horizon).await?
        }
    };
    output::result(format, &table, || lines(&table))
}

fn time(text: &str) -> Result<i64, ConfigError> {
    let parsed = text.parse::<Timestamp>().map_err(|error| {
        ConfigError(format!(
            "--until {text:?} is not RFC 3339 such as 2026-11-01T00:00:00Z: {error}"
        ))
    })?;
    Ok(parsed.as_millisecond())
}

/// A tally of the rules in force.
fn tally(model: &Model, until: i64, horizon_days: f64) -> Tally {
    let rules = model.rules().map(|(name, kind)| (name.to_string(), kind));
    Tally::new(rules.collect(), until, horizon_days)
}

/// Where histories come from.
trait Histories {
    /// How many accounts there are.
    fn accounts(&self) -> usize;

    /// The next event, account after account, each account's in the order in which they happened; `None`
    /// after the last.
    async fn next(&mut self) -> anyhow::Result<Option<Event>>;
}

/// Replays all histories up to `until`. No segment's usual stickiness is known to it: today's would be
/// news to the past.
async fn lived(
    histories: &mut impl Histories,
    until: i64,
    model: &Model,
    horizon_days: f64,
) -> anyhow::Result<Table> {
    let segments = SegmentBaselines::default();
    let mut tally = tally(model, until, horizon_days);
    let mut progress = Progress::new("accounts", false);
    let (mut done, total) = (0, histories.accounts() as u64);
    let mut lived: Option<(String, Replay<'_>)> = None;
    while let Some(event) = histories.next().await? {
        if lived
            .as_ref()
            .is_none_or(|(account_id, _)| *account_id != event.account_id)
        {
            let account_id = event.account_id.clone();
            let replay = Replay::new(&account_id, i64::MIN, until, &segments, model);
            if let Some((_, before)) = lived.replace((account_id, replay)) {
                tally.add(&before.finish());
            }
            done += 1;
            progress.set("accounts", done, total);
        }
        if let Some((_, replay)) = &mut lived {
            replay.fold(event);
        }
    }
    if let Some((_, last)) = lived {
        tally.add(&last.finish());
    }
    progress.finish();
    Ok(tally.table())
}

/// What ClickHouse holds.
struct Landed {
    accounts: usize,
    events: AccountEvents,
    /// The newest evaluation of any account, milliseconds: so far the past is known.
    newest: i64,
}

impl Landed {
    async fn open(store: Store) -> anyhow::Result<Landed> {
        store.ping().await?;
        let mut query = AccountQuery {
            search: None,
            band: None,
            stage: None,
            segment: None,
            tier: None,
            owner: None,
            sort: SortKey::AccountId,
            descending: false,
            limit: ACCOUNTS_PER_PAGE,
            offset: 0,
        };
        let (mut accounts, mut newest) = (Vec::new(), i64::MIN);
        loop {
            let page = store.accounts(&query).await?.accounts;
            if page.is_empty() {
                break;
            }
            query.offset += ACCOUNTS_PER_PAGE;
            for account in page {
                newest = newest.max(account.evaluated_at);
                accounts.push(account.account_id);
            }
        }
        if accounts.is_empty() {
            anyhow::bail!(
                "{} holds no accounts yet: send events first, or try --simulate-accounts 200",
                store.url()
            );
        }
        Ok(Landed {
            accounts: accounts.len(),
            events: store.account_events(&accounts, None),
            newest,
        })
    }
}

impl Histories for Landed {
    fn accounts(&self) -> usize {
        self.accounts
    }

    async fn next(&mut self) -> anyhow::Result<Option<Event>> {
        while let Some(row) = self.events.next().await? {
            // No row that was landed here has another type.
            let Some(event_type) = EventType::from_name(&row.r#type) else {
                continue;
            };
            return Ok(Some(Event {
                event_id: row.event_id,
                account_id: row.account_id,
                user_id: (!row.user_id.is_empty()).then_some(row.user_id),
                event_type,
                name: row.name,
                occurred_at: row.occurred_at,
                received_at: row.received_at,
                source: String::new(),
                properties: row.properties,
            }));
        }
        Ok(None)
    }
}

/// Lives synthetic customers, all at once because their events come in the order of time.
fn simulated(config: &simulate::Config, model: &Model, horizon_days: f64) -> anyhow::Result<Table> {
    let mut simulation = simulate::simulate(config).map_err(|error| ConfigError(error.to_string()))?;
    let total = simulation.estimated_total();
    let decoder = Decoder::default();
    let segments = SegmentBaselines::default();
    let mut replays: BTreeMap<String, Replay<'_>> = BTreeMap::new();
    let mut progress = Progress::new("events", false);
    let mut done = 0;
    let mut begins = None;
    for emission in &mut simulation {
        // What happened before the period is told in its first hours: nothing is evaluated before.
        let from = *begins.get_or_insert(emission.arrives_at + DAY_MS);
        let Ok(event) = decoder.decode(&emission.payload, &[], emission.arrives_at, "simulation") else {
            continue;
        };
        match replays.get_mut(&emission.account_id) {
            Some(replay) => replay.fold(event),
            None => {
                let mut replay = Replay::new(&emission.account_id, from, config.until_ms, &segments, model);
                replay.fold(event);
                replays.insert(emission.account_id, replay);
            }
        }
        done += 1;
        if done % 10_000 == 0 {
            progress.set("events", done, total);
        }
    }
    let mut tally = tally(model, config.until_ms, horizon_days);
    for replay in replays.into_values() {
        tally.add(&replay.finish());
    }
    progress.finish();
    Ok(tally.table())
}

/// The table for people.
fn lines(table: &Table) -> String {
    let until = output::time(table.until);
    let mut text = format!(
        "{} accounts up to {until}: {} left, {} grew. An alarm is right when that comes within {} days.\n",
        table.accounts, table.churned, table.grown, table.horizon_days
    );
    for (kind, heading, outcome) in [
        (RuleKind::AtRisk, "at risk", "leavers"),
        (RuleKind::Opportunity, "opportunity", "growers"),
    ] {
        let of_kind = |rows: &[Row]| -> Vec<Row> {
            let rows = rows.iter().filter(|row| row.kind == kind);
            rows.cloned().collect()
        };
        let rows = of_kind(&table.rules);
        if rows.is_empty() {
            continue;
        }
        text.push_str(&format!(
            "\n{heading:<28} {:>7} {:>7} {:>7} {:>7} {:>7} {outcome:>8}   lead, days\n{:<28} {:>7} {:>7} {:>7} {:>7} {:>7} {:>8} {:>6} {:>6} {:>6}\n",
            "alarms", "true", "false", "open", "true %", "", "", "", "", "", "", "caught %", "p25", "median", "p75",
        ));
        for row in rows.iter().chain(&of_kind(&table.together)) {
            text.push_str(&line(row));
        }
    }
    text
}

fn line(row: &Row) -> String {
    let percent =
        |share: Option<f64>| share.map_or("–".to_string(), |share| format!("{:.0}", share * 100.0));
    let days = |days: Option<f64>| days.map_or("–".to_string(), |days| format!("{days:.0}"));
    format!(
        "{:<28} {:>7} {:>7} {:>7} {:>7} {:>7} {:>8} {:>6} {:>6} {:>6}\n",
        row.rule,
        row.alarms,
        row.right,
        row.wrong,
        row.open,
        percent(row.precision),
        percent(row.caught_share),
        days(row.lead_days_p25),
        days(row.lead_days_median),
        days(row.lead_days_p75),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulated_customers_are_alarmed_about_before_they_leave_and_the_same_seed_gives_the_same_table() {
        let config = simulate::Config {
            accounts: 60,
            months: 6,
            until_ms: 1_795_143_600_000,
            duplicates: 0.0,
            late: 0.0,
            ..simulate::Config::default()
        };
        let model = Model::new(demo::health()).unwrap();
        let table = simulated(&config, &model, 90.0).unwrap();
        assert_eq!(table.accounts, 60);
        assert!(table.churned >= 5 && table.grown >= 3, "{table:?}");
        assert_eq!(table.rules.len(), model.rules().count());
        let at_risk = &table.together[0];
        assert!(
            at_risk.right > 0 && at_risk.caught * 2 >= table.churned,
            "{at_risk:?}"
        );
        assert!(
            at_risk.lead_days_median.is_some_and(|lead| lead > 7.0),
            "{at_risk:?}"
        );
        assert_eq!(simulated(&config, &model, 90.0).unwrap(), table);
        let shown = lines(&table);
        for rule in &table.rules {
            assert!(shown.contains(&rule.rule), "{shown}");
        }
    }

    struct Listed(std::vec::IntoIter<Event>);

    impl Histories for Listed {
        fn accounts(&self) -> usize {
            2
        }

        async fn next(&mut self) -> anyhow::Result<Option<Event>> {
            Ok(self.0.next())
        }
    }

    #[tokio::test]
    async fn every_account_is_counted_up_to_the_end_asked_for() {
        let event = |account: &str, day: i64, name: &str| Event {
            event_id: format!("{account}{day}{name}"),
            account_id: account.into(),
            user_id: None,
            event_type: EventType::Contract,
            name: name.into(),
            occurred_at: day * DAY_MS,
            received_at: day * DAY_MS,
            source: "test".into(),
            properties: String::new(),
        };
        let model = Model::new(health::HealthConfig::default()).unwrap();
        for (until, churned) in [(20_060, 2), (20_040, 0)] {
            let events = ["one", "two"].map(|account| {
                [
                    event(account, 20_000, "started"),
                    event(account, 20_050, "cancelled"),
                ]
            });
            let mut histories = Listed(events.concat().into_iter());
            let table = lived(&mut histories, until * DAY_MS, &model, 90.0).await.unwrap();
            assert_eq!((table.accounts, table.churned), (2, churned));
        }
    }
}
