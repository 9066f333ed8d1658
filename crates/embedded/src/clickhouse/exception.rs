//! What a statement can fail with, as ClickHouse says it.
//!
//! Every failure that reaches a client is one of ClickHouse's own error codes, in the text form
//! that clients parse (`Code: 60. DB::Exception: … (UNKNOWN_TABLE) (version …)`), and the HTTP
//! status follows from the code as it does in ClickHouse.

use std::{fmt, io};

use hyper::StatusCode;

/// ClickHouse's numbers for the failures that arise on this side of the engine.
pub(super) mod code {
    pub const BAD_ARGUMENTS: u32 = 36;
    pub const CHECKSUM_DOESNT_MATCH: u32 = 40;
    pub const NOT_IMPLEMENTED: u32 = 48;
    pub const SYNTAX_ERROR: u32 = 62;
    pub const UNKNOWN_COMPRESSION_METHOD: u32 = 89;
    pub const UNKNOWN_SETTING: u32 = 115;
    pub const TIMEOUT_EXCEEDED: u32 = 159;
    pub const TOO_MANY_STATEMENTS: u32 = 202;
    pub const NETWORK_ERROR: u32 = 210;
    pub const QUERY_IS_TOO_LARGE: u32 = 229;
    pub const ABORTED: u32 = 236;
    pub const CANNOT_DECOMPRESS: u32 = 271;
    pub const SESSION_NOT_FOUND: u32 = 372;
    pub const SESSION_IS_LOCKED: u32 = 373;
    pub const INVALID_SESSION_TIMEOUT: u32 = 374;
    pub const QUERY_WAS_CANCELLED: u32 = 394;
    pub const ACCESS_DENIED: u32 = 497;
    pub const AUTHENTICATION_FAILED: u32 = 516;
    pub const STD_EXCEPTION: u32 = 1001;
    pub const UNKNOWN_EXCEPTION: u32 = 1002;
}

fn name_of(code: u32) -> &'static str {
    match code {
        code::BAD_ARGUMENTS => "BAD_ARGUMENTS",
        code::CHECKSUM_DOESNT_MATCH => "CHECKSUM_DOESNT_MATCH",
        code::NOT_IMPLEMENTED => "NOT_IMPLEMENTED",
        code::SYNTAX_ERROR => "SYNTAX_ERROR",
        code::UNKNOWN_COMPRESSION_METHOD => "UNKNOWN_COMPRESSION_METHOD",
        code::UNKNOWN_SETTING => "UNKNOWN_SETTING",
        code::TIMEOUT_EXCEEDED => "TIMEOUT_EXCEEDED",
        code::TOO_MANY_STATEMENTS => "TOO_MANY_SIMULTANEOUS_QUERIES",
        code::NETWORK_ERROR => "NETWORK_ERROR",
        code::QUERY_IS_TOO_LARGE => "QUERY_IS_TOO_LARGE",
        code::ABORTED => "ABORTED",
        code::CANNOT_DECOMPRESS => "CANNOT_DECOMPRESS",
        code::SESSION_NOT_FOUND => "SESSION_NOT_FOUND",
        code::SESSION_IS_LOCKED => "SESSION_IS_LOCKED",
        code::INVALID_SESSION_TIMEOUT => "INVALID_SESSION_TIMEOUT",
        code::QUERY_WAS_CANCELLED => "QUERY_WAS_CANCELLED",
        code::ACCESS_DENIED => "ACCESS_DENIED",
        code::AUTHENTICATION_FAILED => "AUTHENTICATION_FAILED",
        code::STD_EXCEPTION => "STD_EXCEPTION",
        _ => "UNKNOWN_EXCEPTION",
    }
}

/// Longest text that is sent to a client. The parts of a failure that follows rows already sent
/// must reach the client in one piece, so it stays below every block size on the way.
const MAX_TEXT_BYTES: usize = 16 * 1024;

/// A statement's failure: ClickHouse's code and its full text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exception {
    code: u32,
    text: String,
}

impl Exception {
    /// A failure of our own, with one of the codes above.
    pub fn new(code: u32, reason: impl fmt::Display) -> Exception {
        let text = format!("Code: {code}. DB::Exception: {reason}. ({})", name_of(code));
        Exception {
            code,
            text: shortened(text),
        }
    }

