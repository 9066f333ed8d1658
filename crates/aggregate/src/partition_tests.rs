use event::EventType;
use health::HealthConfig;
use proptest::prelude::*;

use super::*;

pub(super) const SECOND: i64 = 1000;
pub(super) const HOUR: i64 = 3600 * SECOND;
/// 2026-03-02T12:00:00Z.
pub(super) const NOON: i64 = 1_772_452_800_000;

pub(super) fn model() -> Arc<Model> {
    Arc::new(
        Model::new(HealthConfig {
            remember_ids_max: 8,
            ..HealthConfig::default()
        })
        .unwrap(),
    )
}

/// So few ids that most are forgotten.
fn forgetful() -> Arc<Config> {
    Arc::new(Config {
        remember_ids: 4,
        ..Config::default()
    })
}

pub(super) fn empty(model: &Arc<Model>, now: i64) -> Partition {
    let past = Past {
        epoch: 1,
        next_offset: 0,
        watermark: None,
        landed: BTreeSet::new(),
        accounts: Vec::new(),
    };
    Partition::new(3, past, Arc::clone(model), forgetful(), now)
}

pub(super) fn event(account: &str, id: &str, event_type: EventType, name: &str, at: i64) -> Event {
    Event {
        event_id: id.into(),
        account_id: account.into(),
        user_id: Some("ann".into()),
        event_type,
        name: name.into(),
        occurred_at: at,
        received_at: at,
        source: "test".into(),
        properties: String::new(),
    }
}

fn login(account: &str, id: &str, at: i64) -> Event {
    event(account, id, EventType::Login, "", at)
}

/// The evaluations that wait to be written, the earliest first.
fn rows(partition: &Partition) -> Vec<&MetricsRow> {
    let Waiting { now, midnights, .. } = &partition.waiting;
    assert_eq!(now.metrics.len(), now.scores.len());
    assert_eq!(midnights.metrics.len(), midnights.scores.len());
    assert!(midnights.metrics.iter().all(|row| row.is_daily));
    let mut rows: Vec<&MetricsRow> = now.metrics.iter().chain(&midnights.metrics).collect();
    rows.sort_by_key(|row| row.evaluated_at);
    rows
}

pub(super) fn evaluated_at(partition: &Partition, account: &str) -> Vec<i64> {
    let rows = rows(partition).into_iter();
    rows.filter(|row| row.account_id == account)
        .map(|row| row.evaluated_at)
        .collect()
}

/// Lands what waits, and returns it.
fn land(partition: &mut Partition) -> Vec<EventRow> {
    let rows = partition.take_events();
    partition.events_landed();
    partition.forget_landed();
    rows
}

/// Everything that an account has to send has been sent.
pub(super) fn send_all(partition: &mut Partition, place: usize) {
    let changes = partition.outbox(place).to_vec();
    let sent = changes.iter().map(|change| change.alert_id.as_str()).collect();
    partition.sent(place, &sent);
}

#[test]
fn an_event_of_now_is_evaluated_at_once_and_then_at_most_once_a_second() {
    let model = model();
    let mut partition = empty(&model, NOON);
    partition.take(login("acme", "e1", NOON), 0, false, NOON + 5);
    assert_eq!(
        partition.evaluate_due(NOON + 5, false, 100, false, |waited| assert_eq!(waited, 5)),
        1
    );
    partition.take(login("acme", "e2", NOON + 10), 1, false, NOON + 15);
    assert_eq!(partition.evaluate_due(NOON + 20, false, 100, false, |_| {}), 0);
    assert_eq!(
        partition.evaluate_due(NOON + 5 + SECOND, false, 100, false, |_| {}),
        1
    );
}

