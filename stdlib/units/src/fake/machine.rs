//! The state of the fake, and what its manager does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hob_model::{Timestamp, duration};
use tokio::sync::broadcast;

use super::file::Settings;
use crate::journal::JournalEntry;
use crate::name::kind_of;
use crate::port::{Change, Content, Edit, Fault, FaultKind, Link, Property, Transient, UnitFile, Verb};

/// When the machine came up, in microseconds since 1970: 2026-01-02T03:00:00Z.
pub(super) const STARTED_US: i64 = 1_767_322_800_000_000;

/// The exit code of a program that cannot be started (systemd.exec(5)).
const EXIT_EXEC: i32 = 203;

#[derive(Clone, Default)]
pub(super) struct UnitText {
    pub(super) text: Option<String>,
    pub(super) drop_ins: BTreeMap<String, String>,
    /// When its files were written, by their paths.
    written: BTreeMap<String, Timestamp>,
}

/// A loaded unit.
#[derive(Clone, Default)]
pub(super) struct Unit {
    pub(super) settings: Settings,
    pub(super) transient: bool,
    pub(super) active: String,
    pub(super) sub: String,
    pub(super) result: String,
    pub(super) exit_code: Option<i32>,
    pub(super) pid: Option<u32>,
    pub(super) invocation: Option<String>,
    pub(super) since: Option<Timestamp>,
    pub(super) job: Option<u64>,
    pub(super) starts: u32,
    pub(super) conditions_held: bool,
    pub(super) needs_reload: bool,
}

/// How a program ends.
enum End {
    Code(i32),
    Never,
}

pub(super) struct Machine {
    pub(super) texts: BTreeMap<String, UnitText>,
    pub(super) masked: BTreeSet<String>,
    pub(super) enabled: BTreeSet<String>,
    pub(super) units: BTreeMap<String, Unit>,
    /// Results of jobs that ended.
    jobs: BTreeMap<u64, Option<String>>,
    pub(super) log: Vec<JournalEntry>,
    counter: u64,
    changes: broadcast::Sender<Change>,
}

impl Machine {
    pub(super) fn new(changes: broadcast::Sender<Change>) -> Self {
        Self {
            texts: BTreeMap::new(),
            masked: BTreeSet::new(),
            enabled: BTreeSet::new(),
            units: BTreeMap::new(),
            jobs: BTreeMap::new(),
            log: Vec::new(),
            counter: 0,
            changes,
        }
    }

    /// Time passes, a millisecond with each thing that happens.
    fn tick(&mut self) -> Timestamp {
        self.counter += 1;
        let us = STARTED_US.saturating_add_unsigned(self.counter * 1000);
        Timestamp::from_microsecond(us).expect("tests stay within the calendar")
    }

    fn say(&mut self, unit: &str, identifier: &str, pid: u32, message: &str) {
        let time = self.tick();
        let priority = if message.starts_with("Failed") { 4 } else { 6 };
        self.log.push(JournalEntry {
            time,
            message: message.to_owned(),
            priority,
            identifier: identifier.to_owned(),
            pid: Some(pid),
            unit: Some(unit.to_owned()),
            invocation: self.units.get(unit).and_then(|unit| unit.invocation.clone()),
        });
    }

    pub(super) fn starts(&self, unit: &str) -> u32 {
        self.units.get(unit).map_or(0, |unit| unit.starts)
    }

    pub(super) fn job_result(&self, job: u64) -> Option<String> {
        self.jobs.get(&job).cloned().flatten()
    }

    /// Begins a job; most end at once.
    pub(super) fn begin(&mut self, verb: Verb, unit: &str) -> Result<u64, Fault> {
        match (self.load(unit), verb) {
            ("masked", Verb::Start | Verb::Restart | Verb::TryRestart | Verb::Reload) => {
                return Err(Fault::new(FaultKind::Masked, format!("Unit {unit} is masked")));
            }
            ("not-found", _) if self.state(unit) == "inactive" => {
                return Err(Fault::new(FaultKind::NoSuchUnit, format!("Unit {unit} not found")));
            }
            ("bad-setting", Verb::Start | Verb::Restart | Verb::TryRestart | Verb::Reload) => {
                let message = format!("Unit {unit} has a bad unit file setting");
                return Err(Fault::new(FaultKind::BadUnitFile, message));
            }
            _ => {}
        }
        if verb == Verb::Reload && self.loaded(unit).last("ExecReload").is_none() {
            let message = format!("Job type reload is not applicable for unit {unit}");
            return Err(Fault::new(FaultKind::NotApplicable, message));
        }
        // Who asks for what is under way already waits for it.
        if let (Verb::Start, Some(job)) = (verb, self.units.get(unit).and_then(|it| it.job)) {
            return Ok(job);
        }
        let job = self.new_job();
        let result = match verb {
            Verb::Start => self.start(unit, job),
            Verb::Stop => self.stop(unit),
            Verb::TryRestart if matches!(self.state(unit), "inactive" | "failed") => Some("done"),
            Verb::Restart | Verb::TryRestart => {
                self.stop(unit);
                self.start(unit, job)
            }
            Verb::Reload => Some("done"),
        };
        self.jobs.insert(job, result.map(str::to_owned));
        Ok(job)
    }

