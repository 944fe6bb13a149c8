//! Children that are not workers, and the purpose of each.

use crate::schema::codec::Text;
use crate::schema::section::section;
use crate::state::Pid;

section! {
    struct Children: Other "children" {
        children: Vec<(Pid, Text)> = helpers,
    }
}
