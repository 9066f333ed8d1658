//! What the benches share: the events that they send with the truth about them, and the whole pipeline as
//! processes whose time and memory are told one by one.

pub mod answer;
pub mod pipeline;
pub mod quantile;
pub mod readme;
pub mod worker;
pub mod workload;
