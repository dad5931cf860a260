//! `hob alerts list|silence|unsilence|test`

use hob_daemon::client::segment;
use hob_model::{Code, Diagnostic};
use hob_terminal::{Cell, Column, Role, Table};
use serde_json::{Map, Value as Json, json};

use super::remote::client;
use crate::args::{AlertsCommand, SilenceArgs};
use crate::context::{Context, Exit, Outcome};

/// `hob alerts …`
pub(crate) fn dispatch(context: &Context, command: &AlertsCommand) -> Outcome {
    match command {
        AlertsCommand::List => list(context),
        AlertsCommand::Silence(args) => silence(context, args),
        AlertsCommand::Unsilence { silence } => {
            let told =
                client(context).post(&format!("/api/v1/silences/{}/end", segment(silence)), &json!({}))?;
            say(context, &told, &format!("{} is told again", text(&told, "alert")))
        }
        AlertsCommand::Test { alert, send } => test(context, alert, *send),
    }
}

fn say(context: &Context, told: &Json, line: &str) -> Outcome {
    if context.global.json {
        context.print_json(told);
    } else {
        context.say(line);
    }
    Ok(Exit::Done)
}

fn text<'j>(json: &'j Json, key: &str) -> &'j str {
    json[key].as_str().unwrap_or_default()
}

fn role(state: &str) -> Role {
    match state {
        "firing" | "broken" => Role::Error,
        "pending" | "blind" => Role::Warning,
        "quiet" => Role::Success,
        _ => Role::Muted,
    }
}

/// `path=/, device=sda`
fn labels(json: &Json) -> String {
    let pairs = json.as_object().into_iter().flatten();
    pairs
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or("?")))
        .collect::<Vec<_>>()
        .join(", ")
}

fn list(context: &Context) -> Outcome {
    let all = client(context).get("/api/v1/alerts")?;
    if context.global.json {
        context.print_json(&all);
        return Ok(Exit::Done);
    }
    let mut table = Table::new(["ALERT", "SEVERITY", "STATE", "SINCE", "WHAT"].map(Column::new));
    let alerts = all["alerts"].as_array().map(Vec::as_slice).unwrap_or_default();
    alerts.iter().for_each(|alert| rows(&mut table, alert));
    if alerts.is_empty() {
        context.say("the homelab declares no alerts");
        return Ok(Exit::Done);
    }
    context.print_line(table.render(context.out).trim_end());
    let silences = all["silences"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !silences.is_empty() {
        let mut table = Table::new(["SILENCE", "ALERT", "LABELS", "UNTIL", "REASON"].map(Column::new));
        for it in silences {
            let (id, alert) =
                (Cell::from(text(it, "id").to_owned()), Cell::from(text(it, "alert").to_owned()));
            let rest = [labels(&it["labels"]), second(text(it, "until")), text(it, "reason").to_owned()];
            table.row([id, alert].into_iter().chain(rest.map(Cell::from)));
        }
        context.print_line(&format!("\n{}", table.render(context.out).trim_end()));
    }
    Ok(Exit::Done)
}

/// A time without what is below a second.
fn second(time: &str) -> String {
    time.split_once('.').map_or_else(|| time.to_owned(), |(whole, _)| format!("{whole}Z"))
}

fn rows(table: &mut Table, alert: &Json) {
    let (name, severity) = (text(alert, "name"), text(alert, "severity"));
    let mut row = |state: &str, since: &str, what: String| {
        let (name, severity) = (Cell::from(name.to_owned()), Cell::from(severity.to_owned()));
        let state = Cell::new(role(state), state.to_owned());
        table.row([name, severity, state, Cell::from(second(since)), Cell::from(what)]);
    };
    let found = alert["instances"].as_array().map(Vec::as_slice).unwrap_or_default();
    if found.is_empty() || matches!(text(alert, "state"), "broken" | "blind") {
        row(text(alert, "state"), "", text(alert, "note").to_owned());
    }
    for it in found {
        let mut what = [text(it, "summary").to_owned(), labels(&it["labels"])].join(" ").trim().to_owned();
        if let Some(value) = it["value"].as_f64() {
            what = format!("{what} = {value}");
        }
        if let Some(muted) = it["muted"].as_str() {
            what = format!("{what} ({muted})");
        }
        row(text(it, "state"), text(it, "since"), what);
    }
}

fn silence(context: &Context, args: &SilenceArgs) -> Outcome {
    let mut labels = Map::new();
    for pair in &args.labels {
        let (label, value) = pair.split_once('=').ok_or_else(|| {
            let text = format!("`{pair}` is no label and its value");
            Diagnostic::error(Code::Usage, text).hint("write it as in --label path=/mnt/data")
        })?;
        labels.insert(label.to_owned(), value.into());
    }
    let order = json!({ "for": args.duration, "labels": labels, "reason": args.reason });
    let told = client(context).post(&format!("/api/v1/alerts/{}/silence", segment(&args.alert)), &order)?;
    let line = format!("silence {}: until {}", text(&told, "id"), second(text(&told, "until")));
    say(context, &told, &line)
}

fn test(context: &Context, alert: &str, send: bool) -> Outcome {
    let path = format!("/api/v1/alerts/{}/test", segment(alert));
    let told = client(context).post(&path, &json!({ "send": send }))?;
    let broken = text(&told, "state") == "broken";
    let exit = if broken { Exit::Failed } else { Exit::Done };
    if context.global.json {
        context.print_json(&told);
        return Ok(exit);
    }
    let found = told["found"].as_array().map(Vec::as_slice).unwrap_or_default();
    match text(&told, "state") {
        "judged" if found.is_empty() => context.say("it finds nothing"),
        "judged" => {}
        state => context.say(format!("it is {state}: {}", text(&told, "note")).trim_end_matches(": ")),
    }
    for it in found {
        let value = it["value"].as_f64().map(|value| format!(" = {value}")).unwrap_or_default();
        let what = [text(it, "summary").to_owned(), labels(&it["labels"])].join(" ");
        context.print_line(&format!("{}{value}", if what.trim().is_empty() { "found" } else { what.trim() }));
    }
    if let Some(sent) = told["sent"].as_array() {
        let names: Vec<&str> = sent.iter().filter_map(Json::as_str).collect();
        match names.is_empty() {
            true => context.say("no channel is declared: nothing was sent"),
            false => context.say(&format!("a test goes to {}", names.join(", "))),
        }
    }
    Ok(exit)
}
