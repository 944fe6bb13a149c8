//! Formats spans, sizes and text for people.

/// Formats milliseconds in at most two units: `0.45s`, `12s`, `3m 20s`, `5h 7m`, `12d 3h`.
pub fn span(ms: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let seconds = ms / 1000;
    match seconds {
        ..10 => format!("{seconds}.{:02}s", ms % 1000 / 10),
        10..MINUTE => format!("{seconds}s"),
        MINUTE..HOUR => format!("{}m {}s", seconds / MINUTE, seconds % MINUTE),
        HOUR..DAY => format!("{}h {}m", seconds / HOUR, seconds % HOUR / MINUTE),
        _ => format!("{}d {}h", seconds / DAY, seconds % DAY / HOUR),
    }
}

/// Formats a size in megabytes of a million bytes, as everywhere in the documents.
pub fn size(bytes: u64) -> String {
    let tenths = bytes.saturating_add(50_000) / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

/// Escapes control characters, so that text cannot move the cursor or break the line.
pub fn printable(text: &str) -> String {
    let escaped = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_at_most_two_units() {
        for (ms, words) in [
            (0, "0.00s"),
            (454, "0.45s"),
            (9_999, "9.99s"),
            (59_999, "59s"),
            (60_000, "1m 0s"),
            (3_599_000, "59m 59s"),
            (3_600_000, "1h 0m"),
            (1_000_000_000, "11d 13h"),
        ] {
            assert_eq!(span(ms), words);
        }
    }

    #[test]
    fn sizes_are_megabytes() {
        for (bytes, words) in [(0, "0.0 MB"), (49_999, "0.0 MB"), (12_345_678, "12.3 MB")] {
            assert_eq!(size(bytes), words);
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("a\u{1b}[31m\nü"), "a\\u{1b}[31m\\nü");
    }
}
