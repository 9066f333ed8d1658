//! The receipt of an evaluation, and what was known at an earlier time.

use serde::Serialize;
use serde_json::Value;

use crate::compare::Row;
use crate::sql::{self, Target};
use crate::verifier::{instant, target, whole};
use crate::{Error, Verifier};

/// The columns of `account_scores` that are scores.
const SCORES: [&str; 12] = [
    "health",
    "ttv",
    "activity",
    "adoption",
    "sentiment",
    "support",
    "churn_risk",
    "expansion",
    "confidence",
    "band",
    "stage",
    "tier",
];

/// What an evaluation was made of: enough to make it again with any ClickHouse client.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Receipt {
    /// The account.
    pub account_id: String,
    /// When it was evaluated, RFC 3339.
    pub evaluated_at: String,
    /// The newest time read by then, RFC 3339.
    pub watermark: String,
    /// The offset in `mimamori.events` up to which events are covered.
    pub cut_offset: i64,
    /// The model and configuration that made it.
    pub model_hash: String,
    /// Every number, by its name in `account_metrics`.
    pub inputs: Row,
    /// Every score, the band, the stage and the tier, by their names in `account_scores`.
    pub scores: Row,
    /// What each input did to each score.
    pub contributions: Value,
    /// A query that computes all of it from the table `events`, as it is.
    pub sql: String,
}

/// The numbers and scores of an account at a time, from what had been received by another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Known {
    /// The account.
    pub account_id: String,
    /// The instant of the evaluation, milliseconds.
    pub at: i64,
    /// Events received up to here are known, milliseconds.
    pub known_at: i64,
    /// Every number.
    pub inputs: Row,
    /// Every score, the band, the stage and the tier.
    pub scores: Row,
    /// What each input did to each score.
    pub contributions: Value,
    /// The query that computed it.
    pub sql: String,
}

impl Verifier {
    /// The receipt of an account's newest evaluation, or of its newest at or before `at`
    /// (milliseconds).
    ///
    /// # Errors
    /// [`Error::NoSuchAccount`], [`Error::NoRow`] and [`Error::AnotherModel`]; [`Error::Store`] when
    /// ClickHouse does not answer.
    pub async fn receipt(&self, account_id: &str, at: Option<i64>) -> Result<Receipt, Error> {
        let Some((evaluated_at, metrics, scores)) = self.newest(account_id, at).await? else {
            self.must_exist(account_id).await?;
            return Err(Error::NoRow(account_id.to_string()));
        };
        let told = |row: &Row, column: &str| {
            let value = row.get(column).and_then(Value::as_str);
            value.unwrap_or_default().to_string()
        };
        let model_hash = told(&scores, "model_hash");
        if self.is_of_another_model(&scores) {
            return Err(Error::AnotherModel {
                account_id: account_id.to_string(),
                at: instant(&scores),
                made_by: model_hash,
                configured: self.definition.model_hash.clone(),
            });
        }
        let wanted = target(account_id, evaluated_at, &metrics)?;
        let zoned = self.zoned(vec![wanted], None).await?;
        let Some((wanted, _)) = zoned.into_iter().next() else {
            return Err(Error::NoEvents(account_id.to_string()));
        };
        let (inputs, scored, contributions) = parted(metrics.clone(), &scores);
        Ok(Receipt {
            account_id: account_id.to_string(),
            evaluated_at: instant(&scores),
            watermark: format!("{}Z", told(&scores, "watermark").replace(' ', "T")),
            cut_offset: whole(&metrics, "cut_offset")?,
            model_hash,
            inputs,
            scores: scored,
            contributions,
            sql: sql::evaluations(&self.definition, &[wanted], None),
        })
    }

    /// The numbers and scores of an account at `at` from the events received by `known_at`, both in
    /// milliseconds: what could have been known then. The median of the segment is that of the newest
    /// stored evaluation at or before the earlier of the two.
    ///
    /// # Errors
    /// [`Error::NoSuchAccount`]; [`Error::NoEvents`] when nothing was known of it by then;
    /// [`Error::Store`] when ClickHouse does not answer.
    pub async fn as_known(&self, account_id: &str, at: i64, known_at: i64) -> Result<Known, Error> {
        let stored = self.newest(account_id, Some(at.min(known_at))).await?;
        let segment_stickiness = stored
            .as_ref()
            .and_then(|(_, metrics, _)| metrics.get("segment_stickiness").and_then(Value::as_f64));
        let wanted = Target {
            account_id: account_id.to_string(),
            evaluated_at: at,
            cut_offset: i64::MAX,
            segment_stickiness,
            zone: String::new(),
        };
        let zoned = self.zoned(vec![wanted], Some(known_at)).await?;
        let Some((wanted, _)) = zoned.into_iter().next() else {
            self.must_exist(account_id).await?;
            return Err(Error::NoEvents(account_id.to_string()));
        };
        let wanted = [wanted];
        let computed = self.evaluated(&wanted, Some(known_at)).await?;
        let Some((_, row)) = computed.into_iter().next() else {
            return Err(Error::NoEvents(account_id.to_string()));
        };
        let (inputs, scores, contributions) = parted(row.clone(), &row);
        Ok(Known {
            account_id: account_id.to_string(),
            at,
            known_at,
            inputs,
            scores,
            contributions,
            sql: sql::evaluations(&self.definition, &wanted, Some(known_at)),
        })
    }
}

/// Numbers, scores and drivers, each apart.
fn parted(metrics: Row, scores: &Row) -> (Row, Row, Value) {
    let is_number = |column: &str| {
        health::NUMBERS.contains(&column) || matches!(column, "unused_key_features" | "milestones")
    };
    let numbers = metrics.into_iter().filter(|(column, _)| is_number(column));
    let scored = SCORES
        .iter()
        .filter_map(|name| Some(((*name).to_string(), scores.get(*name)?.clone())));
    let drivers = scores.get("drivers").cloned().unwrap_or_default();
    (numbers.collect(), scored.collect(), drivers)
}
