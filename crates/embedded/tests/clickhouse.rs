//! The embedded ClickHouse as its clients see it: the official crate, and plain HTTP.
#![allow(clippy::unwrap_used, reason = "a test's helper fails like the test")]

mod clickhouse_support;

use std::{
    io::{Read, Write},
    net::Shutdown,
    time::{Duration, Instant},
};

use clickhouse::{Client, Compression, Row, error::Error};
use clickhouse_support::{Server, connect, database, post, receive, send, serve_as_told, shared, wait_until};
use serde::{Deserialize, Serialize};

#[test]
#[ignore = "serves the other tests"]
fn server() {
    serve_as_told();
}

#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
struct Visit {
    id: u64,
    name: String,
    at: i64,
    score: Option<f64>,
    tags: Vec<String>,
}

const VISITS: &str = "CREATE TABLE visits (id UInt64, name String, at Int64, score Nullable(Float64), \
                      tags Array(String)) ENGINE = MergeTree ORDER BY id";

fn visit(id: u64) -> Visit {
    Visit {
        id,
        name: format!("見守り {id}"),
        at: id as i64 * 1000 - 7,
        score: (!id.is_multiple_of(3)).then_some(id as f64 / 8.0),
        tags: (0..id % 4).map(|n| format!("t{n}")).collect(),
    }
}

async fn insert_visits(client: &Client, range: std::ops::Range<u64>) -> Result<(), Error> {
    let mut insert = client.insert::<Visit>("visits").await?;
    for id in range {
        insert.write(&visit(id)).await?;
    }
    insert.end().await
}

async fn count(client: &Client, table: &str) -> u64 {
    client
        .query(&format!("SELECT count() FROM {table}"))
        .fetch_one()
        .await
        .unwrap()
}

fn reason(error: Error) -> String {
    match error {
        Error::BadResponse(reason) => reason,
        other => panic!("not an answer of the server: {other}"),
    }
}

#[tokio::test]
async fn rows_come_back_as_they_went_with_and_without_compression_and_validation() {
    let (_, client) = database("round_trip");
    client.query(VISITS).execute().await.unwrap();
    let mut wanted = 0;
    for compression in [Compression::None, Compression::Lz4] {
        for validation in [true, false] {
            let client = client
                .clone()
                .with_compression(compression)
                .with_validation(validation);
            insert_visits(&client, wanted..wanted + 25_000).await.unwrap();
            wanted += 25_000;
            assert_eq!(count(&client, "visits").await, wanted);
            let rows = client
                .query("SELECT ?fields FROM visits ORDER BY id")
                .fetch_all::<Visit>()
                .await
                .unwrap();
            assert_eq!(rows.len() as u64, wanted);
            assert!(rows.iter().enumerate().all(|(id, row)| *row == visit(id as u64)));
        }
    }
}

#[tokio::test]
async fn a_hundred_thousand_rows_land_in_one_insert() {
    let (_, client) = database("large_insert");
    client.query(VISITS).execute().await.unwrap();
    insert_visits(&client, 0..100_000).await.unwrap();
    let sum: u64 = client
        .query("SELECT sum(id) FROM visits")
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(sum, 99_999 * 100_000 / 2);
}

#[tokio::test]
async fn a_wrong_row_type_is_caught_by_the_crates_validation() {
    #[derive(Row, Serialize, Deserialize)]
    struct Wrong {
        id: String,
    }
    let (_, client) = database("validation");
    client.query(VISITS).execute().await.unwrap();
    insert_visits(&client, 0..3).await.unwrap();
    let error = client.query("SELECT id FROM visits").fetch_all::<Wrong>().await;
    assert!(
        matches!(error, Err(Error::SchemaMismatch(_))),
        "{:?}",
        error.err()
    );
}

#[tokio::test]
async fn a_million_rows_stream_through() {
    for compression in [Compression::None, Compression::Lz4] {
        let client = shared().client().with_compression(compression);
        let mut cursor = client
            .query("SELECT number, toString(number) FROM numbers(1000000)")
            .fetch::<(u64, String)>()
            .unwrap();
        let mut wanted = 0;
        while let Some((number, text)) = cursor.next().await.unwrap() {
            assert_eq!((number, text.as_str()), (wanted, wanted.to_string().as_str()));
            wanted += 1;
        }
        assert_eq!(wanted, 1_000_000);
    }
}

