//! Inputs made from inputs: what the bounded run has in place of a fuzzer's coverage.
//!
//! Each change is one that has broken decoders before: bits and bytes, pieces repeated, taken away or put
//! into another input, numbers at the ends of their ranges, deep nesting, text that is not UTF-8. The same
//! seed makes the same inputs.

use fastrand::Rng;

use crate::protobuf;

/// The longest input: as long as a record that is decoded at all, twice over.
pub const LONGEST: usize = 64 * 1024;

/// Numbers as text at the ends of the ranges that readers know.
const NUMBERS: [&str; 14] = [
    "0",
    "-0",
    "-1",
    "0.1",
    "1e999",
    "-1e-999",
    "2147483648",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551616",
    "00000000000000000000000000000000000001",
];

/// The same as bytes, and the beginnings of lengths that lie.
const BYTES: [&[u8]; 9] = [
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff\xff\xff\xff\x0f",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x00\x00\x00\x00\x00\x00\x00\x80",
    b"\x00\x00\x00\x00",
];

/// What is no UTF-8: a lone byte, an overlong form, half a surrogate pair, beyond the last character.
const BROKEN_TEXT: [&[u8]; 5] = [
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe5\xae",
];

const BRACKETS: [(&[u8], &[u8]); 4] = [(b"[", b"]"), (b"{\"a\":", b"}"), (b"(", b")"), (b"!", b"")];

/// Makes inputs out of others.
pub struct Mutator {
    random: Rng,
    /// Words of the format, put in as they are.
    words: Vec<Vec<u8>>,
    is_protobuf: bool,
}

impl Mutator {
    /// A mutator that always makes the same inputs of the same pool.
    pub fn new(seed: u64, words: Vec<Vec<u8>>, is_protobuf: bool) -> Mutator {
        Mutator {
            random: Rng::with_seed(seed),
            words,
            is_protobuf,
        }
    }

    /// One of `pool`, which must not be empty, changed a few times.
    pub fn next(&mut self, pool: &[Vec<u8>]) -> Vec<u8> {
        let mut input = pool[self.random.usize(..pool.len())].clone();
        loop {
            self.change(&mut input, pool);
            input.truncate(LONGEST);
            if self.random.u8(..) < 100 {
                return input;
            }
        }
    }

    fn change(&mut self, input: &mut Vec<u8>, pool: &[Vec<u8>]) {
        // Few of the other changes leave a message.
        if self.is_protobuf && self.random.u8(..4) > 0 && protobuf::change(input, &mut self.random) {
            return;
        }
        match self.random.u8(..16) {
            0 if !input.is_empty() => {
                let at = self.random.usize(..input.len());
                input[at] ^= 1 << self.random.u8(..8);
            }
            1 if !input.is_empty() => {
                let at = self.random.usize(..input.len());
                input[at] = self.random.u8(..);
            }
            2 => {
                let piece: Vec<u8> = (0..self.random.usize(1..6)).map(|_| self.random.u8(..)).collect();
                self.insert(input, &piece);
            }
            3 => {
                let (from, to) = self.range(input.len());
                input.drain(from..to);
            }
            4 => input.truncate(self.random.usize(..=input.len())),
            5 => self.repeat(input),
            6 => self.replace_number(input),
            7 => self.insert_one(input, &NUMBERS.map(str::as_bytes)),
            8 => self.overwrite(input),
            9 => self.insert_one(input, &BYTES),
            10 => self.insert_one(input, &BROKEN_TEXT),
            11 => self.nest(input),
            12 => {
                let other = &pool[self.random.usize(..pool.len())];
                let (from, to) = self.range(other.len());
                let piece = other[from..to].to_vec();
                self.insert(input, &piece);
            }
            13 => {
                let other = &pool[self.random.usize(..pool.len())];
                let rest = &other[self.random.usize(..=other.len())..];
                input.truncate(self.random.usize(..=input.len()));
                input.extend_from_slice(rest);
            }
            _ if !self.words.is_empty() => {
                let word = self.words[self.random.usize(..self.words.len())].clone();
                if self.random.bool() {
                    let (from, to) = self.range(input.len());
                    input.splice(from..to, word);
                } else {
                    self.insert(input, &word);
                }
            }
            _ => input.push(self.random.u8(..)),
        }
    }

    /// A range of an input so long; short ones are likelier.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let from = self.random.usize(..=length);
        let most = (length - from).min(1 << self.random.u32(..12));
        (from, from + self.random.usize(..=most))
    }

    fn insert(&mut self, input: &mut Vec<u8>, piece: &[u8]) {
        let at = self.random.usize(..=input.len());
        input.splice(at..at, piece.iter().copied());
    }

    fn insert_one(&mut self, input: &mut Vec<u8>, pieces: &[&[u8]]) {
        let piece = pieces[self.random.usize(..pieces.len())];
        self.insert(input, piece);
    }

    /// Repeats a piece, mostly a few times, now and then until the input is as long as it may be.
    fn repeat(&mut self, input: &mut Vec<u8>) {
        let (from, to) = self.range(input.len());
        let piece = input[from..to].to_vec();
        let doublings = if self.random.u8(..) < 16 { 16 } else { 4 };
        let times = 1 << self.random.u32(..doublings);
        let most = LONGEST.saturating_sub(input.len()) / piece.len().max(1);
        let repeated = piece.repeat(most.min(times));
        input.splice(to..to, repeated);
    }

    /// Puts an extreme number in place of one that is there.
    fn replace_number(&mut self, input: &mut Vec<u8>) {
        if input.is_empty() {
            return;
        }
        let start = self.random.usize(..input.len());
        let is_digit = |byte: &u8| byte.is_ascii_digit();
        let Some(from) = input[start..].iter().position(is_digit) else {
            return;
        };
        let from = start + from;
        let length = input[from..]
            .iter()
            .position(|byte| !is_digit(byte))
            .unwrap_or(input.len() - from);
        let number = NUMBERS[self.random.usize(..NUMBERS.len())];
        input.splice(from..from + length, number.bytes());
    }

    /// Writes an extreme number over bytes that are there.
    fn overwrite(&mut self, input: &mut [u8]) {
        let piece = BYTES[self.random.usize(..BYTES.len())];
        if input.len() < piece.len() {
            return;
        }
        let at = self.random.usize(..=input.len() - piece.len());
        input[at..at + piece.len()].copy_from_slice(piece);
    }

    /// Puts a piece into many brackets.
    fn nest(&mut self, input: &mut Vec<u8>) {
        let (from, to) = self.range(input.len());
        let (open, close) = BRACKETS[self.random.usize(..BRACKETS.len())];
        let levels = 1 << self.random.u32(..14);
        input.splice(to..to, close.repeat(levels));
        input.splice(from..from, open.repeat(levels));
    }
}
