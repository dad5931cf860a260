//! Rows of text as values, and back.

use std::collections::{BTreeMap, BTreeSet};

use hob_model::{OpError, Value};

use crate::CSV_ROWS_MAX;

/// The one ASCII character that `text` must be.
pub(crate) fn ascii(option: &str, text: &str) -> Result<u8, OpError> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() => Ok(*byte),
        _ => Err(OpError::invalid(format!("option `{option}` is one ASCII character, not \"{text}\""))),
    }
}

/// The rows of `text`.
pub(crate) fn read(
    reader: &csv::ReaderBuilder,
    text: &str,
    header: bool,
    columns: Option<Vec<String>>,
) -> Result<Vec<Value>, OpError> {
    let mut reader = reader.from_reader(text.as_bytes());
    let mut records = reader.records();
    let columns = match (columns, header) {
        (Some(columns), _) => Some(columns),
        (None, true) => match records.next() {
            Some(first) => {
                Some(first.map_err(|error| malformed(&error))?.iter().map(str::to_owned).collect())
            }
            None => return Ok(Vec::new()),
        },
        (None, false) => None,
    };
    if let Some(columns) = &columns {
        check_columns(columns)?;
    }
    let mut rows = Vec::new();
    for record in records {
        let record = record.map_err(|error| malformed(&error))?;
        if rows.len() == CSV_ROWS_MAX {
            return Err(OpError::invalid(format!("more than {CSV_ROWS_MAX} rows")));
        }
        rows.push(match &columns {
            None => Value::Array(record.iter().map(Value::from).collect()),
            Some(columns) if columns.len() == record.len() => Value::map(
                columns.iter().zip(&record).map(|(column, field)| (column.as_str(), Value::from(field))),
            ),
            Some(columns) => {
                let line = record.position().map_or(0, csv::Position::line);
                return Err(uneven(line, record.len(), columns.len()));
            }
        });
    }
    Ok(rows)
}

fn check_columns(columns: &[String]) -> Result<(), OpError> {
    let mut seen = BTreeSet::new();
    match columns.iter().find(|column| !seen.insert(*column)) {
        None => Ok(()),
        Some(twice) => Err(OpError::invalid(format!("two columns have the name \"{twice}\""))
            .hint("name them with `columns`, or read rows as arrays with `header: false`")),
    }
}

fn malformed(error: &csv::Error) -> OpError {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let count = |n: &u64| usize::try_from(*n).unwrap_or(usize::MAX);
            uneven(pos.as_ref().map_or(0, csv::Position::line), count(len), count(expected_len))
        }
        _ => OpError::invalid(format!("this is no CSV: {error}")),
    }
}

fn uneven(line: u64, found: usize, expected: usize) -> OpError {
    OpError::invalid(format!("line {line} has {found} field(s) where {expected} are expected"))
        .hint("is the delimiter right, and are fields that hold it in quotes?")
        .detail("line", line)
}

/// The text of `rows`.
pub(crate) fn write(
    writer: &mut csv::WriterBuilder,
    rows: Vec<Value>,
    header: bool,
    columns: Option<Vec<String>>,
) -> Result<String, OpError> {
    if rows.len() > CSV_ROWS_MAX {
        return Err(OpError::invalid(format!("more than {CSV_ROWS_MAX} rows")));
    }
    let columns = columns.unwrap_or_else(|| all_columns(&rows));
    check_columns(&columns)?;
    let mut writer = writer.flexible(true).from_writer(Vec::new());
    let mut put =
        |fields: &[String]| writer.write_record(fields).map_err(|error| OpError::failed(error.to_string()));
    if header && !columns.is_empty() {
        put(&columns)?;
    }
    for (at, row) in rows.into_iter().enumerate() {
        put(&fields(row, &columns).map_err(|why| OpError::invalid(format!("row {at}: {why}")))?)?;
    }
    let bytes = writer.into_inner().map_err(|error| OpError::failed(error.to_string()))?;
    Ok(String::from_utf8(bytes).expect("fields and delimiters are UTF-8"))
}

fn all_columns(rows: &[Value]) -> Vec<String> {
    let keys = rows.iter().filter_map(|row| match row {
        Value::Map(map) => Some(map.keys()),
        _ => None,
    });
    keys.flatten().collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

fn fields(row: Value, columns: &[String]) -> Result<Vec<String>, String> {
    match row {
        Value::Array(items) if columns.is_empty() || items.len() == columns.len() => items
            .into_iter()
            .enumerate()
            .map(|(at, item)| field(item).map_err(|why| format!("field {at}: {why}")))
            .collect(),
        Value::Array(items) => {
            Err(format!("has {} field(s) where {} are expected", items.len(), columns.len()))
        }
        Value::Map(mut map) => {
            let take = |column: &String| {
                field(map.remove(column).unwrap_or_default())
                    .map_err(|why| format!("column \"{column}\": {why}"))
            };
            let fields = columns.iter().map(take).collect::<Result<_, _>>()?;
            first_key(&map).map_or(Ok(fields), |key| Err(format!("column \"{key}\" is not among `columns`")))
        }
        other => Err(format!("expected a map or an array, got {}", other.type_name())),
    }
}

fn first_key(map: &BTreeMap<String, Value>) -> Option<&str> {
    map.keys().next().map(String::as_str)
}

fn field(value: Value) -> Result<String, String> {
    match value {
        Value::Unit => Ok(String::new()),
        Value::Bool(v) => Ok(v.to_string()),
        Value::Int(v) => Ok(v.to_string()),
        Value::Float(v) => Ok(v.to_string()),
        Value::Char(v) => Ok(v.to_string()),
        Value::String(v) => Ok(v),
        other => Err(format!("a field is a text or a number, not {}", other.type_name())),
    }
}
