//! Statements that the engine's own access rights cannot hold back.
//!
//! The engine knows one user, and its rights (see [`settings`](super::settings)) already refuse
//! every table function, table engine and database engine that reads or writes outside the data
//! folder. They do not cover the following, which are refused here by looking at the words of a
//! statement before the engine sees it:
//!
//! - the scalar function `file`, and `INTO OUTFILE` / `FROM INFILE`, which the library carries
//!   out on the client's side;
//! - the table function `format`, and VALUES, whose data are themselves expressions;
//! - table and database engines outside a list of those that keep their data in the folder,
//!   and `disk(…)`, which would put them elsewhere.
//!
//! A word counts wherever it stands as a word; inside strings too where the quoting could be
//! read in two ways. So a column named `file` is refused: better too much than too little.

use super::{
    exception::{Exception, code},
    sql::{self, Kind, Token},
};

/// Refused as a name, whatever follows.
const WORDS: &[&str] = &["file", "infile", "outfile"];

/// Refused when called.
const CALLS: &[&str] = &["format", "disk", "eval", "executable", "catboostevaluate"];

/// Engines of tables and databases that keep what they hold inside the data folder.
const ENGINES: &[&str] = &[
    "aggregatingmergetree",
    "alias",
    "atomic",
    "buffer",
    "coalescingmergetree",
    "collapsingmergetree",
    "generaterandom",
    "graphitemergetree",
    "join",
    "log",
    "materializedview",
    "memory",
    "merge",
    "mergetree",
    "null",
    "replacingmergetree",
    "set",
    "stripelog",
    "summingmergetree",
    "tinylog",
    "versionedcollapsingmergetree",
    "view",
];

/// Refuses a statement that would reach outside the data folder.
///
/// # Errors
/// `ACCESS_DENIED`, naming the word.
pub(super) fn check(statement: &[u8]) -> Result<(), Exception> {
    let defines = matches!(
        sql::first_word(statement).as_str(),
        "CREATE" | "ATTACH" | "REPLACE"
    );
    check_text(statement, defines)
}

/// Refuses expressions among the data of `INSERT … VALUES` that would reach outside.
///
/// # Errors
/// `ACCESS_DENIED`, naming the word.
pub(super) fn check_values(data: &[u8]) -> Result<(), Exception> {
    check_text(data, false)
}

fn check_text(text: &[u8], defines: bool) -> Result<(), Exception> {
    check_words(text, defines)?;
    if sql::quoting_is_doubtful(text) {
        let unquoted: Vec<u8> = text
            .iter()
            .map(|&c| if b"'\"`$\\".contains(&c) { b' ' } else { c })
            .collect();
        check_words(&unquoted, defines)?;
    }
    Ok(())
}

fn check_words(statement: &[u8], defines: bool) -> Result<(), Exception> {
    let mut tokens = sql::tokens(statement).peekable();
    let mut depth = 0_usize;
    while let Some(token) = tokens.next() {
        if token.is_symbol(statement, b'(') {
            depth += 1;
        } else if token.is_symbol(statement, b')') {
            depth = depth.saturating_sub(1);
        }
        let Some(name) = name(statement, token)? else {
            continue;
        };
        let next = tokens.peek().copied();
        let next_is = |symbol| next.is_some_and(|next| next.is_symbol(statement, symbol));
        if WORDS.contains(&name.as_str()) || (CALLS.contains(&name.as_str()) && next_is(b'(')) {
            return Err(refused(&format!("`{name}`")));
        }
        if defines && name == "engine" && token.kind == Kind::Word && (depth == 0 || next_is(b'=')) {
            if next_is(b'=') {
                tokens.next();
            }
            let Some(engine) = tokens.next() else { break };
            if let Some(engine) = self::name(statement, engine)?
                && !ENGINES.contains(&engine.as_str())
            {
                return Err(refused(&format!("the engine `{engine}`")));
            }
        }
    }
    Ok(())
}

/// The token as a name in small letters, without its quotes.
fn name(statement: &[u8], token: Token) -> Result<Option<String>, Exception> {
    let text = &statement[token.start..token.end];
    match token.kind {
        Kind::Word => Ok(Some(String::from_utf8_lossy(text).to_ascii_lowercase())),
        // An escape could spell any of the words.
        Kind::Quoted if text.contains(&b'\\') => Err(refused("a backslash in a quoted name")),
        Kind::Quoted => {
            let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
            Ok(Some(String::from_utf8_lossy(inner).to_ascii_lowercase()))
        }
        Kind::Text | Kind::Number | Kind::Symbol => Ok(None),
    }
}

fn refused(what: &str) -> Exception {
    Exception::new(
        code::ACCESS_DENIED,
        format!("{what} is shut off in the embedded engine: it could reach outside the data folder"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ways_out_of_the_folder_are_refused() {
        for statement in [
            "select file('/etc/passwd')",
            "select file /* x */ ('/etc/passwd')",
            "select `file`('/etc/passwd')",
            "select \"file\"('/etc/passwd')",
            "select `f\\x69le`('/etc/passwd')",
            "select * apply(file) from (select '/etc/passwd')",
            "select arrayMap(file, ['/etc/passwd'])",
            "select 1 into outfile '/tmp/x'",
            "insert into t from\ninfile '/etc/passwd' format CSV",
            "select * from format(Values, 'a String', '(1)')",
            "create table t (a Int) engine=File(CSV)",
            "create table t (a Int) engine EmbeddedRocksDB(0, '/tmp/x') primary key a",
            "create table t (a Int) engine = `URL`('http://x')",
            "create database d engine=Filesystem('/')",
            "create database d engine=Atomic settings disk=disk(type=local, path='/tmp')",
            "select $$ ' $$, file('/etc/passwd') --'",
            "select \u{2018} ' \u{2019}, file('/etc/passwd') --'",
        ] {
            let refusal = check(statement.as_bytes()).expect_err(statement);
            assert_eq!(refusal.code(), code::ACCESS_DENIED, "{statement}");
        }
        assert!(check_values(b"(1, file('/etc/passwd'))").is_err());
    }

    #[test]
    fn ordinary_statements_pass() {
        for statement in [
            "create table t (a Int, engine String) engine = ReplacingMergeTree(v) order by a",
            "create materialized view v engine MergeTree order by a as select a from t",
            "select 'file(1)', \"profile\" from system.disks where engine = 'Kafka' format JSON",
            "select engine from system.tables where engine = other",
            "create database if not exists mimamori engine = Atomic",
        ] {
            assert_eq!(check(statement.as_bytes()), Ok(()), "{statement}");
        }
        assert_eq!(
            check_values("(1, 'a “file” (of sorts) for $5', now())".as_bytes()),
            Ok(())
        );
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_guard(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = check(&text);
            let _ = check_values(&text);
        }
    }
}
