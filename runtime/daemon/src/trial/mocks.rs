//! What stands in for operations.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hob_engine::Performer;
use hob_model::{OpError, Timestamp, Value};
use hob_primitive::{Args, Clock, Ctx, Handler, Look, Operation, Probe, Registry};

/// Operations that need no mock: what they look at is the test's own clock and events.
const REAL: [&str; 2] = ["time::", "events::"];
/// The key of a mock that gives one result after the other; the last one stays.
const IN_TURN: &str = "in_turn";
/// The most calls of one test: a run that goes on for ever comes to an end.
const CALLS_MAX: usize = 100_000;

/// What stands in for an operation.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Mock {
    /// The same result for each call.
    Value(Value),
    /// One result after the other; the last one stays.
    InTurn(Vec<Value>),
    /// A function of the test, which gets the arguments of the call.
    Function,
}

/// Reads the mocks of a test: names of operations, each with a value or a function.
pub(super) fn read(
    map: BTreeMap<String, Value>,
    is_function: impl Fn(&str) -> bool,
    registry: &Registry,
    problems: &mut Vec<String>,
) -> BTreeMap<String, Mock> {
    let mut mocks = BTreeMap::new();
    for (name, value) in map {
        let known = registry.operations().find(|operation| operation.name == name);
        match known.map(|operation| &operation.handler) {
            Some(Handler::Pure(_)) => problems.push(format!("`{name}` only computes, and needs no mock")),
            Some(_) => {}
            None => {
                let near = hob_model::names::nearest(&name, registry.operations().map(|it| it.name));
                let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                problems.push(format!("`mocks`: there is no operation `{name}`{near}"));
            }
        }
        let mock = match value {
            _ if is_function(&name) => Mock::Function,
            Value::Map(mut map) if map.len() == 1 && map.contains_key(IN_TURN) => match map.remove(IN_TURN) {
                Some(Value::Array(results)) if !results.is_empty() => Mock::InTurn(results),
                _ => {
                    problems.push(format!("`mocks`: `{name}`: `{IN_TURN}` takes an array of results"));
                    continue;
                }
            },
            value => Mock::Value(value),
        };
        mocks.insert(name, mock);
    }
    mocks
}

/// One call of an operation in a test.
#[derive(Clone, Debug)]
pub(super) struct Call {
    operation: &'static str,
    args: Vec<Value>,
    result: Result<Value, OpError>,
    at: Timestamp,
}

impl Call {
    /// As the function of the test sees it.
    pub(super) fn value(&self) -> Value {
        let (result, error) = match &self.result {
            Ok(value) => (value.clone(), Value::Unit),
            Err(error) => (Value::Unit, error.to_value()),
        };
        Value::map([
            ("operation", Value::from(self.operation)),
            ("args", Value::Array(self.args.clone())),
            ("result", result),
            ("error", error),
            ("at", Value::from(self.at.to_string())),
        ])
    }

    /// As people see it.
    pub(super) fn text(&self) -> String {
        self.operation.to_owned()
    }
}

/// A clock that only tests move.
pub(super) struct SetClock(Mutex<Timestamp>);

impl SetClock {
    pub(super) fn at(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    /// Makes it `now`, unless it is later already.
    pub(super) fn reach(&self, now: Timestamp) {
        let mut at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *at = now.max(*at);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls a function of the test: the operation's name and the call's arguments.
pub(super) type CallFunction<'a> = dyn Fn(&str, &[Value]) -> Result<Value, OpError> + Send + Sync + 'a;

/// Performs nothing: each call is answered by its mock.
pub(super) struct Mocks {
    mocks: BTreeMap<String, Mock>,
    function: Box<CallFunction<'static>>,
    clock: Arc<SetClock>,
    seen: Mutex<Seen>,
}

/// What was called so far.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) calls: Vec<Call>,
    /// Operations that were called and have no mock.
    pub(super) missing: Vec<&'static str>,
}

impl Mocks {
    pub(super) fn new(
        mocks: BTreeMap<String, Mock>,
        function: Box<CallFunction<'static>>,
        clock: Arc<SetClock>,
    ) -> Self {
        Self { mocks, function, clock, seen: Mutex::default() }
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, operation: &'static str, args: &[Value]) -> Result<Value, OpError> {
        let earlier = {
            let seen = self.seen();
            if seen.calls.len() >= CALLS_MAX {
                return Err(OpError::failed(format!("a test makes up to {CALLS_MAX} calls")).retryable(false));
            }
            seen.calls.iter().filter(|call| call.operation == operation).count()
        };
        match self.mocks.get(operation) {
            Some(Mock::Value(value)) => Ok(value.clone()),
            Some(Mock::InTurn(results)) => Ok(results[earlier.min(results.len() - 1)].clone()),
            Some(Mock::Function) => (self.function)(operation, args),
            None => {
                self.seen().missing.push(operation);
                let text = format!("the test has no mock of `{operation}`");
                Err(OpError::denied(text).retryable(false))
            }
        }
    }
}

impl Performer for Mocks {
    fn perform(&self, operation: &Arc<Operation>, ctx: &Ctx, args: Args) -> Result<Value, OpError> {
        let name = operation.name;
        if !self.mocks.contains_key(name) && REAL.iter().any(|real| name.starts_with(real)) {
            return hob_engine::InlinePerformer.perform(operation, ctx, args);
        }
        let (mut args, options) = args.into_parts();
        if !options.is_empty() {
            args.push(Value::Map(options));
        }
        let result = self.answer(name, &args);
        let at = self.clock.now();
        self.seen().calls.push(Call { operation: name, args, result: result.clone(), at });
        result
    }

    fn note(&self, _: Look<Value>, _: &Ctx, _: Args) -> Result<Value, OpError> {
        Ok(Value::Unit)
    }

    fn probe(&self, _: Look<Probe>, _: &Ctx, _: Args) -> Result<Probe, OpError> {
        Ok(Probe::NotDone)
    }

    fn pause(&self, _: &Ctx, duration: Duration) -> bool {
        self.clock.reach(hob_scheduler::slots::later(self.clock.now(), duration));
        true
    }
}
