//! The schema of the state: golden files, refused files, and what holds of every state.
//!
//! `state-schema` holds what the format is. With `EINHORN_BLESS=1` these tests write its files
//! anew, from the values in `schema/golden` and `schema/refused`; without it they compare.

mod allocation;
mod bytes;
mod fields;
pub(crate) mod golden;
mod next;
mod refused;
mod reports;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use einhorn::schema::{HEADER_BYTES, Handover, SchemaError, decode, describe, encode, read_header};
use einhorn::state::{
    Deployment, Generation, Monotonic, Now, Pid, Realtime, STATE_FORMAT, Slot, VARIABLES_MAX,
    Worker,
};

use bytes::{Section, sealed, sections};

/// What decoding may ask for at once whatever a length in the state says: serde trusts a list's
/// length up to a megabyte.
const PIECE_MAX: usize = 2 * 1024 * 1024;

/// The sections of releases, each with the digest of its name, its critical byte and its contents
/// in the golden states. A line here is written once, with the release that first writes the
/// section, and never changed: whoever has to change one is about to break a state that some master
/// has handed over, or will. Nothing is released yet.
const SEALED: &[(&str, u64)] = &[];

#[test]
fn golden_states_read_as_what_they_mean() {
    for golden in golden::all() {
        let bytes = golden.bytes();
        verify(&format!("golden/{}.bin", golden.name), &bytes);
        verify(&corpus(golden.name), &bytes);
        let header = read_header(&bytes).expect(golden.name);
        assert_eq!((header.format, header.flags), (STATE_FORMAT, 0), "{}", golden.name);
        assert_eq!((header.rollback, header.report), (golden.rollback, golden.report));
        let decoded = decode(&bytes).expect(golden.name);
        assert_eq!(decoded.handover, golden.handover, "{}", golden.name);
        assert!(decoded.skipped.is_empty(), "{}", golden.name);
    }
}

#[test]
fn golden_states_have_readable_twins_without_secrets() {
    for golden in golden::all() {
        let text = describe(&golden.bytes()).expect(golden.name);
        assert!(!text.contains("opensesame"), "{} gives a secret away", golden.name);
        verify(&format!("golden/{}.txt", golden.name), text.as_bytes());
    }
}

#[test]
fn each_section_has_a_state_of_its_own_and_is_left_out_of_others() {
    let none = bytes::names(&encode(&golden::none(), None, None).expect("none"));
    let all = bytes::names(&encode(&golden::busy(), None, None).expect("busy"));
    let optional: Vec<&str> = golden::ALONE.iter().map(|(name, _)| *name).collect();
    let known: Vec<String> =
        none.iter().cloned().chain(optional.iter().map(|name| (*name).to_owned())).collect();
    // An upgrade that is ending has no roll-out any more.
    let together: Vec<String> = known.into_iter().filter(|name| name != "ending-upgrade").collect();
    assert_eq!(all, together, "every section is in use, in the order of its row");
    for name in optional {
        let alone = encode(&golden::alone(name), None, None).expect(name);
        let mut expected = none.clone();
        expected.extend((name == "worker-directories").then(|| "deployments".to_owned()));
        expected.push(name.to_owned());
        assert_eq!(bytes::names(&alone), expected);
    }
}

#[test]
fn refused_states_give_their_errors() {
    for file in refused::all() {
        let error = decode(&file.bytes).expect_err(file.name);
        let variant = format!("{error:?}");
        let variant = variant.split([' ', '(']).next().unwrap_or_default();
        assert_eq!(variant, file.expect, "{}: {error}", file.name);
        let text = format!("expect: {variant}\nsays: {error}\ncomment: {}\n", file.comment);
        verify(&format!("refused/{}.bin", file.name), &file.bytes);
        verify(&corpus(file.name), &file.bytes);
        verify(&format!("refused/{}.txt", file.name), text.as_bytes());
        // What people ask to see is shown in spite of what is wrong with it, which it names.
        match describe(&file.bytes) {
            Ok(shown) => {
                let line = shown.lines().find(|line| line.starts_with("refused: "));
                let line: serde_yaml::Value =
                    serde_yaml::from_str(line.unwrap_or_default()).expect("YAML");
                assert_eq!(line["refused"].as_str(), Some(error.to_string().as_str()));
            }
            refused => assert_eq!(refused, Err(error), "{}", file.name),
        }
    }
}