#[tokio::test]
async fn parameters_are_bound_by_the_server() {
    // The crate sends them as multipart/form-data.
    let row: (String, u64) = shared()
        .client()
        .query("SELECT {name: String}, {n: UInt64} + 1")
        .param("name", "O'Brien \\ \"見\"\r\n--x")
        .param("n", 41)
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(row, ("O'Brien \\ \"見\"\r\n--x".to_owned(), 42));
    let reply = post(shared().address, "/?param_x=5", &[], b"SELECT {x: UInt8} * 2");
    assert_eq!(reply.text(), "10\n");
}

#[test]
fn errors_carry_clickhouses_codes_and_statuses() {
    for (sql, status, code) in [
        ("SELECT nosuch", 404, 47),
        ("SELECT * FROM nosuch", 404, 60),
        ("SELEC 1", 400, 62),
        ("SELECT 1; SELECT 2", 400, 62),
        ("", 400, 62),
        ("exit", 400, 62),
        ("SELECT toUInt8('x')", 400, 6),
        ("SELECT nosuch(1)", 404, 46),
        ("SELECT 1 FORMAT Nosuch", 404, 73),
        ("USE nosuch", 404, 81),
        ("CREATE USER u", 403, 497),
        ("SELECT throwIf(1)", 500, 395),
        ("SELECT sleep(3) SETTINGS max_execution_time = 1", 408, 159),
    ] {
        let reply = shared().ask(sql);
        assert_eq!(
            (reply.status, reply.code()),
            (status, Some(code)),
            "{sql}: {}",
            reply.text()
        );
        assert!(
            reply
                .text()
                .starts_with(&format!("Code: {code}. DB::Exception: ")),
            "{}",
            reply.text()
        );
        assert!(reply.text().contains("(version "), "{}", reply.text());
    }
    assert_eq!(send(shared().address, "GET", "/nowhere", &[], b"").status, 404);
    assert_eq!(send(shared().address, "GET", "/ping", &[], b"").text(), "Ok.\n");
    assert_eq!(send(shared().address, "GET", "/", &[], b"").text(), "Ok.\n");
}

#[test]
fn a_get_cannot_write() {
    let (server, _) = database("read_only_get");
    let reply = send(
        server.address,
        "GET",
        "/?query=CREATE+TABLE+read_only_get.t+(a+Int8)+ENGINE=Memory",
        &[],
        b"",
    );
    assert_eq!(reply.code(), Some(164), "{}", reply.text());
    let reply = send(server.address, "GET", "/?query=SELECT+1&max_threads=1", &[], b"");
    assert_eq!(reply.text(), "1\n");
}

