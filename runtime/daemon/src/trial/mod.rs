//! Tests that are scripts: a run of a homelab's workflow or schedule over mocks of all operations, with a clock that goes
//! on by itself to the next time at which the run wakes.
//!
//! A test is declared as all else is, with `test(name, options, |run| …)` in a file of its own; this module reads the
//! options, plays the run in a journal that is forgotten, and hands what came of it to the function.

use std::collections::BTreeMap;
use std::sync::Arc;

use hob_engine::{Bundle, Declarations, Declared, Host};
use hob_journal::{Journal, MemoryJournal};
use hob_model::{Code, Diagnostic, OpError, Source, Timestamp, Value};
use hob_planner::Homelab;
use hob_primitive::Registry;

mod mocks;
mod play;
mod watch;

use mocks::Mock;
use play::Play;
use watch::Watch;

/// The kind of the declarations that tests are.
const KIND: &str = "test";
/// The options of a test.
const OPTIONS: [&str; 9] =
    ["run", "input", "now", "mocks", "signals", "events", "approve", "alerts", "steps"];
/// The most signals and events that a test sends.
const SENT_MAX: usize = 1_000;
/// When a test begins that says nothing of it.
const NOW: &str = "2026-01-01T00:00:00Z";

/// One test.
pub struct Test {
    /// Its name.
    pub name: String,
    /// Where it is declared.
    pub source: Source,
    /// The workflow or schedule that runs; of a test of alerts, nothing.
    run: String,
    watch: Option<Watch>,
    input: Option<Value>,
    now: Timestamp,
    mocks: BTreeMap<String, Mock>,
    signals: Vec<(String, Value)>,
    events: Vec<(String, Value)>,
    approve: Option<bool>,
}

/// The homelab that is tested.
pub struct Subject<'a> {
    /// What it declares.
    pub homelab: &'a Homelab,
    /// Its sources.
    pub bundle: &'a Arc<Bundle>,
    /// The operations.
    pub registry: &'a Arc<Registry>,
}

/// The tests of one file, and what calls their functions.
pub struct Trial {
    /// All of them, in order.
    pub tests: Vec<Test>,
    bundle: Arc<Bundle>,
    host: Arc<Host>,
    declared: Arc<Declarations>,
}

impl Trial {
    /// Reads the tests that a file declares.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn read(host: &Arc<Host>, bundle: &Arc<Bundle>) -> Result<Self, Vec<Diagnostic>> {
        let declared = hob_engine::declarations(host, bundle).map_err(|problem| vec![problem])?;
        let (mut tests, mut problems) = (Vec::<Test>::new(), Vec::new());
        for it in declared.iter() {
            let mut found = Vec::new();
            let test = read_test(it, &host.registry, &mut found);
            if tests.iter().any(|known| *known.name == *it.name) {
                found.push(format!("a test `{}` is declared before", it.name));
            }
            let whose = |what: String| {
                Diagnostic::error(Code::BadDeclaration, format!("{} `{}`: {what}", it.kind, it.name))
                    .at(it.source.clone())
            };
            problems.extend(found.into_iter().map(whose));
            tests.extend(test);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self { tests, bundle: Arc::clone(bundle), host: Arc::clone(host), declared })
    }

    /// Plays a test; why it fails, if it does.
    ///
    /// # Errors
    /// When the journal in memory fails, which is a bug.
    pub fn play(&self, test: &Test, subject: &Subject<'_>) -> Result<Option<String>, Diagnostic> {
        if let Some(watch) = &test.watch {
            return Ok(match watch::play(watch, test.now, &self.host, subject)? {
                Ok(seen) => {
                    let told = seen.to_json().unwrap_or_default().to_string();
                    self.judge(test, seen, &told)
                }
                Err(why) => Some(why),
            });
        }
        let journal = Arc::new(MemoryJournal::default()) as Arc<dyn Journal>;
        let play = match Play::new(self, test, subject, journal) {
            Ok(play) => play,
            Err(why) => return Ok(Some(why)),
        };
        let outcome = play.finish().map_err(|error| error.diagnostic())?;
        if let Some(why) = outcome.problem {
            return Ok(Some(why));
        }
        Ok(self.judge(test, outcome.seen, &outcome.told))
    }

    /// What the function of a test says of what came of it: why it fails, if it does.
    fn judge(&self, test: &Test, seen: Value, told: &str) -> Option<String> {
        let judged = self.call(test, "", &[seen]).expect("a test without a function was refused");
        match judged {
            Ok(Value::Bool(true)) => None,
            Ok(Value::Bool(false)) => Some(format!("its function gave false; {told}")),
            Ok(other) => Some(format!("its function gave {} and neither true nor false", other.type_name())),
            Err(error) => Some(format!("{}; {told}", error.message)),
        }
    }

    fn call(&self, test: &Test, path: &str, args: &[Value]) -> Option<Result<Value, OpError>> {
        let declared = self.declared.find(KIND, &test.name)?;
        hob_engine::call_declared(&self.host, &self.bundle, declared, path, args)
    }
}

