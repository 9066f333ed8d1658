use std::collections::BTreeMap;

use proptest::prelude::*;
use store::WaitingDelivery;

use super::*;
use crate::body;
use crate::offsets::Offsets;

const NOW: i64 = 1_795_309_323_000;

fn limits() -> Limits {
    Limits {
        destination: "cs-team".into(),
        queue: 4,
        concurrency: 2,
        rate_per_second: 0.0,
        schedule: Schedule::try_new(&[0.0, 5.0, 300.0], 0.0).unwrap(),
        set_aside: Duration::from_secs(2),
        reload_pause: Duration::from_secs(1),
        circuit: CircuitLimits {
            failures: 0,
            pause: Duration::from_secs(30),
            longest: Duration::from_secs(60),
        },
    }
}

/// A lane that owns partition 0 and knows that nothing waits elsewhere.
fn lane(limits: Limits) -> Lane {
    let mut lane = Lane::new(limits);
    lane.assign(&[0], NOW);
    let reload = lane.begin_reload(NOW).unwrap();
    lane.finish_reload(Vec::new(), reload.limit, NOW);
    assert!(!lane.is_parked());
    lane
}

fn ticket(offset: i64) -> Ticket {
    let mut offsets = Offsets::default();
    offsets.assign(0);
    offsets.take(0, offset, 1).unwrap()
}

/// The `n`th change, of an episode of its own unless `episode` says so.
fn change(n: i64, episode: &str, kind: &str) -> Change {
    let order = Order::new(NOW + n, kind);
    let timestamp = jiff::Timestamp::from_millisecond(NOW + n).unwrap();
    Change {
        alert_id: format!("al-{n}").into(),
        episode_id: episode.into(),
        order,
        partition: 0,
        body: format!(
            r#"{{"timestamp":"{timestamp}","data":{{"account_id":"a","episode_id":"{episode}","change":"{kind}"}}}}"#
        )
        .into(),
        variant: "".into(),
        not_before: None,
        caused_at: None,
        ticket: ticket(n),
    }
}

fn opened(n: i64) -> Change {
    change(n, &format!("ep-{n}"), "opened")
}

fn hold(lane: &mut Lane, change: Change, now: i64) {
    let offered = lane.offer(change, now);
    assert!(matches!(offered, Offered::Held), "{offered:?}");
}

/// Offers what the lane cannot hold and hands out its row.
fn spilled(lane: &mut Lane, change: Change, now: i64) -> Entry {
    let offered = lane.offer(change, now);
    assert!(matches!(offered, Offered::Written), "{offered:?}");
    row(lane)
}

