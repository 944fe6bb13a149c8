//! The options: one documented field each, and a command line made of them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, ArgGroup, CommandFactory, FromArgMatches, Parser};

use crate::cli::address::{looks_like_address, parse_bind};
use crate::cli::long_option::{NEWER, expand_abbreviations};
use crate::cli::value::{
    ShellWords, SpanOrNone, ack_mode, at_least_one, backlog, nice, nonnegative_seconds,
    positive_seconds, positive_seconds_or_none, reexec_mode, retries, shell_words,
};
use crate::state::{
    AckMode, Bind, Config, Nice, ReexecMode, RolloutBounds, STATE_FORMAT, StopSchedule, Verbosity,
    default_file_name, release,
};

/// Run copies of a program behind shared sockets, and keep them running.
///
/// The program inherits the listeners as file descriptors: EINHORN_FD_COUNT is how many there are,
/// and EINHORN_FD_0 and so on are their numbers. Control the running master with einhornsh.
#[derive(Parser, Debug)]
#[command(name = "einhorn", disable_version_flag = true, args_override_self = true)]
#[command(group = ArgGroup::new(NEWER).multiple(true))]
#[command(
    override_usage = "einhorn [options] [--] PROGRAM [ARGUMENTS...]",
    disable_help_flag = true
)]
struct Args {
    /// Bind a listener: HOST:PORT, [IPv6]:PORT, udp:HOST:PORT or unix:PATH. Options follow after
    /// commas: r (SO_REUSEADDR), n (O_NONBLOCK); for IPv6 v6only; for unix mode=0660, owner=USER,
    /// group=GROUP (repeatable)
    #[arg(short, long = "bind", value_name = "ADDR")]
    bind: Vec<String>,
    /// Name the master: NAME is shown by ps and is part of the default file names
    #[arg(short = 'c', long, value_name = "NAME")]
    command_name: Option<String>,
    /// Create the command socket at PATH [default: einhorn.sock, or einhorn-NAME.sock with -c, in
    /// $TMPDIR or /tmp]
    #[arg(short = 'd', long, value_name = "PATH")]
    socket_path: Option<PathBuf>,
    /// Write the pid file to PATH [default: einhorn.pid, or einhorn-NAME.pid with -c, in $TMPDIR
    /// or /tmp]
    #[arg(short = 'e', long, value_name = "PATH")]
    pidfile: Option<PathBuf>,
    /// Use PATH as the lock file [default: einhorn.lock, or einhorn-NAME.lock with -c, in $TMPDIR
    /// or /tmp]
    #[arg(short = 'f', long, value_name = "PATH")]
    lockfile: Option<PathBuf>,
    /// Give each worker a connection to the command socket, as descriptor EINHORN_SOCK_FD
    #[arg(short = 'g', long)]
    command_socket_as_fd: bool,
    /// Send SIGUSR2 to the workers if the master dies or exits on SIGQUIT
    #[arg(short = 'k', long)]
    kill_children_on_exit: bool,
    /// Let up to N connections wait in the backlog of each listener
    #[arg(short = 'l', long, value_name = "N", default_value = "100", value_parser = backlog)]
    backlog: u32,
    /// Count a worker as up (ACKed) when it says so (`manual`), or this many seconds after its
    /// start
    #[arg(short = 'm', long, value_name = "MODE", default_value = "1", value_parser = ack_mode)]
    ack_mode: AckMode,
    /// Run N workers, 1 to 10000
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = at_least_one)]
    number: u32,
    /// Load code once and fork workers from it (not available in this release)
    #[arg(short, long, value_name = "PATH")]
    preload: Option<PathBuf>,
    /// Log less (repeatable)
    #[arg(short, long, action = ArgAction::Count)]
    quiet: u8,
    /// Log more (repeatable)
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
    /// Back off for SECONDS at first when workers die before their ACK, and longer with each
    /// further death
    #[arg(short, long, value_name = "SECONDS", default_value = "1")]
    #[arg(value_parser = positive_seconds)]
    seconds: Duration,
    /// Send SIGKILL to a worker that is still running SECONDS after it was asked to stop [default:
    /// never]
    #[arg(short = 't', long, value_name = "SECONDS", value_parser = positive_seconds)]
    signal_timeout: Option<Duration>,
    /// Stop workers by these alternating signals and seconds, such as TERM/30/KILL [default: USR2,
    /// and with -t USR2/SECONDS/KILL]
    #[arg(long, group = NEWER, value_name = "SCHEDULE", value_parser = StopSchedule::parse)]
    #[arg(conflicts_with = "signal_timeout")]
    stop: Option<StopSchedule>,
    /// Stop starting workers after N consecutive deaths before an ACK [default: never]
    #[arg(short, long, group = NEWER, value_name = "N", value_parser = retries)]
    retries: Option<u32>,
    /// While replacing workers, let at most N new ones wait for their ACK at a time [default:
    /// number of processors]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    max_unacked: Option<u32>,
    /// Run at most N workers above the target number during an upgrade [default: no limit]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    max_upgrade_additional: Option<u32>,
    /// Remove the environment variable NAME at the next re-exec (repeatable)
    #[arg(long, value_name = "NAME")]
    drop_env_var: Vec<OsString>,
    /// Run COMMAND, split as shell words, in place of einhorn at a re-exec
    #[arg(long, value_name = "COMMAND", value_parser = shell_words)]
    reexec_as: Option<ShellWords>,
    /// Re-exec by running the command in the master's place (`exec`), or by running it once as a
    /// check and then exactly the einhorn that it executed (`pinned`)
    #[arg(long, group = NEWER, value_name = "MODE", default_value = "exec")]
    #[arg(value_parser = reexec_mode)]
    reexec_mode: ReexecMode,
    /// Count a new worker of an upgrade as failed if it is not ACKed within SECONDS; `none` for no
    /// limit
    #[arg(long, group = NEWER, value_name = "SECONDS", default_value = "120")]
    #[arg(value_parser = positive_seconds_or_none)]
    ack_timeout: SpanOrNone,
    /// Fail an upgrade if rolling out new workers takes longer than SECONDS; `none` for no limit
    #[arg(long, group = NEWER, value_name = "SECONDS", default_value = "none")]
    #[arg(value_parser = positive_seconds_or_none)]
    upgrade_timeout: SpanOrNone,
    /// Fail an upgrade at the Nth failure of a new worker [default: a tenth of the workers, at
    /// least 3]
    #[arg(long, group = NEWER, value_name = "N", value_parser = retries)]
    upgrade_max_failures: Option<u32>,
    /// Keep all old workers until the first new one, or in a fleet upgrade every new one, has been
    /// up for SECONDS
    #[arg(long, group = NEWER, value_name = "SECONDS", default_value = "0")]
    #[arg(value_parser = nonnegative_seconds)]
    canary_seconds: Duration,
    /// Run COMMAND, split as shell words, after --canary-seconds; a smooth upgrade fails unless
    /// it exits with status 0
    #[arg(long, group = NEWER, value_name = "COMMAND", value_parser = shell_words)]
    on_canary: Option<ShellWords>,
    /// Fail the upgrade if the command of --on-canary takes longer than SECONDS
    #[arg(long, group = NEWER, value_name = "SECONDS", default_value = "60")]
    #[arg(value_parser = positive_seconds)]
    on_canary_timeout: Duration,
    /// Start workers in the directory PATH; each upgrade resolves a symbolic link again
    #[arg(long, group = NEWER, value_name = "PATH")]
    chdir: Option<PathBuf>,
    /// Add the NAME=VALUE lines of the file PATH to the workers' environment; each re-exec reads
    /// it again
    #[arg(long, group = NEWER, value_name = "PATH")]
    env_file: Option<PathBuf>,
    /// Keep metrics in OpenMetrics format in the file PATH
    #[arg(long, group = NEWER, value_name = "PATH")]
    metrics_file: Option<PathBuf>,
    /// Set the nice levels of the master and the workers, -20 to 19, with RENICE_CMD if given
    #[arg(long, value_name = "MASTER[:WORKER[:RENICE_CMD]]", value_parser = nice)]
    nice: Option<Nice>,
    /// Collect garbage before forking, with --preload (not available in this release)
    #[arg(long)]
    gc_before_fork: bool,
    /// Resolve host names in listeners to IPv4 addresses
    #[arg(short = '4', long, group = NEWER, overrides_with = "ipv6")]
    ipv4: bool,
    /// Resolve host names in listeners to IPv6 addresses
    #[arg(short = '6', long, group = NEWER, overrides_with = "ipv4")]
    ipv6: bool,
    /// Log to the system log instead of standard error
    #[arg(long, group = NEWER)]
    syslog: bool,
    /// Read the workers' standard error, pass it on, and keep the last lines for reports
    #[arg(long, group = NEWER)]
    capture_stderr: bool,
    /// Internal: adopt a running master's state
    #[arg(long, value_name = "FD", hide = true)]
    with_state_fd: Option<i32>,
    /// Check that einhorn can start with these options, and exit
    #[arg(long)]
    upgrade_check: bool,
    /// Internal: the next image gave the state back, for this reason
    #[arg(long, group = NEWER, value_name = "WHY", hide = true)]
    rolled_back: Option<String>,
    /// Internal: the state of the process before this pinned image was executed
    #[arg(long, group = NEWER, value_name = "BEFORE", hide = true)]
    pinned: Option<String>,
    /// Print the state in FILE, as one master hands it to the next, in readable form
    #[arg(long, group = NEWER, value_name = "FILE")]
    describe_state: Option<PathBuf>,
    /// For tests: a fact that only this release knows
    #[cfg(feature = "next")]
    #[arg(long, group = NEWER, value_name = "TEXT", hide = true)]
    test_note: Option<String>,
    /// For tests: a fact that an older release may ignore
    #[cfg(feature = "next")]
    #[arg(long, group = NEWER, value_name = "TEXT", hide = true)]
    test_hint: Option<String>,
    /// Print the release and the state format
    #[arg(long)]
    version: bool,
    /// Print this help
    #[arg(short, long, action = ArgAction::HelpLong)]
    help: Option<bool>,
    /// The program to run, and its arguments; `srv:HOST:PORT` in an argument binds a listener and
    /// is replaced by its descriptor number
    #[arg(trailing_var_arg = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

