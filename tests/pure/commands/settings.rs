//! What `config` answers and does.

use super::transcripts::{To, Transcript};

/// Settings: all of a mapping or none.
pub(super) const CONFIG: &[Transcript] = &[
    (
        To::Manual,
        "{command: config, args: ['{number: 2, seconds: 0.5, ack_mode: 3, verbosity: 0}'], id: 1}",
        &[
            "info: Changed number to 2, seconds to 0.5, ack_mode to 3, verbosity to 0",
            "reply 1: Changed number to 2, seconds to 0.5, ack_mode to 3, verbosity to 0",
            "now number 2",
            "now seconds 500ms",
            "now ack_mode Timer(3s)",
            "now verbosity 0",
        ],
    ),
    (
        To::Timer,
        "{command: config, args: ['{ack_mode: {type: manual}, signal_timeout: 9,', \
         'max_unacked: 5, max_upgrade_additional: 6, retries: 7}']}",
        &[
            "info: Changed ack_mode to manual, signal_timeout to 9, max_unacked to 5, \
             max_upgrade_additional to 6, retries to 7",
            "reply: Changed ack_mode to manual, signal_timeout to 9, max_unacked to 5, \
             max_upgrade_additional to 6, retries to 7",
            "now ack_mode Manual",
            "now signal_timeout Some(9s)",
            "now max_unacked Some(5)",
            "now max_upgrade_additional Some(6)",
            "now retries Some(7)",
        ],
    ),
    (
        To::Manual,
        "{command: config, args: ['{ack_mode: 0}']}",
        &["info: Changed ack_mode to 0", "reply: Changed ack_mode to 0", "now ack_mode Timer(0ns)"],
    ),
    (
        To::Stopping,
        "{command: config, args: ['{signal_timeout: null, retries: null}']}",
        &[
            "info: Changed signal_timeout to none",
            "reply: Changed signal_timeout to none",
            "now signal_timeout None",
        ],
    ),
    (
        To::Manual,
        "{command: config, args: [':config: {number: 3, backlog: 100, seconds: 4}']}",
        &["info: Changed seconds to 4", "reply: Changed seconds to 4", "now seconds 4s"],
    ),
    (
        To::Manual,
        "{command: config, args: ['{seconds: 4, backlog: 101}']}",
        &["reply: backlog is 100 and cannot be changed: a listener keeps the backlog that it was \
           bound with"],
    ),
    (
        To::Manual,
        "{command: config, args: ['{backlog: 100}']}",
        &["info: Changed nothing", "reply: Changed nothing"],
    ),
    (
        To::Manual,
        "{command: config, args: ['{ack_timeout: 30, upgrade_timeout: 600.5, canary_seconds: 0}']}",
        &[
            "info: Changed ack_timeout to 30, upgrade_timeout to 600.5",
            "reply: Changed ack_timeout to 30, upgrade_timeout to 600.5",
        ],
    ),
    (
        To::Manual,
        "{command: config, args: ['{ack_timeout: null, upgrade_max_failures: 2, \
         on_canary_timeout: 5}']}",
        &[
            "info: Changed ack_timeout to none, upgrade_max_failures to 2, on_canary_timeout to 5",
            "reply: Changed ack_timeout to none, upgrade_max_failures to 2, on_canary_timeout to 5",
        ],
    ),
    (
        To::Manual,
        "{command: config, args: ['{upgrade_max_failures: 0}']}",
        &["reply: upgrade_max_failures must be from 1 to 4294967295, not 0"],
    ),
    (
        To::Manual,
        "{command: config, args: [':drop_environment_variables:', '[HOME, RUBYOPT]']}",
        &[
            "info: Changed drop_environment_variables to [HOME, RUBYOPT]",
            "reply: Changed drop_environment_variables to [HOME, RUBYOPT]",
            "now drop_env_vars [\"HOME\", \"RUBYOPT\"]",
        ],
    ),
    (
        To::Stopping,
        "{command: config, args: ['{verbosity: 0, number: 4}']}",
        &["reply: Can't change the number of workers: the master is going down"],
    ),
    (
        To::Manual,
        "{command: config, args: ['{verbosity: 0, number: 10001}']}",
        &["reply: Can't run 10001 workers: the most is 10000"],
    ),
    (
        To::Manual,
        "{command: config, args: ['{verbosity: 3}']}",
        &["reply: verbosity must be 0, 1 or 2, not 3"],
    ),
    (
        To::Manual,
        "{command: config, args: ['{max_unacked: 0}']}",
        &["reply: max_unacked must be from 1 to 10000, not 0"],
    ),
    (
        To::Manual,
        "{command: config, args: ['{seconds: 1.0e-10}']}",
        &["reply: seconds must be above 0 and at most 1000000000 seconds, not 0.0000000001"],
    ),
    (
        To::Manual,
        "{command: config, args: ['{number: 9, cmd: [sh]}']}",
        &["reply: Cannot change \"cmd\" while running. These can be changed: number, seconds, \
           ack_mode, signal_timeout, stop, verbosity, max_unacked, max_upgrade_additional, \
           retries, drop_environment_variables, ack_timeout, upgrade_timeout, \
           upgrade_max_failures, canary_seconds, on_canary_timeout"],
    ),
    (
        To::Manual,
        "{command: config, args: ['[7]']}",
        &["reply: The settings must be a mapping such as {seconds: 2}, not a list"],
    ),
    (
        To::Manual,
        "{command: config, id: 1}",
        &["reply 1: config needs a mapping of settings, such as: config '{seconds: 2}'"],
    ),
];
