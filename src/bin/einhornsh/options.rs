//! How replies are printed, and how long to wait for them.

use std::time::Duration;

use einhorn::cli::positive_seconds;

use super::command_line::BadLine;

/// Options of einhornsh, for all commands or for one.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct Options {
    /// Wait at most SECONDS for each command to finish [default: no limit]
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds)]
    pub(crate) timeout: Option<Duration>,
    /// Return after the first reply to each command, without waiting for the command to finish
    #[arg(long)]
    pub(crate) detach: bool,
    /// Print replies as JSON events, one per line, and `status` as a JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// `status --strict`: exit with 1 also if there are warnings. It is no option of einhornsh,
    /// because the original's `--s` abbreviates `--socket-path`.
    #[arg(skip)]
    pub(crate) strict: bool,
    /// Repeat `status` every SECONDS, or every 2 seconds, until the master is gone
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "2", value_parser = positive_seconds)]
    pub(crate) watch: Option<Duration>,
}

/// The command that `--watch` can repeat, and that `--strict` is for.
const STATUS: &str = "status";

/// The default interval of `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(2);

impl Options {
    /// Separates the options of einhornsh from the words of a command that are for the master, and
    /// adds them to these.
    ///
    /// # Errors
    /// A value is missing or out of bounds.
    pub(crate) fn split_from(&self, words: Vec<String>) -> Result<Command, BadLine> {
        let mut options = self.clone();
        let mut rest = Vec::with_capacity(words.len());
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            let is_status = rest.first().is_some_and(|command| command == STATUS);
            match (name, &value) {
                _ if rest.is_empty() => rest.push(word),
                ("--detach", None) => options.detach = true,
                ("--json", None) => options.json = true,
                ("--timeout", _) => {
                    let value = value.or_else(|| words.next()).unwrap_or_default();
                    options.timeout = Some(seconds(name, &value)?);
                }
                ("--strict", None) if is_status => options.strict = true,
                ("--watch", _) if is_status => {
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
    positive_seconds(value).map_err(|why| BadLine(format!("{name} {value:?}: {why}")))
}

/// A command and its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// The words for the master, the command's name first; none in an empty command.
    pub(crate) words: Vec<String>,
    pub(crate) options: Options,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Result<Command, BadLine> {
        Options::default().split_from(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn options_are_split_from_the_words_for_the_master() {
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
            assert_eq!(split(line), Ok(Command { words, options }), "{line}");
        }
    }

    #[test]
    fn options_of_a_command_are_added_to_those_of_the_shell() {
        let options =
            Options { json: true, timeout: Some(Duration::from_secs(9)), ..Options::default() };
        let words = ["inc", "--timeout", "3"].map(str::to_owned).to_vec();
        let command = options.split_from(words).unwrap();
        assert_eq!(command.options.timeout, Some(Duration::from_secs(3)));
        assert!(command.options.json);
    }

    #[test]
    fn a_missing_or_invalid_value_is_an_error() {
        for (line, error) in [
            ("upgrade --timeout", "--timeout \"\": must be a number of seconds"),
            ("upgrade --timeout soon", "--timeout \"soon\": must be a number of seconds"),
            ("upgrade --timeout=0", "--timeout \"0\": must be above 0 "),
            ("status --watch=often", "--watch \"often\": must be a number of seconds"),
            ("status --watch -1", "--watch \"-1\": must be above 0 "),
        ] {
            let BadLine(why) = split(line).unwrap_err();
            assert!(why.starts_with(error), "{line}: {why}");
        }
    }
}
