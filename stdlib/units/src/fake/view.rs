//! What the fake shows of its state.

use std::collections::BTreeSet;
use std::time::Duration;

use hob_model::duration;

use super::file::{Settings, lacks_command};
use super::machine::{Machine, STARTED_US, Unit};
use crate::journal::{JournalEntry, JournalQuery};
use crate::name::kind_of;
use crate::port::{Facts, ManagerFacts, REPORTING_TYPES, Row, TimerFacts};

impl Machine {
    pub(super) fn manager(&self) -> ManagerFacts {
        let failed = self.units.values().filter(|unit| unit.active == "failed").count();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        ManagerFacts {
            state: if failed > 0 { "degraded" } else { "running" }.to_owned(),
            version: "252 (fake)".to_owned(),
            failed: count(failed),
            jobs: count(self.units.values().filter(|unit| unit.job.is_some()).count()),
            units: count(self.units.len()),
            started_us: STARTED_US.unsigned_abs(),
        }
    }

    pub(super) fn load(&self, unit: &str) -> &'static str {
        let lacking = |unit: &str| {
            self.units.get(unit).is_none_or(|it| !it.transient) && lacks_command(unit, &self.settings(unit))
        };
        match () {
            () if self.masked.contains(unit) => "masked",
            () if !self.exists(unit) => "not-found",
            () if lacking(unit) => "bad-setting",
            () => "loaded",
        }
    }

    pub(super) fn exists(&self, unit: &str) -> bool {
        self.texts.get(unit).is_some_and(|it| it.text.is_some())
            || self.units.get(unit).is_some_and(|it| it.transient)
    }

    /// The settings of the files as they are now.
    pub(super) fn settings(&self, unit: &str) -> Settings {
        match self.texts.get(unit) {
            Some(it) => Settings::parse(it.text.iter().chain(it.drop_ins.values()).map(String::as_str)),
            None => Settings::default(),
        }
    }

    /// The settings that a loaded unit has, or would be loaded with.
    pub(super) fn loaded(&self, unit: &str) -> Settings {
        self.units.get(unit).map_or_else(|| self.settings(unit), |it| it.settings.clone())
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        // What is loaded is what is not at rest, what failed, and what others refer to.
        let referred: BTreeSet<String> = self
            .units
            .values()
            .filter(|unit| unit.active != "inactive")
            .flat_map(|unit| ["After", "Requires", "Wants"].map(|key| unit.settings.units(key)))
            .flatten()
            .collect();
        let timers =
            self.units.iter().filter(|(name, unit)| unit.active == "active" && kind_of(name) == "timer");
        let timed = timers.map(|(name, unit)| self.timer(name, Some(unit), &unit.settings).unit);
        let mut names: BTreeSet<String> =
            referred.into_iter().chain(timed).filter(|name| self.exists(name)).collect();
        let alive = |(_, unit): &(&String, &Unit)| unit.active != "inactive";
        names.extend(self.units.iter().filter(alive).map(|(name, _)| name.clone()));
        let row = |name: String| {
            let facts = self.facts(&name);
            Row {
                job: facts.has_job.then(|| "start".to_owned()),
                description: facts.description,
                load: facts.load,
                active: facts.active,
                sub: facts.sub,
                name,
            }
        };
        names.into_iter().map(row).collect()
    }

    pub(super) fn files(&self) -> Vec<String> {
        let with_text = self.texts.iter().filter(|(_, it)| it.text.is_some());
        with_text.map(|(name, _)| name.clone()).chain(self.masked.iter().cloned()).collect()
    }

    pub(super) fn facts(&self, name: &str) -> Facts {
        let unit = self.units.get(name);
        let settings = self.loaded(name);
        let dir = "/etc/systemd/system";
        let texts = self.texts.get(name);
        let has_file = texts.is_some_and(|it| it.text.is_some());
        let load = self.load(name).to_owned();
        let enabled = match () {
            () if self.masked.contains(name) => Some("masked"),
            () if unit.is_some_and(|it| it.transient) => Some("transient"),
            () if !has_file => None,
            () if settings.last("WantedBy").is_none() => Some("static"),
            () if self.enabled.contains(name) => Some("enabled"),
            () => Some("disabled"),
        };
        let is_timer = kind_of(name) == "timer";
        Facts {
            name: name.to_owned(),
            description: settings.last("Description").unwrap_or(name).to_owned(),
            load_error: (load == "bad-setting").then(|| format!("{name} has no ExecStart=")),
            load,
            active: unit.map_or("inactive", |it| &it.active).to_owned(),
            sub: unit.map_or("dead", |it| &it.sub).to_owned(),
            result: Some(unit.map_or("success", |it| &it.result).to_owned()),
            exit_code: unit.and_then(|it| it.exit_code),
            main_pid: unit.and_then(|it| it.pid),
            memory: unit.and_then(|it| it.pid).map(|_| 1 << 20),
            tasks: unit.and_then(|it| it.pid).map(|_| 1),
            restarts: Some(0),
            since: unit.and_then(|it| it.since),
            invocation: unit.and_then(|it| it.invocation.clone()),
            path: has_file.then(|| format!("{dir}/{name}")),
            drop_ins: texts
                .map(|it| {
                    it.drop_ins.keys().map(|drop_in| format!("{dir}/{name}.d/{drop_in}.conf")).collect()
                })
                .unwrap_or_default(),
            enabled: enabled.map(str::to_owned),
            needs_reload: unit.is_some_and(|it| it.needs_reload),
            has_job: unit.is_some_and(|it| it.job.is_some()),
            conditions_held: unit.is_none_or(|it| it.conditions_held),
            environment: settings.all("Environment").map(str::to_owned).collect(),
            reports: settings.last("Type").is_some_and(|it| REPORTING_TYPES.contains(&it))
                || settings.last("WatchdogSec").is_some_and(|span| span != "0"),
            timer: is_timer.then(|| self.timer(name, unit, &settings)),
        }
    }

    fn timer(&self, name: &str, unit: Option<&Unit>, settings: &Settings) -> TimerFacts {
        let spans = settings.when().into_iter().filter_map(|it| duration::parse(it.split_once('=')?.1).ok());
        let ahead = spans.min().unwrap_or(Duration::from_secs(3600));
        TimerFacts {
            unit: settings
                .last("Unit")
                .map_or_else(|| format!("{}service", name.trim_end_matches("timer")), str::to_owned),
            next: unit.filter(|it| it.active == "active").and_then(|it| it.since?.checked_add(ahead).ok()),
            last: None,
            when: settings
                .when()
                .into_iter()
                .map(|it| match it.split_once('=') {
                    Some((key, span)) => match duration::parse(span) {
                        Ok(span) => format!("{key}={}", duration::format(span)),
                        Err(_) => it,
                    },
                    None => it,
                })
                .collect(),
        }
    }

    pub(super) fn related(&self, unit: &str, property: &str) -> Vec<String> {
        let forward = match property {
            "Requires" | "Wants" | "After" => return self.loaded(unit).units(property),
            "RequiredBy" => "Requires",
            "WantedBy" => "Wants",
            "Before" => "After",
            _ => return Vec::new(),
        };
        let names = self.units.keys().chain(self.texts.keys()).collect::<BTreeSet<_>>();
        let of = |name: &&String| self.loaded(name).units(forward).iter().any(|it| it == unit);
        names.into_iter().filter(of).cloned().collect()
    }

    /// How many entries there are.
    pub(super) fn logged(&self) -> usize {
        self.log.len()
    }

    /// The newest entries that a query asks for, of those after the first `from`.
    pub(super) fn journal(&self, query: &JournalQuery, from: usize) -> Vec<JournalEntry> {
        let pattern = query.grep.as_ref().and_then(|pattern| regex::Regex::new(pattern).ok());
        let wanted = |entry: &&JournalEntry| {
            query.unit.as_ref().is_none_or(|unit| entry.unit.as_ref() == Some(unit))
                && query.since.is_none_or(|since| entry.time >= since)
                && query.until.is_none_or(|until| entry.time <= until)
                && query.priority.is_none_or(|priority| entry.priority <= priority)
                && pattern.as_ref().is_none_or(|pattern| pattern.is_match(&entry.message))
        };
        let mut found: Vec<JournalEntry> = self.log[from..].iter().filter(wanted).cloned().collect();
        let surplus = found.len().saturating_sub(usize::try_from(query.lines).unwrap_or(usize::MAX));
        found.drain(..surplus);
        found
    }
}