    /// What the engine said; a text without a code (an internal one of the library) is kept whole.
    pub fn from_engine(message: &str) -> Exception {
        let message = message.trim();
        match leading_code(message) {
            Some(code) => Exception {
                code,
                text: shortened(message.to_owned()),
            },
            None if message.is_empty() => {
                Exception::new(code::UNKNOWN_EXCEPTION, "the engine gave no reason")
            }
            None => Exception::new(code::STD_EXCEPTION, message.trim_end_matches('.')),
        }
    }

    /// ClickHouse's number.
    pub fn code(&self) -> u32 {
        self.code
    }

    /// The text that goes to the client, ending in a newline; `version` is the engine's.
    pub fn to_client(&self, version: &str) -> String {
        if self.text.contains("(version ") {
            format!("{}\n", self.text)
        } else {
            format!("{} (version {version})\n", self.text)
        }
    }

    /// The HTTP status that ClickHouse gives to this code.
    pub fn status(&self) -> StatusCode {
        match self.code {
            194 => StatusCode::UNAUTHORIZED,
            192 | 193 | 497 | 512 | 516 => StatusCode::FORBIDDEN,
            6 | 8 | 15 | 25 | 26 | 27 | 36 | 37 | 38 | 41 | 44 | 53 | 62 | 72 | 117 | 123 | 167 | 168
            | 223 | 321 | 376 | 427 | 441 | 675 | 676 => StatusCode::BAD_REQUEST,
            46 | 47 | 50 | 56 | 60 | 63 | 73 | 78 | 81 | 115 | 152 | 336 | 511 => StatusCode::NOT_FOUND,
            229 => StatusCode::PAYLOAD_TOO_LARGE,
            48 => StatusCode::NOT_IMPLEMENTED,
            76 | 209 | 439 => StatusCode::SERVICE_UNAVAILABLE,
            381 => StatusCode::LENGTH_REQUIRED,
            159 => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Exception {}

/// A failed read of a request's body: an exception that travelled through a decoder as an
/// `io::Error`, or the decoder's own complaint.
impl From<io::Error> for Exception {
    fn from(error: io::Error) -> Exception {
        match error.downcast::<Exception>() {
            Ok(exception) => exception,
            Err(error) => Exception::new(
                code::CANNOT_DECOMPRESS,
                format!("cannot decompress the request: {error}"),
            ),
        }
    }
}

impl From<Exception> for io::Error {
    fn from(exception: Exception) -> io::Error {
        io::Error::other(exception)
    }
}

fn leading_code(message: &str) -> Option<u32> {
    let digits = message.strip_prefix("Code: ")?;
    let end = digits.find(|c: char| !c.is_ascii_digit())?;
    digits[..end].parse().ok()
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        let mut end = MAX_TEXT_BYTES;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_and_the_status_come_from_the_engines_text() {
        let exception =
            Exception::from_engine("Code: 60. DB::Exception: Table d.t does not exist. (UNKNOWN_TABLE)");
        assert_eq!(exception.code(), 60);
        assert_eq!(exception.status(), StatusCode::NOT_FOUND);
        assert!(
            exception
                .to_client("26.7")
                .ends_with("(UNKNOWN_TABLE) (version 26.7)\n")
        );
    }

    #[test]
    fn a_text_without_a_code_becomes_a_standard_exception() {
        let exception = Exception::from_engine("send_insert does not support this");
        assert_eq!(exception.code(), code::STD_EXCEPTION);
        assert!(
            exception
                .to_string()
                .starts_with("Code: 1001. DB::Exception: send_insert")
        );
    }

    #[test]
    fn an_exception_survives_the_way_through_a_reader() {
        let sent = Exception::new(code::NETWORK_ERROR, "the client went away");
        assert_eq!(Exception::from(io::Error::from(sent.clone())), sent);
        assert_eq!(
            Exception::from(io::Error::other("bad block")).code(),
            code::CANNOT_DECOMPRESS
        );
    }

    #[test]
    fn an_endless_text_is_cut_on_a_character() {
        let exception = Exception::new(code::BAD_ARGUMENTS, "見".repeat(20_000));
        assert!(exception.to_string().len() <= MAX_TEXT_BYTES);
    }
}