/// The address family that host names resolve to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostFamily {
    /// `-4`.
    Inet,
    /// `-6`.
    Inet6,
}

/// A `srv:` listener among the program's arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindWord {
    /// The index of the word in the command, in which the program is 0.
    pub index: usize,
    /// What precedes `srv:`.
    pub prefix: String,
    /// What to bind.
    pub bind: Bind,
}

/// A valid command line.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The configuration of the master.
    pub config: Config,
    /// The `-b` listeners, in order.
    pub binds: Vec<Bind>,
    /// The `srv:` listeners.
    pub bind_words: Vec<BindWord>,
    /// The family for host names in listeners.
    pub host_family: Option<HostFamily>,
    /// Whether `-e` was given: then failing to write the pid file is an error.
    pub is_pidfile_given: bool,
    /// `State::note`.
    #[cfg(feature = "next")]
    pub note: Option<String>,
    /// `State::hint`.
    #[cfg(feature = "next")]
    pub hint: Option<String>,
}

/// What a command line asks einhorn to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Start a master.
    Start(Box<Options>),
    /// Adopt the state of the master that this process was before the exec.
    Adopt {
        /// The descriptor of the state.
        state: i32,
        /// Why the next image rolled back to this one, if it did.
        rolled_back: Option<String>,
        /// The state of the process before this image was executed, if that was pinned.
        pinned: Option<String>,
        /// The program and its arguments.
        program: Vec<OsString>,
    },
    /// Check whether a master could start, or adopt a state.
    Check {
        /// The command line to check.
        options: Box<Options>,
        /// The descriptor of the state to check, if there is one.
        state: Option<i32>,
    },
    /// Print the state in this file.
    Describe(PathBuf),
}

