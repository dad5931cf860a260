//! The planner through its public surface.

mod alerts;
mod boot;
mod declarations;
mod hooks;
mod hosts;
mod kinds;
mod order;
mod plans;
mod replicas;
mod room;
mod secrets;

use hob_model::{Diagnostic, Source, Value};
use hob_planner::{Homelab, Raw, Surroundings};
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// A declaration on line `line` of `homelab.rhai`.
fn raw(line: u32, kind: &str, name: &str, options: serde_json::Value) -> Raw {
    let closures = if ["schedule", "workflow"].contains(&kind) { vec![String::new()] } else { Vec::new() };
    Raw {
        kind: kind.to_owned(),
        name: name.into(),
        options: Value::from_json(options).expect("options do not nest deeply"),
        closures,
        source: Source { file: "homelab.rhai".into(), line, column: 1 },
    }
}

/// Declarations on a line each.
fn raws(declared: &[(&str, &str, serde_json::Value)]) -> Vec<Raw> {
    (1..).zip(declared).map(|(line, (kind, name, options))| raw(line, kind, name, options.clone())).collect()
}

fn read(declared: &[Raw]) -> (Homelab, Vec<Diagnostic>) {
    let surroundings = Surroundings {
        zones: &TimeZoneDatabase::bundled(),
        zone: TimeZone::UTC,
        directory: "/srv/home".as_ref(),
        kinds: &[&kinds::Boxes],
        host: Some("here"),
    };
    Homelab::read(declared, &surroundings)
}

/// A homelab without a mistake.
fn homelab(declared: &[(&str, &str, serde_json::Value)]) -> Homelab {
    let (homelab, diagnostics) = read(&raws(declared));
    assert!(diagnostics.is_empty(), "{}", shown(&diagnostics));
    homelab
}

/// Everything that diagnostics say, as text.
fn shown(diagnostics: &[Diagnostic]) -> String {
    let mut text = String::new();
    for it in diagnostics {
        text += &format!("{it}\n");
        for span in it.spans.iter().filter(|span| !span.label.is_empty()) {
            text += &format!("  {}: {}\n", span.source.line, span.label);
        }
        it.notes.iter().for_each(|note| text += &format!("  note: {note}\n"));
        it.hint.iter().for_each(|hint| text += &format!("  help: {hint}\n"));
    }
    text
}
