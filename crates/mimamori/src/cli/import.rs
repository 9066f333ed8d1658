//! The command line of `mimamori import`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Files of NDJSON; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The way in.
    #[arg(long, value_enum, default_value_t = Via::Kafka)]
    pub via: Via,
    /// The collector of --via http. Default what api.listen says.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The write key of --via http, or file:PATH.
    #[arg(long, value_name = "KEY", env = "MIMAMORI_WRITE_KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// Records a second. Default as fast as it goes.
    #[arg(long, value_name = "RECORDS")]
    pub rate: Option<f64>,
    /// The source that the events are labelled with, over Kafka; over HTTP the key says it. Default none:
    /// they count as the raw topic's own.
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Begin every file at its first line, wherever an earlier import came to.
    #[arg(long)]
    pub afresh: bool,
    /// Kafka's bootstrap addresses.
    #[arg(long, value_name = "HOST:PORT,…")]
    pub kafka_brokers: Option<String>,
}

/// How events get in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Via {
    /// To the raw topic; the fastest.
    Kafka,
    /// To the collector's /v1/events.
    Http,
}