/// Why a command line is not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Help or version: print this and exit with 0.
    HelpOrVersion(String),
    /// No program: print this usage on standard output and exit with 1 (behaviour.md section 1).
    NoProgram(String),
    /// An error: print this line on standard error.
    Invalid(String),
}

/// The folder of the default files: `$TMPDIR`, or `/tmp` if that is unset or empty.
pub fn default_folder(tmpdir: Option<OsString>) -> PathBuf {
    PathBuf::from(tmpdir.filter(|path| !path.is_empty()).unwrap_or_else(|| "/tmp".into()))
}

/// `einhorn.EXTENSION`, or `einhorn-NAME.EXTENSION`, in the folder of the default files.
pub fn default_path(folder: &Path, name: Option<&str>, extension: &str) -> PathBuf {
    folder.join(default_file_name(name, extension))
}

/// Parses a command line. `folder` is for the default files; other relative paths are relative to
/// `directory`.
///
/// # Errors
/// Help, version, usage or an error to print; see [`Refusal`].
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    folder: &Path,
    directory: &Path,
) -> Result<Task, Refusal> {
    let mut command = Args::command();
    command.build();
    let arguments = expand_abbreviations(&command, arguments).map_err(Refusal::Invalid)?;
    let matches = command.try_get_matches_from(arguments);
    let args = matches.and_then(|mut matches| Args::from_arg_matches_mut(&mut matches));
    let args = args.map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp => Refusal::HelpOrVersion(error.render().to_string()),
        _ => Refusal::Invalid(one_line(&error.render().to_string())),
    })?;
    if args.version {
        return Err(Refusal::HelpOrVersion(version()));
    }
    if let Some(file) = args.describe_state {
        return Ok(Task::Describe(file));
    }
    let state = args.with_state_fd;
    if let (Some(state), false) = (state, args.upgrade_check) {
        let Args { rolled_back, pinned, program, .. } = args;
        return Ok(Task::Adopt { state, rolled_back, pinned, program });
    }
    if args.program.is_empty() && !args.upgrade_check {
        return Err(Refusal::NoProgram(usage()));
    }
    let is_check = args.upgrade_check;
    let options = options(args, folder, directory).and_then(check_files);
    let options = Box::new(options.map_err(Refusal::Invalid)?);
    Ok(match is_check {
        true => Task::Check { options, state },
        false => Task::Start(options),
    })
}

