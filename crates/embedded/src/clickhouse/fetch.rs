//! The engine's library: found, or fetched once and kept.
//!
//! What is kept true:
//! - a file under the library's final name is whole, was verified against the checksum below,
//!   and is on disk: it is written under another name, synced, and renamed;
//! - processes that fetch at the same time take turns by a lock file, and the later ones find
//!   what the first has fetched;
//! - the archive comes through the user's own `npm`, so registry, proxy and credentials are as
//!   the user has set them, and nothing of it is run.

use std::{
    env,
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use base64::Engine as _;
use flate2::bufread::GzDecoder;
use sha2::{Digest, Sha512};

/// How often a running download and a held lock are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Progress is told at least every so many bytes.
const TELL_EVERY_BYTES: u64 = 4 << 20;

/// What of npm's own messages goes into an error.
const QUOTED_BYTES: usize = 600;

/// The package that holds the library.
struct Package {
    name: &'static str,
    version: &'static str,
    /// Base64 of the archive's SHA-512.
    sha512: String,
    /// The library's place in the archive, and its name in the cache.
    member: &'static str,
    file: &'static str,
    /// The archive's size.
    archive_bytes: u64,
    /// The library's size.
    bytes: u64,
    /// Whether it runs on this machine.
    fits: bool,
}

fn package() -> Package {
    Package {
        name: "@chdb/lib-linux-x64-gnu",
        version: "26.7.3-stable.1",
        sha512: "XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw=="
            .into(),
        member: "package/libchdb.so",
        file: "libchdb.so",
        archive_bytes: 177_817_999,
        bytes: 566_330_096,
        fits: cfg!(all(
            target_os = "linux",
            target_arch = "x86_64",
            target_env = "gnu"
        )),
    }
}

/// Where the library is looked for, and how long fetching it may take.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// A library that is there already; nothing is fetched then, and nothing verified. Default
    /// none; `MIMAMORI_LIBCHDB` in the environment.
    pub library: Option<PathBuf>,
    /// Folder in which a fetched library is kept. Default `$XDG_CACHE_HOME/mimamori` or
    /// `~/.cache/mimamori`; `MIMAMORI_CACHE_DIR` in the environment.
    pub folder: Option<PathBuf>,
    /// How long a download, or another process's, may take, in seconds. Default 1800.
    pub timeout_seconds: u64,
}

impl Default for CacheConfig {
    fn default() -> CacheConfig {
        let set = |name| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let folder = set("XDG_CACHE_HOME")
            .filter(|folder| folder.is_absolute())
            .or_else(|| set("HOME").map(|home| home.join(".cache")))
            .map(|cache| cache.join("mimamori"));
        CacheConfig {
            library: None,
            folder,
            timeout_seconds: 1800,
        }
    }
}

impl CacheConfig {
    /// The defaults, overridden by `MIMAMORI_LIBCHDB` and `MIMAMORI_CACHE_DIR`.
    pub fn from_environment() -> CacheConfig {
        let set = |name| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let defaults = CacheConfig::default();
        CacheConfig {
            library: set("MIMAMORI_LIBCHDB"),
            folder: set("MIMAMORI_CACHE_DIR").or(defaults.folder),
            ..defaults
        }
    }
}

/// What fetching is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Another process fetches; this one waits for it.
    Waiting,
    /// `npm` downloads the archive.
    Downloading,
    /// The archive is verified and the library taken out of it.
    Unpacking,
}

/// How far fetching is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Bytes of the archive that are through; 0 where that cannot be seen.
    pub done: u64,
    /// The archive's size in bytes, once it is known.
    pub total: Option<u64>,
}

