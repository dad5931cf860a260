//! `hob notify test|list|clear`

use hob_model::{OnDoubt, Value};
use hob_planner::declaration::DEFAULT_CHANNEL;
use serde_json::json;

use super::remote::client;
use crate::args::{NotifyCommand, PermissionArgs};
use crate::context::{Context, Exit, Outcome, cwd};
use crate::loader;

/// Tries a channel once and says what came of it.
const TEST: &str = r#"
let message = #{
    title: "hob",
    body: "This is a test: messages to this channel arrive.",
    tags: ["white_check_mark"],
};
let tried = notify::deliver(input.channel, message);
if tried.state != "sent" { fail(tried.why); }
tried
"#;

/// `hob notify …`
pub(crate) fn dispatch(context: &Context, command: &NotifyCommand) -> Outcome {
    match command {
        NotifyCommand::Test { channel } => test(context, channel.as_deref().unwrap_or(DEFAULT_CHANNEL)),
        NotifyCommand::List => list(context),
        NotifyCommand::Clear => {
            let told = client(context).post("/api/v1/notices/clear", &json!({}))?;
            if context.global.json {
                context.print_json(&told);
            } else {
                context.say("nothing is shown at login");
            }
            Ok(Exit::Done)
        }
    }
}

/// A run of its own: here, or by the process that serves the homelab with its channels.
fn test(context: &Context, channel: &str) -> Outcome {
    let mut loaded = loader::check("notify.rhai", TEST, &cwd().to_string_lossy())?;
    // The person who typed the command is the caller.
    loaded.trusted = true;
    let input = Value::map([("channel", Value::from(channel))]);
    let permissions = PermissionArgs::default();
    let name = "notify-test".to_owned();
    let playbook = super::run::playbook(&loaded, name, input, OnDoubt::Retry, &permissions, false)?;
    super::run::start(context, &playbook, false, false)
}

fn list(context: &Context) -> Outcome {
    let notices = client(context).get("/api/v1/notices")?;
    if context.global.json {
        context.print_json(&notices);
        return Ok(Exit::Done);
    }
    let lines: Vec<&str> =
        notices["lines"].as_array().into_iter().flatten().filter_map(|it| it.as_str()).collect();
    if lines.is_empty() {
        context.say("nothing is shown at login");
    }
    lines.iter().for_each(|line| context.print_line(line));
    Ok(Exit::Done)
}
