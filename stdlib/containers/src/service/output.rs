//! What containers write.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use bollard::models::{ContainerCreateBody, ContainerInspectResponse, HostConfigLogConfig};
use bytes::Bytes;
use futures_util::StreamExt;
use hob_model::OpError;
use hob_supervisor::live::LOG_AGE_MAX;
use hob_supervisor::{LogChunk, LogFrom, LogPosition};

use crate::life::{id, told};
use crate::port::{Channel, Engine, LogQuery};

/// The most lines that are read at once.
const LINES_MAX: usize = 100_000;

/// Lines that are longer are cut.
const LINE_BYTES_MAX: usize = 64 << 10;

/// The longest line of an engine's file: longer ones are read as several.
const WRITTEN_LINE_BYTES_MAX: u64 = 1 << 20;

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

/// What tells whether a file was written to: which file it is, its length, and when, in nanoseconds since 1970.
pub(super) type Stamp = (u64, u64, i128);

/// The output of a container that runs, as its supervisor knows it.
///
/// A gate on output looks many times before there is any, and each look takes an engine milliseconds in which others start.
/// Where the engine keeps it in a file of this machine, hob asks only after that was written to. What is in it only the
/// engine is asked.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) id: String,
    /// See [`first_second`].
    pub(super) first_second: i64,
    file: Option<PathBuf>,
    /// Whether its engine writes lines there, and nothing else.
    is_lines: bool,
    /// Up to where it was read, and what its file was like before.
    read: Option<(LogPosition, Stamp)>,
}

impl Written {
    pub(super) fn of(found: &ContainerInspectResponse) -> Self {
        let id = id(found);
        let file = found.log_path.as_deref().map(PathBuf::from);
        // That of an engine on another machine has not this id in it, or is not here.
        let file = file.filter(|file| !id.is_empty() && file.to_string_lossy().contains(&id));
        let log = found.host_config.as_ref().and_then(|host| host.log_config.as_ref());
        let driver = log.and_then(|log| log.typ.as_deref()).unwrap_or_default();
        let is_lines = ["json-file", "k8s-file"].contains(&driver);
        Self { id, first_second: first_second(found), file, is_lines, read: None }
    }

    /// Its file, where that has lines, each with its time.
    pub(super) fn lines(&self) -> Option<&Path> {
        self.file.as_deref().filter(|_| self.is_lines)
    }

    /// What its file is like now; nothing where that cannot be told.
    #[allow(clippy::disallowed_methods)] // the adapter: it looks at a file of the engine
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let file = std::fs::metadata(self.file.as_ref()?).ok().filter(std::fs::Metadata::is_file)?;
        let nanoseconds = i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec());
        Some((file.ino(), file.len(), nanoseconds))
    }

    /// What a read from here gives whose file is as it was at the last one; nothing where the engine must be asked.
    pub(super) fn nothing_since(&self, from: &LogFrom, now: Option<Stamp>) -> Option<LogChunk> {
        let (LogFrom::Position(from), Some((at, then))) = (from, self.read) else { return None };
        let is_read = *from == at && now == Some(then);
        is_read.then(|| LogChunk { lines: Vec::new(), next: at, more: false })
    }

    /// It was read to its end; its file was like this before.
    pub(super) fn note(&mut self, chunk: &LogChunk, before: Option<Stamp>) {
        self.read = before.filter(|_| !chunk.more).map(|before| (chunk.next, before));
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

/// Has a container that does not run keep no output that is too old.
pub(super) fn drop_old(found: &ContainerInspectResponse) {
    let written = Written::of(found);
    let Some((file, oldest)) = written.lines().zip(oldest()) else { return };
    match drop_older(file, oldest) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(file = %file.display(), %error, "old output cannot be dropped");
        }
        _ => {}
    }
}

/// Before when output of containers is dropped; that of processes is by the same age.
#[allow(clippy::disallowed_methods)] // the adapter: engines write the time of day
pub(super) fn oldest() -> Option<jiff::Timestamp> {
    jiff::Timestamp::now().checked_sub(LOG_AGE_MAX).ok()
}

