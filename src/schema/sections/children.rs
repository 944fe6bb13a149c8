//! Children that are no workers, and what each is for.

use crate::schema::codec::Text;
use crate::schema::section::section;
use crate::state::Pid;

section! {
    struct Children: Other "children" {
        children: Vec<(Pid, Text)> = helpers,
    }
}
