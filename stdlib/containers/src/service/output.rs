//! What containers write.

use bollard::models::{ContainerCreateBody, ContainerInspectResponse, HostConfigLogConfig};
use bytes::Bytes;
use futures_util::StreamExt;
use hob_model::OpError;
use hob_supervisor::{LogChunk, LogFrom, LogPosition};

use crate::life::told;
use crate::port::{Channel, Engine, LogQuery};

/// The most lines that are read at once.
const LINES_MAX: usize = 100_000;

/// Lines that are longer are cut.
const LINE_BYTES_MAX: usize = 64 << 10;

/// How much output of a container is kept, unless its service says so itself: the engine begins anew when it is more.
const KEPT: &str = "10m";

/// Has a container's output kept within bounds, where its service says nothing of it. Files of engines grow without end
/// unless they are told; what else they write to (journald, the network) has bounds of its own. It is no part of what is
/// declared: what runs without it goes on.
pub(super) fn bounded(body: &mut ContainerCreateBody, driver: &str) {
    let host = body.host_config.get_or_insert_default();
    // Podman does not tell its driver, and passes over the option where that has no files.
    if host.log_config.is_none() && ["", "json-file", "k8s-file"].contains(&driver) {
        let options = [("max-size".to_owned(), KEPT.to_owned())];
        host.log_config = Some(HostConfigLogConfig { typ: None, config: Some(options.into()) });
    }
}

/// The second in which the output of a container's present life begins at the earliest.
///
/// What it wrote first may bear a time before that at which its engine noted the start, and so an earlier second. In its
/// first life all that there is counts; what came before a later one is remembered by whoever started it.
pub(super) fn first_second(found: &ContainerInspectResponse) -> i64 {
    let second = |text: &Option<String>| text.as_deref()?.parse().ok().map(jiff::Timestamp::as_second);
    let Some(state) = &found.state else { return 0 };
    // Engines say the year 1 where there was no end.
    let has_ended = second(&state.finished_at).is_some_and(|second| second > 0);
    if has_ended { second(&state.started_at).unwrap_or_default() } else { 0 }
}

/// Where the output of a life begins that starts at this second at the earliest.
pub(super) fn position(second: i64) -> LogPosition {
    LogPosition { file: 0, offset: u64::try_from(second).unwrap_or_default() }
}

/// Reads the output of a container.
///
/// Podman tells times by the second. So a position is a second since 1970, and in `file` how many lines of that second are
/// behind it; both engines give lines in the same order each time.
pub(super) async fn read(
    engine: &dyn Engine,
    name: &str,
    id: &str,
    start: LogPosition,
    from: LogFrom,
) -> Result<LogChunk, OpError> {
    let (from, tail) = match from {
        LogFrom::Start => (start, None),
        LogFrom::Tail { lines } => (LogPosition::default(), u64::try_from(lines).ok()),
        LogFrom::Position(at) => (at, None),
    };
    let since = i64::try_from(from.offset).ok().filter(|since| *since > 0);
    let query = LogQuery { follow: false, tail, since, until: None };
    let mut found = Lines { from, next: from, lines: Vec::new() };
    let mut chunks = engine.logs(id, query);
    let mut partial: [Vec<u8>; 2] = Default::default();
    while let Some(chunk) = chunks.next().await {
        let chunk = told(engine, name, chunk)?;
        found.split(&mut partial[usize::from(chunk.stream == Channel::Stderr)], &chunk.bytes);
    }
    for rest in &partial {
        found.take(rest);
    }
    let more = found.lines.len() >= LINES_MAX;
    Ok(LogChunk { lines: found.lines, next: found.next, more })
}

/// Lines as they are found.
struct Lines {
    from: LogPosition,
    next: LogPosition,
    lines: Vec<String>,
}

impl Lines {
    fn split(&mut self, rest: &mut Vec<u8>, bytes: &Bytes) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_BYTES_MAX.saturating_sub(rest.len());
            rest.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.take(&std::mem::take(rest));
            }
        }
    }

    /// Takes a line, which has its time in front, unless it is behind the position.
    fn take(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_end_matches(['\n', '\r']);
        let (time, rest) = text.split_once(' ').unwrap_or((text, ""));
        let Ok(time) = time.parse::<jiff::Timestamp>() else { return };
        let second = u64::try_from(time.as_second()).unwrap_or_default();
        if second < self.from.offset || self.lines.len() >= LINES_MAX {
            return;
        }
        if second == self.from.offset && self.from.file > 0 {
            self.from.file -= 1;
            return;
        }
        // Lines of a second come together, but for the last of two channels.
        if second > self.next.offset {
            self.next = LogPosition { file: 0, offset: second };
        }
        if second == self.next.offset {
            self.next.file += 1;
        }
        self.lines.push(rest.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerState;

    use super::*;

    #[test]
    fn a_first_life_begins_before_its_start_was_noted() {
        for (finished, expected) in [
            (None, 0),
            (Some("0001-01-01T00:00:00Z"), 0),
            (Some("2026-11-21T17:00:20.5+00:00"), 1_795_280_428),
        ] {
            let state = ContainerState {
                started_at: Some("2026-11-21T17:00:28.007473004Z".to_owned()),
                finished_at: finished.map(str::to_owned),
                ..Default::default()
            };
            let found = ContainerInspectResponse { state: Some(state), ..Default::default() };
            assert_eq!(first_second(&found), expected, "{finished:?}");
        }
    }
}
