//! Time travel: the variables of a run as they were when it came to a position. Nothing acts.
//!
//! A native call does not see the variables of its caller, a debugger does. So the run is evaluated twice in the
//! verifying mode: the first pass counts the debugger's events up to the position, the second stops at that event and
//! looks around. Branches are evaluated one after the other here, so both passes count alike.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use hob_model::{Position, RunId, Source, Value};
use rhai::{Dynamic, Engine};

use crate::bundle::Bundle;
use crate::convert::to_value;
use crate::evaluate::{Evaluated, evaluate_with};
use crate::host::Host;
use crate::records::Records;
use crate::run_cx::{Difference, Mode, RunCx};

/// A variable as it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value; for closures and the like the name of its type.
    pub value: Result<Value, String>,
    /// Whether it is a constant.
    pub constant: bool,
}

/// What was there when a run came to a position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The place in the script.
    pub source: Source,
    /// The variables in scope, innermost last.
    pub variables: Vec<Variable>,
}

/// Why there is no snapshot.
#[derive(Clone, Debug, PartialEq)]
pub enum NoSnapshot {
    /// The run never came to the position.
    NotReached,
    /// The replay differs from its record before the position.
    Differs(Difference),
}

/// Where a step or a call stands: file, line, column.
type Place = (String, u32, u32);

#[derive(Default)]
struct Tape {
    events: u64,
    /// In the first pass: the last event at each place.
    last_at: HashMap<Place, u64>,
    /// In the first pass: the call that is under way. Between it and its own event stand those of its arguments, which
    /// may have variables of their own.
    call: Option<Place>,
    /// The event of the call that the pass ended with; leaving functions makes further ones.
    marked: Option<u64>,
    /// In the second pass: the event to look around at.
    stop_at: Option<u64>,
    snapshot: Option<Snapshot>,
}

thread_local! {
    static TAPE: RefCell<Tape> = RefCell::new(Tape::default());
}

/// A verifying pass has come to the call at `source`.
pub(crate) fn calling(source: &Source) {
    TAPE.with_borrow_mut(|tape| tape.call = Some((source.file.to_string(), source.line, source.column)));
}

/// The pass of this thread has come to where it ends.
pub(crate) fn mark() {
    TAPE.with_borrow_mut(|tape| {
        let at_call = tape.call.as_ref().and_then(|call| tape.last_at.get(call)).copied();
        tape.marked = tape.marked.or(at_call).or(Some(tape.events));
    });
}

/// The variables as they were when the run came to `at`, or to the end of its record.
///
/// # Errors
/// When the run never came there, or its replay differs before it.
pub fn inspect(
    host: &Arc<Host>,
    id: RunId,
    bundle: &Arc<Bundle>,
    records: &Records,
    at: Option<&Position>,
) -> Result<Snapshot, NoSnapshot> {
    let pass = |stop_at: Option<u64>| {
        TAPE.set(Tape { stop_at, ..Tape::default() });
        let run = RunCx::new(Arc::clone(host), id, Some(Arc::clone(bundle)), records.clone(), Mode::Verify);
        run.aim(at.cloned());
        let evaluated = evaluate_with(&run, watch);
        (TAPE.take(), evaluated, run.was_hit())
    };
    let (counted, evaluated, hit) = pass(None);
    if let Evaluated::Paused(difference) = evaluated {
        return Err(NoSnapshot::Differs(difference));
    }
    if at.is_some() && !hit {
        return Err(NoSnapshot::NotReached);
    }
    let (tape, ..) = pass(Some(counted.marked.unwrap_or(counted.events)));
    tape.snapshot.ok_or(NoSnapshot::NotReached)
}

/// Has an engine tell of each step.
#[allow(deprecated)] // Rhai's word for "volatile": there is no other way to see a caller's variables
fn watch(engine: &mut Engine) {
    engine.register_debugger(
        |_, debugger| debugger,
        |context, event, _, source, position| {
            use rhai::debugger::DebuggerEvent::{FunctionExitWithError, FunctionExitWithValue};
            // The variables are gone by then.
            if matches!(event, FunctionExitWithError(_) | FunctionExitWithValue(_)) {
                return Ok(rhai::debugger::DebuggerCommand::StepInto);
            }
            TAPE.with_borrow_mut(|tape| {
                tape.events += 1;
                let number = |n: Option<usize>| n.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
                let file = source.unwrap_or_default();
                let (line, column) = (number(position.line()), number(position.position()));
                if tape.stop_at.is_none() {
                    tape.last_at.insert((file.to_owned(), line, column), tape.events);
                } else if tape.stop_at == Some(tape.events) {
                    let source = Source { file: file.into(), line, column };
                    let variables = context
                        .scope()
                        .iter()
                        .map(|(name, constant, value)| variable(name, constant, &value));
                    tape.snapshot = Some(Snapshot { source, variables: variables.collect() });
                }
            });
            Ok(rhai::debugger::DebuggerCommand::StepInto)
        },
    );
}

fn variable(name: &str, constant: bool, value: &Dynamic) -> Variable {
    let value = to_value(value).map_err(|_| value.type_name().to_owned());
    Variable { name: name.to_owned(), value, constant }
}
