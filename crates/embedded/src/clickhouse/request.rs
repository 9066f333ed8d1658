//! What a request asks for, read from its URL, its headers and, for `multipart/form-data`,
//! its body.
//!
//! A name that the HTTP interface itself does not know is a setting of the engine, as in
//! ClickHouse: it is passed on, and the engine says when there is no such setting.

use std::time::Duration;

use base64::Engine as _;
use hyper::{
    HeaderMap, Method, Uri,
    header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, ORIGIN},
};
use percent_encoding::percent_decode_str;

use super::{
    compression::Decoding,
    exception::{Exception, code},
};

/// Names in a URL that belong to the interface and are no settings. Those that have no meaning
/// here are taken without effect, so that clients which always send them are served.
const NOT_SETTINGS: &[&str] = &[
    "add_http_cors_header",
    "buffer_size",
    "client_protocol_version",
    "close_session",
    "enable_http_compression",
    "http_write_exception_in_output_format",
    "log_comment",
    "query_id",
    "quota_key",
    "role",
    "session_check",
    "stacktrace",
];

const DEFAULT_FORMAT: &str = "TabSeparated";
const DEFAULT_SESSION_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_SESSION_TIMEOUT: Duration = Duration::from_secs(3600);

/// How the response's body is to be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Blocks,
    Lz4,
}

/// The session that a request belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SessionRef {
    pub id: String,
    /// How long it lives after this request.
    pub timeout: Duration,
    /// Refuse the request when there is no such session yet.
    pub must_exist: bool,
}

/// Everything about a request but its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub user: String,
    pub password: String,
    /// Statement text that came outside the body.
    pub query: Vec<u8>,
    /// Format of a result whose statement names none, and of an INSERT's data likewise.
    pub format: String,
    pub names_a_format: bool,
    pub database: Option<String>,
    /// Settings in the order they came.
    pub settings: Vec<(String, String)>,
    /// Server-side parameters, without the `param_` in front.
    pub parameters: Vec<(String, String)>,
    pub session: Option<SessionRef>,
    pub query_id: Option<String>,
    pub wait_end_of_query: bool,
    pub encoding: Encoding,
    pub decoding: Decoding,
    /// The boundary when the body is `multipart/form-data`.
    pub boundary: Option<String>,
}

