//! Evaluating an account: its numbers, scores and stage at an instant, and its alert episodes.

use std::collections::BTreeMap;

use event::Event;

use crate::account::{Account, read_properties};
use crate::action::Action;
use crate::alert::{AlertChange, Subject};
use crate::config::Model;
use crate::episode::{self, Mode, OpenEpisode, Told, ToldChange};
use crate::numbers::Metrics;
use crate::rules::{self, Facts};
use crate::score::Scores;
use crate::stage::Stage;
use crate::stamped::{number, text};
use crate::tier::Tier;

/// What an evaluation found.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The instant, milliseconds.
    pub at: i64,
    /// The numbers.
    pub metrics: Metrics,
    /// The scores.
    pub scores: Scores,
    /// The stage.
    pub stage: Stage,
    /// The touch tier.
    pub tier: Tier,
    /// Whether an alert episode opened, escalated or ended, told or not: the account is to be saved.
    pub episodes_moved: bool,
}

/// The usual stickiness of each segment, which an account is judged against.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SegmentBaselines {
    /// Median stickiness by segment; the empty name stands for accounts without one.
    pub stickiness: BTreeMap<String, f64>,
}

/// What is known of an account besides its numbers.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs, reason = "the fields are those of the table accounts")]
pub struct Profile {
    pub name: Option<String>,
    pub plan: Option<String>,
    pub segment: Option<String>,
    pub timezone: Option<String>,
    pub owner: Option<String>,
    pub seats: Option<u32>,
    pub mrr: Option<f64>,
    pub currency: Option<String>,
    pub started_at: Option<i64>,
    pub contract_ends_at: Option<i64>,
    pub churned_at: Option<i64>,
    pub first_event_at: Option<i64>,
    pub last_event_at: Option<i64>,
}

impl Account {
    /// The account's numbers, scores, stage and tier at `now`, leaving its alert episodes alone.
    pub fn assess(&self, now: i64, segments: &SegmentBaselines, model: &Model) -> Evaluation {
        let (metrics, usual) = self.measure(now, segments, model);
        let stage = self.stage(now, model);
        let tier = self.tier(model);
        let segment = text(&self.state.attributes.segment);
        let scores = Scores::of(&metrics, &usual, stage, segment, model);
        Evaluation {
            at: now,
            metrics,
            scores,
            stage,
            tier,
            episodes_moved: false,
        }
    }

    /// Evaluates the account at `now` and brings its alert episodes up to date; what is to be told of
    /// them goes to the outbox.
    ///
    /// `caused_by_received_at` is when the newest event was received that the evaluation answers, 0
    /// for a timer's. `segments` is what the account's segment usually does.
    pub fn evaluate(
        &mut self,
        now: i64,
        mode: Mode,
        caused_by_received_at: i64,
        segments: &SegmentBaselines,
        model: &Model,
    ) -> Evaluation {
        let mut evaluation = self.assess(now, segments, model);
        let mut episodes = std::mem::take(&mut self.state.episodes);
        let facts = self.facts(&evaluation);
        let stepped = episode::step(&mut episodes, &self.account_id, &model.rules, &facts, now, mode);
        let changes = self.changes(stepped.told, &evaluation, caused_by_received_at, model);
        self.state.episodes = episodes;
        self.state.outbox.extend(changes);
        evaluation.episodes_moved = stepped.moved;
        self.note_evaluation(now);
        evaluation
    }

