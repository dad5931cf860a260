//! Units as services of a homelab.
//!
//! A service names a unit that is there already: hob starts and stops it, waits for its gate and watches it. What systemd
//! starts by itself at boot, or again after a failure, is taken over.
#![allow(clippy::disallowed_methods)] // It takes a real clock.

mod lives;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hob_model::{OpError, Timestamp, Value};
use hob_planner::Exit;
use hob_planner::declaration::{Asked, Body, Gate, Kind};
use hob_planner::plan::{FILE_DRIFT, FieldChange};
use hob_primitive::{Ctx, Ports};
use hob_supervisor::live::run_check;
use hob_supervisor::secrets::Delivered;
use hob_supervisor::{
    Declared, Instance, LOCALHOST, LogChunk, LogFrom, LogPosition, Look, OnExit, Running, ServiceKind, Spec,
    Standing, Started, Stopped, Supervisor, probe,
};
use tokio::runtime::Runtime;

use self::lives::Watched;
use crate::job::Target;
use crate::journal::{ENTRIES_MAX, JournalQuery};
use crate::name::UnitName;
use crate::port::{Facts, Scope, UnitFile, UnitLife, UnitsPort, Verb, is_up};

/// What services that are units are called.
const KIND: &str = "unit";

/// The option that names secrets, and the field of plans where they differ.
const CREDENTIALS: &str = "credentials";

/// The drop-in that names the credentials of a unit.
const CREDENTIALS_DROP_IN: &str = "50-hob-credentials";

/// How a line begins that names a secret.
const LOAD_CREDENTIAL: &str = "LoadCredential=";

/// How long a unit may be writing before it counts as up.
const BEFORE_UP: Duration = Duration::from_secs(60);

/// Units, offered to services.
pub struct Units {
    port: Arc<dyn UnitsPort>,
}

impl Units {
    /// Of the managers that `port` reaches.
    #[must_use]
    pub fn new(port: Arc<dyn UnitsPort>) -> Self {
        Self { port }
    }
}

impl ServiceKind for Units {
    fn kind(&self) -> &dyn Kind {
        &UnitKind
    }

    fn open(&self, _: &Path) -> Arc<dyn Supervisor> {
        Arc::new(UnitSupervisor::new(Arc::clone(&self.port)))
    }
}

/// Units.
struct UnitKind;

impl Kind for UnitKind {
    fn name(&self) -> &'static str {
        KIND
    }

    fn option(&self) -> &'static str {
        "unit"
    }

    fn options(&self) -> BTreeSet<&'static str> {
        BTreeSet::from(["unit", "scope", CREDENTIALS])
    }

    fn has_gate(&self, _: &Gate) -> bool {
        true
    }

    fn read(&self, asked: &Asked<'_>) -> Result<BTreeMap<String, Value>, Vec<OpError>> {
        let text = |key: &str| asked.options.get(key).and_then(Value::as_str);
        let mut mistakes = Vec::new();
        let unit = text("unit").map(UnitName::parse);
        let name = match unit {
            Some(Ok(unit)) => unit.to_string(),
            Some(Err(mismatch)) => {
                let mistake = OpError::invalid(format!("`unit`: {}", mismatch.message));
                mistakes.push(mismatch.hint.map_or(mistake.clone(), |hint| mistake.hint(hint)));
                String::new()
            }
            None => {
                mistakes.push(OpError::invalid("`unit`: expected the name of a unit"));
                String::new()
            }
        };
        let scope = match asked.options.get("scope") {
            None => "system",
            Some(Value::String(scope)) if scope == "system" || scope == "user" => scope,
            Some(_) => {
                mistakes.push(OpError::invalid("`scope`: expected \"system\" or \"user\""));
                "system"
            }
        };
        match mistakes.is_empty() {
            true => Ok(BTreeMap::from([
                ("unit".to_owned(), Value::from(name)),
                ("scope".to_owned(), Value::from(scope)),
            ])),
            false => Err(mistakes),
        }
    }
}

