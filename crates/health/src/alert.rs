/// A change of an alert episode, as it travels in `mimamori.alerts`
/// (`schemas/proto/mimamori/v1/alert.proto`).
///
/// The id of a change follows from the account, the rule, the number of the episode and the change,
/// so that a change that is found again after a crash has the id that it had before.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AlertChange {
    /// Of this change; the `webhook-id`.
    #[prost(string, tag = "1")]
    pub alert_id: String,
    /// Of the episode.
    #[prost(string, tag = "2")]
    pub episode_id: String,
    /// The account that it is about.
    #[prost(string, tag = "3")]
    pub account_id: String,
    /// The rule's name.
    #[prost(string, tag = "4")]
    pub rule: String,
    /// `info`, `warning` or `critical`.
    #[prost(string, tag = "5")]
    pub severity: String,
    /// `opened`, `escalated`, `resolved` or `retracted`.
    #[prost(string, tag = "6")]
    pub change: String,
    /// When the change was found, milliseconds.
    #[prost(int64, tag = "7")]
    pub at: i64,
    /// Why, one English sentence.
    #[prost(string, tag = "8")]
    pub reason: String,
    /// Why, one Japanese sentence.
    #[prost(string, tag = "9")]
    pub reason_ja: String,
    /// The `data` of the webhook: a JSON object as text.
    #[prost(string, tag = "10")]
    pub payload: String,
    /// When the newest event that it rests on was received, milliseconds; 0 when a timer caused it.
    #[prost(int64, tag = "11")]
    pub caused_by_received_at: i64,
}
