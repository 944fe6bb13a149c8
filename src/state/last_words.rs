//! What is kept of a worker's standard error where it is captured, and its end for people to read.

/// A line that is longer than this may be passed on in pieces: what the loggers of containers cut
/// at as well, so that whoever reads them is used to it.
pub const CAPTURED_LINE_MAX: usize = 16 * 1024;

/// How much is kept of what a worker has said last, in bytes.
pub const TAIL_MAX: usize = 4 * 1024;

/// How many lines are told of a worker that failed: an exception with the calls that led to it.
const LINES_TOLD: usize = 10;

/// How long they may be, in bytes. Eight failures of that size are one reply to a client.
pub const LAST_WORDS_MAX: usize = 4 * 1024;

/// The last lines of what a worker has said, with what moves a cursor made visible; `None` when it
/// has said nothing.
pub fn last_words(said: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let told = lines[lines.len().saturating_sub(LINES_TOLD)..].join("\n");
    let mut words = String::with_capacity(told.len());
    for character in told.chars() {
        match character.is_control() && !matches!(character, '\n' | '\t') {
            true => words.extend(character.escape_default()),
            false => words.push(character),
        }
    }
    let surplus = words.len().saturating_sub(LAST_WORDS_MAX);
    let cut = (surplus..words.len()).find(|at| words.is_char_boundary(*at)).unwrap_or(surplus);
    words.drain(..cut);
    (!words.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_told_as_they_are() {
        let said: String = (1..=30).map(|number| format!("\tline {number}: größer\n")).collect();
        let told = last_words(said.as_bytes()).unwrap();
        assert_eq!(told.lines().count(), LINES_TOLD);
        assert!(told.starts_with("\tline 21: größer\n") && told.ends_with("\tline 30: größer"));
        assert_eq!(last_words(b"no newline").as_deref(), Some("no newline"));
        for nothing in [&b""[..], b"\n", b" \r\n\n\t\n"] {
            assert_eq!(last_words(nothing), None);
        }
    }

    #[test]
    fn what_moves_a_cursor_or_is_no_text_is_visible() {
        let told = last_words(b"dos\r\n\x1b[2Jred\rover \xff\0\n").unwrap();
        assert_eq!(told, "dos\n\\u{1b}[2Jred\\rover \u{fffd}\\u{0}");
    }

    #[test]
    fn they_are_bounded_however_much_it_takes_to_show_them() {
        for said in [&b"\x1b"[..], b"\xff", "ü".as_bytes(), "x\u{1f980}".as_bytes()] {
            let told = last_words(&said.repeat(TAIL_MAX)).unwrap();
            assert!((LAST_WORDS_MAX - 8..=LAST_WORDS_MAX).contains(&told.len()), "{}", told.len());
        }
    }
}
