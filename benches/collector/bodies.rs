//! The events that are sent, as requests that are ready to be written to a connection.
//!
//! They are of the size and shape that products send: 210 bytes of native JSON, or 550 of a Segment SDK's.

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Requests that differ from each other, of each case.
const VARIANTS: usize = 4;
/// How much longer a stream is than a batch.
const STREAM_BATCHES: usize = 200;
/// A stream comes in pieces of this size, in bytes.
const PIECE: usize = 64 * 1024;
/// Packed as clients do: the default of both libraries.
const ZSTD_LEVEL: i32 = 3;

/// What a body looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An array of native events.
    Native,
    /// Segment's batch.
    Segment,
    /// A stream of native events, one a line.
    Lines,
    /// A single Segment message.
    Track,
}

impl Form {
    pub const ALL: [Form; 4] = [Form::Native, Form::Segment, Form::Lines, Form::Track];

    pub fn name(self) -> &'static str {
        match self {
            Form::Native => "native",
            Form::Segment => "segment",
            Form::Lines => "lines",
            Form::Track => "track",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Form::Native | Form::Lines => "/v1/events",
            Form::Segment => "/v1/batch",
            Form::Track => "/v1/track",
        }
    }
}

/// How it is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    pub const ALL: [Packing; 3] = [Packing::Plain, Packing::Gzip, Packing::Zstd];

    pub fn name(self) -> &'static str {
        match self {
            Packing::Plain => "plain",
            Packing::Gzip => "gzip",
            Packing::Zstd => "zstd",
        }
    }

    fn pack(self, body: Vec<u8>) -> Vec<u8> {
        match self {
            Packing::Plain => body,
            Packing::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                let written = encoder.write_all(&body).and_then(|()| encoder.finish());
                written.expect("memory takes what is written")
            }
            Packing::Zstd => zstd::encode_all(&body[..], ZSTD_LEVEL).expect("memory takes what is written"),
        }
    }
}

/// A request as it goes over the wire.
pub struct Request {
    pub bytes: Vec<u8>,
    pub events: u64,
    /// Of the body, unpacked.
    pub body_bytes: u64,
}

/// Requests of `batch` events each (a stream has more, a single event is one).
pub fn requests(form: Form, packing: Packing, batch: usize) -> Vec<Request> {
    let mut random = fastrand::Rng::with_seed(17);
    let occurred_at = now();
    let make = |_| {
        let events = match form {
            Form::Native | Form::Segment => batch,
            Form::Lines => batch * STREAM_BATCHES,
            Form::Track => 1,
        };
        let items: Vec<String> = (0..events)
            .map(|_| match form {
                Form::Native | Form::Lines => native(&mut random, &occurred_at),
                Form::Segment | Form::Track => segment(&mut random, &occurred_at, form),
            })
            .collect();
        let body = match form {
            Form::Native => format!("[{}]", items.join(",")),
            Form::Segment => format!(
                r#"{{"batch":[{}],"sentAt":"{occurred_at}","context":{{"library":{{"name":"bench","version":"1"}}}}}}"#,
                items.join(",")
            ),
            Form::Lines => items.join("\n"),
            Form::Track => items.concat(),
        };
        let body_bytes = body.len() as u64;
        Request {
            bytes: written(form, packing, &packing.pack(body.into_bytes())),
            events: events as u64,
            body_bytes,
        }
    };
    (0..VARIANTS).map(make).collect()
}

fn written(form: Form, packing: Packing, body: &[u8]) -> Vec<u8> {
    let content_type = match form {
        Form::Lines => "application/x-ndjson",
        _ => "application/json",
    };
    let mut head = format!(
        "POST {} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {content_type}\r\n",
        form.path()
    );
    if packing != Packing::Plain {
        let _ = write!(head, "content-encoding: {}\r\n", packing.name());
    }
    if form != Form::Lines {
        let _ = write!(head, "content-length: {}\r\n\r\n", body.len());
        return [head.as_bytes(), body].concat();
    }
    head.push_str("transfer-encoding: chunked\r\n\r\n");
    let mut bytes = head.into_bytes();
    for piece in body.chunks(PIECE) {
        bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

fn native(random: &mut fastrand::Rng, occurred_at: &str) -> String {
    let (id, account, user) = (random.u128(..), random.u32(..5_000), random.u32(..50));
    let (feature, count, page) = (random.u32(..40), random.u32(1..9), random.u32(..10_000));
    format!(
        r#"{{"event_id":"{id:032x}","account_id":"acct-{account:05}","user_id":"u-{account}-{user}","type":"feature","name":"feature.{feature}","occurred_at":"{occurred_at}","properties":{{"count":{count},"plan":"team","path":"/reports/{page}"}}}}"#
    )
}

fn segment(random: &mut fastrand::Rng, occurred_at: &str, form: Form) -> String {
    let (id, account, user) = (random.u128(..), random.u32(..5_000), random.u32(..50));
    let (feature, count, page) = (random.u32(..40), random.u32(1..9), random.u32(..10_000));
    // As the SDKs do, who do not say of a single event when it is sent.
    let call = if form == Form::Track {
        ""
    } else {
        r#""type":"track","#
    };
    format!(
        r#"{{"timestamp":"{occurred_at}","integrations":{{}},{call}"event":"Feature {feature} Used","userId":"u-{account}-{user}","messageId":"node-next-1795309323004-{id:032x}","properties":{{"count":{count},"plan":"team","path":"/reports/{page}"}},"context":{{"groupId":"acct-{account:05}","ip":"203.0.113.7","locale":"ja-JP","timezone":"Asia/Tokyo","userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36","library":{{"name":"@segment/analytics-node","version":"2.1.3"}}}},"_metadata":{{"nodeVersion":"22.11.0","jsRuntime":"node"}}}}"#
    )
}

#[allow(
    clippy::disallowed_methods,
    reason = "events are refused that did not happen lately"
)]
fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}
