//! What an event of the bus may be.

use crate::{OpError, Value};

/// The longest name of an event, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// The largest payload of an event, encoded, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// Whether there may be an event of this name with this payload.
///
/// # Errors
/// `invalid`, with what is wrong.
pub fn check(name: &str, payload: &Value) -> Result<(), OpError> {
    let is_name = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control());
    if !is_name || name.len() > NAME_BYTES_MAX {
        let shown: String = name.chars().take(40).collect();
        let text = format!("`{}` is no name of an event", shown.escape_debug());
        let hint = format!("it has up to {NAME_BYTES_MAX} bytes and no blanks: \"unit.failed\"");
        return Err(OpError::invalid(text).hint(hint));
    }
    let bytes = payload.encode().len();
    if bytes > PAYLOAD_BYTES_MAX {
        let text = format!("the event `{name}` carries {bytes} bytes, and may carry {PAYLOAD_BYTES_MAX}");
        return Err(OpError::invalid(text).hint("write it to a file, and let the event carry the path"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_payloads() {
        assert!(check("unit.failed", &Value::Unit).is_ok());
        for name in ["", "a b", "a\nb", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(check(name, &Value::Unit).is_err(), "{name:?}");
        }
        assert!(check("large", &Value::from("x".repeat(PAYLOAD_BYTES_MAX + 1))).is_err());
    }
}
