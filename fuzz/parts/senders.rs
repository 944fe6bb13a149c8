//! Who sends the lines of an input of `decide_step`, and what another user may change by one.

use einhorn::decide::{Authority, Membership, Sender};
use einhorn::state::{ConnectionId, Pid, State};

/// A process that is no worker itself.
pub(super) const CHILD: Pid = Pid(80);

/// What the kernel tells of a line: with `m` it is from another user, and of an `@` in it the
/// number says how it belongs to a worker.
pub(super) fn told(
    line: &str,
    from: &str,
    nth: usize,
    worker: Option<&Pid>,
) -> (Authority, Option<Membership>) {
    let authority = match from {
        "m" => Authority::OwnWorker(Sender { pid: CHILD.0, uid: 1000 }),
        _ => Authority::Full,
    };
    let membership = line.contains('@').then_some(match (worker, nth % 3) {
        (Some(worker), 0) => Membership::InGroup(*worker),
        (Some(worker), 1) => Membership::Descendant(*worker),
        _ => Membership::Unrelated,
    });
    (authority, membership)
}

/// Over the connection of a worker, a user who is neither root nor the master's has changed nothing
/// but what is known of an ACK and a ping of that worker.
pub(super) fn assert_harmless(mut before: State, after: &State, connection: ConnectionId) {
    let own = before.connections.get(&connection).and_then(|known| known.given_to);
    let own = own.and_then(|own| after.workers.get_key_value(&own));
    if let Some((own, later)) = own
        && let Some(worker) = before.workers.get_mut(own)
    {
        if later.acked_at != worker.acked_at {
            before.early_death_count = after.early_death_count;
        }
        worker.acked_at = later.acked_at;
        worker.ping.clone_from(&later.ping);
    }
    assert_eq!(before, *after, "another user has changed this");
}