/// Which unit of which manager.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Unit {
    scope: Scope,
    name: UnitName,
}

impl Unit {
    fn of(body: &Body) -> Result<Self, OpError> {
        let fields = body.fields();
        let text = |key: &str| fields.get(key).and_then(Value::as_str);
        let wrong = || OpError::invalid(format!("a {} is no unit", body.kind()));
        let name = UnitName::parse(text("unit").filter(|_| body.kind() == KIND).ok_or_else(wrong)?);
        let scope = if text("scope") == Some("user") { Scope::User } else { Scope::System };
        Ok(Self { scope, name: name.map_err(|mismatch| OpError::invalid(mismatch.message))? })
    }

    /// One life of it.
    fn instance(&self, invocation: Option<&str>) -> Instance {
        let scope = if self.scope == Scope::User { "user" } else { "system" };
        Instance(format!("{scope} {} {}", self.name, invocation.unwrap_or_default()))
    }

    /// The unit that an instance is a life of.
    fn lived(instance: &Instance) -> Option<Self> {
        let mut words = instance.0.split(' ');
        let scope = if words.next()? == "user" { Scope::User } else { Scope::System };
        Some(Self { scope, name: UnitName::parse(words.next()?).ok()? })
    }
}

/// How it ended, as systemd says.
fn exit_of(facts: &Facts) -> Exit {
    match (facts.result.as_deref(), facts.exit_code) {
        (Some("success"), _) => Exit::Code(0),
        (_, Some(code)) if code != 0 => Exit::of_code(code.into()),
        _ => Exit::Unknown,
    }
}

/// Runs units.
struct UnitSupervisor {
    port: Arc<dyn UnitsPort>,
    runtime: OnceLock<Runtime>,
    /// The services that are units, by name.
    known: Mutex<BTreeMap<String, Spec>>,
    watched: Arc<Watched>,
    origin: Instant,
}

impl UnitSupervisor {
    fn new(port: Arc<dyn UnitsPort>) -> Self {
        let watched = Arc::new(Watched::new(Arc::clone(&port)));
        Self { port, runtime: OnceLock::new(), known: Mutex::default(), watched, origin: Instant::now() }
    }

