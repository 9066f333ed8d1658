//! The short form of `cargo run -p faults -- kill-loop --kafka apache3`: Apache Kafka itself, of whose
//! three brokers one is killed while roles are. It runs wherever Maven answers, and says so where it
//! does not.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use faults::apache::{Apache, NotToBeHad};
use faults::cluster::Kafka;
use faults::kill_loop::{self, KillLoopArgs};

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_brokers_is_killed_among_the_roles_and_nothing_is_lost_or_doubled() -> anyhow::Result<()>
{
    match Apache::fetch().await {
        Err(error) if error.is::<NotToBeHad>() => {
            // Past the capture of the tests' output: nobody shall think that it was tried.
            writeln!(std::io::stderr(), "\nAPACHE KAFKA WAS NOT TRIED: {error}\n")?;
            return Ok(());
        }
        fetched => fetched?,
    }
    let summary = kill_loop::run(&KillLoopArgs {
        kills: 7,
        seed: 1,
        kafka: Kafka::Apache(3),
        rate: 800,
        accounts: 120,
        every_ms: 2_500,
        session_ms: 6_000,
        keep: false,
    })
    .await?;
    println!("{}", summary.lines());
    assert!(summary.broker_kills() > 0, "no broker was killed");
    Ok(())
}

#[test]
fn a_maven_that_does_not_answer_is_told_apart_from_a_failure() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let maven = folder.path().join("mvn");
    std::fs::write(&maven, "#!/bin/sh\necho '[ERROR] Connection refused'\nexit 1\n")?;
    std::fs::set_permissions(&maven, std::fs::Permissions::from_mode(0o755))?;
    let others = std::env::var("PATH").unwrap_or_default();
    let fetched = Command::new(tests::root().join("deploy/local/kafka"))
        .arg("fetch")
        .env("PATH", format!("{}:{others}", folder.path().display()))
        // Nothing was fetched there before.
        .env("CARGO_TARGET_DIR", folder.path())
        .output()?;
    let words = String::from_utf8_lossy(&fetched.stderr);
    assert_eq!(fetched.status.code(), Some(3), "{words}");
    // Without a Java it says that first.
    assert!(
        words.contains("Connection refused") || words.contains("Java"),
        "{words}"
    );
    Ok(())
}
