//! Compressed bodies, both ways: ClickHouse's own blocks (`compress=1`, `decompress=1`) and
//! the HTTP content encodings `lz4` and `gzip`.
//!
//! A block is 16 bytes of CityHash 1.0.2 over what follows, one byte for the method, the sizes
//! before and after as 32-bit numbers, and the data. Decoding reads from a stream, holds one
//! block at a time, and believes no size before the bytes are there: memory for a block grows
//! with what arrived, and a block claims at most [`MAX_BLOCK_BYTES`].

use std::io::{self, BufRead, Read, Write};

use flate2::bufread::MultiGzDecoder;
use lz4_flex::frame::{FrameDecoder, FrameEncoder};

use super::exception::{Exception, code};

const CHECKSUM_BYTES: usize = 16;
const HEADER_BYTES: usize = 9;
const METHOD_NONE: u8 = 0x02;
const METHOD_LZ4: u8 = 0x82;

/// Largest block that is decoded, before or after decompression.
const MAX_BLOCK_BYTES: usize = 64 << 20;

/// Blocks that are written hold at most so much before compression.
const WRITTEN_BLOCK_BYTES: usize = 1 << 20;

/// How a request's body comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoding {
    Plain,
    /// ClickHouse's blocks.
    Blocks,
    /// LZ4 frames.
    Lz4,
    Gzip,
}

impl Decoding {
    /// From the `Content-Encoding` of a request.
    ///
    /// # Errors
    /// `UNKNOWN_COMPRESSION_METHOD` for anything but `identity`, `lz4` and `gzip`.
    pub fn from_content_encoding(name: &str) -> Result<Decoding, Exception> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Decoding::Plain),
            "lz4" => Ok(Decoding::Lz4),
            "gzip" | "x-gzip" => Ok(Decoding::Gzip),
            other => Err(Exception::new(
                code::UNKNOWN_COMPRESSION_METHOD,
                format!(
                    "content encoding `{}` is not supported here: use lz4, gzip or none",
                    other.escape_default()
                ),
            )),
        }
    }

    /// The decoded body.
    pub fn reader<'a>(self, body: impl BufRead + 'a) -> Box<dyn Read + 'a> {
        match self {
            Decoding::Plain => Box::new(body),
            Decoding::Blocks => Box::new(BlockReader::new(body)),
            Decoding::Lz4 => Box::new(Lz4Reader {
                frame: Some(FrameDecoder::new(body)),
            }),
            Decoding::Gzip => Box::new(MultiGzDecoder::new(body)),
        }
    }
}

/// LZ4 frames one after the other; an empty body is no frame at all.
struct Lz4Reader<R: BufRead> {
    frame: Option<FrameDecoder<R>>,
}

impl<R: BufRead> Read for Lz4Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(mut frame) = self.frame.take() {
            if frame.get_mut().fill_buf()?.is_empty() && buffer.is_empty() {
                return Ok(0);
            }
            let read = frame.read(buffer)?;
            if read > 0 {
                self.frame = Some(frame);
                return Ok(read);
            }
            let mut body = frame.into_inner();
            if !body.fill_buf()?.is_empty() {
                self.frame = Some(FrameDecoder::new(body));
            }
        }
        Ok(0)
    }
}

/// ClickHouse's blocks as a stream of what they hold.
pub(super) struct BlockReader<R> {
    inner: R,
    compressed: Vec<u8>,
    block: Vec<u8>,
    at: usize,
}

impl<R: Read> BlockReader<R> {
    pub fn new(inner: R) -> BlockReader<R> {
        BlockReader {
            inner,
            compressed: Vec::new(),
            block: Vec::new(),
            at: 0,
        }
    }