    fn new_job(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn state(&self, unit: &str) -> &str {
        self.units.get(unit).map_or("inactive", |it| &it.active)
    }

    fn set(&mut self, name: &str, active: &str, sub: &str) {
        let since = self.tick();
        let unit = self.units.entry(name.to_owned()).or_default();
        let before = std::mem::replace(&mut unit.active, active.to_owned());
        unit.sub = sub.to_owned();
        unit.since = Some(since);
        if before != active {
            let before = if before.is_empty() { "inactive".to_owned() } else { before };
            let change =
                Change { unit: name.to_owned(), before, active: active.to_owned(), sub: sub.to_owned() };
            // Nobody needs to listen.
            drop(self.changes.send(change));
        }
    }

    /// Starts it; the result of the job, or none while it goes on.
    fn start(&mut self, name: &str, job: u64) -> Option<&'static str> {
        if self.state(name) == "active" {
            return Some("done");
        }
        let settings = self.loaded(name);
        let mut unit = self.units.remove(name).unwrap_or_default();
        unit.settings = settings.clone();
        if unit.active.is_empty() {
            (unit.active, unit.sub, unit.result) = ("inactive".into(), "dead".into(), "success".into());
        }
        unit.conditions_held = settings.all("ConditionPathExists").all(|path| path == "/");
        let held = unit.conditions_held;
        self.units.insert(name.to_owned(), unit);
        if !held {
            return Some("done");
        }
        for needed in settings.units("Requires") {
            let job = self.begin(Verb::Start, &needed).ok();
            if job.and_then(|job| self.job_result(job)).is_none_or(|result| result != "done") {
                return Some("dependency");
            }
        }
        self.counter += 1;
        let invocation = format!("{:032x}", self.counter);
        if let Some(unit) = self.units.get_mut(name) {
            unit.invocation = Some(invocation);
            unit.starts += 1;
            (unit.result, unit.exit_code) = ("success".to_owned(), None);
        }
        match kind_of(name) {
            "service" => self.execute(name, &settings, job),
            "timer" => {
                self.set(name, "active", "waiting");
                Some("done")
            }
            _ => {
                self.set(name, "active", "active");
                Some("done")
            }
        }
    }

