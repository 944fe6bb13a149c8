//! With `--chdir`, the directory that each worker was started in.

use crate::schema::codec::Bytes;
use crate::schema::section::column;

column! {
    struct WorkerDirectories: Other "worker-directories" {
        directory: Option<Bytes>,
    }
}
