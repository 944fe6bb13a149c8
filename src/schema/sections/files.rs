//! Files that the master removes when it exits.

use crate::schema::codec::Bytes;
use crate::schema::frozen::frozen;
use crate::schema::handover::CarriedFile;
use crate::schema::section::section;

section! {
    struct Files: Critical "files" {
        files: Vec<File> = files,
    }
}

frozen! {
    struct File of CarriedFile {
        path: Bytes,
        device: u64,
        inode: u64,
    }
}