/// Why there is no library.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The file that was named is not there.
    #[error("MIMAMORI_LIBCHDB names {}, which is no file", .0.display())]
    NotThere(PathBuf),
    /// There is no library for this kind of machine.
    #[error(
        "the embedded ClickHouse runs on Linux x86_64 with glibc only, and this is {os} {arch}: \
         give --clickhouse-url to use a ClickHouse server"
    )]
    Unsupported {
        /// This machine's system.
        os: &'static str,
        /// This machine's processor.
        arch: &'static str,
    },
    /// Neither a folder nor a home to keep the library in.
    #[error("no folder to keep the ClickHouse engine in: set MIMAMORI_CACHE_DIR or HOME")]
    NoFolder,
    /// There is no `npm` to fetch with.
    #[error(
        "cannot fetch the ClickHouse engine: npm is not installed; install npm, give --clickhouse-url to use \
         a ClickHouse server, or set MIMAMORI_LIBCHDB to a libchdb.so"
    )]
    NpmMissing,
    /// `npm` did not fetch the archive.
    #[error("npm could not fetch {package} ({status}): {output}")]
    NpmFailed {
        /// What was asked for.
        package: String,
        /// How npm ended.
        status: String,
        /// The end of what it said.
        output: String,
    },
    /// The time was over.
    #[error("the ClickHouse engine was not fetched within {0} s: try again, or give --clickhouse-url")]
    TimedOut(u64),
    /// The archive is not the one that was published.
    #[error("the archive of {package} has SHA-512 {found} in place of {wanted}: it was not kept")]
    Checksum {
        /// What was fetched.
        package: String,
        /// What it should be, in Base64.
        wanted: String,
        /// What it is, in Base64.
        found: String,
    },
    /// The archive does not hold the library.
    #[error("the archive of {package} cannot be unpacked: {reason}")]
    Archive {
        /// What was fetched.
        package: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("cannot keep the ClickHouse engine in {}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The library's path; fetched first where it is not there yet. Blocks for as long as that takes.
///
/// # Errors
/// See [`FetchError`]; each says what to do.
pub fn obtain_library(
    cache: &CacheConfig,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, FetchError> {
    obtain(&package(), cache, None, progress)
}

/// `search_path` takes the place of `PATH` in looking for npm.
fn obtain(
    package: &Package,
    cache: &CacheConfig,
    search_path: Option<OsString>,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, FetchError> {
    if let Some(library) = &cache.library {
        return if library.is_file() {
            Ok(library.clone())
        } else {
            Err(FetchError::NotThere(library.clone()))
        };
    }
    if !package.fits {
        return Err(FetchError::Unsupported {
            os: env::consts::OS,
            arch: env::consts::ARCH,
        });
    }
    let cache_folder = cache.folder.as_ref().ok_or(FetchError::NoFolder)?;
    let folder = cache_folder.join("clickhouse").join(package.version);
    let library = folder.join(package.file);
    if is_whole(&library, package) {
        return Ok(library);
    }

    fs::create_dir_all(&folder).map_err(at(&folder))?;
    let deadline = Instant::now() + Duration::from_secs(cache.timeout_seconds);
    let late = || FetchError::TimedOut(cache.timeout_seconds);
    let _lock = take_lock(&folder.join("lock"), deadline, progress)?.ok_or_else(late)?;
    if is_whole(&library, package) {
        return Ok(library);
    }
    // Whoever holds the lock is alone: what is left here broke off.
    let work = folder.join("fetching");
    remove_folder(&work).map_err(at(&work))?;
    fs::create_dir(&work).map_err(at(&work))?;
    let fetched = download(package, &work, search_path, deadline, progress)
        .and_then(|archive| archive.ok_or_else(late))
        .and_then(|archive| unpack(package, &archive, &work.join(package.file), progress))
        .and_then(|unpacked| keep(&unpacked, &library));
    let removed = remove_folder(&work).map_err(at(&work));
    fetched.and(removed)?;
    Ok(library)
}

fn is_whole(library: &Path, package: &Package) -> bool {
    fs::metadata(library).is_ok_and(|metadata| metadata.is_file() && metadata.len() == package.bytes)
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// `None` when another process held the lock to the end.
fn take_lock(
    path: &Path,
    deadline: Instant,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<File>, FetchError> {
    let lock = File::create(path).map_err(at(path))?;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(Some(lock)),
            Err(TryLockError::Error(source)) => return Err(at(path)(source)),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return Ok(None),
            Err(TryLockError::WouldBlock) => {
                progress(Progress {
                    phase: Phase::Waiting,
                    done: 0,
                    total: None,
                });
                thread::sleep(LOOK_EVERY);
            }
        }
    }
}

/// Lets npm fetch the archive; `None` when the time was over.
fn download(
    package: &Package,
    work: &Path,
    search_path: Option<OsString>,
    deadline: Instant,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<PathBuf>, FetchError> {
    let wanted = format!("{}@{}", package.name, package.version);
    let messages_path = work.join("npm.log");
    let messages = File::create(&messages_path).map_err(at(&messages_path))?;
    let mut npm = Command::new("npm");
    npm.args(["pack", &wanted, "--pack-destination"]).arg(work);
    npm.stdin(Stdio::null()).stdout(Stdio::null()).stderr(messages);
    if let Some(search_path) = search_path {
        npm.env("PATH", search_path);
    }
    let mut child = match npm.spawn() {
        Ok(child) => Running(child),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(FetchError::NpmMissing),
        Err(source) => {
            return Err(FetchError::File {
                path: "npm".into(),
                source,
            });
        }
    };
    let status = loop {
        if let Some(status) = child.0.try_wait().map_err(at(Path::new("npm")))? {
            break status;
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        // npm shows the file only when it has most of it, so mostly this says 0.
        let done = archive_in(work)
            .and_then(|path| fs::metadata(path).ok())
            .map_or(0, |metadata| metadata.len());
        progress(Progress {
            phase: Phase::Downloading,
            done,
            total: Some(package.archive_bytes),
        });
        thread::sleep(LOOK_EVERY);
    };
    match archive_in(work) {
        Some(archive) if status.success() => Ok(Some(archive)),
        _ => {
            let messages = fs::read(&messages_path).unwrap_or_default();
            let output = tail(&messages);
            Err(FetchError::NpmFailed {
                package: wanted,
                status: status.to_string(),
                output,
            })
        }
    }
}

/// A child that does not outlive its purpose.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, save when the time was over.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn archive_in(work: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(work).ok()?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|name| name == "tgz"))
}

/// The end of npm's messages, on one line.
fn tail(messages: &[u8]) -> String {
    let start = messages.len().saturating_sub(QUOTED_BYTES);
    let text = String::from_utf8_lossy(&messages[start..]);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    if lines.is_empty() {
        "it said nothing".to_owned()
    } else {
        lines.join("; ")
    }
}

/// Takes the library out of the archive and verifies the archive in the same pass.
fn unpack(
    package: &Package,
    archive: &Path,
    to: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, FetchError> {
    let name = format!("{}@{}", package.name, package.version);
    let broken = |reason: String| FetchError::Archive {
        package: name.clone(),
        reason,
    };
    let file = File::open(archive).map_err(at(archive))?;
    let total = file.metadata().map_err(at(archive))?.len();
    let mut reader = BufReader::with_capacity(1 << 20, Hashed::new(file, total, progress));
    let unpacked = take_member(package, &mut reader, to);
    // To the archive's end, whatever the member said: the checksum covers all of it.
    let mut hashed = reader.into_inner();
    io::copy(&mut hashed, &mut io::sink()).map_err(at(archive))?;
    let found = base64::engine::general_purpose::STANDARD.encode(hashed.hash.finalize());
    if found != package.sha512 {
        return Err(FetchError::Checksum {
            package: name,
            wanted: package.sha512.clone(),
            found,
        });
    }
    match unpacked.map_err(|error| broken(error.to_string()))? {
        Some(bytes) if bytes == package.bytes => Ok(to.to_owned()),
        Some(bytes) => Err(broken(format!(
            "{} has {bytes} bytes in place of {}",
            package.member, package.bytes
        ))),
        None => Err(broken(format!("{} is not in it", package.member))),
    }
}

/// Writes the library to `to` and returns its size; `None` when it is not in the archive.
fn take_member(package: &Package, archive: &mut impl io::BufRead, to: &Path) -> io::Result<Option<u64>> {
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    for entry in archive.entries()? {
        let entry = entry?;
        if entry.path()? != Path::new(package.member) {
            continue;
        }
        let mut file = File::create(to)?;
        let bytes = io::copy(&mut entry.take(package.bytes + 1), &mut file)?;
        file.flush()?;
        file.sync_all()?;
        return Ok(Some(bytes));
    }
    Ok(None)
}

/// Gives the library its name, for good.
fn keep(unpacked: &Path, library: &Path) -> Result<(), FetchError> {
    fs::rename(unpacked, library).map_err(at(library))?;
    let folder = library.parent().unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(at(folder))
}

fn at(path: &Path) -> impl Fn(io::Error) -> FetchError + use<> {
    let path = path.to_owned();
    move |source| FetchError::File {
        path: path.clone(),
        source,
    }
}

/// A reader that hashes what passes and tells how far it is.
struct Hashed<'a, R> {
    inner: R,
    hash: Sha512,
    done: u64,
    told: u64,
    total: u64,
    progress: &'a mut dyn FnMut(Progress),
}

impl<'a, R> Hashed<'a, R> {
    fn new(inner: R, total: u64, progress: &'a mut dyn FnMut(Progress)) -> Hashed<'a, R> {
        Hashed {
            inner,
            hash: Sha512::new(),
            done: 0,
            told: 0,
            total,
            progress,
        }
    }
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.done += read as u64;
        if self.done - self.told >= TELL_EVERY_BYTES || (read == 0 && self.told < self.done) {
            self.told = self.done;
            (self.progress)(Progress {
                phase: Phase::Unpacking,
                done: self.done,
                total: Some(self.total),
            });
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const CONTENT: &[u8] = b"not really a library";

    fn archive(member: &str) -> Vec<u8> {
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut archive = tar::Builder::new(gzip);
        for (name, content) in [("package/package.json", b"{}".as_slice()), (member, CONTENT)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, name, content).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap()
    }

    /// A package, a cache and an npm that hands over `archive` and counts its calls.
    struct Setup {
        folder: tempfile::TempDir,
        package: Package,
        cache: CacheConfig,
    }

    impl Setup {
        fn new(archive: &[u8], script: &str) -> Setup {
            let folder = tempfile::tempdir().unwrap();
            let bin = folder.path().join("bin");
            fs::create_dir(&bin).unwrap();
            fs::write(folder.path().join("archive.tgz"), archive).unwrap();
            let root = folder.path().display();
            let text = folder.path().join("npm.sh");
            fs::write(
                &text,
                format!("#!/bin/sh\nroot='{root}'\necho \"$@\" >>\"$root/calls\"\n{script}\n"),
            )
            .unwrap();
            fs::set_permissions(&text, fs::Permissions::from_mode(0o755)).unwrap();
            // Copied by a child: a file that this process has open for writing while another test
            // forks cannot be run.
            let copied = Command::new("cp")
                .arg("-p")
                .arg(&text)
                .arg(bin.join("npm"))
                .status()
                .unwrap();
            assert!(copied.success());
            let package = Package {
                name: "@test/library",
                version: "1.2.3",
                sha512: base64::engine::general_purpose::STANDARD.encode(Sha512::digest(archive)),
                member: "package/libchdb.so",
                file: "libchdb.so",
                archive_bytes: 0,
                bytes: CONTENT.len() as u64,
                fits: true,
            };
            let cache = CacheConfig {
                library: None,
                folder: Some(folder.path().join("cache")),
                timeout_seconds: 20,
            };
            Setup {
                folder,
                package,
                cache,
            }
        }

        fn good() -> Setup {
            Setup::new(
                &archive("package/libchdb.so"),
                "/bin/cp \"$root/archive.tgz\" \"$4/test-library-1.2.3.tgz\"",
            )
        }

        fn obtain(&self) -> Result<PathBuf, FetchError> {
            self.obtain_with(&mut |_| {})
        }

        fn obtain_with(&self, progress: &mut dyn FnMut(Progress)) -> Result<PathBuf, FetchError> {
            let path = self.folder.path().join("bin").into_os_string();
            obtain(&self.package, &self.cache, Some(path), progress)
        }

        fn calls(&self) -> Vec<String> {
            let calls = fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default();
            calls.lines().map(str::to_owned).collect()
        }

        fn version_folder(&self) -> PathBuf {
            self.folder.path().join("cache/clickhouse/1.2.3")
        }
    }

    #[test]
    fn the_library_is_fetched_once_and_kept() {
        let setup = Setup::good();
        let mut phases = Vec::new();
        let library = setup
            .obtain_with(&mut |progress| phases.push(progress.phase))
            .unwrap();
        assert_eq!(fs::read(&library).unwrap(), CONTENT);
        assert_eq!(setup.obtain().unwrap(), library);
        let calls = setup.calls();
        assert_eq!(calls.len(), 1);
        assert!(calls[0].starts_with("pack @test/library@1.2.3 --pack-destination "));
        assert!(phases.contains(&Phase::Downloading) && phases.last() == Some(&Phase::Unpacking));
        assert!(!setup.version_folder().join("fetching").exists());
    }

    #[test]
    fn an_archive_with_another_checksum_is_not_kept() {
        let mut setup = Setup::good();
        setup.package.sha512 = "AAAA".into();
        assert!(matches!(setup.obtain(), Err(FetchError::Checksum { .. })));
        assert!(!setup.version_folder().join("libchdb.so").exists());
        // Garbage fails by its checksum too, not by being no archive.
        let setup = Setup {
            package: setup.package,
            ..Setup::new(b"garbage", "/bin/cp \"$root/archive.tgz\" \"$4/a.tgz\"")
        };
        assert!(matches!(setup.obtain(), Err(FetchError::Checksum { .. })));
    }

    #[test]
    fn an_archive_without_the_library_is_refused() {
        let script = "/bin/cp \"$root/archive.tgz\" \"$4/a.tgz\"";
        let setup = Setup::new(&archive("package/other.so"), script);
        assert!(matches!(setup.obtain(), Err(FetchError::Archive { .. })));
        let mut setup = Setup::new(&archive("package/libchdb.so"), script);
        setup.package.bytes += 1;
        assert!(matches!(setup.obtain(), Err(FetchError::Archive { .. })));
    }

    #[test]
    fn a_missing_npm_is_named() {
        let setup = Setup::good();
        fs::remove_file(setup.folder.path().join("bin/npm")).unwrap();
        let error = setup.obtain().unwrap_err();
        assert!(matches!(error, FetchError::NpmMissing));
        let text = error.to_string();
        assert!(
            text.contains("install npm")
                && text.contains("--clickhouse-url")
                && text.contains("MIMAMORI_LIBCHDB")
        );
    }

    #[test]
    fn a_failing_npm_is_quoted() {
        let setup = Setup::new(b"", "echo 'npm error 404 no such version' >&2; exit 1");
        let error = setup.obtain().unwrap_err().to_string();
        assert!(
            error.contains("404 no such version") && error.contains("@test/library@1.2.3"),
            "{error}"
        );
    }

    #[test]
    fn a_stuck_npm_is_given_up() {
        let mut setup = Setup::new(b"", "exec /bin/sleep 600");
        setup.cache.timeout_seconds = 1;
        assert!(matches!(setup.obtain(), Err(FetchError::TimedOut(1))));
    }

    #[test]
    fn what_an_interrupted_fetch_left_is_ignored() {
        let setup = Setup::good();
        let torn = setup.version_folder().join("fetching");
        fs::create_dir_all(&torn).unwrap();
        fs::write(torn.join("libchdb.so"), b"not rea").unwrap();
        fs::write(torn.join("torn.tgz"), b"torn").unwrap();
        // A file cut short by hand does not count either.
        fs::write(setup.version_folder().join("libchdb.so"), b"not").unwrap();
        assert_eq!(fs::read(setup.obtain().unwrap()).unwrap(), CONTENT);
        assert_eq!(setup.calls().len(), 1);
    }

    #[test]
    fn two_at_once_fetch_once() {
        let setup = Setup::good();
        thread::scope(|scope| {
            let fetches: Vec<_> = (0..4).map(|_| scope.spawn(|| setup.obtain())).collect();
            for fetch in fetches {
                assert_eq!(fs::read(fetch.join().unwrap().unwrap()).unwrap(), CONTENT);
            }
        });
        assert_eq!(setup.calls().len(), 1);
    }

    #[test]
    fn a_named_library_is_taken_as_it_is() {
        let mut setup = Setup::good();
        let named = setup.folder.path().join("own.so");
        setup.cache.library = Some(named.clone());
        assert!(matches!(setup.obtain(), Err(FetchError::NotThere(path)) if path == named));
        fs::write(&named, b"mine").unwrap();
        assert_eq!(setup.obtain().unwrap(), named);
        assert!(setup.calls().is_empty());
    }

    #[test]
    fn another_kind_of_machine_is_sent_to_a_server() {
        let mut setup = Setup::good();
        setup.package.fits = false;
        assert!(
            setup
                .obtain()
                .unwrap_err()
                .to_string()
                .contains("--clickhouse-url")
        );
    }
}
