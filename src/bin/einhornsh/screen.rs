//! Writes to standard output: lines, and on a terminal one live line below them.

use std::env;
use std::io::{self, IsTerminal, Write};

use einhorn::state::escape_controls;
use einhorn::sys::terminal::{self, Size};

use super::failure::Failure;

/// The assumed size of a terminal that does not report one.
const SIZE_DEFAULT: Size = Size { columns: 80, rows: 24 };

/// Standard output.
#[derive(Debug)]
pub(crate) struct Screen {
    /// Whether it is a terminal that can redraw a line.
    pub(crate) is_live: bool,
    pub(crate) has_colour: bool,
    is_terminal: bool,
    /// Whether the line above the cursor is the live one.
    is_drawn: bool,
    /// Whether the reader has closed it, as in `einhornsh -e state | head -1`. Commands still run,
    /// and determine the exit status.
    pub(crate) is_closed: bool,
}

/// The colour of a message's first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    Green,
    Red,
}

impl Screen {
    /// Detects what standard output can do.
    pub(crate) fn new() -> Screen {
        let is_terminal = io::stdout().is_terminal();
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_live = is_terminal && env::var_os("TERM").is_some_and(|kind| kind != "dumb");
        // See no-color.org.
        let has_colour = is_live && !is_set("NO_COLOR");
        Screen { is_live, has_colour, is_terminal, is_drawn: false, is_closed: false }
    }

    /// Prints a message and flushes it; replaces the live line, if there is one.
    pub(crate) fn print(&mut self, message: &str) -> Result<(), Failure> {
        self.print_in(None, message)
    }

    /// Like [`Screen::print`], with the first line in a colour if the terminal has colours.
    pub(crate) fn print_in(
        &mut self,
        colour: Option<Colour>,
        message: &str,
    ) -> Result<(), Failure> {
        let safe = if self.is_terminal { escape_controls(message) } else { message.to_owned() };
        let text = match colour.filter(|_| self.has_colour) {
            None => safe,
            Some(colour) => {
                let code = if colour == Colour::Green { 32 } else { 31 };
                let (first, rest) = safe.split_at(safe.find('\n').unwrap_or(safe.len()));
                format!("\x1b[{code}m{first}\x1b[0m{rest}")
            }
        };
        self.print_raw(&text)
    }

    /// Prints text that may contain control sequences.
    pub(crate) fn print_raw(&mut self, text: &str) -> Result<(), Failure> {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        let before = if std::mem::take(&mut self.is_drawn) { ERASE } else { "" };
        self.write(&format!("{before}{text}{end}"))
    }

    /// Draws the live line, in place of the previous one. The cursor stays on the line below, so
    /// that other output, even after this program is killed, begins there.
    pub(crate) fn draw(&mut self, line: &str) -> Result<(), Failure> {
        let columns = size().columns;
        let before = if std::mem::replace(&mut self.is_drawn, true) { ERASE } else { "" };
        self.write(&format!("{before}{NO_WRAP}{}{WRAP}\n", cut(line, columns)))
    }

    /// Keeps the live line: the next output goes below it.
    pub(crate) fn keep_live_line(&mut self) {
        self.is_drawn = false;
    }

    /// Replaces the contents of the terminal by these lines; those that do not fit are left out.
    pub(crate) fn show_page(&mut self, page: &str) -> Result<(), Failure> {
        self.is_drawn = false;
        let lines: String = page
            .lines()
            .take(size().rows.saturating_sub(1))
            .fold(String::new(), |lines, line| lines + line + TO_END_OF_LINE + "\n");
        self.write(&format!("{HOME}{NO_WRAP}{lines}{WRAP}{TO_END_OF_PAGE}"))
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        if self.is_closed {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.is_closed = true,
            other => other.map_err(Failure::Output)?,
        }
        Ok(())
    }
}

fn size() -> Size {
    terminal::size(io::stdout()).unwrap_or(SIZE_DEFAULT)
}

/// Control sequences of ECMA-48: up one line and erase from its beginning; move to the upper left;
/// erase to the end of the line or page.
const ERASE: &str = "\x1b[A\r\x1b[J";
const HOME: &str = "\x1b[H";
const TO_END_OF_LINE: &str = "\x1b[K";
const TO_END_OF_PAGE: &str = "\x1b[J";

/// Let the terminal cut a line that is still too long, such as one with characters of two columns.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

/// Cuts a line to the width of the terminal, less one column: some terminals wrap as soon as the
/// last column is used.
fn cut(line: &str, columns: usize) -> String {
    let line = line.lines().next().unwrap_or_default();
    let blank = |character: char| if character.is_control() { ' ' } else { character };
    line.chars().map(blank).take(columns.saturating_sub(1)).collect()
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
    fn a_message_cannot_control_the_terminal() {
        assert_eq!(escape_controls("a\tü\n\x1b]0;title\x07\r"), "a\tü\n\\u{1b}]0;title\\u{7}\\r");
    }
}