impl Request {
    /// Reads the request's line and headers.
    ///
    /// # Errors
    /// A content encoding that is not supported, a broken `multipart/form-data` header, or a
    /// session timeout that is none.
    pub fn read(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Request, Exception> {
        let header = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let given = |name: &str| Some(header(name).to_owned()).filter(|value| !value.is_empty());
        let mut request = Request {
            user: given("x-clickhouse-user").unwrap_or_default(),
            password: given("x-clickhouse-key").unwrap_or_default(),
            query: Vec::new(),
            names_a_format: given("x-clickhouse-format").is_some(),
            format: given("x-clickhouse-format").unwrap_or_else(|| DEFAULT_FORMAT.to_owned()),
            database: given("x-clickhouse-database"),
            settings: Vec::new(),
            parameters: Vec::new(),
            session: None,
            query_id: None,
            wait_end_of_query: false,
            encoding: Encoding::Plain,
            decoding: Decoding::from_content_encoding(header(CONTENT_ENCODING.as_str()))?,
            boundary: boundary(header(CONTENT_TYPE.as_str()))?,
        };
        if let Some((user, password)) = basic_credentials(header(AUTHORIZATION.as_str())) {
            request.user = user;
            request.password = password;
        }
        if accepts(header(ACCEPT_ENCODING.as_str()), "lz4") {
            request.encoding = Encoding::Lz4;
        }
        let mut session = None;
        let mut timeout = DEFAULT_SESSION_TIMEOUT;
        let mut must_exist = false;
        for (name, value) in query_pairs(uri.query().unwrap_or_default()) {
            match name.as_str() {
                "session_id" => session = Some(value).filter(|id| !id.is_empty()),
                "session_timeout" => timeout = session_timeout(&value)?,
                "session_check" => must_exist = value == "1",
                _ => request.apply(name, value),
            }
        }
        request.session = session.map(|id| SessionRef {
            id,
            timeout,
            must_exist,
        });
        // As in ClickHouse, GET can only read; it may still change settings of its own.
        if *method == Method::GET || *method == Method::HEAD {
            request.settings.retain(|(name, _)| name != "readonly");
            request.settings.push(("readonly".into(), "2".into()));
        }
        Ok(request)
    }

    fn apply(&mut self, name: String, value: String) {
        match name.as_str() {
            "" => {}
            "query" => self.query.extend_from_slice(value.as_bytes()),
            "database" => self.database = Some(value).filter(|database| !database.is_empty()),
            "user" => self.user = value,
            "password" => self.password = value,
            "default_format" if !value.is_empty() => {
                self.format = value;
                self.names_a_format = true;
            }
            "default_format" => {}
            "compress" if value == "1" => self.encoding = Encoding::Blocks,
            "decompress" if value == "1" => self.decoding = Decoding::Blocks,
            "compress" | "decompress" => {}
            "wait_end_of_query" => self.wait_end_of_query = value == "1",
            "query_id" => self.query_id = Some(value).filter(|id| is_header_text(id)),
            "enable_http_compression" if value == "0" && self.encoding == Encoding::Lz4 => {
                self.encoding = Encoding::Plain;
            }
            _ if NOT_SETTINGS.contains(&name.as_str()) => {}
            _ => match name.strip_prefix("param_") {
                Some(parameter) => self.parameters.push((parameter.to_owned(), value)),
                None => self.settings.push((name, value)),
            },
        }
    }

    /// How long the statement may take, where the request says so. The engine keeps to it by itself, but
    /// only once it has data to work on.
    pub fn max_execution_time(&self) -> Option<Duration> {
        let given = self
            .settings
            .iter()
            .rfind(|(name, _)| name == "max_execution_time")?;
        let seconds: f64 = given.1.parse().ok()?;
        Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|limit| !limit.is_zero())
    }

    /// Takes in the fields of a `multipart/form-data` body: `query` and `param_…`.
    ///
    /// # Errors
    /// A body that does not follow its boundary, and external tables, which are not supported.
    pub fn take_form(&mut self, body: &[u8]) -> Result<(), Exception> {
        let Some(boundary) = self.boundary.take() else {
            return Ok(());
        };
        for field in form_fields(body, &boundary)? {
            if field.name != "query" && !field.name.starts_with("param_") {
                let reason = format!(
                    "external table `{}` in a form is not supported by the embedded engine",
                    field.name.escape_default()
                );
                return Err(Exception::new(code::NOT_IMPLEMENTED, reason));
            }
            if field.name == "query" {
                self.query.extend_from_slice(field.value);
            } else {
                let value = String::from_utf8(field.value.to_vec())
                    .map_err(|_| broken_form(&format!("`{}` is not UTF-8", field.name.escape_default())))?;
                self.apply(field.name, value);
            }
        }
        Ok(())
    }
}

/// Whether a page of another site made a browser send this. A browser says so by `Origin`; a
/// `Host` that is neither an address nor `localhost` betrays a name that was pointed here.
pub(super) fn comes_from_another_site(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(HOST).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let is_own =
        host.is_empty() || bare.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok();
    let same_origin = text(ORIGIN).is_none_or(|origin| {
        origin
            .split_once("://")
            .is_some_and(|(_, origin_host)| origin_host.eq_ignore_ascii_case(host))
    });
    !is_own || (headers.contains_key(ORIGIN) && !same_origin)
}

fn is_header_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= 256 && text.bytes().all(|c| c.is_ascii_graphic())
}

