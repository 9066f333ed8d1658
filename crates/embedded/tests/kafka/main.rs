//! The embedded broker as its clients see it: through librdkafka, through sockets, and from a process
//! that is killed.

mod clients;
mod durability;
mod groups;
mod hostile;
mod support;
