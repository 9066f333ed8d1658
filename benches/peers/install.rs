//! Fetching the peers, through the ordinary clients of their registries: a virtual environment for each Python
//! peer and a folder of jars for each Java one, under the target folder. A second run fetches nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, ensure};
use embedded::clickhouse::{CacheConfig, obtain_library};
use tokio::process::Command;
use tokio::task::spawn_blocking;

use crate::roster::{ClickHouse, Peer, Program};

/// Puts the jars that a project runs with into a folder.
const COPY_DEPENDENCIES: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// A peer that can be started.
#[derive(Clone, Debug)]
pub enum Installed {
    /// Cargo has built it.
    Mimamori,
    /// A program, and what it is told first.
    Program(PathBuf, Vec<OsString>),
}

/// Makes a peer ready to be started.
///
/// # Errors
/// What is missing, or what the registry's client says.
pub async fn install(peer: &Peer) -> anyhow::Result<Installed> {
    match &peer.program {
        Program::Mimamori => Ok(Installed::Mimamori),
        Program::Python {
            script,
            arguments,
            clickhouse,
        } => {
            let python = python(script).await?;
            let mut told = vec![folder().join(script).with_extension("py").into_os_string()];
            told.extend(arguments.iter().map(OsString::from));
            if *clickhouse == ClickHouse::Loaded {
                let library = spawn_blocking(|| {
                    let cache = CacheConfig::from_environment();
                    obtain_library(&cache, &mut |_| {})
                });
                told.extend(["--library".into(), library.await??.into_os_string()]);
            }
            Ok(Installed::Program(python, told))
        }
        Program::Java { project, class } => java(project, class).await,
    }
}

/// Where the peers are.
fn folder() -> PathBuf {
    tests::root().join("benches/peers")
}

/// The Python of a script: that of its own environment, or any where it requires nothing.
async fn python(script: &str) -> anyhow::Result<PathBuf> {
    let requirements = folder().join("requirements").join(script).with_extension("txt");
    let name = format!("peers-{script}");
    spawn_blocking(move || match requirements.is_file() {
        true => tests::python(&name, &requirements),
        false => tests::tool("python3", "install Python 3"),
    })
    .await?
}

async fn java(project: &str, class: &str) -> anyhow::Result<Installed> {
    let java = tests::tool("java", "install a JDK 17")?;
    let maven = tests::tool("mvn", "install Maven and a JDK 17")?;
    let built = tests::root().join("target/peers").join(project);
    let mut build = Command::new(maven);
    build
        .args(["--quiet", "--batch-mode", "--file"])
        .arg(folder().join(project).join("pom.xml"))
        .arg(property("built", &built))
        .args(["package", COPY_DEPENDENCIES, "-DincludeScope=runtime"])
        .arg(property("outputDirectory", &built.join("lib")))
        .stdin(Stdio::null());
    let ended = build.output().await.context("cannot run mvn")?;
    let told = String::from_utf8_lossy(&ended.stdout);
    ensure!(
        ended.status.success(),
        "mvn ended with {}: {}",
        ended.status,
        told.trim()
    );
    let mut jars = built.join("classes").into_os_string();
    jars.push(":");
    jars.push(built.join("lib/*"));
    Ok(Installed::Program(java, vec!["-cp".into(), jars, class.into()]))
}

fn property(name: &str, value: &Path) -> OsString {
    let mut text = OsString::from(format!("-D{name}="));
    text.push(value);
    text
}
