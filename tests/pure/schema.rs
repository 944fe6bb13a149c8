//! The schema of the state: golden files, refused files, and what holds of every state.
//!
//! `state-schema/vN` holds what a version is. With `EINHORN_BLESS=1` these tests write its files
//! anew, from the values in `schema/golden` and `schema/refused`, unless the version is sealed;
//! without that variable they compare.

mod allocation;
mod down;
mod fields;
mod golden;
mod refused;

use std::fs;
use std::path::PathBuf;

use einhorn::preflight::{parse_report, write_report};
use einhorn::schema::{HEADER_BYTES, Handover, SchemaError, decode, describe, encode, read_header};
use einhorn::state::{
    CandidateReport, Deployment, FEATURES, Generation, Monotonic, Now, Pid, Realtime,
    SCHEMA_VERSIONS, Slot, VARIABLES_MAX, Worker, release,
};

/// The newest of [`VERSIONS`].
const NEWEST: u16 = VERSIONS[VERSIONS.len() - 1];

/// What decoding may ask for at once whatever a length in the state says: serde trusts a list's
/// length up to a megabyte.
const PIECE_MAX: usize = 2 * 1024 * 1024;

/// The versions that have a folder, oldest first.
const VERSIONS: &[u16] = &[1, 2];

/// The versions whose files stay what they are, each with a digest of its whole folder. A line
/// here is written once and never changed: whoever has to change one is about to break a state that
/// some master has handed over, or will.
const SEALED: &[(u16, u64)] = &[(1, 0x4000_148c_c0a2_7dbc)];

#[test]
fn golden_states_read_as_what_they_mean() {
    for golden in golden::everything() {
        let bytes = golden.bytes();
        verify(golden.version, &format!("golden/{}.bin", golden.name), &bytes);
        verify(golden.version, &corpus(golden.version, golden.name), &bytes);
        let header = read_header(&bytes).expect(golden.name);
        assert_eq!((header.version, header.flags), (golden.version, 0), "{}", golden.name);
        assert_eq!((header.rollback, header.report), (golden.rollback, golden.report));
        assert_eq!(decode(&bytes), Ok(golden.handover), "{}", golden.name);
    }
}

#[test]
fn golden_states_have_readable_twins_without_secrets() {
    for golden in golden::everything() {
        let text = describe(&golden.bytes()).expect(golden.name);
        assert!(!text.contains("opensesame"), "{} gives a secret away", golden.name);
        verify(golden.version, &format!("golden/{}.txt", golden.name), text.as_bytes());
    }
}

