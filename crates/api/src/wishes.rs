//! Bodies of requests that change something.
//!
//! They must be sent as `application/json`: no page of somebody else's can do that without asking first
//! (CORS), and nobody is answered who asks.

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// What the body says; an empty one says what `{}` does.
pub(crate) fn read<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, Problem> {
    let given = headers.get(header::CONTENT_TYPE);
    let given = given.and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = given.split(';').next().unwrap_or("").trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Problem::not_json(format!(
            "send Content-Type: application/json, not {given:?}; a body of {{}} will do where nothing is asked for"
        )));
    }
    let text: &[u8] = if body.is_empty() { b"{}" } else { body };
    // An array would be read as the members in their order.
    if text.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::wrong_body("it is an array, send an object".to_string()));
    }
    serde_json::from_slice(text).map_err(|error| Problem::wrong_body(error.to_string()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Wish {
        all: bool,
    }

    fn of(content_type: Option<&'static str>, body: &'static str) -> Result<Wish, Problem> {
        let mut headers = HeaderMap::new();
        if let Some(content_type) = content_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        read(&headers, &Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn only_what_a_foreign_page_cannot_send_is_read() {
        for refused in [
            None,
            Some("text/plain"),
            Some("application/x-www-form-urlencoded"),
        ] {
            assert!(of(refused, "{}").is_err(), "{refused:?}");
        }
        assert_eq!(of(Some("application/json"), "").unwrap(), Wish { all: false });
        let read = of(Some("Application/JSON; charset=utf-8"), r#"{"all":true}"#);
        assert_eq!(read.unwrap(), Wish { all: true });
        let told = of(Some("application/json"), r#"{"surprise":1}"#).unwrap_err();
        assert!(format!("{told:?}").contains("surprise"));
    }
}
