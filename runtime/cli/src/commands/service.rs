//! `hob status`, `hob start|stop|restart|hold|release`

use hob_model::duration;
use hob_terminal::{Cell, Column, Role, Table};
use serde_json::{Value as Json, json};

use super::remote::client;
use crate::args::HoldArgs;
use crate::context::{Context, Exit, Failure, Outcome};

/// The colour of a service's or tier's state.
fn role(state: &str) -> Role {
    match state {
        "ready" | "completed" => Role::Success,
        "failed" | "blocked" => Role::Error,
        "degraded" | "unknown" => Role::Warning,
        "starting" => Role::Name,
        _ => Role::Muted,
    }
}

/// `hob status`
pub(crate) fn status(context: &Context) -> Outcome {
    let status = client(context).get("/api/v1/status")?;
    if context.global.json {
        context.print_json(&status);
        return Ok(Exit::Done);
    }
    let text = |json: &Json, key: &str| json[key].as_str().unwrap_or_default().to_owned();
    let mut services = Table::new(["TIER", "SERVICE", "KIND", "STATE", "NOTE"].map(Column::new));
    for service in status["services"].as_array().into_iter().flatten() {
        let state = text(service, "state");
        let note = match (service["held"].as_bool(), service["note"].as_str()) {
            (Some(true), _) => "held".to_owned(),
            (_, Some("") | None) => update_of(service).to_owned(),
            (_, Some(note)) => note.to_owned(),
        };
        let cells = [text(service, "tier"), text(service, "name"), text(service, "kind")].map(Cell::from);
        services.row(cells.into_iter().chain([Cell::new(role(&state), state), Cell::from(note)]));
    }
    context.print_line(services.render(context.out).trim_end());
    let tables: [(&str, &str, &[&str]); 4] = [
        ("mounts", "mounts", &["name", "path", "state", "note"]),
        ("schedules", "schedules", &["name", "next", "last"]),
        ("workflows", "workflows", &["name", "on", "live"]),
        ("waiting runs", "waiting", &["run", "name", "for"]),
    ];
    for (title, key, columns) in tables {
        let rows = status[key].as_array().filter(|rows| !rows.is_empty());
        if let Some(rows) = rows {
            let mut table = Table::new(columns.iter().map(|column| Column::new(column.to_uppercase())));
            for row in rows {
                table.row(columns.iter().map(|column| match &row[column] {
                    Json::String(text) => text.clone(),
                    Json::Null => "-".to_owned(),
                    other => other.to_string(),
                }));
            }
            context.print_line(&format!(
                "\n{}\n{}",
                context.out.paint(Role::Name, title),
                table.render(context.out).trim_end()
            ));
        }
    }
    Ok(Exit::Done)
}

/// What is to be said of the image of a service.
fn update_of(service: &Json) -> &'static str {
    match service["update"].as_str() {
        Some("available") => "a newer image is here: `hob update`",
        Some("trial") => "a new image is on trial",
        Some("rolled_back") => "a new image did not do well and was rolled back",
        _ => "",
    }
}

/// `hob start|stop|restart|release SERVICE`
pub(crate) fn command(context: &Context, verb: &str, service: &str) -> Outcome {
    send(context, verb, service, &json!({}))
}

/// `hob hold SERVICE`
pub(crate) fn hold(context: &Context, args: &HoldArgs) -> Outcome {
    if let Some(text) = &args.duration {
        duration::parse(text).map_err(|error| Failure::usage(error.to_string()))?;
    }
    send(context, "hold", &args.service, &json!({ "for": args.duration, "reason": args.reason }))
}

fn send(context: &Context, verb: &str, service: &str, body: &Json) -> Outcome {
    let answer = client(context).without_limit().post(&format!("/api/v1/services/{service}/{verb}"), body)?;
    if context.global.json {
        context.print_json(&answer);
    } else {
        context.say(&format!("{service} is {}", answer["state"].as_str().unwrap_or("unknown")));
    }
    Ok(Exit::Done)
}
