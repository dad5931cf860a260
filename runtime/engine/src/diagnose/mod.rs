//! Rhai's errors for people.
use hob_model::{Code, Diagnostic, OpError};
use hob_primitive::Registry;
use rhai::{EvalAltResult, ParseError};
/// A script that does not parse.
pub fn parse_error(error: &ParseError, file: &str) -> Diagnostic {
    let _ = file;
    Diagnostic::error(Code::Syntax, error.to_string())
}
/// A script that ended with an error.
pub fn eval_error(error: &EvalAltResult, file: &str, registry: &Registry) -> Diagnostic {
    let _ = (file, registry);
    Diagnostic::error(Code::ScriptFailed, error.to_string())
}
/// As an error of the run.
pub fn error_value(error: &EvalAltResult) -> OpError {
    let inner = match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) | EvalAltResult::ErrorInModule(_, inner, _) => {
            return error_value(inner);
        }
        other => other,
    };
    if let EvalAltResult::ErrorRuntime(value, _) = inner
        && let Some(error) = crate::convert::to_value(value).ok().as_ref().and_then(OpError::from_value)
    {
        return error;
    }
    OpError::failed(error.to_string())
}
