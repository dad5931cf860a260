//! `hob schedule list|next`

use hob_model::{Code, Diagnostic, Timestamp, names};
use hob_scheduler::{Gap, LocalTime, OverlapHour, When};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::args::ScheduleCommand;
use crate::context::{Context, Exit, Failure, Outcome};

/// `hob schedule …`
pub(crate) fn dispatch(context: &Context, command: ScheduleCommand) -> Outcome {
    match command {
        ScheduleCommand::List => super::remote::schedules(context),
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
        .map(|at| at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())
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
