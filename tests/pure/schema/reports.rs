//! What a candidate says of itself.

use einhorn::preflight::{parse_report, write_report};
use einhorn::state::{CandidateReport, STATE_FORMAT, release};

#[test]
fn reports_come_back() {
    let report = CandidateReport {
        pid: 4_711,
        release: release().to_owned(),
        format: STATE_FORMAT,
        has_adopted: true,
    };
    assert_eq!(parse_report(&write_report(&report)), Some(report.clone()));
    let report = CandidateReport { format: 65_535, has_adopted: false, ..report };
    let text = write_report(&report);
    assert_eq!(parse_report(&text), Some(report));
    for length in 0..text.len() {
        assert_eq!(parse_report(&text[..length]), None, "{:?}", &text[..length]);
    }
}

#[test]
fn reports_are_read_for_ever() {
    let later = "einhorn-candidate 1\nbuild=2031-02-03\npid=7\nrelease=9.0.0\nformat=4\n\
                 adopted=yes\nmood=a=b\n";
    let report = CandidateReport { pid: 7, release: "9.0.0".into(), format: 4, has_adopted: true };
    assert_eq!(parse_report(later), Some(report.clone()));
    // Whatever a later release may mean by saying something again.
    assert_eq!(parse_report(&format!("{later}adopted=no\npid=8\nformat=5\n")), Some(report));
}

#[test]
fn other_words_are_no_report() {
    let good = "einhorn-candidate 1\npid=7\nrelease=9.0.0\nformat=4\nadopted=yes\n";
    assert!(parse_report(good).is_some());
    for (from, to) in [
        ("einhorn-candidate 1", "einhorn-candidate 2"),
        ("pid=7", "pid=0"),
        ("pid=7", "pid=seven"),
        ("pid=7\n", ""),
        ("release=9.0.0\n", ""),
        ("format=4", "format=65536"),
        ("format=4", "format=4,5"),
        ("format=4\n", ""),
        ("adopted=yes", "adopted=maybe"),
        ("format=4", "format"),
        ("adopted=yes\n", "adopted=yes\n\n"),
    ] {
        assert_eq!(parse_report(&good.replace(from, to)), None, "{to:?}");
    }
    assert_eq!(parse_report(&good.replace("pid", &format!("x={}\npid", "y".repeat(99_999)))), None);
}
