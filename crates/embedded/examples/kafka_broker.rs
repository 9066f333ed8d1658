//! Runs the embedded broker until it is interrupted: `kafka_broker [FOLDER [ADDRESS]]`.

use std::error::Error;
use std::path::PathBuf;

use embedded::kafka::{Config, start};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut arguments = std::env::args().skip(1);
    let mut config = Config::default();
    if let Some(folder) = arguments.next() {
        config.data_dir = PathBuf::from(folder);
    }
    if let Some(address) = arguments.next() {
        config.listen = address.parse()?;
    }
    let broker = start(config).await?;
    println!("{}", broker.address());
    tokio::signal::ctrl_c().await?;
    Ok(broker.shutdown().await?)
}
