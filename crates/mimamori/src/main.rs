//! The mimamori command.

fn main() {}