/// Drops what a container wrote before `oldest`. It must not run: engines know no age of output, and nobody may write
/// meanwhile.
#[allow(clippy::disallowed_methods)] // the adapter: it shortens a file of the engine
fn drop_older(path: &Path, oldest: jiff::Timestamp) -> io::Result<()> {
    let mut file = BufReader::new(fs::File::open(path)?);
    let (mut line, mut begin, mut has_times) = (Vec::new(), 0, false);
    loop {
        line.clear();
        let len = file.by_ref().take(WRITTEN_LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        let at = written_at(&line);
        has_times |= at.is_some();
        // What has no time belongs to the line before it.
        if len == 0 || at.is_some_and(|at| at >= oldest) {
            break;
        }
        begin += u64::try_from(len).unwrap_or_default();
    }
    if begin == 0 || !has_times {
        return Ok(());
    }
    let mut file = file.into_inner();
    let before = file.metadata()?;
    let mut rest = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new("/")))?;
    file.seek(SeekFrom::Start(begin))?;
    io::copy(&mut file, &mut rest)?;
    rest.as_file().set_permissions(before.permissions())?;
    fchown(rest.as_file(), Some(before.uid()), Some(before.gid()))?;
    rest.as_file().sync_all()?;
    rest.persist(path)?;
    Ok(())
}

/// Empties the output of a container that has written nothing since `oldest`. It may run: engines append.
#[allow(clippy::disallowed_methods)] // the adapter: it shortens a file of the engine
pub(super) fn drop_idle(path: &Path, oldest: jiff::Timestamp) -> io::Result<()> {
    let file = fs::metadata(path)?;
    if file.len() > 0 && file.mtime() < oldest.as_second() {
        fs::OpenOptions::new().write(true).open(path)?.set_len(0)?;
    }
    Ok(())
}

/// When a line was written, as engines note it in their files: Docker in an object, Podman in front.
fn written_at(line: &[u8]) -> Option<jiff::Timestamp> {
    if line.first() == Some(&b'{') {
        let line: serde_json::Value = serde_json::from_slice(line).ok()?;
        return line.get("time")?.as_str()?.parse().ok();
    }
    let time = line.split(|byte| *byte == b' ').next()?;
    std::str::from_utf8(time).ok()?.parse().ok()
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
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a file that is written to

    use bollard::models::ContainerState;

    use super::*;

    #[test]
    fn an_engine_is_asked_again_only_when_there_is_more() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("abc.log");
        let found = ContainerInspectResponse {
            id: Some("abc".to_owned()),
            log_path: Some(file.to_string_lossy().into_owned()),
            ..Default::default()
        };
        let mut written = Written::of(&found);
        let at = LogFrom::Position(position(7));
        assert_eq!(written.nothing_since(&at, written.stamp()), None, "there is no file");
        std::fs::write(&file, "a").unwrap();
        let before = written.stamp();
        let chunk = LogChunk { next: position(7), ..LogChunk::default() };
        written.note(&chunk, before);
        assert_eq!(written.nothing_since(&at, written.stamp()), Some(chunk.clone()));
        assert_eq!(written.nothing_since(&LogFrom::Start, written.stamp()), None);
        assert_eq!(written.nothing_since(&LogFrom::Position(position(8)), written.stamp()), None);
        std::fs::write(&file, "ab").unwrap();
        assert_eq!(written.nothing_since(&at, written.stamp()), None, "it was written to");
        // What was written while it was read is not taken for read.
        written.note(&chunk, before);
        assert_eq!(written.nothing_since(&at, written.stamp()), None);
        let elsewhere = ContainerInspectResponse { id: Some("def".to_owned()), ..found };
        assert_eq!(Written::of(&elsewhere).stamp(), None);
    }

    #[test]
    fn old_output_is_dropped_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ctr.log");
        let oldest: jiff::Timestamp = "2026-10-01T00:00:00Z".parse().unwrap();
        let podman = "2026-09-01T10:00:00.5+02:00 stdout P old\n2026-09-01T10:00:00.6+02:00 stdout F er\n\
            2026-10-02T10:00:00Z stderr F new\n2026-09-03T10:00:00Z stdout F a clock went back\n";
        let docker = |day: &str| {
            format!("{{\"log\":\"a\\n\",\"stream\":\"stdout\",\"time\":\"{day}T10:00:00.5Z\"}}\n")
        };
        let both = docker("2026-09-30") + &docker("2026-10-01");
        for (text, kept) in [
            (podman, podman.split_once("er\n").unwrap().1),
            (&both, &docker("2026-10-01")),
            (&docker("2026-09-30"), ""),
            (&docker("2026-10-01"), &docker("2026-10-01")),
            ("no lines of an engine\n", "no lines of an engine\n"),
            ("", ""),
        ] {
            std::fs::write(&file, text).unwrap();
            drop_older(&file, oldest).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), kept, "{text}");
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
        // One that has written nothing for so long has nothing that is younger.
        std::fs::write(&file, podman).unwrap();
        drop_idle(&file, oldest).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), podman);
        let last = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(last).unwrap();
        drop_idle(&file, oldest).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "");
    }

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
