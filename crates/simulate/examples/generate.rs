//! How much a simulation makes, and how fast: `cargo run --release -p simulate --example generate -- [ACCOUNTS] [MONTHS]`.

use std::collections::BTreeMap;
use std::time::Instant;

use simulate::{Config, Kind, simulate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse::<u32>());
    let accounts = numbers.next().transpose()?.unwrap_or(2_000);
    let months = numbers.next().transpose()?.unwrap_or(9);
    let config = Config {
        accounts: accounts as usize,
        months,
        ..Config::demo(1_790_000_000_000 /* September 2026 */)
    };

    let began = Instant::now();
    let mut simulation = simulate(&config)?;
    let drawn = began.elapsed();
    let estimated = simulation.estimated_total();
    let (mut records, mut bytes, mut events) = (0u64, 0u64, 0u64);
    let began = Instant::now();
    for emission in &mut simulation {
        records += 1;
        bytes += emission.payload.len() as u64;
        events += u64::from(emission.kind == Kind::Event);
    }
    let seconds = began.elapsed().as_secs_f64();

    let mut kinds = BTreeMap::new();
    for account in simulation.truth() {
        *kinds.entry(account.archetype.as_str()).or_insert(0u32) += 1;
    }
    let churned = simulation
        .truth()
        .iter()
        .filter(|account| account.churned_at.is_some())
        .count();
    println!(
        "{accounts} accounts, {months} months, drawn in {:.2} s",
        drawn.as_secs_f64()
    );
    println!(
        "{records} records ({estimated} estimated), {events} distinct events, {} bytes each",
        bytes / records
    );
    println!("{seconds:.2} s, {:.0} records/s", records as f64 / seconds);
    println!("{churned} churned; {kinds:?}");
    Ok(())
}
