//! Making transient units, waiting for them, and finding them again after a crash.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_model::{Digest, ErrorKind, OpError, Secret, Value};
use hob_planner::declaration::{SecretUse, SecretValue};
use hob_primitive::{Ctx, Probe};
use hob_supervisor::secrets::Handing;

use crate::job::Target;
use crate::journal::JournalQuery;
use crate::port::{Facts, Properties, Property, Transient, Verb};
use crate::problem::ERROR_LOG_LINES;
use crate::values::microseconds;

/// The variable that carries the key of the effect.
pub const EFFECT_VARIABLE: &str = "HOB_EFFECT";

/// Whose secrets they are.
const KIND: &str = "units";

/// What the names of units begin with that were not named by a script.
const PREFIX: &str = "hob-";

/// How many digits of the digest of a key a name has.
const NAME_DIGITS: usize = 24;

/// How long a unit that ended is kept at least: a probe later than that cannot tell that there never was one.
pub const KEPT: Duration = Duration::from_secs(3600);

/// How many units that ended are cleared away at a time.
const SWEPT_MAX: usize = 50;

/// The longest description that is shown for a command.
const DESCRIPTION_CHARS_MAX: usize = 200;

/// What is to be made.
pub(crate) struct Plan {
    pub(crate) service: String,
    pub(crate) description: String,
    pub(crate) command: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    /// Secrets that it loads, by the names that it finds them under.
    pub(crate) credentials: BTreeMap<String, Secret>,
    pub(crate) cwd: Option<String>,
    pub(crate) properties: Properties,
    pub(crate) wait: bool,
    pub(crate) lines: u32,
    pub(crate) calendar: Vec<String>,
    pub(crate) monotonic: Vec<(String, Duration)>,
    pub(crate) accuracy: Option<Duration>,
    pub(crate) random_delay: Option<Duration>,
    pub(crate) persistent: bool,
    pub(crate) wake: bool,
}

/// The name of the service that the effect with this key makes.
pub(crate) fn name_for(key: &str) -> String {
    let digest = Digest::of(key.as_bytes()).to_string();
    format!("{PREFIX}{}.service", digest.chars().take(NAME_DIGITS).collect::<String>())
}

impl Plan {
    fn timer(&self) -> Option<String> {
        let is_timer = !self.calendar.is_empty() || !self.monotonic.is_empty();
        is_timer.then(|| format!("{}timer", self.service.trim_end_matches("service")))
    }

    /// The unit that is started: the timer, or the service.
    fn main(&self) -> String {
        self.timer().unwrap_or_else(|| self.service.clone())
    }

    fn waits(&self) -> bool {
        self.wait && self.timer().is_none()
    }

    /// What its credentials are loaded from.
    fn handing(&self, cx: &Ctx) -> Result<Option<Handing>, OpError> {
        let file = |(name, secret): (&String, &Secret)| SecretUse {
            variable: name.clone(),
            what: SecretValue::File { name: name.clone(), content: Some(secret.clone()), owner: None },
        };
        Handing::of(cx, KIND, &self.service, self.credentials.iter().map(file).collect())
    }

    fn transient(&self, key: &str, credentials: Vec<(String, String)>) -> Transient {
        let text = |name: &str, text: &str| (name.to_owned(), Property::Text(text.to_owned()));
        let span = |name: &str, span: Duration| (name.to_owned(), Property::Number(microseconds(span)));
        let description: String = self.description.chars().take(DESCRIPTION_CHARS_MAX).collect();
        let description = description.replace(char::is_control, " ");
        let mut service = vec![text("Description", &description)];
        let named = |name: &str| self.properties.iter().any(|(given, _)| given == name);
        if !named("Type") {
            // A program that cannot be started is then a failure of the start.
            service.push(text("Type", "exec"));
        }
        service.extend(self.cwd.iter().map(|cwd| text("WorkingDirectory", cwd)));
        service.extend(self.properties.iter().cloned());
        let own = [format!("{EFFECT_VARIABLE}={key}")];
        let given = self.env.iter().map(|(name, value)| format!("{name}={value}"));
        service.push(("Environment".to_owned(), Property::Texts(own.into_iter().chain(given).collect())));
        if !credentials.is_empty() {
            service.push(("LoadCredential".to_owned(), Property::Pairs(credentials)));
        }
        service.push(("ExecStart".to_owned(), Property::Commands(vec![self.command.clone()])));
        let Some(timer) = self.timer() else {
            service.push(("RemainAfterExit".to_owned(), Property::Bool(true)));
            return Transient { name: self.service.clone(), properties: service, beside: None };
        };
        let mut properties = vec![text("Description", &description)];
        let calendar: Vec<_> = self.calendar.iter().map(|it| ("OnCalendar".to_owned(), it.clone())).collect();
        if !calendar.is_empty() {
            properties.push(("TimersCalendar".to_owned(), Property::Calendar(calendar)));
        }
        let spans: Vec<_> = self.monotonic.iter().map(|(key, it)| (key.clone(), microseconds(*it))).collect();
        if !spans.is_empty() {
            properties.push(("TimersMonotonic".to_owned(), Property::Monotonic(spans)));
        }
        properties.extend(self.accuracy.map(|it| span("AccuracyUSec", it)));
        properties.extend(self.random_delay.map(|it| span("RandomizedDelayUSec", it)));
        let flags = [("Persistent", self.persistent), ("WakeSystem", self.wake)];
        let set = flags.into_iter().filter(|(_, is_set)| *is_set);
        properties.extend(set.map(|(name, _)| (name.to_owned(), Property::Bool(true))));
        Transient { name: timer, properties, beside: Some((self.service.clone(), service)) }
    }
}

