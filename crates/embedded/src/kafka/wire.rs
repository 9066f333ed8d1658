//! Requests and answers on the wire: which calls are served, and what a frame must look like before it
//! is decoded.
//!
//! Holds: nothing is allocated on a frame's word. The message decoders reserve room for as many elements
//! as a frame claims, so every frame is walked first against the shape of its request; a frame that
//! claims more than it holds is turned away there.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes};

/// Array elements that one request may hold, over all its arrays.
const MOST_ELEMENTS: usize = 100_000;

/// A call that is served.
pub struct Served {
    pub key: ApiKey,
    pub min: i16,
    pub max: i16,
    /// The first version with compact lengths and tagged fields.
    flexible_from: i16,
    /// The request's fields: `b h i l` are numbers of 1, 2, 4 and 8 bytes, `s` a string, `y` bytes,
    /// `[ … ]` an array of structures, `< … >` an array of plain values; `3+` or `-3` after one names
    /// the versions that have it.
    shape: &'static str,
}

const fn served(key: ApiKey, min: i16, max: i16, flexible_from: i16, shape: &'static str) -> Served {
    Served {
        key,
        min,
        max,
        flexible_from,
        shape,
    }
}

/// Every call that is served. Fetch, metadata and the like stop where topic ids begin: topics are known
/// by name here.
pub const SERVED: [Served; 21] = [
    served(ApiKey::Produce, 3, 12, 9, "s h i [ s [ i y ] ]"),
    served(
        ApiKey::Fetch,
        4,
        12,
        12,
        "i i i i b i7+ i7+ [ s [ i i9+ l i12+ l5+ i ] ] [7+ s < i > ] s11+",
    ),
    served(ApiKey::ListOffsets, 1, 7, 6, "i b2+ [ s [ i i4+ l ] ]"),
    served(ApiKey::Metadata, 0, 9, 9, "[ s ] b4+ b8+ b8+"),
    served(ApiKey::OffsetCommit, 2, 8, 8, "s i s s7+ l-4 [ s [ i l i6+ s ] ]"),
    served(
        ApiKey::OffsetFetch,
        1,
        8,
        6,
        "s-7 [-7 s < i > ] [8+ s [ s < i > ] ] b7+",
    ),
    served(ApiKey::FindCoordinator, 0, 4, 3, "s-3 b1+ <4+ s >"),
    served(ApiKey::JoinGroup, 0, 9, 6, "s i i1+ s s5+ s [ s y ] s8+"),
    served(ApiKey::Heartbeat, 0, 4, 4, "s i s s3+"),
    served(ApiKey::LeaveGroup, 0, 5, 4, "s s-2 [3+ s s s5+ ]"),
    served(ApiKey::SyncGroup, 0, 5, 4, "s i s s3+ s5+ s5+ [ s y ]"),
    served(ApiKey::DescribeGroups, 0, 5, 5, "< s > b3+"),
    served(ApiKey::ListGroups, 0, 4, 3, "<4+ s >"),
    served(ApiKey::ApiVersions, 0, 3, 3, "s3+ s3+"),
    served(ApiKey::CreateTopics, 2, 6, 5, "[ s i h [ i < i > ] [ s s ] ] i b"),
    served(ApiKey::DeleteTopics, 1, 5, 4, "< s > i"),
    served(ApiKey::InitProducerId, 0, 4, 2, "s i l3+ h3+"),
    served(ApiKey::OffsetForLeaderEpoch, 2, 4, 4, "i3+ [ s [ i i i ] ]"),
    served(ApiKey::DescribeConfigs, 1, 4, 4, "[ b s < s > ] b b3+"),
    served(ApiKey::CreatePartitions, 0, 3, 2, "[ s i [ < i > ] ] i b"),
    served(ApiKey::DeleteGroups, 0, 2, 2, "< s >"),
];

/// A request's header.
#[derive(Debug)]
pub struct Header {
    pub key: i16,
    pub version: i16,
    pub correlation: i32,
    pub client_id: StrBytes,
}

/// A frame that was understood.
pub enum Request {
    /// A call that is served; `body` can be decoded safely.
    Served {
        header: Header,
        key: ApiKey,
        body: Bytes,
    },
    /// A call, or a version of one, that is not.
    Unserved(Header),
}

/// Reads a frame's header and checks its body; `None` when it is no request.
pub fn parse(frame: Bytes) -> Option<Request> {
    let mut walker = Walker {
        rest: &frame,
        version: 0,
        flexible: false,
        elements: 0,
    };
    let key = i16::from_be_bytes(*walker.take(2)?.first_chunk()?);
    let version = i16::from_be_bytes(*walker.take(2)?.first_chunk()?);
    let correlation = i32::from_be_bytes(*walker.take(4)?.first_chunk()?);
    let mut header = Header {
        key,
        version,
        correlation,
        client_id: StrBytes::default(),
    };
    let known = SERVED.iter().find(|served| served.key as i16 == key);
    let Some(served) = known.filter(|served| (served.min..=served.max).contains(&version)) else {
        return Some(Request::Unserved(header));
    };
    let client_id = walker.string()?;
    header.client_id = StrBytes::from_utf8(frame.slice_ref(client_id)).ok()?;
    (walker.version, walker.flexible) = (version, version >= served.flexible_from);
    if walker.flexible {
        walker.tagged_fields()?;
    }
    let body = frame.slice_ref(walker.rest);
    let shape: Vec<&str> = served.shape.split_whitespace().collect();
    walker.structure(&shape)?;
    Some(Request::Served {
        header,
        key: served.key,
        body,
    })
}