    /// A thread that talks to systemd; there is none before somebody asks.
    fn runtime(&self) -> &Runtime {
        self.runtime.get_or_init(|| {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            let built = builder.worker_threads(1).thread_name("hob-units").enable_all().build();
            built.expect("a machine that gives no thread runs no units")
        })
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Spec>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unit(&self, name: &str) -> Result<Option<Unit>, OpError> {
        self.known().get(name).map(|spec| Unit::of(&spec.body)).transpose()
    }

    fn target(&self, unit: &Unit) -> Target {
        Target { port: Arc::clone(&self.port), scope: unit.scope }
    }

    /// Those of some services that run, whose units are of one manager.
    async fn running(&self, scope: Scope, services: &[(&Spec, Unit)]) -> Result<Vec<Running>, OpError> {
        let names = services.iter().map(|(_, unit)| unit.name.to_string()).collect();
        let target = Target { port: Arc::clone(&self.port), scope };
        let lives = self.port.lives(scope, names).await.map_err(|fault| target.plain(fault))?;
        let found = services.iter().zip(lives).filter_map(|((spec, unit), life)| Some((spec, unit, life?)));
        Ok(found.map(|(spec, unit, life)| running(spec, unit, life, "")).collect())
    }

    async fn start_now(&self, spec: &Spec, key: &str) -> Result<Started, OpError> {
        let unit = Unit::of(&spec.body)?;
        let target = self.target(&unit);
        let before = target.facts(&unit.name).await?;
        if is_up(&before.active) && !before.has_job {
            return Ok(Started { running: running(spec, &unit, before.into(), key), adopted: true });
        }
        let reloaded = self.hand_over(&target, &unit, &spec.delivered).await?;
        if before.needs_reload && !reloaded {
            // What starts is what its files say now.
            self.port.daemon_reload(unit.scope).await.map_err(|fault| target.plain(fault))?;
        }
        let cx = Ctx::outside(Ports::default(), key);
        let after = target.job(&cx, Verb::Start, &unit.name).await?;
        if !after.conditions_held && !is_up(&after.active) {
            return Err(OpError::failed(format!(
                "systemd skipped {}: a condition in its file does not hold",
                unit.name
            ))
            .hint(format!("`systemctl status {}` names the condition", unit.name)));
        }
        Ok(Started { running: running(spec, &unit, after.into(), key), adopted: false })
    }

    /// Has the unit load its secrets as credentials (systemd.exec(5)): a file of hob's own beside its file, until the
    /// machine is started anew, names those of them. Whether systemd had to read its files for that.
    async fn hand_over(&self, target: &Target, unit: &Unit, delivered: &Delivered) -> Result<bool, OpError> {
        let file = drop_in(unit);
        let failed = |fault| target.plain(fault);
        let there = self.port.unit_file(unit.scope, &file).await.map_err(failed)?;
        let mut text = "[Service]\n".to_owned();
        for variable in &delivered.env {
            let path = String::from_utf8_lossy(&variable.value);
            text.push_str(&format!("{LOAD_CREDENTIAL}{}:{path}\n", variable.name));
        }
        match (delivered.env.is_empty(), there) {
            (true, None) => return Ok(false),
            (true, Some(_)) => drop(self.port.remove(unit.scope, &file).await.map_err(failed)?),
            (false, Some(there)) if there.text == text => return Ok(false),
            (false, _) => drop(self.port.write(unit.scope, &file, &text).await.map_err(failed)?),
        }
        self.port.daemon_reload(unit.scope).await.map(|()| true).map_err(failed)
    }

    /// In which files a unit was changed after its present life began: it is not what they say. Hob's own is among them
    /// where it came too late for a life that somebody else began.
    async fn edited(&self, spec: &Spec, since: Timestamp) -> Result<Vec<FieldChange>, OpError> {
        let unit = Unit::of(&spec.body)?;
        let edits = self.port.edits(unit.scope, unit.name.as_str()).await;
        let edits = edits.map_err(|fault| self.target(&unit).plain(fault))?;
        let own = format!("/{CREDENTIALS_DROP_IN}.conf");
        let later = edits.into_iter().filter(|edit| edit.at > since).map(|edit| FieldChange {
            field: match edit.path.ends_with(&own) {
                true => CREDENTIALS.to_owned(),
                false => format!("{FILE_DRIFT}.{}", edit.path),
            },
            from: Value::from(format!("as of {since:.0}, when it started")),
            to: Value::from(format!("as changed at {:.0}", edit.at)),
        });
        Ok(later.collect())
    }

    /// The difference where hob's file beside that of a unit, which names its secrets, is gone or names others.
    async fn drift_of(&self, spec: &Spec) -> Result<Vec<FieldChange>, OpError> {
        let wanted: BTreeSet<&str> = spec.body.secrets().iter().map(|it| it.variable.as_str()).collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let unit = Unit::of(&spec.body)?;
        let there = self.port.unit_file(unit.scope, &drop_in(&unit)).await;
        let there = there.map_err(|fault| self.target(&unit).plain(fault))?;
        let text = there.map(|there| there.text).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.strip_prefix(LOAD_CREDENTIAL)?.split_once(':'));
        let now: BTreeSet<&str> = lines.map(|(name, _)| name).collect();
        let names =
            |names: &BTreeSet<&str>| Value::Array(names.iter().map(|name| Value::from(*name)).collect());
        let change = FieldChange { field: CREDENTIALS.to_owned(), from: names(&now), to: names(&wanted) };
        Ok((now != wanted).then_some(change).into_iter().collect())
    }

