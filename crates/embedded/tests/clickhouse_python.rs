//! The embedded ClickHouse through Python's `clickhouse-connect`.
#![allow(clippy::unwrap_used, reason = "a test's helper fails like the test")]

mod clickhouse_support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use clickhouse_support::{Server, serve_as_told};

#[test]
#[ignore = "serves the other tests"]
fn server() {
    serve_as_told();
}

/// Python with what the script needs, in a virtual environment under the target folder.
fn python(requirements: &Path) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let environment = target.join("clickhouse-connect-venv");
    let python = environment.join("bin").join("python");
    // Written last: an environment without it broke off.
    let complete = environment.join("complete");
    let wanted = fs::read_to_string(requirements).unwrap();
    if fs::read_to_string(&complete).ok().as_ref() != Some(&wanted) {
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&environment));
        let install = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ];
        run(Command::new(&python).args(install).arg(requirements));
        fs::write(&complete, wanted).unwrap();
    }
    python
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?} does not run ({error}): python3 with venv and pip is needed for this test")
    });
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

#[test]
fn clickhouse_connect_works_against_it() {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/clickhouse");
    let python = python(&scripts.join("requirements.txt"));
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    let script = scripts.join("roundtrip.py");
    let address = server.address;
    let output = run(Command::new(python)
        .arg(script)
        .args([address.ip().to_string(), address.port().to_string()]));
    assert_eq!(output, "done\n");
}
