//! Where a record stands in a topic.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Partition and offset, written `PARTITION:OFFSET`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Address {
    pub partition: i32,
    pub offset: i64,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Through a text, so that it can be padded.
        f.pad(&format!("{}:{}", self.partition, self.offset))
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let parsed = text.split_once(':').and_then(|(partition, offset)| {
            Some(Address {
                partition: partition.parse().ok().filter(|number| *number >= 0)?,
                offset: offset.parse().ok().filter(|number| *number >= 0)?,
            })
        });
        parsed.ok_or_else(|| {
            "an address is PARTITION:OFFSET such as 0:17, as `mimamori rejected list` tells it".to_string()
        })
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written_and_nothing_else_is_one() {
        let address: Address = "3:1234567890123".parse().unwrap();
        assert_eq!((address.partition, address.offset), (3, 1_234_567_890_123));
        assert_eq!(address.to_string(), "3:1234567890123");
        for wrong in [
            "", "3", "3:", ":3", "-1:3", "3:-1", "3:4:5", "a:b", "0x3:1", "3 :1",
        ] {
            let error = wrong.parse::<Address>().unwrap_err();
            assert!(error.contains("PARTITION:OFFSET"), "{wrong:?}: {error}");
        }
    }
}