/// What the probe will need: which life of the manager this is, and when it was asked.
pub(crate) async fn note(cx: &Ctx, target: &Target) -> Result<Value, OpError> {
    let manager = target.port.manager(target.scope).await.map_err(|fault| target.plain(fault))?;
    Ok(Value::map([("manager", Value::from(manager.started_us)), ("at", Value::from(cx.now().to_string()))]))
}

/// Makes it, or takes up what this effect made before, and waits as far as is asked.
pub(crate) async fn run(cx: &Ctx, target: &Target, plan: Plan) -> Result<Value, OpError> {
    sweep(cx, target).await;
    let main = plan.main();
    let handing = plan.handing(cx)?;
    let there = facts(target, &main).await?;
    if there.load == "loaded" {
        let key = effect_of(target, &plan).await?;
        match key {
            Some(key) if key == cx.key() => {
                loaded(&plan, handing.as_ref());
                return finish(cx, target, &plan).await;
            }
            Some(_) if has_ended(&there) => {
                target.port.forget(target.scope, &main).await.map_err(|fault| target.plain(fault))?;
            }
            _ => {
                return Err(OpError::conflict(format!(
                    "there is a unit {main} already, and it is {}",
                    there.active
                ))
                .hint("stop it first, or leave `name` out")
                .detail("unit", main)
                .nothing_happened());
            }
        }
    }
    let delivered = handing.as_ref().map(Handing::deliver).transpose()?.unwrap_or_default();
    let path = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let credentials = delivered.env.iter().map(|it| (it.name.clone(), path(&it.value))).collect();
    let starting = target.port.run(target.scope, plan.transient(cx.key(), credentials));
    let started = target.wait(cx, &main, "run", starting).await;
    match (&started, &handing) {
        (Ok(_), handing) => loaded(&plan, handing.as_ref()),
        (Err(_), Some(handing)) => handing.remove(),
        (Err(_), None) => {}
    }
    let result = match started {
        Err(error) if matches!(error.kind, ErrorKind::Timeout | ErrorKind::Cancelled) => {
            return Err(stopped(target, &main, error).await);
        }
        other => other?,
    };
    match result.as_str() {
        "done" => finish(cx, target, &plan).await,
        other => Err(target.job_error(&main, "run", other).await),
    }
}

/// systemd has its own copies of the credentials of what has started. What a timer starts reads them each time.
fn loaded(plan: &Plan, handing: Option<&Handing>) {
    if let Some(handing) = handing.filter(|_| plan.timer().is_none()) {
        handing.remove();
    }
}

async fn facts(target: &Target, unit: &str) -> Result<Facts, OpError> {
    target.port.facts(target.scope, unit).await.map_err(|fault| target.plain(fault))
}

/// The key of the effect that made it, in the environment of the service.
async fn effect_of(target: &Target, plan: &Plan) -> Result<Option<String>, OpError> {
    let service = facts(target, &plan.service).await?;
    let prefix = format!("{EFFECT_VARIABLE}=");
    Ok(service.environment.iter().find_map(|line| Some(line.strip_prefix(&prefix)?.to_owned())))
}

fn has_ended(facts: &Facts) -> bool {
    match facts.active.as_str() {
        "inactive" | "failed" => true,
        "active" => matches!(facts.sub.as_str(), "exited" | "elapsed"),
        _ => false,
    }
}

/// Clears away what ended long ago. It is no part of the call: a fault here is the next one's business.
async fn sweep(cx: &Ctx, target: &Target) {
    let Ok(rows) = target.port.rows(target.scope).await else { return };
    let ours = rows.into_iter().filter(|row| {
        row.name.starts_with(PREFIX)
            && (row.active == "failed" || matches!(row.sub.as_str(), "exited" | "elapsed"))
    });
    for row in ours.take(SWEPT_MAX) {
        let Ok(facts) = target.port.facts(target.scope, &row.name).await else { return };
        let is_ours = facts.enabled.as_deref() == Some("transient");
        let age = facts.since.map(|since| cx.now().duration_since(since));
        let is_old = age.is_some_and(|age| age.as_secs() > KEPT.as_secs().cast_signed());
        if is_ours && is_old && has_ended(&facts) {
            drop(target.port.forget(target.scope, &row.name).await);
        }
    }
}

