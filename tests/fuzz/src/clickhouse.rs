//! Requests of the embedded ClickHouse, as far as they are read before the engine sees them: the URL's query,
//! headers, bodies in its own blocks, LZ4, gzip and forms, and where a statement ends and data begin.

use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Uri};

use crate::wire::kind_of;

/// The most bytes of a statement, and of a body after decompression.
const MOST_STATEMENT: u64 = 1 << 20;
const MOST_BODY: u64 = 64 << 20;

/// A POST: its path and query in the first line, then headers, an empty line and the body. A header
/// `checksum: mend` has the checksum of a body's first block set right.
pub fn clickhouse_request(data: &[u8]) -> String {
    let end = data.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = match end {
        Some(end) => (&data[..end], &data[end + 2..]),
        None => (data, &[][..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let Ok(uri) = Uri::try_from(lines.next().unwrap_or_default()) else {
        return "no URL".to_string();
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let mut body = body.to_vec();
    if headers.remove("checksum").is_some() {
        mend_checksum(&mut body);
    }
    match embedded::clickhouse::read_request(&uri, &headers, &body, MOST_STATEMENT, MOST_BODY) {
        Ok((word, _)) => format!("read {}", word.chars().take(10).collect::<String>()),
        Err(error) => {
            assert!(error.starts_with("Code: "), "is no exception: {error}");
            let words = error.split(". ").nth(1).unwrap_or_default();
            kind_of(words.split('`').next().unwrap_or_default())
        }
    }
}

/// Blocks begin with a hash that no change of theirs would ever meet.
fn mend_checksum(body: &mut [u8]) {
    const CHECKSUM: usize = 16;
    let Some((checksum, rest)) = body.split_first_chunk_mut::<CHECKSUM>() else {
        return;
    };
    let Some(size) = rest.get(1..5).and_then(|size| size.first_chunk()) else {
        return;
    };
    let size = u32::from_le_bytes(*size) as usize;
    if let Some(block) = rest.get(..size) {
        *checksum = cityhash_rs::cityhash_102_128(block).rotate_left(64).to_le_bytes();
    }
}
