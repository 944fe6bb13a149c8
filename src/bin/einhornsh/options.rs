//! How an answer is told, and for how long it is awaited.

use std::time::Duration;

use einhorn::cli::above_zero;

use super::command_line::BadLine;

/// What a person wishes of the answer to a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct Options {
    /// Wait at most SECONDS for each command to finish [default: no limit]
    #[arg(long, value_name = "SECONDS", value_parser = above_zero)]
    pub(crate) timeout: Option<Duration>,
    /// Return after the first reply to each command, without waiting for the command to finish
    #[arg(long)]
    pub(crate) detach: bool,
    /// Print replies as JSON events, one per line, and `status` as a JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// Repeat `status` every SECONDS, or every 2 seconds, until the master is gone
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "2", value_parser = above_zero)]
    pub(crate) watch: Option<Duration>,
}

/// The command that may be repeated.
const WATCHABLE: &str = "status";

/// The pause between two looks of `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(2);

impl Options {
    /// Takes the words out of a command that are meant for us; they come on top of these options.
    /// All others are the master's.
    ///
    /// # Errors
    /// A value that is missing or out of bounds.
    pub(crate) fn taken_from(&self, words: Vec<String>) -> Result<Command, BadLine> {
        let mut options = self.clone();
        let mut rest = Vec::with_capacity(words.len());
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            let is_watchable = rest.first().is_some_and(|command| command == WATCHABLE);
            match (name, &value) {
                _ if rest.is_empty() => rest.push(word),
                ("--detach", None) => options.detach = true,
                ("--json", None) => options.json = true,
                ("--timeout", _) => {
                    let value = value.or_else(|| words.next()).unwrap_or_default();
                    options.timeout = Some(seconds(name, &value)?);
                }
                ("--watch", _) if is_watchable => {
                    let next = || words.next_if(|word| word.parse::<f64>().is_ok());
                    let every = value.or_else(next).map(|value| seconds(name, &value));
                    options.watch = Some(every.transpose()?.unwrap_or(WATCH_EVERY));
                }
                _ => rest.push(word),
            }
        }
        Ok(Command { words: rest, options })
    }
}

fn seconds(name: &str, value: &str) -> Result<Duration, BadLine> {
    above_zero(value).map_err(|why| BadLine(format!("{name} {value:?}: {why}")))
}

/// A command with what is wished of its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// The words for the master, the command's name first; none in an empty command.
    pub(crate) words: Vec<String>,
    pub(crate) options: Options,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(line: &str) -> Result<Command, BadLine> {
        Options::default().taken_from(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn our_words_are_taken_and_those_of_the_master_left() {
        let seconds = |seconds| Some(Duration::from_secs_f64(seconds));
        let none = Options::default();
        for (line, words, options) in [
            ("", "", none.clone()),
            ("upgrade --to-ruby --wait x", "upgrade --to-ruby --wait x", none.clone()),
            (
                "upgrade --detach --to-ruby",
                "upgrade --to-ruby",
                Options { detach: true, ..none.clone() },
            ),
            ("inc --json", "inc", Options { json: true, ..none.clone() }),
            ("wait --timeout 1.5", "wait", Options { timeout: seconds(1.5), ..none.clone() }),
            ("wait --timeout=60", "wait", Options { timeout: seconds(60.0), ..none.clone() }),
            ("status --watch", "status", Options { watch: seconds(2.0), ..none.clone() }),
            ("status --watch x", "status x", Options { watch: seconds(2.0), ..none.clone() }),
            ("status --watch 5", "status", Options { watch: seconds(5.0), ..none.clone() }),
            ("status --watch=0.5", "status", Options { watch: seconds(0.5), ..none.clone() }),
            ("inc --watch 5", "inc --watch 5", none.clone()),
            ("--json --detach", "--json", Options { detach: true, ..none.clone() }),
            ("inc --detach=yes --jso", "inc --detach=yes --jso", none.clone()),
        ] {
            let words = words.split_whitespace().map(str::to_owned).collect();
            assert_eq!(taken(line), Ok(Command { words, options }), "{line}");
        }
    }

    #[test]
    fn words_come_on_top_of_options() {
        let options =
            Options { json: true, timeout: Some(Duration::from_secs(9)), ..Options::default() };
        let words = ["inc", "--timeout", "3"].map(str::to_owned).to_vec();
        let command = options.taken_from(words).unwrap();
        assert_eq!(command.options.timeout, Some(Duration::from_secs(3)));
        assert!(command.options.json);
    }

    #[test]
    fn a_value_that_is_missing_or_bad_is_told() {
        for (line, told) in [
            ("upgrade --timeout", "--timeout \"\": must be a number of seconds"),
            ("upgrade --timeout soon", "--timeout \"soon\": must be a number of seconds"),
            ("upgrade --timeout=0", "--timeout \"0\": must be above 0 "),
            ("status --watch=often", "--watch \"often\": must be a number of seconds"),
            ("status --watch -1", "--watch \"-1\": must be above 0 "),
        ] {
            let BadLine(why) = taken(line).unwrap_err();
            assert!(why.starts_with(told), "{line}: {why}");
        }
    }
}
