//! Splits bytes into lines, and escapes documents as lines.

use std::borrow::Cow;

/// The longest request line in bytes, its newline not counted. The longest real request is a
/// `config` mapping of a few hundred bytes; the time to parse hostile YAML grows with the square of
/// its length, and for 16 KiB is a few milliseconds.
pub const LINE_MAX: usize = 16 * 1024;

/// What a [`LineBuffer`] yields.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line without its newline.
    Complete(Vec<u8>),
    /// The end of a line longer than [`LINE_MAX`], whose bytes were discarded.
    TooLong,
}

/// Collects the bytes of one connection into lines. Holds at most [`LINE_MAX`] bytes
/// plus what one [`LineBuffer::push`] adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    /// How many of `bytes` are known to hold no newline.
    searched: usize,
    /// Whether the bytes up to the next newline are discarded, because the line is too long.
    discarding: bool,
}

impl LineBuffer {
    /// Restores a buffer from [`LineBuffer::parts`].
    pub fn from_parts(bytes: Vec<u8>, is_discarding: bool) -> LineBuffer {
        LineBuffer { bytes, searched: 0, discarding: is_discarding }
    }

    /// The buffered bytes, and whether a line that is too long is being discarded.
    pub fn parts(&self) -> (&[u8], bool) {
        (&self.bytes, self.discarding)
    }

    /// Adds bytes. Those of a line that is too long are discarded at once, since it may never end.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.search();
    }

    /// Takes the next complete line.
    pub fn next_line(&mut self) -> Option<Line> {
        let found = self.search()?;
        let line: Vec<u8> = self.bytes.drain(..=found).take(found).collect();
        self.searched = 0;
        let too_long = std::mem::take(&mut self.discarding) || line.len() > LINE_MAX;
        Some(if too_long { Line::TooLong } else { Line::Complete(line) })
    }

    /// Returns the index of the first newline.
    fn search(&mut self) -> Option<usize> {
        let newline = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n');
        if let Some(offset) = newline {
            return Some(self.searched + offset);
        }
        self.searched = self.bytes.len();
        if self.discarding || self.bytes.len() > LINE_MAX {
            self.discarding = true;
            self.bytes = Vec::new();
            self.searched = 0;
        }
        None
    }

    /// Whether a complete line is buffered.
    pub fn has_line(&self) -> bool {
        self.bytes[self.searched..].contains(&b'\n')
    }

    /// The number of buffered bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no bytes are buffered.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Escapes a document as one line: `%` becomes `%25`, newline `%0A`; nothing else changes.
pub fn escape(document: &str) -> String {
    document.replace('%', "%25").replace('\n', "%0A")
}

/// Unescapes a line; any other `%` is kept.
pub fn unescape(line: &str) -> Cow<'_, str> {
    match line.contains('%') {
        true => Cow::Owned(line.replace("%0A", "\n").replace("%25", "%")),
        false => Cow::Borrowed(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(buffer: &mut LineBuffer) -> Vec<Line> {
        std::iter::from_fn(|| buffer.next_line()).collect()
    }

    #[test]
    fn partial_lines_wait_and_many_come_in_order() {
        let mut buffer = LineBuffer::default();
        buffer.push(b"one\ntw");
        assert_eq!(lines(&mut buffer), [Line::Complete(b"one".to_vec())]);
        buffer.push(b"o\n\nthree");
        assert_eq!(
            lines(&mut buffer),
            [Line::Complete(b"two".to_vec()), Line::Complete(Vec::new())]
        );
        assert_eq!(buffer.len(), 5);
    }

    #[test]
    fn a_line_of_the_limit_passes_and_one_more_byte_is_too_long() {
        let mut buffer = LineBuffer::default();
        buffer.push(&vec![b'x'; LINE_MAX]);
        assert_eq!(buffer.next_line(), None);
        buffer.push(b"\n");
        assert_eq!(buffer.next_line(), Some(Line::Complete(vec![b'x'; LINE_MAX])));
        buffer.push(&vec![b'x'; LINE_MAX + 1]);
        buffer.push(b"\nnext\n");
        assert_eq!(lines(&mut buffer), [Line::TooLong, Line::Complete(b"next".to_vec())]);
    }

    #[test]
    fn an_endless_line_costs_no_memory() {
        let mut buffer = LineBuffer::default();
        for _ in 0..1000 {
            buffer.push(&[b'x'; 4096]);
            assert!(!buffer.has_line());
            assert!(buffer.len() <= LINE_MAX + 4096);
        }
        buffer.push(b"\nnext\n");
        assert_eq!(lines(&mut buffer), [Line::TooLong, Line::Complete(b"next".to_vec())]);
    }

    #[test]
    fn escapes_are_two_and_only_two() {
        assert_eq!(escape("a%b\nc\r"), "a%25b%0Ac\r");
        assert_eq!(unescape("a%25b%0Ac%41%0a%"), "a%b\nc%41%0a%");
        assert_eq!(unescape("%250A"), "%0A");
        assert_eq!(unescape("é%é%25é"), "é%é%é");
    }

    #[test]
    fn every_document_survives_both_ways() {
        for document in ["", "%", "%25", "%0A", "\n", "100%\n%25%0A\n", "ü%ü"] {
            assert_eq!(unescape(&escape(document)), document);
        }
    }
}
