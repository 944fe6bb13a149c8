//! Lists of sections that no master writes.

use einhorn::schema::HEADER_BYTES;

use super::super::bytes::{Section, payload, sealed, sections};
use super::super::golden::{busy, fresh, none};
use super::{
    Refused, counted, refused, replaced, span, spelled, u32s, u64s, with_section, with_sections,
};

pub(super) fn all() -> Vec<Refused> {
    let mut all = lists();
    all.extend(lengths());
    all.extend(names());
    all.extend(places());
    all.extend(missing());
    all.extend(spellings());
    all
}

fn encoded(handover: &einhorn::schema::Handover) -> Vec<u8> {
    einhorn::schema::encode(handover, None, None).expect("a golden state")
}

fn quiet() -> Vec<u8> {
    encoded(&none())
}

fn section(name: &str, is_critical: bool) -> Section {
    Section { name: name.to_owned(), is_critical, content: b"hello".to_vec() }
}

/// The list as a whole.
fn lists() -> Vec<Refused> {
    let good = quiet()[HEADER_BYTES..].to_vec();
    let counting = |count: u64| sealed(&[&count.to_le_bytes(), &good[8..]].concat());
    let count = sections(&quiet()).len() as u64;
    let undecodable = |name, comment, bytes| refused(name, "Undecodable", comment, bytes);
    vec![
        undecodable("payload-empty", "Not even a count of sections.", sealed(&[])),
        undecodable(
            "payload-short",
            "The payload stops inside its last section, and the header agrees.",
            sealed(&good[..good.len() - 1]),
        ),
        undecodable(
            "payload-long",
            "A byte follows the last section, and the header counts it.",
            sealed(&[&good[..], &[0]].concat()),
        ),
        undecodable("count-small", "One section less is counted.", counting(count - 1)),
        undecodable("count-large", "One more is counted.", counting(count + 1)),
        undecodable("count-hostile", "Two million are counted.", counting(2_000_000)),
        undecodable("count-absurd", "2^64-1 are counted.", counting(u64::MAX)),
        undecodable(
            "sections-many",
            "More sections than any release will have, each of which would be logged.",
            with_sections(&quiet(), |sections| {
                sections.extend((0..256).map(|number| section(&format!("s-{number}"), false)));
            }),
        ),
    ]
}

/// The length of a section against its content, and the content against its struct.
fn lengths() -> Vec<Refused> {
    let first = &sections(&quiet())[0];
    let (head, content) = (counted(first.name.as_bytes()), &first.content);
    let length = |length: u64| {
        let payload = quiet()[HEADER_BYTES..].to_vec();
        let at = 8 + head.len() + 1;
        assert_eq!(payload[at..at + 8], (content.len() as u64).to_le_bytes());
        sealed(&[&payload[..at], &length.to_le_bytes(), &payload[at + 8..]].concat())
    };
    let content = content.len() as u64;
    let undecodable = |name, comment, bytes| refused(name, "Undecodable", comment, bytes);
    vec![
        undecodable(
            "length-short",
            "A section is a byte longer than it says.",
            length(content - 1),
        ),
        undecodable("length-long", "It is a byte shorter than it says.", length(content + 1)),
        undecodable("length-hostile", "It says 200 MiB.", length(200 * 1024 * 1024)),
        undecodable("length-of-all-bits", "It says 2^64-1.", length(u64::MAX)),
        undecodable(
            "section-short",
            "A section stops inside its last field, and its length agrees.",
            with_section(&quiet(), "pool", |section| {
                section.content.truncate(section.content.len() - 1)
            }),
        ),
        undecodable(
            "section-long",
            "A byte follows its last field, and its length counts it.",
            with_section(&quiet(), "pool", |section| section.content.push(0)),
        ),
        undecodable(
            "section-empty",
            "It has a name and nothing more.",
            with_section(&quiet(), "pool", |section| section.content.clear()),
        ),
    ]
}