    async fn stop_now(&self, name: &str) -> Result<Stopped, OpError> {
        let Some(unit) = self.unit(name)? else { return Ok(Stopped::NotRunning) };
        let target = self.target(&unit);
        let before =
            self.port.facts(unit.scope, unit.name.as_str()).await.map_err(|fault| target.plain(fault))?;
        if matches!(before.active.as_str(), "inactive" | "failed") && !before.has_job {
            return Ok(Stopped::NotRunning);
        }
        let cx = Ctx::outside(Ports::default(), "");
        let job = self.port.job(unit.scope, Verb::Stop, unit.name.as_str());
        target.wait(&cx, unit.name.as_str(), "stop", job).await?;
        let after =
            self.port.facts(unit.scope, unit.name.as_str()).await.map_err(|fault| target.plain(fault))?;
        let exit = exit_of(&after);
        self.watched.lives.end(&unit.instance(before.invocation.as_deref()), exit);
        Ok(match after.result.as_deref() {
            Some("timeout") => Stopped::Killed(exit),
            _ => Stopped::Terminated(exit),
        })
    }

    /// Whether the manager calls a unit active that tells it how it is: one that has said that it is ready, or would be ended
    /// if its watchdog were not fed. Of all others the manager knows no more than that they run.
    async fn is_healthy(&self, spec: &Spec, timeout: Duration) -> Result<Look, OpError> {
        let unit = Unit::of(&spec.body)?;
        let target = self.target(&unit);
        let Ok(facts) = tokio::time::timeout(timeout, target.facts(&unit.name)).await else {
            return Ok(Look::NotYet("systemd does not answer".to_owned()));
        };
        let facts = facts?;
        if !facts.reports {
            return Err(OpError::invalid(format!(
                "systemd knows no more of {} than that it runs: it has neither `Type=notify` nor `WatchdogSec=`",
                unit.name
            ))
            .hint("look with another gate: tcp, http, exec or file"));
        }
        Ok(match facts.active.as_str() {
            "active" => Look::Passed,
            other => Look::NotYet(format!("systemd calls it {other} ({})", facts.sub)),
        })
    }

    async fn read_log_now(&self, name: &str, from: LogFrom) -> Result<LogChunk, OpError> {
        let Some(unit) = self.unit(name)? else { return Ok(LogChunk::default()) };
        let target = self.target(&unit);
        let plain = |fault| target.plain(fault);
        let mut query = JournalQuery::tail(unit.name.as_str(), ENTRIES_MAX);
        let (mut after, mut invocation) = (0, None);
        match from {
            LogFrom::Start => {
                let facts = self.port.facts(unit.scope, unit.name.as_str()).await.map_err(plain)?;
                // A program may write before systemd has noted that it is up.
                query.since = facts.since.and_then(|since| since.checked_sub(BEFORE_UP).ok());
                invocation = facts.invocation;
            }
            LogFrom::Tail { lines } => {
                query.lines = u32::try_from(lines).unwrap_or(ENTRIES_MAX).min(ENTRIES_MAX)
            }
            LogFrom::Position(at) => {
                after = i64::try_from(at.offset).unwrap_or_default();
                query.since = Timestamp::from_microsecond(after).ok();
            }
        }
        let mut entries = self.port.journal(unit.scope, query, None).await.map_err(plain)?;
        let is_of_it = |of: &Option<String>| invocation.is_none() || of.is_none() || *of == invocation;
        entries.retain(|entry| entry.time.as_microsecond() > after && is_of_it(&entry.invocation));
        let last = entries.last().map_or(after, |entry| entry.time.as_microsecond());
        let next = LogPosition { file: 0, offset: u64::try_from(last).unwrap_or_default() };
        Ok(LogChunk { lines: entries.into_iter().map(|entry| entry.message).collect(), next, more: false })
    }
}

