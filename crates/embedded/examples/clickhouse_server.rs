//! The embedded ClickHouse as a process of its own, until its standard input closes or it is
//! told to end.
//!
//! ```text
//! cargo run -p embedded --example clickhouse_server -- data_dir=/tmp/ch listen=127.0.0.1:0
//! ```
//!
//! Prints `ready URL` on standard output. Takes `password=`, `max_concurrent_statements=`,
//! `statement_timeout_seconds=`, `idle_timeout_seconds=` and `max_statement_bytes=` too.

use std::{
    error::Error,
    io::{Read, Write},
    time::Instant,
};

use embedded::clickhouse::{self, CacheConfig, Config, Phase};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = Config::default();
    for argument in std::env::args().skip(1) {
        let (name, value) = argument.split_once('=').ok_or("arguments are name=value")?;
        match name {
            "data_dir" => config.data_dir = value.into(),
            "listen" => config.listen = value.parse()?,
            "password" => config.password = Some(value.to_owned()),
            "max_concurrent_statements" => config.max_concurrent_statements = value.parse()?,
            "statement_timeout_seconds" => config.statement_timeout_seconds = value.parse()?,
            "queue_timeout_seconds" => config.queue_timeout_seconds = value.parse()?,
            "idle_timeout_seconds" => config.idle_timeout_seconds = value.parse()?,
            "max_statement_bytes" => config.max_statement_bytes = value.parse()?,
            "max_body_bytes" => config.max_body_bytes = value.parse()?,
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    let cache = CacheConfig::from_environment();
    config.library = tokio::task::spawn_blocking(move || {
        let mut last = None;
        clickhouse::obtain_library(&cache, &mut |progress| {
            if last.replace(progress.phase) != Some(progress.phase) {
                eprintln!("{}", phase_name(progress.phase));
            }
        })
    })
    .await??;

    let started = Instant::now();
    let engine = clickhouse::start(config).await?;
    eprintln!("started in {} ms", started.elapsed().as_millis());
    println!("ready {}", engine.url());
    std::io::stdout().flush()?;
    let mut terminated = signal(SignalKind::terminate())?;
    let closed = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    tokio::select! {
        _ = terminated.recv() => {}
        _ = closed => {}
    }
    let stopping = Instant::now();
    let stopped = engine.shutdown().await;
    eprintln!("stopped in {} ms", stopping.elapsed().as_millis());
    stopped?;
    // The read of standard input may still be waiting on a thread of the runtime.
    std::process::exit(0)
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waiting for another process that fetches the engine",
        Phase::Downloading => "downloading the engine",
        Phase::Unpacking => "verifying and unpacking the engine",
    }
}