#[test]
fn an_event_of_now_does_not_wait_for_the_accounts_that_are_only_due() {
    let model = model();
    let saved = (0..3 * SWEPT_AT_A_TIME).map(|number| {
        let mut account = Account::new(&format!("quiet{number}"));
        account.fold(
            &login(&format!("quiet{number}"), "e", NOON),
            number as i64,
            &model,
        );
        account
    });
    let past = Past {
        epoch: 2,
        next_offset: 1000,
        watermark: Some(NOON),
        landed: BTreeSet::new(),
        accounts: saved.collect(),
    };
    let mut partition = Partition::new(3, past, Arc::clone(&model), Arc::default(), NOON);
    // All of them are due, since the partition was taken over; these two come last.
    let mut waited = Vec::new();
    for (offset, account) in ["quiet299", "new"].iter().enumerate() {
        let event = login(account, "now", NOON + SECOND);
        partition.take(event, 1000 + offset as i64, false, NOON + SECOND);
    }
    let looked_at = partition.evaluate_due(NOON + SECOND, false, 2_000, false, |ms| waited.push(ms));
    assert_eq!(waited, [0, 0]);
    assert_eq!(looked_at, 2 + SWEPT_AT_A_TIME);
    // Nor does what was found too soon after its last row to be written at once.
    let more = login("quiet299", "more", NOON + 2 * SECOND);
    partition.take(more, 1002, false, NOON + 2 * SECOND);
    partition.evaluate_due(NOON + 2 * SECOND, false, 2_000, false, |_| {});
    assert_eq!(evaluated_at(&partition, "quiet299"), [NOON + SECOND]);
    partition.evaluate_due(NOON + 6 * SECOND, false, 2_000, false, |_| {});
    assert_eq!(
        evaluated_at(&partition, "quiet299"),
        [NOON + SECOND, NOON + 6 * SECOND]
    );
    // The others have had their turns.
    for number in 0..299 {
        let rows = evaluated_at(&partition, &format!("quiet{number}"));
        assert_eq!(rows.len(), 1, "{number}");
    }
}

#[test]
fn what_changed_is_written_at_most_every_five_seconds_and_never_later() {
    let model = model();
    let mut partition = empty(&model, NOON);
    for second in 0..20 {
        let now = NOON + second * SECOND;
        if second < 12 {
            partition.take(login("acme", &format!("e{second}"), now), second, false, now);
        }
        partition.evaluate_due(now, false, 100, false, |_| {});
    }
    let seconds: Vec<i64> = evaluated_at(&partition, "acme")
        .iter()
        .map(|at| (at - NOON) / SECOND)
        .collect();
    assert_eq!(
        seconds,
        [0, 5, 10, 15],
        "the event of second 11 is written at second 15"
    );
}

#[test]
fn silence_is_noticed_by_the_hour() {
    let model = model();
    let mut partition = empty(&model, NOON);
    partition.take(login("acme", "e1", NOON), 0, false, NOON);
    partition.evaluate_due(NOON, false, 100, false, |_| {});
    let much_later = NOON + 30 * 24 * HOUR;
    assert_eq!(
        partition.evaluate_due(much_later, false, 100, false, |_| {}),
        0,
        "the partition may lag"
    );
    assert_eq!(
        partition.evaluate_due(much_later, true, 100, false, |_| {}),
        1,
        "it is read to its end and quiet"
    );
    let rows = rows(&partition);
    let row = rows.last().unwrap();
    assert_eq!(row.days_since_last_login, Some(30));
    assert_eq!(
        partition.evaluate_due(much_later + HOUR, true, 100, false, |_| {}),
        1
    );
}

/// Answers the requests for history from the events that landed.
fn state_histories(partition: &mut Partition, landed: &[(i64, Event)], now: i64) -> usize {
    land(partition);
    let model = model();
    let requests = partition.take_histories(now, 100, 1_000);
    let stated = requests.len();
    for request in requests {
        let segments = SegmentBaselines::default();
        let told = request.told.iter().map(|(_, opened_at)| *opened_at);
        let instants = request.midnights.iter().copied().chain(told).collect();
        let mut replay = health::Replay::new(&request.account_id, instants, &segments, &model);
        let mut evaluations = Vec::new();
        let mut untrue = Vec::new();
        let mut note = |found: Evaluation, account: &Account| {
            for (rule, at) in request.told.iter().filter(|(_, at)| *at == found.at) {
                if account.rule_holds(rule, &found, &model) == Some(false) {
                    untrue.push((rule.clone(), *at));
                }
            }
            if request.midnights.contains(&found.at) {
                evaluations.push(found);
            }
        };
        let mut counter = request.counter.clone();
        let mut days = Vec::new();
        let mut events = landed.to_vec();
        events.sort_by_key(|(_, event)| event.happened_at());
        for (offset, event) in events {
            if event.account_id == request.account_id && offset <= request.offset {
                days.extend(counter.take(&event));
                replay.take(event, offset, &mut note);
            }
        }
        days.extend(counter.finish());
        let account = replay.finish(&mut note);
        let history = History {
            request: request.clone(),
            evaluations,
            untrue,
            days,
            account,
        };
        partition.history_stated(history, now);
    }
    stated
}

