//! What a person answered to `approve`.

use std::collections::BTreeMap;

use crate::Value;

/// An answer with what was said about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approval {
    /// Yes or no.
    pub approved: bool,
    /// For people; empty when nothing was said.
    pub comment: String,
}

impl Approval {
    /// The form in the journal: a bool, or a map where there is a comment.
    #[must_use]
    pub fn recorded(&self) -> Value {
        if self.comment.is_empty() { Value::Bool(self.approved) } else { self.to_value() }
    }

    /// `#{ approved, comment }`
    #[must_use]
    pub fn to_value(&self) -> Value {
        Value::Map(BTreeMap::from([
            ("approved".to_owned(), Value::Bool(self.approved)),
            ("comment".to_owned(), Value::from(self.comment.as_str())),
        ]))
    }

    /// Reads either form. Anything else, which only a fork can put in its place, is no approval.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        let approved = value.get("approved").unwrap_or(value);
        let comment = value.get("comment").and_then(Value::as_str).unwrap_or_default();
        Self { approved: *approved == Value::Bool(true), comment: comment.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        for (approved, comment) in [(true, ""), (false, ""), (true, "go"), (false, "not on a Friday")] {
            let approval = Approval { approved, comment: comment.to_owned() };
            assert_eq!(Approval::of(&approval.recorded()), approval);
            assert_eq!(Approval::of(&approval.to_value()), approval);
        }
        assert_eq!(Approval { approved: true, comment: String::new() }.recorded(), Value::Bool(true));
        assert_eq!(Approval::of(&Value::Unit), Approval::default());
    }
}