/// The only row that is handed out.
fn row(lane: &mut Lane) -> Entry {
    let mut rows = lane.take_rows();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

fn status(code: u16) -> Answer {
    Answer::Status {
        code,
        retry_after: None,
        excerpt: String::new(),
    }
}

fn retry_in(code: u16, seconds: u64) -> Answer {
    Answer::Status {
        code,
        retry_after: Some(Duration::from_secs(seconds)),
        excerpt: String::new(),
    }
}

/// Sends the next one, which must be `n`, and hands out its row.
fn answer(lane: &mut Lane, n: i64, answer: &Answer, now: i64) -> Entry {
    let shipment = lane.next(now).expect("something is due");
    assert_eq!(&*shipment.alert_id, format!("al-{n}"));
    lane.finish(&shipment.alert_id, answer, now, now + 7).unwrap();
    row(lane)
}

fn waiting(entry: &Entry, order_of: &Change, episode_due_at: i64) -> WaitingDelivery {
    WaitingDelivery {
        alert_id: entry.row.alert_id.clone(),
        attempt: entry.row.attempt,
        uncounted: 0,
        next_attempt_at: entry.row.next_attempt_at.unwrap(),
        body: order_of.body.to_string(),
        partition: 0,
        episode_due_at,
    }
}

#[test]
fn a_delivered_alert_gives_its_ticket_back_with_its_row() {
    let mut lane = lane(limits());
    let caused = Change {
        caused_at: Some(NOW - 80),
        ..opened(1)
    };
    hold(&mut lane, caused, NOW);
    let shipment = lane.next(NOW).unwrap();
    assert!(lane.next(NOW).is_none());
    let finished = lane
        .finish(&shipment.alert_id, &status(204), NOW, NOW + 30)
        .unwrap();
    assert_eq!(finished.caused_at, Some(NOW - 80));
    let entry = &row(&mut lane);
    assert_eq!(
        (
            entry.row.status.as_str(),
            entry.row.attempt,
            entry.row.http_status
        ),
        (DELIVERED, 1, Some(204))
    );
    assert_eq!((entry.row.at, entry.row.duration_ms), (NOW, 30));
    assert_eq!((entry.row.body.as_str(), entry.row.next_attempt_at), ("", None));
    assert_eq!(entry.tickets, vec![ticket(1)]);
    assert!(lane.knows("al-1"), "until the row is written");
    lane.recorded(entry);
    assert!(!lane.knows("al-1"));
}

#[test]
fn a_failed_attempt_is_repeated_by_the_schedule_with_the_same_body_until_the_last() {
    let mut lane = lane(limits());
    let first = opened(1);
    hold(&mut lane, first.clone(), NOW);
    let entry = answer(&mut lane, 1, &status(500), NOW);
    assert_eq!((entry.row.status.as_str(), entry.row.attempt), (RETRYING, 1));
    assert_eq!(entry.row.next_attempt_at, Some(NOW + 7 + 5_000));
    assert_eq!(entry.row.body, &*first.body);
    assert!(lane.next(NOW + 10_000).is_none(), "not before its row is written");
    lane.recorded(&entry);
    assert!(lane.next(NOW + 5_006).is_none());
    assert_eq!(
        lane.wake_at(),
        Some(NOW + 2_000),
        "to look at those without a row"
    );
    lane.set_aside(NOW + 5_006);
    assert!(lane.take_rows().is_empty(), "it has one");
    assert_eq!(lane.wake_at(), Some(NOW + 5_007));

    let entry = answer(&mut lane, 1, &Answer::TimedOut(20_000), NOW + 5_007);
    assert_eq!(entry.row.attempt, 2);
    lane.recorded(&entry);
    let later = entry.row.next_attempt_at.unwrap();
    assert_eq!(later, NOW + 5_014 + 300_000);
    let entry = answer(&mut lane, 1, &status(500), later);
    assert_eq!((entry.row.status.as_str(), entry.row.attempt), (FAILED, 3));
    assert_eq!(entry.row.error, "answered 500; given up after 3 attempts");
    assert_eq!(entry.row.body, &*first.body, "to be replayed");
    lane.recorded(&entry);
    assert_eq!(lane.held(), 0);
}

#[test]
fn a_refusal_is_not_repeated() {
    for code in [301, 400, 401, 404, 422] {
        let mut lane = lane(limits());
        hold(&mut lane, opened(1), NOW);
        let entry = answer(&mut lane, 1, &status(code), NOW);
        assert_eq!(entry.row.status, FAILED, "{code}");
        assert_eq!(entry.row.body, &*opened(1).body, "to be replayed");
        lane.recorded(&entry);
        assert_eq!(lane.held(), 0);
    }
}

#[test]
fn a_wish_to_be_left_alone_holds_the_whole_lane() {
    let mut lane = lane(limits());
    hold(&mut lane, opened(1), NOW);
    hold(&mut lane, opened(2), NOW);
    let entry = answer(&mut lane, 1, &retry_in(429, 60), NOW);
    lane.recorded(&entry);
    assert_eq!(
        entry.row.next_attempt_at,
        Some(NOW + 7 + 60_000),
        "longer than its pause"
    );
    assert!(lane.next(NOW + 60_006).is_none());
    assert!(lane.next(NOW + 60_007).is_some());

    let entry = {
        let mut lane = self::lane(limits());
        hold(&mut lane, opened(1), NOW);
        answer(&mut lane, 1, &retry_in(500, 1), NOW)
    };
    assert_eq!(
        entry.row.next_attempt_at,
        Some(NOW + 7 + 5_000),
        "shorter than its pause"
    );
}

#[test]
fn changes_of_one_episode_do_not_overtake_each_other() {
    let mut lane = lane(limits());
    hold(&mut lane, change(1, "ep", "opened"), NOW);
    hold(&mut lane, change(2, "ep", "resolved"), NOW);
    hold(&mut lane, opened(3), NOW);
    let failed = answer(&mut lane, 1, &status(500), NOW);
    let other = answer(&mut lane, 3, &status(200), NOW);
    lane.recorded(&other);
    assert!(
        lane.next(NOW + 1).is_none(),
        "the resolve waits for the row about its open"
    );
    lane.recorded(&failed);
    assert!(lane.next(NOW + 1).is_none(), "and for the repeat of it");
    let delivered = answer(&mut lane, 1, &status(200), NOW + 6_000);
    assert!(lane.next(NOW + 6_000).is_none());
    lane.recorded(&delivered);
    answer(&mut lane, 2, &status(200), NOW + 6_000);
}

#[test]
fn a_resolve_follows_an_open_that_failed_for_good() {
    let mut lane = lane(limits());
    hold(&mut lane, change(1, "ep", "opened"), NOW);
    hold(&mut lane, change(2, "ep", "resolved"), NOW);
    let failed = answer(&mut lane, 1, &status(400), NOW);
    lane.recorded(&failed);
    answer(&mut lane, 2, &status(200), NOW);
}

#[test]
fn concurrency_and_rate_are_kept() {
    let mut lane = lane(Limits {
        rate_per_second: 10.0,
        ..limits()
    });
    for n in 1..=3 {
        hold(&mut lane, opened(n), NOW);
    }
    assert!(lane.next(NOW).is_some());
    assert!(lane.next(NOW).is_none());
    assert_eq!(lane.wake_at(), Some(NOW + 100));
    assert!(lane.next(NOW + 99).is_none());
    assert!(lane.next(NOW + 100).is_some());
    assert!(lane.next(NOW + 900).is_none(), "two are under way");
    assert_eq!(lane.wake_at(), Some(NOW + 2_000), "only to set the third aside");
}

#[test]
fn a_clock_that_wakes_late_does_not_lower_the_rate_and_idleness_saves_nothing_up() {
    let mut lane = lane(Limits {
        rate_per_second: 200.0,
        concurrency: 1_000,
        queue: 1_000,
        ..limits()
    });
    for n in 0..1_000 {
        hold(&mut lane, opened(n), NOW);
    }
    let begun_at = |lane: &mut Lane, now: i64| std::iter::from_fn(|| lane.next(now)).count();
    let woken_late = (0..1_000)
        .step_by(7)
        .map(|ms| begun_at(&mut lane, NOW + ms))
        .sum::<usize>();
    assert!((199..=201).contains(&woken_late), "{woken_late}");
    assert_eq!(
        begun_at(&mut lane, NOW + 60_000),
        1,
        "after a minute without a word"
    );
}

#[test]
fn what_waits_too_long_gets_a_row_and_is_still_sent() {
    let mut lane = lane(Limits {
        concurrency: 1,
        ..limits()
    });
    hold(&mut lane, opened(1), NOW);
    hold(&mut lane, opened(2), NOW);
    let under_way = lane.next(NOW).unwrap();
    lane.set_aside(NOW + 1_999);
    assert!(lane.take_rows().is_empty());
    lane.set_aside(NOW + 2_000);
    let rows = lane.take_rows();
    for (entry, n) in rows.iter().zip(1..) {
        assert_eq!(entry.row.alert_id, format!("al-{n}"));
        assert_eq!((entry.row.attempt, entry.row.status.as_str()), (0, RETRYING));
        assert_eq!(entry.tickets, vec![ticket(n)]);
        lane.recorded(entry);
    }
    assert_eq!(rows.len(), 2);
    let again = lane.offer(opened(2), NOW + 2_100);
    assert!(matches!(again, Offered::Settled(_)), "it has its row");
    lane.finish(&under_way.alert_id, &status(200), NOW, NOW + 2_200);
    assert_eq!(row(&mut lane).row.attempt, 1);
    let entry = answer(&mut lane, 2, &status(200), NOW + 2_200);
    assert_eq!((entry.row.attempt, entry.tickets.len()), (1, 0));
}

#[test]
fn a_change_that_does_not_fit_gets_no_row_before_those_that_precede_it() {
    let mut lane = lane(Limits { queue: 2, ..limits() });
    hold(&mut lane, change(1, "ep", "opened"), NOW);
    hold(&mut lane, change(2, "ep", "escalated"), NOW);
    lane.next(NOW).unwrap();
    assert!(matches!(
        lane.offer(change(3, "ep", "resolved"), NOW),
        Offered::Written
    ));
    let rows = lane.take_rows();
    let ids: Vec<&str> = rows.iter().map(|entry| entry.row.alert_id.as_str()).collect();
    assert_eq!(ids, ["al-1", "al-2", "al-3"]);
}

#[test]
fn an_alert_that_comes_twice_is_sent_once_and_both_tickets_come_back() {
    let mut lane = lane(limits());
    hold(&mut lane, opened(1), NOW);
    let again = Change {
        ticket: ticket(9),
        ..opened(1)
    };
    let shipment = lane.next(NOW).unwrap();
    hold(&mut lane, again, NOW);
    assert!(lane.next(NOW).is_none());
    lane.finish(&shipment.alert_id, &status(200), NOW, NOW).unwrap();
    let entry = row(&mut lane);
    assert_eq!(entry.tickets, vec![ticket(1), ticket(9)]);
}

#[test]
fn a_full_lane_writes_what_does_not_fit_and_takes_it_in_when_there_is_room() {
    let mut lane = lane(limits());
    for n in 1..=4 {
        hold(&mut lane, opened(n), NOW);
    }
    let fifth = opened(5);
    let entry = spilled(&mut lane, fifth.clone(), NOW);
    assert_eq!((entry.row.attempt, entry.row.status.as_str()), (0, RETRYING));
    assert_eq!(entry.row.next_attempt_at, Some(NOW));
    assert_eq!(entry.tickets, vec![ticket(5)]);
    assert_eq!(lane.held(), 4);
    lane.recorded(&entry);
    assert!(lane.is_parked());
    assert!(lane.begin_reload(NOW).is_none(), "there is no room");
    let delivered = answer(&mut lane, 1, &status(200), NOW);
    lane.recorded(&delivered);
    let reload = lane.begin_reload(NOW + 1_000).unwrap();
    assert_eq!((reload.partitions.as_slice(), reload.limit), ([0].as_slice(), 5));
    lane.finish_reload(vec![waiting(&entry, &fifth, NOW)], reload.limit, NOW + 1_000);
    assert!(!lane.is_parked());
    assert!(lane.knows("al-5"));
}

#[test]
fn while_parked_only_a_change_that_nothing_precedes_is_taken() {
    let mut lane = Lane::new(limits());
    lane.assign(&[0], NOW);
    assert!(lane.is_parked(), "nothing is known yet of what waits");
    hold(&mut lane, opened(1), NOW);
    let resolved = spilled(&mut lane, change(2, "elsewhere", "resolved"), NOW);
    lane.recorded(&resolved);
    // Its open is read with it and goes first.
    let open = change(0, "elsewhere", "opened");
    let open_row = WaitingDelivery {
        alert_id: "al-0".into(),
        attempt: 3,
        uncounted: 0,
        next_attempt_at: NOW + 50_000,
        body: open.body.to_string(),
        partition: 0,
        episode_due_at: NOW + 50_000,
    };
    let reload = lane.begin_reload(NOW).unwrap();
    let rows = vec![
        open_row,
        waiting(&resolved, &change(2, "elsewhere", "resolved"), NOW + 50_000),
    ];
    lane.finish_reload(rows, reload.limit, NOW);
    let entry = answer(&mut lane, 1, &status(200), NOW);
    lane.recorded(&entry);
    assert!(lane.next(NOW + 49_999).is_none());
    let entry = answer(&mut lane, 0, &status(500), NOW + 50_000);
    assert_eq!(entry.row.status, FAILED, "the fourth of three attempts");
    lane.recorded(&entry);
    answer(&mut lane, 2, &status(200), NOW + 50_000);
}

#[test]
fn a_row_that_was_read_before_its_delivery_ended_is_not_taken_in_again() {
    let mut lane = lane(limits());
    let first = opened(1);
    hold(&mut lane, first.clone(), NOW);
    let failed = answer(&mut lane, 1, &status(500), NOW);
    lane.recorded(&failed);
    lane.assign(&[1], NOW + 6_000);
    let reload = lane.begin_reload(NOW + 6_000).unwrap();
    let delivered = answer(&mut lane, 1, &status(200), NOW + 6_000);
    lane.recorded(&delivered);
    lane.finish_reload(
        vec![waiting(&failed, &first, NOW + 5_000)],
        reload.limit,
        NOW + 6_001,
    );
    assert_eq!(lane.held(), 0);
}

#[test]
fn a_spill_during_a_reload_is_not_forgotten() {
    let mut lane = Lane::new(limits());
    lane.assign(&[0], NOW);
    let reload = lane.begin_reload(NOW).unwrap();
    let entry = spilled(&mut lane, change(1, "ep", "resolved"), NOW);
    lane.finish_reload(Vec::new(), reload.limit, NOW);
    assert!(lane.is_parked(), "its row is not written");
    lane.recorded(&entry);
    let reload = lane.begin_reload(NOW + 1_000).unwrap();
    lane.finish_reload(
        vec![waiting(&entry, &change(1, "ep", "resolved"), NOW)],
        reload.limit,
        NOW + 1_000,
    );
    assert!(!lane.is_parked());
    answer(&mut lane, 1, &status(200), NOW + 1_000);
}

#[test]
fn a_fresh_alert_takes_the_place_of_one_that_is_due_last() {
    let mut lane = lane(limits());
    let mut entries = Vec::new();
    for n in 1..=4 {
        hold(&mut lane, opened(n), NOW);
        let entry = answer(&mut lane, n, &status(500), NOW + n);
        lane.recorded(&entry);
        entries.push(entry);
    }
    hold(&mut lane, opened(5), NOW + 100);
    assert!(!lane.knows("al-4"), "due last");
    assert_eq!(lane.held(), 4);
    assert!(lane.is_parked());
    let last_due = entries[3].row.next_attempt_at.unwrap();
    let delivered = answer(&mut lane, 5, &status(200), NOW + 100);
    lane.recorded(&delivered);
    assert!(lane.begin_reload(last_due - 1).is_none(), "it is not due");
    assert!(lane.begin_reload(last_due).is_some());
}

#[test]
fn when_not_all_fit_no_later_change_comes_in_without_the_earlier() {
    let mut lane = Lane::new(limits());
    lane.assign(&[0], NOW);
    let reload = lane.begin_reload(NOW).unwrap();
    let changes = [
        change(1, "a", "opened"),
        change(2, "b", "opened"),
        change(3, "c", "opened"),
        change(4, "d", "opened"),
        change(5, "d", "resolved"),
    ];
    let rows: Vec<WaitingDelivery> = changes
        .iter()
        .map(|change| WaitingDelivery {
            alert_id: change.alert_id.to_string(),
            attempt: 1,
            uncounted: 0,
            next_attempt_at: NOW,
            body: change.body.to_string(),
            partition: 0,
            episode_due_at: NOW,
        })
        .collect();
    assert_eq!(rows.len(), reload.limit);
    lane.finish_reload(rows, reload.limit, NOW);
    assert_eq!(lane.held(), 4);
    assert!(lane.is_parked());
    assert!(!lane.knows("al-5"));
    // The next change of that episode must not pass the one that was left.
    spilled(&mut lane, change(6, "d", "retracted"), NOW);
}

#[test]
fn gone_disables_the_lane_and_says_so_about_everything() {
    let mut lane = lane(limits());
    hold(&mut lane, change(1, "ep", "opened"), NOW);
    hold(&mut lane, change(2, "ep", "resolved"), NOW);
    hold(&mut lane, opened(3), NOW);
    let shipment = lane.next(NOW).unwrap();
    let finished = lane.finish(&shipment.alert_id, &status(410), NOW, NOW).unwrap();
    assert!(finished.disabled);
    let rows = lane.take_rows();
    assert_eq!(rows.len(), 3);
    for entry in &rows {
        assert_eq!((entry.row.status.as_str(), entry.row.attempt), (FAILED, 1));
        assert!(!entry.row.body.is_empty(), "to be replayed");
        assert_eq!(entry.tickets.len(), 1);
        lane.recorded(entry);
    }
    assert_eq!(lane.held(), 0);
    assert!(lane.next(NOW).is_none());
    let entry = spilled(&mut lane, opened(4), NOW);
    assert_eq!(
        (entry.row.status.as_str(), entry.row.body.as_str()),
        (FAILED, &*opened(4).body)
    );
    assert_eq!(lane.wake_at(), Some(NOW + 2_000));
    lane.set_aside(NOW + 2_000);
    assert_eq!(lane.wake_at(), None);
}

#[test]
fn gone_is_said_about_what_waits_in_clickhouse_alone_and_what_was_under_way() {
    let mut lane = Lane::new(limits());
    lane.assign(&[0], NOW);
    hold(&mut lane, change(1, "ep", "opened"), NOW);
    hold(&mut lane, opened(3), NOW);
    // What waits is not read yet, so that this one must not pass it.
    let end = change(2, "ep", "resolved");
    assert!(matches!(lane.offer(end.clone(), NOW), Offered::Written));
    let rows = lane.take_rows();
    for entry in &rows {
        lane.recorded(entry);
    }
    let pending = &rows[1];
    let (first, other) = (lane.next(NOW).unwrap(), lane.next(NOW).unwrap());
    assert!(
        lane.finish(&first.alert_id, &status(410), NOW, NOW)
            .unwrap()
            .disabled
    );
    lane.finish(&other.alert_id, &status(503), NOW, NOW).unwrap();
    for entry in lane.take_rows() {
        assert_eq!(entry.row.status, FAILED, "{}", entry.row.error);
        lane.recorded(&entry);
    }
    assert!(lane.wake_at().is_some(), "what waits is to be read");
    let reload = lane.begin_reload(NOW).unwrap();
    lane.finish_reload(vec![waiting(pending, &end, NOW)], reload.limit, NOW);
    let entry = row(&mut lane);
    assert_eq!(
        (entry.row.alert_id.as_str(), entry.row.status.as_str()),
        ("al-2", FAILED)
    );
    assert_eq!(entry.row.error, NOT_TRIED_DISABLED);
    lane.recorded(&entry);
    assert_eq!((lane.held(), lane.is_parked()), (0, false));
}

#[test]
fn gone_is_news_once() {
    let mut lane = lane(limits());
    hold(&mut lane, opened(1), NOW);
    hold(&mut lane, opened(2), NOW);
    let shipments = [lane.next(NOW).unwrap(), lane.next(NOW).unwrap()];
    let news = shipments.map(|shipment| {
        lane.finish(&shipment.alert_id, &status(410), NOW, NOW)
            .unwrap()
            .disabled
    });
    assert_eq!(news, [true, false]);
}

fn put_off(change: Change, by: i64) -> Change {
    Change {
        not_before: Some(NOW + by),
        ..change
    }
}

#[test]
fn what_may_not_be_sent_yet_has_its_row_at_once_and_goes_when_it_may() {
    let mut lane = lane(limits());
    hold(&mut lane, put_off(opened(1), 60_000), NOW);
    let entry = row(&mut lane);
    assert_eq!(
        (
            entry.row.status.as_str(),
            entry.row.attempt,
            entry.row.next_attempt_at
        ),
        (RETRYING, 0, Some(NOW + 60_000))
    );
    assert_eq!(entry.tickets.len(), 1);
    lane.recorded(&entry);
    lane.set_aside(NOW + 2_000);
    assert!(lane.take_rows().is_empty(), "it has its row");
    assert_eq!(lane.wake_at(), Some(NOW + 60_000));
    assert!(lane.next(NOW + 59_999).is_none());
    let entry = answer(&mut lane, 1, &status(200), NOW + 60_000);
    assert_eq!(entry.row.status, DELIVERED);
}

#[test]
fn an_end_before_its_opening_was_due_leaves_nothing_to_send() {
    let mut lane = lane(limits());
    hold(&mut lane, put_off(change(1, "ep", "opened"), 60_000), NOW);
    hold(&mut lane, put_off(change(2, "ep", "escalated"), 60_000), NOW);
    for entry in lane.take_rows() {
        lane.recorded(&entry);
    }
    hold(&mut lane, put_off(change(3, "ep", "resolved"), 60_000), NOW + 5);
    let entry = row(&mut lane);
    let told: Vec<(&str, u32, &str)> = entry
        .rows()
        .map(|row| (row.alert_id.as_str(), row.attempt, row.status.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("al-1", 1, SUPPRESSED),
            ("al-2", 1, SUPPRESSED),
            ("al-3", 1, SUPPRESSED)
        ],
        "written together"
    );
    assert_eq!(entry.tickets.len(), 1, "the others went with their rows");
    assert!(lane.next(NOW + 60_000).is_none());
    lane.recorded(&entry);
    assert_eq!(lane.held(), 0);
    lane.set_aside(NOW + 60_000);
    assert!(lane.take_rows().is_empty());
    assert_eq!(lane.wake_at(), None);
}

#[test]
fn a_change_does_not_drive_out_the_earlier_one_of_its_episode() {
    let mut lane = lane(limits());
    for n in 0..4 {
        hold(&mut lane, put_off(opened(n), 60_000 + n), NOW);
    }
    for entry in lane.take_rows() {
        lane.recorded(&entry);
    }
    // Its opening is due last, and another one makes way.
    hold(&mut lane, change(9, "ep-3", "escalated"), NOW);
    assert!(lane.knows("al-3") && !lane.knows("al-2"));
    let shipment = lane.next(NOW).unwrap();
    assert_eq!(&*shipment.alert_id, "al-3");
}

#[test]
fn an_end_is_sent_when_its_opening_was() {
    let mut lane = lane(limits());
    hold(&mut lane, put_off(change(1, "ep", "opened"), 60_000), NOW);
    for entry in lane.take_rows() {
        lane.recorded(&entry);
    }
    // Tried, and it may have arrived.
    let entry = answer(&mut lane, 1, &status(500), NOW + 60_000);
    lane.recorded(&entry);
    hold(
        &mut lane,
        put_off(change(2, "ep", "resolved"), 90_000),
        NOW + 61_000,
    );
    for entry in lane.take_rows() {
        assert_eq!(entry.row.status, RETRYING);
        lane.recorded(&entry);
    }
    let entry = answer(&mut lane, 1, &status(200), NOW + 65_007);
    lane.recorded(&entry);
    assert!(lane.next(NOW + 89_999).is_none());
    answer(&mut lane, 2, &status(200), NOW + 90_000);
}

#[test]
fn a_change_that_may_not_wait_takes_those_before_it_along() {
    let mut lane = lane(limits());
    hold(&mut lane, put_off(change(1, "ep", "opened"), 60_000), NOW);
    hold(&mut lane, change(2, "ep", "escalated"), NOW + 5);
    let entries = lane.take_rows();
    let entry = answer(&mut lane, 1, &status(200), NOW + 5);
    for entry in entries {
        lane.recorded(&entry);
    }
    lane.recorded(&entry);
    answer(&mut lane, 2, &status(200), NOW + 12);
}

#[test]
fn a_full_lane_still_takes_the_end_of_what_was_put_off() {
    let mut lane = lane(limits());
    for n in 0..4 {
        hold(&mut lane, put_off(opened(n), 60_000), NOW);
    }
    let entries = lane.take_rows();
    hold(&mut lane, change(9, "ep-0", "retracted"), NOW);
    let entry = row(&mut lane);
    assert_eq!(entry.rows().count(), 2);
    for entry in entries.iter().chain([&entry]) {
        lane.recorded(entry);
    }
    assert_eq!(lane.held(), 3);
    assert!(!lane.is_parked());
}

#[test]
fn what_was_put_off_and_is_over_is_seen_when_it_is_taken_in() {
    let mut lane = Lane::new(limits());
    lane.assign(&[0], NOW);
    let changes = [change(1, "ep", "opened"), change(2, "ep", "resolved")];
    let rows = changes.iter().map(|change| WaitingDelivery {
        alert_id: change.alert_id.to_string(),
        attempt: 0,
        uncounted: 0,
        next_attempt_at: NOW + 60_000,
        body: change.body.to_string(),
        partition: 0,
        episode_due_at: NOW + 60_000,
    });
    let reload = lane.begin_reload(NOW).unwrap();
    lane.finish_reload(rows.collect(), reload.limit, NOW);
    let entry = row(&mut lane);
    let statuses: Vec<&str> = entry.rows().map(|row| row.status.as_str()).collect();
    assert_eq!(statuses, [SUPPRESSED, SUPPRESSED]);
}

#[test]
fn a_replay_is_taken_in_and_its_schedule_begins_anew() {
    let mut lane = lane(Limits {
        schedule: Schedule::try_new(&[0.0, 5.0], 0.0).unwrap(),
        ..limits()
    });
    let first = opened(1);
    hold(&mut lane, first.clone(), NOW);
    let shipment = lane.next(NOW).unwrap();
    lane.finish(&shipment.alert_id, &status(410), NOW, NOW).unwrap();
    let entry = row(&mut lane);
    lane.recorded(&entry);
    assert!(lane.next(NOW).is_none(), "disabled");

    // The row that a replay writes: the next attempt's number, which is none.
    let asked = WaitingDelivery {
        alert_id: "al-1".into(),
        attempt: 2,
        uncounted: 2,
        next_attempt_at: NOW + 60_000,
        body: first.body.to_string(),
        partition: 0,
        episode_due_at: NOW + 60_000,
    };
    lane.requested(NOW + 60_000);
    let reload = lane.begin_reload(NOW + 60_000).unwrap();
    lane.finish_reload(vec![asked.clone()], reload.limit, NOW + 60_000);
    let entry = answer(&mut lane, 1, &status(500), NOW + 60_000);
    assert_eq!((entry.row.attempt, entry.row.status.as_str()), (3, RETRYING));
    assert_eq!(
        entry.row.next_attempt_at,
        Some(NOW + 60_007 + 5_000),
        "as after the first attempt"
    );
    lane.recorded(&entry);
    let entry = answer(&mut lane, 1, &status(500), NOW + 65_007);
    assert_eq!((entry.row.attempt, entry.row.status.as_str()), (4, FAILED));
    assert_eq!(entry.row.error, "answered 500; given up after 2 attempts");

    // It is replayed before the lane has heard that its row is written.
    lane.requested(NOW + 65_020);
    let reload = lane.begin_reload(NOW + 65_020).unwrap();
    let again = WaitingDelivery {
        attempt: 5,
        uncounted: 5,
        ..asked
    };
    lane.finish_reload(vec![again.clone()], reload.limit, NOW + 65_020);
    lane.recorded(&entry);
    assert!(!lane.knows("al-1"));
    let reload = lane.begin_reload(NOW + 66_020).expect("it is looked for again");
    lane.finish_reload(vec![again], reload.limit, NOW + 66_020);
    assert_eq!(answer(&mut lane, 1, &status(200), NOW + 66_020).row.attempt, 6);
}

#[test]
fn while_the_circuit_is_open_nothing_is_sent_and_no_attempt_is_used_up() {
    let mut lane = lane(Limits {
        circuit: CircuitLimits {
            failures: 2,
            ..limits().circuit
        },
        ..limits()
    });
    for n in 1..=4 {
        hold(&mut lane, opened(n), NOW);
    }
    for n in [1, 2] {
        let entry = answer(&mut lane, n, &Answer::TimedOut(5), NOW);
        lane.recorded(&entry);
    }
    assert!(lane.is_circuit_open());
    assert!(lane.next(NOW + 30_006).is_none());
    lane.set_aside(NOW + 2_000);
    let rows = lane.take_rows();
    let attempts: Vec<u32> = rows.iter().map(|entry| entry.row.attempt).collect();
    assert_eq!(attempts, [0, 0], "the position moves on meanwhile");
    rows.iter().for_each(|entry| drop(lane.recorded(entry)));
    assert_eq!(lane.wake_at(), Some(NOW + 30_007));

    let probe = lane.next(NOW + 30_007).unwrap();
    assert_eq!(&*probe.alert_id, "al-3", "the one that has waited longest");
    assert!(lane.next(NOW + 60_000).is_none(), "one probe");
    assert_eq!(lane.wake_at(), None);
    let finished = lane
        .finish(&probe.alert_id, &status(503), NOW + 30_007, NOW + 31_000)
        .unwrap();
    assert_eq!(finished.switched, Some(Switched::Opened(Duration::from_secs(60))));
    let entry = row(&mut lane);
    lane.recorded(&entry);
    assert!(lane.next(NOW + 90_999).is_none());
    // A worker that stops cuts the probe; the next one may go.
    let probe = lane.next(NOW + 91_000).unwrap();
    lane.cut(&[0], NOW + 91_001);
    let entry = row(&mut lane);
    lane.recorded(&entry);
    let next = lane.next(NOW + 91_001).unwrap();
    assert_ne!(
        (&next.alert_id, lane.next(NOW + 91_001).is_none()),
        (&probe.alert_id, false)
    );
    let finished = lane
        .finish(&next.alert_id, &status(404), NOW + 91_001, NOW + 91_002)
        .unwrap();
    assert_eq!(
        finished.switched,
        Some(Switched::Closed),
        "whoever refuses is there"
    );
    assert!(lane.next(NOW + 91_002).is_some());
}

#[test]
fn a_partition_that_goes_takes_its_deliveries_along_with_a_row_each() {
    let mut lane = lane(limits());
    lane.assign(&[1], NOW);
    let other = Change {
        partition: 1,
        ..opened(9)
    };
    hold(&mut lane, opened(1), NOW);
    hold(&mut lane, opened(2), NOW);
    hold(&mut lane, opened(3), NOW);
    hold(&mut lane, other, NOW);
    let mut under_way = lane.next(NOW).unwrap();
    let retried = answer(&mut lane, 2, &status(500), NOW);
    lane.recorded(&retried);

    lane.release(&[0], NOW + 1);
    let entries = lane.take_rows();
    let ids: Vec<&str> = entries.iter().map(|entry| entry.row.alert_id.as_str()).collect();
    assert_eq!(ids, ["al-1", "al-3"], "the second has a row");
    assert_eq!((entries[1].row.attempt, entries[1].tickets.len()), (0, 1));
    assert!(lane.is_busy_with(&[0]));
    assert!(
        under_way
            .cancelled
            .try_recv()
            .is_err_and(|e| e == oneshot::error::TryRecvError::Empty)
    );

    assert_eq!(lane.cut(&[0], NOW + 1_000), 1);
    let cut = row(&mut lane);
    assert_eq!((cut.row.attempt, cut.row.status.as_str()), (1, RETRYING));
    assert!(
        under_way
            .cancelled
            .try_recv()
            .is_err_and(|e| e == oneshot::error::TryRecvError::Closed)
    );
    lane.recorded(&cut);
    assert!(!lane.is_busy_with(&[0]));
    assert!(lane.finish("al-1", &status(200), NOW, NOW + 2_000).is_none());
    assert_eq!(lane.held(), 1, "that of the other partition");
    assert_eq!(&*lane.next(NOW + 2_000).unwrap().alert_id, "al-9");
}

/// What happens to a lane.
#[derive(Debug, Clone)]
enum Step {
    /// A change of an episode appears in the topic.
    Append {
        episode: usize,
        put_off: i64,
    },
    /// The next record of the topic is read.
    Read,
    Send,
    Answer {
        which: usize,
        code: u16,
    },
    /// One row is written.
    Record,
    /// The waiting rows are read, or those that were read arrive.
    Reload,
    Pass {
        ms: i64,
    },
    /// The worker is killed and reads the topic from its beginning.
    Kill,
    /// Somebody replays what failed, and the worker hears of it.
    Replay {
        which: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..12, prop::sample::select(vec![0, 0, 2_000, 60_000]))
            .prop_map(|(episode, put_off)| Step::Append { episode, put_off }),
        5 => Just(Step::Read),
        4 => Just(Step::Send),
        4 => (0usize..4, prop::sample::select(vec![200u16, 200, 500, 503, 404]))
            .prop_map(|(which, code)| Step::Answer { which, code }),
        4 => Just(Step::Record),
        2 => Just(Step::Reload),
        2 => (0i64..4_000).prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::Kill),
        1 => (0usize..40).prop_map(|which| Step::Replay { which }),
    ]
}

