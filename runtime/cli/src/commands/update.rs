//! `hob update`

use hob_daemon::client::ClientError;
use hob_terminal::{Cell, Column, Role, Table};
use serde_json::{Value as Json, json};

use super::remote::client;
use crate::args::UpdateArgs;
use crate::context::{Context, Exit, Outcome};

/// The colour of what came of an update.
fn role(result: &str) -> Role {
    match result {
        "updated" | "current" => Role::Success,
        "available" | "rejected" | "stopped" => Role::Warning,
        _ => Role::Error,
    }
}

/// `hob update [SERVICE]`: exits with 1 when an update was rolled back or could not be made.
pub(crate) fn update(context: &Context, args: &UpdateArgs) -> Outcome {
    let client = client(context).without_limit();
    let names = match &args.service {
        Some(name) => vec![name.clone()],
        None => with_images(&client.get("/api/v1/services")?),
    };
    if names.is_empty() {
        context.say("no service has an image to update");
    }
    let mut results = Vec::new();
    for name in names {
        let path = format!("/api/v1/services/{}/update", hob_daemon::client::segment(&name));
        match client.post(&path, &json!({ "dry_run": args.dry_run })) {
            Ok(told) => match told["replicas"].as_array() {
                Some(each) => results.extend(each.iter().cloned()),
                None => results.push(told),
            },
            // One that cannot be updated is no reason to leave out the others.
            Err(error) if args.service.is_none() => results.push(failed(&name, &error)),
            Err(error) => return Err(error.into()),
        }
    }
    if context.global.json {
        context.print_json(&Json::Array(results.clone()));
    } else if !results.is_empty() {
        context.print_line(table(&results).render(context.out).trim_end());
    }
    let well =
        |result: &Json| !matches!(result["result"].as_str(), Some("rolled_back" | "failed" | "unknown"));
    Ok(if results.iter().all(well) { Exit::Done } else { Exit::Failed })
}

fn with_images(services: &Json) -> Vec<String> {
    let services = services.as_array().into_iter().flatten();
    let named = services.filter(|service| service["image"].is_string() && service["held"] != true);
    named.filter_map(|service| service["name"].as_str().map(str::to_owned)).collect()
}

fn failed(name: &str, error: &ClientError) -> Json {
    json!({ "service": name, "result": "failed", "note": error.to_string() })
}

fn table(results: &[Json]) -> Table {
    let mut table = Table::new(["SERVICE", "RESULT", "IMAGE", "FROM", "TO", "NOTE"].map(Column::new));
    for result in results {
        let text = |key: &str| result[key].as_str().unwrap_or("-").to_owned();
        let state = text("result");
        let cells = ["image", "from", "to", "note"].map(|key| Cell::from(text(key)));
        let first = [Cell::from(text("service")), Cell::new(role(&state), state)];
        table.row(first.into_iter().chain(cells));
    }
    table
}
