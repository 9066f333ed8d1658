use std::collections::BTreeMap;
use std::sync::Arc;

use event::{Event, EventType};
use health::{HealthConfig, Model};
use prometheus::Registry;

use super::*;
use crate::action::{Lane, Rows};
use crate::config::Config;
use crate::metrics::Metrics;

const NOW: i64 = 1_772_452_800_000;

/// A core that holds partition 3, of which there is no past.
fn core(config: Config) -> Core {
    let model = Model::new(HealthConfig::default()).unwrap();
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let mut core = Core::new(
        Arc::new(config),
        Arc::new(model),
        metrics,
        "test".into(),
        BTreeMap::new(),
        NOW,
    );
    core.assigned(&[3]);
    while let Some((lane, action)) = core.next(NOW).unwrap() {
        core.answer(lane, answer(&action), NOW).unwrap();
    }
    core
}

fn answer(action: &Action) -> Answer {
    match action {
        Action::ReadCheckpoint(_) => Answer::Checkpoint(None),
        Action::ReadStates(_) => Answer::States(Vec::new()),
        Action::ReadLanded { .. } => Answer::Landed(Vec::new()),
        _ => Answer::Done,
    }
}

fn login(offset: i64, at: i64) -> (i32, i64, Incoming) {
    let event = Event {
        event_id: format!("e{offset}"),
        account_id: "acme".into(),
        user_id: Some("ann".into()),
        event_type: EventType::Login,
        name: String::new(),
        occurred_at: at,
        received_at: at,
        source: "test".into(),
        properties: String::new(),
    };
    (3, offset, Incoming::Event(event))
}

fn look(core: &mut Core, now: i64) {
    let outlook = Outlook {
        ingest_is_behind: false,
        lag: &|_| Some(0),
    };
    core.see_to_what_is_due(now, &outlook);
}

/// The tables of an action's rows.
fn tables(action: &Action) -> Vec<&'static str> {
    let Action::Insert(inserts) = action else {
        return Vec::new();
    };
    let name = |rows: &Rows| match rows {
        Rows::Events(_) => "events",
        Rows::Metrics(_) => "metrics",
        Rows::Scores(_) => "scores",
        Rows::States(_) => "states",
        Rows::Checkpoints(_) => "checkpoints",
        _ => "others",
    };
    inserts.iter().map(|insert| name(&insert.rows)).collect()
}

#[test]
fn checkpoints_however_frequent_do_not_keep_evaluations_from_being_written() {
    let mut core = core(Config {
        land_after_ms: 300,
        checkpoint_after_ms: 400,
        ..Config::default()
    });
    core.records([login(0, NOW)]);
    for now in (NOW..NOW + 1_000).step_by(50) {
        look(&mut core, now);
        while let Some((lane, action)) = core.next(now).unwrap() {
            if tables(&action).contains(&"scores") {
                return;
            }
            core.answer(lane, answer(&action), now).unwrap();
        }
    }
    panic!("no score was written within a second");
}

#[test]
fn folding_goes_on_while_a_cut_is_written_and_what_it_saves_is_of_its_instant() {
    let mut core = core(Config::default());
    core.records([login(0, NOW)]);
    core.next(NOW).unwrap();
    core.checkpoint(NOW);
    let (lane, action) = core.next(NOW).unwrap().unwrap();
    assert_eq!((lane, tables(&action)), (Lane::InOrder, vec!["events"]));

    core.records([login(1, NOW + 1)]);
    assert_eq!(core.next(NOW + 1).unwrap(), None, "the events are being landed");
    assert_eq!(core.partitions[&3].next_offset, 2, "and the next one is folded");
    core.answer(lane, Answer::Done, NOW + 2).unwrap();
    let mut offsets = Vec::new();
    while let Some((lane, action)) = core.next(NOW + 2).unwrap() {
        if let Action::Insert(inserts) = &action {
            for insert in inserts {
                match &insert.rows {
                    Rows::States(rows) => offsets.extend(rows.iter().map(|row| row.offset)),
                    Rows::Checkpoints(rows) => offsets.extend(rows.iter().map(|row| row.next_offset)),
                    _ => {}
                }
            }
        }
        core.answer(lane, Answer::Done, NOW + 2).unwrap();
    }
    assert_eq!(
        offsets,
        [0, 1],
        "the state's offset and the checkpoint's next one"
    );
}

#[test]
fn evaluations_of_now_are_written_beside_what_is_in_order() {
    let mut core = core(Config::default());
    core.records([login(0, NOW)]);
    core.next(NOW).unwrap();
    look(&mut core, NOW);
    look(&mut core, NOW + 1_000);
    let (lane, action) = core.next(NOW + 1_000).unwrap().unwrap();
    assert_eq!((lane, tables(&action)), (Lane::InOrder, vec!["events"]));
    core.answer(lane, Answer::Done, NOW + 1_000).unwrap();
    let (beside, action) = core.next(NOW + 1_000).unwrap().unwrap();
    assert_eq!(
        (beside, tables(&action)),
        (Lane::Beside, vec!["metrics", "scores"])
    );

    // While it takes its time, a checkpoint is written.
    core.checkpoint(NOW + 1_001);
    let (lane, action) = core.next(NOW + 1_001).unwrap().unwrap();
    assert_eq!(lane, Lane::InOrder, "{action:?}");
    assert!(!core.is_idle());
}

#[test]
fn a_checkpoint_of_many_accounts_goes_out_in_parts_each_with_its_states_first() {
    let mut core = core(Config {
        checkpoint_states: 1,
        ..Config::default()
    });
    core.assigned(&[4]);
    while let Some((lane, action)) = core.next(NOW).unwrap() {
        core.answer(lane, answer(&action), NOW).unwrap();
    }
    let (_, offset, incoming) = login(0, NOW);
    core.records([login(0, NOW), (4, offset, incoming)]);
    core.next(NOW).unwrap();
    core.checkpoint(NOW);
    let mut saved = Vec::new();
    while let Some((lane, action)) = core.next(NOW).unwrap() {
        if let Action::Insert(inserts) = &action {
            for insert in inserts {
                match &insert.rows {
                    Rows::States(rows) => saved.extend(rows.iter().map(|row| ("state", row.partition))),
                    Rows::Checkpoints(rows) => {
                        saved.extend(rows.iter().map(|row| ("checkpoint", row.partition)));
                    }
                    _ => {}
                }
            }
        }
        core.answer(lane, Answer::Done, NOW).unwrap();
    }
    assert_eq!(
        saved,
        [("state", 3), ("checkpoint", 3), ("state", 4), ("checkpoint", 4)]
    );
    assert!(core.is_idle());
}
