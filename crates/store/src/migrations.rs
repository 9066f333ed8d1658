use clickhouse::Row;
use serde::Deserialize;
use tracing::info;

use crate::client::{Error, Store};

/// The numbered migrations, in order. A file that has been released is never edited: its checksum is
/// kept in the database and compared.
const MIGRATIONS: [(u32, &str, &str); 15] = [
    (
        1,
        "events",
        include_str!("../../../schemas/clickhouse/0001_events.sql"),
    ),
    (
        2,
        "accounts",
        include_str!("../../../schemas/clickhouse/0002_accounts.sql"),
    ),
    (
        3,
        "scores",
        include_str!("../../../schemas/clickhouse/0003_scores.sql"),
    ),
    (
        4,
        "state",
        include_str!("../../../schemas/clickhouse/0004_state.sql"),
    ),
    (
        5,
        "alerts",
        include_str!("../../../schemas/clickhouse/0005_alerts.sql"),
    ),
    (
        6,
        "numbers",
        include_str!("../../../schemas/clickhouse/0006_numbers.sql"),
    ),
    (
        7,
        "checkpoints",
        include_str!("../../../schemas/clickhouse/0007_checkpoints.sql"),
    ),
    (
        8,
        "rebuilds",
        include_str!("../../../schemas/clickhouse/0008_rebuilds.sql"),
    ),
    (
        9,
        "write_keys",
        include_str!("../../../schemas/clickhouse/0009_write_keys.sql"),
    ),
    (
        10,
        "deliveries",
        include_str!("../../../schemas/clickhouse/0010_deliveries.sql"),
    ),
    (
        11,
        "alert_outcomes",
        include_str!("../../../schemas/clickhouse/0011_alert_outcomes.sql"),
    ),
    (
        12,
        "routing",
        include_str!("../../../schemas/clickhouse/0012_routing.sql"),
    ),
    (
        13,
        "alert_holds",
        include_str!("../../../schemas/clickhouse/0013_alert_holds.sql"),
    ),
    (
        14,
        "outcomes",
        include_str!("../../../schemas/clickhouse/0014_outcomes.sql"),
    ),
    (
        15,
        "newest",
        include_str!("../../../schemas/clickhouse/0015_newest.sql"),
    ),
];

/// A migration that was applied now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: &'static str,
}

/// Why the database cannot be brought to this version of mimamori.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The database holds a migration that this version does not know.
    #[error(
        "database {database} has migration {number}, which this version of mimamori does not know: use a newer mimamori"
    )]
    Newer {
        /// The database.
        database: String,
        /// The unknown number.
        number: u32,
    },
    /// A migration that was applied reads differently now.
    #[error(
        "migration {number} ({name}) was applied to database {database} with another text: restore the file"
    )]
    Changed {
        /// The database.
        database: String,
        /// Its number.
        number: u32,
        /// Its name.
        name: &'static str,
    },
    /// A name that would have to be quoted.
    #[error("database name {0:?} is not made of letters, digits and underscores")]
    Name(String),
}

#[derive(Row, Deserialize)]
struct AppliedRow {
    number: u32,
    checksum: u64,
}