fn version() -> String {
    format!("einhorn {}\nstate format: {STATE_FORMAT}\n", release())
}

fn options(args: Args, folder: &Path, directory: &Path) -> Result<Options, String> {
    check(&args)?;
    let binds = args.bind.iter().map(|text| parse_bind(text)).collect::<Result<_, _>>()?;
    let bind_words = bind_words(&args.program)?;
    let name = args.command_name.as_deref();
    let path = |given: Option<PathBuf>, extension: &str| {
        directory.join(given.unwrap_or_else(|| default_path(folder, name, extension)))
    };
    let rollout = RolloutBounds {
        ack_timeout: args.ack_timeout,
        upgrade_timeout: args.upgrade_timeout,
        failures_max: args.upgrade_max_failures,
        canary: args.canary_seconds,
        on_canary: args.on_canary.unwrap_or_default(),
        on_canary_timeout: args.on_canary_timeout,
    };
    let level = Verbosity::INFO.0.saturating_add(args.quiet).saturating_sub(args.verbose);
    Ok(Options {
        binds,
        bind_words,
        host_family: match (args.ipv4, args.ipv6) {
            (true, _) => Some(HostFamily::Inet),
            (false, true) => Some(HostFamily::Inet6),
            (false, false) => None,
        },
        is_pidfile_given: args.pidfile.is_some(),
        #[cfg(feature = "next")]
        note: args.test_note,
        #[cfg(feature = "next")]
        hint: args.test_hint,
        config: Config {
            socket_path: path(args.socket_path, "sock"),
            pidfile: path(args.pidfile, "pid"),
            is_lockfile_named: args.lockfile.is_some(),
            lockfile: path(args.lockfile, "lock"),
            original_command: args.program.clone(),
            command: args.program,
            target: args.number,
            backlog: args.backlog,
            respawn_interval: args.seconds,
            ack_mode: args.ack_mode,
            signal_timeout: args.signal_timeout,
            stop: args.stop,
            max_unacked: args.max_unacked,
            max_upgrade_additional: args.max_upgrade_additional,
            retries: args.retries,
            kill_children_on_exit: args.kill_children_on_exit,
            command_socket_as_fd: args.command_socket_as_fd,
            command_name: args.command_name,
            nice: args.nice.unwrap_or_default(),
            reexec_as: args.reexec_as.unwrap_or_default(),
            drop_env_vars: args.drop_env_var,
            verbosity: Verbosity(level.min(Verbosity::ERROR.0)),
            syslog: args.syslog,
            capture_stderr: args.capture_stderr,
            reexec_mode: args.reexec_mode,
            rollout,
            chdir: args.chdir.map(|path| directory.join(path)),
            env_file: args.env_file.map(|path| directory.join(path)),
            metrics_file: args.metrics_file.map(|path| directory.join(path)),
        },
    })
}

