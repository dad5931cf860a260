//! Questions to the journal, and what it answers (`journalctl -o json`, see systemd.journal-fields(7)).

use hob_model::{Timestamp, Value};
use serde_json::Value as Json;

/// How many entries one call may ask for.
pub const ENTRIES_MAX: u32 = 10_000;

/// The most bytes that are read of one answer.
pub const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// The longest message that is kept.
pub const MESSAGE_CHARS_MAX: usize = 64 << 10;

/// The names of priorities, most urgent first (syslog(3)).
pub const PRIORITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// The fields that are asked for.
const FIELDS: &str = "MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_PID,_COMM,UNIT,USER_UNIT,_SYSTEMD_UNIT,_SYSTEMD_USER_UNIT,\
                      INVOCATION_ID,USER_INVOCATION_ID,_SYSTEMD_INVOCATION_ID";

/// Which entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalQuery {
    /// Of this unit.
    pub unit: Option<String>,
    /// From this time on.
    pub since: Option<Timestamp>,
    /// Up to this time.
    pub until: Option<Timestamp>,
    /// At least this urgent: an index into [`PRIORITIES`].
    pub priority: Option<u8>,
    /// The newest of them.
    pub lines: u32,
    /// Whose message matches this pattern.
    pub grep: Option<String>,
}

impl JournalQuery {
    /// The newest `lines` of a unit.
    #[must_use]
    pub fn tail(unit: &str, lines: u32) -> Self {
        Self { unit: Some(unit.to_owned()), lines, ..Self::default() }
    }

    /// The arguments for `journalctl`.
    pub(crate) fn arguments(&self, user: bool) -> Vec<String> {
        let mut args: Vec<String> =
            ["--no-pager", "--quiet", "--all", "--output=json"].map(str::to_owned).into();
        args.push(format!("--output-fields={FIELDS}"));
        if let Some(unit) = &self.unit {
            args.push(format!("{}={unit}", if user { "--user-unit" } else { "--unit" }));
        }
        let time = |at: &Timestamp| format!("@{}.{:06}", at.as_second(), at.subsec_microsecond());
        args.extend(self.since.as_ref().map(|at| format!("--since={}", time(at))));
        args.extend(self.until.as_ref().map(|at| format!("--until={}", time(at))));
        args.extend(self.priority.map(|at| format!("--priority={at}")));
        // Without the second a pattern of small letters would match capitals too.
        args.extend(
            self.grep.iter().flat_map(|grep| [format!("--grep={grep}"), "--case-sensitive=yes".into()]),
        );
        args.push(format!("--lines={}", self.lines));
        args
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// When it was received.
    pub time: Timestamp,
    /// Its message.
    pub message: String,
    /// How urgent: an index into [`PRIORITIES`].
    pub priority: u8,
    /// Who wrote it, by the name it gives itself.
    pub identifier: String,
    /// The process.
    pub pid: Option<u32>,
    /// The unit it is about or from.
    pub unit: Option<String>,
    /// The activation of that unit.
    pub invocation: Option<String>,
}

impl JournalEntry {
    /// Reads one line of `journalctl -o json`; none for a line that is no entry.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let json: Json = serde_json::from_str(line).ok()?;
        let any = |keys: &[&str]| keys.iter().find_map(|key| text(json.get(*key)?));
        let time: i64 = any(&["__REALTIME_TIMESTAMP"])?.parse().ok()?;
        let mut message = any(&["MESSAGE"]).unwrap_or_default();
        if let Some((at, _)) = message.char_indices().nth(MESSAGE_CHARS_MAX) {
            message.truncate(at);
        }
        let known = |priority: &u8| usize::from(*priority) < PRIORITIES.len();
        Some(Self {
            time: Timestamp::from_microsecond(time).ok()?,
            message,
            priority: any(&["PRIORITY"]).and_then(|text| text.parse().ok()).filter(known).unwrap_or(6),
            identifier: any(&["SYSLOG_IDENTIFIER", "_COMM"]).unwrap_or_default(),
            pid: any(&["_PID"]).and_then(|text| text.parse().ok()),
            // What the manager writes about a unit names it in UNIT, what the unit itself writes in _SYSTEMD_UNIT.
            unit: any(&["UNIT", "USER_UNIT", "_SYSTEMD_USER_UNIT", "_SYSTEMD_UNIT"]),
            invocation: any(&["INVOCATION_ID", "USER_INVOCATION_ID", "_SYSTEMD_INVOCATION_ID"]),
        })
    }

    /// As one line: time, who wrote it, message.
    #[must_use]
    pub fn line(&self) -> String {
        let pid = self.pid.map(|pid| format!("[{pid}]")).unwrap_or_default();
        format!("{} {}{pid}: {}", self.time.strftime("%Y-%m-%dT%H:%M:%SZ"), self.identifier, self.message)
    }
}

impl From<JournalEntry> for Value {
    fn from(it: JournalEntry) -> Self {
        Self::map([
            ("time", Self::from(it.time.to_string())),
            ("message", Self::from(it.message)),
            ("priority", Self::from(PRIORITIES[usize::from(it.priority) % PRIORITIES.len()])),
            ("identifier", Self::from(it.identifier)),
            ("pid", Self::from(it.pid)),
            ("unit", Self::from(it.unit)),
            ("invocation_id", Self::from(it.invocation)),
        ])
    }
}

/// The text of a field: a text, an array of bytes where it is none, an array of these where the field is repeated.
fn text(field: &Json) -> Option<String> {
    match field {
        Json::String(text) => Some(text.clone()),
        Json::Array(items) => {
            let bytes = items.iter().map(|item| item.as_u64().and_then(|byte| u8::try_from(byte).ok()));
            match bytes.collect::<Option<Vec<u8>>>() {
                Some(bytes) if !bytes.is_empty() => Some(String::from_utf8_lossy(&bytes).into_owned()),
                _ => items.first().and_then(text),
            }
        }
        _ => None,
    }
}