    /// Runs the commands of a service.
    fn execute(&mut self, name: &str, settings: &Settings, job: u64) -> Option<&'static str> {
        let oneshot = settings.last("Type") == Some("oneshot");
        let remains = settings.is_on("RemainAfterExit");
        let commands: Vec<String> = settings.all("ExecStart").map(str::to_owned).collect();
        for command in commands {
            let pid = u32::try_from(self.new_job()).unwrap_or(u32::MAX).saturating_add(1000);
            match self.program(name, &command, pid) {
                End::Code(0) => {
                    if let Some(unit) = self.units.get_mut(name) {
                        unit.exit_code = Some(0);
                    }
                }
                End::Code(code) => return Some(self.fail(name, code, oneshot || code == EXIT_EXEC)),
                End::Never => {
                    let (active, sub) = if oneshot { ("activating", "start") } else { ("active", "running") };
                    self.set(name, active, sub);
                    if let Some(unit) = self.units.get_mut(name) {
                        unit.pid = Some(pid);
                        unit.job = oneshot.then_some(job);
                    }
                    self.say(name, "systemd", 1, &format!("Started {name}."));
                    return (!oneshot).then_some("done");
                }
            }
        }
        self.say(name, "systemd", 1, &format!("Finished {name}."));
        if remains {
            self.set(name, "active", "exited");
        } else {
            self.set(name, "activating", "start");
            self.set(name, "inactive", "dead");
        }
        Some("done")
    }

    fn program(&mut self, unit: &str, command: &str, pid: u32) -> End {
        let words = shlex::split(command).unwrap_or_default();
        let mut words = words.iter().map(String::as_str);
        let name = words.next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        match name {
            "true" => End::Code(0),
            "false" => End::Code(1),
            "sleep" => End::Never,
            "echo" => {
                let line: Vec<&str> = words.collect();
                self.say(unit, "echo", pid, &line.join(" "));
                End::Code(0)
            }
            _ => {
                self.say(unit, "systemd", 1, &format!("Failed to locate executable {name}"));
                End::Code(EXIT_EXEC)
            }
        }
    }

    fn fail(&mut self, name: &str, code: i32, by_job: bool) -> &'static str {
        self.say(name, "systemd", 1, &format!("{name}: Main process exited, code=exited, status={code}"));
        self.say(name, "systemd", 1, "Failed with result 'exit-code'.");
        if let Some(unit) = self.units.get_mut(name) {
            (unit.result, unit.exit_code) = ("exit-code".to_owned(), Some(code));
        }
        self.set(name, "failed", "failed");
        if by_job { "failed" } else { "done" }
    }

    pub(super) fn stop(&mut self, name: &str) -> Option<&'static str> {
        let Some(unit) = self.units.get_mut(name) else { return Some("done") };
        unit.pid = None;
        if let Some(job) = unit.job.take() {
            self.jobs.insert(job, Some("canceled".to_owned()));
        }
        if !matches!(self.state(name), "inactive" | "failed") {
            self.set(name, "inactive", "dead");
            self.say(name, "systemd", 1, &format!("Stopped {name}."));
        }
        self.collect();
        Some("done")
    }

    /// Lets go of transient units that are down.
    fn collect(&mut self) {
        for unit in self.units.values_mut().filter(|unit| unit.active == "inactive") {
            unit.transient = false;
            if unit.settings.last("Transient").is_some() {
                unit.settings = Settings::default();
                unit.invocation = None;
            }
        }
    }

    pub(super) fn transient(&mut self, transient: Transient) -> Result<u64, Fault> {
        let Transient { name, properties, beside } = transient;
        if self.exists(&name) {
            let message = format!("Unit {name} was already loaded or has a fragment file");
            return Err(Fault::new(FaultKind::Exists, message));
        }
        for (name, properties) in beside.into_iter().chain([(name.clone(), properties)]) {
            let unit = self.units.entry(name).or_default();
            unit.settings = Settings::default();
            unit.settings.push("Transient", "yes".to_owned());
            for (key, property) in properties {
                set_property(&mut unit.settings, &key, property)?;
            }
            unit.transient = true;
            if unit.active.is_empty() {
                (unit.active, unit.sub, unit.result) = ("inactive".into(), "dead".into(), "success".into());
            }
        }
        self.begin(Verb::Start, &name)
    }

    pub(super) fn link(&mut self, link: Link, unit: &str) -> Result<bool, Fault> {
        match link {
            Link::Enable if self.masked.contains(unit) => {
                Err(Fault::new(FaultKind::Masked, format!("Unit file {unit} is masked")))
            }
            Link::Enable if self.settings(unit).last("WantedBy").is_none() => Err(Fault::new(
                FaultKind::NotApplicable,
                format!("{unit} has no [Install] section that says when it should start"),
            )),
            Link::Enable => Ok(self.enabled.insert(unit.to_owned())),
            Link::Disable => Ok(self.enabled.remove(unit)),
            Link::Mask if self.texts.get(unit).is_some_and(|it| it.text.is_some()) => {
                let message = format!("File '/etc/systemd/system/{unit}' already exists");
                Err(Fault::new(FaultKind::Exists, message))
            }
            Link::Mask => Ok(self.masked.insert(unit.to_owned())),
            Link::Unmask => Ok(self.masked.remove(unit)),
        }
    }

    pub(super) fn reload(&mut self) {
        let names: Vec<String> = self.units.keys().cloned().collect();
        for name in names {
            let settings = self.settings(&name);
            let Some(unit) = self.units.get_mut(&name) else { continue };
            unit.needs_reload = false;
            if !unit.transient {
                unit.settings = settings;
            }
        }
    }

    pub(super) fn reset_failed(&mut self, unit: Option<&str>) {
        let names: Vec<String> =
            self.units.keys().filter(|name| unit.is_none_or(|it| it == *name)).cloned().collect();
        for name in names {
            if self.state(&name) == "failed" {
                self.set(&name, "inactive", "dead");
            }
        }
        self.collect();
    }

    pub(super) fn read(&self, path: &str) -> Option<String> {
        let (dir, file) = path.rsplit_once('/')?;
        match dir.strip_suffix(".d").and_then(|dir| dir.rsplit('/').next()) {
            Some(unit) => self.texts.get(unit)?.drop_ins.get(file.strip_suffix(".conf")?).cloned(),
            None => self.texts.get(file)?.text.clone(),
        }
    }

    pub(super) fn unit_file(&self, file: &UnitFile) -> Result<Option<Content>, Fault> {
        let path = path_of(file);
        if file.drop_in.is_none() && self.masked.contains(&file.unit) {
            return Err(Fault::new(FaultKind::Masked, format!("{path} is masked")));
        }
        Ok(self.read(&path).map(|text| Content { path, text }))
    }

    pub(super) fn edits(&self, unit: &str) -> Vec<Edit> {
        let written = self.texts.get(unit).into_iter().flat_map(|it| &it.written);
        written.map(|(path, at)| Edit { path: path.clone(), at: *at }).collect()
    }

    pub(super) fn write(&mut self, file: &UnitFile, text: &str) -> Result<String, Fault> {
        self.unit_file(file)?;
        let texts = self.texts.entry(file.unit.clone()).or_default();
        match &file.drop_in {
            Some(drop_in) => drop(texts.drop_ins.insert(drop_in.clone(), text.to_owned())),
            None => texts.text = Some(text.to_owned()),
        }
        let (path, now) = (path_of(file), self.tick());
        self.texts.entry(file.unit.clone()).or_default().written.insert(path.clone(), now);
        self.touched(&file.unit);
        Ok(path)
    }

    pub(super) fn remove(&mut self, file: &UnitFile) -> Result<bool, Fault> {
        self.unit_file(file)?;
        let Some(texts) = self.texts.get_mut(&file.unit) else { return Ok(false) };
        let removed = match &file.drop_in {
            Some(drop_in) => texts.drop_ins.remove(drop_in).is_some(),
            None => texts.text.take().is_some(),
        };
        texts.written.remove(&path_of(file));
        self.touched(&file.unit);
        Ok(removed)
    }

    fn touched(&mut self, unit: &str) {
        if let Some(unit) = self.units.get_mut(unit) {
            unit.needs_reload = true;
        }
    }
}