#[tokio::test]
async fn a_failure_after_the_first_rows_is_seen_as_a_failure() {
    let sql = "SELECT throwIf(number = 900000) FROM numbers(1000000)";
    for compression in [Compression::None, Compression::Lz4] {
        let client = shared().client().with_compression(compression);
        let mut cursor = client.query(sql).fetch::<u8>().unwrap();
        let mut rows = 0;
        let error = loop {
            match cursor.next().await {
                Ok(Some(_)) => rows += 1,
                Ok(None) => panic!("it looked complete after {rows} rows"),
                Err(error) => break error,
            }
        };
        assert!(rows > 0, "the failure came after rows");
        assert!(reason(error).contains("Code: 395"));
    }
    let reply = shared().ask(&format!("{sql} FORMAT RowBinary"));
    assert_eq!(reply.status, 200);
    assert!(
        reply.broke_off,
        "a client that knows nothing of the tag sees a broken response"
    );
    let tag = &reply.headers["x-clickhouse-exception-tag"];
    assert!(reply.text().ends_with(&format!(" {tag}\r\n__exception__\r\n")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_insert_leaves_no_rows() {
    let (server, client) = database("aborted");
    client.query(VISITS).execute().await.unwrap();
    let mut insert = client.insert::<Visit>("visits").await.unwrap();
    for id in 0..200_000 {
        insert.write(&visit(id)).await.unwrap();
    }
    drop(insert);

    // A body shorter than announced, and one whose last chunk never came.
    for (head, body) in [
        ("content-length: 1000", "1\n2\n".to_owned()),
        ("transfer-encoding: chunked", "4\r\n1\n2\n\r\n".to_owned()),
    ] {
        let mut stream = connect(server.address);
        let target = "/?query=INSERT+INTO+aborted.visits+(id)+FORMAT+TSV";
        write!(
            stream,
            "POST {target} HTTP/1.1\r\nhost: {}\r\n{head}\r\n\r\n{body}",
            server.address
        )
        .unwrap();
        // The insert has begun once the engine lists it.
        wait_until("the insert has begun", || {
            server.must("SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO aborted%'") != "0"
        });
        stream.shutdown(Shutdown::Both).unwrap();
    }
    wait_until("all inserts have ended", || {
        let ours = "current_database = 'aborted' OR query LIKE 'INSERT INTO aborted%'";
        server.must(&format!("SELECT count() FROM system.processes WHERE {ours}")) == "0"
    });
    assert_eq!(count(&client, "visits").await, 0);
}

#[test]
fn a_body_that_stalls_is_given_up_when_its_time_is_over() {
    let (server, _) = database("stalled");
    server.must("CREATE TABLE stalled.t (a UInt8) ENGINE = MergeTree ORDER BY a");
    let target = "/?query=INSERT+INTO+stalled.t+FORMAT+RowBinary&max_execution_time=1";
    let mut stream = connect(server.address);
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(b"2\r\n\x01\x02\r\n").unwrap();
    // What a process that was stopped and woken sends late counts no more.
    let late = stream.try_clone().unwrap();
    let begun = Instant::now();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 408");
    let waited = begun.elapsed();
    assert!(waited < Duration::from_secs(10), "{waited:?}");
    let _refused = (&late).write_all(b"1\r\n\x03\r\n0\r\n\r\n");
    let mut rest = String::new();
    let _ended = stream.read_to_string(&mut rest);
    assert!(rest.contains("Code: 159"), "{rest}");
    assert_eq!(server.must("SELECT count() FROM stalled.t"), "0");
}

#[tokio::test]
async fn an_insert_that_fails_half_way_leaves_no_rows() {
    let (server, client) = database("half_way");
    client
        .query("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
        .execute()
        .await
        .unwrap();
    let body = format!("{}x\n", "1\n".repeat(300_000));
    let reply = post(
        server.address,
        "/?query=INSERT+INTO+half_way.t+FORMAT+TSV",
        &[],
        body.as_bytes(),
    );
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert_eq!(count(&client, "t").await, 0);
    let reply = post(
        server.address,
        "/?query=INSERT+INTO+half_way.nosuch+FORMAT+TSV",
        &[],
        body.as_bytes(),
    );
    assert_eq!(reply.code(), Some(60), "{}", reply.text());
}

#[tokio::test]
async fn a_repeated_deduplication_token_is_dropped() {
    let (_, client) = database("deduplication");
    let table = format!("{VISITS} SETTINGS non_replicated_deduplication_window = 100");
    client.query(&table).execute().await.unwrap();
    for (token, from) in [("a", 0), ("b", 10), ("a", 20), ("b", 30), ("c", 40)] {
        let client = client.clone().with_setting("insert_deduplication_token", token);
        insert_visits(&client, from..from + 10).await.unwrap();
    }
    let ids: Vec<u64> = client
        .query("SELECT DISTINCT intDiv(id, 10) FROM visits ORDER BY 1")
        .fetch_all()
        .await
        .unwrap();
    assert_eq!(ids, [0, 1, 4]);
}

#[test]
fn all_ways_of_sending_an_insert_work() {
    let (server, _) = database("ways");
    server.must("CREATE TABLE ways.t (a UInt32, b String DEFAULT 'd') ENGINE = MergeTree ORDER BY a");
    let ok = |target: &str, headers: &[(&str, &str)], body: &[u8]| {
        let reply = post(server.address, target, headers, body);
        assert_eq!(reply.status, 200, "{target}: {}", reply.text());
        reply
    };
    ok(
        "/",
        &[],
        b"INSERT INTO ways.t VALUES (1, 'x;y'), (1 + 1, lower('Q'));",
    );
    ok("/", &[], b"INSERT INTO ways.t (a) FORMAT TSV\n3\n");
    ok(
        "/",
        &[],
        b"-- a comment\nINSERT INTO ways.t (a)\nFORMAT JSONEachRow\n{\"a\": 4}\n\n{\"a\": 5}",
    );
    ok("/?query=INSERT+INTO+ways.t+FORMAT+CSV", &[], b"6,six\n7,seven\n");
    ok("/?query=INSERT+INTO+ways.t+(a)+VALUES", &[], b"(8)");
    ok(
        "/?query=INSERT+INTO+ways.t+(a)",
        &[("x-clickhouse-format", "TSV")],
        b"9\n",
    );
    let reply = ok(
        "/?database=ways",
        &[],
        b"INSERT INTO t SELECT number + 10, 'n' FROM numbers(10)",
    );
    assert!(reply.headers["x-clickhouse-summary"].contains("\"written_rows\":\"10\""));
    ok(
        "/",
        &[("x-clickhouse-database", "ways")],
        b"INSERT INTO t (a) VALUES (20)",
    );
    // A head that comes in many pieces, followed by data.
    let head = format!(
        "INSERT INTO ways.t (a) /* {} */ FORMAT TSV\n21\n",
        "x".repeat(200_000)
    );
    ok("/", &[], head.as_bytes());
    let all = server.must("SELECT groupArray(a) FROM (SELECT a FROM ways.t ORDER BY a)");
    let wanted: Vec<String> = (1..=21).map(|n| n.to_string()).collect();
    assert_eq!(all, format!("[{}]", wanted.join(",")));
    assert_eq!(
        server.must("SELECT b FROM ways.t WHERE a IN (1, 2, 3, 7) ORDER BY a"),
        "x;y\nq\nd\nseven"
    );
}

#[test]
fn results_come_whole_in_every_format() {
    let rows = 200_000;
    for (format, lines) in [
        ("TSV", rows),
        ("TSVWithNamesAndTypes", rows + 2),
        ("CSVWithNames", rows + 1),
        ("JSONEachRow", rows),
        ("JSONCompactEachRowWithNamesAndTypes", rows + 2),
        ("Values", 1),
    ] {
        let text = shared().must(&format!(
            "SELECT number AS n FROM numbers({rows}) FORMAT {format}"
        ));
        assert_eq!(text.lines().count(), lines, "{format}");
    }
    let json = shared().must("SELECT number FROM numbers(100000) FORMAT JSONCompact");
    assert!(json.contains("\"rows\": 100000"));
    let empty = shared().must("SELECT number AS n FROM numbers(0) FORMAT CSVWithNames");
    assert_eq!(empty, "\"n\"");
    let reply = post(
        shared().address,
        "/?wait_end_of_query=1&default_format=CSV",
        &[],
        b"SELECT 1, 'a'",
    );
    assert_eq!(
        (
            reply.text().as_str(),
            reply.headers["x-clickhouse-format"].as_str()
        ),
        ("1,\"a\"\n", "CSV")
    );
    let reply = send(
        shared().address,
        "GET",
        "/?query=SELECT+1&query_id=my-id",
        &[],
        b"",
    );
    assert_eq!(reply.headers["x-clickhouse-query-id"], "my-id");
    assert_eq!(
        reply.headers["x-clickhouse-timezone"],
        shared().must("SELECT timezone()")
    );
}

#[test]
fn a_session_keeps_what_was_set_in_it() {
    let server = shared();
    let ask = |session: &str, sql: &str| {
        post(
            server.address,
            &format!("/?session_id={session}"),
            &[],
            sql.as_bytes(),
        )
    };
    assert_eq!(
        ask("keeps", "SET max_threads = 1, max_block_size = 777").status,
        200
    );
    assert_eq!(ask("keeps", "CREATE TEMPORARY TABLE seen (a Int8)").status, 200);
    assert_eq!(ask("keeps", "INSERT INTO seen VALUES (1), (2)").status, 200);
    assert_eq!(
        ask("keeps", "SELECT count(), getSetting('max_block_size') FROM seen").text(),
        "2\t777\n"
    );
    assert_eq!(ask("another", "SELECT count() FROM seen").code(), Some(60));
    // Without a session nothing is kept, on any of the connections that are used again.
    for _ in 0..4 {
        server.must("SET max_block_size = 778");
        assert_ne!(server.must("SELECT getSetting('max_block_size')"), "778");
    }
    let reply = post(
        server.address,
        "/?session_id=keeps&max_block_size=55",
        &[],
        b"SELECT getSetting('max_block_size')",
    );
    assert_eq!(reply.text(), "55\n");
    let reply = post(
        server.address,
        "/?session_id=none&session_check=1",
        &[],
        b"SELECT 1",
    );
    assert_eq!((reply.status, reply.code()), (500, Some(372)));
    assert_eq!(
        post(
            server.address,
            "/?session_id=x&session_timeout=y",
            &[],
            b"SELECT 1"
        )
        .code(),
        Some(374)
    );
}

#[test]
fn one_session_runs_one_statement_at_a_time() {
    let server = shared();
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            post(
                server.address,
                "/?session_id=busy",
                &[],
                b"SELECT sleep(2), 'busy session'",
            )
        });
        wait_until("the first statement runs", || {
            server.must("SELECT count() FROM system.processes WHERE query LIKE '%busy session%'") != "1"
        });
        let second = post(server.address, "/?session_id=busy", &[], b"SELECT 1");
        assert_eq!(second.code(), Some(373), "{}", second.text());
        assert_eq!(slow.join().unwrap().status, 200);
    });
    assert_eq!(
        post(server.address, "/?session_id=busy", &[], b"SELECT 1").text(),
        "1\n"
    );
}

