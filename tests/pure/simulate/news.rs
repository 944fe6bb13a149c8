//! What a program is told beside the message of a reply.

use einhorn::protocol::{End, News, NewsStage, Progress, Reply};

use super::due::{About, LastLine};
use super::invariants::{Broken, ensure, same};

/// A line that others follow, of somebody for whom one of these stages is under way.
pub(super) fn goes_on(reply: &Reply, stages: &[NewsStage]) -> Broken {
    let Some(event) = &reply.event else { return Ok(()) };
    let Progress { stage, message, .. } = match News::parse(event)? {
        News::Progress(progress) => progress,
        News::End(end) => return Err(format!("more is to follow this end: {end:?}")),
    };
    same("the event says what the line says", &message, &reply.message)?;
    // A canary may pass and the roll-out be complete in one turn.
    let has_passed = stage == NewsStage::Rollout && stages.contains(&NewsStage::Canary);
    ensure(has_passed || stages.contains(&stage), || {
        format!("it is said to be {stage:?}, and is one of {stages:?}")
    })
}

/// The last line.
pub(super) fn ends(reply: &Reply, due: &LastLine) -> Broken {
    if let Some(is_done) = due.is_done {
        let says = reply.message.contains(" done");
        same("that an upgrade is done, says its last line", &says, &is_done)?;
    }
    let Some(event) = &reply.event else { return Ok(()) };
    let end = match News::parse(event)? {
        News::End(end) => end,
        News::Progress(progress) => return Err(format!("nothing follows {progress:?}")),
    };
    same("the event says what the line says", &end.message, &reply.message)?;
    let status = end.outcome.exit_status();
    same("an outcome has one exit status", &end.exit_status, &status)?;
    ensure(due.outcomes.contains(&end.outcome), || {
        format!("it ended in one of {:?}, and the event says {end:?}", due.outcomes)
    })?;
    match &due.about {
        None => Ok(()),
        Some(about) => tells(&end, about),
    }
}

/// The end of a roll-out says what became of it.
fn tells(end: &End, about: &About) -> Broken {
    let failures = end.failures.iter().map(|failure| (failure.pid, failure.slot));
    let told = About {
        generation: end.numbers.generation,
        failure_count: end.numbers.failed,
        failures: failures.collect(),
    };
    same("the end of a roll-out says what became of it", &told, about)
}
