//! The last line of an upgrade that is done, and what it must tell.

/// Whether it is that line, whole: how many workers, of which generation and release, in what time,
/// and how many old ones still drain.
pub(crate) fn is_done(line: &str) -> bool {
    facts(line).is_some()
}

fn facts(line: &str) -> Option<()> {
    let (upgraded, draining) = match line.strip_prefix("Upgrade done: ")?.split_once("; ") {
        Some((upgraded, draining)) => (upgraded, Some(draining)),
        None => (line.strip_prefix("Upgrade done: ")?, None),
    };
    let (workers, took) = upgraded.rsplit_once(" in ")?;
    let rest = counted(workers, "worker")?.strip_prefix(" of generation ")?;
    let generation = rest.split_once(' ').map_or(rest, |(generation, _)| generation);
    generation.parse::<u64>().ok()?;
    took.strip_suffix(['s', 'm', 'h'])?.starts_with(|c: char| c.is_ascii_digit()).then_some(())?;
    match draining {
        None => Some(()),
        Some(draining) => (counted(draining, "old worker")? == " still draining").then_some(()),
    }
}

/// What comes after `N things`.
fn counted<'a>(text: &'a str, thing: &str) -> Option<&'a str> {
    let (count, rest) = text.split_once(' ')?;
    let plural = if count.parse::<usize>().ok()? == 1 { "" } else { "s" };
    rest.strip_prefix(thing)?.strip_prefix(plural)
}

/// Whether it is that line, or the one that says that old workers had no handler and were killed:
/// for workers that cannot drain, or that may be asked to stop before they are ready for it.
pub(crate) fn is_upgraded(line: &str) -> bool {
    let Some((done, rest)) = line.split_once(", but ") else { return is_done(line) };
    let cause = counted(rest, "old worker").and_then(|rest| {
        let rest = rest.strip_prefix(" was").or_else(|| rest.strip_prefix(" were"))?;
        rest.strip_prefix(" killed instead of draining: ")?.split_once(" (see --stop)")
    });
    let Some((cause, draining)) = cause else { return false };
    cause.ends_with(" has no handler for USR2") && is_done(&format!("{done}{draining}"))
}