#[test]
fn an_idle_session_expires() {
    let server = shared();
    let target = "/?session_id=short&session_timeout=1";
    assert_eq!(
        post(
            server.address,
            target,
            &[],
            b"CREATE TEMPORARY TABLE gone (a Int8)"
        )
        .status,
        200
    );
    wait_until("the session has expired", || {
        post(
            server.address,
            "/?session_id=short&session_check=1&session_timeout=0",
            &[],
            b"SELECT 1",
        )
        .code()
            == Some(372)
    });
}

#[test]
fn settings_in_the_url_hold_for_one_request() {
    let server = shared();
    for _ in 0..3 {
        let reply = post(
            server.address,
            "/?max_block_size=4321",
            &[],
            b"SELECT getSetting('max_block_size')",
        );
        assert_eq!(reply.text(), "4321\n");
        assert_ne!(server.must("SELECT getSetting('max_block_size')"), "4321");
    }
    let reply = post(server.address, "/?nosuchsetting=1", &[], b"SELECT 1");
    assert_eq!((reply.status, reply.code()), (404, Some(115)), "{}", reply.text());
    let reply = post(server.address, "/?max_threads=x", &[], b"SELECT 1");
    assert_ne!(reply.status, 200, "{}", reply.text());
    let reply = post(server.address, "/?a%27%3D1%2C+x=1", &[], b"SELECT 1");
    assert_eq!(reply.code(), Some(115), "{}", reply.text());
    let reply = post(server.address, "/?database=nosuch", &[], b"SELECT 1");
    assert_eq!(reply.code(), Some(81), "{}", reply.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_clients_work_at_once() {
    let (_, client) = database("at_once");
    client.query(VISITS).execute().await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..16 {
        let client = client.clone();
        tasks.spawn(async move {
            for batch in 0..5 {
                let from = (task * 5 + batch) * 1000;
                insert_visits(&client, from..from + 1000).await.unwrap();
                let found: u64 = client
                    .query("SELECT count() FROM visits WHERE id >= ? AND id < ?")
                    .bind(from)
                    .bind(from + 1000)
                    .fetch_one()
                    .await
                    .unwrap();
                assert_eq!(found, 1000);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(count(&client, "visits").await, 80_000);
}

#[test]
fn a_deep_expression_is_answered() {
    let deep = format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000));
    assert_ne!(shared().ask(&deep).status, 200);
    assert_eq!(shared().must("SELECT 1"), "1");
}

#[test]
fn nothing_outside_the_data_folder_can_be_reached() {
    let (server, _) = database("outside");
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret.csv");
    std::fs::write(&secret, "topsecret\n").unwrap();
    let target = folder.path().join("written");
    let (secret, target) = (secret.display(), target.display());
    server.must("CREATE TABLE outside.t (a String) ENGINE = MergeTree ORDER BY a");
    for sql in [
        // Held back by the engine's access rights.
        format!("SELECT * FROM default.`{secret}`"),
        "SELECT * FROM url('http://127.0.0.1:9/', CSV, 'a String')".into(),
        "SELECT * FROM s3('http://127.0.0.1:9/bucket/x.csv', CSV, 'a String')".into(),
        "SELECT * FROM remote('127.0.0.1:9', system.one)".into(),
        "SELECT * FROM mysql('127.0.0.1:9', 'a', 'b', 'c', 'd')".into(),
        "SELECT * FROM postgresql('127.0.0.1:9', 'a', 'b', 'c', 'd')".into(),
        format!("SELECT * FROM sqlite('{secret}', 't')"),
        format!("SELECT * FROM filesystem('{}')", folder.path().display()),
        format!("SELECT * FROM icebergLocal('{secret}')"),
        "CREATE DICTIONARY outside.d (a Int64, b Int64) PRIMARY KEY a SOURCE(HTTP(url 'http://x' format 'CSV')) \
         LAYOUT(FLAT()) LIFETIME(0)"
            .into(),
        "CREATE FUNCTION f AS (x) -> x".into(),
        "CREATE USER u".into(),
        "GRANT ALL ON *.* TO default".into(),
        "SYSTEM SHUTDOWN".into(),
        "SYSTEM KILL".into(),
        "SET dialect = 'kusto'".into(),
        "SET allow_experimental_eval_table_function = 1".into(),
        format!("SELECT 1 FORMAT Template SETTINGS format_template_resultset = '{secret}'"),
        "CREATE TABLE outside.disk (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS disk = 'x', table_disk = 1".into(),
        // Held back by the words of the statement.
        format!("SELECT file('{secret}')"),
        format!("SELECT * APPLY(file) FROM (SELECT '{secret}' AS x)"),
        format!("SELECT * FROM file('{secret}', CSV, 'a String')"),
        format!("INSERT INTO FUNCTION file('{target}', CSV, 'a String') SELECT 'x'"),
        format!("INSERT INTO outside.t VALUES (file('{secret}'))"),
        format!("INSERT INTO outside.t FROM INFILE '{secret}' FORMAT CSV"),
        format!("SELECT * FROM format(Values, 'a String', '(file(''{secret}''))')"),
        format!("SELECT 1 INTO OUTFILE '{target}'"),
        "SELECT * FROM executable('x', CSV, 'a String')".into(),
        "CREATE TABLE outside.f (a String) ENGINE = File(CSV)".into(),
        "CREATE TABLE outside.k (a String) ENGINE = Kafka('127.0.0.1:9', 't', 'g', 'CSV')".into(),
        format!("CREATE TABLE outside.r (a Int8) ENGINE = EmbeddedRocksDB(0, '{target}') PRIMARY KEY a"),
        "CREATE DATABASE outside_fs ENGINE = Filesystem('/')".into(),
        format!("CREATE DATABASE outside_d ENGINE = Atomic SETTINGS disk = disk(type = local, path = '{target}')"),
    ] {
        let reply = server.ask(&sql);
        assert_ne!(reply.status, 200, "{sql}");
        assert!(!reply.text().contains("topsecret"), "{sql}");
        let refused = [Some(497), Some(452), Some(344), Some(514), Some(164)];
        assert!(refused.contains(&reply.code()), "{sql}: {}", reply.text());
    }
    assert_eq!(server.must("SELECT count() FROM outside.t"), "0");
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "nothing was written"
    );
    assert_eq!(server.must("SELECT 1"), "1");
}

#[test]
fn pages_of_other_sites_are_turned_away() {
    let reply = post(
        shared().address,
        "/",
        &[("origin", "https://evil.example")],
        b"SELECT 1",
    );
    assert_eq!((reply.status, reply.code()), (403, Some(497)));
}

#[test]
fn the_password_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "password=right");
    let ask = |headers: &[(&str, &str)]| post(server.address, "/", headers, b"SELECT 1");
    for headers in [
        &[][..],
        &[("x-clickhouse-user", "default"), ("x-clickhouse-key", "wrong")],
        &[("x-clickhouse-user", "other"), ("x-clickhouse-key", "right")],
        &[("authorization", "Basic ZGVmYXVsdDp3cm9uZw==")],
        &[("authorization", "Basic !!!")],
    ] {
        let reply = ask(headers);
        assert_eq!((reply.status, reply.code()), (403, Some(516)), "{headers:?}");
    }
    assert_eq!(
        ask(&[("x-clickhouse-user", "default"), ("x-clickhouse-key", "right")]).text(),
        "1\n"
    );
    assert_eq!(
        ask(&[("authorization", "Basic ZGVmYXVsdDpyaWdodA==")]).text(),
        "1\n"
    );
    assert_eq!(
        post(server.address, "/?password=right", &[], b"SELECT 1").text(),
        "1\n"
    );
    assert_eq!(send(server.address, "GET", "/ping", &[], b"").status, 200);
}

#[test]
fn statements_and_bodies_have_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let options = "max_statement_bytes=100000 max_body_bytes=1000000 max_concurrent_statements=1 \
                   queue_timeout_seconds=1 statement_timeout_seconds=3";
    let server = Server::start(folder.path(), options);
    let long = format!("SELECT '{}'", "x".repeat(200_000));
    let reply = server.ask(&long);
    assert_eq!((reply.status, reply.code()), (413, Some(229)), "{}", reply.text());

    server.must("CREATE DATABASE d");
    server.must("CREATE TABLE d.t (a String) ENGINE = MergeTree ORDER BY a");
    let large = format!("{}\n", "x".repeat(99)).repeat(20_000);
    let reply = post(
        server.address,
        "/?query=INSERT+INTO+d.t+FORMAT+TSV",
        &[],
        large.as_bytes(),
    );
    assert_eq!((reply.status, reply.code()), (413, Some(229)), "{}", reply.text());
    assert_eq!(server.must("SELECT count() FROM d.t"), "0");

    std::thread::scope(|scope| {
        let started = Instant::now();
        let endless = "SELECT count() FROM numbers(1000000000000) WHERE cityHash64(number) = 7";
        let slow = scope.spawn(|| server.ask(endless));
        let refused = |server: &Server| server.ask("SELECT 1").code() == Some(202);
        wait_until("the only place is taken", || refused(&server));
        let reply = slow.join().unwrap();
        assert_eq!((reply.status, reply.code()), (408, Some(159)), "{}", reply.text());
        assert!(started.elapsed().as_secs() < 10);
    });
    assert_eq!(server.must("SELECT 1"), "1");
}