    /// The alert episodes that were told and are still open: those that late events may prove wrong.
    pub fn open_episodes(&self) -> impl Iterator<Item = OpenEpisode<'_>> {
        episode::open(&self.state.episodes)
    }

    /// When an episode's snooze ends next after `now`, milliseconds: what it kept quiet is told then, if it
    /// lasts.
    pub fn next_wake(&self, now: i64) -> Option<i64> {
        episode::next_wake(&self.state.episodes, now)
    }

    /// Whether the condition of a rule holds for the account at an evaluation of it; `None` when no
    /// rule of that name is in force. A condition that is unknown, and one of a rule that does not
    /// watch such accounts, does not hold.
    pub fn rule_holds(&self, rule: &str, evaluation: &Evaluation, model: &Model) -> Option<bool> {
        let rule = rules::find(&model.rules, rule)?;
        let facts = self.facts(evaluation);
        let is_watched = evaluation.stage != Stage::Churned && rule.watches(evaluation.tier);
        Some(is_watched && rule.holds(&facts) == Some(true))
    }

    /// Takes back the open episodes that should not have been: `should_have_opened` says of a rule and
    /// the time at which its episode opened whether, by all that is known now, the rule's condition
    /// held then ([`Account::rule_holds`]), or `None` when that cannot be told. The changes go to the
    /// outbox, and nothing keeps the rules from opening again. Returns whether any was taken back.
    ///
    /// It is to be called before [`Account::evaluate`], which would say of such an episode that it is
    /// resolved. `evaluation` is of now ([`Account::assess`]).
    pub fn retract(
        &mut self,
        should_have_opened: impl Fn(&str, i64) -> Option<bool>,
        evaluation: &Evaluation,
        caused_by_received_at: i64,
        model: &Model,
    ) -> bool {
        let mut episodes = std::mem::take(&mut self.state.episodes);
        let told = episode::retract(
            &mut episodes,
            &self.account_id,
            &model.rules,
            evaluation.at,
            should_have_opened,
        );
        let changes = self.changes(told, evaluation, caused_by_received_at, model);
        self.state.episodes = episodes;
        let any = !changes.is_empty();
        self.state.outbox.extend(changes);
        any
    }

    /// Takes over the alert episodes of `lived`, the same account with its history lived again, of which
    /// nobody was told yet: they say since when.
    pub fn adopt_episodes(&mut self, lived: &Account) {
        episode::adopt(&mut self.state.episodes, &lived.state.episodes);
    }

    /// Takes over what was told about the account from `before`, an earlier state of it: its episodes, and
    /// the changes that are still to be sent. Of rules of which nobody was told, the own episodes stay.
    pub fn keep_told(&mut self, before: &Account) {
        let episodes = before.state.episodes.clone();
        let lived = std::mem::replace(&mut self.state.episodes, episodes);
        episode::adopt(&mut self.state.episodes, &lived);
        self.state.outbox.clone_from(&before.state.outbox);
    }

    /// The same when no earlier state is left, from the changes that were told, in their order. What was
    /// still to be sent is not known then.
    pub fn recall_told(&mut self, changes: &[ToldChange]) {
        let episodes = episode::recall(&self.account_id, changes);
        let lived = std::mem::replace(&mut self.state.episodes, episodes);
        episode::adopt(&mut self.state.episodes, &lived);
    }

    /// Does again what people did, in its order: after [`Account::keep_told`] or [`Account::recall_told`],
    /// since what followed from some of it was not told. `was_recalled` says which.
    pub fn act_again<'a>(&mut self, actions: impl IntoIterator<Item = &'a Event>, was_recalled: bool) {
        for event in actions {
            let Some(action) = Action::of(event, &read_properties(event)) else {
                continue;
            };
            if was_recalled {
                episode::act_again(&mut self.state.episodes, &self.account_id, action);
            } else {
                episode::act(&mut self.state.episodes, &self.account_id, action);
            }
        }
    }

    /// What is known of the account besides its numbers.
    pub fn profile(&self) -> Profile {
        let attributes = &self.state.attributes;
        let contract = &self.state.contract;
        let owned = |value: Option<&str>| value.map(str::to_string);
        Profile {
            name: owned(text(&attributes.name)),
            plan: owned(text(&contract.plan).or(text(&attributes.plan))),
            segment: owned(text(&attributes.segment)),
            timezone: owned(text(&attributes.timezone)),
            owner: owned(text(&attributes.owner)),
            seats: self.seats(),
            mrr: number(&contract.mrr),
            currency: owned(text(&contract.currency)),
            started_at: self.started_at(),
            contract_ends_at: number(&contract.ends_at).map(|at| at as i64),
            churned_at: contract.churned_at(),
            first_event_at: self.state.first_event_at,
            last_event_at: self.state.last_event_at,
        }
    }

    /// What the rules look at.
    fn facts<'a>(&'a self, evaluation: &'a Evaluation) -> Facts<'a> {
        let attributes = &self.state.attributes;
        Facts::new(
            &evaluation.metrics,
            &evaluation.scores,
            evaluation.stage,
            evaluation.tier,
            text(&self.state.contract.plan).or(text(&attributes.plan)),
            text(&attributes.segment),
        )
    }

    fn changes(
        &self,
        told: Vec<Told<'_>>,
        evaluation: &Evaluation,
        caused_by_received_at: i64,
        model: &Model,
    ) -> Vec<AlertChange> {
        if told.is_empty() {
            return Vec::new();
        }
        let subject = Subject {
            account_id: &self.account_id,
            profile: &self.profile(),
            evaluation,
            facts: &self.facts(evaluation),
            model_hash: model.hash(),
        };
        told.into_iter()
            .map(|told| AlertChange::new(told, &subject, caused_by_received_at))
            .collect()
    }
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;
