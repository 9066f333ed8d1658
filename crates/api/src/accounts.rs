//! The list of accounts.

use std::collections::{BTreeMap, HashMap};

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use store::{AccountGroup, AccountQuery, AccountSummary, HealthOfDay, SortKey};

use crate::answer;
use crate::drivers::{DriverAnswer, reason};
use crate::params::Params;
use crate::problem::Problem;
use crate::router::Shared;
use crate::times;

pub(crate) const BANDS: [&str; 4] = ["red", "yellow", "green", "unknown"];
pub(crate) const STAGES: [&str; 6] = [
    "trial",
    "onboarding",
    "adoption",
    "expansion",
    "renewal",
    "churned",
];
pub(crate) const TIERS: [&str; 3] = ["high", "low", "tech"];
const ORDERS: [&str; 2] = ["asc", "desc"];

/// What can be sorted by, and whether the first of it is the largest when the request does not say:
/// what needs attention comes first.
const SORTS: [(&str, SortKey, bool); 13] = [
    ("churn_risk", SortKey::ChurnRisk, true),
    ("health", SortKey::Health, false),
    ("activity", SortKey::Activity, false),
    ("adoption", SortKey::Adoption, false),
    ("ttv", SortKey::Ttv, false),
    ("sentiment", SortKey::Sentiment, false),
    ("support", SortKey::Support, false),
    ("expansion", SortKey::Expansion, true),
    ("mrr", SortKey::Mrr, true),
    ("name", SortKey::Name, false),
    ("account_id", SortKey::AccountId, false),
    ("days_since_last_login", SortKey::DaysSinceLastLogin, true),
    ("evaluated_at", SortKey::EvaluatedAt, true),
];

/// Most days of health that a list shows of each account.
const MOST_HISTORY_DAYS: u32 = 90;
/// Most entries that a list may be asked to pass over.
const MOST_OFFSET: u32 = 1_000_000;

#[derive(Serialize)]
struct ListAnswer {
    accounts: Vec<ListedAccount>,
    total: u64,
    bands: BTreeMap<String, BandAnswer>,
    stages: BTreeMap<String, u64>,
    next: Option<String>,
}

/// What matches, whichever band is asked for.
#[derive(Serialize, Default)]
struct BandAnswer {
    accounts: u64,
    /// Monthly recurring revenue by currency; accounts whose currency is not known are left out.
    mrr: BTreeMap<String, f64>,
}

#[derive(Serialize)]
struct ListedAccount {
    account_id: String,
    name: Option<String>,
    plan: Option<String>,
    segment: Option<String>,
    owner: Option<String>,
    tier: String,
    stage: String,
    stage_since: Option<String>,
    mrr: Option<f64>,
    currency: Option<String>,
    band: String,
    health: Option<f64>,
    churn_risk: Option<f64>,
    activity: Option<f64>,
    adoption: Option<f64>,
    ttv: Option<f64>,
    sentiment: Option<f64>,
    support: Option<f64>,
    expansion: Option<f64>,
    confidence: f64,
    logins_7d: Option<u32>,
    logins_28d: Option<u32>,
    active_users_28d: Option<u32>,
    seats: Option<u32>,
    days_since_last_login: Option<i32>,
    usage_trend: Option<f64>,
    onboarding_state: Option<String>,
    ttv_days: Option<f64>,
    ttv_running_days: Option<f64>,
    evaluated_at: Option<String>,
    reason: Option<DriverAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_history: Option<Vec<DayAnswer>>,
}

#[derive(Serialize)]
struct DayAnswer {
    date: String,
    health: Option<f64>,
    churn_risk: Option<f64>,
}

impl ListedAccount {
    fn of(row: AccountSummary, history: Option<Vec<DayAnswer>>) -> ListedAccount {
        let reason = reason(&row.band, row.churn_risk, &row.drivers);
        ListedAccount {
            account_id: row.account_id,
            name: row.name,
            plan: row.plan,
            segment: row.segment,
            owner: row.owner,
            tier: row.tier,
            stage: row.stage,
            stage_since: row.stage_since.and_then(times::rfc3339),
            mrr: row.mrr,
            currency: row.currency,
            band: row.band,
            health: row.health,
            churn_risk: row.churn_risk,
            activity: row.activity,
            adoption: row.adoption,
            ttv: row.ttv,
            sentiment: row.sentiment,
            support: row.support,
            expansion: row.expansion,
            confidence: row.confidence,
            logins_7d: row.logins_7d,
            logins_28d: row.logins_28d,
            active_users_28d: row.active_users_28d,
            seats: row.seats,
            days_since_last_login: row.days_since_last_login,
            usage_trend: row.usage_trend,
            onboarding_state: row.onboarding_state,
            ttv_days: row.ttv_days,
            ttv_running_days: row.ttv_running_days,
            evaluated_at: times::rfc3339(row.evaluated_at),
            reason,
            health_history: history,
        }
    }
}

