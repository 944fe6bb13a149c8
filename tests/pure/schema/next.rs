//! The sections of the release after this one, which the cargo feature `next` adds: what it writes,
//! and what this one makes of that.

use std::fs;

use einhorn::schema::{decode, describe};

use super::{bytes, folder, golden};

/// Its sections: one that no older release may pass over, and one that an older one does without.
pub(super) const NAMES: [&str; 2] = ["note", "hint"];

fn state(name: &str) -> Vec<u8> {
    fs::read(folder().join(format!("next/{name}.bin"))).expect(name)
}

#[test]
fn they_stand_behind_all_others_which_are_the_same() {
    let none = golden::all().into_iter().find(|golden| golden.name == "none").expect("none");
    let known = bytes::sections(&none.bytes());
    for (name, is_critical) in NAMES.into_iter().zip([true, false]) {
        let mut all = bytes::sections(&state(name));
        let new = all.pop().expect("a section");
        assert_eq!((new.name.as_str(), new.is_critical), (name, is_critical));
        assert_eq!(all, known, "no old section has changed");
    }
}

#[cfg(not(feature = "next"))]
#[test]
fn this_release_refuses_one_by_its_name_and_skips_the_other() {
    use einhorn::schema::SchemaError;

    let unknown = Err(SchemaError::UnknownSection("note".to_owned()));
    assert_eq!(decode(&state("note")), unknown);
    let error = unknown.map_err(|error| error.to_string()).expect_err("it is unknown");
    assert!(error.contains("\"note\" in use"), "{error}");
    let shown = describe(&state("note")).expect("it is shown all the same");
    assert!(shown.contains(&error.replace('"', "\\\"")) || shown.contains(&error), "{shown}");
    assert!(shown.ends_with("note: 17 bytes, unknown\n"), "{shown}");

    let decoded = decode(&state("hint")).expect("it does without it");
    assert_eq!(decoded.handover, golden::none());
    assert_eq!(decoded.skipped, ["hint"]);
    let shown = describe(&state("hint")).expect("a state");
    assert!(shown.contains("refused: null\nskipped:\n- hint\n"), "{shown}");
    assert!(shown.ends_with("hint: 16 bytes, unknown\n"), "{shown}");
}

#[cfg(feature = "next")]
#[test]
fn the_release_that_knows_them_reads_what_it_has_written() {
    for golden in golden::next() {
        let (name, bytes) = (golden.name, golden.bytes());
        super::verify(&format!("next/{name}.bin"), &bytes);
        let text = describe(&bytes).expect(name);
        super::verify(&format!("next/{name}.txt"), text.as_bytes());
        let decoded = decode(&state(name)).expect(name);
        assert_eq!((decoded.handover, decoded.skipped.len()), (golden.handover, 0), "{name}");
    }
    assert!(golden::next().iter().map(|golden| golden.name).eq(NAMES));
}
