//! Properties of transient units as unit files write them, in the types that systemd's bus wants.
//!
//! On the bus some have another name and type than in files: `TimeoutStopSec=30s` is `TimeoutStopUSec`, a number of
//! microseconds. `systemctl` and `systemd-run` translate them on their side (`bus-unit-util.c` of systemd), and so must
//! whoever speaks to the bus: what is not in this table is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_model::names::nearest;
use hob_model::{OpError, Value, duration, size};

use crate::name::UnitName;
use crate::port::{Properties, Property};

/// How many properties a transient unit may have.
pub(crate) const PROPERTIES_MAX: usize = 100;

/// What systemd takes for "no limit".
const INFINITY: u64 = u64::MAX;

/// How a value is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Bool,
    Int,
    /// A number, or `infinity`.
    Number,
    /// Bytes, or `infinity`.
    Size,
    /// A span; on the bus the name ends in `USec`.
    Span,
    /// A share of one processor; on the bus `CPUQuotaPerSecUSec`.
    Quota,
    /// A limit of processes; on the bus hard and soft.
    Limit,
    Texts,
    Units,
    Commands,
}

/// Properties that make sense for a transient service, by their names in unit files.
const SERVICE: &[(&str, Kind)] = &[
    ("After", Kind::Units),
    ("Before", Kind::Units),
    ("BindsTo", Kind::Units),
    ("CPUQuota", Kind::Quota),
    ("CPUWeight", Kind::Number),
    ("Conflicts", Kind::Units),
    ("DynamicUser", Kind::Bool),
    ("ExecStartPre", Kind::Commands),
    ("ExecStartPost", Kind::Commands),
    ("ExecStop", Kind::Commands),
    ("ExecStopPost", Kind::Commands),
    ("Group", Kind::Text),
    ("IOWeight", Kind::Number),
    ("KillMode", Kind::Text),
    ("LimitCORE", Kind::Limit),
    ("LimitMEMLOCK", Kind::Limit),
    ("LimitNOFILE", Kind::Limit),
    ("LimitNPROC", Kind::Limit),
    ("MemoryAccounting", Kind::Bool),
    ("MemoryHigh", Kind::Size),
    ("MemoryMax", Kind::Size),
    ("MemorySwapMax", Kind::Size),
    ("Nice", Kind::Int),
    ("NoNewPrivileges", Kind::Bool),
    ("OOMScoreAdjust", Kind::Int),
    ("OnFailure", Kind::Units),
    ("OnSuccess", Kind::Units),
    ("PartOf", Kind::Units),
    ("PrivateDevices", Kind::Bool),
    ("PrivateNetwork", Kind::Bool),
    ("PrivateTmp", Kind::Bool),
    ("ProtectHome", Kind::Text),
    ("ProtectSystem", Kind::Text),
    ("ReadOnlyPaths", Kind::Texts),
    ("ReadWritePaths", Kind::Texts),
    ("Requires", Kind::Units),
    ("Restart", Kind::Text),
    ("RestartSec", Kind::Span),
    ("RuntimeDirectory", Kind::Texts),
    ("RuntimeMaxSec", Kind::Span),
    ("Slice", Kind::Text),
    ("StandardError", Kind::Text),
    ("StandardOutput", Kind::Text),
    ("StateDirectory", Kind::Texts),
    ("SupplementaryGroups", Kind::Texts),
    ("SyslogIdentifier", Kind::Text),
    ("TasksMax", Kind::Number),
    ("TimeoutStartSec", Kind::Span),
    ("TimeoutStopSec", Kind::Span),
    ("Type", Kind::Text),
    ("User", Kind::Text),
    ("Wants", Kind::Units),
    ("WorkingDirectory", Kind::Text),
];

/// What hob itself decides, or has an option for.
const RESERVED: [(&str, &str); 6] = [
    ("Description", "use the option `description`"),
    ("Environment", "use the option `env`"),
    ("ExecStart", "it is the first argument of units::run"),
    ("RemainAfterExit", "a unit that ended stays until its result is recorded"),
    ("CollectMode", "a unit that ended stays until its result is recorded"),
    ("RemainAfterElapse", "a timer that fired stays until its result is recorded"),
];

/// Reads the option `properties`.
///
/// # Errors
/// `invalid`, when one is unknown or its value does not fit.
pub(crate) fn read(given: BTreeMap<String, Value>) -> Result<Properties, OpError> {
    if given.len() > PROPERTIES_MAX {
        return Err(OpError::invalid(format!("{} properties, more than {PROPERTIES_MAX}", given.len())));
    }
    let mut properties = Properties::new();
    for (name, value) in given {
        let Some((_, kind)) = SERVICE.iter().find(|(known, _)| *known == name) else {
            return Err(unknown(&name));
        };
        let wrong = |why: String| OpError::invalid(format!("option `properties`: {name}: {why}"));
        one(&name, *kind, value, &mut properties).map_err(wrong)?;
    }
    Ok(properties)
}

fn unknown(name: &str) -> OpError {
    let hint = match RESERVED.iter().find(|(reserved, _)| *reserved == name) {
        Some((_, why)) => (*why).to_owned(),
        None => match nearest(name, SERVICE.iter().map(|(known, _)| *known)) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "what is not among these goes into a unit file, with units::write_unit".to_owned(),
        },
    };
    let known: Vec<&str> = SERVICE.iter().map(|(known, _)| *known).collect();
    OpError::invalid(format!("option `properties`: {name} cannot be set on a transient unit"))
        .hint(hint)
        .detail("known", known.into_iter().map(str::to_owned).collect::<Vec<_>>())
}

