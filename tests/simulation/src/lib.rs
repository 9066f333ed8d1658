//! The pipeline in a simulated world, after the example of TigerBeetle: the real state machines of
//! `ingest` and `aggregate` run against a fake log, a fake ClickHouse and a fake clock, and one seed
//! decides what is sent, what fails, and when. A seed that breaks what must hold breaks it every time.

mod aggregate_process;
mod group;
mod ingest_process;
mod log;
mod oracle;
mod script;
mod tables;
mod world;

pub use world::{Failure, Report};

/// Runs the world of one seed to its end and looks at what it came to. With `poison` one event makes
/// folding panic, which takes the feature `planted-bugs`.
///
/// # Errors
/// What did not hold; with `traced`, also what happened last.
pub fn run(seed: u64, poison: bool, traced: bool) -> Result<Report, Failure> {
    let mut world = world::World::new(seed, poison, traced);
    let came_to = world.run().and_then(|()| oracle::judge(&mut world));
    came_to.map_err(|what| Failure {
        seed,
        what,
        trace: world.take_trace(),
    })?;
    Ok(world.report)
}