/// Reads one test; what is wrong with it goes to `problems`.
fn read_test(declared: &Declared, registry: &Registry, problems: &mut Vec<String>) -> Option<Test> {
    if declared.kind != KIND {
        problems.push("a file of tests declares tests, and the homelab stands in homelab.rhai".to_owned());
        return None;
    }
    let Value::Map(mut options) = declared.options() else { return None };
    look_over(declared, &options, problems);
    let watch = watch::read(&mut options, problems);
    if watch.is_some() {
        let others = OPTIONS[..7].iter().filter(|key| **key != "now" && options.contains_key(**key));
        problems.extend(
            others.map(|key| format!("`{key}` belongs to a test of a run, and this is one of alerts")),
        );
    }
    let mut wrong = |key: &str, expected: &str| problems.push(format!("`{key}`: expected {expected}"));
    let run = options.get("run").and_then(Value::as_str).map(str::to_owned);
    let run = run.or_else(|| watch.as_ref().map(|_| String::new()));
    if run.is_none() {
        wrong(
            "run",
            "the name of a workflow or schedule of the homelab; a test of alerts has `alerts` and `steps`",
        );
    }
    let now = options.get("now").map_or(Some(NOW), Value::as_str).and_then(|text| text.parse().ok());
    if now.is_none() {
        wrong("now", "a time with an offset, such as \"2027-01-01T08:00:00+01:00\"");
    }
    let approve = match options.get("approve") {
        None => None,
        Some(Value::Bool(yes)) => Some(*yes),
        Some(_) => {
            wrong("approve", "true or false");
            None
        }
    };
    let signals = match options.remove("signals") {
        None => vec![],
        Some(Value::Map(map)) if map.len() <= SENT_MAX => map.into_iter().collect(),
        Some(_) => {
            wrong("signals", "a map of names and payloads");
            vec![]
        }
    };
    let events = match options.remove("events").map(read_events) {
        None => vec![],
        Some(Some(events)) => events,
        Some(None) => {
            wrong("events", "an array of maps with `name` and `payload`");
            vec![]
        }
    };
    let mocks = read_mocks(declared, options.remove("mocks"), registry, problems);
    Some(Test {
        name: declared.name.to_string(),
        source: declared.source.clone(),
        run: run?,
        watch,
        input: options.remove("input"),
        now: now?,
        mocks,
        signals,
        events,
        approve,
    })
}

/// Tells of options that there are not, and of functions where none belongs.
fn look_over(declared: &Declared, options: &BTreeMap<String, Value>, problems: &mut Vec<String>) {
    for key in options.keys().filter(|key| !OPTIONS.contains(&key.as_str())) {
        let near = hob_model::names::nearest(key, OPTIONS.iter().copied());
        let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        problems.push(format!("there is no option `{key}`{near}"));
    }
    let is_function = |path: &str| path.is_empty() || path.starts_with("mocks.");
    for (path, _) in declared.closures.iter().filter(|(path, _)| !is_function(path)) {
        problems.push(format!("`{path}` takes no function"));
    }
}

fn read_mocks(
    declared: &Declared,
    given: Option<Value>,
    registry: &Registry,
    problems: &mut Vec<String>,
) -> BTreeMap<String, Mock> {
    let is_function = |name: &str| declared.function(&format!("mocks.{name}")).is_some();
    match given {
        None => BTreeMap::new(),
        Some(Value::Map(map)) => mocks::read(map, is_function, registry, problems),
        Some(_) => {
            problems.push("`mocks`: expected a map of operations".to_owned());
            BTreeMap::new()
        }
    }
}

fn read_events(value: Value) -> Option<Vec<(String, Value)>> {
    let Value::Array(items) = value else { return None };
    let one = |item: Value| {
        let name = item.get("name")?.as_str()?.to_owned();
        Some((name, item.get("payload").cloned().unwrap_or_else(|| Value::Map(BTreeMap::new()))))
    };
    Some(items).filter(|items| items.len() <= SENT_MAX)?.into_iter().map(one).collect()
}