/// Waits for its end where that is asked, and tells what came of it.
async fn finish(cx: &Ctx, target: &Target, plan: &Plan) -> Result<Value, OpError> {
    let main = plan.main();
    let settled = target.wait(cx, &main, "run", target.port.settle(target.scope, &main)).await;
    let facts = match settled {
        Ok(()) if plan.waits() => target.wait(cx, &main, "run", target.port.ended(target.scope, &main)).await,
        Ok(()) => facts(target, &main).await,
        Err(error) => Err(error),
    };
    let facts = match facts {
        Err(error) if matches!(error.kind, ErrorKind::Timeout | ErrorKind::Cancelled) => {
            return Err(stopped(target, &main, error).await);
        }
        other => other?,
    };
    if facts.active == "failed" {
        return Err(target.job_error(&main, "run", "failed").await);
    }
    let log = match plan.waits() {
        true => target.last_lines(&main, plan.lines).await,
        false => Value::Array(Vec::new()),
    };
    Ok(result(plan, facts, log))
}

/// Stops what the call no longer waits for.
async fn stopped(target: &Target, unit: &str, error: OpError) -> OpError {
    match target.port.job(target.scope, Verb::Stop, unit).await {
        Ok(_) => error.hint("it was stopped"),
        Err(_) => error.hint("it could not be stopped: look at units::status"),
    }
}

fn result(plan: &Plan, facts: Facts, log: Value) -> Value {
    let next = facts.timer.as_ref().and_then(|timer| timer.next).map(|at| at.to_string());
    Value::map([
        ("unit", Value::from(plan.service.as_str())),
        ("timer", Value::from(plan.timer())),
        ("next", Value::from(next)),
        ("invocation_id", Value::from(facts.invocation)),
        ("active", Value::from(facts.active)),
        ("sub", Value::from(facts.sub)),
        ("result", Value::from(facts.result)),
        ("exit_code", Value::from(facts.exit_code)),
        ("main_pid", Value::from(facts.main_pid)),
        ("log", log),
    ])
}

/// What a dry run goes on with: it was started, and ended well.
pub(crate) fn modelled(plan: &Plan) -> Value {
    let (sub, exit_code) = match (plan.timer().is_some(), plan.wait) {
        (true, _) => ("waiting", None),
        (false, true) => ("exited", Some(0)),
        (false, false) => ("running", None),
    };
    let facts = Facts {
        active: "active".to_owned(),
        sub: sub.to_owned(),
        result: Some("success".to_owned()),
        exit_code,
        ..Facts::default()
    };
    result(plan, facts, Value::Array(Vec::new()))
}

/// Whether this effect made its unit.
pub(crate) async fn probe(cx: &Ctx, target: &Target, plan: Plan) -> Result<Probe, OpError> {
    let main = plan.main();
    let there = facts(target, &main).await?;
    if there.load == "loaded" {
        if effect_of(target, &plan).await?.as_deref() != Some(cx.key()) {
            return Ok(Probe::Unknown(format!("another unit is called {main} now")));
        }
        return match finish(cx, target, &plan).await {
            Ok(value) => Ok(Probe::Done(value)),
            Err(error) if error.kind == ErrorKind::Unavailable => Err(error),
            Err(error) => Ok(Probe::Failed(error)),
        };
    }
    let noted = cx.noted();
    let manager = target.port.manager(target.scope).await.map_err(|fault| target.plain(fault))?;
    if noted.get("manager") != Some(&Value::from(manager.started_us)) {
        return Ok(Probe::Unknown(format!(
            "systemd was started anew since, and with that {main} would be gone"
        )));
    }
    let at = noted.get("at").and_then(Value::as_str).and_then(|at| at.parse::<hob_model::Timestamp>().ok());
    let age = at.map(|at| cx.now().duration_since(at));
    let is_young = age.is_some_and(|age| !age.is_negative() && age.as_secs() < KEPT.as_secs().cast_signed());
    // Somebody may have stopped it; the journal would know.
    let query = JournalQuery { since: at, ..JournalQuery::tail(&main, ERROR_LOG_LINES) };
    let traces = target.port.journal(target.scope, query, None).await.unwrap_or_default();
    if is_young && traces.is_empty() {
        return Ok(Probe::NotDone);
    }
    Ok(Probe::Unknown(match traces.last() {
        Some(last) => format!("{main} is gone; the last of it in the journal is: {}", last.line()),
        None => format!("{main} may have ended and been cleared away"),
    }))
}
