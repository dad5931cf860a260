//! `hob schedule …`

use hob_model::{Code, Diagnostic, Timestamp, names};
use hob_scheduler::{Gap, LocalTime, OverlapHour, When};
use hob_terminal::{Column, Table};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde_json::{Value as Json, json};

use super::remote::client;
use crate::args::ScheduleCommand;
use crate::context::{Context, Exit, Failure, Outcome};

/// `hob schedule …`
pub(crate) fn dispatch(context: &Context, command: ScheduleCommand) -> Outcome {
    match command {
        ScheduleCommand::List => list(context),
        ScheduleCommand::Run { schedule } => run(context, &schedule),
        ScheduleCommand::Pause { schedule, reason } => {
            changed(context, &schedule, "pause", &json!({ "reason": reason }))
        }
        ScheduleCommand::Resume { schedule } => changed(context, &schedule, "resume", &json!({})),
        ScheduleCommand::Backfill { schedule, from, to, dry_run } => {
            backfill(context, &schedule, &json!({ "from": from, "to": to, "dry": dry_run }))
        }
        ScheduleCommand::Next { expression, tz, from, count, gap, overlap_hour } => next(
            context,
            &expression,
            tz.as_deref(),
            from.as_deref(),
            count,
            [gap.as_deref(), overlap_hour.as_deref()],
        ),
    }
}

/// A text field of a schedule, or a dash.
fn text(json: &Json, key: &str) -> String {
    json[key].as_str().unwrap_or("-").to_owned()
}

fn list(context: &Context) -> Outcome {
    let schedules = client(context).get("/api/v1/schedules")?;
    if context.global.json {
        context.print_json(&schedules);
        return Ok(Exit::Done);
    }
    let mut table = Table::new(["SCHEDULE", "WHEN", "NEXT", "LAST", "STATE"].map(Column::new));
    for schedule in schedules.as_array().into_iter().flatten() {
        let [name, when, next, last] = ["name", "when", "next", "last"].map(|key| text(schedule, key));
        table.row([name, when, next, last, state(schedule)]);
    }
    if table.is_empty() {
        context.say("no schedules");
    } else {
        context.print_line(table.render(context.out).trim_end());
    }
    Ok(Exit::Done)
}

/// What a schedule does now, in a few words.
fn state(schedule: &Json) -> String {
    let paused = (schedule["paused"] == true).then(|| match schedule["pause_reason"].as_str() {
        Some(reason) => format!("paused: {reason}"),
        None => "paused".to_owned(),
    });
    let count = |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}"));
    let running = count(schedule["running"].as_array().map_or(0, Vec::len), "running");
    let number = |key: &str| schedule[key].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let parts =
        [paused, running, count(number("queued"), "queued"), count(number("skipped_in_row"), "skipped")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn post(context: &Context, schedule: &str, verb: &str, body: &Json) -> Result<Json, Failure> {
    let name = hob_daemon::client::segment(schedule);
    Ok(client(context).post(&format!("/api/v1/schedules/{name}/{verb}"), body)?)
}

/// `hob schedule run`: prints the run.
fn run(context: &Context, schedule: &str) -> Outcome {
    let started = post(context, schedule, "run", &json!({}))?;
    if context.global.json {
        context.print_json(&started);
    } else {
        context.print_line(&text(&started, "run"));
        if started["status"] == "queued" {
            context.say("it waits its turn");
        }
    }
    Ok(Exit::Done)
}

/// `hob schedule pause|resume`
fn changed(context: &Context, schedule: &str, verb: &str, body: &Json) -> Outcome {
    let after = post(context, schedule, verb, body)?;
    if context.global.json {
        context.print_json(&after);
    } else if after["paused"] == true {
        context.say(&format!("{schedule} is paused"));
    } else {
        context.say(&format!("{schedule} fires next at {}", text(&after, "next")));
    }
    Ok(Exit::Done)
}

/// `hob schedule backfill`: prints the nominal times.
fn backfill(context: &Context, schedule: &str, body: &Json) -> Outcome {
    let done = post(context, schedule, "backfill", body)?;
    if context.global.json {
        context.print_json(&done);
        return Ok(Exit::Done);
    }
    for slot in done["slots"].as_array().into_iter().flatten() {
        let run = slot["run"].as_str().map(|run| format!(" {run}")).unwrap_or_default();
        context.print_line(&format!("{}{run}", text(slot, "nominal")));
    }
    if let Some(known) = done["claimed_before"].as_u64().filter(|known| *known > 0) {
        context.say(&format!("{known} more were decided before, and are left as they are"));
    }
    Ok(Exit::Done)
}

fn next(
    context: &Context,
    expression: &str,
    tz: Option<&str>,
    from: Option<&str>,
    count: usize,
    [gap, overlap_hour]: [Option<&str>; 2],
) -> Outcome {
    let zones = jiff::tz::db();
    let when = When::parse(expression, zones).map_err(|error| {
        Failure::from(Diagnostic::error(Code::Usage, error.to_string()).hint(
            "it is a crontab line, an OnCalendar expression, every(\"5m\") or at(\"2027-01-01T08:00:00\")",
        ))
    })?;
    let zone = match tz {
        Some(name) => zones.get(name).map_err(|_| no_zone(name, zones))?,
        None => TimeZone::system(),
    };
    let from: Timestamp = match from {
        Some(text) => text.parse().map_err(|_| {
            Failure::usage(format!(
                "--from `{text}` is no time with an offset, such as 2027-01-01T08:00:00+01:00"
            ))
        })?,
        None => hob_primitive::Clock::now(&hob_daemon::clock::SystemClock),
    };
    let rules = LocalTime {
        zone: zone.clone(),
        gap: one_of("--gap", gap, [("run_after", Gap::RunAfter), ("skip", Gap::Skip)])?,
        overlap_hour: one_of(
            "--overlap-hour",
            overlap_hour,
            [("first", OverlapHour::First), ("both", OverlapHour::Both)],
        )?,
    };
    let fires: Vec<String> = when
        .fires(from, &rules)
        .take(count)
        .map(|at| at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string())
        .collect();
    if fires.is_empty() {
        context.say("it never fires after that time");
        return Ok(Exit::Failed);
    }
    if context.global.json {
        context.print_json(&serde_json::json!(fires));
    } else {
        context.print_line(&fires.join("\n"));
    }
    Ok(Exit::Done)
}

fn no_zone(name: &str, zones: &TimeZoneDatabase) -> Failure {
    let known: Vec<_> = zones.available().collect();
    let problem = Diagnostic::error(Code::Usage, format!("there is no time zone `{name}`"));
    match names::nearest(name, known.iter().map(|zone| zone.as_str())) {
        Some(near) => problem.hint(format!("did you mean `{near}`?")).into(),
        None => problem.hint("write it as in Europe/Berlin").into(),
    }
}

/// The policy that an option names.
fn one_of<T: Copy>(option: &str, text: Option<&str>, known: [(&str, T); 2]) -> Result<Option<T>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let found = known.iter().find(|(name, _)| *name == text).map(|(_, policy)| Some(*policy));
    found.ok_or_else(|| {
        Failure::usage(format!("{option} `{text}` is neither {} nor {}", known[0].0, known[1].0))
    })
}
