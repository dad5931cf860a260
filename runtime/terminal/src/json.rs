//! Values as JSON text.

use hob_model::Value;
use hob_model::value::ValueError;

/// One line without a newline at its end, in key order.
///
/// # Errors
/// When the value holds NaN or an infinity, which JSON does not have.
pub fn line(value: &Value) -> Result<String, ValueError> {
    Ok(value.to_json()?.to_string())
}

/// Indented by two spaces, without a newline at its end.
///
/// # Errors
/// As [`line()`].
pub fn pretty(value: &Value) -> Result<String, ValueError> {
    Ok(format!("{:#}", value.to_json()?))
}