#[test]
fn refused_states_give_their_errors() {
    for file in refused::everything() {
        let error = decode(&file.bytes).expect_err(file.name);
        let variant = format!("{error:?}");
        let variant = variant.split([' ', '(']).next().unwrap_or_default();
        assert_eq!(variant, file.expect, "{}: {error}", file.name);
        // Which versions a release reads is another matter.
        let says = error.to_string();
        let says = says.split(": this release").next().unwrap_or_default();
        let text = format!("expect: {variant}\nsays: {says}\ncomment: {}\n", file.comment);
        verify(file.version, &format!("refused/{}.bin", file.name), &file.bytes);
        verify(file.version, &corpus(file.version, file.name), &file.bytes);
        verify(file.version, &format!("refused/{}.txt", file.name), text.as_bytes());
        // What people ask to see is shown in spite of a fact that cannot be, which it names.
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
fn digests_name_every_file_and_nothing_else_is_there() {
    for version in VERSIONS {
        let golden = golden::all(*version).into_iter();
        let mut files: Vec<(String, Vec<u8>)> =
            golden.map(|golden| (format!("golden/{}", golden.name), golden.bytes())).collect();
        let refused = refused::all(*version).into_iter();
        files.extend(refused.map(|file| (format!("refused/{}", file.name), file.bytes)));
        files.sort();
        let mut digests = String::new();
        for (name, bytes) in &files {
            digests += &format!("{:016x} {:5} {name}.bin\n", digest(bytes), bytes.len());
        }
        verify(*version, "DIGESTS", digests.as_bytes());
        if is_blessed(*version) {
            continue; // other threads are about to write the files
        }
        let states =
            files.iter().flat_map(|(name, _)| ["bin", "txt"].map(|e| format!("{name}.{e}")));
        let mut expected: Vec<String> =
            states.chain(["DIGESTS".to_owned(), "fields.md".to_owned()]).collect();
        expected.sort();
        assert_eq!(names(*version), expected, "files without a state, or the other way round");
    }
}

#[test]
fn sealed_versions_stay_what_they_are() {
    for (version, seal) in SEALED {
        let mut all = Vec::new();
        for name in names(*version) {
            let content = fs::read(folder(*version).join(&name)).expect("a file of the schema");
            all.extend_from_slice(format!("{name} {}\n", content.len()).as_bytes());
            all.extend_from_slice(&content);
        }
        let found = digest(&all);
        assert_eq!(found, *seal, "state-schema/v{version} has changed: {found:#x}");
    }
}

#[test]
fn no_part_of_a_state_is_a_state() {
    for golden in golden::everything() {
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
    for golden in golden::everything() {
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
    for version in VERSIONS {
        let busy = encode(&golden::busy(*version), *version, None, None).expect("busy");
        let payload = &busy[HEADER_BYTES..];
        let try_one = |payload: &[u8]| {
            let bytes = refused::sealed(*version, payload);
            let (answer, largest) = allocation::largest(|| decode(&bytes));
            assert!(largest <= PIECE_MAX, "{largest} bytes at once for {}", bytes.len());
            if let Ok(handover) = answer {
                assert_eq!(encode(&handover, *version, None, None), Ok(bytes));
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
    }
    for file in refused::everything() {
        let (answer, largest) = allocation::largest(|| decode(&file.bytes));
        assert!(answer.is_err() && largest <= PIECE_MAX, "{}: {largest} at once", file.name);
    }
}

#[test]
fn large_states_travel() {
    let mut handover = golden::busy(NEWEST);
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
    let bytes = encode(&handover, NEWEST, None, None).expect("a large state");
    assert_eq!(decode(&bytes), Ok(handover));
}

#[test]
fn an_id_that_equals_nothing_travels() {
    let mut handover = golden::busy(NEWEST);
    let nan = einhorn::scalar::Scalar::Float(f64::NAN);
    handover.state.waiters[0].request_id = Some(nan);
    let bytes = encode(&handover, NEWEST, None, None).expect("a state with a NaN");
    let back = decode(&bytes).expect("a state with a NaN");
    assert_eq!(format!("{back:?}"), format!("{handover:?}"));
}

#[test]
fn what_must_not_travel_is_not_written() {
    let refuse = |change: &dyn Fn(&mut Handover)| {
        let mut handover = golden::fresh(NEWEST);
        change(&mut handover);
        let error = encode(&handover, NEWEST, Some(41), Some(42)).expect_err("it cannot be");
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
    let unknown = SCHEMA_VERSIONS.last().expect("a version") + 1;
    for version in [0, unknown, u16::MAX] {
        let answer = encode(&golden::fresh(NEWEST), version, None, None);
        assert_eq!(answer, Err(SchemaError::UnknownVersion(version)));
    }
    let answer = encode(&golden::fresh(NEWEST), NEWEST, Some(0), None);
    assert!(matches!(answer, Err(SchemaError::Inconsistent(_))), "{answer:?}");
}

#[test]
fn headers_of_later_versions_are_read() {
    let mut bytes = encode(&golden::fresh(NEWEST), NEWEST, Some(41), None).expect("fresh");
    bytes[8..12].copy_from_slice(&[57, 48, 1, 0]);
    let crc = crc32fast::hash(&bytes[..32]);
    bytes[32..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    let header = read_header(&bytes[..HEADER_BYTES]).expect("a header");
    assert_eq!((header.version, header.flags), (12_345, 1));
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

#[test]
fn reports_come_back() {
    let report = CandidateReport {
        pid: 4_711,
        release: release().to_owned(),
        reads: SCHEMA_VERSIONS.to_vec(),
        features: FEATURES.iter().map(|name| (*name).to_owned()).collect(),
        has_adopted: true,
    };
    assert_eq!(parse_report(&write_report(&report)), Some(report.clone()));
    let (reads, features) = (vec![1, 2, 65_535], vec!["note".to_owned(), "more".to_owned()]);
    let report = CandidateReport { reads, features, has_adopted: false, ..report };
    let text = write_report(&report);
    assert_eq!(parse_report(&text), Some(report));
    for length in 0..text.len() {
        assert_eq!(parse_report(&text[..length]), None, "{:?}", &text[..length]);
    }
}

#[test]
fn reports_are_read_for_ever() {
    let later = "einhorn-candidate 1\nbuild=2031-02-03\npid=7\nrelease=9.0.0\nreads=4,5\n\
                 features=\nadopted=yes\nmood=a=b\n";
    let report = CandidateReport {
        pid: 7,
        release: "9.0.0".into(),
        reads: vec![4, 5],
        features: Vec::new(),
        has_adopted: true,
    };
    assert_eq!(parse_report(later), Some(report));
}

#[test]
fn other_words_are_no_report() {
    let good = "einhorn-candidate 1\npid=7\nrelease=9.0.0\nreads=4\nfeatures=\nadopted=yes\n";
    assert!(parse_report(good).is_some());
    for (from, to) in [
        ("einhorn-candidate 1", "einhorn-candidate 2"),
        ("pid=7", "pid=0"),
        ("pid=7", "pid=seven"),
        ("pid=7\n", ""),
        ("reads=4", "reads=65536"),
        ("features=\n", ""),
        ("adopted=yes", "adopted=maybe"),
        ("features=", "features"),
        ("adopted=yes\n", "adopted=yes\n\n"),
    ] {
        assert_eq!(parse_report(&good.replace(from, to)), None, "{to:?}");
    }
    assert_eq!(parse_report(&good.replace("pid", &format!("x={}\npid", "y".repeat(99_999)))), None);
}

/// Compares a file of a version with what it must hold, or writes it when that was asked for.
fn verify(version: u16, name: &str, content: &[u8]) {
    let path = folder(version).join(name);
    if is_blessed(version) {
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
fn corpus(version: u16, name: &str) -> String {
    let prefix = if version == 1 { String::new() } else { format!("v{version}_") };
    format!("../../fuzz/corpus/state_decode/{prefix}{}", name.replace('-', "_"))
}

/// Whether a version's files are to be written anew.
fn is_blessed(version: u16) -> bool {
    let is_sealed = SEALED.iter().any(|(sealed, _)| *sealed == version);
    std::env::var_os("EINHORN_BLESS").is_some() && !is_sealed
}

/// Every file in the folder of a version, sorted.
fn names(version: u16) -> Vec<String> {
    let mut names = Vec::new();
    for part in ["", "golden/", "refused/"] {
        for entry in fs::read_dir(folder(version).join(part)).expect("a folder of the schema") {
            let entry = entry.expect("an entry");
            if entry.file_type().expect("a type").is_file() {
                names.push(format!("{part}{}", entry.file_name().to_str().expect("a UTF-8 name")));
            }
        }
    }
    names.sort();
    names
}

/// The folder of a version.
fn folder(version: u16) -> PathBuf {
    root().join(format!("state-schema/v{version}"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
