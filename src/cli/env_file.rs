//! Parses environment files: `NAME=VALUE` lines, quoted as in a shell, without expansion. A `$` is
//! a `$`: values are often secrets.

use std::iter::Peekable;
use std::str::Chars;

/// Parses an environment file; returns the variables in order.
///
/// ```text
/// # a comment
/// NAME=value           # ends at a blank
/// export PATH='/a b'   # verbatim, newlines included
/// TEXT="a\tb\n"        # with \n, \r, \t, \", \\, \` and \$
/// ```
///
/// # Errors
/// The number of the line that cannot be parsed. Values are not quoted: they may be secrets.
pub fn parse_variables(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut parser = Parser { characters: text.chars().peekable(), line: 1 };
    let mut variables = Vec::new();
    while parser.skip_blank_lines() {
        let line = parser.line;
        let variable = parser.variable().ok_or_else(|| {
            format!(
                "line {line} is not NAME=VALUE; values that contain blanks or quotes must be quoted"
            )
        })?;
        variables.push(variable);
    }
    Ok(variables)
}

/// The text that is left to parse.
struct Parser<'t> {
    characters: Peekable<Chars<'t>>,
    line: usize,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.characters.next();
        self.line += usize::from(next == Some('\n'));
        next
    }

    /// Skips blanks, empty lines and comments. Returns whether anything follows.
    fn skip_blank_lines(&mut self) -> bool {
        loop {
            match self.characters.peek() {
                None => return false,
                Some('#') => while self.next().is_some_and(|character| character != '\n') {},
                Some(character) if character.is_whitespace() => _ = self.next(),
                Some(_) => return true,
            }
        }
    }

    /// Parses one assignment up to the end of its line; `None` if there is none.
    fn variable(&mut self) -> Option<(String, String)> {
        let mut name = self.word();
        if name == "export" && self.characters.next_if(|next| is_blank(*next)).is_some() {
            while self.characters.next_if(|next| is_blank(*next)).is_some() {}
            name = self.word();
        }
        let is_name = name.starts_with(|first: char| !first.is_ascii_digit());
        self.characters.next_if_eq(&'=').filter(|_| is_name)?;
        let value = self.value()?;
        self.end_of_line()?;
        Some((name, value))
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        let is_part = |next: &char| next.is_ascii_alphanumeric() || matches!(next, '_' | '.' | '-');
        while let Some(character) = self.characters.next_if(is_part) {
            word.push(character);
        }
        word
    }

    /// Parses a value, which ends at an unquoted blank or at the end of the line.
    fn value(&mut self) -> Option<String> {
        let mut value = String::new();
        let is_part = |next: &char| !next.is_whitespace();
        while let Some(character) = self.characters.next_if(is_part) {
            match character {
                '\'' => self.single_quoted(&mut value)?,
                '"' => self.double_quoted(&mut value)?,
                '\\' => value.push(self.characters.next_if(|next| *next != '\n')?),
                other => value.push(other),
            }
        }
        Some(value)
    }

    fn single_quoted(&mut self, value: &mut String) -> Option<()> {
        loop {
            match self.next()? {
                '\'' => return Some(()),
                other => value.push(other),
            }
        }
    }

    fn double_quoted(&mut self, value: &mut String) -> Option<()> {
        loop {
            match self.next()? {
                '"' => return Some(()),
                '\\' => match self.next()? {
                    'n' => value.push('\n'),
                    'r' => value.push('\r'),
                    't' => value.push('\t'),
                    escaped @ ('"' | '\\' | '$' | '`') => value.push(escaped),
                    other => value.extend(['\\', other]),
                },
                other => value.push(other),
            }
        }
    }

    /// Only a comment may follow a value.
    fn end_of_line(&mut self) -> Option<()> {
        while self.characters.next_if(|next| is_blank(*next)).is_some() {}
        matches!(self.characters.peek(), None | Some('\n' | '#')).then_some(())
    }
}

/// White space within a line, including the carriage return of a DOS line ending.
fn is_blank(character: char) -> bool {
    character.is_whitespace() && character != '\n'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_unquoted_as_in_a_shell_without_expansion() {
        let text = "# a comment\n\nA=1\r\nexport B='two words' # more\n  C=\"x\\ny\\$z\\q\"\nD=\n\
                    export=1\nF=s3cr$et_x\nG='a\nb'\nH=$A\nx.y-z=ü #";
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "x\ny$z\\q"),
            ("D", ""),
            ("export", "1"),
            ("F", "s3cr$et_x"),
            ("G", "a\nb"),
            ("H", "$A"),
            ("x.y-z", "ü"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse_variables(text).unwrap(), expected);
        let mixed = parse_variables("E=a'b c'\"d\"\\'e\\ #f\n").unwrap();
        assert_eq!(mixed, [("E".to_owned(), "ab cd'e #f".to_owned())]);
        assert_eq!(parse_variables("").unwrap(), []);
    }

    #[test]
    fn errors_give_the_line_number() {
        for (text, line) in [
            ("A=1\nSECRET opensesame\n", 2),
            ("A=1\nB='2\nC=3\n", 2),
            ("A='1\n2'\nB=two words\n", 3),
            ("A=1\r\nno\r\n", 2),
            ("1A=1", 1),
            ("=1", 1),
            ("A =1", 1),
            ("A='b' c", 1),
            ("A=\\", 1),
            ("export", 1),
            ("export A", 1),
            ("ü=1", 1),
        ] {
            let why = parse_variables(text).unwrap_err();
            let due =
                format!("line {line} is not NAME=VALUE; values that contain blanks or quotes");
            assert!(why.starts_with(&due), "{text:?}: {why}");
            assert!(!why.contains("opensesame"), "{why}");
        }
    }
}
