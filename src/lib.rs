//! einhorn: runs N copies of any program behind shared sockets.
pub mod decide;
pub mod protocol;
pub mod scalar;
pub mod state;
