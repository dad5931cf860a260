//! What a primitive's `list` gives, by name.

use std::sync::Arc;

use hob_check::complete::Named;
use hob_daemon::clock::SystemClock;
use hob_daemon::node::Purpose;
use hob_daemon::playbook::Playbook;
use hob_engine::Bundle;
use hob_journal::MemoryJournal;
use hob_model::{EffectClass, OnDoubt, RunEnd, RunId, RunOwner, Value};
use hob_primitive::Clock;

use crate::assemble;
use crate::commands::run::{LEAVE_GRACE, node};
use crate::context::cwd;
use crate::loader::host_name;

/// How long looking may take.
const LOOK_TIMEOUT: &str = "2s";
/// The keys that name a thing in what `list` gives.
const NAMES: [&str; 2] = ["name", "unit"];
/// The keys that tell how it is.
const STATES: [&str; 3] = ["state", "active", "status"];

/// Whether there is a `KIND::list()` that only observes.
pub(super) fn lists(kind: &str) -> bool {
    let registry = assemble::registry();
    let list = registry.get(&format!("{kind}::list"));
    list.is_some_and(|list| list.class == EffectClass::Observe && list.arity_min() == 0)
}

/// What `KIND::list()` gives; nothing where it fails.
pub(super) fn names(kind: &str) -> Vec<Named> {
    let text = format!("{kind}::list(#{{ timeout: \"{LOOK_TIMEOUT}\" }})");
    let Some(Value::Array(items)) = look(&text) else { return vec![] };
    let field =
        |item: &Value, keys: &[&str]| keys.iter().find_map(|key| item.get(key)?.as_str().map(str::to_owned));
    let named = |item: &Value| match item {
        Value::String(name) => Some(Named { name: name.clone(), about: String::new() }),
        item => Some(Named { name: field(item, &NAMES)?, about: field(item, &STATES).unwrap_or_default() }),
    };
    items.iter().filter_map(named).collect()
}

/// The value of an observing expression, which leaves no trace.
fn look(text: &str) -> Option<Value> {
    let node = node(Arc::new(MemoryJournal::default()), vec![], Purpose::Act).ok()?;
    let cwd = cwd().to_string_lossy().into_owned();
    let playbook = Playbook {
        name: "look".to_owned(),
        bundle: Arc::new(Bundle::of_text("look.rhai", text, &cwd, &host_name())),
        input: Value::Map(Default::default()),
        owner: RunOwner::Foreground,
        cwd,
        env: vec![],
        allow: vec![],
        deny: vec![],
        trusted: true,
        on_doubt: OnDoubt::Ask,
    };
    let id = RunId::new(SystemClock.now(), hob_daemon::clock::entropy());
    playbook.start(&node.runs, id).ok()?;
    node.follow(id).ok()?;
    let end = node.runs.row(id).ok()?.end;
    node.close(LEAVE_GRACE);
    match end {
        Some(RunEnd::Succeeded(value)) => Some(value),
        _ => None,
    }
}
