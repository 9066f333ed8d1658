//! A stream of bytes cut into lines, of which no more is held than the longest line that can be an event.

/// A line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Whole(&'a [u8]),
    /// Too long to be an event: how it begins, and how many bytes it has.
    TooLong(&'a [u8], usize),
}

pub(super) struct Lines {
    buffer: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to where no end of a line was found.
    scanned: usize,
    longest: usize,
    /// Bytes dropped of a line that is too long; its beginning is in `beginning`.
    dropped: usize,
    beginning: Vec<u8>,
}

impl Lines {
    /// Lines of which at least `longest` bytes are kept.
    pub(super) fn new(longest: usize) -> Lines {
        Lines {
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            longest,
            dropped: 0,
            beginning: Vec::new(),
        }
    }

    /// Where further bytes are to be put, behind what is there. To be asked for when
    /// [`next`](Self::next) has nothing.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        &mut self.buffer
    }

    /// The next line that is there to its end.
    pub(super) fn next(&mut self) -> Option<Line<'_>> {
        let end = self.buffer[self.scanned..].iter().position(|&byte| byte == b'\n');
        let Some(end) = end.map(|end| self.scanned + end) else {
            self.scanned = self.buffer.len();
            if self.dropped > 0 || self.buffer.len() - self.start > self.longest {
                self.drop_rest();
            }
            return None;
        };
        let begun = std::mem::replace(&mut self.start, end + 1);
        self.scanned = self.start;
        Some(self.line(begun, end))
    }

    /// The last line, which nothing ends.
    pub(super) fn last(&mut self) -> Option<Line<'_>> {
        let (begun, end) = (self.start, self.buffer.len());
        if begun == end && self.dropped == 0 {
            return None;
        }
        self.start = end;
        self.scanned = end;
        Some(self.line(begun, end))
    }

    fn line(&mut self, begun: usize, end: usize) -> Line<'_> {
        if self.dropped == 0 {
            return Line::Whole(&self.buffer[begun..end]);
        }
        let bytes = std::mem::take(&mut self.dropped) + (end - begun);
        Line::TooLong(&self.beginning, bytes)
    }

    fn drop_rest(&mut self) {
        let rest = &self.buffer[self.start..];
        if self.dropped == 0 {
            self.beginning.clear();
            self.beginning
                .extend_from_slice(&rest[..rest.len().min(self.longest)]);
        }
        self.dropped += rest.len();
        self.buffer.clear();
        self.start = 0;
        self.scanned = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(line: Line<'_>, longest: usize) -> Vec<u8> {
        match line {
            Line::Whole(line) => line.to_vec(),
            Line::TooLong(beginning, bytes) => {
                assert_eq!(beginning.len(), longest);
                assert!(bytes > longest);
                let mut line = beginning.to_vec();
                line.resize(bytes, b'?');
                line
            }
        }
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_the_bytes_come(
            lines in proptest::collection::vec("[a-c]{0,40}", 0..30),
            ends in any::<bool>(),
            piece in 1_usize..60,
        ) {
            let longest = 16;
            let mut text = lines.join("\n");
            if ends && !lines.is_empty() {
                text.push('\n');
            }
            let mut found = Vec::new();
            let mut cut = Lines::new(longest);
            for piece in text.as_bytes().chunks(piece) {
                cut.tail().extend_from_slice(piece);
                while let Some(line) = cut.next() {
                    found.push(told(line, longest));
                }
                prop_assert!(cut.buffer.len() <= longest + 60);
            }
            if let Some(line) = cut.last() {
                found.push(told(line, longest));
            }
            let mut wanted: Vec<&str> = text.split('\n').collect();
            if wanted.last() == Some(&"") {
                wanted.pop();
            }
            prop_assert_eq!(found.len(), wanted.len());
            for (found, wanted) in found.iter().zip(wanted) {
                prop_assert_eq!(found.len(), wanted.len());
                let kept = longest.min(wanted.len());
                prop_assert_eq!(&found[..kept], &wanted.as_bytes()[..kept]);
            }
        }
    }
}