#[test]
fn nothing_else_is_there() {
    if is_blessed() {
        return; // other threads are about to write the files
    }
    let golden = golden::all().into_iter().map(|golden| format!("golden/{}", golden.name));
    let refused = refused::all().into_iter().map(|file| format!("refused/{}", file.name));
    let next = next::NAMES.iter().map(|name| format!("next/{name}"));
    let states: Vec<String> = golden.chain(refused).chain(next).collect();
    let files = states.iter().flat_map(|name| ["bin", "txt"].map(|end| format!("{name}.{end}")));
    let pages = ["DIGESTS", "README.md", "fields.md", ".gitattributes"].map(str::to_owned);
    let mut expected: Vec<String> = files.chain(pages).collect();
    expected.sort();
    compare(&names(), &expected);
    let mut expected: Vec<String> =
        states.iter().filter(|name| !name.starts_with("next/")).map(|name| corpus(name)).collect();
    expected.sort();
    let corpora = fs::read_dir(root().join("fuzz/corpus/state_decode")).expect("the corpus");
    let mut corpora: Vec<String> = corpora
        .map(|entry| corpus(entry.expect("an entry").file_name().to_str().expect("a name")))
        .collect();
    corpora.sort();
    compare(&corpora, &expected);
}

/// Says which names are in one list only.
fn compare(found: &[String], expected: &[String]) {
    let odd = |these: &[String], those: &[String]| {
        these.iter().filter(|name| !those.contains(name)).cloned().collect::<Vec<_>>()
    };
    assert_eq!(odd(found, expected), Vec::<String>::new(), "files without a state");
    assert_eq!(odd(expected, found), Vec::<String>::new(), "states without a file");
    assert_eq!(found.len(), expected.len(), "two states have a name");
}

/// A row says which section has changed when a golden file has; a release seals its own.
#[test]
fn digests_tell_each_section_apart() {
    let mut content: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut order = Vec::new();
    let states = golden::all().into_iter().map(|golden| golden.bytes());
    for Section { name, is_critical, content: bytes } in
        states.flat_map(|state| sections(&state)).collect::<Vec<_>>()
    {
        if !content.contains_key(&name) {
            order.push(name.clone());
            content.insert(name.clone(), [name.as_bytes(), &[u8::from(is_critical)]].concat());
        }
        let all = content.get_mut(&name).expect("it was put in");
        all.extend((bytes.len() as u64).to_le_bytes());
        all.extend(bytes);
    }
    let digests = order.iter().map(|name| format!("{:016x} {name}\n", digest(&content[name])));
    verify("DIGESTS", digests.collect::<String>().as_bytes());
    for (name, seal) in SEALED {
        assert_eq!(digest(&content[*name]), *seal, "the section {name} has changed");
    }
}

#[test]
fn no_part_of_a_state_is_a_state() {
    for golden in golden::all() {
        let bytes = golden.bytes();
        for length in 0..bytes.len() {
            let needed = if length < HEADER_BYTES { HEADER_BYTES } else { bytes.len() };
            let (length, needed) = (length as u64, needed as u64);
            let error = Err(SchemaError::Truncated { length, needed });
            assert_eq!(decode(&bytes[..length as usize]), error);
        }
    }
}

#[test]
fn a_flipped_bit_is_noticed_wherever_it_is() {
    for golden in golden::all() {
        let good = golden.bytes();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                let expected = match at {
                    0..8 => SchemaError::BadMagic,
                    8..HEADER_BYTES => SchemaError::HeaderDamaged,
                    _ => SchemaError::PayloadDamaged,
                };
                assert_eq!(decode(&bytes), Err(expected), "bit {bit} of byte {at}");
            }
        }
    }
}

#[test]
fn no_payload_panics_or_asks_for_much_memory() {
    let busy = encode(&golden::busy(), None, None).expect("busy");
    let payload = &busy[HEADER_BYTES..];
    let try_one = |payload: &[u8]| {
        let bytes = sealed(payload);
        let (answer, largest) = allocation::largest(|| decode(&bytes));
        assert!(largest <= PIECE_MAX, "{largest} bytes at once for {}", bytes.len());
        // What was skipped is gone.
        if let Some(decoded) = answer.ok().filter(|decoded| decoded.skipped.is_empty()) {
            assert_eq!(encode(&decoded.handover, None, None), Ok(bytes));
        }
    };
    for length in 0..payload.len() {
        try_one(&payload[..length]);
    }
    for at in 0..payload.len() {
        let mut changed = payload.to_vec();
        changed[at] ^= 0xff;
        try_one(&changed);
        // As part of a length below the limit, or far above it.
        for byte in [0x01, 0x7f] {
            changed.get_mut(at..at + 4).unwrap_or_default().fill(byte);
            try_one(&changed);
        }
    }
    for file in refused::all() {
        let (answer, largest) = allocation::largest(|| decode(&file.bytes));
        assert!(answer.is_err() && largest <= PIECE_MAX, "{}: {largest} at once", file.name);
    }
}

