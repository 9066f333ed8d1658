use super::*;

fn span(partition: i32, first: i64, end: i64) -> Span {
    Span {
        partition,
        first,
        end,
    }
}

fn checkpoint(partition: i32, next_offset: i64) -> Checkpoint {
    Checkpoint {
        partition,
        version: 1,
        next_offset,
        watermark: 0,
        partitions: 2,
        saved_at: 0,
        accounts: 0,
    }
}

#[test]
fn a_checkpoint_holds_as_far_as_the_log_is_the_same() {
    let until = |known: Option<i64>, limit: i64, first: i64, end: i64| {
        let checkpoints: Vec<Checkpoint> = known.map(|next| checkpoint(0, next)).into_iter().collect();
        landed_until(&[span(0, first, end)], &checkpoints, &[limit])[0]
    };
    assert_eq!(until(Some(70), 100, 0, 100), 70, "all is well");
    assert_eq!(
        until(Some(100), 50, 0, 60),
        50,
        "the end of the log was lost, then it grew"
    );
    assert_eq!(until(Some(100), 0, 0, 0), 0, "the log was lost");
    assert_eq!(
        until(Some(70), 100, 80, 100),
        80,
        "records went before they were read"
    );
    assert_eq!(
        until(None, 100, 20, 100),
        20,
        "without a checkpoint nothing is known to have landed"
    );
    assert_eq!(
        landed_until(&[], &[checkpoint(0, 9)], &[i64::MAX]),
        [0],
        "a partition that is yet to come"
    );
}

#[test]
fn a_rebuild_goes_on_only_with_the_same_parameters_and_the_same_log() {
    let asked = Rebuild {
        model_hash: "m".to_string(),
        partitions: 2,
        ..Rebuild::default()
    };
    assert!(is_the_same(&asked, &asked));
    for other in [
        Rebuild {
            model_hash: "n".to_string(),
            ..asked.clone()
        },
        Rebuild {
            since: Some(5),
            ..asked.clone()
        },
        Rebuild {
            partitions: 3,
            ..asked.clone()
        },
    ] {
        assert!(!is_the_same(&other, &asked), "{other:?}");
    }
    let spans = [span(0, 5, 9), span(1, 0, 0)];
    let cut_at = |cuts: &[i64]| Rebuild {
        next_offsets: cuts.to_vec(),
        ..asked.clone()
    };
    assert!(is_in_the_log(&cut_at(&[]), &spans), "not cut yet");
    assert!(is_in_the_log(&cut_at(&[9, 0]), &spans));
    assert!(!is_in_the_log(&cut_at(&[4, 0]), &spans), "records went meanwhile");
    assert!(
        !is_in_the_log(&cut_at(&[5, 1]), &spans),
        "the log was lost meanwhile"
    );
    assert!(!is_in_the_log(&cut_at(&[5]), &spans), "it has grown");
}

#[test]
fn versions_are_above_all_that_there_were() {
    let newest = (7 << COUNTER_BITS) | 99;
    let versions = Versions::above(newest);
    let given = [versions.next(), versions.next()];
    assert!(versions.first() > newest && given[0] > versions.first() && given[1] > given[0]);
}