pub(crate) async fn list(
    State(shared): State<Shared>,
    asked: HeaderMap,
    query: RawQuery,
) -> Result<Response, Problem> {
    let written = query.0.clone().unwrap_or_default();
    let mut params = Params::read(query);
    let search = params.text("search").or(params.text("q"));
    let band = params.choice("band", &BANDS);
    let stage = params.choice("stage", &STAGES);
    let segment = params.text("segment");
    let tier = params.choice("tier", &TIERS);
    let owner = params.text("owner");
    let sort_names = SORTS.map(|(name, ..)| name);
    let sort_name = params.choice("sort", &sort_names);
    let (_, sort, largest_first) = SORTS
        .into_iter()
        .find(|(name, ..)| Some(*name) == sort_name.as_deref())
        .unwrap_or(SORTS[0]);
    let order = params.choice("order", &ORDERS);
    let limit = page_limit(&mut params, &shared);
    let offset = params.number("offset", 0..=MOST_OFFSET, 0);
    let history_days = params.number("history_days", 0..=MOST_HISTORY_DAYS, 0);
    params.finish()?;

    let filters = AccountQuery {
        search,
        band: band.clone(),
        stage: stage.clone(),
        segment,
        tier,
        owner,
        sort,
        descending: order.map_or(largest_first, |order| order == "desc"),
        limit,
        offset,
    };
    let page = shared.store.accounts(&filters).await?;
    let mut histories = health_histories(&shared, &page.accounts, history_days).await?;

    let shown = page.accounts.len() as u64;
    let reached = u64::from(offset) + shown;
    let more = shown > 0 && reached < page.total && reached <= u64::from(MOST_OFFSET);
    let accounts = page.accounts.into_iter().map(|row| {
        let history = (history_days > 0).then(|| histories.remove(&row.account_id).unwrap_or_default());
        ListedAccount::of(row, history)
    });
    let body = ListAnswer {
        accounts: accounts.collect(),
        total: page.total,
        bands: count_bands(&page.groups, stage.as_deref()),
        stages: count_stages(&page.groups, band.as_deref()),
        next: more.then(|| with_parameter("/api/v1/accounts", &written, "offset", &reached.to_string())),
    };
    Ok(answer::json(&asked, &body))
}

/// How many entries the request wants, with the bounds of the configuration.
pub(crate) fn page_limit(params: &mut Params, shared: &Shared) -> u32 {
    let most = shared.config.max_page_size;
    params.number("limit", 1..=most, shared.config.page_size.min(most))
}

/// The same request with `name` set to `value`.
pub(crate) fn with_parameter(path: &str, query: &str, name: &str, value: &str) -> String {
    let kept = query
        .split('&')
        .filter(|pair| !pair.is_empty() && pair.split('=').next() != Some(name));
    let set = format!("{name}={value}");
    let pairs: Vec<&str> = kept.chain([set.as_str()]).collect();
    format!("{path}?{}", pairs.join("&"))
}

fn count_bands(groups: &[AccountGroup], stage: Option<&str>) -> BTreeMap<String, BandAnswer> {
    let mut bands: BTreeMap<String, BandAnswer> = BANDS
        .iter()
        .map(|band| (band.to_string(), BandAnswer::default()))
        .collect();
    let fitting = groups
        .iter()
        .filter(|group| stage.is_none_or(|stage| group.stage == stage));
    for group in fitting {
        let band = bands.entry(group.band.clone()).or_default();
        band.accounts += group.accounts;
        if let (Some(currency), Some(mrr)) = (&group.currency, group.mrr) {
            *band.mrr.entry(currency.clone()).or_default() += mrr;
        }
    }
    bands
}

fn count_stages(groups: &[AccountGroup], band: Option<&str>) -> BTreeMap<String, u64> {
    let mut stages: BTreeMap<String, u64> = STAGES.iter().map(|stage| (stage.to_string(), 0)).collect();
    let fitting = groups
        .iter()
        .filter(|group| band.is_none_or(|band| group.band == band));
    for group in fitting {
        *stages.entry(group.stage.clone()).or_default() += group.accounts;
    }
    stages
}

/// Health by day of each account over the days before its own newest evaluation.
async fn health_histories(
    shared: &Shared,
    accounts: &[AccountSummary],
    days: u32,
) -> Result<HashMap<String, Vec<DayAnswer>>, Problem> {
    let mut histories = HashMap::new();
    let oldest = accounts.iter().map(|row| row.evaluated_at).min();
    let (Some(oldest), true) = (oldest, days > 0) else {
        return Ok(histories);
    };
    let ids: Vec<String> = accounts.iter().map(|row| row.account_id.clone()).collect();
    let rows = shared
        .store
        .health_by_day(&ids, times::days_before(oldest, days))
        .await?;
    let newest: HashMap<&str, i64> = accounts
        .iter()
        .map(|row| (row.account_id.as_str(), row.evaluated_at))
        .collect();
    for row in rows {
        let newest = newest.get(row.account_id.as_str()).copied().unwrap_or(i64::MAX);
        if times::start_of(row.day) >= times::days_before(newest, days) {
            let (account_id, day) = DayAnswer::of(row);
            histories.entry(account_id).or_insert_with(Vec::new).push(day);
        }
    }
    Ok(histories)
}

impl DayAnswer {
    fn of(row: HealthOfDay) -> (String, DayAnswer) {
        let day = DayAnswer {
            date: times::date(row.day),
            health: row.health,
            churn_risk: row.churn_risk,
        };
        (row.account_id, day)
    }
}