#[test]
fn history_gets_a_row_a_midnight_when_it_has_come_to_an_end_whatever_its_order() {
    let model = model();
    let now = NOON + 200 * 24 * HOUR;
    let mut partition = empty(&model, now);
    // Uses every day for sixty days, the second half first, then nothing for forty, then a login.
    let mut history: Vec<Event> = (0..60)
        .map(|day| (day + 30) % 60)
        .map(|day| {
            let at = NOON + day * 24 * HOUR;
            event("acme", &format!("f{day}"), EventType::Feature, "report", at)
        })
        .collect();
    history.push(login("acme", "back", NOON + 100 * 24 * HOUR));
    let history: Vec<(i64, Event)> = (0..).zip(history).collect();
    for (offset, event) in &history {
        partition.take(event.clone(), *offset, false, now);
    }
    assert!(evaluated_at(&partition, "acme").is_empty());
    assert_eq!(
        state_histories(&mut partition, &history, now),
        0,
        "more may be on its way"
    );
    let settled = now + 11 * SECOND;
    partition.evaluate_due(settled, true, 100, false, |_| {});
    assert!(
        partition.take_alerting().is_empty(),
        "nobody is told before the history is there"
    );
    assert_eq!(state_histories(&mut partition, &history, settled), 1);
    let rows: Vec<&MetricsRow> = partition.waiting.midnights.metrics.iter().collect();
    assert_eq!(rows.len(), 200, "one a midnight");
    assert!(rows.iter().all(|row| row.cut_offset == 60));
    let of_day = |day: i64| {
        rows.iter()
            .find(|row| row.evaluated_at == NOON - 12 * HOUR + day * DAY_MS)
    };
    assert_eq!(of_day(10).unwrap().usage_28d, 10, "the uses of ten days");
    assert_eq!(of_day(100).unwrap().days_since_last_active, Some(41));
    assert_eq!(
        state_histories(&mut partition, &history, settled),
        0,
        "it is not asked for twice"
    );
    partition.evaluate_due(settled + 1, true, 100, false, |_| {});
    assert_eq!(
        partition.take_alerting().len(),
        1,
        "now there is something to tell"
    );
}

#[test]
fn a_late_event_has_the_rows_since_stated_again_and_an_alarm_that_it_proves_wrong_taken_back() {
    let model = model();
    let mut partition = empty(&model, NOON);
    let mut landed = vec![(0, login("acme", "e0", NOON))];
    partition.take(landed[0].1.clone(), 0, false, NOON);
    partition.evaluate_due(NOON, true, 100, false, |_| {});
    let later = NOON + 40 * 24 * HOUR;
    partition.evaluate_due(later, true, 100, false, |_| {});
    let place = partition.take_alerting()[0];
    let opened = partition.outbox(place).iter();
    assert!(
        opened
            .clone()
            .any(|change| change.rule == "silence" && change.change == "opened")
    );
    send_all(&mut partition, place);
    partition.waiting = Waiting::default();

    // It was there all the time, but its events were not.
    for day in (5..=38).step_by(3) {
        let late = login("acme", &format!("late{day}"), NOON + day * 24 * HOUR);
        let offset = landed.len() as i64;
        landed.push((offset, late.clone()));
        partition.take(late, offset, false, later + HOUR);
    }
    let settled = later + HOUR + 11 * SECOND;
    assert_eq!(
        state_histories(&mut partition, &landed, settled),
        0,
        "nobody has seen yet that all is there"
    );
    partition.evaluate_due(settled, true, 0, false, |_| {});
    assert_eq!(state_histories(&mut partition, &landed, settled), 1);
    let restated: Vec<Option<i32>> = partition
        .waiting
        .midnights
        .metrics
        .iter()
        .map(|row| row.days_since_last_login)
        .collect();
    assert_eq!(restated.len(), 35, "the midnights since the first of them");
    assert_eq!(restated[..4], [Some(1), Some(2), Some(3), Some(1)]);
    let place = partition.take_alerting()[0];
    let change = partition
        .outbox(place)
        .iter()
        .find(|change| change.rule == "silence");
    assert_eq!(change.unwrap().change, "retracted");
}