/// Checks that the parsers of single values cannot make.
fn check(args: &Args) -> Result<(), String> {
    for (given, option) in
        [(args.preload.is_some(), "--preload"), (args.gc_before_fork, "--gc-before-fork")]
    {
        if given {
            return Err(format!("{option} is not available in this release"));
        }
    }
    if let Some(name) = args.command_name.as_deref()
        && (name.is_empty() || name.contains('/'))
    {
        let why = "it becomes part of file names, so it must not be empty or contain '/'";
        return Err(format!("invalid value {name:?} for --command-name: {why}"));
    }
    let is_name = |name: &OsString| !name.is_empty() && !name.as_encoded_bytes().contains(&b'=');
    if let Some(name) = args.drop_env_var.iter().find(|name| !is_name(name)) {
        return Err(format!(
            "invalid value {name:?} for --drop-env-var: it is not the name of a variable"
        ));
    }
    Ok(())
}

/// Each write of the metrics file replaces it, so no other file may have its path.
fn check_files(options: Options) -> Result<Options, String> {
    let config = &options.config;
    let socket_lock = config.socket_lock();
    let others = [&config.socket_path, &socket_lock, &config.pidfile, &config.lockfile];
    match &config.metrics_file {
        Some(path) if others.into_iter().chain(&config.env_file).any(|other| other == path) => {
            let why = "this master uses that path for another file";
            Err(format!("invalid value {path:?} for --metrics-file: {why}"))
        }
        _ => Ok(options),
    }
}

/// Printed when there is no program; users' scripts look for its first line.
fn usage() -> String {
    let help = Args::command().render_help();
    format!("## Usage\n\n    einhorn [options] [--] PROGRAM [ARGUMENTS...]\n\n{help}")
}

