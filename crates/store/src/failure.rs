//! What a failure says: never, or not now.

use clickhouse::error::Error as ClientError;

/// ClickHouse's codes that say that this request will never be accepted: it, the tables or the user's
/// rights have to change first. Any other code may be gone the next time: memory, disk, too many parts,
/// a server that starts or stops, a replica that is behind…
const FINAL_CODES: [u32; 112] = [
    // What is asked for does not exist or does not fit: columns, types, functions, tables, settings.
    1, 2, 7, 8, 9, 10, 12, 13, 15, 16, 19, 20, 34, 35, 36, 37, 42, 43, 44, 46, 47, 48, 50, 51, 52, 53, 55, 56,
    59, 60, 62, 63, 69, 70, 78, 80, 81, 85, 90, 115, 116, 120, 122, 123, 124, 125, 127, 129, 133, 134, 153,
    162, 167, 168, 174, 179, 181, 182, 183, 184, 190, 206, 207, 215, 223, 258, 309, 344, 352, 386, 407, 446,
    456, 457, 471, 721,
    // The data cannot be read as what they are said to be, or are too many for what the server allows.
    6, 25, 26, 27, 38, 41, 72, 73, 117, 128, 130, 131, 158, 161, 169, 170, 229, 248, 307, 321, 349, 396, 469,
    // The user may not.
    164, 192, 193, 194, 195, 291, 392, 452, 472, 497, 516, 620, 720,
];

/// Whether the same request would fail again, for the same reason. What is not the engine's own word, such
/// as a proxy's page or an answer that breaks off, says nothing of what became of the request.
pub(crate) fn is_final(error: &ClientError) -> bool {
    match error {
        ClientError::BadResponse(text) => {
            exception_code(text).is_some_and(|code| FINAL_CODES.contains(&code))
        }
        ClientError::Network(_)
        | ClientError::TimedOut
        | ClientError::Decompression(_)
        | ClientError::NotEnoughData
        | ClientError::InvalidColumnsHeader(_) => false,
        _ => true,
    }
}

fn exception_code(text: &str) -> Option<u32> {
    let (_, after) = text.split_once("Code: ")?;
    let digits: &str = after.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_short_of_something_is_asked_again_and_a_missing_table_is_not() {
        let said = |text: &str| ClientError::BadResponse(text.into());
        assert!(!is_final(&said(
            "Code: 241. DB::Exception: Memory limit (total) exceeded"
        )));
        assert!(!is_final(&said(
            "Code: 243. DB::Exception: Cannot reserve 1.00 MiB"
        )));
        assert!(!is_final(&said(
            "Code: 75. DB::ErrnoException: Cannot write to file: errno: 28"
        )));
        assert!(!is_final(&said("502 Bad Gateway")));
        assert!(!is_final(&ClientError::TimedOut));
        assert!(is_final(&said("Code: 60. DB::Exception: Unknown table")));
        assert!(is_final(&said(
            "Code: 516. DB::Exception: default: Authentication failed"
        )));
        assert!(is_final(&ClientError::SchemaMismatch("column".into())));
    }
}
