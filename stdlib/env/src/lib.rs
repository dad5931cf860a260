//! The primitive `env`: the variables that were handed to a run.

pub use api::primitive;

use hob_primitive::{Ports, primitive};

/// Needs no adapter: the variables are a part of the run.
pub fn install(_: &mut Ports) {}

/// The environment variables that were handed to the run.
///
/// A run does not inherit the environment of whoever started it: it may go on days later, in another process. What it
/// needs is handed over by name, with `hob run --env NAME`, and kept with the run.
#[primitive(name = "env")]
mod api {
    use std::collections::BTreeMap;

    use hob_model::names::nearest;
    use hob_model::{OpError, Value};
    use hob_primitive::Ctx;

    /// Gives a variable that was handed to the run; `()`, or `fallback`, when it was not.
    ///
    /// Class `observe`: it looks at what came with the run.
    ///
    /// ```rhai
    /// env::get("NO_SUCH_VARIABLE") == () && env::get("NO_SUCH_VARIABLE", "none") == "none"
    /// ```
    #[operation(observe, permission = "env.get:{name}", returns = "string or ()")]
    fn get(cx: &Ctx, name: String, fallback: Option<Value>) -> Result<Value, OpError> {
        check(&name)?;
        Ok(cx.env(&name).map(Value::from).or(fallback).unwrap_or_default())
    }

    /// Gives a variable that the run cannot do without.
    ///
    /// Class `observe`: it looks at what came with the run.
    ///
    /// Fails with `not_found` when it was not handed over; the hint says how to do that.
    ///
    /// ```rhai
    /// try { env::require("NO_SUCH_VARIABLE"); false } catch (e) { e.kind == "not_found" }
    /// ```
    #[operation(observe, permission = "env.get:{name}", returns = "string")]
    fn require(cx: &Ctx, name: String) -> Result<String, OpError> {
        check(&name)?;
        cx.env(&name).map(str::to_owned).ok_or_else(|| {
            let near = nearest(&name, cx.env_all().iter().map(|(key, _)| key.as_str()));
            let hint = match near {
                Some(near) => format!("did you mean `{near}`? Otherwise start the run with --env {name}"),
                None => format!("a run does not inherit the environment: start it with --env {name}"),
            };
            OpError::not_found(format!("the variable `{name}` was not handed to this run")).hint(hint)
        })
    }

    /// Gives all variables that were handed to the run, as a map.
    ///
    /// Class `observe`: it looks at what came with the run.
    ///
    /// ```rhai
    /// env::list().get("NO_SUCH_VARIABLE") == ()
    /// ```
    #[operation(observe, returns = "map")]
    fn list(cx: &Ctx) -> Result<Value, OpError> {
        let all: BTreeMap<String, Value> =
            cx.env_all().iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect();
        Ok(Value::Map(all))
    }

    fn check(name: &str) -> Result<(), OpError> {
        match name.is_empty() || name.contains(['=', '\0']) {
            true => Err(OpError::invalid(format!("`{}` is no name of a variable", name.escape_debug()))),
            false => Ok(()),
        }
    }
}