    /// Reads the next block; `false` at the end of the stream.
    fn next_block(&mut self) -> io::Result<bool> {
        self.at = 0;
        self.block.clear();
        self.fill(CHECKSUM_BYTES + HEADER_BYTES)?;
        if self.compressed.is_empty() {
            return Ok(false);
        }
        let Some((head, _)) = self
            .compressed
            .split_first_chunk::<{ CHECKSUM_BYTES + HEADER_BYTES }>()
        else {
            return Err(broken("the last block is cut off in its header"));
        };
        let method = head[16];
        let compressed_size = u32::from_le_bytes([head[17], head[18], head[19], head[20]]) as usize;
        let size = u32::from_le_bytes([head[21], head[22], head[23], head[24]]) as usize;
        let checksum: [u8; CHECKSUM_BYTES] = std::array::from_fn(|at| head[at]);
        if !(HEADER_BYTES..=MAX_BLOCK_BYTES).contains(&compressed_size) || size > MAX_BLOCK_BYTES {
            return Err(broken(&format!(
                "a block claims {compressed_size} bytes for {size}"
            )));
        }
        self.fill(CHECKSUM_BYTES + compressed_size)?;
        let body = &self.compressed[CHECKSUM_BYTES..];
        if body.len() < compressed_size {
            return Err(broken("the last block is cut off"));
        }
        if checksum_of(body) != checksum {
            let reason = "checksum of a compressed block doesn't match: corrupted data";
            return Err(Exception::new(code::CHECKSUM_DOESNT_MATCH, reason).into());
        }
        let data = &body[HEADER_BYTES..];
        match method {
            // LZ4 yields at most 255 bytes for one.
            METHOD_LZ4 if size / 255 > data.len() => {
                return Err(broken(&format!(
                    "{} bytes cannot hold a block of {size}",
                    data.len()
                )));
            }
            METHOD_LZ4 => {
                self.block.resize(size, 0);
                let written = lz4_flex::block::decompress_into(data, &mut self.block)
                    .map_err(|error| broken(&format!("a block is not LZ4: {error}")))?;
                if written != size {
                    return Err(broken(&format!(
                        "a block holds {written} bytes in place of {size}"
                    )));
                }
            }
            METHOD_NONE if data.len() != size => {
                return Err(broken(&format!(
                    "a stored block holds {} bytes in place of {size}",
                    data.len()
                )));
            }
            METHOD_NONE => self.block.extend_from_slice(data),
            other => {
                let reason =
                    format!("method {other:#04x} of a compressed block is not supported here: use lz4");
                return Err(Exception::new(code::UNKNOWN_COMPRESSION_METHOD, reason).into());
            }
        }
        self.compressed.clear();
        Ok(true)
    }

    /// Reads until so many compressed bytes are there, or the stream ends.
    fn fill(&mut self, length: usize) -> io::Result<()> {
        let missing = length.saturating_sub(self.compressed.len()) as u64;
        self.inner
            .by_ref()
            .take(missing)
            .read_to_end(&mut self.compressed)?;
        Ok(())
    }
}