/// The ledger as ClickHouse keeps it: the row of the highest attempt counts.
#[derive(Default)]
struct Rows(BTreeMap<(String, u32), DeliveryRow>);

impl Rows {
    fn newest(&self, alert_id: &str) -> Option<&DeliveryRow> {
        let of_alert = (alert_id.to_string(), 0)..=(alert_id.to_string(), u32::MAX);
        self.0.range(of_alert).next_back().map(|(_, row)| row)
    }

    fn waiting(&self, limit: usize) -> Vec<WaitingDelivery> {
        let mut ids: Vec<&String> = self.0.keys().map(|(id, _)| id).collect();
        ids.dedup();
        let mut rows: Vec<(body::Place, WaitingDelivery)> = ids
            .into_iter()
            .filter_map(|id| self.newest(id))
            .filter(|row| row.status == RETRYING)
            .map(|row| {
                let of_alert = (row.alert_id.clone(), 0)..=(row.alert_id.clone(), u32::MAX);
                let ends = self.0.range(of_alert).filter(|(_, row)| row.status != RETRYING);
                let read = WaitingDelivery {
                    alert_id: row.alert_id.clone(),
                    attempt: row.attempt,
                    uncounted: ends.map(|((_, attempt), _)| attempt + 1).max().unwrap_or(0),
                    next_attempt_at: row.next_attempt_at.unwrap(),
                    body: row.body.clone(),
                    partition: 0,
                    episode_due_at: 0,
                };
                (body::place(&row.body).unwrap(), read)
            })
            .collect();
        rows.sort_by_key(|(place, _)| place.order);
        let mut heads: HashMap<String, i64> = HashMap::new();
        for (place, row) in &mut rows {
            row.episode_due_at = *heads
                .entry(place.episode_id.clone())
                .or_insert(row.next_attempt_at);
        }
        rows.sort_by_key(|(place, row)| (row.episode_due_at, place.episode_id.clone(), place.order));
        rows.into_iter().map(|(_, row)| row).take(limit).collect()
    }
}