fn one(name: &str, kind: Kind, value: Value, into: &mut Properties) -> Result<(), String> {
    let mut set = |name: String, property: Property| into.push((name, property));
    match kind {
        Kind::Text => set(name.to_owned(), Property::Text(text(value)?)),
        Kind::Bool => set(name.to_owned(), Property::Bool(truth(&value)?)),
        Kind::Int => {
            let number = value.as_int().and_then(|n| i32::try_from(n).ok());
            set(name.to_owned(), Property::Int(number.ok_or("expected a small whole number")?));
        }
        Kind::Number => set(name.to_owned(), Property::Number(number(&value)?)),
        Kind::Size => set(name.to_owned(), Property::Number(bytes(&value)?)),
        Kind::Span => {
            let on_bus = format!("{}USec", name.trim_end_matches("Sec"));
            set(on_bus, Property::Number(span(&value)?));
        }
        Kind::Quota => set("CPUQuotaPerSecUSec".to_owned(), Property::Number(quota(&value)?)),
        Kind::Limit => {
            let limit = bytes(&value)?;
            set(name.to_owned(), Property::Number(limit));
            set(format!("{name}Soft"), Property::Number(limit));
        }
        Kind::Texts => set(name.to_owned(), Property::Texts(texts(value)?)),
        Kind::Units => {
            let full =
                |text: String| UnitName::parse(&text).map(|unit| unit.to_string()).map_err(|m| m.message);
            let units = texts(value)?.into_iter().map(full).collect::<Result<_, _>>()?;
            set(name.to_owned(), Property::Texts(units));
        }
        Kind::Commands => set(name.to_owned(), Property::Commands(vec![command(value)?])),
    }
    Ok(())
}

fn text(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) if !text.contains(['\0', '\n']) => Ok(text),
        Value::String(_) => Err("a text of one line is needed".to_owned()),
        Value::Int(number) => Ok(number.to_string()),
        other => Err(format!("expected a string, got {}", other.type_name())),
    }
}

fn texts(value: Value) -> Result<Vec<String>, String> {
    match value {
        Value::Array(items) => items.into_iter().map(text).collect(),
        one => Ok(vec![text(one)?]),
    }
}

fn truth(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(it) => Ok(*it),
        // As unit files have it.
        Value::String(text) if ["yes", "true", "on", "1"].contains(&text.as_str()) => Ok(true),
        Value::String(text) if ["no", "false", "off", "0"].contains(&text.as_str()) => Ok(false),
        other => Err(format!("expected a bool, got {}", other.type_name())),
    }
}

fn number(value: &Value) -> Result<u64, String> {
    match value {
        Value::String(text) if text == "infinity" => Ok(INFINITY),
        other => other
            .as_int()
            .and_then(|n| u64::try_from(n).ok())
            .ok_or_else(|| "expected a whole number that is not negative, or \"infinity\"".to_owned()),
    }
}

fn bytes(value: &Value) -> Result<u64, String> {
    match value {
        Value::String(text) if text != "infinity" => size::parse(text).map_err(|error| error.to_string()),
        other => number(other),
    }
}

/// A span in microseconds.
fn span(value: &Value) -> Result<u64, String> {
    match value {
        Value::String(text) if text == "infinity" => Ok(INFINITY),
        Value::String(text) => duration::parse(text).map(microseconds).map_err(|error| error.to_string()),
        Value::Int(seconds) => u64::try_from(*seconds)
            .map(|seconds| microseconds(Duration::from_secs(seconds)))
            .map_err(|_| "a span is not negative".to_owned()),
        other => Err(format!("expected a duration such as \"30s\", got {}", other.type_name())),
    }
}

/// A span as systemd counts it.
pub(crate) fn microseconds(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(INFINITY)
}

/// `"50%"` of one processor, in microseconds of each second.
fn quota(value: &Value) -> Result<u64, String> {
    const PER_PERCENT_US: u64 = 10_000;
    let percent = match value {
        Value::String(text) => text.strip_suffix('%').and_then(|text| text.trim().parse::<u64>().ok()),
        _ => None,
    };
    percent
        .filter(|percent| *percent > 0)
        .and_then(|percent| percent.checked_mul(PER_PERCENT_US))
        .ok_or_else(|| "expected a share of one processor, such as \"50%\" or \"200%\"".to_owned())
}

/// A command: an array of program and arguments, or a text that is split as a shell splits it.
pub(crate) fn command(value: Value) -> Result<Vec<String>, String> {
    let words = match value {
        Value::String(text) => shlex::split(&text).ok_or("a quote in the command is not closed")?,
        Value::Array(items) => items.into_iter().map(text_of_word).collect::<Result<_, _>>()?,
        other => return Err(format!("expected a command, got {}", other.type_name())),
    };
    match words.first() {
        Some(program) if !program.is_empty() && !words.iter().any(|word| word.contains('\0')) => Ok(words),
        Some(_) => Err("a command has a program, and no NUL character".to_owned()),
        None => Err("the command is empty".to_owned()),
    }
}

/// An argument may have several lines, unlike a property.
fn text_of_word(value: Value) -> Result<String, String> {
    match value {
        Value::String(word) => Ok(word),
        other => text(other),
    }
}