#[test]
fn an_account_in_trouble_is_alerted_about_when_its_history_has_come_to_an_end() {
    let model = model();
    let now = NOON + 40 * 24 * HOUR;
    let mut partition = empty(&model, now);
    partition.take(
        event("acme", "f", EventType::Feature, "report", NOON),
        0,
        false,
        now,
    );
    // Another account's event of now makes the partition live.
    partition.take(login("other", "e", now), 1, false, now);
    partition.evaluate_due(now, true, 100, false, |_| {});
    assert!(
        partition.take_alerting().is_empty(),
        "more of its history may be on the way"
    );
    partition.evaluate_due(now + 11 * SECOND, true, 100, false, |_| {});
    let alerting = partition.take_alerting();
    assert_eq!(alerting.len(), 1);
    let told: Vec<&str> = partition
        .outbox(alerting[0])
        .iter()
        .map(|change| change.rule.as_str())
        .collect();
    assert!(told.contains(&"silence"), "{told:?}");
    send_all(&mut partition, alerting[0]);
    partition.evaluate_due(now + 2 * HOUR, true, 100, false, |_| {});
    assert!(partition.take_alerting().is_empty(), "told once");
}

#[test]
fn nobody_is_alerted_about_while_events_may_be_on_their_way() {
    let model = model();
    let now = NOON + 40 * 24 * HOUR;
    let mut partition = empty(&model, now);
    partition.take(
        event("acme", "f", EventType::Feature, "report", NOON),
        0,
        false,
        now,
    );
    partition.take(login("other", "e", now), 1, false, now);
    let later = now + 11 * SECOND;
    assert_eq!(
        partition.evaluate_due(later, true, 100, true, |_| {}),
        2,
        "the scores go on"
    );
    assert!(partition.take_alerting().is_empty());
    partition.evaluate_due(later + 11 * SECOND, true, 100, false, |_| {});
    assert_eq!(partition.take_alerting().len(), 1);
}

#[test]
fn what_was_to_be_sent_when_the_process_died_is_sent_by_the_next_owner() {
    let model = model();
    let now = NOON + 40 * 24 * HOUR;
    let mut partition = empty(&model, now);
    partition.take(
        event("acme", "f", EventType::Feature, "report", NOON),
        0,
        false,
        now,
    );
    partition.evaluate_due(now + 11 * SECOND, true, 100, false, |_| {});
    let place = partition.take_alerting()[0];
    let saved = partition.state(place, now);
    let ids: Vec<String> = partition
        .outbox(place)
        .iter()
        .map(|change| change.alert_id.clone())
        .collect();
    let past = Past {
        epoch: 2,
        next_offset: 1,
        watermark: Some(NOON),
        landed: BTreeSet::new(),
        accounts: vec![Account::decode("acme", &saved.state).unwrap()],
    };
    let mut next = Partition::new(3, past, Arc::clone(&model), Arc::new(Config::default()), now);
    let place = next.take_alerting()[0];
    let again: Vec<String> = next
        .outbox(place)
        .iter()
        .map(|change| change.alert_id.clone())
        .collect();
    assert_eq!(ids, again);
}

#[test]
fn what_is_found_to_be_told_while_something_is_being_told_comes_up_next() {
    let model = model();
    let mut partition = empty(&model, NOON);
    let ticket = |id: &str, name: &str, at: i64| Event {
        properties: r#"{"ticket_id":"t1"}"#.into(),
        ..event("acme", id, EventType::Ticket, name, at)
    };
    partition.take(ticket("e1", "opened", NOON), 0, false, NOON);
    partition.take(ticket("e2", "escalated", NOON), 1, false, NOON);
    partition.evaluate_due(NOON, true, 100, false, |_| {});
    let place = partition.take_alerting()[0];
    let being_sent = partition.outbox(place).to_vec();
    let ids = being_sent.iter().map(|change| change.alert_id.as_str()).collect();

    partition.take(ticket("e3", "resolved", NOON + SECOND), 2, false, NOON + SECOND);
    partition.evaluate_due(NOON + HOUR, true, 100, false, |_| {});
    assert!(partition.take_alerting().is_empty(), "one thing after the other");
    partition.sent(place, &ids);
    assert_eq!(partition.take_alerting(), [place]);
    let next: Vec<&str> = partition
        .outbox(place)
        .iter()
        .map(|change| change.change.as_str())
        .collect();
    assert_eq!(next, ["resolved"], "and what was sent is not sent again");
}

