//! A bounded run of every target: what is kept in `corpus`, what is made, and then for a few seconds what
//! [`fuzz::mutate`] makes of both.
//!
//! Besides what the targets hold themselves, an input may take no more than [`MOST_TIME`] and the target's
//! memory. One that fails is written to `target/tmp` and named; `FUZZ_SEED` and `FUZZ_SECONDS` (for each target)
//! change the run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fuzz::mutate::Mutator;
use fuzz::{TARGETS, Target};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The most time on a processor for an input of at most 64 KiB: some ten times what the slowest take without
/// optimisation, and far below what a quadratic walk over them would.
const MOST_TIME: Duration = Duration::from_secs(1);

/// How often an input that took too long is tried again: the machine may have been busy.
const TRIES: usize = 3;

/// Inputs whose kind of answer was new are changed further, up to so many.
const LARGEST_POOL: usize = 2_000;

const SECONDS: f64 = 2.5;
const SEED: u64 = 0x6d69_6d61_6d6f_7269;

/// Memory is counted for the whole process, so targets run one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

macro_rules! bounded_runs {
    ($($name:ident)*) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];

        $(#[test]
        fn $name() {
            run(Target::named(stringify!($name)).unwrap());
        })*
    };
}

bounded_runs! {
    native segment cloudevents segment_batch collector_request event_record alert_record account_state
    account_life configuration rules http kafka_request kafka_records clickhouse_request
}

#[test]
fn every_target_has_its_test_its_corpus_and_its_file_for_cargo_fuzz() {
    let manifest = std::fs::read_to_string(fuzz::folder().join("cargo-fuzz/Cargo.toml")).unwrap();
    for target in TARGETS {
        let name = target.name;
        assert!(TESTED.contains(&name), "{name} is not among the bounded runs");
        assert!(!target.corpus().unwrap().is_empty(), "corpus/{name} is empty");
        assert!(
            !target.words().unwrap().is_empty(),
            "the dictionary of {name} is empty"
        );
        let source = fuzz::folder().join(format!("cargo-fuzz/fuzz_targets/{name}.rs"));
        assert!(source.is_file(), "{} is missing", source.display());
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "{name} is no target of cargo fuzz"
        );
    }
}

/// What a run has seen.
#[derive(Default)]
struct Seen {
    inputs: u64,
    kinds: BTreeMap<String, u64>,
    slowest: Duration,
    slowest_bytes: usize,
    most_memory: usize,
}

fn run(target: &Target) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let seconds: f64 = setting("FUZZ_SECONDS").unwrap_or(SECONDS);
    let seed: u64 = setting("FUZZ_SEED").unwrap_or(SEED);
    let current = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}", target.name));
    let mut seen = Seen::default();

    let mut pool = Vec::new();
    for (name, input) in target.corpus().unwrap() {
        check(
            target,
            &input,
            &current,
            &format!("corpus/{}/{name}", target.name),
            &mut seen,
        );
        pool.push(input);
    }
    for (number, input) in (target.seeds)().into_iter().enumerate() {
        check(target, &input, &current, &format!("seed {number}"), &mut seen);
        pool.push(input);
    }
    for kind in target.must_reach {
        let reached: Vec<&String> = seen.kinds.keys().collect();
        assert!(
            seen.kinds.contains_key(*kind),
            "{kind:?} is not reached, only {reached:?}"
        );
    }

    let mut mutator = Mutator::new(seed, target.words().unwrap(), target.dictionary == "protobuf");
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let first = seen.inputs;
    let began = Instant::now();
    while Instant::now() < until {
        let input = mutator.next(&pool);
        let origin = format!("input {} of seed {seed}", seen.inputs - first);
        let is_new = check(target, &input, &current, &origin, &mut seen);
        if is_new && pool.len() < LARGEST_POOL {
            pool.push(input);
        }
    }
    println!(
        "{}: {} inputs, {:.0} a second, {} kinds of answers; at most {:.1} ms (for {} bytes) and {} KiB",
        target.name,
        seen.inputs,
        (seen.inputs - first) as f64 / began.elapsed().as_secs_f64(),
        seen.kinds.len(),
        seen.slowest.as_secs_f64() * 1e3,
        seen.slowest_bytes,
        seen.most_memory / 1024,
    );
    if setting::<bool>("FUZZ_KINDS").unwrap_or(false) {
        for (kind, count) in &seen.kinds {
            println!("    {count:>8} {kind}");
        }
    }
    std::fs::remove_file(&current).unwrap();
}

/// Runs one input; returns whether the kind of its answer was new.
fn check(target: &Target, input: &[u8], current: &PathBuf, origin: &str, seen: &mut Seen) -> bool {
    // Before it is run: should the process die of it, the file is what is left.
    std::fs::write(current, input).unwrap();
    let mut time = Duration::MAX;
    let mut answer = String::new();
    for _ in 0..TRIES {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let began = busy();
        let ended = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
        time = time.min(busy() - began);
        let memory = MEMORY.peak_usage().saturating_sub(before);
        let at = current.display();
        answer = match ended {
            Ok(answer) => answer,
            Err(_) => panic!("{}: {origin} panicked; it is in {at}", target.name),
        };
        assert!(
            memory <= target.most_memory,
            "{}: {origin} ({} bytes) took {} KiB of memory; it is in {at}",
            target.name,
            input.len(),
            memory / 1024
        );
        seen.most_memory = seen.most_memory.max(memory);
        if time <= MOST_TIME {
            break;
        }
    }
    assert!(
        time <= MOST_TIME,
        "{}: {origin} ({} bytes) took {time:?}; it is in {}",
        target.name,
        input.len(),
        current.display()
    );
    if time > seen.slowest {
        (seen.slowest, seen.slowest_bytes) = (time, input.len());
    }
    seen.inputs += 1;
    let count = seen.kinds.entry(answer).or_default();
    *count += 1;
    *count == 1
}

/// How long this process has kept processors busy: other processes do not count.
fn busy() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap()
}

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}")))
}