fn path_of(file: &UnitFile) -> String {
    match &file.drop_in {
        Some(drop_in) => format!("/etc/systemd/system/{}.d/{drop_in}.conf", file.unit),
        None => format!("/etc/systemd/system/{}", file.unit),
    }
}

/// A property of a transient unit as its file would have it.
fn set_property(settings: &mut Settings, key: &str, property: Property) -> Result<(), Fault> {
    match property {
        Property::Text(text) => settings.push(key, text),
        Property::Bool(it) => settings.push(key, if it { "yes" } else { "no" }.to_owned()),
        Property::Int(number) => settings.push(key, number.to_string()),
        Property::Uint(number) => settings.push(key, number.to_string()),
        Property::Number(number) => settings.push(key, number.to_string()),
        Property::Texts(texts) => texts.into_iter().for_each(|text| settings.push(key, text)),
        Property::Filter(only, names) => {
            settings.push(key, format!("{}{}", if only { "" } else { "~" }, names.join(" ")));
        }
        Property::Pairs(pairs) => pairs.into_iter().for_each(|(a, b)| settings.push(key, format!("{a} {b}"))),
        Property::Amounts(pairs) => {
            pairs.into_iter().for_each(|(a, b)| settings.push(key, format!("{a} {b}")))
        }
        Property::Binds(binds) => {
            binds.into_iter().for_each(|(a, b, ..)| settings.push(key, format!("{a}:{b}")))
        }
        Property::Files(files) => files.into_iter().for_each(|(path, _)| settings.push(key, path)),
        Property::Commands(commands) => {
            for command in commands {
                let command = shlex::try_join(command.iter().map(String::as_str))
                    .map_err(|error| Fault::new(FaultKind::Invalid, error.to_string()))?;
                settings.push(key, command);
            }
        }
        Property::Calendar(pairs) => {
            for (key, expression) in pairs {
                if expression.contains("some") {
                    let message = format!("Invalid calendar expression: {expression}");
                    return Err(Fault::new(FaultKind::Invalid, message));
                }
                settings.push(&key, expression);
            }
        }
        Property::Monotonic(pairs) => {
            for (key, us) in pairs {
                settings.push(&key, duration::format(Duration::from_micros(us)));
            }
        }
    }
    Ok(())
}