impl<R: Read> Read for BlockReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let length = buffer.len().min(self.block.len() - self.at);
        buffer[..length].copy_from_slice(&self.block[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

fn broken(reason: &str) -> io::Error {
    Exception::new(code::CANNOT_DECOMPRESS, reason).into()
}

/// The hash as it stands before a block: the low half first, each half little-endian.
fn checksum_of(body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    cityhash_rs::cityhash_102_128(body).rotate_left(64).to_le_bytes()
}

/// How a response's body goes out.
pub(super) enum Encoder {
    Plain,
    /// ClickHouse's blocks.
    Blocks,
    /// One LZ4 frame over the whole body, flushed after every part.
    Lz4(Box<FrameEncoder<Vec<u8>>>),
}

impl Encoder {
    pub fn lz4() -> Encoder {
        Encoder::Lz4(Box::new(FrameEncoder::new(Vec::new())))
    }

    /// The `Content-Encoding` to announce.
    pub fn content_encoding(&self) -> Option<&'static str> {
        match self {
            Encoder::Plain | Encoder::Blocks => None,
            Encoder::Lz4(_) => Some("lz4"),
        }
    }

    /// One part of the body, ready to be decoded as soon as it arrived.
    pub fn encode(&mut self, data: Vec<u8>) -> Vec<u8> {
        match self {
            Encoder::Plain => data,
            Encoder::Blocks => blocks(&data),
            Encoder::Lz4(frame) => {
                // Writing into memory fails only where there is no more of it.
                let written = frame.write_all(&data).and_then(|()| frame.flush());
                debug_assert!(written.is_ok());
                std::mem::take(frame.get_mut())
            }
        }
    }

    /// What ends the body.
    pub fn finish(self) -> Vec<u8> {
        match self {
            Encoder::Plain | Encoder::Blocks => Vec::new(),
            Encoder::Lz4(frame) => frame.finish().unwrap_or_default(),
        }
    }
}

fn blocks(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() / 2);
    for part in data.chunks(WRITTEN_BLOCK_BYTES) {
        let compressed = lz4_flex::block::compress(part);
        let start = out.len();
        out.extend_from_slice(&[0; CHECKSUM_BYTES]);
        out.push(METHOD_LZ4);
        // Both are at most a little over WRITTEN_BLOCK_BYTES.
        out.extend_from_slice(&((compressed.len() + HEADER_BYTES) as u32).to_le_bytes());
        out.extend_from_slice(&(part.len() as u32).to_le_bytes());
        out.extend_from_slice(&compressed);
        let checksum = checksum_of(&out[start + CHECKSUM_BYTES..]);
        out[start..start + CHECKSUM_BYTES].copy_from_slice(&checksum);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(decoding: Decoding, body: &[u8]) -> Result<Vec<u8>, Exception> {
        let mut out = Vec::new();
        decoding.reader(body).read_to_end(&mut out)?;
        Ok(out)
    }

    fn sample() -> Vec<u8> {
        (0..3_000_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect()
    }

    #[test]
    fn blocks_come_back_as_they_went() {
        let data = sample();
        let encoded = Encoder::Blocks.encode(data.clone());
        assert!(encoded.len() < data.len());
        assert_eq!(decoded(Decoding::Blocks, &encoded).unwrap(), data);
        assert_eq!(decoded(Decoding::Blocks, b"").unwrap(), b"");
    }

    #[test]
    fn every_part_of_an_lz4_body_can_be_decoded_when_it_arrived() {
        let mut encoder = Encoder::lz4();
        let mut body = encoder.encode(b"first ".to_vec());
        let mut decoder = FrameDecoder::new(body.as_slice());
        let mut first = [0; 6];
        decoder.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"first ");
        body.extend(encoder.encode(sample()));
        body.extend(encoder.finish());
        body.extend({
            let mut second = Encoder::lz4();
            let mut frame = second.encode(b" second frame".to_vec());
            frame.extend(second.finish());
            frame
        });
        let expected = [b"first ".as_slice(), &sample(), b" second frame"].concat();
        assert_eq!(decoded(Decoding::Lz4, &body).unwrap(), expected);
        assert_eq!(decoded(Decoding::Lz4, b"").unwrap(), b"");
    }

    #[test]
    fn gzip_bodies_are_read() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"hello").unwrap();
        assert_eq!(
            decoded(Decoding::Gzip, &encoder.finish().unwrap()).unwrap(),
            b"hello"
        );
        assert_eq!(
            Decoding::from_content_encoding("br").unwrap_err().code(),
            code::UNKNOWN_COMPRESSION_METHOD
        );
    }

    #[test]
    fn a_changed_or_cut_block_is_refused() {
        let encoded = Encoder::Blocks.encode(b"hello hello hello hello".to_vec());
        let mut changed = encoded.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(
            decoded(Decoding::Blocks, &changed).unwrap_err().code(),
            code::CHECKSUM_DOESNT_MATCH
        );
        for length in [1, 20, encoded.len() - 1] {
            let cut = decoded(Decoding::Blocks, &encoded[..length]).unwrap_err();
            assert_eq!(cut.code(), code::CANNOT_DECOMPRESS);
        }
    }

    #[test]
    fn a_block_that_lies_about_its_size_is_refused_without_making_room() {
        for (compressed_size, size) in [(u32::MAX, 10), (30, u32::MAX), (30, 60 << 20)] {
            let mut body = vec![METHOD_LZ4];
            body.extend(compressed_size.to_le_bytes());
            body.extend(size.to_le_bytes());
            body.extend([0; 21]);
            let mut block = checksum_of(&body).to_vec();
            block.extend(body);
            let mut reader = BlockReader::new(block.as_slice());
            assert!(reader.read(&mut [0; 8]).is_err());
            assert!(reader.block.capacity() < 1 << 20 && reader.compressed.capacity() < 1 << 20);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_a_decoder(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            for decoding in [Decoding::Blocks, Decoding::Lz4, Decoding::Gzip] {
                let _ = decoded(decoding, &body);
            }
        }

        #[test]
        fn no_block_with_a_right_checksum_breaks_the_decoder(
            method in prop_oneof![Just(METHOD_LZ4), Just(METHOD_NONE), any::<u8>()],
            compressed_size in 0_u32..80,
            size in prop_oneof![0_u32..200, any::<u32>()],
            data in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut body = vec![method];
            body.extend(compressed_size.to_le_bytes());
            body.extend(size.to_le_bytes());
            body.extend(&data);
            let mut block = checksum_of(&body).to_vec();
            block.extend(body);
            let _ = decoded(Decoding::Blocks, &block);
        }
    }
}