#[test]
fn large_states_travel() {
    let mut handover = golden::busy();
    handover.state.config.target = 10_000;
    handover.state.cold_start_count = 0;
    let spawned = Now { monotonic: Monotonic(1), realtime: Realtime(2) };
    let workers = (0..10_000)
        .zip(100_000..)
        .map(|(slot, pid)| (Pid(pid), Worker::new(Slot(slot + 100), Generation(7), spawned)));
    handover.state.workers.extend(workers);
    handover.state.config.command.push("x".repeat(120 * 1024).into());
    for connection in &mut handover.connections {
        connection.output = vec![b'\n'; 8 * 1024 * 1024];
    }
    let bytes = encode(&handover, None, None).expect("a large state");
    assert_eq!(decode(&bytes).expect("a large state").handover, handover);
}

#[test]
fn an_id_that_equals_nothing_travels() {
    let mut handover = golden::busy();
    let nan = einhorn::scalar::Scalar::Float(f64::NAN);
    handover.state.waiters[0].request_id = Some(nan);
    let bytes = encode(&handover, None, None).expect("a state with a NaN");
    assert_eq!(decode(&bytes).expect("a state with a NaN").handover, handover);
}

#[test]
fn what_must_not_travel_is_not_written() {
    let refuse = |change: &dyn Fn(&mut Handover)| {
        let mut handover = golden::fresh();
        change(&mut handover);
        let error = encode(&handover, Some(41), Some(42)).expect_err("it cannot be");
        assert!(matches!(error, SchemaError::Inconsistent(_)), "{error:?}");
    };
    refuse(&|handover| handover.state.config.command.clear());
    refuse(&|handover| handover.descriptors.clear());
    refuse(&|handover| handover.descriptors[0].number = 41);
    refuse(&|handover| handover.connections.clear());
    refuse(&|handover| handover.state.config.respawn_interval = std::time::Duration::MAX);
    refuse(&|handover| {
        // Larger than a file that is kept for it should be.
        let environment = vec![("A".into(), "x".repeat(VARIABLES_MAX).into())];
        handover.state.config.env_file = Some("/etc/env".into());
        handover.state.next_deployment = Some(Deployment { directory: None, environment });
    });
    let answer = encode(&golden::fresh(), Some(0), None);
    assert!(matches!(answer, Err(SchemaError::Inconsistent(_))), "{answer:?}");
}

#[test]
fn headers_of_later_formats_are_read() {
    let mut bytes = encode(&golden::fresh(), Some(41), None).expect("fresh");
    bytes[8..12].copy_from_slice(&[57, 48, 1, 0]);
    let crc = crc32fast::hash(&bytes[..32]);
    bytes[32..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    let header = read_header(&bytes[..HEADER_BYTES]).expect("a header");
    assert_eq!((header.format, header.flags), (12_345, 1));
    assert_eq!((header.rollback, header.report), (Some(41), None));
    assert_eq!(header.payload_length, (bytes.len() - HEADER_BYTES) as u64);
}

#[test]
fn the_envelope_is_documented() {
    let source = fs::read_to_string(root().join("src/schema/envelope.rs")).expect("the envelope");
    let readme = fs::read_to_string(root().join("state-schema/README.md")).expect("the policy");
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! | "));
    let rows: Vec<&str> =
        rows.filter(|row| row.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert_eq!(rows.len(), 9);
    for row in rows {
        assert!(readme.contains(row), "state-schema/README.md does not say {row:?}");
    }
}

/// Compares a file with what it must hold, or writes it when that was asked for.
fn verify(name: &str, content: &[u8]) {
    let path = folder().join(name);
    if is_blessed() {
        fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
        fs::write(&path, content).expect("a file of the schema");
    }
    let found = fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (shown, expected) = (String::from_utf8_lossy(&found), String::from_utf8_lossy(content));
    assert!(found == content, "{name} holds\n{shown}\nand should hold\n{expected}");
}

/// FNV-1a of 64 bits. Not a CRC: that of bytes which end in their own CRC says nothing of them.
fn digest(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

/// Where the fuzzer finds a copy of a state.
fn corpus(name: &str) -> String {
    let (_, name) = name.rsplit_once('/').unwrap_or(("", name));
    format!("../fuzz/corpus/state_decode/{}", name.replace('-', "_"))
}

/// Whether files are to be written anew.
fn is_blessed() -> bool {
    std::env::var_os("EINHORN_BLESS").is_some()
}

/// Every file in the folder, sorted.
fn names() -> Vec<String> {
    let mut names = Vec::new();
    for part in ["", "golden/", "next/", "refused/"] {
        for entry in fs::read_dir(folder().join(part)).expect("a folder of the schema") {
            let entry = entry.expect("an entry");
            if entry.file_type().expect("a type").is_file() {
                names.push(format!("{part}{}", entry.file_name().to_str().expect("a UTF-8 name")));
            }
        }
    }
    names.sort();
    names
}

fn folder() -> PathBuf {
    root().join("state-schema")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