fn session_timeout(value: &str) -> Result<Duration, Exception> {
    let seconds = value.parse().map_err(|_| {
        let reason = format!("invalid session timeout: `{}`", value.escape_default());
        Exception::new(code::INVALID_SESSION_TIMEOUT, reason)
    })?;
    let timeout = Duration::from_secs(seconds);
    if timeout > MAX_SESSION_TIMEOUT {
        let most = MAX_SESSION_TIMEOUT.as_secs();
        let reason = format!("session timeout `{seconds}` is larger than {most}, the maximum");
        return Err(Exception::new(code::INVALID_SESSION_TIMEOUT, reason));
    }
    Ok(timeout)
}

fn accepts(header: &str, encoding: &str) -> bool {
    header.split(',').any(|part| {
        let mut fields = part.split(';').map(str::trim);
        fields
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case(encoding))
            && !fields.any(|field| matches!(field, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

fn basic_credentials(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(encoded.trim())
        .ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn query_pairs(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    let decoded = |text: &str| {
        percent_decode_str(&text.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
    };
    query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

fn boundary(content_type: &str) -> Result<Option<String>, Exception> {
    let mut fields = content_type.split(';').map(str::trim);
    if !fields
        .next()
        .is_some_and(|mime| mime.eq_ignore_ascii_case("multipart/form-data"))
    {
        return Ok(None);
    }
    let boundary = fields.find_map(|field| {
        let (name, value) = field.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("boundary")
            .then(|| value.trim().trim_matches('"'))
    });
    match boundary {
        Some(boundary) if (1..=70).contains(&boundary.len()) => Ok(Some(boundary.to_owned())),
        _ => Err(broken_form(
            "its content type has no boundary of 1 to 70 characters",
        )),
    }
}

struct FormField<'a> {
    name: String,
    value: &'a [u8],
}

fn form_fields<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<FormField<'a>>, Exception> {
    let fence = format!("--{boundary}");
    let inner_fence = format!("\r\n{fence}");
    let mut fields = Vec::new();
    let start = find(body, fence.as_bytes()).ok_or_else(|| broken_form("its boundary does not appear"))?;
    let mut rest = &body[start + fence.len()..];
    while !rest.starts_with(b"--") {
        let head_end =
            find(rest, b"\r\n\r\n").ok_or_else(|| broken_form("a field has no end of its header"))?;
        let name = field_name(&rest[..head_end]).ok_or_else(|| broken_form("a field has no name"))?;
        let content = &rest[head_end + 4..];
        let length =
            find(content, inner_fence.as_bytes()).ok_or_else(|| broken_form("a field has no end"))?;
        fields.push(FormField {
            name,
            value: &content[..length],
        });
        rest = &content[length + inner_fence.len()..];
    }
    Ok(fields)
}

fn field_name(head: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    let disposition = head.lines().find(|line| {
        line.to_ascii_lowercase()
            .trim_start()
            .starts_with("content-disposition:")
    })?;
    disposition.split(';').map(str::trim).find_map(|field| {
        let value = field.strip_prefix("name=")?;
        Some(value.trim_matches('"').to_owned())
    })
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|window| window == needle)
}

fn broken_form(reason: &str) -> Exception {
    Exception::new(code::BAD_ARGUMENTS, format!("cannot read the form: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    fn read(uri: &str, headers: &[(&'static str, &str)]) -> Result<Request, Exception> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        Request::read(&Method::POST, &uri.parse().unwrap(), &map)
    }

    #[test]
    fn names_of_the_interface_are_told_from_settings_and_parameters() {
        let request = read(
            "/?query=select+%7Bx:UInt8%7D&database=d&param_x=1&max_threads=2&query_id=q1&compress=1&role=r",
            &[("x-clickhouse-user", "default"), ("x-clickhouse-format", "CSV")],
        )
        .unwrap();
        assert_eq!(request.query, b"select {x:UInt8}");
        assert_eq!(request.database.as_deref(), Some("d"));
        assert_eq!(request.parameters, [("x".into(), "1".into())]);
        assert_eq!(request.settings, [("max_threads".into(), "2".into())]);
        assert_eq!(request.query_id.as_deref(), Some("q1"));
        assert_eq!(request.format, "CSV");
        assert_eq!(request.encoding, Encoding::Blocks);
    }

    #[test]
    fn a_get_can_only_read() {
        let request =
            Request::read(&Method::GET, &"/?readonly=0".parse().unwrap(), &HeaderMap::new()).unwrap();
        assert_eq!(request.settings, [("readonly".into(), "2".into())]);
    }

    #[test]
    fn credentials_come_from_either_kind_of_header() {
        let basic = format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode("u:p:q")
        );
        let request = read("/", &[("authorization", &basic)]).unwrap();
        assert_eq!((request.user.as_str(), request.password.as_str()), ("u", "p:q"));
        let request = read("/", &[("x-clickhouse-user", "u"), ("x-clickhouse-key", "k")]).unwrap();
        assert_eq!((request.user.as_str(), request.password.as_str()), ("u", "k"));
    }

    #[test]
    fn a_session_has_a_bounded_life() {
        let request = read("/?session_id=s&session_timeout=5&session_check=1", &[]).unwrap();
        let expected = SessionRef {
            id: "s".into(),
            timeout: Duration::from_secs(5),
            must_exist: true,
        };
        assert_eq!(request.session, Some(expected));
        assert_eq!(
            read("/?session_timeout=x", &[]).unwrap_err().code(),
            code::INVALID_SESSION_TIMEOUT
        );
        assert_eq!(
            read("/?session_timeout=9999", &[]).unwrap_err().code(),
            code::INVALID_SESSION_TIMEOUT
        );
    }

    #[test]
    fn a_form_carries_the_statement_and_its_parameters() {
        let mut request = read("/", &[("content-type", "multipart/form-data; boundary=\"xy\"")]).unwrap();
        let body = "--xy\r\nContent-Disposition: form-data; name=\"param_a\"\r\n\r\n1\r\n2\r\n\
                    --xy\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nselect {a:String}\r\n--xy--\r\n";
        request.take_form(body.as_bytes()).unwrap();
        assert_eq!(request.query, b"select {a:String}");
        assert_eq!(request.parameters, [("a".into(), "1\r\n2".into())]);
    }

    #[test]
    fn a_form_with_an_external_table_is_refused() {
        let mut request = read("/", &[("content-type", "multipart/form-data; boundary=xy")]).unwrap();
        let body = b"--xy\r\nContent-Disposition: form-data; name=\"t\"; filename=\"t\"\r\n\r\n1\r\n--xy--";
        assert_eq!(request.take_form(body).unwrap_err().code(), code::NOT_IMPLEMENTED);
    }

    #[test]
    fn a_page_of_another_site_is_recognised() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).parse().unwrap(), HeaderValue::from_static(value)))
                .collect()
        };
        assert!(comes_from_another_site(&headers(&[
            ("host", "127.0.0.1:8123"),
            ("origin", "https://evil.example")
        ])));
        assert!(comes_from_another_site(&headers(&[(
            "host",
            "evil.example:8123"
        )])));
        assert!(comes_from_another_site(&headers(&[
            ("host", "127.0.0.1:8123"),
            ("origin", "null")
        ])));
        assert!(!comes_from_another_site(&headers(&[("host", "[::1]:8123")])));
        assert!(!comes_from_another_site(&headers(&[
            ("host", "localhost"),
            ("origin", "http://localhost")
        ])));
        assert!(!comes_from_another_site(&HeaderMap::new()));
    }

    proptest! {
        #[test]
        fn no_body_breaks_the_form_reader(
            body in "(--xy|--|\r\n|\r\n\r\n|Content-Disposition: form-data; name=\"|query|\"|;|param_a|x){0,30}",
        ) {
            let mut request = read("/", &[("content-type", "multipart/form-data; boundary=xy")]).unwrap();
            let _ = request.take_form(body.as_bytes());
        }

        #[test]
        fn no_query_string_breaks_the_reader(query in "[a-z_=&%+0-9]{0,60}") {
            let _ = read(&format!("/?{query}"), &[]);
        }
    }
}
