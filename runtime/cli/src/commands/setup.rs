//! `hob setup list|reset`

use hob_terminal::{Cell, Column, Role, Table};
use serde_json::{Value as Json, json};

use super::remote::client;
use crate::args::SetupCommand;
use crate::context::{Context, Exit, Outcome};

/// `hob setup …`
pub(crate) fn dispatch(context: &Context, command: &SetupCommand) -> Outcome {
    match command {
        SetupCommand::List => list(context),
        SetupCommand::Reset { step } => {
            let path = format!("/api/v1/setup/{}/reset", hob_daemon::client::segment(step));
            let told = client(context).post(&path, &json!({}))?;
            if context.global.json {
                context.print_json(&told);
            } else {
                context.say(&format!("{step} is done again"));
            }
            Ok(Exit::Done)
        }
    }
}

fn list(context: &Context) -> Outcome {
    let steps = client(context).get("/api/v1/setup")?;
    if context.global.json {
        context.print_json(&steps);
        return Ok(Exit::Done);
    }
    let text = |step: &Json, key: &str| step[key].as_str().unwrap_or("-").to_owned();
    let mut table = Table::new(["SETUP", "STATE", "SINCE", "RUN", "NOTE"].map(Column::new));
    for step in steps.as_array().into_iter().flatten() {
        let state = text(step, "state");
        let role = match state.as_str() {
            "done" => Role::Success,
            "failed" => Role::Error,
            "running" => Role::Name,
            _ => Role::Muted,
        };
        let rest = ["at", "run", "note"].map(|key| Cell::from(text(step, key)));
        table.row([Cell::from(text(step, "name")), Cell::new(role, state)].into_iter().chain(rest));
    }
    if table.is_empty() {
        context.say("the homelab declares no setup");
    } else {
        context.print_line(table.render(context.out).trim_end());
    }
    Ok(Exit::Done)
}
