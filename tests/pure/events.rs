//! What programs are told of a command: each event is as docs/events.schema.json has it.

use einhorn::outcome::Outcome;
use einhorn::protocol::{End, Numbers, Progress, ProgressStage, ReplyEvent, WorkerFailure};
use serde_json::{Value, json};

use crate::json_schema::breach;

const SCHEMA: &str = include_str!("../../docs/events.schema.json");

const NUMBERS: Numbers = Numbers {
    generation: u32::MAX,
    acked: 1,
    target: 4,
    old_left: 3,
    failed: 0,
    elapsed_ms: u64::MAX,
};

fn end(outcome: Outcome, release: Option<&str>, failures: Vec<WorkerFailure>) -> ReplyEvent {
    ReplyEvent::End(End {
        outcome,
        exit_status: outcome.exit_status(),
        numbers: NUMBERS,
        release: release.map(str::to_owned),
        message: "Upgrade\nended".to_owned(),
        failures,
    })
}

/// An event of every kind, with every word.
fn events() -> Vec<ReplyEvent> {
    let failure = |pid, last_words: Option<&str>| WorkerFailure {
        pid,
        slot: 4,
        what: "exit status 3".to_owned(),
        age_ms: 120,
        last_words: last_words.map(str::to_owned),
    };
    let failures = vec![failure(Some(17), Some("Traceback")), failure(None, None)];
    let progress = ProgressStage::ALL.iter().map(|stage| {
        ReplyEvent::Progress(Progress { stage: *stage, numbers: NUMBERS, message: String::new() })
    });
    let ends = Outcome::ALL.iter().map(|outcome| end(*outcome, None, Vec::new()));
    let failed = end(Outcome::Failed, Some("/srv/web/releases/42"), failures);
    progress.chain(ends).chain([failed]).collect()
}

#[test]
fn events_are_as_the_schema_has_them_and_come_back() {
    for event in events() {
        let json = event.to_json();
        assert_eq!(breach(SCHEMA, &json), None);
        assert_eq!(ReplyEvent::parse(&json), Ok(event));
    }
}

#[test]
fn the_schema_has_no_room_for_anything_else() {
    for event in events() {
        let event: Value = serde_json::from_str(&event.to_json()).unwrap();
        let mut more = event.clone();
        more["more"] = json!(1);
        assert!(breach(SCHEMA, &more.to_string()).is_some(), "{more}");
        for name in event.as_object().unwrap().keys() {
            let mut changed = event.clone();
            changed[name] = json!([1]);
            assert!(breach(SCHEMA, &changed.to_string()).is_some(), "{changed}");
            let mut less = event.clone();
            less.as_object_mut().unwrap().remove(name);
            assert!(breach(SCHEMA, &less.to_string()).is_some(), "{less}");
        }
    }
    let mut lie: Value =
        serde_json::from_str(&end(Outcome::Failed, None, vec![]).to_json()).unwrap();
    lie["exit_status"] = json!(0);
    assert!(breach(SCHEMA, &lie.to_string()).is_some());
}
