//! Two runs beside each other: where they are the same, and where not.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

/// What of an entry is compared; times and numbers of entries differ between any two runs.
const COMPARED: [&str; 6] = ["primitive", "operation", "args", "status", "result", "error"];
/// What of a whole run is compared.
const OF_RUNS: [&str; 5] = ["name", "status", "input", "output", "error"];

/// The differences between two runs, as [`crate::view::run_detail`] shows them: `same`, the number of positions at which
/// both did the same; `run`, what differs of the whole; and `entries`, for each other position what each has there, in the
/// order of the first run and then of the second.
#[must_use]
pub fn compare(a: &Json, b: &Json) -> Json {
    let run: serde_json::Map<String, Json> = OF_RUNS
        .into_iter()
        .filter(|key| a[*key] != b[*key])
        .map(|key| (key.to_owned(), json!({ "a": a[key], "b": b[key] })))
        .collect();
    let entries = |of: &Json| of["entries"].as_array().cloned().unwrap_or_default();
    let (ours, theirs) = (entries(a), entries(b));
    let by_position = |all: &[Json]| -> BTreeMap<String, Json> {
        let position = |entry: &Json| entry["position"].as_str().unwrap_or_default().to_owned();
        all.iter().map(|entry| (position(entry), part(entry))).collect()
    };
    let (in_a, in_b) = (by_position(&ours), by_position(&theirs));
    let mut seen = std::collections::BTreeSet::new();
    let (mut same, mut different) = (0_u64, Vec::new());
    for position in ours.iter().chain(&theirs).filter_map(|entry| entry["position"].as_str()) {
        if !seen.insert(position) {
            continue;
        }
        match (in_a.get(position), in_b.get(position)) {
            (a, b) if a == b => same += 1,
            (a, b) => different.push(json!({ "position": position, "a": a, "b": b })),
        }
    }
    json!({ "a": a["run"], "b": b["run"], "same": same, "run": run, "entries": different })
}

fn part(entry: &Json) -> Json {
    COMPARED
        .iter()
        .map(|key| ((*key).to_owned(), entry[*key].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
