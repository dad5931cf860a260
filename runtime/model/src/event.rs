//! What an event of the bus may be.

use crate::{OpError, Value};

/// The name of the event that has a channel told of an approval that is waited for: `run name position prompt channel`.
pub const APPROVAL_ASKED: &str = "approval.asked";
/// The name of the event that has a message delivered later: `channel message key not_before on_doubt why`.
pub const MESSAGE_HELD: &str = "notify.held";
/// The longest name of an event, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// The largest payload of an event, encoded, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// Whether anybody may tell of an event of this name with this payload.
///
/// # Errors
/// `invalid`, with what is wrong; also for the events that hob alone tells of, since it acts on them.
pub fn check(name: &str, payload: &Value) -> Result<(), OpError> {
    if [APPROVAL_ASKED, MESSAGE_HELD].contains(&name) {
        return Err(OpError::invalid(format!("only hob itself tells of `{name}`")));
    }
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
        assert!(check(MESSAGE_HELD, &Value::Unit).is_err());
        assert!(check("large", &Value::from("x".repeat(PAYLOAD_BYTES_MAX + 1))).is_err());
    }
}
