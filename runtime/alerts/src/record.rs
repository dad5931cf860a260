//! What survives the process: one fact for each thing that was found, one for each silence.

use hob_model::{Digest, Timestamp, Value};

use crate::board::{Instance, State};
use crate::rule::Labels;
use crate::silence::Silence;

/// What the keys of things that were found begin with.
const INSTANCES: &str = "alerts/found/";
/// What the keys of silences begin with.
const SILENCES: &str = "alerts/silence/";

/// What was recorded.
pub(crate) enum Recorded {
    /// A silence.
    Silence(Silence),
    /// Something that a rule found.
    Instance {
        /// The name of the rule.
        alert: String,
        /// Its labels.
        labels: Labels,
        /// The rest of it.
        instance: Instance,
    },
}

/// Labels have any length, keys of facts have not.
pub(crate) fn instance_key(alert: &str, labels: &Labels) -> String {
    let text: Vec<String> = labels.iter().flat_map(|(key, value)| [key.clone(), value.clone()]).collect();
    format!("{INSTANCES}{alert}/{}", Digest::of(&Value::from(text).encode()).short())
}

pub(crate) fn silence_key(id: &str) -> String {
    format!("{SILENCES}{id}")
}

pub(crate) fn instance(alert: &str, labels: &Labels, instance: &Instance) -> Value {
    let time = |at: Option<Timestamp>| at.map_or(Value::Unit, |at| Value::from(at.to_string()));
    Value::map([
        ("alert", Value::from(alert)),
        ("labels", texts(labels)),
        ("state", instance.state.as_str().into()),
        ("since", instance.since.to_string().into()),
        ("summary", instance.summary.as_str().into()),
        ("value", instance.value.map_or(Value::Unit, Value::Float)),
        ("told", time(instance.told)),
        ("escalated", instance.escalated.into()),
        ("resolves", time(instance.resolves)),
    ])
}

pub(crate) fn silence(silence: &Silence) -> Value {
    Value::map([
        ("alert", Value::from(silence.alert.as_str())),
        ("labels", texts(&silence.labels)),
        ("until", silence.until.to_string().into()),
        ("reason", silence.reason.as_str().into()),
    ])
}

fn texts(labels: &Labels) -> Value {
    Value::map(labels.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))))
}

/// What the fact of this key says; `None` for one that says nothing of the kind.
pub(crate) fn read(key: &str, value: &Value) -> Option<Recorded> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    let time = |field: &str| text(field)?.parse::<Timestamp>().ok();
    let Some(Value::Map(fields)) = value.get("labels") else { return None };
    let label = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    let labels: Labels = fields.iter().map(label).collect::<Option<_>>()?;
    let alert = text("alert")?;
    if let Some(id) = key.strip_prefix(SILENCES) {
        let (until, reason) = (time("until")?, text("reason")?);
        return Some(Recorded::Silence(Silence { id: id.to_owned(), alert, labels, until, reason }));
    }
    let states = [State::Pending, State::Firing, State::Resolved];
    let state = text("state").and_then(|it| states.into_iter().find(|state| state.as_str() == it))?;
    let instance = Instance {
        state,
        since: time("since")?,
        summary: text("summary")?,
        value: match value.get("value") {
            Some(Value::Float(number)) => Some(*number),
            _ => None,
        },
        told: time("told"),
        escalated: matches!(value.get("escalated"), Some(Value::Bool(true))),
        resolves: time("resolves"),
    };
    Some(Recorded::Instance { alert, labels, instance })
}
