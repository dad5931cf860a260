//! Values of properties as unit files write them, in the types that systemd's bus wants.

use std::time::Duration;

use hob_model::{Value, duration, size};

/// What systemd takes for "no limit".
const INFINITY: u64 = u64::MAX;

/// How many items a value may have.
const ITEMS_MAX: usize = 1000;

/// The flag of mount(2) for mounts with all that is mounted below.
const MS_REC: u64 = 0x4000;

/// The capabilities in the order of their bits (capabilities(7), `linux/capability.h`).
const CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

pub(crate) fn text(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) if !text.contains(['\0', '\n']) => Ok(text),
        Value::String(_) => Err("a text of one line is needed".to_owned()),
        Value::Int(number) => Ok(number.to_string()),
        other => Err(format!("expected a string, got {}", other.type_name())),
    }
}

pub(crate) fn texts(value: Value) -> Result<Vec<String>, String> {
    match value {
        Value::Array(items) if items.len() > ITEMS_MAX => Err(format!("more than {ITEMS_MAX} items")),
        Value::Array(items) => items.into_iter().map(text).collect(),
        one => Ok(vec![text(one)?]),
    }
}

pub(crate) fn truth(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(it) => Ok(*it),
        // As unit files have it.
        Value::String(text) if ["yes", "true", "on", "1"].contains(&text.as_str()) => Ok(true),
        Value::String(text) if ["no", "false", "off", "0"].contains(&text.as_str()) => Ok(false),
        other => Err(format!("expected a bool, got {}", other.type_name())),
    }
}

pub(crate) fn number(value: &Value) -> Result<u64, String> {
    match value {
        Value::String(text) if text == "infinity" => Ok(INFINITY),
        other => other
            .as_int()
            .and_then(|n| u64::try_from(n).ok())
            .ok_or_else(|| "expected a whole number that is not negative, or \"infinity\"".to_owned()),
    }
}

pub(crate) fn bytes(value: &Value) -> Result<u64, String> {
    match value {
        Value::String(text) if text != "infinity" => size::parse(text).map_err(|error| error.to_string()),
        other => number(other),
    }
}

/// A span in microseconds.
pub(crate) fn span(value: &Value) -> Result<u64, String> {
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
pub(crate) fn quota(value: &Value) -> Result<u64, String> {
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

/// A number of 32 bits.
pub(crate) fn small<T: TryFrom<i64>>(value: &Value) -> Result<T, String> {
    let number = value.as_int().and_then(|n| T::try_from(n).ok());
    number.ok_or_else(|| "expected a small whole number".to_owned())
}

/// An argument of a command, which may have several lines, unlike a property.
pub(crate) fn word(value: Value) -> Result<String, String> {
    match value {
        Value::String(word) => Ok(word),
        other => text(other),
    }
}

/// `"0750"`
pub(crate) fn mode(value: Value) -> Result<u32, String> {
    const MODE_MAX: u32 = 0o7777;
    let bits = match &value {
        Value::String(text) => u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= MODE_MAX),
        _ => None,
    };
    bits.ok_or_else(|| "expected permission bits in octal digits, such as \"0750\"".to_owned())
}

/// The number of a name.
pub(crate) fn choice(value: Value, known: &[(&str, i32)]) -> Result<i32, String> {
    let text = text(value)?;
    let found = known.iter().find(|(name, _)| *name == text);
    found.map(|(_, number)| *number).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        format!("\"{text}\" is none of {}", names.join(", "))
    })
}

/// Names, and whether all but these are meant: `"~@mount @reboot"`, `["~@mount"]`.
pub(crate) fn inverted(value: Value) -> Result<(bool, Vec<String>), String> {
    let words: Vec<String> =
        texts(value)?.iter().flat_map(|text| text.split_whitespace()).map(str::to_owned).collect();
    let without = words.first().is_some_and(|first| first.starts_with('~'));
    let names = words.into_iter().map(|word| word.trim_start_matches('~').to_owned());
    Ok((without, names.filter(|name| !name.is_empty()).collect()))
}

/// Capabilities as a set of bits.
pub(crate) fn capabilities(value: Value) -> Result<u64, String> {
    let (without, names) = inverted(value)?;
    let mut set = 0;
    for name in names {
        let upper = name.to_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let bit = CAPABILITIES.iter().position(|known| *known == bare);
        set |= 1_u64 << bit.ok_or_else(|| format!("there is no capability {name}"))?;
    }
    let all = (1 << CAPABILITIES.len()) - 1;
    Ok(if without { all & !set } else { set })
}

/// Texts in two parts; the second may be missing.
pub(crate) fn pairs(value: Value, between: char) -> Result<Vec<(String, String)>, String> {
    let split = |text: String| match text.split_once(between) {
        Some((first, second)) => (first.to_owned(), second.trim().to_owned()),
        None => (text, String::new()),
    };
    Ok(texts(value)?.into_iter().map(split).collect())
}

/// Paths with bytes.
pub(crate) fn amounts(value: Value) -> Result<Vec<(String, u64)>, String> {
    let read = |(path, amount): (String, String)| Ok((path, bytes(&Value::from(amount))?));
    pairs(value, ' ')?.into_iter().map(read).collect()
}

/// What is seen where: source, target, whether the source may be missing, flags.
pub(crate) fn binds(value: Value) -> Result<Vec<(String, String, bool, u64)>, String> {
    let read = |text: String| {
        let (optional, text) = text.strip_prefix('-').map_or((false, text.as_str()), |rest| (true, rest));
        let (source, target) = text.split_once(':').unwrap_or((text, text));
        match source.starts_with('/') && target.starts_with('/') {
            true => Ok((source.to_owned(), target.to_owned(), optional, MS_REC)),
            false => Err(format!("\"{text}\" is no absolute path, or two with a colon between them")),
        }
    };
    texts(value)?.into_iter().map(read).collect()
}

/// Files, and whether they may be missing.
pub(crate) fn files(value: Value) -> Result<Vec<(String, bool)>, String> {
    let read = |text: String| match text.strip_prefix('-') {
        Some(path) => (path.to_owned(), true),
        None => (text, false),
    };
    Ok(texts(value)?.into_iter().map(read).collect())
}
