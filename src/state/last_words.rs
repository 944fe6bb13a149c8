//! The last output of a worker whose standard error is captured, made readable.

/// Longer lines may be passed on in pieces. Container log drivers split lines at the same length,
/// so log readers can handle that.
pub const CAPTURED_LINE_MAX: usize = 16 * 1024;

/// How much of a worker's latest output is kept, in bytes.
pub const TAIL_MAX: usize = 4 * 1024;

/// How many lines of a failed worker's output are reported: enough for an exception and its
/// backtrace.
const LINES_MAX: usize = 10;

/// The length of that report, in bytes. One reply to a client may hold eight of them.
pub const LAST_WORDS_MAX: usize = 4 * 1024;

/// Returns the last lines of a worker's output, with control characters escaped; `None` if there is
/// none.
pub fn last_words(stderr_tail: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(stderr_tail);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let tail = lines[lines.len().saturating_sub(LINES_MAX)..].join("\n");
    let mut words = escape_controls(&tail);
    let surplus = words.len().saturating_sub(LAST_WORDS_MAX);
    let cut = (surplus..words.len()).find(|at| words.is_char_boundary(*at)).unwrap_or(surplus);
    words.drain(..cut);
    (!words.is_empty()).then_some(words)
}

/// Escapes control characters other than newlines and tabs, which could control a terminal: a text
/// may contain the output of any program.
pub fn escape_controls(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() && !matches!(character, '\n' | '\t') {
            true => escaped.extend(character.escape_default()),
            false => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_told_as_they_are() {
        let said: String = (1..=30).map(|number| format!("\tline {number}: größer\n")).collect();
        let told = last_words(said.as_bytes()).unwrap();
        assert_eq!(told.lines().count(), LINES_MAX);
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
