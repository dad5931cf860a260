//! Values of scripts as tables and trees, for people. For programs there is [`crate::json`].

use std::collections::BTreeSet;
use std::time::Duration;

use hob_model::{Value, size};

use crate::text::{one_line, sanitize};
use crate::{Cell, Column, Role, Style, Table, human};

/// How many rows a terminal gets; files and pipes get all.
pub const ROWS_SHOWN_MAX: usize = 1_000;

/// Where there is less room than this for each column, a list of maps is shown as a tree.
const COLUMN_COLUMNS_MIN: usize = 6;

/// The keys that name a thing: they come first, the others follow in their order.
const LEADING_KEYS: [&str; 2] = ["name", "id"];

/// The value as text that ends with a newline: a list of maps as a table, other lists line by line, maps as a tree,
/// the rest as it is; `()` gives nothing.
#[must_use]
pub fn render(value: &Value, style: Style) -> String {
    match value {
        Value::Unit => String::new(),
        empty @ (Value::Array(_) | Value::Map(_)) if !is_nested(empty) => format!("{}\n", compact(empty)),
        Value::Array(items) => table(items, style).unwrap_or_else(|| tree(value, style)),
        Value::Map(_) => tree(value, style),
        Value::String(text) if text.ends_with('\n') => sanitize(text).into_owned(),
        Value::String(text) => format!("{}\n", sanitize(text)),
        scalar => format!("{}\n", compact(scalar)),
    }
}

/// The table of a list of maps; `None` for other lists, and when there are too many columns for the terminal.
fn table(items: &[Value], style: Style) -> Option<String> {
    let keys: BTreeSet<&str> =
        items.iter().map(map_keys).collect::<Option<Vec<_>>>()?.into_iter().flatten().collect();
    let room = style.width_columns.map_or(usize::MAX, usize::from);
    if keys.is_empty() || keys.len() * COLUMN_COLUMNS_MIN > room {
        return None;
    }
    let leading = LEADING_KEYS.iter().copied().filter(|key| keys.contains(key));
    let keys: Vec<&str> =
        leading.chain(keys.iter().copied().filter(|key| !LEADING_KEYS.contains(key))).collect();
    let mut table = Table::new(keys.iter().map(|key| {
        let numbers = items.iter().filter_map(|item| item.get(key)).all(is_number_or_unit);
        if numbers { Column::number(*key) } else { Column::new(*key) }
    }));
    let shown = if style.width_columns.is_some() { ROWS_SHOWN_MAX } else { usize::MAX };
    for item in items.iter().take(shown) {
        table.row(keys.iter().map(|key| match item.get(key) {
            None | Some(Value::Unit) => Cell::default(),
            Some(value) if LEADING_KEYS.contains(key) => Cell::new(Role::Name, compact(value)),
            Some(value) => Cell::from(measured(key, value, style).unwrap_or_else(|| compact(value))),
        }));
    }
    let mut out = table.render(style);
    out.push_str(&further(items.len().saturating_sub(shown), style));
    Some(out)
}

fn map_keys(value: &Value) -> Option<impl Iterator<Item = &str>> {
    match value {
        Value::Map(map) => Some(map.keys().map(String::as_str)),
        _ => None,
    }
}

fn is_number_or_unit(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::Float(_) | Value::Unit)
}

fn further(rows: usize, style: Style) -> String {
    if rows == 0 {
        return String::new();
    }
    format!("{}\n", style.paint(Role::Muted, format_args!("… and {} more", human::count(rows as u64))))
}

/// The entries of a list or map, each on its line, with what is nested below it.
fn tree(value: &Value, style: Style) -> String {
    let mut out = String::new();
    branches(value, None, style, &mut out);
    out
}

/// Writes the entries of `value` behind `indent`; the entries of the whole (`None`) have no guides.
fn branches(value: &Value, indent: Option<&str>, style: Style, out: &mut String) {
    let entries: Vec<(Option<&str>, &Value)> = match value {
        Value::Array(items) => items.iter().map(|item| (None, item)).collect(),
        Value::Map(map) => map.iter().map(|(key, item)| (Some(key.as_str()), item)).collect(),
        _ => return,
    };
    let shown = if style.width_columns.is_some() { ROWS_SHOWN_MAX.min(entries.len()) } else { entries.len() };
    for (index, (key, item)) in entries.iter().take(shown).enumerate() {
        let last = index + 1 == entries.len();
        let (guide, below) = match (indent, last) {
            (None, _) => (String::new(), String::new()),
            (Some(indent), false) => (format!("{indent}├─ "), format!("{indent}│  ")),
            (Some(indent), true) => (format!("{indent}└─ "), format!("{indent}   ")),
        };
        let nested = is_nested(item);
        if !guide.is_empty() {
            out.push_str(&style.paint(Role::Muted, &guide).to_string());
        }
        match key {
            Some(key) => out.push_str(&style.paint(Role::Name, one_line(key)).to_string()),
            None if nested => out.push_str(&style.paint(Role::Muted, format_args!("[{index}]")).to_string()),
            None => {}
        }
        if !nested {
            out.push_str(if key.is_some() { ": " } else { "" });
            let measured = key.and_then(|key| measured(key, item, style));
            out.push_str(&one_line(&measured.unwrap_or_else(|| compact(item))));
        }
        out.push('\n');
        branches(item, Some(&below), style, out);
    }
    if shown < entries.len() {
        out.push_str(indent.unwrap_or_default());
        out.push_str(&further(entries.len() - shown, style));
    }
}

fn is_nested(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::Map(map) => !map.is_empty(),
        _ => false,
    }
}

/// A number whose key names its unit, as people say it on a terminal: `written_bytes`, `size` (in bytes, as operations
/// give it), `duration_ms`, `timeout_seconds`. Files and pipes get the number.
fn measured(key: &str, value: &Value, style: Style) -> Option<String> {
    style.width_columns?;
    let number = u64::try_from(value.as_int()?).ok()?;
    match key.rsplit('_').next()? {
        "bytes" | "size" => Some(size::format(number)),
        "ms" => Some(human::duration(Duration::from_millis(number))),
        "seconds" => Some(human::duration(Duration::from_secs(number))),
        _ => None,
    }
}

/// The value in the space of a cell. Texts have quotes only within other values.
fn compact(value: &Value) -> String {
    match value {
        Value::Unit => "()".to_owned(),
        Value::Bool(v) => v.to_string(),
        Value::Int(v) => v.to_string(),
        Value::Float(v) => format!("{v:?}"),
        Value::Char(v) => v.to_string(),
        Value::String(v) => v.clone(),
        Value::Blob(v) => format!("<blob of {}>", size::format(v.len() as u64)),
        Value::Secret(v) => v.to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(quoted).collect::<Vec<_>>().join(", ")),
        Value::Map(map) if map.is_empty() => "#{}".to_owned(),
        Value::Map(map) => {
            let entries = map.iter().map(|(key, item)| format!("{key}: {}", quoted(item)));
            format!("#{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{text}\""),
        other => compact(other),
    }
}