#[test]
fn a_history_waits_until_the_accounts_own_events_have_landed() {
    let model = model();
    let now = NOON + 10 * DAY_MS;
    let mut partition = empty(&model, now);
    partition.take(login("acme", "old", NOON + 5 * DAY_MS), 0, false, now);
    partition.take(login("acme", "older", NOON), 1, false, now);
    let rows = partition.take_events();
    assert_eq!(rows.len(), 2);
    partition.take(login("other", "e", now), 2, false, now);
    let settled = now + 11 * SECOND;
    partition.evaluate_due(settled, true, 100, false, |_| {});
    let asked = |partition: &mut Partition| -> Vec<String> {
        let requests = partition.take_histories(settled, 10, 1_000);
        requests.into_iter().map(|request| request.account_id).collect()
    };
    assert_eq!(asked(&mut partition), [""; 0], "it is being landed");
    partition.events_landed();
    assert_eq!(asked(&mut partition), ["acme"], "what waits is another's");
}

#[test]
fn what_was_looked_up_before_it_landed_is_recognised_after() {
    let model = model();
    let mut partition = empty(&model, NOON);
    for number in 0..20 {
        let at = NOON + number * 3 * HOUR;
        partition.take(login("acme", &format!("e{number}"), at), number, false, at);
    }
    let now = NOON + 60 * HOUR;
    // Both were asked about when neither had landed.
    let twice = login("acme", "again", NOON - DAY_MS);
    assert!(partition.must_look_up(&twice, 20));
    partition.take(twice.clone(), 20, false, now);
    partition.take_events();
    partition.events_landed();
    assert_eq!(partition.take(twice.clone(), 21, false, now), Taken::Duplicate);
    partition.forget_landed();
    assert!(
        partition.must_look_up(&twice, 22),
        "from now on it is found where it landed"
    );
}

#[test]
fn a_day_that_the_account_lets_go_before_it_was_saved_is_written_all_the_same() {
    let model = model();
    let mut partition = empty(&model, NOON);
    let long_ago = NOON - 60 * DAY_MS;
    partition.take(login("acme", "e1", long_ago), 0, false, NOON);
    partition.take(login("acme", "e2", NOON), 1, false, NOON);
    let mut days: Vec<DailyRow> = std::mem::take(&mut partition.waiting.daily);
    let mut unsaved = Unsaved::default();
    partition.take_unsaved(NOON, &mut unsaved);
    days.extend(unsaved.daily);
    let written: Vec<(i64, u32)> = days.iter().map(|row| (i64::from(row.day), row.logins)).collect();
    assert_eq!(written, [(long_ago / DAY_MS, 1), (NOON / DAY_MS, 1)]);
}

#[test]
fn a_later_owners_rows_are_newer_than_all_of_an_earlier_one() {
    let model = model();
    let mut first = empty(&model, NOON);
    let mut second = empty(&model, NOON);
    second.epoch = 2;
    let last_of_first = (0..1000).map(|_| first.version()).last().unwrap();
    assert!(second.version() > last_of_first);
}

/// What ClickHouse holds in the test below.
#[derive(Default)]
struct Tables {
    events: Vec<EventRow>,
    states: HashMap<String, StateRow>,
    daily: HashMap<(String, u16), DailyRow>,
    next_offset: i64,
    watermark: Option<i64>,
}

impl Tables {
    fn seen(&self, event: &Event, offset: i64) -> bool {
        self.events.iter().any(|row| {
            row.account_id == event.account_id && row.event_id == event.event_id && row.kafka_offset < offset
        })
    }

    fn land(&mut self, partition: &mut Partition) {
        self.events.append(&mut land(partition));
        for row in std::mem::take(&mut partition.waiting.daily) {
            self.daily.insert((row.account_id.clone(), row.day), row);
        }
    }

