//! Who takes part, how each is started, and what each cannot do.

/// One row of the table.
#[derive(Debug)]
pub struct Peer {
    /// What `--only` looks at.
    pub name: &'static str,
    /// What the table calls it; `{version}` is put in.
    pub title: &'static str,
    /// How it runs.
    pub program: Program,
    /// Whether the events themselves land in ClickHouse, for any question that comes later.
    pub lands_rows: bool,
    /// What a `kill -9` at any instant costs.
    pub crash: &'static str,
}

/// How a peer runs.
#[derive(Debug)]
pub enum Program {
    /// mimamori's own ingest and aggregate.
    Mimamori,
    /// A script of this folder.
    Python {
        /// Its file, and that of its requirements, without the ending.
        script: &'static str,
        /// What it is told beside what all are told.
        arguments: &'static [&'static str],
        /// Which ClickHouse it works with.
        clickhouse: ClickHouse,
    },
    /// A Maven project of this folder.
    Java {
        /// Its folder.
        project: &'static str,
        /// The class with `main`.
        class: &'static str,
    },
}

/// Which ClickHouse a script works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClickHouse {
    /// None.
    None,
    /// The embedded one, as a process of its own, over HTTP.
    Served,
    /// The engine's library, which the script loads into its own process.
    Loaded,
}

const DUPLICATE_ROWS: &str = "raw rows twice; days right";
const ALL_LOST: &str = "all state (could be saved, at a cost)";
/// What is folded again finds some stores newer than others, without transactions.
const OFF_BY_SOME: &str = "counts off by what was under way";

/// All that take part, in the order in which they take turns.
pub const PEERS: &[Peer] = &[
    Peer {
        name: "mimamori",
        title: "**mimamori {version}**",
        program: Program::Mimamori,
        lands_rows: true,
        crash: "nothing",
    },
    Peer {
        name: "kafka-engine-json",
        title: "ClickHouse {version}, Kafka engine, JSONEachRow, view",
        program: Program::Python {
            script: "kafka_engine",
            arguments: &["--parse", "json-each-row", "--days", "view"],
            clickhouse: ClickHouse::Loaded,
        },
        lands_rows: true,
        crash: DUPLICATE_ROWS,
    },
    Peer {
        name: "kafka-engine-raw-blob",
        title: "ClickHouse {version}, Kafka engine, RawBLOB, view",
        program: Program::Python {
            script: "kafka_engine",
            arguments: &["--parse", "raw-blob", "--days", "view"],
            clickhouse: ClickHouse::Loaded,
        },
        lands_rows: true,
        crash: DUPLICATE_ROWS,
    },
    Peer {
        name: "kafka-engine-rows",
        title: "ClickHouse {version}, Kafka engine, RawBLOB, rows only, counted by one query",
        program: Program::Python {
            script: "kafka_engine",
            arguments: &["--parse", "raw-blob", "--days", "query"],
            clickhouse: ClickHouse::Loaded,
        },
        lands_rows: true,
        crash: DUPLICATE_ROWS,
    },
    Peer {
        name: "lander",
        title: "Python lander (confluent-kafka {version}), view in ClickHouse",
        program: Program::Python {
            script: "lander",
            arguments: &["--days", "view"],
            clickhouse: ClickHouse::Served,
        },
        lands_rows: true,
        crash: DUPLICATE_ROWS,
    },
    Peer {
        name: "lander-rows",
        title: "Python lander (confluent-kafka {version}), rows only, counted by one query",
        program: Program::Python {
            script: "lander",
            arguments: &["--days", "query"],
            clickhouse: ClickHouse::Served,
        },
        lands_rows: true,
        crash: DUPLICATE_ROWS,
    },
    Peer {
        name: "kafka-streams",
        title: "Kafka Streams {version}",
        program: Program::Java {
            project: "kafka-streams",
            class: "UsageDays",
        },
        lands_rows: false,
        crash: OFF_BY_SOME,
    },
    Peer {
        name: "flink",
        title: "Flink {version}",
        program: Program::Java {
            project: "flink",
            class: "UsageDays",
        },
        lands_rows: false,
        crash: ALL_LOST,
    },
    Peer {
        name: "pathway",
        title: "Pathway {version}",
        program: Program::Python {
            script: "pathway_tables",
            arguments: &[],
            clickhouse: ClickHouse::None,
        },
        lands_rows: false,
        crash: ALL_LOST,
    },
    Peer {
        name: "bytewax",
        title: "Bytewax {version}",
        program: Program::Python {
            script: "bytewax_flow",
            arguments: &[],
            clickhouse: ClickHouse::None,
        },
        lands_rows: false,
        crash: ALL_LOST,
    },
    Peer {
        name: "quix-streams",
        title: "Quix Streams {version}",
        program: Program::Python {
            script: "quix_streams",
            arguments: &[],
            clickhouse: ClickHouse::None,
        },
        lands_rows: false,
        crash: OFF_BY_SOME,
    },
];
