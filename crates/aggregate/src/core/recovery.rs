//! Taking a partition over. It goes on exactly where the last checkpoint stood, under a version that is
//! newer than any that an owner before can still write.
//!
//! A past that is not whole is an error: nothing goes on from an empty account.

use std::sync::Arc;

use health::Account;
use store::{Checkpoint, StateRow};
use tracing::info;

use super::{Awaited, Core, CoreError, Todo};
use crate::action::{Action, Answer, Insert, Rows};
use crate::partition::{COUNTER_BITS, Partition, Past};
use crate::planted::{self, Bug};

/// A partition that is being taken over, and what is known of its past so far.
#[derive(Default)]
pub(super) struct Recovering {
    number: i32,
    checkpoint: Option<Checkpoint>,
    accounts: Vec<Account>,
    epoch: u64,
}

impl Core {
    pub(super) fn plan_recovery(&mut self, number: i32) -> Result<(), CoreError> {
        let configured = self.config.partitions;
        if number >= configured {
            return Err(CoreError::TopicGrown { number, configured });
        }
        self.recover_with(
            Recovering {
                number,
                ..Recovering::default()
            },
            Action::ReadCheckpoint(number),
        );
        Ok(())
    }

    /// Does this first; the answer is for the recovery.
    fn recover_with(&mut self, recovering: Recovering, action: Action) {
        let awaited = Awaited::Recovery(Box::new(recovering));
        self.do_first([Todo::Ask(action, awaited)]);
    }

    pub(super) fn recovered(
        &mut self,
        mut recovering: Recovering,
        answer: Answer,
        now: i64,
    ) -> Result<(), CoreError> {
        let number = recovering.number;
        match answer {
            Answer::Checkpoint(checkpoint) => {
                if let Some(found) = checkpoint.as_ref().map(|known| known.partitions)
                    && found != self.config.partitions
                {
                    let configured = self.config.partitions;
                    return Err(CoreError::Partitions { found, configured });
                }
                recovering.checkpoint = checkpoint;
                self.recover_with(recovering, Action::ReadStates(number));
            }
            Answer::States(states) => {
                recovering.take_states(&states)?;
                // The first owner claims an empty partition; where something has landed there has been one.
                if recovering.checkpoint.is_none() {
                    let landed = Action::ReadLanded { number, from: 0 };
                    self.recover_with(recovering, landed);
                } else {
                    self.claim(recovering, now);
                }
            }
            Answer::Landed(landed) if recovering.checkpoint.is_none() => {
                if !landed.is_empty() {
                    return Err(CoreError::CheckpointMissing { number });
                }
                self.claim(recovering, now);
            }
            Answer::Landed(landed) => {
                let landed = if planted::is(Bug::LandedNotRead) {
                    Vec::new()
                } else {
                    landed
                };
                self.take_over(recovering, landed, now);
            }
            // To something else than was asked.
            Answer::Done | Answer::Seen(_) | Answer::Events(_) => {}
        }
        Ok(())
    }

    /// Makes the partition ours: whatever its owner before still writes is older from now on.
    fn claim(&mut self, mut recovering: Recovering, now: i64) {
        let number = recovering.number;
        let known = recovering.checkpoint.as_ref();
        let claim = Checkpoint {
            partition: number,
            version: recovering.epoch << COUNTER_BITS,
            next_offset: known.map_or(0, |known| known.next_offset),
            watermark: known.map_or(0, |known| known.watermark),
            partitions: self.config.partitions,
            saved_at: now,
            accounts: known.map_or(0, |known| known.accounts),
        };
        let insert = Insert {
            token: format!("checkpoint-{}", self.next_token()),
            rows: Rows::Checkpoints(vec![claim.clone()]),
        };
        let from = claim.next_offset;
        recovering.checkpoint = Some(claim);
        self.recover_with(recovering, Action::ReadLanded { number, from });
        self.do_first([Todo::Act(Action::Insert(vec![insert]))]);
    }

