//! Other people's programs and packages that tests use. What is missing fails the test, with what to install.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};

use crate::root;

/// One test installs what is missing, the others wait.
static INSTALLING: Mutex<()> = Mutex::new(());

/// The path of a program.
///
/// # Errors
/// It is not there: says how it is installed.
pub fn tool(name: &str, install: &str) -> anyhow::Result<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.with_context(|| format!("{name} is missing: {install}"))
}

/// A real browser.
///
/// # Errors
/// It is not there: says how it is installed.
pub fn browser() -> anyhow::Result<PathBuf> {
    tool("chromium", "apt-get install --no-install-recommends chromium")
}

/// The Python of a virtual environment under the target folder with these requirements; made when
/// it is missing or they changed.
///
/// # Errors
/// Says what to install.
pub fn python(name: &str, requirements: &Path) -> anyhow::Result<PathBuf> {
    let venv = root().join("target").join(format!("venv-{name}"));
    let python = venv.join("bin/python");
    let wanted = std::fs::read_to_string(requirements)?;
    made_once(&venv.join("requirements.txt"), &wanted, || {
        let install = "install Python 3 with venv and pip";
        let arguments = ["-m".as_ref(), "venv".as_ref(), venv.as_os_str()];
        run(Path::new("python3"), &arguments, &root(), install)?;
        let arguments = ["-m", "pip", "install", "-q", "-r"].map(OsStr::new);
        let arguments = [&arguments[..], &[requirements.as_os_str()]].concat();
        run(&python, &arguments, &root(), install)
    })?;
    Ok(python)
}

/// The folder under the target folder in which npm has installed what `package.json` of a folder names, in
/// `node_modules`; done when that is missing or changed.
///
/// # Errors
/// Says what to install.
pub fn node_modules(name: &str, scripts: &Path) -> anyhow::Result<PathBuf> {
    let folder = root().join("target").join(format!("node-{name}"));
    let wanted = std::fs::read_to_string(scripts.join("package.json"))?;
    made_once(&folder.join("installed.json"), &wanted, || {
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("package.json"), &wanted)?;
        let arguments = ["install", "--no-audit", "--no-fund"].map(OsStr::new);
        run(Path::new("npm"), &arguments, &folder, "install Node.js with npm")
    })?;
    Ok(folder)
}

/// Makes what the stamp stands for, unless it was made of the same.
fn made_once(stamp: &Path, wanted: &str, make: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if std::fs::read_to_string(stamp).is_ok_and(|made| made == wanted) {
        return Ok(());
    }
    make()?;
    std::fs::write(stamp, wanted)?;
    Ok(())
}

fn run(program: &Path, arguments: &[&OsStr], folder: &Path, install: &str) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    let Output { status, stderr, .. } = command
        .output()
        .with_context(|| format!("cannot run {}: {install}", program.display()))?;
    let told = String::from_utf8_lossy(&stderr);
    ensure!(
        status.success(),
        "{} {arguments:?} ended with {status}: {install}\n{told}",
        program.display()
    );
    Ok(())
}
