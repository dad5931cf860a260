//! Unit files, as far as the fake reads them.

use crate::name::kind_of;
use crate::port::UnitFile;

/// The settings that it has heard of.
const KNOWN: [&str; 28] = [
    "After",
    "Before",
    "ConditionPathExists",
    "Description",
    "Environment",
    "ExecReload",
    "ExecStart",
    "LimitNOFILE",
    "MemoryMax",
    "Nice",
    "OnActiveSec",
    "OnBootSec",
    "OnCalendar",
    "OnUnitActiveSec",
    "RemainAfterExit",
    "Options",
    "Requires",
    "Restart",
    "TimeoutIdleSec",
    "TimeoutSec",
    "TimeoutStopSec",
    "Type",
    "Unit",
    "WantedBy",
    "Wants",
    "WatchdogSec",
    "What",
    "Where",
];

/// The settings of a unit: those of its file and of its drop-ins, in the order in which they are read.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings(Vec<(String, String)>);

impl Settings {
    pub(super) fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let pairs = texts.into_iter().flat_map(str::lines).filter_map(|line| {
            let line = line.trim();
            let (key, value) = line.split_once('=').filter(|_| !line.starts_with(['#', ';', '[']))?;
            Some((key.trim().to_owned(), value.trim().to_owned()))
        });
        Self(pairs.collect())
    }

    pub(super) fn push(&mut self, key: &str, value: String) {
        self.0.push((key.to_owned(), value));
    }

    pub(super) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub(super) fn last<'a>(&'a self, key: &'a str) -> Option<&'a str> {
        self.all(key).last()
    }

    pub(super) fn is_on(&self, key: &str) -> bool {
        matches!(self.last(key), Some("yes" | "true" | "on" | "1"))
    }

    /// The words of a setting that lists units.
    pub(super) fn units(&self, key: &str) -> Vec<String> {
        self.all(key).flat_map(str::split_whitespace).map(str::to_owned).collect()
    }

    /// The settings of a timer that say when it fires.
    pub(super) fn when(&self) -> Vec<String> {
        let is_when = |key: &str| key.starts_with("On") && (key.ends_with("Sec") || key == "OnCalendar");
        self.0.iter().filter(|(key, _)| is_when(key)).map(|(key, value)| format!("{key}={value}")).collect()
    }
}

/// What `systemd-analyze verify` would say.
pub(super) fn problems(file: &UnitFile, text: &str) -> Vec<String> {
    let name = match &file.drop_in {
        Some(drop_in) => format!("{}.d/{drop_in}.conf", file.unit),
        None => file.unit.clone(),
    };
    let mut problems = Vec::new();
    let mut section = "";
    for (at, line) in text.lines().enumerate() {
        let (at, line) = (at + 1, line.trim());
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(title) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = title;
            continue;
        }
        match line.split_once('=') {
            None => problems.push(format!("{name}:{at}: Missing '=', ignoring line.")),
            Some((key, _)) if !KNOWN.contains(&key) => {
                problems.push(format!("{name}:{at}: Unknown key '{key}' in section [{section}], ignoring."));
            }
            Some(_) => {}
        }
    }
    if file.drop_in.is_none() && lacks_command(&file.unit, &Settings::parse([text])) {
        problems.push(format!(
            "{}: Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing.",
            file.unit
        ));
    }
    problems
}

/// Whether a service says nothing to run.
pub(super) fn lacks_command(unit: &str, settings: &Settings) -> bool {
    kind_of(unit) == "service" && settings.last("ExecStart").is_none()
}
