//! Schedules and workflows.

use std::sync::Arc;

use hob_flow::Graph;
use hob_flow::graph::Mistake;
use hob_model::{Code, Diagnostic, OnDoubt, Source, Value};
use hob_scheduler::Schedule;
use jiff::tz::TimeZone;

use super::options::{Options, texts};
use super::{Raw, RunPolicy, ScheduleDeclaration, Surroundings, WorkLimits, Workflow, trigger};

/// The options of schedules beside those of the scheduler.
const POLICY: [&str; 5] = ["on_doubt", "allow", "deny", "on_error", "tags"];

/// The options of workflows beside those and `on`.
const LIMITS: [&str; 3] = ["concurrency", "priority", "timeout"];

/// The most runs that `concurrency` may name; more are no limit in practice.
const CONCURRENCY_MAX: i64 = 1_000;

/// The highest `priority`; its negative is the lowest.
const PRIORITY_MAX: i64 = 1_000;

/// The most tags of a declaration, and the longest of them in characters.
const TAGS_MAX: usize = 32;
const TAG_CHARS_MAX: usize = 64;

/// The option that holds the graph of a flow.
const GRAPH: &str = "graph";

/// The option of a setup that holds the function which tells whether it is still done.
const CHECK: &str = "check";

/// What is done once, when some services are ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Its name.
    pub name: String,
    /// The services that must be ready first.
    pub needs: Vec<String>,
    /// Whether a function tells whether it is still done.
    pub check: bool,
    /// What its runs may do.
    pub policy: RunPolicy,
    /// Where it was declared.
    pub source: Source,
}

/// What schedules that are read one after the other have in common, which is kept once.
#[derive(Default)]
pub(super) struct Common {
    times: hob_scheduler::Common,
    /// That of the schedule before.
    policy: Option<Arc<RunPolicy>>,
}

impl Common {
    fn share(&mut self, it: &mut ScheduleDeclaration) {
        self.times.share(&mut it.schedule);
        match &self.policy {
            Some(known) if *known == it.policy => it.policy = Arc::clone(known),
            _ => self.policy = Some(Arc::clone(&it.policy)),
        }
    }
}

/// Reads a schedule. Its times and calendar options are the scheduler's to read.
pub(super) fn schedule(
    raw: &Raw,
    zone: &TimeZone,
    surroundings: &Surroundings<'_>,
    common: &mut Common,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<ScheduleDeclaration> {
    let known = [&hob_scheduler::schedule::OPTIONS[..], &POLICY[..], &["when"]].concat();
    let mut options = Options::open(raw, &known, diagnostics);
    let when = options.take("when").unwrap_or_default();
    let policy = Arc::new(policy(&mut options));
    let has_body = has_body(raw, &mut options);
    let rest = options.rest();
    let text = trigger::when_text(&when);
    let (schedule, found) =
        Schedule::declare(Arc::clone(&raw.name), &text, &rest, &[], zone, surroundings.zones);
    options.adopt(found);
    has_body.then_some(())?;
    let mut declared = ScheduleDeclaration { schedule: schedule?, policy, source: raw.source.clone() };
    common.share(&mut declared);
    Some(declared)
}

/// Reads a workflow.
pub(super) fn workflow(
    raw: &Raw,
    surroundings: &Surroundings<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Workflow> {
    let is_graph = raw.options.get(GRAPH).is_some();
    let known = [&POLICY[..], &LIMITS[..], &["on"], if is_graph { &[GRAPH] } else { &[] }].concat();
    // The functions of its nodes are where they belong.
    let mut rest = raw.clone();
    rest.closures.retain(|path| !is_graph || path.split_once('.').is_none_or(|(of, _)| of != GRAPH));
    let mut options = Options::open(&rest, &known, diagnostics);
    let graph = options.take(GRAPH).map(|graph| read_graph(&mut options, &graph));
    let workflow = Workflow {
        name: raw.name.to_string(),
        triggers: trigger::read_all(&mut options, "on", surroundings),
        policy: policy(&mut options),
        limits: limits(&mut options),
        graph: graph.clone().flatten(),
        source: raw.source.clone(),
    };
    match graph {
        Some(graph) => graph.map(|_| workflow),
        None => has_body(raw, &mut options).then_some(workflow),
    }
}

/// Reads what is done once.
pub(super) fn setup(raw: &Raw, diagnostics: &mut Vec<Diagnostic>) -> Option<Setup> {
    let known = [&POLICY[..], &["needs", CHECK]].concat();
    let mut rest = raw.clone();
    rest.closures.retain(|path| path != CHECK);
    let check = rest.closures.len() < raw.closures.len();
    let mut options = Options::open(&rest, &known, diagnostics);
    if let Some(other) = options.take(CHECK).filter(|_| !check) {
        options.wrong(CHECK, "a function that gives true or false", &other);
    }
    let setup = Setup {
        name: raw.name.to_string(),
        needs: options.texts("needs").unwrap_or_default(),
        check,
        policy: policy(&mut options),
        source: raw.source.clone(),
    };
    has_body(raw, &mut options).then_some(setup)
}

/// Reads the graph of a flow, with all its mistakes.
fn read_graph(options: &mut Options<'_>, declared: &Value) -> Option<Graph> {
    let (graph, mistakes) = Graph::read(declared);
    for Mistake { message, hint } in mistakes {
        match hint {
            Some(hint) => options.report_with(Code::BadDeclaration, message, hint),
            None => options.report(Code::BadDeclaration, message),
        }
    }
    graph
}

fn has_body(raw: &Raw, options: &mut Options<'_>) -> bool {
    let has_body = raw.closures.iter().any(String::is_empty);
    if !has_body {
        options.report(Code::BadDeclaration, "it has no function to run");
    }
    has_body
}

fn policy(options: &mut Options<'_>) -> RunPolicy {
    let doubts = [OnDoubt::Ask, OnDoubt::Retry, OnDoubt::Skip, OnDoubt::Fail].map(|it| (it.as_str(), it));
    let permissions = |value: &Value| texts(value);
    let wanted = format!("an array of up to {TAGS_MAX} texts of 1 to {TAG_CHARS_MAX} characters");
    let is_tag = |tag: &String| (1..=TAG_CHARS_MAX).contains(&tag.chars().count());
    let tags = |value: &Value| texts(value).filter(|tags| tags.len() <= TAGS_MAX && tags.iter().all(is_tag));
    RunPolicy {
        on_doubt: options.choice("on_doubt", &doubts),
        allow: options.read("allow", "an array of permissions", permissions),
        deny: options.read("deny", "an array of permissions", permissions).unwrap_or_default(),
        on_error: options.text("on_error"),
        tags: options.read("tags", &wanted, tags).unwrap_or_default(),
    }
}

fn limits(options: &mut Options<'_>) -> WorkLimits {
    let within = |from: i64, to: i64| move |value: &Value| value.as_int().filter(|n| (from..=to).contains(n));
    let runs = format!("a number of runs from 1 to {CONCURRENCY_MAX}");
    let concurrency = options.read("concurrency", &runs, within(1, CONCURRENCY_MAX));
    let priorities = format!("a number from -{PRIORITY_MAX} to {PRIORITY_MAX}");
    WorkLimits {
        concurrency: concurrency.and_then(|runs| usize::try_from(runs).ok()),
        priority: options
            .read("priority", &priorities, within(-PRIORITY_MAX, PRIORITY_MAX))
            .unwrap_or_default(),
        timeout: options.duration("timeout").filter(|timeout| !timeout.is_zero()),
    }
}