/// The message and hints of a clap error in one line, without the usage.
fn one_line(rendered: &str) -> String {
    let lines = rendered.lines().map(str::trim).filter(|line| !line.is_empty());
    let wanted = lines.filter(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let text = wanted.collect::<Vec<_>>().join(" ");
    text.strip_prefix("error: ").unwrap_or(&text).to_owned()
}

/// Finds the `srv:` listeners among the arguments. A word that only begins like one is left alone,
/// as in the original.
fn bind_words(command: &[OsString]) -> Result<Vec<BindWord>, String> {
    let mut found = Vec::new();
    for (index, word) in command.iter().enumerate().skip(1) {
        let Some((prefix, address)) = word.to_str().and_then(split_bind_word) else { continue };
        if !looks_like_address(address) {
            continue;
        }
        let bind = parse_bind(address).map_err(|why| format!("in argument {word:?}: {why}"))?;
        found.push(BindWord { index, prefix: prefix.to_owned(), bind });
    }
    Ok(found)
}

fn split_bind_word(word: &str) -> Option<(&str, &str)> {
    if let Some(address) = word.strip_prefix("srv:") {
        return Some(("", address));
    }
    let at = word.rfind("=srv:")? + 1;
    Some((&word[..at], &word[at + "srv:".len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, Refusal> {
        let words = shell_words::split(&format!("einhorn {line}")).unwrap();
        let words = words.into_iter().map(OsString::from);
        super::parse(words, Path::new("/t"), Path::new("/d")).map(|task| match task {
            Task::Start(options) => *options,
            other => panic!("{line}: {other:?}"),
        })
    }

    fn invalid(line: &str) -> String {
        match parse(line) {
            Err(Refusal::Invalid(message)) => message,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn options_end_at_the_program() {
        let options = parse("-n 3 sleep 5 -n 4").unwrap();
        assert_eq!(options.config.target, 3);
        assert_eq!(options.config.command, ["sleep", "5", "-n", "4"]);
        assert_eq!(parse("-n 2 -- -odd -b x").unwrap().config.command, ["-odd", "-b", "x"]);
    }

    #[test]
    fn the_last_of_a_repeated_option_holds_and_long_ones_may_be_short() {
        let options = parse("-n 1 --numb 2 --ack manual --command-n web x").unwrap();
        assert_eq!(options.config.target, 2);
        assert_eq!(options.config.ack_mode, AckMode::Manual);
        assert_eq!(options.config.socket_path, Path::new("/t/einhorn-web.sock"));
    }

    #[test]
    fn files_are_absolute() {
        let options = parse("-d run/s -e /p x").unwrap();
        assert_eq!(options.config.socket_path, Path::new("/d/run/s"));
        assert_eq!(options.config.pidfile, Path::new("/p"));
        assert_eq!(options.config.lockfile, Path::new("/t/einhorn.lock"));
    }

    #[test]
    fn levels_of_talk_stay_in_bounds() {
        assert_eq!(parse("-qqq x").unwrap().config.verbosity, Verbosity::ERROR);
        assert_eq!(parse("-v -v -v x").unwrap().config.verbosity, Verbosity::DEBUG);
    }

    #[test]
    fn srv_words_are_found_and_others_left_alone() {
        let options = parse("x srv:127.0.0.1:80,r a=b=srv:[::1]:0 srv:hello srv: -n").unwrap();
        let found: Vec<_> =
            options.bind_words.iter().map(|word| (word.index, word.prefix.as_str())).collect();
        assert_eq!(found, [(1, ""), (2, "a=b=")]);
        assert!(options.bind_words[0].bind.options.reuse_address);
    }

    #[test]
    fn nice_levels() {
        let nice = parse("--nice -5:10:'sudo renice' x").unwrap().config.nice;
        assert_eq!((nice.master, nice.worker), (Some(-5), Some(10)));
        assert_eq!(nice.renice_command.unwrap(), ["sudo", "renice"]);
        assert!(invalid("--nice 20 x").contains("-20 to 19"));
    }

    #[test]
    fn bad_values_are_one_line_that_names_option_and_bound() {
        for (line, parts) in [
            ("-n 0 x", vec!["--number", "1 to 10000"]),
            ("-n -1 x", vec!["--number", "1 to 10000"]),
            ("-n many x", vec!["'many'", "whole number"]),
            ("-s 0 x", vec!["--seconds", "above 0"]),
            ("-s nan x", vec!["--seconds", "above 0"]),
            ("-t -3 x", vec!["--signal-timeout", "above 0"]),
            ("-m soon x", vec!["--ack-mode", "`manual`"]),
            ("-m -1 x", vec!["--ack-mode", "0 or more"]),
            ("-l 0 x", vec!["--backlog"]),
            ("--max-unacked 0 x", vec!["--max-unacked", "1 to 10000"]),
            ("--reexec-as \"'a\" x", vec!["--reexec-as", "shell words"]),
            ("--bogus x", vec!["--bogus"]),
            ("-n", vec!["--number"]),
            ("--ack-timeout 0 x", vec!["--ack-timeout", "`none`", "above 0"]),
            ("--upgrade-timeout soon x", vec!["--upgrade-timeout", "`none`"]),
            ("--upgrade-max-failures 0 x", vec!["--upgrade-max-failures", "from 1"]),
            ("--canary-seconds -1 x", vec!["--canary-seconds", "0 or more"]),
            ("--on-canary '' x", vec!["--on-canary", "name a command"]),
            ("--metrics-file m -e m x", vec!["--metrics-file", "\"/d/m\"", "another file"]),
            ("--reexec-mode fork x", vec!["--reexec-mode", "`pinned`"]),
            ("-c a/b x", vec!["--command-name", "'/'"]),
            ("-p x y", vec!["--preload", "not available"]),
            ("--gc-before-fork x", vec!["--gc-before-fork", "not available"]),
            ("x srv:127.0.0.1:80,bogus", vec!["srv:127.0.0.1:80,bogus", "\"bogus\""]),
        ] {
            let message = invalid(line);
            assert!(!message.contains('\n'), "{line}: {message}");
            for part in parts {
                assert!(message.contains(part), "{line}: {message}");
            }
        }
    }

    #[test]
    fn no_program_prints_the_usage() {
        let Err(Refusal::NoProgram(usage)) = parse("-n 3") else { panic!("no refusal") };
        assert!(usage.starts_with("## Usage\n"));
    }
}
