//! What is known of the backups of a dataset in one repository: a fact of the journal.

use std::collections::BTreeMap;

use hob_journal::{Journal, JournalError, RunRow};
use hob_model::{RunEnd, Timestamp, Value};
use hob_scheduler::Schedule;
use jiff::SignedDuration;
use serde_json::{Value as Json, json};

/// What the keys of these facts begin with.
const PREFIX: &str = "backup/";

/// By how much a clock may be set back without anybody's minding.
const SLACK: SignedDuration = SignedDuration::from_mins(1);

/// What is told of the last time that an act went well.
const TOLD: [&str; 10] = [
    "snapshot",
    "time",
    "files",
    "bytes",
    "bytes_added",
    "read",
    "snapshots",
    "removed",
    "sqlite",
    "command",
];

/// The key of the fact.
pub(super) fn key_of(dataset: &str, repository: &str) -> String {
    format!("{PREFIX}{dataset}/{repository}")
}

/// The last time that each act went well, and that it failed: `backup`, `check`, `verify`, and the same with `.failed`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Known(BTreeMap<String, Value>);

fn time(value: Option<&Value>) -> Option<Timestamp> {
    value?.as_str()?.parse().ok()
}

impl Known {
    /// What the journal has.
    pub(super) fn read(journal: &dyn Journal, dataset: &str, repository: &str) -> Result<Self, JournalError> {
        Ok(match journal.fact(&key_of(dataset, repository))? {
            Some(Value::Map(map)) => Self(map),
            _ => Self::default(),
        })
    }

    pub(super) fn value(self) -> Value {
        Value::Map(self.0)
    }

    fn at(&self, key: &str) -> Option<Timestamp> {
        time(self.0.get(key)?.get("at"))
    }

    /// Notes what the run `row` did at the repository; whether that is news.
    pub(super) fn note(
        &mut self,
        act: &str,
        repository: &str,
        (row, end): (&RunRow, &RunEnd),
        now: Timestamp,
    ) -> bool {
        let (told, error) = match end {
            RunEnd::Succeeded(value) => (value, None),
            RunEnd::Failed(error) => (&error.details, Some(error.message.as_str())),
            RunEnd::Cancelled => (&Value::Unit, Some("it was cancelled")),
            RunEnd::Carried(_) => return false,
        };
        let entry = |key: &str| {
            let Some(Value::Array(all)) = told.get(key) else { return None };
            all.iter().find(|it| it.get("repository").and_then(Value::as_str) == Some(repository))
        };
        let ended = [("at", Value::from(row.updated.to_string())), ("run", Value::from(row.run.to_string()))];
        let (key, fact) = match (entry("done"), entry("failed"), error) {
            (Some(done), ..) => {
                let facts = TOLD.iter().filter_map(|key| Some((*key, done.get(key)?.clone())));
                (act.to_owned(), Value::map(facts.chain(ended)))
            }
            (None, Some(failed), _) => {
                let message = failed.get("message").cloned().unwrap_or_default();
                (format!("{act}.failed"), Value::map([("message", message)].into_iter().chain(ended)))
            }
            // A run of this repository alone is none of the others' business; one that ended before it came to any is.
            (None, None, Some(error)) if told.get("failed").is_none() => {
                let message = [("message", Value::from(error))];
                (format!("{act}.failed"), Value::map(message.into_iter().chain(ended)))
            }
            (None, None, _) => return false,
        };
        // What is from the future was noted by a clock that was wrong: it takes nobody's place, and gives up its own.
        let is_ahead = |at: Timestamp| at.duration_since(now) > SLACK;
        if is_ahead(row.updated)
            || self.at(&key).is_some_and(|known| known >= row.updated && !is_ahead(known))
        {
            return false;
        }
        let failed = format!("{act}.failed");
        if key == act && self.at(&failed).is_some_and(is_ahead) {
            self.0.remove(&failed);
        }
        self.0.insert(key, fact);
        true
    }

    /// The failure of an act that did not go well since; nobody knows that of what is from the future.
    fn failed(&self, act: &str, now: Timestamp) -> Option<&Value> {
        let key = format!("{act}.failed");
        let since = self.at(act);
        self.0.get(&key).filter(|_| self.at(&key) > since || since > Some(now))
    }

    /// `good`, `never` backed up, `failing`, or `late`: two slots have passed since the last good one, or it is from the
    /// future, and nobody knows when it was.
    pub(super) fn state(&self, schedule: Option<&Schedule>, now: Timestamp) -> &'static str {
        if ["backup", "check", "verify"].into_iter().any(|act| self.failed(act, now).is_some()) {
            return "failing";
        }
        let Some(at) = self.at("backup") else { return "never" };
        let second = |schedule: &Schedule| schedule.next(schedule.next(at)?);
        let is_late = schedule.and_then(second).is_some_and(|second| second < now);
        if is_late || at.duration_since(now) > SLACK { "late" } else { "good" }
    }

    /// When an act last went well, in Unix time. A backup is as old as its snapshot.
    pub(super) fn seconds(&self, act: &str) -> Option<f64> {
        let of_backup = || time(self.0.get(act).filter(|_| act == "backup")?.get("time"));
        Some(of_backup().or_else(|| self.at(act))?.as_duration().as_secs_f64())
    }

    /// The size of the last good backup.
    pub(super) fn bytes(&self) -> Option<f64> {
        #[allow(clippy::cast_precision_loss)] // a size is no identity
        self.0.get("backup")?.get("bytes")?.as_int().map(|bytes| bytes as f64)
    }

    /// What people see.
    pub(super) fn view(&self, repository: &str, schedule: Option<&Schedule>, now: Timestamp) -> Json {
        let shown = |key: &str| self.0.get(key).and_then(|value| value.to_json().ok());
        let failures = ["backup", "check", "verify"].into_iter().filter_map(|act| {
            let failure = self.failed(act, now)?.to_json().ok()?;
            Some((act.to_owned(), failure))
        });
        // How old what is from the future is, nobody knows.
        let age = self.seconds("backup").map(|at| now.as_duration().as_secs_f64() - at);
        let age = age.filter(|age| *age >= -SLACK.as_secs_f64()).map(|age| age.max(0.0).round());
        json!({
            "repository": repository,
            "state": self.state(schedule, now),
            "age_seconds": age,
            "backup": shown("backup"),
            "check": shown("check"),
            "verify": shown("verify"),
            "failed": failures.collect::<serde_json::Map<_, _>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use hob_model::{Timestamp, Value};

    use super::Known;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn what_a_wrong_clock_noted_is_no_good_backup() {
        let now = at("2026-11-22T10:00:00Z");
        for (success, failure, state) in [
            (None, None, "never"),
            (Some("2026-11-22T09:00:00Z"), None, "good"),
            (Some("2026-11-22T10:00:30Z"), None, "good"),
            (Some("2026-12-24T09:00:00Z"), None, "late"),
            (Some("2026-11-22T09:00:00Z"), Some("2026-11-22T08:00:00Z"), "good"),
            (Some("2026-11-22T08:00:00Z"), Some("2026-11-22T09:00:00Z"), "failing"),
            (Some("2026-12-24T09:00:00Z"), Some("2026-11-22T09:00:00Z"), "failing"),
        ] {
            let fact = |time: &str| Value::map([("at", Value::from(time))]);
            let all = [("backup", success), ("backup.failed", failure)];
            let all = all.into_iter().filter_map(|(key, time)| Some((key.to_owned(), fact(time?))));
            assert_eq!(Known(all.collect()).state(None, now), state, "{success:?} {failure:?}");
        }
    }
}
