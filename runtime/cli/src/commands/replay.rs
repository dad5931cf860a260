//! `hob replay RUN [--at POSITION]`

use hob_daemon::node::Purpose;
use hob_engine::explore::Explorer;
use hob_engine::inspect::{NoSnapshot, inspect};
use hob_model::{Code, Diagnostic, Position};
use hob_runs::RunError;
use hob_terminal::{Column, Role, Table};
use serde_json::json;

use crate::args::ReplayArgs;
use crate::context::{Context, Exit, Failure, Outcome};

/// Prints the variables of a run as they were when it came to a position, and opens the prompt there. Nothing acts.
pub(crate) fn replay(context: &Context, args: &ReplayArgs) -> Outcome {
    let journal = context.read()?;
    let run = super::runs::find(&*journal, &args.run)?;
    let node = super::run::node(journal, vec![], Purpose::Look)?;
    let row = node.runs.row(run)?;
    let digest = row.bundle.ok_or_else(|| Failure::usage("this run has no script to look into"))?;
    let bundle = node.runs.bundle(digest)?;
    let at = args
        .at
        .as_deref()
        .map(Position::parse)
        .transpose()
        .map_err(|error| Failure::usage(error.to_string()))?;
    let records = node.runs.records(run)?;
    let snapshot = match inspect(node.runs.host(), run, &bundle, &records, at.as_ref()) {
        Ok(snapshot) => snapshot,
        Err(NoSnapshot::NotReached) => {
            let position = at.as_ref().map(ToString::to_string).unwrap_or_default();
            return Err(RunError::Position { run, position, wanted: "the replay comes to" }.into());
        }
        Err(NoSnapshot::Differs(difference)) => {
            let text = format!("the replay differs at {}: {}", difference.position, difference.message);
            return Err(Diagnostic::error(Code::ReplayDiffers, text).into());
        }
    };
    let shown = |value: &Result<hob_model::Value, String>| match value {
        Ok(value) => value.to_json().unwrap_or_default(),
        Err(kind) => json!(format!("<{kind}>")),
    };
    if context.global.json {
        let variables: serde_json::Map<String, serde_json::Value> = snapshot
            .variables
            .iter()
            .map(|variable| (variable.name.clone(), shown(&variable.value)))
            .collect();
        context.print_json(
            &json!({ "run": run.to_string(), "source": snapshot.source.to_string(), "variables": variables }),
        );
        return Ok(Exit::Done);
    }
    let line = bundle.text(&snapshot.source.file).and_then(|text| {
        text.lines().nth(snapshot.source.line.saturating_sub(1) as usize).map(|line| line.trim().to_owned())
    });
    let explorer = Explorer::new(node.runs.host(), &bundle, &snapshot);
    context.print_line(&format!(
        "{}  {}",
        context.out.paint(Role::Name, &snapshot.source.to_string()),
        line.unwrap_or_default()
    ));
    let mut table = Table::new([Column::new("VARIABLE"), Column::new("VALUE")]);
    for variable in &snapshot.variables {
        table.row([variable.name.clone(), shown(&variable.value).to_string()]);
    }
    if !table.is_empty() {
        context.print_line(table.render(context.out).trim_end());
    }
    if at.is_some() { super::repl::look(context, run, explorer, &node) } else { Ok(Exit::Done) }
}