impl Store {
    /// Creates the database and applies the migrations that it has not had. Running it twice, or in
    /// two processes at once, changes nothing more: each statement can be repeated.
    ///
    /// # Errors
    /// [`Error::Migration`] when the database belongs to a newer mimamori or a migration was edited.
    pub async fn migrate(&self) -> Result<Vec<Applied>, Error> {
        let database = &self.config.database;
        let plain = database
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if database.is_empty() || !plain {
            return Err(MigrationError::Name(database.clone()).into());
        }
        let outside = self.client.clone().with_database("default");
        let create = format!("CREATE DATABASE IF NOT EXISTS {database} ENGINE = Atomic");
        outside
            .query(&create)
            .execute()
            .await
            .map_err(|error| self.error("create the database", error))?;
        self.execute(
            "create schema_migrations",
            "CREATE TABLE IF NOT EXISTS schema_migrations
             (number UInt32, name String, checksum UInt64, applied_at DateTime64(3, 'UTC') DEFAULT now64(3))
             ENGINE = ReplacingMergeTree ORDER BY number",
        )
        .await?;

        let known: Vec<AppliedRow> = self
            .fetch("read schema_migrations", true, |client| {
                client.query("SELECT number, checksum FROM schema_migrations FINAL ORDER BY number")
            })
            .await?;
        for row in &known {
            let Some((number, name, text)) = MIGRATIONS.iter().find(|(number, ..)| *number == row.number)
            else {
                let database = database.clone();
                return Err(MigrationError::Newer {
                    database,
                    number: row.number,
                }
                .into());
            };
            if checksum(text) != row.checksum {
                let database = database.clone();
                return Err(MigrationError::Changed {
                    database,
                    number: *number,
                    name,
                }
                .into());
            }
        }

        let mut applied = Vec::new();
        for (number, name, text) in MIGRATIONS {
            if known.iter().any(|row| row.number == number) {
                continue;
            }
            for statement in statements(text) {
                self.execute(
                    &format!("apply migration {number} ({name})"),
                    &repeatable(&statement),
                )
                .await?;
            }
            let note = format!(
                "INSERT INTO schema_migrations (number, name, checksum) VALUES ({number}, '{name}', {})",
                checksum(text)
            );
            self.execute("note a migration", &note).await?;
            info!(number, name, database, "migration applied");
            applied.push(Applied { number, name });
        }
        self.client.clear_cached_metadata().await;
        Ok(applied)
    }

    pub(crate) async fn execute(&self, action: &str, statement: &str) -> Result<(), Error> {
        self.client
            .query_raw(statement)
            .execute()
            .await
            .map_err(|error| self.error(action, error))
    }
}

/// The statements of a migration: they end with a semicolon at the end of a line.
fn statements(text: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut current = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("--") {
            continue;
        }
        if let Some(last) = line.trim_end().strip_suffix(';') {
            current.push_str(last);
            statements.push(std::mem::take(&mut current).trim().to_string());
        } else {
            current.push_str(line);
            current.push('\n');
        }
    }
    statements.retain(|statement| !statement.is_empty());
    statements
}

/// The statement such that applying it twice is harmless: a migration may have been cut short, or
/// another process applies it too and has written rows since.
fn repeatable(statement: &str) -> String {
    for kind in ["CREATE TABLE ", "CREATE VIEW ", "CREATE MATERIALIZED VIEW "] {
        if let Some(rest) = statement.strip_prefix(kind) {
            return format!("{kind}IF NOT EXISTS {rest}");
        }
    }
    statement.to_string()
}

/// FNV-1a over the text, 64 bits: it only has to notice an edit.
fn checksum(text: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_is_numbered_in_order_and_each_statement_can_be_repeated() {
        for (position, (number, name, text)) in MIGRATIONS.iter().enumerate() {
            assert_eq!(*number as usize, position + 1, "{name}");
            let statements = statements(text);
            assert!(!statements.is_empty(), "{name}");
            for statement in statements {
                let statement = repeatable(&statement);
                let harmless = [
                    "IF NOT EXISTS",
                    "DROP TABLE IF EXISTS",
                    "DROP VIEW IF EXISTS",
                    "CREATE OR REPLACE VIEW",
                    "COMMENT COLUMN",
                    "MODIFY SETTING",
                ];
                assert!(
                    harmless.iter().any(|words| statement.contains(words)),
                    "{statement}"
                );
            }
        }
    }

    #[test]
    fn no_migration_drops_what_a_migration_creates_under_the_same_name_later() {
        let all: Vec<String> = MIGRATIONS
            .iter()
            .flat_map(|(.., text)| statements(text))
            .collect();
        for (position, statement) in all.iter().enumerate() {
            let Some(name) = statement.strip_prefix("DROP TABLE IF EXISTS ") else {
                continue;
            };
            let create = format!("CREATE TABLE {name}\n");
            assert!(
                !all[position..]
                    .iter()
                    .any(|later| format!("{later}\n").starts_with(&create)),
                "repeating {statement} would drop rows"
            );
        }
    }

    #[test]
    fn a_semicolon_inside_a_comment_does_not_end_a_statement() {
        let found =
            statements("-- one; two;\nCREATE VIEW a AS\nSELECT ';' AS x;\nCREATE VIEW b AS SELECT 1;\n");
        assert_eq!(
            found,
            ["CREATE VIEW a AS\nSELECT ';' AS x", "CREATE VIEW b AS SELECT 1"]
        );
    }
}
