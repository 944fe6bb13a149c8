//! What workers do with the signal that asks them to stop.

use crate::schema::frozen::frozen;
use crate::schema::section::column;
use crate::state;

column! {
    struct Dispositions: Other "dispositions" {
        disposition: Option<Disposition>,
    }
}

frozen! {
    enum Disposition of state::Disposition {
        Caught,
        Blocked,
        Ignored,
        Default,
    }
}
