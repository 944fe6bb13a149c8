//! The names of the workers' programs.

use crate::schema::codec::Text;
use crate::schema::section::column;

column! {
    struct Programs: Other "programs" {
        program: Option<Text>,
    }
}
