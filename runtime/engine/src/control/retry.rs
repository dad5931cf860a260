//! `retry(options, fn)`: a block that is tried again.
//!
//! The block's effects take the next positions of the branch on each attempt, and each pause is a durable wait, so a
//! retry that lasts for days survives restarts.

use hob_model::{OpError, Value, Wait};
use hob_primitive::OptionMap;
use rhai::{Dynamic, EvalAltResult, FnPtr, FuncRegistration, Map, Module, NativeCallContext};

use super::recorded::{Control, Thrown, misuse};
use crate::branch::branch_of;
use crate::convert::{RhaiResult, to_value};
use crate::request::Attempts;

/// Which errors are worth another attempt.
enum On {
    /// Each.
    Any,
    /// Those that say so themselves.
    Retryable,
    /// Those of these kinds.
    Kinds(Vec<String>),
}

fn read(map: Map) -> Result<(Attempts, On), OpError> {
    let Value::Map(mut pairs) = to_value(&Dynamic::from_map(map))? else {
        return Err(OpError::invalid("expected a map"));
    };
    let on = match pairs.remove("on") {
        None | Some(Value::Unit) => On::Any,
        Some(Value::String(text)) if text == "any" => On::Any,
        Some(Value::String(text)) if text == "retryable" => On::Retryable,
        Some(Value::String(kind)) => On::Kinds(vec![kind]),
        Some(other) => On::Kinds(OptionMap::new([("on".to_owned(), other)].into()).take("on")?),
    };
    if let On::Kinds(kinds) = &on
        && let Some(unknown) = kinds.iter().find(|kind| hob_model::ErrorKind::parse(kind).is_none())
    {
        let known: Vec<_> = hob_model::ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
        return Err(OpError::invalid(format!("option `on`: `{unknown}` is no kind of error"))
            .hint(format!("known are {}", known.join(", "))));
    }
    Ok((Attempts::read(Value::Map(pairs))?, on))
}

fn worth_it(on: &On, error: &EvalAltResult) -> bool {
    let error = crate::diagnose::error_value(error);
    match on {
        On::Any => true,
        On::Retryable => error.retryable,
        On::Kinds(kinds) => kinds.iter().any(|kind| kind == error.kind.as_str()),
    }
}

fn retry(ctx: NativeCallContext<'_>, options: Map, body: FnPtr) -> RhaiResult {
    let (attempts, on) = read(options).map_err(|error| misuse(&ctx, "retry", error))?;
    let branch = branch_of(&ctx, "retry")?;
    for failures in 1.. {
        branch.check()?;
        let error: Thrown =
            match crate::language::call_flexible(&ctx, &body, &[Dynamic::from(i64::from(failures))]) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
        branch.check()?;
        if failures >= attempts.attempts || !worth_it(&on, &error) {
            return Err(error);
        }
        let control = Control::enter(&ctx, "retry", Value::Array(vec![Value::from(failures)]))?;
        let run = &control.branch.run;
        let _pause = control.wait(&ctx, || {
            let pause = attempts.pause(failures, &run.id.effect_key(&control.position));
            let until =
                run.now().checked_add(pause).map_err(|_| OpError::invalid("the pause is too long"))?;
            Ok((Wait::Until(until), vec![]))
        })?;
    }
    unreachable!("the loop ends by returning")
}

pub(super) fn install(module: &mut Module) {
    FuncRegistration::new("retry").set_into_module(module, retry);
    FuncRegistration::new("retry")
        .set_into_module(module, |ctx: NativeCallContext<'_>, body: FnPtr| retry(ctx, Map::new(), body));
}