#[test]
fn a_select_ends_when_its_client_leaves() {
    let server = shared();
    let running = || server.must("SELECT count() FROM system.processes WHERE query LIKE '%nobody listens%'");
    for sql in [
        "SELECT count(), 'nobody listens' FROM numbers(1000000000000) WHERE cityHash64(number) = 7",
        "SELECT number, 'nobody listens' FROM numbers(1000000000000)",
    ] {
        let mut stream = connect(server.address);
        let length = sql.len();
        write!(
            stream,
            "POST / HTTP/1.1\r\nhost: {}\r\ncontent-length: {length}\r\n\r\n{sql}",
            server.address
        )
        .unwrap();
        wait_until("it runs", || running() == "2");
        drop(stream);
        wait_until("it has ended", || running() == "1");
    }
}

#[test]
fn broken_requests_are_answered_and_harm_nothing() {
    let server = shared();
    let target = "/?query=INSERT+INTO+nosuch+FORMAT+TSV&decompress=1";
    assert_eq!(
        post(server.address, "/?decompress=1", &[], b"SELECT 1 and no block").status,
        500
    );
    assert_ne!(post(server.address, target, &[], &[0xFF; 300]).status, 200);
    assert_ne!(
        post(server.address, "/", &[("content-encoding", "lz4")], b"no frame").status,
        200
    );
    assert_eq!(
        post(server.address, "/", &[("content-encoding", "zstd")], b"x").code(),
        Some(89)
    );
    let form = [("content-type", "multipart/form-data; boundary=x")];
    assert_eq!(
        post(server.address, "/", &form, b"no form at all").code(),
        Some(36)
    );
    assert_eq!(
        post(
            server.address,
            "/",
            &[("content-type", "multipart/form-data")],
            b""
        )
        .code(),
        Some(36)
    );
    assert_ne!(
        post(server.address, "/?query=%FF%00%27", &[], b"\xff\x00").status,
        200
    );
    assert_ne!(post(server.address, "/", &[], &[0; 5000]).status, 200);
    let mut stream = connect(server.address);
    stream.write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n").unwrap();
    assert_eq!(receive(stream).status, 400);
    assert_eq!(server.must("SELECT 1"), "1");
}

#[test]
fn compressed_requests_and_responses_of_plain_clients_work() {
    let mut frame = lz4_flex::frame::FrameEncoder::new(Vec::new());
    frame.write_all(b"SELECT sum(number) FROM numbers(10)").unwrap();
    let body = frame.finish().unwrap();
    let headers = [
        ("content-encoding", "lz4"),
        ("accept-encoding", "gzip, lz4;q=0.9"),
    ];
    let reply = post(shared().address, "/?enable_http_compression=1", &headers, &body);
    assert_eq!(reply.headers["content-encoding"], "lz4");
    let mut text = String::new();
    let mut decoder = lz4_flex::frame::FrameDecoder::new(reply.body.as_slice());
    std::io::Read::read_to_string(&mut decoder, &mut text).unwrap();
    assert_eq!(text, "45\n");
}