/// The file beside that of a unit in which hob names its secrets, until the machine is started anew.
fn drop_in(unit: &Unit) -> UnitFile {
    let drop_in = Some(CREDENTIALS_DROP_IN.to_owned());
    UnitFile { unit: unit.name.to_string(), drop_in, runtime: true }
}

fn running(spec: &Spec, unit: &Unit, life: UnitLife, key: &str) -> Running {
    Running {
        name: spec.name.clone(),
        instance: unit.instance(life.invocation.as_deref()),
        pid: life.main_pid,
        key: key.to_owned(),
        // A unit is what its file says, which is not hob's to compare.
        digest: Some(spec.body.digest()),
        started: life.since.unwrap_or(Timestamp::UNIX_EPOCH),
    }
}

impl Drop for UnitSupervisor {
    fn drop(&mut self) {
        // It may be dropped where no thread may wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Supervisor for UnitSupervisor {
    fn introduce(&self, spec: &Spec) {
        self.known().insert(spec.name.clone(), spec.clone());
    }

    fn start(&self, spec: &Spec, key: &str) -> Result<Started, OpError> {
        self.introduce(spec);
        self.runtime().block_on(self.start_now(spec, key))
    }

    fn stop(&self, name: &str, _: Duration) -> Result<Stopped, OpError> {
        // systemd has a timeout of its own for each unit, and kills what is left after it.
        self.runtime().block_on(self.stop_now(name))
    }

    fn observe(&self) -> Result<Vec<Running>, OpError> {
        let known: Vec<Spec> = self.known().values().cloned().collect();
        let units = known.iter().map(|spec| Ok((spec, Unit::of(&spec.body)?)));
        let units: Vec<(&Spec, Unit)> = units.collect::<Result<_, OpError>>()?;
        let (users, systems): (Vec<_>, Vec<_>) =
            units.into_iter().partition(|(_, unit)| unit.scope == Scope::User);
        self.runtime().block_on(async {
            let mut all = Vec::new();
            // A manager that no service names may not even be there.
            for (scope, services) in [(Scope::System, systems), (Scope::User, users)] {
                if !services.is_empty() {
                    all.extend(self.running(scope, &services).await?);
                }
            }
            Ok(all)
        })
    }

    fn survey(&self, declared: &[Declared]) -> Result<Vec<Standing>, OpError> {
        let running = self.observe()?;
        let specs: BTreeMap<&str, &Spec> =
            declared.iter().map(|it| (it.spec.name.as_str(), &it.spec)).collect();
        let standing = running.into_iter().map(|running| {
            let spec = specs.get(running.name.as_str());
            let drift = spec.map_or(Ok(Vec::new()), |spec| {
                self.runtime().block_on(async {
                    let mut drift = self.drift_of(spec).await?;
                    let edited = self.edited(spec, running.started).await?.into_iter();
                    let is_known = !drift.is_empty();
                    drift.extend(edited.filter(|it| it.field != CREDENTIALS || !is_known));
                    Ok(drift)
                })
            });
            Standing { drift, ..Standing::from(running) }
        });
        Ok(standing.collect())
    }

    fn wait_exit(&self, instance: &Instance, timeout: Duration) -> Option<Exit> {
        self.watched.of(self.runtime().handle(), instance).wait(timeout)
    }

    fn on_exit(&self, instance: &Instance, then: OnExit) {
        self.watched.of(self.runtime().handle(), instance).on_exit(then);
    }

    fn read_log(&self, name: &str, from: LogFrom) -> Result<LogChunk, OpError> {
        self.runtime().block_on(self.read_log_now(name, from))
    }

    fn look(&self, spec: &Spec, gate: &Gate, timeout: Duration) -> Result<Look, OpError> {
        match gate {
            Gate::Exec { command } => run_check(command, timeout),
            Gate::Healthy => self.runtime().block_on(self.is_healthy(spec, timeout)),
            gate => Ok(probe(&LOCALHOST, gate, timeout).unwrap_or(Look::Passed)),
        }
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}