/// A lane between a topic, a receiver and a ledger.
struct World {
    lane: Lane,
    now: i64,
    topic: Vec<Change>,
    read: usize,
    episodes: [usize; 12],
    unwritten: VecDeque<Entry>,
    under_way: Vec<Shipment>,
    reading: Option<(Vec<WaitingDelivery>, usize)>,
    rows: Rows,
    /// Until when the circuit is open, as far as answers have said.
    quiet_until: i64,
}

impl World {
    fn small() -> Limits {
        Limits {
            queue: 3,
            circuit: CircuitLimits {
                failures: 2,
                pause: Duration::from_millis(500),
                longest: Duration::from_secs(2),
            },
            schedule: Schedule::try_new(&[0.0; 4], 0.0).unwrap(),
            ..limits()
        }
    }

    fn new() -> World {
        let mut world = World {
            lane: Lane::new(World::small()),
            now: NOW,
            topic: Vec::new(),
            read: 0,
            episodes: [0; 12],
            unwritten: VecDeque::new(),
            under_way: Vec::new(),
            reading: None,
            rows: Rows::default(),
            quiet_until: i64::MIN,
        };
        world.lane.assign(&[0], NOW);
        world
    }

    fn is_settled(&self, change: &Change) -> bool {
        self.rows
            .newest(&change.alert_id)
            .is_some_and(|row| row.status != RETRYING)
    }

