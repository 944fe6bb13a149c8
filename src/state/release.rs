//! The version of this release and its state format.

/// The format of the state that this release reads and writes. Only a change to the framing of the
/// sections needs a new format; new data goes into a new section (`state-schema/README.md`).
pub const STATE_FORMAT: u16 = 1;

/// The version of this release. A build with the cargo feature `next`, which is for tests only,
/// acts as the release after it.
pub fn release() -> &'static str {
    if cfg!(feature = "next") {
        concat!(env!("CARGO_PKG_VERSION"), "-next")
    } else {
        env!("CARGO_PKG_VERSION")
    }
}
