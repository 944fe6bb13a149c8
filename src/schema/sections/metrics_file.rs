//! `--metrics-file`.

use crate::schema::codec::Bytes;
use crate::schema::section::section;

section! {
    struct MetricsFile: Critical "metrics-file" {
        path: Option<Bytes> = state.config.metrics_file,
    }
}
