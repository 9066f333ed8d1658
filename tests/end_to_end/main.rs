//! The whole chain, by the real command: events from Kafka become scores in ClickHouse and a signed
//! webhook, and nothing is lost or doubled when it is killed.

mod actions;
mod browser;
mod clients;
mod collector;
mod faults;
mod import;
mod life;
mod rebuild;
mod rejected;
mod servers;
mod snippets;