    fn take_over(&mut self, recovering: Recovering, landed: Vec<i64>, now: i64) {
        let number = recovering.number;
        let checkpoint = recovering.checkpoint;
        let next_offset = checkpoint.as_ref().map_or(0, |known| known.next_offset);
        info!(
            partition = number,
            epoch = recovering.epoch,
            next_offset,
            accounts = recovering.accounts.len(),
            landed = landed.len(),
            "partition taken over"
        );
        let past = Past {
            epoch: recovering.epoch,
            next_offset,
            watermark: checkpoint.map(|known| known.watermark).filter(|mark| *mark > 0),
            landed: landed.into_iter().collect(),
            accounts: recovering.accounts,
        };
        let model = Arc::clone(&self.model);
        let partition = Partition::new(number, past, model, Arc::clone(&self.config), now);
        let start = Action::Start {
            number,
            offset: next_offset,
        };
        self.do_first([Todo::Ask(start, Awaited::Start(Box::new(partition)))]);
    }

    /// What comes of a partition from now on was read from where it goes on.
    pub(super) fn started(&mut self, mut partition: Partition) {
        partition.judge_by(Arc::clone(&self.segments));
        self.partitions.insert(partition.number, partition);
        self.count_accounts();
    }
}

impl Recovering {
    fn take_states(&mut self, states: &[StateRow]) -> Result<(), CoreError> {
        let expected = self.checkpoint.as_ref().map_or(0, |known| known.accounts);
        let found = states.len() as u64;
        if found < expected {
            return Err(CoreError::StatesMissing {
                number: self.number,
                expected,
                found,
            });
        }
        let of_states = states.iter().map(|state| state.version);
        let newest = of_states.chain(self.checkpoint.iter().map(|known| known.version));
        let newest_epoch = newest.map(|version| version >> COUNTER_BITS).max().unwrap_or(0);
        let raised = u64::from(!planted::is(Bug::EpochNotRaised));
        self.epoch = (newest_epoch + raised).max(1);
        self.accounts = Vec::with_capacity(states.len());
        for state in states {
            self.accounts
                .push(Account::decode(&state.account_id, &state.state)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use health::{HealthConfig, Model};
    use prometheus::Registry;

    use super::*;
    use crate::config::Config;
    use crate::metrics::Metrics;

    const NOW: i64 = 1_772_452_800_000;

    /// A core that was assigned a partition, and has been given these answers.
    fn refusal(number: i32, answers: Vec<Answer>) -> CoreError {
        let mut core = Core::new(
            Arc::new(Config::default()),
            Arc::new(Model::new(HealthConfig::default()).unwrap()),
            Metrics::register(&Registry::new()).unwrap(),
            "test".into(),
            BTreeMap::new(),
            NOW,
        );
        core.assigned(&[number]);
        for answer in answers {
            let (lane, _) = core.next(NOW).unwrap().expect("something to be done");
            if let Err(error) = core.answer(lane, answer, NOW) {
                return error;
            }
        }
        core.next(NOW).expect_err("goes on")
    }

    fn checkpoint(partitions: i32, accounts: u64) -> Answer {
        Answer::Checkpoint(Some(Checkpoint {
            partition: 3,
            version: 1 << COUNTER_BITS,
            next_offset: 10,
            watermark: NOW,
            partitions,
            saved_at: NOW,
            accounts,
        }))
    }

    #[test]
    fn nothing_goes_on_from_a_past_that_is_not_whole() {
        assert!(matches!(
            refusal(3, vec![checkpoint(8, 0)]),
            CoreError::Partitions {
                found: 8,
                configured: 16
            }
        ));
        assert!(matches!(
            refusal(3, vec![checkpoint(16, 2), Answer::States(Vec::new())]),
            CoreError::StatesMissing {
                expected: 2,
                found: 0,
                ..
            }
        ));
        assert!(matches!(
            refusal(
                3,
                vec![
                    Answer::Checkpoint(None),
                    Answer::States(Vec::new()),
                    Answer::Landed(vec![0])
                ]
            ),
            CoreError::CheckpointMissing { number: 3 }
        ));
    }

    #[test]
    fn a_partition_that_the_topic_has_grown_by_is_not_taken() {
        let told = refusal(16, Vec::new());
        assert!(matches!(
            told,
            CoreError::TopicGrown {
                number: 16,
                configured: 16
            }
        ));
        assert!(
            told.to_string().ends_with(
                "stop the ingest and aggregate roles, run `mimamori rebuild` and set aggregate.partitions to what it says"
            ),
            "{told}"
        );
    }
}
