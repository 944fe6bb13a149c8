//! Standard output: lines, and on a terminal one live line below them.

use std::env;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use einhorn::sys::terminal::{self, Size};

use super::failure::Failure;

/// How large a terminal is taken to be that does not say.
const SIZE_DEFAULT: Size = Size { columns: 80, rows: 24 };

/// Where everything is printed.
#[derive(Debug)]
pub(crate) struct Screen {
    /// Whether a person looks on who sees a line change.
    pub(crate) is_live: bool,
    pub(crate) has_colour: bool,
    is_terminal: bool,
    /// Whether the line above the cursor is the live one.
    is_drawn: bool,
    /// Whether whoever read has seen enough: `einhornsh -e state | head -1`. What was asked for
    /// goes on all the same, and so does the exit status that it will have.
    pub(crate) is_unread: bool,
}

/// What a colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Good,
    Bad,
}

impl Screen {
    /// Standard output as it is.
    pub(crate) fn new() -> Screen {
        let is_terminal = io::stdout().is_terminal();
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_live = is_terminal && env::var_os("TERM").is_some_and(|kind| kind != "dumb");
        // See no-color.org.
        let has_colour = is_live && !is_set("NO_COLOR");
        Screen { is_live, has_colour, is_terminal, is_drawn: false, is_unread: false }
    }

    /// Prints a message at once: the lines of an upgrade arrive as it goes on. In place of the live
    /// line, if there is one.
    pub(crate) fn print(&mut self, message: &str) -> Result<(), Failure> {
        self.print_in(None, message)
    }

    /// The same, its first line coloured where there are colours.
    pub(crate) fn print_in(&mut self, mood: Option<Mood>, message: &str) -> Result<(), Failure> {
        let harmless = if self.is_terminal { harmless(message) } else { message.to_owned() };
        let text = match mood.filter(|_| self.has_colour) {
            None => harmless,
            Some(mood) => {
                let colour = if mood == Mood::Good { 32 } else { 31 };
                let (first, rest) =
                    harmless.split_at(harmless.find('\n').unwrap_or(harmless.len()));
                format!("\x1b[{colour}m{first}\x1b[0m{rest}")
            }
        };
        self.print_raw(&text)
    }

    /// Prints what may hold control sequences of our own.
    pub(crate) fn print_raw(&mut self, text: &str) -> Result<(), Failure> {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        let before = if std::mem::take(&mut self.is_drawn) { ERASE } else { "" };
        self.write(&format!("{before}{text}{end}"))
    }

    /// Draws the live line, in place of the one before. The cursor waits in the line below:
    /// there it is found by whoever writes next, whatever ends this program.
    pub(crate) fn draw(&mut self, line: &str) -> Result<(), Failure> {
        let columns = size().columns;
        let before = if std::mem::replace(&mut self.is_drawn, true) { ERASE } else { "" };
        self.write(&format!("{before}{NO_WRAP}{}{WRAP}\n", cut(line, columns)))
    }

    /// Leaves the live line as it is, for something else to be written below it.
    pub(crate) fn leave(&mut self) {
        self.is_drawn = false;
    }

    /// Fills the terminal with lines, in place of all that it shows; what does not fit is left out.
    pub(crate) fn turn_to(&mut self, page: &str) -> Result<(), Failure> {
        self.is_drawn = false;
        let lines: String = page
            .lines()
            .take(size().rows.saturating_sub(1))
            .fold(String::new(), |lines, line| lines + line + TO_END_OF_LINE + "\n");
        self.write(&format!("{HOME}{NO_WRAP}{lines}{WRAP}{TO_END_OF_PAGE}"))
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        if self.is_unread {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.is_unread = true,
            other => other.map_err(Failure::Output)?,
        }
        Ok(())
    }
}

fn size() -> Size {
    terminal::size(io::stdout()).unwrap_or(SIZE_DEFAULT)
}

/// Control sequences, by ECMA-48: up one line, to its beginning, and everything from there erased;
/// to the upper left; and erased to an end.
const ERASE: &str = "\x1b[A\r\x1b[J";
const HOME: &str = "\x1b[H";
const TO_END_OF_LINE: &str = "\x1b[K";
const TO_END_OF_PAGE: &str = "\x1b[J";

/// What is too long although it was cut, such as characters of two columns, is cut by the terminal.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

/// A line that fits into a terminal: one column stays free, because some go on to the next line as
/// soon as the last one is used.
fn cut(line: &str, columns: usize) -> String {
    let line = line.lines().next().unwrap_or_default();
    let blank = |character: char| if character.is_control() { ' ' } else { character };
    line.chars().map(blank).take(columns.saturating_sub(1)).collect()
}

/// A message without what would command the terminal: the last words of a stranger may be in it.
fn harmless(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for character in message.chars() {
        match character {
            '\n' | '\t' => text.push(character),
            _ if character.is_control() => _ = write!(text, "{}", character.escape_default()),
            _ => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_line_is_one_line_and_leaves_a_column_free() {
        assert_eq!(cut("roll-out: 1/4 up", 80), "roll-out: 1/4 up");
        assert_eq!(cut("roll-out: 1/4 up", 10), "roll-out:");
        assert_eq!(cut("a\tb\x1b[2J\nc", 80), "a b [2J");
        assert_eq!(cut("üüü", 3), "üü");
        assert_eq!(cut("", 0), "");
    }

    #[test]
    fn a_message_cannot_command_the_terminal() {
        assert_eq!(harmless("a\tü\n\x1b]0;title\x07\r"), "a\tü\n\\u{1b}]0;title\\u{7}\\r");
    }
}
