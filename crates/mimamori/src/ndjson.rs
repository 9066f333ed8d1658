//! Lines of NDJSON, from a file or from standard input, plain or compressed by gzip or zstd; which it
//! is, its first bytes say.
//!
//! Memory is bounded by the longest line that is allowed: the rest of a longer one is passed over.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;

/// What is read at a time.
const BUFFER: usize = 256 * 1024;
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One line that says something.
#[derive(Debug, PartialEq)]
pub struct Line {
    /// Counted from 1, the empty ones too.
    pub number: u64,
    /// Without its end; of a line that is too long, nothing.
    pub text: Vec<u8>,
    /// The line has more bytes than are allowed.
    pub too_long: bool,
}

/// Lines that are being read.
pub struct Lines {
    name: String,
    reader: Box<dyn BufRead + Send>,
    /// The number of the last line that was read.
    number: u64,
    max_bytes: usize,
    read: Arc<AtomicU64>,
}

impl Lines {
    /// Opens a file, or standard input for `-`. A line may have `max_bytes`.
    ///
    /// # Errors
    /// Names the file.
    pub fn open(path: &Path, max_bytes: usize) -> anyhow::Result<Lines> {
        if path == Path::new("-") {
            return Lines::of("standard input", io::stdin(), max_bytes);
        }
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
        Lines::of(&name, file, max_bytes)
    }

    fn of(name: &str, input: impl Read + Send + 'static, max_bytes: usize) -> anyhow::Result<Lines> {
        let read = Arc::new(AtomicU64::new(0));
        let mut input = Counted {
            input,
            read: Arc::clone(&read),
        };
        let mut beginning = Vec::new();
        Read::by_ref(&mut input)
            .take(ZSTD.len() as u64)
            .read_to_end(&mut beginning)
            .with_context(|| format!("cannot read {name}"))?;
        let is_gzip = beginning.starts_with(GZIP);
        let is_zstd = beginning == ZSTD;
        let whole = BufReader::with_capacity(BUFFER, Cursor::new(beginning).chain(input));
        let reader: Box<dyn BufRead + Send> = if is_gzip {
            // Files that were put together of several, too.
            let plain = flate2::bufread::MultiGzDecoder::new(whole);
            Box::new(BufReader::with_capacity(BUFFER, plain))
        } else if is_zstd {
            let plain = zstd::stream::read::Decoder::with_buffer(whole)
                .with_context(|| format!("cannot read {name} as zstd"))?;
            Box::new(BufReader::with_capacity(BUFFER, plain))
        } else {
            Box::new(whole)
        };
        Ok(Lines {
            name: name.to_owned(),
            reader,
            number: 0,
            max_bytes,
            read,
        })
    }

    /// Where they come from, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many bytes of the file have been read, as it lies there.
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }

    /// The next line that is not empty.
    ///
    /// # Errors
    /// Names the file and the line.
    pub fn next(&mut self) -> anyhow::Result<Option<Line>> {
        loop {
            let mut text = Vec::new();
            let too_long = match self.read_line(&mut text) {
                Ok(None) => return Ok(None),
                Ok(Some(too_long)) => too_long,
                Err(error) => {
                    let hint = if error.kind() == io::ErrorKind::UnexpectedEof {
                        "; is the file complete?"
                    } else {
                        ""
                    };
                    let place = format!("{}, line {}: cannot be read{hint}", self.name, self.number + 1);
                    return Err(anyhow::Error::new(error).context(place));
                }
            };
            self.number += 1;
            while text.last().is_some_and(u8::is_ascii_whitespace) {
                text.pop();
            }
            if self.number == 1 && text.starts_with(BYTE_ORDER_MARK) {
                text.drain(..BYTE_ORDER_MARK.len());
            }
            if too_long || !text.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some(Line {
                    number: self.number,
                    text,
                    too_long,
                }));
            }
        }
    }

    /// Appends the next line to `text` and says whether it was too long, in which case `text` is empty.
    fn read_line(&mut self, text: &mut Vec<u8>) -> io::Result<Option<bool>> {
        let limit = self.max_bytes as u64 + 1;
        if Read::by_ref(&mut self.reader)
            .take(limit)
            .read_until(b'\n', text)?
            == 0
        {
            return Ok(None);
        }
        if text.last() == Some(&b'\n') || text.len() as u64 <= self.max_bytes as u64 {
            return Ok(Some(false));
        }
        text.clear();
        self.reader.skip_until(b'\n')?;
        Ok(Some(true))
    }
}

/// Counts what is read of an input.
struct Counted<R> {
    input: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TEXT: &str = "\u{feff}{\"a\":1}\r\n\n  \n{\"b\":2}\nlonger than it may be\n{\"c\":3}";

    fn all(bytes: Vec<u8>) -> anyhow::Result<Vec<(u64, String, bool)>> {
        let mut lines = Lines::of("sample", Cursor::new(bytes), 12)?;
        let mut all = Vec::new();
        while let Some(line) = lines.next()? {
            all.push((line.number, String::from_utf8(line.text)?, line.too_long));
        }
        Ok(all)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn lines_are_the_same_plain_and_compressed_and_keep_their_numbers() {
        let expected = vec![
            (1, "{\"a\":1}".to_owned(), false),
            (4, "{\"b\":2}".to_owned(), false),
            (5, String::new(), true),
            (6, "{\"c\":3}".to_owned(), false),
        ];
        let (front, back) = TEXT.split_at(12);
        let in_two = [gzip(front.as_bytes()), gzip(back.as_bytes())].concat();
        let zstd = zstd::stream::encode_all(TEXT.as_bytes(), 3).unwrap();
        for bytes in [TEXT.into(), gzip(TEXT.as_bytes()), in_two, zstd] {
            assert_eq!(all(bytes).unwrap(), expected);
        }
        assert_eq!(all(Vec::new()).unwrap(), []);
        assert_eq!(all(b"x".to_vec()).unwrap(), [(1, "x".to_owned(), false)]);
    }

    #[test]
    fn a_file_that_was_cut_off_is_named_with_the_line() {
        let text: String = (0..20_000).map(|number| format!("{}\n", number * 7919)).collect();
        let mut cut = gzip(text.as_bytes());
        cut.truncate(cut.len() / 2);
        let error = format!("{:#}", all(cut).unwrap_err());
        assert!(
            error.contains("sample, line ") && error.contains("complete?"),
            "{error}"
        );
    }
}
