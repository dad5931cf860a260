//! Joining what comes along several edges.

use std::collections::BTreeMap;

use hob_model::Value;

use crate::graph::Merge;

/// The items that a merge makes of what came along each of its edges, in their order.
pub(crate) fn merge(mode: &Merge, inputs: Vec<Vec<Value>>) -> Vec<Value> {
    match mode {
        Merge::Append => inputs.into_iter().flatten().collect(),
        Merge::All => vec![Value::Array(inputs.into_iter().map(Value::Array).collect())],
        Merge::First => inputs.into_iter().find(|items| !items.is_empty()).unwrap_or_default(),
        Merge::Position => {
            let mut joined: Vec<Value> = Vec::new();
            for items in inputs {
                for (at, item) in items.into_iter().enumerate() {
                    match joined.get_mut(at) {
                        Some(known) => join(known, item),
                        None => joined.push(item),
                    }
                }
            }
            joined
        }
        Merge::Key(key) => by_key(key, inputs),
    }
}

/// Items whose key comes first stand first; those without the key stay alone.
fn by_key(key: &str, inputs: Vec<Vec<Value>>) -> Vec<Value> {
    let mut joined: Vec<Value> = Vec::new();
    let mut places: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for item in inputs.into_iter().flatten() {
        let Some(of) = item.get(key).map(Value::encode) else {
            joined.push(item);
            continue;
        };
        match places.get(&of) {
            Some(at) => join(&mut joined[*at], item),
            None => {
                places.insert(of, joined.len());
                joined.push(item);
            }
        }
    }
    joined
}

/// Two maps become one, the later one's fields winning; of other values the later one stays.
fn join(known: &mut Value, item: Value) {
    match (known, item) {
        (Value::Map(known), Value::Map(fields)) => known.extend(fields),
        (known, item) => *known = item,
    }
}
