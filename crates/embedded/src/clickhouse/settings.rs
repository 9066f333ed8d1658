//! The configuration that the engine is started with, as files in the data folder.
//!
//! Without a file of ours the engine would read a `config.xml` from the current or the home
//! folder. What is set: a bound on memory, pools of the size that two cores need, spilling to
//! disk before the bound is met, and the rights of the one user there is.
//!
//! # What a request can reach
//! Every connection is the engine's user `default`, so the rights below hold for everyone. The
//! engine itself refuses, by them: reading and writing through the table functions and engines
//! `file`, `url`, `s3`, `remote`, `mysql`, `kafka` and all their like; `SYSTEM SHUTDOWN`;
//! creating users, functions, dictionaries and named collections; granting. The constraints
//! freeze the settings that name files or hosts and those that change the language. Scripts
//! for `executable` would lie in a folder that cannot exist. The rest is the work of
//! [`guard`](super::guard), which reads statements and is only as good as its list.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Rights of every request. Table and database engines with an outside source need a right of
/// their own, and none is given.
const GRANT: &str = "GRANT CHECK, SHOW, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, \
     CREATE TEMPORARY TABLE, DROP, UNDROP TABLE, TRUNCATE, OPTIMIZE, KILL QUERY, \
     MOVE PARTITION BETWEEN SHARDS, dictGet, SYSTEM DROP CACHE, SYSTEM FLUSH, SYSTEM MERGES, \
     SYSTEM TTL MERGES, SYSTEM VIEWS ON *.*";

/// Settings that no request may change.
const FROZEN: &[&str] = &[
    "allow_experimental_ai_functions",
    "allow_experimental_eval_table_function",
    "dialect",
    "format_avro_schema_registry_url",
    "format_schema",
    "format_schema_source",
    "format_template_resultset",
    "format_template_row",
    "implicit_select",
    "input_format_record_errors_file_path",
    "merge_tree_disk",
    "merge_tree_table_disk",
    "storage_file_read_method",
];

/// A folder that can never hold a script or a disk.
const NOWHERE: &str = "/dev/null/none/";

/// Where the files of one data folder are.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The engine's own folder.
    pub data: PathBuf,
    /// Held while a process uses the folder.
    pub lock: PathBuf,
    /// The engine's own file of the kind, there only while the engine runs or after a crash.
    pub status: PathBuf,
    config: PathBuf,
    users: PathBuf,
}

impl Layout {
    /// `folder` must be absolute.
    pub fn new(folder: &Path) -> Layout {
        Layout {
            data: folder.join("data"),
            status: folder.join("data").join("status"),
            lock: folder.join("lock"),
            config: folder.join("config.xml"),
            users: folder.join("users.xml"),
        }
    }

    /// Writes the configuration afresh.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, max_memory_bytes: u64) -> io::Result<()> {
        fs::create_dir_all(&self.data)?;
        fs::write(&self.users, users(max_memory_bytes))?;
        fs::write(
            &self.config,
            config(&self.users.to_string_lossy(), max_memory_bytes),
        )
    }

    /// What the first connection is opened with.
    pub fn arguments(&self) -> Vec<String> {
        vec![
            format!("--path={}", self.data.display()),
            format!("--config-file={}", self.config.display()),
        ]
    }
}

fn config(users: &str, max_memory_bytes: u64) -> String {
    let users = escaped(users);
    format!(
        "<clickhouse>
    <!-- Written at every start: changes here are lost. -->
    <users_config>{users}</users_config>
    <access_control_improvements>
        <table_engines_require_grant>true</table_engines_require_grant>
    </access_control_improvements>
    <user_scripts_path>{NOWHERE}</user_scripts_path>
    <custom_local_disks_base_directory>{NOWHERE}</custom_local_disks_base_directory>
    <max_server_memory_usage>{max_memory_bytes}</max_server_memory_usage>
    <mark_cache_size>67108864</mark_cache_size>
    <index_mark_cache_size>16777216</index_mark_cache_size>
    <uncompressed_cache_size>0</uncompressed_cache_size>
    <mmap_cache_size>100</mmap_cache_size>
    <compiled_expression_cache_size>33554432</compiled_expression_cache_size>
    <background_pool_size>2</background_pool_size>
    <background_merges_mutations_concurrency_ratio>2</background_merges_mutations_concurrency_ratio>
    <background_move_pool_size>1</background_move_pool_size>
    <background_fetches_pool_size>1</background_fetches_pool_size>
    <background_common_pool_size>2</background_common_pool_size>
    <background_schedule_pool_size>4</background_schedule_pool_size>
    <background_message_broker_schedule_pool_size>1</background_message_broker_schedule_pool_size>
    <background_distributed_schedule_pool_size>1</background_distributed_schedule_pool_size>
    <merge_tree>
        <!-- Thresholds of free slots, scaled to the four there are. -->
        <number_of_free_entries_in_pool_to_lower_max_size_of_merge>2</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
        <number_of_free_entries_in_pool_to_execute_mutation>2</number_of_free_entries_in_pool_to_execute_mutation>
        <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>2</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
    </merge_tree>
</clickhouse>
"
    )
}

fn users(max_memory_bytes: u64) -> String {
    let frozen: String = FROZEN
        .iter()
        .map(|name| format!("                <{name}><const/></{name}>\n"))
        .collect();
    let spill_bytes = max_memory_bytes / 4;
    format!(
        "<clickhouse>
    <profiles>
        <default>
            <implicit_select>0</implicit_select>
            <async_insert>0</async_insert>
            <max_bytes_before_external_group_by>{spill_bytes}</max_bytes_before_external_group_by>
            <max_bytes_before_external_sort>{spill_bytes}</max_bytes_before_external_sort>
            <constraints>
{frozen}            </constraints>
        </default>
    </profiles>
    <quotas><default></default></quotas>
    <users>
        <default>
            <password></password>
            <networks><ip>::/0</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
            <grants><query>{GRANT}</query></grants>
        </default>
    </users>
</clickhouse>
"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