/// What is said of a section before its content.
fn names() -> Vec<Refused> {
    let named = |name: &str| with_sections(&quiet(), |all| all.push(section(name, false)));
    let marked = |name: &str, is_critical| {
        with_section(&encoded(&busy()), name, |section| section.is_critical = is_critical)
    };
    let mut odd = quiet()[HEADER_BYTES..].to_vec();
    let at = 8 + counted(b"master").len();
    let critical_byte = {
        odd[at] = 2;
        sealed(&odd)
    };
    odd[at] = 1;
    odd[16] = 0xff;
    let undecodable = |name, comment, bytes| refused(name, "Undecodable", comment, bytes);
    vec![
        undecodable("name-none", "A section without a name.", named("")),
        undecodable("name-capital", "A name that would stand out in the log.", named("Later")),
        undecodable("name-line", "A name that would be two lines of it.", named("later\nERROR")),
        undecodable("name-long", "A name of 41 bytes.", named(&"x".repeat(41))),
        undecodable("name-latin", "A name that is not UTF-8.", sealed(&odd)),
        undecodable("critical-bool", "Neither critical nor not.", critical_byte),
        refused(
            "critical-cleared",
            "WrongCriticalFlag",
            "The options may be skipped.",
            marked("options", false),
        ),
        refused(
            "critical-set",
            "WrongCriticalFlag",
            "History may not.",
            marked("slot-deaths", true),
        ),
        refused(
            "critical-unknown",
            "UnknownSection",
            "A section of a later release that no older one may pass over.",
            with_sections(&quiet(), |all| all.push(section("tomorrow", true))),
        ),
        refused(
            "critical-unknown-second",
            "UnknownSection",
            "The same behind one that may be skipped.",
            with_sections(&quiet(), |all| {
                all.extend([section("perhaps", false), section("tomorrow", true)]);
            }),
        ),
    ]
}

/// Sections in another place than theirs.
fn places() -> Vec<Refused> {
    let misplaced = |name, comment, change: fn(&mut Vec<Section>)| {
        refused(name, "Misplaced", comment, with_sections(&encoded(&busy()), change))
    };
    vec![
        misplaced("section-twice", "The pool stands twice in a row.", |all| {
            all.insert(4, all[3].clone());
        }),
        misplaced("section-again", "The master stands at the end as well.", |all| {
            all.push(all[0].clone());
        }),
        misplaced("sections-swapped", "Two have changed their places.", |all| all.swap(7, 8)),
        misplaced("unknown-twice", "What is skipped stands twice.", |all| {
            all.extend([section("perhaps", false), section("perhaps", false)]);
        }),
        misplaced("unknown-first", "What is later stands before what is known.", |all| {
            all.insert(0, section("perhaps", false));
        }),
    ]
}

/// States without one of the sections that every state has.
fn missing() -> Vec<Refused> {
    let without =
        |name: &str| with_sections(&quiet(), |all| all.retain(|section| section.name != name));
    let missing = |name, section| {
        refused(name, "Missing", "A state always has this section.", without(section))
    };
    vec![
        missing("missing-master", "master"),
        missing("missing-origin", "origin"),
        missing("missing-options", "options"),
        missing("missing-pool", "pool"),
        missing("missing-workers", "workers"),
        missing("missing-connections", "connections"),
        missing("missing-descriptors", "descriptors"),
        refused("missing-all", "Missing", "No section at all.", sealed(&payload(&[]))),
    ]
}

/// What can be read, and is written otherwise.
fn spellings() -> Vec<Refused> {
    let with = |name: &str, content: Vec<u8>| {
        let added = Section { name: name.to_owned(), is_critical: true, content };
        let is_other = ["slot-deaths", "missed-acks"].contains(&name);
        let added = Section { is_critical: !is_other, ..added };
        with_sections(&quiet(), |all| all.push(added))
    };
    let interval = [u32s(&[1, 100]), span(1, 0)];
    let unnormal = [u32s(&[1, 100]), span(0, 1_000_000_000)];
    let bounds = [vec![1], span(120, 0), vec![0, 0], span(0, 0), u64s(&[0]), span(60, 0)];
    vec![
        spelled("spelled-empty", "A section that says nothing.", with("slot-deaths", u64s(&[0]))),
        spelled("spelled-absent", "A step that is none.", with("reexec", vec![0])),
        spelled(
            "spelled-default",
            "All bounds are the defaults.",
            with("rollout-bounds", bounds.concat()),
        ),
        spelled(
            "spelled-captured",
            "Nothing is captured.",
            with("worker-stderr", [vec![0], u64s(&[0])].concat()),
        ),
        spelled(
            "spelled-span",
            "A second is a thousand million nanoseconds.",
            replaced(&quiet(), "options", &interval, &unnormal),
        ),
        spelled(
            "spelled-overrun",
            "A worker whose ACK came in time.",
            with_sections(&encoded(&fresh()), |all| {
                let content = [u64s(&[1]), u32s(&[4_001]), vec![0]].concat();
                let at = all.iter().position(|section| section.name == "reexec").expect("it");
                let name = "missed-acks".to_owned();
                all.insert(at, Section { name, is_critical: false, content });
            }),
        ),
    ]
}
