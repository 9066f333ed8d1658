//! The embedded ClickHouse as a process: its start, its end, and what outlives them.
#![allow(clippy::unwrap_used, reason = "a test's helper fails like the test")]

mod clickhouse_support;

use std::{
    net::TcpListener,
    path::Path,
    time::{Duration, Instant},
};

use clickhouse_support::{Server, config, library, post, serve_as_told, wait_until};
use embedded::clickhouse::{self, Error};

#[test]
#[ignore = "serves the other tests"]
fn server() {
    serve_as_told();
}

const BATCH: u64 = 50_000;

/// One batch, all of whose rows carry its number.
fn batch(number: u64) -> Vec<u8> {
    (0..BATCH)
        .flat_map(|row| format!("{number}\t{row}\tsome text to make it longer {row}\n").into_bytes())
        .collect()
}

#[test]
fn after_a_kill_acknowledged_batches_are_whole_and_no_other_is_there_in_part() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    let mut next = 0;
    for round in 0..3_u64 {
        let server = Server::start(folder.path(), "");
        if round == 0 {
            server.must("CREATE DATABASE d");
            server.must(
                "CREATE TABLE d.t (batch UInt64, row UInt64, text String) ENGINE = MergeTree ORDER BY batch",
            );
        }
        check_batches(&server, &acknowledged);
        // Batches go in one after the other until the kill comes, in the middle of one of them.
        let address = server.address;
        let writer = std::thread::spawn(move || {
            let mut done = Vec::new();
            for number in next.. {
                let body = batch(number);
                let answered = std::panic::catch_unwind(|| {
                    post(address, "/?query=INSERT+INTO+d.t+FORMAT+TSV", &[], &body).status == 200
                });
                match answered {
                    Ok(true) => done.push(number),
                    _ => return (done, number),
                }
            }
            unreachable!("the numbers do not end")
        });
        let rows = 3 + round;
        wait_until("some batches are in", || {
            let wanted = acknowledged.len() as u64 + rows;
            server
                .must("SELECT uniqExact(batch) FROM d.t")
                .parse::<u64>()
                .unwrap()
                >= wanted
        });
        wait_until("a batch is going in", || {
            server.must("SELECT count() FROM system.processes WHERE query LIKE 'INSERT%'") != "0"
        });
        server.kill();
        let (done, interrupted) = writer.join().unwrap();
        assert!(!done.is_empty());
        acknowledged.extend(done);
        next = interrupted + 1;
    }
    let server = Server::start(folder.path(), "");
    check_batches(&server, &acknowledged);
}

fn check_batches(server: &Server, acknowledged: &[u64]) {
    let partial = format!(
        "SELECT count() FROM (SELECT batch, count() AS n FROM d.t GROUP BY batch HAVING n != {BATCH})"
    );
    assert_eq!(server.must(&partial), "0", "no batch is there in part");
    let found = server.must("SELECT DISTINCT batch FROM d.t");
    let found: Vec<u64> = found.lines().map(|line| line.parse().unwrap()).collect();
    for number in acknowledged {
        assert!(found.contains(number), "batch {number} was acknowledged");
    }
}

#[test]
fn data_outlive_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    server.must("CREATE DATABASE d");
    server.must("CREATE TABLE d.t (a UInt8) ENGINE = MergeTree ORDER BY a");
    server.must("INSERT INTO d.t VALUES (1), (2)");
    let (took, result) = server.stop();
    assert_eq!(result, "Ok(())");
    assert!(took < Duration::from_secs(3), "{took:?}");
    let server = Server::start(folder.path(), "");
    assert_eq!(server.must("SELECT sum(a) FROM d.t"), "3");
}