    /// The steps of a checkpoint, `steps` of them, as if the process died after.
    fn checkpoint(&mut self, partition: &mut Partition, steps: usize) {
        if steps >= 1 {
            self.land(partition);
        }
        let mut unsaved = Unsaved::default();
        partition.take_unsaved(NOON, &mut unsaved);
        if steps >= 2 {
            for row in unsaved.daily {
                self.daily.insert((row.account_id.clone(), row.day), row);
            }
        }
        if steps >= 3 {
            for row in unsaved.states {
                self.states.insert(row.account_id.clone(), row);
            }
        }
        if steps >= 4 {
            self.next_offset = partition.next_offset;
            self.watermark = partition.watermark;
        }
    }

    fn recover(&self, epoch: u64, model: &Arc<Model>) -> Partition {
        let accounts = self.states.values();
        let past = Past {
            epoch,
            next_offset: self.next_offset,
            watermark: self.watermark,
            landed: self
                .events
                .iter()
                .map(|row| row.kafka_offset)
                .filter(|at| *at >= self.next_offset)
                .collect(),
            accounts: accounts
                .map(|row| Account::decode(&row.account_id, &row.state).unwrap())
                .collect(),
        };
        Partition::new(3, past, Arc::clone(model), forgetful(), NOON)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A log of few accounts and few ids, so that repeats are many, over a span in which ids are
    /// forgotten and days are kept no more; the process is killed again and again, in the middle of checkpoints too.
    #[test]
    fn whenever_it_is_killed_every_event_lands_once_and_counts_once(
        log in prop::collection::vec((0u8..3, 0u16..40), 1..120),
        crashes in prop::collection::vec((1usize..25, 0usize..5), 1..12),
    ) {
        let model = model();
        let log: Vec<Event> = log
            .iter()
            // An id stands for one event, so it has one time: up to 117 days back.
            .map(|(account, id)| login(&format!("a{account}"), &format!("e{id}"), NOON - i64::from(*id) * 72 * HOUR))
            .collect();
        let run = |partition: &mut Partition, tables: &Tables, until: usize| {
            for offset in partition.next_offset..until as i64 {
                let event = log[offset as usize].clone();
                let was_seen = partition.must_look_up(&event, offset) && tables.seen(&event, offset);
                partition.take(event, offset, was_seen, NOON);
            }
        };

        let mut tables = Tables::default();
        let mut partition = empty(&model, NOON);
        let mut epoch = 1;
        let mut reached = 0;
        for (further, steps) in crashes {
            reached = (reached + further).min(log.len());
            run(&mut partition, &tables, reached);
            tables.checkpoint(&mut partition, steps);
            if steps < 4 {
                epoch += 1;
                partition = tables.recover(epoch, &model);
            }
        }
        run(&mut partition, &tables, log.len());
        tables.checkpoint(&mut partition, 4);
        // When all is there, the days that the accounts do not keep come with their histories.
        let later = NOON + 11 * SECOND;
        partition.evaluate_due(later, true, 0, false, |_| {});
        let landed: Vec<(i64, Event)> = tables
            .events
            .iter()
            .map(|row| (row.kafka_offset, rows::landed_event(row.clone()).unwrap()))
            .collect();
        state_histories(&mut partition, &landed, later);
        tables.checkpoint(&mut partition, 4);

        // What must be there: the first of each id.
        let mut first = HashSet::new();
        let expected: Vec<i64> = (0..log.len())
            .filter(|at| first.insert((log[*at].account_id.clone(), log[*at].event_id.clone())))
            .map(|at| at as i64)
            .collect();
        let mut landed: Vec<i64> = tables.events.iter().map(|row| row.kafka_offset).collect();
        landed.sort_unstable();
        prop_assert_eq!(&landed, &expected);

        for account in ["a0", "a1", "a2"] {
            let count = expected.iter().filter(|at| log[**at as usize].account_id == account).count();
            let Some(state) = tables.states.get(account) else {
                prop_assert_eq!(count, 0);
                continue;
            };
            let folded = Account::decode(account, &state.state).unwrap();
            let recent = expected.iter().map(|at| &log[*at as usize]);
            let recent = recent.filter(|event| event.account_id == account && event.occurred_at > NOON - 90 * DAY_MS);
            prop_assert_eq!(folded.metrics(NOON, &SegmentBaselines::default(), &model).logins_90d as usize, recent.count());
            let daily: u32 = tables.daily.values().filter(|row| row.account_id == account).map(|row| row.logins).sum();
            prop_assert_eq!(daily as usize, count);
        }
    }
}
