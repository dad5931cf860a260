//! Patterns for names, and filters for what events carry.

use crate::Value;

/// Whether `text` matches `pattern`, where `*` stands for any characters.
///
/// ```
/// use hob_model::pattern::wildcard;
/// assert!(wildcard("unit.*", "unit.failed") && !wildcard("unit.*", "container.died"));
/// ```
#[must_use]
pub fn wildcard(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Whether `value` fits `filter`: a map fits when each of its fields does, whatever else is there; an array when one of
/// its items does; a text when it is equal, `*` standing for any characters; anything else when it is equal. `()` as a
/// whole fits everything.
///
/// ```
/// use hob_model::{Value, pattern::fits};
/// let filter = Value::map([("unit", Value::from("nginx*"))]);
/// let payload = Value::map([("unit", Value::from("nginx.service")), ("state", Value::from("failed"))]);
/// assert!(fits(&filter, &payload));
/// ```
#[must_use]
pub fn fits(filter: &Value, value: &Value) -> bool {
    *filter == Value::Unit || field_fits(filter, value)
}

fn field_fits(filter: &Value, value: &Value) -> bool {
    match filter {
        Value::Map(fields) => {
            fields.iter().all(|(key, filter)| value.get(key).is_some_and(|value| field_fits(filter, value)))
        }
        Value::Array(any) => filter == value || any.iter().any(|filter| field_fits(filter, value)),
        Value::String(pattern) => match value {
            Value::String(text) => wildcard(pattern, text),
            _ => false,
        },
        other => other == value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Value {
        Value::from_json(serde_json::from_str(text).unwrap()).unwrap()
    }

    #[test]
    fn filters() {
        let payload =
            json(r#"{"unit": "nginx.service", "code": 3, "tags": ["a", "b"], "more": {"x": null}}"#);
        let table = [
            ("null", true),
            ("{}", true),
            (r#"{"unit": "nginx.service"}"#, true),
            (r#"{"unit": "nginx.*", "code": 3}"#, true),
            (r#"{"unit": "nginx.*", "code": 4}"#, false),
            (r#"{"unit": ["ssh*", "nginx*"]}"#, true),
            (r#"{"unit": []}"#, false),
            (r#"{"code": [1, 2, 3]}"#, true),
            (r#"{"code": "3"}"#, false),
            (r#"{"tags": ["a", "b"]}"#, true),
            (r#"{"tags": ["b", "a"]}"#, false),
            (r#"{"more": {}}"#, true),
            (r#"{"more": {"x": null}}"#, true),
            (r#"{"more": {"y": null}}"#, false),
            (r#"{"nothing": "*"}"#, false),
        ];
        for (filter, expected) in table {
            assert_eq!(fits(&json(filter), &payload), expected, "{filter}");
        }
    }
}
