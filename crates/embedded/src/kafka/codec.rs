//! The few fixed-width fields that the broker's own files are made of, and their safe replacement.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Appends a big-endian number.
pub fn put<N: Number>(out: &mut Vec<u8>, number: N) {
    number.put(out);
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u32);
    out.extend_from_slice(bytes);
}

/// A number that the files hold.
pub trait Number {
    fn put(self, out: &mut Vec<u8>);
}

/// Reads what [`put`] wrote; every read past the end is `None`.
pub struct Reader<'a>(&'a [u8]);

macro_rules! numbers {
    ($($type:ident),*) => {
        $(impl Number for $type {
            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
        })*
        impl<'a> Reader<'a> {
            $(pub fn $type(&mut self) -> Option<$type> {
                let (front, rest) = self.0.split_first_chunk()?;
                self.0 = rest;
                Some($type::from_be_bytes(*front))
            })*
        }
    };
}
numbers!(i16, u32, i32, u64, i64);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        if length > self.0.len() {
            return None;
        }
        let (front, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(front)
    }

    pub fn string(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }
}

/// Replaces the file at `path`: after a crash it holds either the old content or the new, whole.
pub fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    sync_folder_of(path)
}

/// Makes creations, renames and removals beside `path` durable.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
