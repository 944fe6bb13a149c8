//! Signals to the master (behaviour.md section 5).

use crate::decide::action::Action;
use crate::decide::event::Sender;
use crate::decide::turn::Turn;
use crate::decide::{shutdown, upgrade, waiters};
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
            shutdown::by_schedule(turn);
        }
        Signal::Term => {
            turn.info(format!("Received {from}: stopping"));
            match turn.state.config.stop {
                Some(_) => shutdown::by_schedule(turn),
                None => shutdown::with_signal(turn, Signal::Term),
            };
        }
        Signal::Quit => {
            turn.info(format!("Received {from}: leaving at once"));
            shutdown::with_signal(turn, Signal::Quit);
            if turn.state.config.kill_children_on_exit {
                let signal = turn.state.config.stop_schedule().death_signal();
                shutdown::with_signal(turn, signal);
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
