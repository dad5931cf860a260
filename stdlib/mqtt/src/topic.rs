//! Names and filters of topics (section 4.7 of the standard).

use hob_model::OpError;

use crate::TOPIC_BYTES_MAX;

fn check(text: &str, what: &str) -> Result<(), OpError> {
    let wrong = |why: &str| OpError::invalid(format!("`{text}` is no {what} of a topic: {why}"));
    match text {
        "" => Err(wrong("it is empty")),
        _ if text.len() > TOPIC_BYTES_MAX => {
            Err(OpError::invalid(format!("a {what} of a topic has up to {TOPIC_BYTES_MAX} bytes")))
        }
        _ if text.contains('\0') => Err(wrong("it holds a null character")),
        _ => Ok(()),
    }
}

/// Refuses what is no name of a topic.
///
/// # Errors
/// `invalid`, with the reason.
pub fn check_name(topic: &str) -> Result<(), OpError> {
    check(topic, "name")?;
    if topic.contains(['+', '#']) {
        let error =
            OpError::invalid(format!("`{topic}` is no name of a topic: `+` and `#` stand in filters"));
        return Err(error.hint("publish to one topic at a time"));
    }
    Ok(())
}

/// Refuses what is no filter: `+` stands for one level, `#` for all that follow, each alone in its level.
///
/// # Errors
/// `invalid`, with the reason.
pub fn check_filter(filter: &str) -> Result<(), OpError> {
    check(filter, "filter")?;
    let levels: Vec<&str> = filter.split('/').collect();
    for (at, level) in levels.iter().enumerate() {
        let alone = *level == "+" || (*level == "#" && at + 1 == levels.len());
        if level.contains(['+', '#']) && !alone {
            let text = format!("`{filter}` is no filter of topics: `{level}` cannot stand there");
            return Err(OpError::invalid(text).hint(
                "`+` stands for one whole level, `#` for all levels at the end: frigate/+/events, frigate/#",
            ));
        }
    }
    Ok(())
}

/// Whether `filter` lets a topic through. Topics of the broker itself, which begin with `$`, are heard only by name.
#[must_use]
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') != filter.starts_with('$') {
        return false;
    }
    let (mut wanted, mut levels) = (filter.split('/'), topic.split('/'));
    loop {
        match (wanted.next(), levels.next()) {
            (Some("#"), _) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}
