//! What a rule says, and what its function finds.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_model::Value;

/// What tells the things apart that one rule finds.
pub type Labels = BTreeMap<String, String>;

/// Things that one rule finds at one time; what is beyond is left out.
pub const FINDINGS_MAX: usize = 200;
/// Labels of one thing.
pub const LABELS_MAX: usize = 16;
/// The longest label, its name and its value, in characters; what is beyond is cut off.
pub const LABEL_CHARS_MAX: usize = 200;
/// The longest summary, in characters; what is beyond is cut off.
pub const SUMMARY_CHARS_MAX: usize = 500;

/// The label of a thing that was given as a text among others.
const INSTANCE: &str = "instance";

/// How bad it is, the worst last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Wants to be looked at.
    #[default]
    Warning,
    /// Wants to be looked at now.
    Critical,
}

impl Severity {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Critical, Self::Warning, Self::Info];

    /// As scripts write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Who else is told of what goes on for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// From the moment that it fires.
    pub after: Duration,
    /// The channels.
    pub notify: Vec<String>,
}

/// What is not told while a rule fires: it follows from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inhibition {
    /// The names of the other rules; `*` stands for any characters.
    pub alerts: Vec<String>,
    /// Only things that have these labels in common.
    pub equal: Vec<String>,
}

/// What is told of what a rule finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is told together with.
    pub group: String,
    /// How long the first news of the group waits for others that belong to it; the shortest of the group holds.
    pub group_wait: Duration,
    /// Labels of all that it finds.
    pub labels: Labels,
    /// What it is about; what it finds may say it better.
    pub summary: String,
    /// How long something must be found until it fires.
    pub lasting: Duration,
    /// After how long people are told again; never when absent.
    pub repeat: Option<Duration>,
    /// The channels.
    pub notify: Vec<String>,
    /// Who else is told.
    pub escalate: Option<Escalation>,
    /// What is not told meanwhile.
    pub inhibit: Inhibition,
    /// After how long something that was heard, and not found, counts as resolved.
    pub resolve_after: Option<Duration>,
}

/// Something that a rule found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finding {
    /// What tells it from others of the rule.
    pub labels: Labels,
    /// What it is, for people; empty where nothing was said.
    pub summary: String,
    /// The number that it is about.
    pub value: Option<f64>,
}

impl Finding {
    /// What the value of a rule's function says:
    ///
    /// | value | finds |
    /// |---|---|
    /// | `false`, `()`, `[]` | nothing |
    /// | `true` | one thing |
    /// | a text | one thing, of which it is the summary |
    /// | a map | one thing: `value` and `summary`, all else are its labels |
    /// | an array of maps or texts | that many things |
    ///
    /// ```
    /// use hob_alerts::Finding;
    /// use hob_model::Value;
    /// let disk = Value::map([("path", Value::from("/")), ("value", Value::from(0.93))]);
    /// let found = Finding::read(&Value::Array(vec![disk])).unwrap();
    /// assert_eq!((found.len(), found[0].labels["path"].as_str(), found[0].value), (1, "/", Some(0.93)));
    /// assert!(Finding::read(&Value::Bool(false)).unwrap().is_empty());
    /// ```
    ///
    /// # Errors
    /// For any other value, in words.
    pub fn read(value: &Value) -> Result<Vec<Self>, String> {
        match value {
            Value::Unit | Value::Bool(false) => Ok(Vec::new()),
            Value::Bool(true) => Ok(vec![Self::default()]),
            Value::String(text) => {
                Ok(vec![Self { summary: cut(text, SUMMARY_CHARS_MAX), ..Self::default() }])
            }
            Value::Map(fields) => Ok(vec![Self::of(fields)?]),
            Value::Array(items) => items.iter().take(FINDINGS_MAX).map(Self::item).collect(),
            other => Err(format!(
                "expected true or false, a text, a map or an array of maps, found {}",
                other.type_name()
            )),
        }
    }

    fn item(value: &Value) -> Result<Self, String> {
        match value {
            Value::Map(fields) => Self::of(fields),
            Value::String(text) => {
                let labels = Labels::from([(INSTANCE.to_owned(), cut(text, LABEL_CHARS_MAX))]);
                Ok(Self { labels, ..Self::default() })
            }
            other => Err(format!("expected an array of maps or texts, found one with {}", other.type_name())),
        }
    }

    /// What a map says: `value` and `summary`, all else are labels.
    ///
    /// # Errors
    /// Where a label is neither a text nor a number nor a truth, in words.
    pub fn of(fields: &BTreeMap<String, Value>) -> Result<Self, String> {
        let mut found = Self::default();
        for (key, value) in fields {
            match (key.as_str(), value) {
                ("summary", Value::String(text)) => found.summary = cut(text, SUMMARY_CHARS_MAX),
                ("value", Value::Float(number)) => found.value = Some(*number),
                #[allow(clippy::cast_precision_loss)] // for people, who do not read 17 digits
                ("value", Value::Int(number)) => found.value = Some(*number as f64),
                ("summary" | "value", other) => {
                    return Err(format!("`{key}` of something found cannot be {}", other.type_name()));
                }
                (_, Value::Unit) => {}
                _ if found.labels.len() >= LABELS_MAX => {
                    return Err(format!("something found has more than {LABELS_MAX} labels"));
                }
                (_, value) => {
                    let text = label(value).ok_or_else(|| {
                        format!("the label `{key}` of something found cannot be {}", value.type_name())
                    })?;
                    found.labels.insert(cut(key, LABEL_CHARS_MAX), text);
                }
            }
        }
        Ok(found)
    }
}

/// A value as a label; none for what is no text, number or truth.
#[must_use]
pub fn label(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(text) => cut(text, LABEL_CHARS_MAX),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        _ => return None,
    })
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}
