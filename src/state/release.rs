//! What this release is.

/// The format of the state that this release reads and writes. Another one is for a change of the
/// sections' own frame; a new fact is a section (`state-schema/README.md`).
pub const STATE_FORMAT: u16 = 1;

/// This release's version. The build with the cargo feature `next`, which is for tests only, is
/// the release after it.
pub fn release() -> &'static str {
    if cfg!(feature = "next") {
        concat!(env!("CARGO_PKG_VERSION"), "-next")
    } else {
        env!("CARGO_PKG_VERSION")
    }
}
