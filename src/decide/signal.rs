//! Signals to the master (behaviour.md section 5).

use crate::decide::action::Action;
use crate::decide::event::Sender;
use crate::decide::turn::{Turn, list};
use crate::decide::{upgrade, waiters};
use crate::state::{Signal, Stopping};

/// A signal arrived.
pub(super) fn received(turn: &mut Turn, signal: Signal, sender: Option<Sender>) {
    let from = match sender {
        Some(Sender { pid, uid }) => format!("SIG{signal} from pid {pid} (uid {uid})"),
        None => format!("SIG{signal}"),
    };
    match signal {
        Signal::Int | Signal::Usr2 => {
            turn.info(format!("Received {from}: stopping gracefully"));
            stop(turn, Signal::Usr2);
        }
        Signal::Term => {
            turn.info(format!("Received {from}: stopping"));
            stop(turn, Signal::Term);
        }
        Signal::Quit => {
            turn.info(format!("Received {from}: leaving at once"));
            stop(turn, Signal::Quit);
            if turn.state.config.kill_children_on_exit {
                stop(turn, Signal::Usr2);
            }
            // With no workers left, the end of this turn exits too, and must do so with the same
            // status.
            turn.state.stopping = Some(Stopping { exit_code: 1 });
            waiters::notify_exit_waiters(turn, "Leaving at once");
            turn.actions.push(Action::Exit { code: 1 });
        }
        Signal::Hup => {
            turn.info(format!("Received {from}: upgrading"));
            upgrade::requested_by_signal(turn);
        }
        Signal::Chld => {}
        other => turn.info(format!("Received {from}: ignoring {other}")),
    }
}

/// Stops the master: starts no more workers, asks all of them to stop, and exits once they are
/// gone. Returns the message that says what was sent. May be called again with another signal.
pub(super) fn stop(turn: &mut Turn, signal: Signal) -> String {
    turn.state.stopping.get_or_insert(Stopping { exit_code: 0 });
    upgrade::abandon(turn);
    let workers = turn.all_workers();
    turn.info(format!("Sending {signal} to {}", list(&workers)));
    turn.request_stop(&workers, signal);
    sent_message(signal, &workers)
}

/// The original's message about signals that were sent.
pub(super) fn sent_message(signal: Signal, workers: &[crate::state::Pid]) -> String {
    let count = workers.len();
    format!("Successfully sent {signal}s to {count} processes: {}", list(workers))
}
