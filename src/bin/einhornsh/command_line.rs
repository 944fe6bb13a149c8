//! Splits lines into commands, and commands into words.

/// Why a line cannot be parsed, as a message for the user; none of its commands are sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadLine(pub(crate) String);

/// Splits a line into commands, each into words; an empty command has none.
///
/// # Errors
/// A quote that is not closed.
pub(crate) fn parse(line: &str) -> Result<Vec<Vec<String>>, BadLine> {
    let words = |command: &str| {
        let unbalanced = |_| BadLine(format!("a closing quote is missing: {}", command.trim()));
        shell_words::split(command).map_err(unbalanced)
    };
    separate(line).into_iter().map(words).collect()
}

/// Splits at every `;` and newline that separates commands in a POSIX shell: not at those that are
/// quoted, escaped or in a comment.
pub(crate) fn separate(line: &str) -> Vec<&str> {
    let mut commands = Vec::new();
    let mut start = 0;
    // The open quote, or `#` in a comment.
    let mut inside = None;
    let mut characters = line.char_indices();
    while let Some((at, character)) = characters.next() {
        match (inside, character) {
            (None, ';') | (None | Some('#'), '\n') => {
                commands.push(&line[start..at]);
                start = at + 1;
                inside = None;
            }
            (Some('#'), _) | (Some('\''), '\\') => {}
            (_, '\\') => _ = characters.next(),
            (Some(quote), _) if character == quote => inside = None,
            (None, '\'' | '"') => inside = Some(character),
            (None, '#') if at == start || line[..at].ends_with([' ', '\t']) => inside = Some('#'),
            _ => {}
        }
    }
    commands.push(&line[start..]);
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_separated_where_a_shell_would() {
        for (line, commands) in [
            ("", vec![""]),
            ("state", vec!["state"]),
            ("inc; dec;", vec!["inc", " dec", ""]),
            ("a ';' b; c", vec!["a ';' b", " c"]),
            (r#"a ";\";" b; c"#, vec![r#"a ";\";" b"#, " c"]),
            (r"a '\'; b", vec![r"a '\'", " b"]),
            (r"a \; b \\; c \", vec![r"a \; b \\", r" c \"]),
            (r#"a "it's; one"; b"#, vec![r#"a "it's; one""#, " b"]),
            ("a 'open; b", vec!["a 'open; b"]),
            ("a # it's; b", vec!["a # it's; b"]),
            ("a;# b; c", vec!["a", "# b; c"]),
            ("a#b; c", vec!["a#b", " c"]),
            ("a # b; c #\n#\nd 'e\nf'\ng\\\nh", vec!["a # b; c #", "#", "d 'e\nf'", "g\\\nh"]),
            ("ü'ü;'; ü", vec!["ü'ü;'", " ü"]),
        ] {
            assert_eq!(separate(line), commands, "{line}");
        }
    }

    #[test]
    fn a_command_is_split_as_shell_words() {
        assert_eq!(
            parse("signal HUP  usr1; config '{a: b; c}' \"\";; # nothing").unwrap(),
            [vec!["signal", "HUP", "usr1"], vec!["config", "{a: b; c}", ""], vec![], vec![],]
        );
    }

    #[test]
    fn an_open_quote_is_an_error_of_the_whole_line() {
        let BadLine(why) = parse("inc; signal \"HUP; dec").unwrap_err();
        assert_eq!(why, "a closing quote is missing: signal \"HUP; dec");
    }
}