    fn is_suppressed(&self, change: &Change) -> bool {
        self.rows
            .newest(&change.alert_id)
            .is_some_and(|row| row.status == SUPPRESSED)
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Append { episode, put_off } if self.topic.len() < 40 => {
                let kinds = ["opened", "escalated", "escalated", "resolved"];
                if let Some(kind) = kinds.get(self.episodes[episode]) {
                    self.episodes[episode] += 1;
                    let appended = change(self.topic.len() as i64, &format!("ep-{episode}"), kind);
                    self.topic.push(Change {
                        not_before: (put_off > 0).then_some(self.now + put_off),
                        ..appended
                    });
                }
            }
            Step::Append { .. } => {}
            Step::Read => {
                if let Some(next) = self.topic.get(self.read).cloned() {
                    self.read += 1;
                    if self.lane.knows(&next.alert_id) || self.rows.newest(&next.alert_id).is_none() {
                        self.lane.offer(next, self.now);
                    }
                }
            }
            Step::Send => {
                if let Some(shipment) = self.lane.next(self.now) {
                    self.check(&shipment)?;
                    self.under_way.push(shipment);
                    if self.lane.is_circuit_open() {
                        prop_assert!(self.lane.next(self.now).is_none(), "a second probe");
                    }
                }
            }
            Step::Answer { which, code } => {
                if !self.under_way.is_empty() {
                    let shipment = self.under_way.remove(which % self.under_way.len());
                    let finished = self
                        .lane
                        .finish(&shipment.alert_id, &status(code), self.now, self.now);
                    match finished.and_then(|finished| finished.switched) {
                        Some(Switched::Opened(pause)) => self.quiet_until = self.now + millis(pause),
                        Some(Switched::Closed) => self.quiet_until = i64::MIN,
                        None => {}
                    }
                }
            }
            Step::Record => {
                if let Some(entry) = self.unwritten.pop_front() {
                    for row in entry.rows() {
                        let key = (row.alert_id.clone(), row.attempt);
                        self.rows.0.insert(key, row.clone());
                    }
                    self.lane.recorded(&entry);
                }
            }
            Step::Reload => {
                if let Some((rows, limit)) = self.reading.take() {
                    self.lane.finish_reload(rows, limit, self.now);
                } else if let Some(reload) = self.lane.begin_reload(self.now) {
                    self.reading = Some((self.rows.waiting(reload.limit), reload.limit));
                }
            }
            Step::Pass { ms } => {
                self.now += ms;
                self.lane.set_aside(self.now);
            }
            Step::Kill => {
                self.lane = Lane::new(World::small());
                self.lane.assign(&[0], self.now);
                self.under_way.clear();
                self.unwritten.clear();
                self.reading = None;
                self.read = 0;
                self.quiet_until = i64::MIN;
            }
            Step::Replay { which } => self.replay(which),
        }
        self.unwritten.extend(self.lane.take_rows());
        let leaving = |job: &&Job| matches!(job.state, State::Recording);
        prop_assert!(self.lane.held() - self.lane.jobs.values().filter(leaving).count() <= 3);
        prop_assert!(self.under_way.len() <= 2);
        Ok(())
    }

    /// What `Store::replay` writes, and what the worker does about it. The store knows of later changes by
    /// their rows; one that has none yet may go before what is replayed in that moment (docs/operations.md).
    fn replay(&mut self, which: usize) {
        let Some(change) = self.topic.get(which) else {
            return;
        };
        let has_later = self.topic.iter().any(|other| {
            other.episode_id == change.episode_id
                && other.order > change.order
                && (self.rows.newest(&other.alert_id).is_some() || self.lane.knows(&other.alert_id))
        });
        let dead = self
            .rows
            .newest(&change.alert_id)
            .filter(|row| row.status == FAILED);
        if let Some(dead) = dead.cloned().filter(|_| !has_later) {
            let row = DeliveryRow {
                attempt: dead.attempt + 1,
                status: RETRYING.into(),
                next_attempt_at: Some(self.now),
                ..dead
            };
            self.rows.0.insert((row.alert_id.clone(), row.attempt), row);
            self.lane.requested(self.now);
            self.quiet_until = i64::MIN;
        }
    }

    fn check(&self, shipment: &Shipment) -> Result<(), TestCaseError> {
        let sent = self
            .topic
            .iter()
            .find(|change| change.alert_id == shipment.alert_id)
            .expect("it was offered");
        prop_assert!(
            self.now >= self.quiet_until,
            "{} is sent while the circuit is open",
            sent.alert_id
        );
        prop_assert!(
            !self.is_settled(sent),
            "{} is sent though it is settled",
            sent.alert_id
        );
        let began = self
            .topic
            .iter()
            .find(|change| change.episode_id == sent.episode_id);
        prop_assert!(
            began.is_none_or(|began| !self.is_suppressed(began)),
            "{} is sent though nobody heard of its opening",
            sent.alert_id
        );
        for other in &self.topic {
            let is_earlier = other.episode_id == sent.episode_id && other.order < sent.order;
            prop_assert!(
                !is_earlier || self.is_settled(other),
                "{} overtook {}",
                sent.alert_id,
                other.alert_id
            );
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// In whatever order things happen: of an episode only the oldest change that is not settled is
    /// sent, nothing is sent that is settled in the ledger, no more is held than may be, of an episode
    /// whose opening was not sent nothing is, and in the end every change of the topic is settled.
    #[test]
    fn order_bounds_and_completeness_hold_whatever_happens(steps in prop::collection::vec(step(), 1..250)) {
        let mut world = World::new();
        for step in steps {
            world.take(step)?;
        }
        for _ in 0..400 {
            for step in [
                Step::Read,
                Step::Send,
                Step::Answer { which: 0, code: 200 },
                Step::Record,
                Step::Reload,
                Step::Pass { ms: 1_000 },
            ] {
                world.take(step)?;
            }
        }
        for change in &world.topic {
            prop_assert!(world.is_settled(change), "{} is left", change.alert_id);
            let of_episode = world.topic.iter().filter(|other| other.episode_id == change.episode_id);
            let suppressed = of_episode.filter(|other| world.is_suppressed(other)).count();
            prop_assert!(suppressed == 0 || world.is_suppressed(change), "{} stands alone", change.alert_id);
        }
    }
}
