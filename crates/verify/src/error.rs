/// Why nothing could be verified.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody has heard of the account.
    #[error("there is no account {0:?}: no event names it")]
    NoSuchAccount(String),
    /// The account has events and no evaluation.
    #[error(
        "account {0:?} has no evaluation in account_scores by then: run the aggregate role, or ask for a later time"
    )]
    NoRow(String),
    /// Nothing to compute from.
    #[error("no event of account {0:?} had happened and was known by then: ask for a later time")]
    NoEvents(String),
    /// The row cannot be made again with this configuration.
    #[error(
        "the evaluation of {account_id:?} at {at} was made by the model {made_by}, and the configuration is \
         that of {configured}: give the configuration that it was made with"
    )]
    AnotherModel {
        /// The account.
        account_id: String,
        /// When it was evaluated.
        at: String,
        /// The model that made it.
        made_by: String,
        /// The model that is configured.
        configured: String,
    },
    /// The tables are not those of this version.
    #[error("the tables have no usable column {0}: run mimamori migrate")]
    NoColumn(&'static str),
    /// The server's answer was not what was asked for.
    #[error("ClickHouse answered what is not a row of JSON: {0}")]
    Answer(#[source] serde_json::Error),
    /// ClickHouse.
    #[error(transparent)]
    Store(#[from] store::Error),
}