#[test]
fn a_stop_does_not_wait_for_endless_statements() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    let address = server.address;
    let statements: Vec<_> = [
        "SELECT count() FROM numbers(1000000000000) WHERE cityHash64(number) = 7",
        "SELECT number FROM numbers(1000000000000) WHERE cityHash64(number) % 100000 = 7",
    ]
    .map(|sql| std::thread::spawn(move || post(address, "/", &[], sql.as_bytes())))
    .into();
    // An insert that never ends its body, and a connection that says nothing.
    let mut insert = clickhouse_support::connect(address);
    let request = format!(
        "POST /?query=INSERT+INTO+FUNCTION+null('a+Int8')+FORMAT+TSV HTTP/1.1\r\nhost: {address}\r\ncontent-length: 100\r\n\r\n1\n"
    );
    std::io::Write::write_all(&mut insert, request.as_bytes()).unwrap();
    let _silent = clickhouse_support::connect(address);
    wait_until("they run", || {
        server.must("SELECT count() FROM system.processes") == "4"
    });
    let (took, result) = server.stop();
    assert_eq!(result, "Ok(())");
    assert!(took < Duration::from_secs(3), "{took:?}");
    for statement in statements {
        let reply = statement.join().unwrap();
        assert!(reply.status != 200 || reply.broke_off, "{reply:?}");
        assert!(
            reply.text().contains("the engine is shutting down"),
            "{}",
            reply.text()
        );
    }
}

#[test]
fn a_second_process_on_the_folder_is_refused_by_the_folders_name() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Server::start(folder.path(), "");
    let error = Server::try_start(folder.path(), "")
        .err()
        .expect("the folder is held");
    assert!(error.contains(&folder.path().display().to_string()), "{error}");
    assert!(error.contains("held by another process"), "{error}");
}

#[test]
fn a_taken_port_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Server::try_start(folder.path(), &format!("listen={address}"))
        .err()
        .expect("the port is taken");
    assert!(error.contains(&address.to_string()), "{error}");
}

#[test]
fn listening_for_others_needs_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let error = Server::try_start(folder.path(), "listen=0.0.0.0:0")
        .err()
        .expect("there is no password");
    assert!(
        error.contains("0.0.0.0:0") && error.contains("password"),
        "{error}"
    );
    Server::start(folder.path(), "listen=0.0.0.0:0 password=p");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_runs_the_engine_once() {
    let folder = tempfile::tempdir().unwrap();
    let library = tokio::task::spawn_blocking(library).await.unwrap();
    let config = |name: &str, library: &Path| clickhouse::Config {
        library: library.to_owned(),
        ..config(&folder.path().join(name), "")
    };
    // What fails before the engine starts does not count.
    let failed = clickhouse::start(config("first", Path::new("/nowhere/libchdb.so"))).await;
    assert!(matches!(failed, Err(Error::Library { .. })), "{failed:?}");

    let engine = clickhouse::start(config("first", &library)).await.unwrap();
    assert_eq!(engine.url(), format!("http://{}", engine.address()));
    let client = ::clickhouse::Client::default().with_url(engine.url());
    let version: String = client.query("SELECT version()").fetch_one().await.unwrap();
    assert_eq!(version, engine.version());

    let second = clickhouse::start(config("second", &library)).await;
    assert!(matches!(second, Err(Error::AlreadyStarted)), "{second:?}");
    let started = Instant::now();
    engine.shutdown().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(3));
    let again = clickhouse::start(config("first", &library)).await;
    assert!(matches!(again, Err(Error::AlreadyStarted)), "{again:?}");
}

#[test]
fn an_idle_engine_takes_next_to_no_processor_time() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "");
    server.must("CREATE DATABASE d");
    server.must("CREATE TABLE d.t (a UInt8) ENGINE = MergeTree ORDER BY a");
    server.must("INSERT INTO d.t VALUES (1), (2)");
    // What starting and inserting left to do is over once a second costs little.
    wait_until("the engine is idle", || {
        cpu_seconds_over(server.pid(), Duration::from_secs(1)) < 0.05
    });
    let used = cpu_seconds_over(server.pid(), Duration::from_secs(5));
    assert!(used < 0.1, "{used} s of processor time in 5 s");
}

fn cpu_seconds_over(pid: u32, span: Duration) -> f64 {
    let before = cpu_seconds(pid);
    // The span is what is measured, not something waited for.
    std::thread::sleep(span);
    cpu_seconds(pid) - before
}

/// User and system time of a process, from its `stat`, in ticks of 10 ms.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}
