//! Workers: what they are given, how they live and end.

pub(crate) mod acks; // when a worker counts as up, and what is ignored
pub(crate) mod client_libraries; // workers that use the libraries of others
pub(crate) mod contract; // the workers of docs/worker-contract.md, run as they stand there
pub(crate) mod executables; // the program itself: found once, and tried calmly while it fails
pub(crate) mod inherited; // what a worker is given, and nothing else
pub(crate) mod killed; // killed instead of draining, and told so
pub(crate) mod leftovers; // what runs on in a worker's process group
pub(crate) mod orphans; // processes whose parent dies
pub(crate) mod queues; // connections that wait, and addresses taken up again
pub(crate) mod recovery; // what dies is replaced, quickly and calmly
pub(crate) mod refused_calls; // a kernel that does not tell of children
pub(crate) mod senders; // who may say what, over which connection and for which worker
pub(crate) mod servers; // real servers of other languages, under load
pub(crate) mod stderr; // what workers say, where the master listens
pub(crate) mod stop_schedules; // what workers are sent that are to stop, and when
pub(crate) mod suspended; // a signal has suspended it: no ACK, no capacity, and a way to stop
pub(crate) mod terminals; // a terminal is the master's alone
pub(crate) mod unsignalled; // signals that cannot be sent