/// Walks over a message without keeping anything of it.
struct Walker<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    elements: usize,
}

impl<'a> Walker<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        if count > self.rest.len() {
            return None;
        }
        let (front, rest) = self.rest.split_at(count);
        self.rest = rest;
        Some(front)
    }

    fn structure(&mut self, shape: &[&str]) -> Option<()> {
        self.fields(shape)?;
        if self.flexible {
            self.tagged_fields()
        } else {
            Some(())
        }
    }

    fn fields(&mut self, shape: &[&str]) -> Option<()> {
        let mut at = 0;
        while let Some(field) = shape.get(at) {
            let (kind, versions) = field.split_at(1);
            let present = is_in(self.version, versions);
            let mut next = at + 1;
            if kind == "[" || kind == "<" {
                let inner = &shape[next..];
                let end = closing(inner);
                next += end + 1;
                if present {
                    self.array(&inner[..end], kind == "[")?;
                }
            } else if present {
                self.plain(kind)?;
            }
            at = next;
        }
        Some(())
    }

    fn plain(&mut self, kind: &str) -> Option<()> {
        match kind {
            "b" => self.take(1).map(drop),
            "h" => self.take(2).map(drop),
            "i" => self.take(4).map(drop),
            "l" => self.take(8).map(drop),
            "s" => self.string().map(drop),
            _ => {
                let length = self.length(4)?;
                self.take(length).map(drop)
            }
        }
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.length(2)?;
        self.take(length)
    }

    fn array(&mut self, element: &[&str], structures: bool) -> Option<()> {
        let count = self.length(4)?;
        self.elements += count;
        if count > self.rest.len() || self.elements > MOST_ELEMENTS {
            return None;
        }
        for _ in 0..count {
            if structures {
                self.structure(element)?
            } else {
                self.fields(element)?
            }
        }
        Some(())
    }

    /// A length of `width` bytes, or a compact one; a null has none.
    fn length(&mut self, width: usize) -> Option<usize> {
        if self.flexible {
            return Some((self.varint()? as usize).saturating_sub(1));
        }
        let length = match width {
            2 => i64::from(i16::from_be_bytes(*self.take(2)?.first_chunk()?)),
            _ => i64::from(i32::from_be_bytes(*self.take(4)?.first_chunk()?)),
        };
        if length < -1 {
            return None;
        }
        Some(length.max(0) as usize)
    }

    fn varint(&mut self) -> Option<u32> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn tagged_fields(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()? as usize;
            self.take(length)?;
        }
        Some(())
    }
}

/// The items without those whose key was there before. What is named twice is answered once, so that an
/// answer is not larger than what there is to tell.
pub fn once<T, K: Ord>(items: impl IntoIterator<Item = T>, key: impl Fn(&T) -> K) -> impl Iterator<Item = T> {
    let mut seen = BTreeSet::new();
    items.into_iter().filter(move |item| seen.insert(key(item)))
}

/// Where the bracket closes that was opened before `shape`.
fn closing(shape: &[&str]) -> usize {
    let mut depth = 0usize;
    for (at, field) in shape.iter().enumerate() {
        match field.as_bytes()[0] {
            b'[' | b'<' => depth += 1,
            b']' | b'>' if depth == 0 => return at,
            b']' | b'>' => depth -= 1,
            _ => {}
        }
    }
    shape.len()
}

fn is_in(version: i16, versions: &str) -> bool {
    let bound = |text: &str| text.parse::<i16>().unwrap_or(0);
    match (versions.strip_suffix('+'), versions.strip_prefix('-')) {
        (Some(from), _) => version >= bound(from),
        (_, Some(to)) => version <= bound(to),
        _ => true,
    }
}

/// The frame of an answer.
pub fn encode<R: Encodable + HeaderVersion>(
    correlation: i32,
    version: i16,
    answer: &R,
) -> Result<BytesMut, String> {
    let problem = |error| format!("cannot encode an answer of version {version}: {error}");
    let size = answer.compute_size(version).map_err(problem)?;
    let mut out = BytesMut::with_capacity(size + 16);
    out.put_i32(0);
    out.put_i32(correlation);
    if R::header_version(version) >= 1 {
        out.put_u8(0);
    }
    answer.encode(&mut out, version).map_err(problem)?;
    close_frame(out).ok_or_else(|| "an answer is larger than a frame can be".to_owned())
}

/// The frame that tells a client that its call is not served. There is no common layout of answers; this
/// is the most usual one (throttle time, error), and enough zeros to read as empty what follows.
pub fn encode_unserved(header: &Header) -> Option<BytesMut> {
    let mut out = BytesMut::with_capacity(64);
    out.put_i32(0);
    out.put_i32(header.correlation);
    let key = ApiKey::try_from(header.key).ok();
    if key.is_some_and(|key| key.response_header_version(header.version) >= 1) {
        out.put_u8(0);
    }
    match key {
        Some(ApiKey::SaslHandshake) => out.put_i16(ResponseError::UnsupportedSaslMechanism.code()),
        _ => {
            out.put_i32(0);
            out.put_i16(ResponseError::UnsupportedVersion.code());
        }
    }
    out.put_bytes(0, 32);
    close_frame(out)
}

fn close_frame(mut out: BytesMut) -> Option<BytesMut> {
    let length = i32::try_from(out.len() - 4).ok()?;
    out[..4].copy_from_slice(&length.to_be_bytes());
    Some(out)
}
